// Philox 4x32-10 (Salmon et al., 2011), word for word that of xpnet.random.
//
// Element i takes word i % 4 of block i / 4. The counter is (block low, block high, step, stream), the key the
// 64-bit seed.
#pragma once
#include "common.cuh"

namespace xp {
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
}  // namespace xp
