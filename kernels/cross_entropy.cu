// Softmax cross-entropy: each row's loss and its gradient in one pass, the logits read once, the gradient
// written once. With a = (1-eps) w[y] and b = eps/C,
//   loss     = a (lse - x[y]) + b sum_c w[c] (lse - x[c])
//   dx[c]    = (softmax(x)[c] (a + b sum w) - b w[c] - a [c == y]) dy / total
// where total is the sum of w[y] over rows that are not ignored ("mean") or 1.
// lse - x[y] is taken as (max - x[y]) + log(sum): exact for large logits, where lse itself is not.
//
// Three ways to hold a row between its two uses, all with the same parameters:
//   xent_warp    in the registers of a warp or less
//   xent_block   in the registers of a block, or of a cluster of blocks that share their sums (sm_90)
//   xent_online  not at all: read twice, with a running maximum; any length, any device
#include <cooperative_groups.h>
#include "common.cuh"
using namespace xp;

constexpr int PARTS = 32;  // partial totals: one a lane, so that every warp adds them up without a barrier

template <typename A> struct State { A m, s; };  // maximum, sum of e^(x - m)
template <typename A> __device__ __forceinline__ State<A> merge(State<A> a, State<A> b) {
    const A m = nanmax(a.m, b.m);
    const A ka = a.m == m ? A(1) : exp_(a.m - m), kb = b.m == m ? A(1) : exp_(b.m - m);  // -inf - -inf is NaN
    return State<A>{m, a.s * ka + b.s * kb};
}
template <typename A> __device__ __forceinline__ State<A> warp_merge(State<A> v) {
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        v = merge(v, State<A>{__shfl_xor_sync(0xffffffffu, v.m, o), __shfl_xor_sync(0xffffffffu, v.s, o)});
    return v;
}
template <typename A> __device__ __forceinline__ A base_of(A m) { return m == -infinity<A>() ? A(0) : m; }

__device__ __forceinline__ i64 label(const void* y, int wide, i64 row) {
    return wide ? static_cast<const i64*>(y)[row] : (i64) static_cast<const int*>(y)[row];
}

#define XENT_PARAMETERS                                                                                             \
    const T *x, i64 ldx, T *dx, i64 lddx, Acc<T> *loss, const void *y, int wide, const Acc<T> *weight,              \
        const Acc<T> *totals, int mean, const T *dy, int dy_step, i64 N, int C, i64 ignore_index, Acc<T> eps
#define XENT_ARGUMENTS x, ldx, dx, lddx, loss, y, wide, weight, totals, mean, dy, dy_step, N, C, ignore_index, eps

// What one row needs besides its logits. Made by every thread, before the logits arrive: the loads of the label
// and of x[y] then overlap with theirs. Called by whole warps (it adds up the totals).
template <typename T> struct Row {
    typedef Acc<T> A;
    const T* x;
    const A* weight;
    int t;                // the label; -1: there is none
    A xt, a, b, sum_w;    // x[y], and the constants above
    A g;                  // dy / total
    A ref;                // where sum w (ref - x) is taken from: near the logits, so that it keeps their digits
    bool smooth;

    __device__ __forceinline__ Row(XENT_PARAMETERS, i64 row) : x(x + row * ldx), weight(weight) {
        const i64 given = label(y, wide, row);
        const bool skip = given == ignore_index, wrong = !skip && (given < 0 || given >= C);
        t = skip ? -1 : wrong ? 0 : (int)given;
        const int at = skip ? 0 : t;
        xt = to_acc(this->x[at]);
        a = (A(1) - eps) * (wrong ? not_a_number<A>() : weight ? weight[at] : A(1));
        b = eps / C;
        smooth = eps != A(0);
        sum_w = weight ? (smooth ? totals[PARTS] : A(0)) : A(C);
        ref = smooth ? to_acc(this->x[0]) : A(0);
        if (!(ref - ref == A(0))) ref = A(0);  // not finite
        g = dy ? to_acc(dy[row * dy_step]) : A(1);
        if (mean) {
            const A total = warp_sum<32>(totals[threadIdx.x & 31]);
            g = total == A(0) ? A(0) : g / total;  // nothing counts: the mean is NaN, its gradient 0
        }
    }
    // adds w (ref - x) over one piece of the row
    template <int VEC, typename I>
    __device__ __forceinline__ void spread(A& sum, const A (&v)[VEC], I c, I C) const {
#pragma unroll
        for (int j = 0; j < VEC; ++j)
            if (c + j >= 0 && c + j < C) sum += (weight ? weight[c + j] : A(1)) * (ref - v[j]);
    }
    __device__ __forceinline__ A value(State<A> st, A sum) const {
        const A ls = log_(st.s);
        A out = a * ((st.m - xt) + ls);
        if (smooth) out += b * (sum_w * ((st.m - ref) + ls) + sum);
        return t < 0 ? A(0) : out;
    }
    // v = e^(x - m) in, gradient out; k = 1 / s
    template <int VEC, typename I>
    __device__ __forceinline__ void gradient(A (&v)[VEC], A k, I c, I C) const {
        const A mass = smooth ? a + b * sum_w : a, scale = mass * g * k;
        const bool nothing = t < 0 || mass == A(0);  // the row counts for nothing, even where g is infinite
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            A d = v[j] * scale - (c + j == t ? a * g : A(0));
            if (smooth) d -= b * g * (weight && c + j >= 0 && c + j < C ? weight[c + j] : A(1));
            v[j] = nothing ? A(0) : d;
        }
    }
};

