// Philox 4x32-10 (Salmon et al., 2011), word for word that of xpnet.random, and dropout with its words.
//
// Element i takes word i % 4 of block i / 4. The counter is (block low, block high, step, stream), the key the
// 64-bit seed. The mask is made again in backward: 20 integer products an aligned piece cost less than a byte read.
#include "flat.cuh"
using namespace xp;

struct Key { unsigned seed_low, seed_high, step, stream; };
// the key itself, or in a captured step, whose arguments are those of every replay, where seed, stream and step lie
#define KEY_PARAMETERS const i64* at, unsigned seed_low, unsigned seed_high, unsigned step, unsigned stream
#define KEY_ARGUMENTS \
    (at ? Key{(unsigned)at[0], (unsigned)(at[0] >> 32), (unsigned)at[2], (unsigned)at[1]} : Key{seed_low, seed_high, step, stream})

__device__ __forceinline__ void philox_block(unsigned (&w)[4], i64 block, Key key) {
    unsigned c0 = (unsigned)block, c1 = (unsigned)((unsigned long long)block >> 32), c2 = key.step, c3 = key.stream;
    unsigned k0 = key.seed_low, k1 = key.seed_high;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = (unsigned long long)0xD2511F53u * c0, p1 = (unsigned long long)0xCD9E8D57u * c2;
        c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
        c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c1 = (unsigned)p1;
        c3 = (unsigned)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    w[0] = c0;
    w[1] = c1;
    w[2] = c2;
    w[3] = c3;
}

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
