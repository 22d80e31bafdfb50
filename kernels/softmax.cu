// Softmax and its logarithm over rows of n values, one pass each way.
//   y = e^(x - m) / s, s = sum e^(x - m);   dx = y (dy - sum y dy)
//   log: y = (x - m) - log s;               dx = dy - e^y sum dy
#include "rows.cuh"
using namespace xp;

template <typename T, int VEC, int LANES, bool LOG>
__global__ void __launch_bounds__(block_of<LANES>(), 512 / block_of<LANES>()) softmax_forward(const T* x, T* y, i64 rows, int n) {
    typedef Acc<T> A;
    __shared__ A room[2][32];
    const Place<VEC, LANES> at;
    if (at.row >= rows) return;  // whole warps, of a row of their own
    Piece<T, VEC> raw[HELD];
    A m = -infinity<A>(), s = 0;
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n) raw[i].load(x + at.row * n + at.first + i * at.step);
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n)
#pragma unroll
            for (int j = 0; j < VEC; ++j) m = nanmax(m, (A)raw[i][j]);
    m = row_max<LANES>(m, room[0]);
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n)
#pragma unroll
            for (int j = 0; j < VEC; ++j) s += exp_(raw[i][j] - m);
    s = row_sum<LANES>(s, room[1]);
    const A of_s = LOG ? log_(s) : ratio(A(1), s);
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
        A v[VEC];
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[j] = LOG ? (raw[i][j] - m) - of_s : exp_(raw[i][j] - m) * of_s;
        put<T, VEC>(y + at.row * n + c, v);
    }
}

template <typename T, int VEC, int LANES, bool LOG>
__global__ void __launch_bounds__(block_of<LANES>(), 512 / block_of<LANES>())
softmax_backward(const T* y, const T* dy, T* dx, i64 rows, int n) {
    typedef Acc<T> A;
    __shared__ A room[32];
    const Place<VEC, LANES> at;
    if (at.row >= rows) return;
    Piece<T, VEC> ry[HELD], rg[HELD];
    A sum = 0;
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n) {
            ry[i].load(y + at.row * n + at.first + i * at.step);
            rg[i].load(dy + at.row * n + at.first + i * at.step);
        }
#pragma unroll
    for (int i = 0; i < HELD; ++i)
        if (at.first + i * at.step < n)
#pragma unroll
            for (int j = 0; j < VEC; ++j) sum += LOG ? rg[i][j] : ry[i][j] * rg[i][j];
    sum = row_sum<LANES>(sum, room);
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int c = at.first + i * at.step;
        if (c >= n) break;
        A v[VEC];
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[j] = LOG ? rg[i][j] - exp_(ry[i][j]) * sum : ry[i][j] * (rg[i][j] - sum);
        put<T, VEC>(dx + at.row * n + c, v);
    }
}
