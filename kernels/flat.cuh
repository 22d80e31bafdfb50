// Vectors of one length, walked together: a thread takes one piece of VEC elements of each.
//
// Pieces are cut where the first vector is aligned. Another vector is read in whole pieces if it is aligned at the
// same places, else element by element: an optimizer's moment may start elsewhere than its part of theta.
#pragma once
#include "common.cuh"

namespace xp {
// the first element of this thread's piece; below 0 where the piece starts before the vector
template <typename T, int VEC> __device__ __forceinline__ i64 piece_start(const T* first) {
    return ((i64)blockIdx.x * blockDim.x + threadIdx.x) * VEC - skew<T, VEC>(first);
}
// whether the piece at element c is aligned in p
template <typename T, int VEC> __device__ __forceinline__ bool aligned_at(const T* p, i64 c) {
    return (((unsigned long long)p + (unsigned long long)c * sizeof(T)) & (sizeof(T) * VEC - 1)) == 0;
}
// dst = p[c .. c+VEC), 0 outside of [0, n)
template <typename T, int VEC>
__device__ __forceinline__ void load_flat(Acc<T> (&dst)[VEC], const T* p, i64 c, i64 n) {
    if (c >= 0 && c + VEC <= n && aligned_at<T, VEC>(p, c)) {
        load_vec<T, VEC>(dst, p + c);
    } else {
#pragma unroll
        for (int j = 0; j < VEC; ++j) dst[j] = (c + j >= 0 && c + j < n) ? to_acc(p[c + j]) : Acc<T>(0);
    }
}
// p[c .. c+VEC) = src inside of [0, n)
template <typename T, int VEC>
__device__ __forceinline__ void store_flat(T* p, i64 c, i64 n, const Acc<T> (&src)[VEC]) {
    store_piece<T, VEC>(p, c, n, src, aligned_at<T, VEC>(p, c));
}
}  // namespace xp
