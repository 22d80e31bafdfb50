// The four walks of batch norm over its data: a thread's own items, in the order of the layout.
//
// With SLAB, a walk that reads keeps the raw items in shared memory and the one that follows takes them from there: every
// byte crosses the memory bus once. A thread meets only its own items there, so no barrier is needed.
#pragma once
#include "batch_norm.cuh"

namespace xp {
template <int K, bool FULL, typename A, typename Value>
__device__ __forceinline__ void add_values(A k, A& mean, A& m2, Value value, unsigned mask, A count, A before, A f) {
    A s = 0, q = 0;
#pragma unroll
    for (int i = 0; i < K; ++i)
        if (FULL || (mask >> i & 1)) s += value(i) - k;
    const A middle = FULL ? s * (A(1) / A(K)) : ratio(s, count);
#pragma unroll
    for (int i = 0; i < K; ++i) {
        const A e = (value(i) - k) - middle;
        if (FULL || (mask >> i & 1)) q += e * e;
    }
    const A d = middle - mean;
    mean += d * f;
    m2 += q + d * d * (before * f);
}

// Mean and squared deviations of this thread's values: of the UNROLL items on their way at once, by two passes over
// registers, then combined with those before. Everything is taken from the thread's first value k.
template <class L, bool SLAB, typename T, typename A>
__device__ __forceinline__ void read_moments(const L& at, const T* x, typename L::Raw* slab, Moments<A> (&out)[L::LANES]) {
    constexpr int VEC = sizeof(typename L::Raw) / sizeof(T), LANES = L::LANES;
    constexpr int UNROLL = VEC == 8 ? 2 : sizeof(typename L::Raw) == 16 ? 4 : 8, K = UNROLL * VEC / LANES;
    constexpr unsigned ALL = (1u << K) - 1;
    A n = 0, k[LANES], mean[LANES], m2[LANES];
    Walk w = at.walk();
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        // the first value is read on its own: in an odd plane it may be anywhere in its piece
        k[l] = w.more() ? to_acc(x[w.plane * at.outer + at.base + l]) : A(0);
        mean[l] = m2[l] = 0;
    }
    for (; w.more(); slab += SLAB ? UNROLL * BLOCK : 0) {
        typename L::Raw raw[UNROLL];
        unsigned mask = 0;
#pragma unroll
        for (int u = 0; u < UNROLL; ++u, w.next()) {
            const typename L::Item it = at.item(w, x);
            raw[u] = L::fetch(x, it);
            mask |= it.mask << (u * L::BITS);
        }
        if (SLAB) {
#pragma unroll
            for (int u = 0; u < UNROLL; ++u)
                if (mask >> (u * L::BITS) & L::WHOLE) slab[u * BLOCK + threadIdx.x] = raw[u];
        }
        if (!mask) continue;
        const A count = (A)__popc(mask), f = ratio(count, n + count);
#pragma unroll
        for (int l = 0; l < LANES; ++l) {
            auto value = [&](int i) { return to_acc(LANES == 1 ? raw[i / VEC].v[i % VEC] : raw[i].v[l]); };
            // the rows of columns are there or not for all lanes at once: predicates cost nothing
            if (LANES == 1 && mask == ALL) add_values<K, true>(k[l], mean[l], m2[l], value, mask, A(K), n, f);
            else add_values<K, false>(k[l], mean[l], m2[l], value, mask, count, n, f);
        }
        n += count;
    }
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        out[l] = Moments<A>{n, k[l], A(0), m2[l]};
        if (n != A(0)) two_sum(out[l].hi, out[l].lo, mean[l]);
    }
}

// y = f(x): reads x (or the slab) and the residual, writes y
template <class L, bool SLAB, typename T, typename A>
__device__ __forceinline__ void write_output(const L& at, const T* x, const typename L::Raw* slab, const T* residual, T* y,
                                             const Channel<A> (&ch)[L::LANES], int relu) {
    constexpr int VEC = sizeof(typename L::Raw) / sizeof(T), UNROLL = SLAB || VEC == 8 ? 2 : 4;
    for (Walk w = at.walk(); w.more(); slab += SLAB ? UNROLL * BLOCK : 0) {
        typename L::Raw raw[UNROLL], add[UNROLL];
        typename L::Item it[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u, w.next()) {
            it[u] = at.item(w, x);
            if (!SLAB) raw[u] = L::fetch(x, it[u]);
            else if (it[u].mask) raw[u] = slab[u * BLOCK + threadIdx.x];
            if (residual) add[u] = L::fetch(residual, it[u]);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            A v[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                v[j] = ch[j % L::LANES].out(to_acc(raw[u].v[j]));
                if (residual) v[j] += to_acc(add[u].v[j]);
                if (relu && v[j] < A(0)) v[j] = 0;  // NaN stays
            }
            L::put(y, it[u], v);
        }
    }
}

