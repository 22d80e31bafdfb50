/* All kernels, compiled once for each instruction set: `TABLE` names their table. */
#include "kernel.h"
#include "pool.h"
#include "vector.h"
#include "elementwise.h"
#include "columns.h"
#include "gemm.h"
#include "convolution.h"
#include "pooling.h"
#include "cross_entropy.h"
#include "attention.h"
#include "batch_norm.h"
#include "row_norm.h"
#include "dropout.h"
#include "embedding.h"

#define REAL float
#define REAL_NAME(name) name##_f32
#define ROOT sqrtf
#include "optimizers.h"
#define REAL double
#define REAL_NAME(name) name##_f64
#define ROOT sqrt
#include "optimizers.h"

const kernel TABLE[] = {
    {"gemm", "riiriiwiiiiri", gemm},
    {"batched_gemm", "riiriiwiiiiiiiii", batched_gemm},
    {"correlate", "rrrwr", correlate},
    {"input_gradient", "wrrrr", input_gradient},
    {"weight_gradient", "rwrrr", weight_gradient},
    {"relu", "wr", relu},
    {"relu_gradient", "wrr", relu_gradient},
    {"add", "wrr", add},
    {"chain", "wrr", chain},
    {"gelu", "wwr", gelu},
    {"sum_rows", "rwii", sum_rows},
    {"bias_relu", "wrrii", bias_relu},
    {"bias_relu_gradient", "wrrwii", bias_relu_gradient},
    {"row_norm", "rrrdwwwiiii", row_norm_forward},
    {"row_norm_gradient", "rrrrrwwwiiii", row_norm_gradient},
    {"max_pool", "rwwiiiiiiiiiiiii", max_pool},
    {"max_pool_gradient", "wrriiiiiiiiiiiii", max_pool_gradient},
    {"cross_entropy", "rrwwdii", cross_entropy},
    {"softmax", "rwii", softmax},
    {"softmax_gradient", "rrwii", softmax_gradient},
    {"attention_weights", "rrrwdiiii", attention_weights},
    {"attention_scores_gradient", "rrrwdii", attention_scores_gradient},
    {"take_rows", "rrwi", take_rows},
    {"add_rows", "rrwii", add_rows},
    {"batch_norm", "rrrrdiwwwiii", batch_norm},
    {"batch_norm_gradient", "rrrrrrwwwwiii", batch_norm_gradient},
    {"dropout_f32", "rwidir", dropout_f32},
    {"dropout_f64", "rwidir", dropout_f64},
    {"sgd_f32", "wrwidddid", sgd_f32},
    {"sgd_f64", "wrwidddid", sgd_f64},
    {"adagrad_f32", "wrwddid", adagrad_f32},
    {"adagrad_f64", "wrwddid", adagrad_f64},
    {"adadelta_f32", "wrwwddddd", adadelta_f32},
    {"adadelta_f64", "wrwwddddd", adadelta_f64},
    {"rmsprop_f32", "wrwwwddddidd", rmsprop_f32},
    {"rmsprop_f64", "wrwwwddddidd", rmsprop_f64},
    {"adam_f32", "wrwwwdddddddd", adam_f32},
    {"adam_f64", "wrwwwdddddddd", adam_f64},
    {0},
};
