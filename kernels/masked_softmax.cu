// Softmax of scores that are scaled and masked, and the gradient of the scores from that of the weights, one pass each.
//   w = e^(t - m) / sum e^(t - m), t = scale s + mask;   ds = scale w (dw - total)
#include "rows.cuh"
using namespace xp;

// s: (samples, heads, length, n); w likewise, in the type of sums; 0 in a row that may look nowhere. kind 1: a mask of bool,
// true where it may look; 2: of T, added. causal: query l looks at keys 0 to first + l.
template <typename T, int VEC, int LANES>
__global__ void __launch_bounds__(block_of<LANES>(), 512 / block_of<LANES>())
masked_softmax(const T* s, Acc<T>* w, i64 rows, int n, Acc<T> scale, const void* mask, int kind, i64 mask_sample,
               i64 mask_head, i64 mask_row, i64 mask_key, int heads, int length, int causal, int first) {
    typedef Acc<T> A;
    __shared__ A room[2][32];
    const Place<VEC, LANES> at;
    if (at.row >= rows) return;  // whole warps, of a row of their own
    const int query = (int)(at.row % length), head = (int)(at.row / length % heads);
    const i64 begin = at.row / length / heads * mask_sample + head * mask_head + query * mask_row;
    const int stop = causal && query + first + 1 < n ? query + first + 1 : n;
    A v[HELD][VEC], m = -infinity<A>(), sum = 0;
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
        Piece<T, VEC> raw;
        raw.load(s + at.row * n + c);
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            A t = raw[j] * scale;
            const i64 place = begin + (c + j) * mask_key;
            if (kind == 2) t += to_acc(static_cast<const T*>(mask)[place]);
            const bool seen = c + j < stop && (kind != 1 || static_cast<const unsigned char*>(mask)[place]);
            v[i][j] = seen ? t : -infinity<A>();
            m = nanmax(m, v[i][j]);
        }
    }
    m = row_max<LANES>(m, room[0]);
    const A shift = m == -infinity<A>() ? A(0) : m;
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n)
#pragma unroll
            for (int j = 0; j < VEC; ++j) sum += v[i][j] = exp_(v[i][j] - shift);
    sum = row_sum<LANES>(sum, room[1]);
    const A inverse = m == -infinity<A>() ? A(0) : ratio(A(1), sum);
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[i][j] *= inverse;
        store_vec<A, VEC>(w + at.row * n + c, v[i]);
    }
}

// ds = scale w (dw - total), a total for each row of n values; a piece a thread
template <typename A, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
scores_gradient(const A* w, const A* dw, const A* total, A* ds, A scale, unsigned all, unsigned pieces) {
    const unsigned at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= all) return;
    const A sum = total[at / pieces];
    A a[VEC], b[VEC];
    load_vec<A, VEC>(a, w + (i64)at * VEC);
    load_vec<A, VEC>(b, dw + (i64)at * VEC);
#pragma unroll
    for (int j = 0; j < VEC; ++j) a[j] *= (b[j] - sum) * scale;
    store_vec<A, VEC>(ds + (i64)at * VEC, a);
}
