// Activations, plain and with a bias before them; in backward also the bias's gradient, a sum over rows.
//
// The derivative comes from what is kept: the output y, or for gelu the input x.
#include "flat.cuh"
using namespace xp;

#include "functions.cuh"

// value(x, p); gradient(dy, kept, p) = dy * derivative; p: negative slope or alpha
enum Keeps { NOTHING, OUTPUT, INPUT };
template <typename A> struct Identity {
    static constexpr Keeps KEEPS = NOTHING;
    static __device__ __forceinline__ A value(A x, A) { return x; }
    static __device__ __forceinline__ A gradient(A dy, A, A) { return dy; }
};
template <typename A> struct ReLU {
    static constexpr Keeps KEEPS = OUTPUT;
    static __device__ __forceinline__ A value(A x, A) { return nanmax(x, A(0)); }
    static __device__ __forceinline__ A gradient(A dy, A y, A) { return y == A(0) ? A(0) : dy; }  // NaN has one
};
template <typename A> struct LeakyReLU {  // p >= 0: y has the sign of x
    static constexpr Keeps KEEPS = OUTPUT;
    static __device__ __forceinline__ A value(A x, A p) { return x > A(0) ? x : p * x; }
    static __device__ __forceinline__ A gradient(A dy, A y, A p) { return y > A(0) ? dy : p * dy; }
};
template <typename A> struct ELU {  // p >= 0
    static constexpr Keeps KEEPS = OUTPUT;
    static __device__ __forceinline__ A value(A x, A p) { return x > A(0) ? x : p * expm1_(x); }
    static __device__ __forceinline__ A gradient(A dy, A y, A p) { return y > A(0) ? dy : dy * (y + p); }
};
template <typename A> struct Sigmoid {
    static constexpr Keeps KEEPS = OUTPUT;
    static __device__ __forceinline__ A value(A x, A) { return A(1) / (A(1) + full_exp(-x)); }
    static __device__ __forceinline__ A gradient(A dy, A y, A) { return dy * y * (A(1) - y); }
};
template <typename A> struct Tanh {
    static constexpr Keeps KEEPS = OUTPUT;
    static __device__ __forceinline__ A value(A x, A) { return tanh_(x); }
    static __device__ __forceinline__ A gradient(A dy, A y, A) { return dy * (A(1) - y * y); }
};
template <typename A> struct GELU {  // x Phi(x), Phi(x) = erfc(-x / sqrt 2) / 2: no cancellation for x < 0
    static constexpr Keeps KEEPS = INPUT;
    static __device__ __forceinline__ A phi(A x) { return A(0.5) * erfc_(x * A(-0.70710678118654752)); }
    static __device__ __forceinline__ A value(A x, A) { return x * phi(x); }
    static __device__ __forceinline__ A gradient(A dy, A x, A) {
        return dy * (phi(x) + x * A(0.39894228040143268) * full_exp(A(-0.5) * x * x));
    }
};

#include "elementwise.cuh"

// ---- over the columns of a matrix --------------------------------------------------------------------------------
// A block takes lanes * VEC columns and `chunk` rows; a thread VEC columns and every (BLOCK / lanes)-th row of them,
// so that a bias is read once and no index is divided. With VEC > 1 every row starts aligned.
struct Tile {
    i64 column, row, stop;
    int step;
    __device__ __forceinline__ Tile(int vec, int lanes, i64 chunk, i64 rows)
        : column(((i64)blockIdx.x * lanes + threadIdx.x % lanes) * vec), row(blockIdx.y * chunk + threadIdx.x / lanes),
          stop((blockIdx.y + 1) * chunk < rows ? (blockIdx.y + 1) * chunk : rows), step(blockDim.x / lanes) {}
};
template <int VEC> constexpr int ahead() { return VEC < 4 ? 4 : 16 / VEC; }  // rows under way

// y = act(x + bias)
template <template <typename> class Act, typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
bias_activation(const T* x, const T* bias, T* y, Acc<T> p, i64 rows, i64 columns, int lanes, i64 chunk) {
    const Tile t(VEC, lanes, chunk, rows);
    if (t.column >= columns) return;
    Acc<T> b[VEC], v[VEC];
    Piece<T, VEC> raw[ahead<VEC>()];
    load_vec<T, VEC>(b, bias + t.column);
    for (i64 r = t.row; r < t.stop; r += ahead<VEC>() * t.step) {
#pragma unroll
        for (int i = 0; i < ahead<VEC>(); ++i)
            if (r + i * t.step < t.stop) raw[i].load(x + (r + i * t.step) * columns + t.column);
#pragma unroll
        for (int i = 0; i < ahead<VEC>(); ++i) {
            if (r + i * t.step >= t.stop) break;
#pragma unroll
            for (int j = 0; j < VEC; ++j) v[j] = Act<Acc<T>>::value(raw[i][j] + b[j], p);
            store_vec<T, VEC>(y + (r + i * t.step) * columns + t.column, v);
        }
    }
}

// dx = dy * act'(kept), sums[blockIdx.y] = the sum of dx over the block's rows, in a fixed order.
// dx may be null (sums alone). For gelu, kept is x without the bias.
template <template <typename> class Act, typename T, typename Out, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
bias_gradient(const T* dy, i64 ldy, const T* kept, const T* bias, T* dx, Out* sums, Acc<T> p, i64 rows, i64 columns,
              int lanes, i64 chunk) {
    typedef Acc<T> A;
    __shared__ A room[BLOCK * VEC];
    const Tile t(VEC, lanes, chunk, rows);
    const bool on = t.column < columns;
    constexpr Keeps KEEPS = Act<A>::KEEPS;
    A b[VEC], sum[VEC] = {}, out[VEC];
    Piece<T, VEC> d[ahead<VEC>()], v[ahead<VEC>()];
    if (on && KEEPS == INPUT) load_vec<T, VEC>(b, bias + t.column);
    for (i64 r = t.row; on && r < t.stop; r += ahead<VEC>() * t.step) {
#pragma unroll
        for (int i = 0; i < ahead<VEC>(); ++i) {
            const i64 at = r + i * t.step;
            if (at >= t.stop) break;
            d[i].load(dy + at * ldy + t.column);
            if (KEEPS != NOTHING) v[i].load(kept + at * columns + t.column);
        }
#pragma unroll
        for (int i = 0; i < ahead<VEC>(); ++i) {
            const i64 at = r + i * t.step;
            if (at >= t.stop) break;
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                out[j] = KEEPS == NOTHING ? d[i][j] : Act<A>::gradient(d[i][j], KEEPS == INPUT ? v[i][j] + b[j] : v[i][j], p);
                sum[j] += out[j];
            }
            if (dx) store_vec<T, VEC>(dx + at * columns + t.column, out);
        }
    }
#pragma unroll
    for (int j = 0; j < VEC; ++j) room[j * BLOCK + threadIdx.x] = sum[j];
    for (int half = BLOCK / 2; half >= lanes; half /= 2) {  // row groups, pair by pair
        __syncthreads();
        if (threadIdx.x < half)
#pragma unroll
            for (int j = 0; j < VEC; ++j) room[j * BLOCK + threadIdx.x] += room[j * BLOCK + threadIdx.x + half];
    }
    if (threadIdx.x < lanes && on)  // thread x < lanes wrote the last sum of its own columns
#pragma unroll
        for (int j = 0; j < VEC; ++j)
            sums[blockIdx.y * columns + t.column + j] = from_acc<Out>((Acc<Out>)room[j * BLOCK + threadIdx.x]);
}