// ---- C <= LANES * VEC * VPT (less the skew): 32 / LANES rows a warp ----------------------------------------------
template <typename T, int VEC, int VPT, int LANES, int BLOCK>
__global__ void __launch_bounds__(BLOCK) xent_warp(XENT_PARAMETERS) {
    typedef Acc<T> A;
    const int lane = threadIdx.x % LANES;
    const i64 index = (i64)blockIdx.x * (BLOCK / LANES) + threadIdx.x / LANES;
    if (index - threadIdx.x % 32 / LANES >= N) return;  // the whole warp is past the last row
    const bool live = index < N;  // single lanes past it stay, and read it: every lane takes part in the shuffles
    const Row<T> row(XENT_ARGUMENTS, live ? index : N - 1);
    const int first = lane * VEC - skew<T, VEC>(row.x);
    A v[VPT][VEC], m = -infinity<A>(), s = 0, sum = 0;
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        load_piece<T, VEC>(v[i], row.x, first + i * LANES * VEC, C, -infinity<A>());
#pragma unroll
        for (int j = 0; j < VEC; ++j) m = nanmax(m, v[i][j]);
    }
    m = warp_max<LANES>(m);
    const A base = base_of(m);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        if (row.smooth) row.template spread<VEC>(sum, v[i], first + i * LANES * VEC, C);
#pragma unroll
        for (int j = 0; j < VEC; ++j) s += v[i][j] = exp_(v[i][j] - base);
    }
    s = warp_sum<LANES>(s);
    if (row.smooth) sum = warp_sum<LANES>(sum);
    __syncwarp();  // in place, x[y] has been read by every lane
    if (!live) return;
    if (lane == 0 && loss) loss[index] = row.value(State<A>{m, s}, sum);
    if (!dx) return;
    T* out = dx + index * lddx;
    const bool aligned = same_skew<T, VEC>(row.x, out);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        row.template gradient<VEC>(v[i], A(1) / s, first + i * LANES * VEC, C);
        store_piece<T, VEC>(out, first + i * LANES * VEC, C, v[i], aligned);
    }
}

// The states of all warps of a block, merged; known to every thread. room: [2 + 1][WARPS]
template <int WARPS, typename A>
__device__ __forceinline__ State<A> block_merge(State<A> st, A& sum, A* room) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    if (lane == 0) {
        room[warp] = st.m;
        room[WARPS + warp] = st.s;
        room[2 * WARPS + warp] = sum;
    }
    __syncthreads();
    const bool on = lane < WARPS;
    st = warp_merge(State<A>{on ? room[lane] : -infinity<A>(), on ? room[WARPS + lane] : A(0)});
    sum = warp_sum<32>(on ? room[2 * WARPS + lane] : A(0));
    return st;
}

