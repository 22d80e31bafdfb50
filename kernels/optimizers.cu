// One optimizer step over a whole stretch of theta: every array is read once and written once.
//
// Hyperparameters come from device memory, so that a captured launch can be replayed with new ones. h[0] is the
// factor on the gradient, h[1] the weight decay that is added to it; the rest is the rule's.
//
// Under a scaled loss (xpnet/optim/scaled.py) the step divides by the scale and stays away if a gradient is not finite.
#include "flat.cuh"
using namespace xp;

__device__ __forceinline__ float sqrt_(float v) { return sqrtf(v); }
__device__ __forceinline__ double sqrt_(double v) { return sqrt(v); }
template <typename A> __device__ __forceinline__ A root(A v, A eps, bool inside) {
    return inside ? sqrt_(v + eps) : sqrt_(v) + eps;
}

// A rule updates theta and up to STATES moments s from the gradient g; has[k]: moment k is there
template <typename A> struct SGD {
    enum { STATES = 1 };
    const A lr, keep, blend;  // at the first step keep = 0, blend = 1; then momentum, 1 - dampening
    const bool nesterov, moving;
    const A momentum;
    __device__ SGD(const A* h, const bool* has)
        : lr(h[2]), keep(h[3]), blend(h[4]), nesterov(h[5] != A(0)), moving(has[0]), momentum(h[6]) {}
    __device__ __forceinline__ void operator()(A& theta, A g, A* s) const {
        if (moving) {
            s[0] = (keep != A(0) ? keep * s[0] : A(0)) + blend * g;
            g = nesterov ? g + momentum * s[0] : s[0];
        }
        theta -= lr * g;
    }
};

template <typename A> struct Adagrad {
    enum { STATES = 1 };
    const A lr, eps;
    const bool inside;
    __device__ Adagrad(const A* h, const bool*) : lr(h[2]), eps(h[3]), inside(h[4] != A(0)) {}
    __device__ __forceinline__ void operator()(A& theta, A g, A* s) const {
        s[0] += g * g;
        theta -= lr * g / root(s[0], eps, inside);
    }
};

template <typename A> struct Adadelta {
    enum { STATES = 2 };
    const A lr, rho, rest, eps;  // rest = 1 - rho
    __device__ Adadelta(const A* h, const bool*) : lr(h[2]), rho(h[3]), rest(h[4]), eps(h[5]) {}
    __device__ __forceinline__ void operator()(A& theta, A g, A* s) const {
        s[0] = rho * s[0] + rest * (g * g);
        const A d = sqrt_(s[1] + eps) / sqrt_(s[0] + eps) * g;
        s[1] = rho * s[1] + rest * (d * d);
        theta -= lr * d;
    }
};

template <typename A> struct RMSprop {  // s: mean square, velocity, mean
    enum { STATES = 3 };
    const A lr, alpha, rest, eps, momentum;  // rest = 1 - alpha
    const bool inside, moving, centered;
    __device__ RMSprop(const A* h, const bool* has)
        : lr(h[2]), alpha(h[3]), rest(h[4]), eps(h[5]), momentum(h[7]), inside(h[6] != A(0)), moving(has[1]),
          centered(has[2]) {}
    __device__ __forceinline__ void operator()(A& theta, A g, A* s) const {
        s[0] = alpha * s[0] + rest * (g * g);
        A variance = s[0];
        if (centered) {
            s[2] += rest * (g - s[2]);
            variance -= s[2] * s[2];
        }
        A d = g / root(variance, eps, inside);
        if (moving) d = s[1] = momentum * s[1] + d;
        theta -= lr * d;
    }
};

