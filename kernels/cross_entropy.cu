// Softmax cross-entropy: each row's loss and its gradient in one pass, the logits read once, the gradient
// written once. With a = (1-eps) w[y] and b = eps/C,
//   loss     = a (lse - x[y]) + b sum_c w[c] (lse - x[c])
//   dx[c]    = (softmax(x)[c] (a + b sum w) - b w[c] - a [c == y]) dy / total
// with SMOOTH, for eps > 0; without it the loss has one term, and dx two.
// Here total is the sum of w[y] over rows that are not ignored ("mean") or 1.
// lse - x[y] is taken as (max - x[y]) + log(sum): exact for large logits, where lse itself is not.
//
// Four ways to hold a row between its two uses, all with the same parameters:
//   xent_small   nowhere: all rows in one block, with the labels and the sums around them, in one launch
//   xent_warp    in the registers of a warp or less
//   xent_block   in the registers of a block, or of a cluster of blocks that share their sums (sm_90)
//   xent_online  not at all: read twice, with a running maximum; any length, any device
//
// Registers hold the logits as they are in memory, twice as many of 16 bits: a conversion where they arrive would wait
// for each load before the next, and e^x is made again for the gradient.
#include "meetings.cuh"
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

// a label as it is in memory: nothing waits for it before it is asked for
struct Label {
    int low, high, wide;
    __device__ __forceinline__ Label(const void* y, int wide, i64 row) : high(0), wide(wide) {
        const int* at = static_cast<const int*>(y) + (wide ? 2 * row : row);
        low = at[0];
        if (wide) high = at[1];
    }
    __device__ __forceinline__ i64 value() const {
        return wide ? (i64)((unsigned long long)(unsigned)high << 32 | (unsigned)low) : (i64)low;
    }
};

#define XENT_PARAMETERS                                                                                             \
    const T *x, i64 ldx, T *dx, Acc<T> *loss, const void *y, int wide, const Acc<T> *weight,                        \
        const Acc<T> *totals, int mean, const T *dy, int dy_step, i64 N, int C, i64 ignore_index, Acc<T> eps
#define XENT_ARGUMENTS x, ldx, dx, loss, y, wide, weight, totals, mean, dy, dy_step, N, C, ignore_index, eps

template <typename T, int VEC> struct Logits : Piece<T, VEC> {
    // row[c .. c+VEC), -infinity outside of [0, n); row + c is aligned
    template <typename I> __device__ __forceinline__ void fetch(const T* row, I c, I n) {
        if (VEC * sizeof(T) == 16 && c >= 0 && c + VEC <= n) {
            this->load(row + c);
        } else {
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const I at = c + j;
                T v = from_acc<T>(-infinity<Acc<T>>());
                if (at >= 0 && at < n) v = row[at];
                this->set(j, v);
            }
        }
    }
    // Values of 16 bits are cheap to convert again and too many to keep, but the compiler would keep them: so it is told
    // that they change. `nothing` is 0, which it does not know.
    __device__ __forceinline__ void again(int nothing) {
#ifndef XP_EMU
        if (sizeof(T) == 2) {
#pragma unroll
            for (unsigned& word : this->words) asm volatile("add.s32 %0, %0, %1;" : "+r"(word) : "r"(nothing));
        }
#endif
    }
    __device__ __forceinline__ Acc<T> largest(Acc<T> m) const {
#pragma unroll
        for (int j = 0; j < VEC; ++j) m = nanmax(m, (*this)[j]);
        return m;
    }
    __device__ __forceinline__ Acc<T> add_exp(Acc<T> base, Acc<T> s) const {
#pragma unroll
        for (int j = 0; j < VEC; ++j) s += exp_((*this)[j] - base);
        return s;
    }
};