// ---- C <= CL * BLOCK * VEC * VPT: one row a cluster of CL blocks --------------------------------------------------
// At most 64 registers a thread, so that 1024 threads fit a multiprocessor and one row loads while another stores.
template <typename T, int VEC, int VPT, int BLOCK, int CL>
__global__ void __launch_bounds__(BLOCK, 1024 / BLOCK) XP_CLUSTER(CL) xent_block(XENT_PARAMETERS) {
    typedef Acc<T> A;
    constexpr int WARPS = BLOCK / 32;
    extern __shared__ __align__(16) unsigned char bytes[];  // dynamic, because peers of a cluster map it
    A* room = reinterpret_cast<A*>(bytes);                  // [3][WARPS], then this block's {m, s, sum}
    A* mine = room + 3 * WARPS;
    const int rank = CL > 1 ? blockIdx.x % CL : 0;
    const i64 index = blockIdx.x / CL;
    const Row<T> row(XENT_ARGUMENTS, index);
    const int first = (rank * BLOCK + threadIdx.x) * VEC - skew<T, VEC>(row.x);
    constexpr int STEP = CL * BLOCK * VEC;
    A v[VPT][VEC], m = -infinity<A>(), s = 0, sum = 0;
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        load_piece<T, VEC>(v[i], row.x, first + i * STEP, C, -infinity<A>());
#pragma unroll
        for (int j = 0; j < VEC; ++j) m = nanmax(m, v[i][j]);
    }
    // every warp shifts by its own maximum, then the states are merged: one exchange instead of two
    m = warp_max<32>(m);
    const A base = base_of(m);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        if (row.smooth) row.template spread<VEC>(sum, v[i], first + i * STEP, C);
#pragma unroll
        for (int j = 0; j < VEC; ++j) s += v[i][j] = exp_(v[i][j] - base);
    }
    s = warp_sum<32>(s);
    sum = warp_sum<32>(sum);
    State<A> st = block_merge<WARPS>(State<A>{m, s}, sum, room);
#if XP_HAS_CLUSTER
    if (CL > 1) {
        if (threadIdx.x == 0) {
            mine[0] = st.m;
            mine[1] = st.s;
            mine[2] = sum;
        }
        cooperative_groups::this_cluster().sync();
        const int lane = threadIdx.x & 31;
        const A* theirs = cooperative_groups::this_cluster().map_shared_rank(mine, lane < CL ? lane : 0);
        st = warp_merge(lane < CL ? State<A>{theirs[0], theirs[1]} : State<A>{-infinity<A>(), A(0)});
        sum = warp_sum<32>(lane < CL ? theirs[2] : A(0));
    }
#endif
    if (threadIdx.x == 0 && rank == 0 && loss) loss[index] = row.value(st, sum);
    if (dx) {
        T* out = dx + index * lddx;
        const bool aligned = same_skew<T, VEC>(row.x, out);
        // from the warp's maximum to the row's; a warp of -inf has v = 0, and k must be finite
        const A k = exp_((m == -infinity<A>() ? st.m : m) - st.m) / st.s;
#pragma unroll
        for (int i = 0; i < VPT; ++i) {
            row.template gradient<VEC>(v[i], k, first + i * STEP, C);
            store_piece<T, VEC>(out, first + i * STEP, C, v[i], aligned);
        }
    }
#if XP_HAS_CLUSTER
    if (CL > 1) cooperative_groups::this_cluster().sync();  // peers may still read this block's shared memory
#endif
}

