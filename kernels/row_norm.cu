// Layer norm and group norm (instance norm is group norm of one channel a group): each row of n values, which lie one
// after the other, is standardised on its own, then scaled and shifted by numbers of its channels.
//   y = w x^ + b,  x^ = (x - mean) / sqrt(var + eps);   dx = (g - mean(g) - x^ mean(g x^)) / sigma,  g = w dy
// Row r begins at channel r % groups * per, and `segment` values share one: layer norm has groups = segment = 1.
// RMS norm does not take the mean away: y = w x^,  x^ = x / sqrt(mean(x^2) + eps);   dx = (g - x^ mean(g x^)) / sigma
//
// A row stays in the registers of LANES threads between its two uses: a warp, or a block.
#include "rows.cuh"
using namespace xp;

#define ROW_GEOMETRY i64 rows, int n, int segment, int per, int groups

// one number a channel, of the type of x or of its sums
template <typename T> __device__ __forceinline__ Acc<T> number(const void* p, int narrow, int c, Acc<T> none) {
    if (!p) return none;
    return narrow ? to_acc(static_cast<const T*>(p)[c]) : static_cast<const Acc<T>*>(p)[c];
}
__device__ __forceinline__ float inverse_root(float v) { return rsqrtf(v); }
__device__ __forceinline__ double inverse_root(double v) { return 1 / sqrt(v); }
// saved: 1 / sigma of each row; then, if CENTRED, its mean
template <typename T, int VEC, int LANES, bool CENTRED>
__global__ void __launch_bounds__(block_of<LANES>(), 512 / block_of<LANES>())
row_forward(const T* x, const void* weight, const void* bias, int narrow, T* y, Acc<T>* saved, Acc<T> eps, ROW_GEOMETRY) {
    typedef Acc<T> A;
    __shared__ A room[2][32];
    const Place<VEC, LANES> at;
    if (at.row >= rows) return;  // whole warps, of a row of their own
    const T* in = x + at.row * n;
    Piece<T, VEC> raw[HELD];
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n) raw[i].load(in + at.first + i * at.step);
    const A shift = CENTRED ? to_acc(in[0]) : A(0);  // near the values, so that they keep their digits
    A mean = 0, rest = 0, squares = 0;
    if (CENTRED) {
#pragma unroll
        for (int i = 0; i < HELD; ++i)
            if (at.first + i * at.step < n)
#pragma unroll
                for (int j = 0; j < VEC; ++j) mean += raw[i][j] - shift;
        mean = ratio(row_sum<LANES>(mean, room[0]), A(n));
    }
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n)
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const A d = (raw[i][j] - shift) - mean;
                rest += d;
                squares += d * d;
            }
    squares = row_sum<LANES>(squares, room[1]);
    rest = CENTRED ? ratio(row_sum<LANES>(rest, room[0]), A(n)) : A(0);  // what rounding took from the mean
    const A inverse = inverse_root(ratio(squares, A(n)) - rest * rest + eps);
    if (at.first == 0) {
        saved[at.row] = inverse;
        if (CENTRED) saved[rows + at.row] = shift + (mean + rest);
    }
    const int channel = (int)(at.row % groups) * per;
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
        A v[VEC];
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            const int k = channel + (segment == 1 ? c + j : (c + j) / segment);
            v[j] = (((raw[i][j] - shift) - mean) - rest) * inverse * number<T>(weight, narrow & 1, k, A(1)) +
                   number<T>(bias, narrow & 2, k, A(0));
        }
        put<T, VEC>(y + at.row * n + c, v);
    }
}

// parts: null, or the sums over the rows of each worker, [workers][n], of dy x^ and, if CENTRED, of dy; no groups
template <typename T, int VEC, int LANES, bool CENTRED>
__global__ void __launch_bounds__(block_of<LANES>(), 512 / block_of<LANES>())
row_backward(const T* x, const T* dy, const void* weight, int narrow, const Acc<T>* saved, T* dx, Acc<T>* parts,
             ROW_GEOMETRY) {
    typedef Acc<T> A;
    __shared__ A room[2][32];
    const Place<VEC, LANES> at;
    const i64 workers = Place<VEC, LANES>::workers();
    A scale[HELD][VEC] = {}, shift[HELD][VEC] = {};
    int turn = 0;
    for (i64 row = at.row; row < rows; row += workers) {
        Piece<T, VEC> rx[HELD], rg[HELD];
#pragma unroll
        for (int i = 0; i < HELD; ++i)
            if (at.first + i * at.step < n) {
                rx[i].load(x + row * n + at.first + i * at.step);
                rg[i].load(dy + row * n + at.first + i * at.step);
            }
        const A inverse = saved[row], mean = CENTRED ? saved[rows + row] : A(0);
        const int channel = (int)(row % groups) * per;
        A g = 0, gx = 0;
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            const int c = at.first + i * at.step;
            if (c >= n) break;
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const int k = channel + (segment == 1 ? c + j : (c + j) / segment);
                const A normal = (rx[i][j] - mean) * inverse, d = rg[i][j];
                const A one = d * number<T>(weight, narrow & 1, k, A(1));
                gx += one * normal;
                scale[i][j] += d * normal;
                if (CENTRED) g += one, shift[i][j] += d;
            }
        }
        // two rooms in turn: the sum between two uses of one is a barrier
        if (CENTRED) g = ratio(row_sum<LANES>(g, room[0]), A(n));
        gx = ratio(row_sum<LANES>(gx, room[CENTRED ? 1 : turn ^= 1]), A(n));
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            const int c = at.first + i * at.step;
            if (c >= n) break;
            A v[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const int k = channel + (segment == 1 ? c + j : (c + j) / segment);
                const A one = rg[i][j] * number<T>(weight, narrow & 1, k, A(1));
                v[j] = inverse * (one - g - (rx[i][j] - mean) * inverse * gx);
            }
            put<T, VEC>(dx + row * n + c, v);
        }
    }
    if (!parts) return;
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
        store_vec<A, VEC>(parts + at.row * n + c, scale[i]);
        if (CENTRED) store_vec<A, VEC>(parts + (workers + at.row) * n + c, shift[i]);
    }
}

// parts: [2][N][channels], the sums of dy x^ and of dy over each channel's segment of each sample: a warp each
template <typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
channel_sums(const T* x, const T* dy, const Acc<T>* saved, Acc<T>* parts, i64 rows, i64 all, int segment, int per) {
    typedef Acc<T> A;
    const i64 one = (i64)blockIdx.x * (BLOCK / 32) + threadIdx.x / 32;  // of all = N * channels
    if (one >= all) return;
    const A inverse = saved[one / per], mean = saved[rows + one / per];
    A scale = 0, shift = 0;
    for (int c = threadIdx.x % 32; c < segment; c += 32) {
        const A d = to_acc(dy[one * segment + c]);
        scale += d * (to_acc(x[one * segment + c]) - mean) * inverse;
        shift += d;
    }
    scale = warp_sum<32>(scale);
    shift = warp_sum<32>(shift);
    if (threadIdx.x % 32 == 0) {
        parts[one] = scale;
        parts[all + one] = shift;
    }
}