// What one row needs besides its logits. Made by every thread, after the loads of the logits have been issued: those of
// x[y] and of the weights overlap with them.
template <typename T, bool SMOOTH> struct Row {
    typedef Acc<T> A;
    const A* weight;
    int t;                // the label; -1: there is none
    A xt, a, b, sum_w;    // x[y], and the constants above
    A g;                  // dy / total
    A ref;                // where sum w (ref - x) is taken from: near the logits, so that it keeps their digits

    // total: what the losses are divided by; weights: their sum over all classes
    __device__ __forceinline__ Row(XENT_PARAMETERS, i64 row, Label label, A total, A weights) : weight(weight) {
        const i64 given = label.value();
        const bool skip = given == ignore_index, wrong = !skip && (given < 0 || given >= C);
        t = skip ? -1 : wrong ? 0 : (int)given;
        const int at = skip ? 0 : t;
        xt = to_acc(x[row * ldx + at]);
        a = (A(1) - eps) * (wrong ? not_a_number<A>() : weight ? weight[at] : A(1));
        b = ratio(eps, A(C));
        sum_w = weight ? weights : A(C);
        ref = SMOOTH ? to_acc(x[row * ldx]) : A(0);
        if (!(ref - ref == A(0))) ref = A(0);  // not finite
        g = dy ? to_acc(dy[row * dy_step]) : A(1);
        if (mean) g = total == A(0) ? A(0) : ratio(g, total);  // nothing counts: the mean is NaN, its gradient 0
    }
    // the same, after xent_totals; called by whole warps, which add up its parts
    static __device__ __forceinline__ Row make(XENT_PARAMETERS, i64 row, Label label) {
        const A total = mean ? warp_sum<32>(totals[threadIdx.x & 31]) : A(1);
        return Row(XENT_ARGUMENTS, row, label, total, SMOOTH && weight ? totals[PARTS] : A(0));
    }
    // adds w (ref - x) over one piece of the row
    template <int VEC, typename I>
    __device__ __forceinline__ void spread(A& sum, const Logits<T, VEC>& raw, I c, I C) const {
#pragma unroll
        for (int j = 0; j < VEC; ++j)
            if (c + j >= 0 && c + j < C) sum += (weight ? weight[c + j] : A(1)) * (ref - raw[j]);
    }
    __device__ __forceinline__ A value(State<A> st, A sum) const {
        const A ls = log_(st.s);
        A out = a * ((st.m - xt) + ls);
        if (SMOOTH) out += b * (sum_w * ((st.m - ref) + ls) + sum);
        return t < 0 ? A(0) : out;
    }
    // the gradient of one piece, to `to` + c
    template <int VEC, typename I>
    __device__ __forceinline__ void gradient(const Logits<T, VEC>& raw, State<A> st, T* to, I c, I C, bool aligned) const {
        const A mass = SMOOTH ? a + b * sum_w : a, scale = ratio(mass * g, st.s);
        const bool nothing = t < 0 || mass == A(0);  // the row counts for nothing, even where g is infinite
        A d[VEC];
#pragma unroll
        for (int j = 0; j < VEC; ++j) d[j] = nothing ? A(0) : exp_(raw[j] - st.m) * scale;
        if (SMOOTH && !nothing) {
#pragma unroll
            for (int j = 0; j < VEC; ++j) d[j] -= b * g * (weight && c + j >= 0 && c + j < C ? weight[c + j] : A(1));
        }
        if (c <= t && t < c + VEC && !nothing) {  // one thread of all has the label
#pragma unroll
            for (int j = 0; j < VEC; ++j) d[j] -= c + j == t ? a * g : A(0);
        }
        store_piece<T, VEC>(to, c, C, d, aligned);
    }
};

// Threads a multiprocessor, so that one row loads while another stores: 64 registers each; of 16 bits 80, with twice as
// many values; 128 where weights and sums need some
#if __CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200
template <typename T, bool SMOOTH> constexpr int threads() { return 512; }  // a few registers more are needed there
#else
template <typename T, bool SMOOTH> constexpr int threads() { return SMOOTH ? 512 : sizeof(T) == 2 ? 768 : 1024; }
#endif