// ---- any C: one row a block, read twice ---------------------------------------------------------------------------
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) xent_online(XENT_PARAMETERS) {
    typedef Acc<T> A;
    constexpr int WARPS = BLOCK / 32, STEP = BLOCK * VEC;
    constexpr int AHEAD = VEC == 4 ? 4 : 2;  // pieces under way at once
    __shared__ A room[3 * WARPS];
    const Row<T> row(XENT_ARGUMENTS, blockIdx.x);
    const i64 first = (i64)threadIdx.x * VEC - skew<T, VEC>(row.x);
    A v[AHEAD][VEC], sum = 0;
    State<A> st{-infinity<A>(), A(0)};
    for (i64 c0 = first; c0 < C; c0 += (i64)AHEAD * STEP) {
        A m = st.m;
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            load_piece<T, VEC>(v[i], row.x, c0 + i * STEP, (i64)C, -infinity<A>());
#pragma unroll
            for (int j = 0; j < VEC; ++j) m = nanmax(m, v[i][j]);
        }
        const A base = base_of(m);
        if (st.m != m) st.s *= exp_(st.m - base);
        st.m = m;
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (row.smooth) row.template spread<VEC>(sum, v[i], c0 + i * STEP, (i64)C);
#pragma unroll
            for (int j = 0; j < VEC; ++j) st.s += exp_(v[i][j] - base);
        }
    }
    sum = warp_sum<32>(sum);
    st = block_merge<WARPS>(warp_merge(st), sum, room);
    if (threadIdx.x == 0 && loss) loss[blockIdx.x] = row.value(st, sum);
    if (!dx) return;
    T* out = dx + blockIdx.x * lddx;
    const bool aligned = same_skew<T, VEC>(row.x, out);
    for (i64 c0 = first; c0 < C; c0 += (i64)AHEAD * STEP) {
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) load_piece<T, VEC>(v[i], row.x, c0 + i * STEP, (i64)C, -infinity<A>());
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            const i64 c = c0 + i * STEP;
#pragma unroll
            for (int j = 0; j < VEC; ++j) v[i][j] = exp_(v[i][j] - st.m);
            row.template gradient<VEC>(v[i], A(1) / st.s, c, (i64)C);
            store_piece<T, VEC>(out, c, (i64)C, v[i], aligned);
        }
    }
}

// ---- around the pass -----------------------------------------------------------------------------------------------
// before it: labels out of range are noted (here, where registers are plenty), and
// totals[0 .. PARTS) = parts of the sum of w[y] over rows that count; block PARTS, if there: totals[PARTS] = sum w
template <typename A, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
xent_totals(const void* y, int wide, const A* weight, A* totals, i64 N, int C, i64 ignore_index, i64* note) {
    __shared__ A room[BLOCK / 32];
    A sum = 0;
    if (blockIdx.x < PARTS) {
        for (i64 i = (i64)blockIdx.x * BLOCK + threadIdx.x; i < N; i += (i64)PARTS * BLOCK) {
            const i64 t = label(y, wide, i);
            if (t == ignore_index) continue;
            if (t >= 0 && t < C) sum += weight ? weight[t] : A(1);
            else report(note, 1, t, C, i);
        }
    } else {
        for (int c = threadIdx.x; c < C; c += BLOCK) sum += weight[c];
    }
    sum = block_sum<BLOCK / 32>(sum, room);
    if (threadIdx.x == 0) totals[blockIdx.x] = sum;
}

// out[block] = sum of the block's share of `in`, over the total if there is one; the order of additions is fixed
template <typename A, typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK) xent_sum(const A* in, T* out, i64 n, const A* totals) {
    __shared__ A room[BLOCK / 32];
    A sum = 0;
    for (i64 i = (i64)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (i64)gridDim.x * BLOCK) sum += in[i];
    sum = block_sum<BLOCK / 32>(sum, room);
    const A total = totals ? warp_sum<32>(totals[threadIdx.x & 31]) : A(1);
    if (threadIdx.x == 0) out[blockIdx.x] = from_acc<T>(sum / total);
}

// out = in * dy, for a gradient from above that was not known in the pass: one warp a row at a time
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
xent_scale(const T* in, i64 ldi, T* out, i64 ldo, const T* dy, int dy_step, i64 N, int C) {
    const i64 warps = (i64)gridDim.x * (BLOCK / 32);
    for (i64 r = (i64)blockIdx.x * (BLOCK / 32) + threadIdx.x / 32; r < N; r += warps) {
        const T* from = in + r * ldi;
        T* to = out + r * ldo;
        const Acc<T> g = to_acc(dy[r * dy_step]);
        const bool aligned = same_skew<T, VEC>(from, to);
        for (i64 c = (i64)(threadIdx.x & 31) * VEC - skew<T, VEC>(from); c < C; c += 32 * VEC) {
            Acc<T> v[VEC];
            load_piece<T, VEC>(v, from, c, (i64)C, Acc<T>(0));
#pragma unroll
            for (int j = 0; j < VEC; ++j) v[j] = v[j] == Acc<T>(0) ? Acc<T>(0) : v[j] * g;  // ignored: 0, whatever g
            store_piece<T, VEC>(to, c, (i64)C, v, aligned);
        }
    }
}
