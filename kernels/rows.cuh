// Rows of values that lie one after the other, each held between its two uses by LANES threads: a warp, or a block. A
// thread takes HELD pieces.
#pragma once
#include "common.cuh"

namespace xp {
constexpr int HELD = 4;  // pieces a thread
template <int LANES> constexpr int block_of() { return LANES == 32 ? 128 : LANES; }

// the sum over a row, and its maximum, to all its threads; `room` is free again after the next of them
template <int LANES, typename A> __device__ __forceinline__ A row_sum(A v, A* room) {
    if (LANES == 32) return warp_sum<32>(v);
    return block_sum<LANES / 32>(v, room);
}

template <int LANES, typename A> __device__ __forceinline__ A row_max(A v, A* room) {
    v = warp_max<32>(v);
    if (LANES == 32) return v;
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_max<32>(threadIdx.x % 32 < LANES / 32 ? room[threadIdx.x % 32] : -infinity<A>());
}

// p[0 .. VEC) = v; four values of 16 bits as two registers
template <typename T, int VEC> __device__ __forceinline__ void put(T* p, const Acc<T> (&v)[VEC]) {
    if constexpr (sizeof(T) * VEC == 8 && VEC == 4) {
        Piece<T, VEC> out;
#pragma unroll
        for (int j = 0; j < VEC; ++j) out.set(j, from_acc<T>(v[j]));
        *reinterpret_cast<uint2*>(p) = uint2{out.words[0], out.words[1]};
    } else {
        store_vec<T, VEC>(p, v);
    }
}

// where a thread is: its row, and its pieces first, first + LANES * VEC, ... of it
template <int VEC, int LANES> struct Place {
    int first, step;
    i64 row;
    __device__ __forceinline__ Place()
        : first((int)(threadIdx.x % LANES) * VEC), step(LANES * VEC),
          row((i64)blockIdx.x * (block_of<LANES>() / LANES) + threadIdx.x / LANES) {}
    static __device__ __forceinline__ i64 workers() { return (i64)gridDim.x * (block_of<LANES>() / LANES); }
};
}  // namespace xp
