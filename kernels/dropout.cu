// Dropout with the words of Philox, and the words themselves.
//
// The mask is made again in backward: 20 integer products an aligned piece cost less than a byte read.
#include "flat.cuh"
#include "philox.cuh"
using namespace xp;

// y = x * scale where the word is at least the threshold, else x * 0, as the array form does: a NaN is not hidden. A
// gradient is cut off instead: it may be infinite just where the mask is 0.
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
dropout(const T* x, T* y, int gradient, Acc<T> scale, unsigned threshold, KEY_PARAMETERS, i64 n) {
    const i64 c = ((i64)blockIdx.x * BLOCK + threadIdx.x) * VEC;  // whole Philox blocks, wherever x is aligned
    if (c >= n) return;
    const Key key = KEY_ARGUMENTS;
    Acc<T> v[VEC];
    load_flat<T, VEC>(v, x, c, n);
#pragma unroll
    for (int q = 0; q < VEC; q += 4) {
        unsigned w[4];
        philox_block(w, (c + q) / 4, key);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const bool on = w[j] >= threshold;
            v[q + j] = on || !gradient ? v[q + j] * (on ? scale : Acc<T>(0)) : Acc<T>(0);
        }
    }
    store_flat<T, VEC>(y, c, n, v);
}

// words[i] = the four words of block counter[i]
template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) philox(const i64* counter, i64* words, KEY_PARAMETERS, i64 n) {
    const i64 i = (i64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    unsigned w[4];
    philox_block(w, counter[i], KEY_ARGUMENTS);
#pragma unroll
    for (int j = 0; j < 4; ++j) words[4 * i + j] = (i64)w[j];
}