template <typename A> struct Adam {  // s: mean, mean square, its maximum (AMSGrad)
    enum { STATES = 3 };
    const A size, unbias, rest1, beta2, rest2, eps, shrink;  // rest = 1 - beta; shrink: decoupled weight decay
    const bool amsgrad;
    __device__ Adam(const A* h, const bool* has)
        : size(h[2]), unbias(h[3]), rest1(h[4]), beta2(h[5]), rest2(h[6]), eps(h[7]), shrink(h[8]), amsgrad(has[2]) {}
    __device__ __forceinline__ void operator()(A& theta, A g, A* s) const {
        s[0] += rest1 * (g - s[0]);
        s[1] = beta2 * s[1] + rest2 * (g * g);
        if (amsgrad) s[2] = nanmax(s[2], s[1]);
        theta = shrink * theta - size * s[0] / (sqrt_(amsgrad ? s[2] : s[1]) * unbias + eps);
    }
};

// of a loss scale, on the device: the scale, its inverse, good updates in a row, whether a gradient of this update is
// not finite, and how many updates have been left out for that
enum { SCALE, INVERSE, GOOD, FOUND, SKIPPED };

// FOUND = 1 unless all of g is finite
template <typename G, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) look(const G* g, float* scaling, i64 n) {
    const i64 c = piece_start<G, VEC>(g);
    if (c >= n) return;
    Acc<G> v[VEC];
    load_flat<G, VEC>(v, g, c, n);
    bool finite = true;
#pragma unroll
    for (int j = 0; j < VEC; ++j) finite &= (bool)isfinite(v[j]);
    if (!finite) atomicExch((int*)scaling + FOUND, __float_as_int(1.0f));
}

// After the steps of an update: another scale, and what the host reads later: updates << 32 | left out; scale, GOOD.
// One thread.
template <typename T>
__global__ void adapt(T* s, i64* word, double* seen, T growth, T backoff, T interval, T largest, T smallest) {
    const bool found = s[FOUND] != T(0);
    T scale = s[SCALE], good = found ? T(0) : s[GOOD] + T(1);
    if (found) {
        scale *= backoff;
        if (scale < smallest) scale = smallest;
        s[SKIPPED] += T(1);
    } else if (good >= interval) {
        scale *= growth;
        if (scale > largest) scale = largest;
        good = 0;
    }
    s[SCALE] = scale, s[INVERSE] = T(1) / scale, s[GOOD] = good, s[FOUND] = 0;
    seen[0] = scale, seen[1] = good;
    *word += ((i64)1 << 32) + found;
}

// scaling: null without a scaled loss; undo: whether to divide by the scale. In a captured step `known` is how many
// updates the host knew to be left out when it wrote h, a row of numbers for each number of them that it did not.
template <template <typename> class Rule, typename T, typename G, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
step(T* theta, const G* grad, T* s0, T* s1, T* s2, const Acc<T>* h, i64 n, const float* scaling, int undo,
     const float* known, int row) {
    typedef Acc<T> A;
    constexpr int STATES = Rule<A>::STATES;
    if (scaling) {
        if (scaling[FOUND] != 0.0f) return;
        if (known) h += row * (int)(scaling[SKIPPED] - *known);
    }
    const i64 c = piece_start<T, VEC>(theta);
    if (c >= n) return;
    T* const moment[3] = {s0, s1, s2};
    const bool has[3] = {s0 != nullptr, s1 != nullptr, s2 != nullptr};
    A p[VEC], s[3][VEC];
    Acc<G> g[VEC];
    load_flat<T, VEC>(p, theta, c, n);
    load_flat<G, VEC>(g, grad, c, n);
#pragma unroll
    for (int k = 0; k < STATES; ++k)
        if (has[k]) load_flat<T, VEC>(s[k], moment[k], c, n);
    const Rule<A> rule(h, has);
    const A factor = scaling && undo ? h[0] * (A)scaling[INVERSE] : h[0], decay = h[1];
#pragma unroll
    for (int j = 0; j < VEC; ++j) {
        A own[3] = {s[0][j], s[1][j], s[2][j]};
        rule(p[j], factor * (A)g[j] + decay * p[j], own);
#pragma unroll
        for (int k = 0; k < STATES; ++k) s[k][j] = own[k];
    }
    store_flat<T, VEC>(theta, c, n, p);
#pragma unroll
    for (int k = 0; k < STATES; ++k)
        if (has[k]) store_flat<T, VEC>(moment[k], c, n, s[k]);
}
