// The squared norm of a gradient vector, and clipping by the norm. Sums are added in a fixed order.
#include "flat.cuh"
using namespace xp;

// parts[block] = sum of g^2 over the block's pieces
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) squares(const T* g, Acc<T>* parts, i64 n) {
    typedef Acc<T> A;
    __shared__ A room[BLOCK / 32];
    const i64 stride = (i64)gridDim.x * BLOCK * VEC;
    A sum[VEC] = {};  // one chain of additions an element of the piece: independent of each other
    for (i64 c = piece_start<T, VEC>(g); c < n; c += 2 * stride) {
        A a[VEC], b[VEC];  // two loads under way
        load_flat<T, VEC>(a, g, c, n);
        load_flat<T, VEC>(b, g, c + stride, n);
#pragma unroll
        for (int j = 0; j < VEC; ++j) sum[j] += a[j] * a[j] + b[j] * b[j];
    }
#pragma unroll
    for (int j = 1; j < VEC; ++j) sum[0] += sum[j];
    const A total = block_sum<BLOCK / 32>(sum[0], room);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// out = sum of parts; one block
template <typename A, int BLOCK>
__global__ void __launch_bounds__(BLOCK) add_parts(const A* parts, A* out, int n) {
    __shared__ A room[BLOCK / 32];
    A sum = 0;
    for (int i = threadIdx.x; i < n; i += BLOCK) sum += parts[i];
    sum = block_sum<BLOCK / 32>(sum, room);
    if (threadIdx.x == 0) *out = sum;
}

// g *= min(1, max_norm / (norm + 1e-6)); nothing is touched where the norm is small enough
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) clip(T* g, const Acc<T>* norm, Acc<T> max_norm, i64 n) {
    typedef Acc<T> A;
    const A scale = max_norm / (*norm + A(1e-6));
    const i64 c = piece_start<T, VEC>(g);
    if (!(scale < A(1)) || c >= n) return;
    A v[VEC];
    load_flat<T, VEC>(v, g, c, n);
#pragma unroll
    for (int j = 0; j < VEC; ++j) v[j] *= scale;
    store_flat<T, VEC>(g, c, n, v);
}