// Where ReLU stopped the value, it stops the gradient. The value is made again from x, at no traffic; with a residual
// that would take the residual, so y is read instead, which the next layer keeps anyway.
template <typename A> __device__ __forceinline__ A through(A dy, A x, A y, bool from_y, const Channel<A>& ch, int relu) {
    return relu && (from_y ? y : ch.out(x)) <= A(0) ? A(0) : dy;
}

// Sums of g and g (x - centre): reads x, dy (and y), writes what is known already: the gradient of the residual, g; and
// with fixed statistics all of dx, scale g
template <class L, bool SLAB, typename T, typename A>
__device__ __forceinline__ void read_sums(const L& at, const T* x, const T* dy, const T* y, typename L::Raw* slab, int held,
                                          T* dresidual, T* dx, const Channel<A> (&ch)[L::LANES], int relu,
                                          Sums<A> (&out)[L::LANES]) {
    constexpr int VEC = sizeof(typename L::Raw) / sizeof(T), UNROLL = VEC == 8 || L::LANES > 1 ? 2 : 4;
#pragma unroll
    for (int l = 0; l < L::LANES; ++l) out[l] = Sums<A>{A(0), A(0)};
    for (Walk w = at.walk(); w.more(); slab += SLAB ? UNROLL * BLOCK : 0) {
        typename L::Raw rx[UNROLL], rg[UNROLL], ry[UNROLL];
        typename L::Item it[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u, w.next()) {
            it[u] = at.item(w, x);
            rx[u] = L::fetch(x, it[u]);
            rg[u] = L::fetch(dy, it[u]);
            if (y) ry[u] = L::fetch(y, it[u]);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            A g[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const Channel<A>& c = ch[j % L::LANES];
                const A v = to_acc(rx[u].v[j]);
                // outside of the item dy is 0, but x - centre may be anything
                g[j] = through(to_acc(rg[u].v[j]), v, y ? to_acc(ry[u].v[j]) : A(0), y != nullptr, c, relu);
                const bool there = L::BITS == 1 ? it[u].mask != 0 : (it[u].mask >> j & 1) != 0;
                Sums<A>& s = out[j % L::LANES];
                s.g += there ? g[j] : A(0);
                s.gx += there ? g[j] * (v - c.centre) : A(0);
            }
            if (SLAB && it[u].mask) {
                slab[u * BLOCK + threadIdx.x] = rx[u];
#pragma unroll
                for (int j = 0; j < VEC; ++j) rg[u].v[j] = from_acc<T>(g[j]);
                slab[held + u * BLOCK + threadIdx.x] = rg[u];
            }
            if (dresidual) L::put(dresidual, it[u], g);
            if (dx) {
#pragma unroll
                for (int j = 0; j < VEC; ++j) g[j] *= ch[j % L::LANES].scale;
                L::put(dx, it[u], g);
            }
        }
    }
}

// dx: reads x, dy (and y), or the slab; writes dx
template <class L, bool SLAB, typename T, typename A>
__device__ __forceinline__ void write_gradient(const L& at, const T* x, const T* dy, const T* y, const typename L::Raw* slab,
                                               int held, T* dx, const Channel<A> (&ch)[L::LANES], int relu) {
    constexpr int VEC = sizeof(typename L::Raw) / sizeof(T);
    // the slab is near: nothing needs to be on its way ahead of time
    constexpr int UNROLL = SLAB ? 1 : VEC == 8 || L::LANES > 1 ? 2 : 4;
    for (Walk w = at.walk(); w.more(); slab += SLAB ? UNROLL * BLOCK : 0) {
        typename L::Raw rx[UNROLL], rg[UNROLL], ry[UNROLL];
        typename L::Item it[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u, w.next()) {
            it[u] = at.item(w, x);
            if (!SLAB) {
                rx[u] = L::fetch(x, it[u]);
                rg[u] = L::fetch(dy, it[u]);
                if (y) ry[u] = L::fetch(y, it[u]);
            } else if (it[u].mask) {
                rx[u] = slab[u * BLOCK + threadIdx.x];
                rg[u] = slab[held + u * BLOCK + threadIdx.x];
            }
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            A v[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const Channel<A>& c = ch[j % L::LANES];
                const A value = to_acc(rx[u].v[j]);
                A g = to_acc(rg[u].v[j]);
                if (!SLAB) g = through(g, value, y ? to_acc(ry[u].v[j]) : A(0), y != nullptr, c, relu);
                v[j] = c.scale * g + (c.slope * (value - c.centre) + c.offset);
            }
            L::put(dx, it[u], v);
        }
    }
}
}  // namespace xp
