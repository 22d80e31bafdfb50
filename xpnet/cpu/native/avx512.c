#if defined(__x86_64__) && defined(__GNUC__)
#define LEVEL 3
#define TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2"
#include "target.h"
#define TABLE kernels_avx512
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