// ---- C <= LANES * VEC * VPT (less the skew): 32 / LANES rows a warp ----------------------------------------------
template <typename T, int VEC, int VPT, int LANES, int BLOCK, bool SMOOTH>
__global__ void __launch_bounds__(BLOCK, threads<T, SMOOTH>() / BLOCK) xent_warp(XENT_PARAMETERS) {
    typedef Acc<T> A;
    const int lane = threadIdx.x % LANES;
    const i64 index = (i64)blockIdx.x * (BLOCK / LANES) + threadIdx.x / LANES;
    if (index - threadIdx.x % 32 / LANES >= N) return;  // the whole warp is past the last row
    const bool live = index < N;  // single lanes past it stay, and read it: every lane takes part in the shuffles
    const i64 r = live ? index : N - 1;
    const Label label(y, wide, r);
    const T* in = x + r * ldx;
    const int first = lane * VEC - skew<T, VEC>(in);
    Logits<T, VEC> raw[VPT];
#pragma unroll
    for (int i = 0; i < VPT; ++i) raw[i].fetch(in, first + i * LANES * VEC, C);
    const Row<T, SMOOTH> row = Row<T, SMOOTH>::make(XENT_ARGUMENTS, r, label);
    A m = -infinity<A>(), s = 0, sum = 0;
#pragma unroll
    for (int i = 0; i < VPT; ++i) m = raw[i].largest(m);
    m = warp_max<LANES>(m);
    const A base = base_of(m);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        raw[i].again((int)(N >> 62));
        if (SMOOTH) row.template spread<VEC>(sum, raw[i], first + i * LANES * VEC, C);
        s = raw[i].add_exp(base, s);
    }
    s = warp_sum<LANES>(s);
    if (SMOOTH) sum = warp_sum<LANES>(sum);
    if (!live) return;
    const State<A> st{m, s};
    if (lane == 0 && loss) loss[index] = row.value(st, sum);
    if (!dx) return;
    T* out = dx + index * C;
    const bool aligned = same_skew<T, VEC>(in, out);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        raw[i].again((int)(N >> 62));
        row.template gradient<VEC>(raw[i], st, out, first + i * LANES * VEC, C, aligned);
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
template <typename T, int VEC, int VPT, int BLOCK, int CL, bool SMOOTH>
__global__ void __launch_bounds__(BLOCK, threads<T, SMOOTH>() / BLOCK) XP_CLUSTER(CL)
xent_block(XENT_PARAMETERS) {
    typedef Acc<T> A;
    constexpr int WARPS = BLOCK / 32;
    extern __shared__ __align__(16) unsigned char bytes[];  // dynamic, because peers of a cluster write to it
    A* room = reinterpret_cast<A*>(bytes);                  // [3][WARPS], then [3][CL]: every block's {m, s, sum}
    A* all = room + 3 * WARPS;
    const int rank = CL > 1 ? blockIdx.x % CL : 0;
    const i64 index = blockIdx.x / CL;
    const Label label(y, wide, index);
    const T* in = x + index * ldx;
    const int first = (rank * BLOCK + threadIdx.x) * VEC - skew<T, VEC>(in);
    constexpr int STEP = CL * BLOCK * VEC;
    Logits<T, VEC> raw[VPT];
#pragma unroll
    for (int i = 0; i < VPT; ++i) raw[i].fetch(in, first + i * STEP, C);
#if XP_HAS_CLUSTER
    if (CL > 1) cluster_arrive();
#endif
    const Row<T, SMOOTH> row = Row<T, SMOOTH>::make(XENT_ARGUMENTS, index, label);
    A m = -infinity<A>(), s = 0, sum = 0;
#pragma unroll
    for (int i = 0; i < VPT; ++i) m = raw[i].largest(m);
    // every warp shifts by its own maximum, then the states are merged: one exchange instead of two
    m = warp_max<32>(m);
    const A base = base_of(m);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        raw[i].again((int)(N >> 62));
        if (SMOOTH) row.template spread<VEC>(sum, raw[i], first + i * STEP, C);
        s = raw[i].add_exp(base, s);
    }
    s = warp_sum<32>(s);
    sum = warp_sum<32>(sum);
    State<A> st = block_merge<WARPS>(State<A>{m, s}, sum, room);
#if XP_HAS_CLUSTER
    if (CL > 1) {
        cluster_started();  // before a peer that has not begun is written to
        if (threadIdx.x < CL) {
            cluster_store(all + rank, threadIdx.x, st.m);
            cluster_store(all + CL + rank, threadIdx.x, st.s);
            cluster_store(all + 2 * CL + rank, threadIdx.x, sum);
        }
        cluster_arrive();
        cluster_wait();
        const int lane = threadIdx.x & 31;
        st = warp_merge(lane < CL ? State<A>{all[lane], all[CL + lane]} : State<A>{-infinity<A>(), A(0)});
        sum = warp_sum<32>(lane < CL ? all[2 * CL + lane] : A(0));
    }
#endif
    if (threadIdx.x == 0 && rank == 0 && loss) loss[index] = row.value(st, sum);
    if (!dx) return;
    T* out = dx + index * C;
    const bool aligned = same_skew<T, VEC>(in, out);
#pragma unroll
    for (int i = 0; i < VPT; ++i) {
        raw[i].again((int)(N >> 62));
        row.template gradient<VEC>(raw[i], st, out, first + i * STEP, C, aligned);
    }
}

