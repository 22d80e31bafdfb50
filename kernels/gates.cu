// Activations that multiply: x by a gate of x, or one half of an array by a gate of the other.
#include "flat.cuh"
using namespace xp;

#include "functions.cuh"

__device__ __forceinline__ float log1p_(float v) { return log1pf(v); }
__device__ __forceinline__ double log1p_(double v) { return log1p(v); }
template <typename A> __device__ __forceinline__ A sigmoid(A v) { return A(1) / (A(1) + full_exp(-v)); }

// ---- of one array: value(x, ), gradient(dy, x, ) ---------------------------------------------------------------------
template <typename A> struct SiLU {
    static __device__ __forceinline__ A value(A x, A) { return x * sigmoid(x); }
    static __device__ __forceinline__ A gradient(A dy, A x, A) {
        const A s = sigmoid(x);
        return dy * (s * (A(1) + x * (A(1) - s)));
    }
};
template <typename A> struct GELUTanh {  // x / 2 (1 + tanh u), u = sqrt(2 / pi) (x + 0.044715 x^3)
    static __device__ __forceinline__ A t(A x) { return tanh_(A(0.79788456080286536) * (x + A(0.044715) * x * x * x)); }
    static __device__ __forceinline__ A value(A x, A) { return A(0.5) * x * (A(1) + t(x)); }
    static __device__ __forceinline__ A gradient(A dy, A x, A) {
        const A u = t(x);
        return dy * (A(0.5) * (A(1) + u) +
                     A(0.5) * x * (A(1) - u * u) * (A(0.79788456080286536) * (A(1) + A(3 * 0.044715) * x * x)));
    }
};
template <typename A> struct Mish {  // x tanh(log(1 + e^x))
    static __device__ __forceinline__ A t(A x) { return tanh_(nanmax(x, A(0)) + log1p_(full_exp(x < 0 ? x : -x))); }
    static __device__ __forceinline__ A value(A x, A) { return x * t(x); }
    static __device__ __forceinline__ A gradient(A dy, A x, A) {
        const A u = t(x);
        return dy * (u + x * (A(1) - u * u) * sigmoid(x));
    }
};
#include "elementwise.cuh"

// ---- of two halves, a and b ----------------------------------------------------------------------------------------
template <typename A> struct GLU {  // a sigmoid(b)
    static __device__ __forceinline__ A value(A a, A b) { return a * sigmoid(b); }
    static __device__ __forceinline__ void gradient(A dy, A& a, A& b) {
        const A s = sigmoid(b);
        b = dy * a * s * (A(1) - s);
        a = dy * s;
    }
};
template <typename A> struct SwiGLU {  // silu(a) b
    static __device__ __forceinline__ A value(A a, A b) { return a * sigmoid(a) * b; }
    static __device__ __forceinline__ void gradient(A dy, A& a, A& b) {
        const A s = sigmoid(a), of_b = dy * a * s;
        a = dy * b * (s * (A(1) + a * (A(1) - s)));
        b = of_b;
    }
};

// x: (outer, 2, pieces), y: (outer, pieces), in pieces of VEC elements; all = outer * pieces
template <template <typename> class Gate, typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) gate(const T* x, T* y, unsigned all, unsigned pieces) {
    const unsigned at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= all) return;
    const i64 first = ((i64)(at / pieces) * 2 * pieces + at % pieces) * VEC;
    Acc<T> a[VEC], b[VEC];
    load_vec<T, VEC>(a, x + first);
    load_vec<T, VEC>(b, x + first + (i64)pieces * VEC);
#pragma unroll
    for (int j = 0; j < VEC; ++j) a[j] = Gate<Acc<T>>::value(a[j], b[j]);
    store_vec<T, VEC>(y + (i64)at * VEC, a);
}

template <template <typename> class Gate, typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) gate_gradient(const T* x, const T* dy, T* dx, unsigned all, unsigned pieces) {
    const unsigned at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= all) return;
    const i64 first = ((i64)(at / pieces) * 2 * pieces + at % pieces) * VEC, second = first + (i64)pieces * VEC;
    Acc<T> a[VEC], b[VEC], d[VEC];
    load_vec<T, VEC>(a, x + first);
    load_vec<T, VEC>(b, x + second);
    load_vec<T, VEC>(d, dy + (i64)at * VEC);
#pragma unroll
    for (int j = 0; j < VEC; ++j) Gate<Acc<T>>::gradient(d[j], a[j], b[j]);
    store_vec<T, VEC>(dx + first, a);
    store_vec<T, VEC>(dx + second, b);
}