// ---- any C: one row a block, read twice ---------------------------------------------------------------------------
template <typename T, int VEC, int BLOCK, bool SMOOTH>
__global__ void __launch_bounds__(BLOCK) xent_online(XENT_PARAMETERS) {
    typedef Acc<T> A;
    constexpr int WARPS = BLOCK / 32, STEP = BLOCK * VEC;
    constexpr int AHEAD = 4;  // pieces under way at once
    __shared__ A room[3 * WARPS];
    const T* in = x + blockIdx.x * ldx;
    const Row<T, SMOOTH> row = Row<T, SMOOTH>::make(XENT_ARGUMENTS, blockIdx.x, Label(y, wide, blockIdx.x));
    const i64 first = (i64)threadIdx.x * VEC - skew<T, VEC>(in);
    Logits<T, VEC> raw[AHEAD];
    A sum = 0;
    State<A> st{-infinity<A>(), A(0)};
    for (i64 c0 = first; c0 < C; c0 += (i64)AHEAD * STEP) {
        A m = st.m;
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) raw[i].fetch(in, c0 + i * STEP, (i64)C);
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) m = raw[i].largest(m);
        const A base = base_of(m);
        if (st.m != m) st.s *= exp_(st.m - base);
        st.m = m;
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (SMOOTH) row.template spread<VEC>(sum, raw[i], c0 + i * STEP, (i64)C);
            st.s = raw[i].add_exp(base, st.s);
        }
    }
    sum = warp_sum<32>(sum);
    st = block_merge<WARPS>(warp_merge(st), sum, room);
    if (threadIdx.x == 0 && loss) loss[blockIdx.x] = row.value(st, sum);
    if (!dx) return;
    T* out = dx + (i64)blockIdx.x * C;
    const bool aligned = same_skew<T, VEC>(in, out);
    for (i64 c0 = first; c0 < C; c0 += (i64)AHEAD * STEP) {
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) raw[i].fetch(in, c0 + i * STEP, (i64)C);
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) row.template gradient<VEC>(raw[i], st, out, c0 + i * STEP, (i64)C, aligned);
    }
}

// ---- few logits: one block does all -------------------------------------------------------------------------------
// What xent_totals, a pass and xent_sum do: `totals` is written, and `value`, the sum or mean of the losses, if it is not
// null. A row takes LANES threads, which read it three times: the second time it is near.
template <typename T, int LANES, int BLOCK, bool SMOOTH>
__global__ void __launch_bounds__(BLOCK, 1) xent_small(XENT_PARAMETERS, Acc<T>* sums, T* value, i64* note) {
    typedef Acc<T> A;
    __shared__ A rooms[3][BLOCK / 32];
    A total = 0, weights = 0, losses = 0;
    for (i64 i = threadIdx.x; i < N; i += BLOCK) {
        const i64 given = Label(y, wide, i).value();
        if (given == ignore_index) continue;
        if (given >= 0 && given < C) total += weight ? weight[given] : A(1);
        else report(note, 1, given, C, i);
    }
    total = block_sum<BLOCK / 32>(total, rooms[0]);
    if (SMOOTH && weight) {
        for (int c = threadIdx.x; c < C; c += BLOCK) weights += weight[c];
        weights = block_sum<BLOCK / 32>(weights, rooms[1]);
    }
    if (threadIdx.x <= PARTS) sums[threadIdx.x] = threadIdx.x == 0 ? total : threadIdx.x == PARTS ? weights : A(0);
    const int lane = threadIdx.x % LANES;
    for (i64 whole = threadIdx.x / 32 * 32 / LANES; whole < N; whole += BLOCK / LANES) {  // first row of the warp
        const i64 index = whole + threadIdx.x % 32 / LANES, r = index < N ? index : N - 1;
        const T* in = x + r * ldx;
        const Row<T, SMOOTH> row(XENT_ARGUMENTS, r, Label(y, wide, r), total, weights);
        State<A> st{-infinity<A>(), A(0)};
        A sum = 0;
        for (int c = lane; c < C; c += LANES) st.m = nanmax(st.m, to_acc(in[c]));
        st.m = warp_max<LANES>(st.m);
        const A base = base_of(st.m);
        for (int c = lane; c < C; c += LANES) {
            Logits<T, 1> raw;
            raw.fetch(in, c, C);
            if (SMOOTH) row.template spread<1>(sum, raw, c, C);
            st.s = raw.add_exp(base, st.s);
        }
        st.s = warp_sum<LANES>(st.s);
        if (SMOOTH) sum = warp_sum<LANES>(sum);
        if (index >= N) continue;
        const A one = row.value(st, sum);
        if (lane == 0) losses += one;
        if (lane == 0 && loss) loss[index] = one;
        for (int c = lane; dx && c < C; c += LANES) {
            Logits<T, 1> raw;
            raw.fetch(in, c, C);
            row.template gradient<1>(raw, st, dx + index * C, c, C, true);
        }
    }
    if (!value) return;
    losses = block_sum<BLOCK / 32>(losses, rooms[2]);
    if (threadIdx.x == 0) *value = from_acc<T>(mean ? losses / total : losses);
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
            const i64 t = Label(y, wide, i).value();
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
