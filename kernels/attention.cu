// softmax(scale q k^T + mask) v and its gradients, the scores never in memory (Dao et al., 2022; Dao, 2023).
//
// A block owns rows, ROWS for each warp, and walks over the others in tiles of 32, which lie in shared memory one kind
// at a time. Of the 32 scores of an own row each lane has one; of the result COLUMNS = D / 32 columns. Forward and
// `queries` own queries and walk over keys, `keys` the other way round: no two blocks write to one place. Sums are in
// Acc<T>, products on the ordinary units.
//   p = e^(s - lse), y = p' v, p' = p kept / (1 - rate) by dropout;
//   ds = p (kept / (1 - rate) dy v^T - delta), delta = sum dy y;  dq = scale ds k, dk = scale ds^T q, dv = p'^T dy
#include "philox.cuh"
using namespace xp;

constexpr int TILE = 32;
template <typename A> constexpr int words() { return 16 / (int)sizeof(A); }  // numbers in 16 bytes
template <typename A, int D> constexpr int pitch() { return D + words<A>(); }  // rows begin 4 banks apart

// elements from one sample, head and row to the next; a row's lie side by side
#define XP_LAYOUT(x) i64 x##_sample, i64 x##_head, i64 x##_row
// what is known of the scores: mask of kind 1: of bool, 2: of T; `group` heads of queries share keys and values; e, f:
// features of q, k and of v; wide: a bit for each of q, k, v, dy whose rows may be read in pieces of 16 bytes
#define XP_SCORES(T)                                                                                                   \
    const void *mask, int kind, i64 mask_sample, i64 mask_head, i64 mask_row, i64 mask_key, int causal, Acc<T> scale,     \
        int dropped, unsigned threshold, Acc<T> factor, KEY_PARAMETERS, int samples, int heads, int group, int length,     \
        int keys, int e, int f, int wide

template <int N, typename A> __device__ __forceinline__ void take(A (&v)[N], const A* p) {
    constexpr int W = N < words<A>() ? N : words<A>();
#pragma unroll
    for (int i = 0; i < N; i += W) {
        const Vec<A, W> t = *reinterpret_cast<const Vec<A, W>*>(p + i);
#pragma unroll
        for (int j = 0; j < W; ++j) v[i + j] = t.v[j];
    }
}

// room[COUNT][pitch] = rows of p, of which `left` exist; zeros where there is nothing
template <typename T, int D, int COUNT, int THREADS>
__device__ __forceinline__ void load_rows(Acc<T>* room, const T* p, i64 stride, int left, int width, bool whole) {
    typedef Acc<T> A;
    constexpr int VEC = vec_of<T>(), W = words<A>();
    if (whole) {
#pragma unroll 1
        for (int i = threadIdx.x; i < COUNT * (D / VEC); i += THREADS) {
            const int r = i / (D / VEC), c = i % (D / VEC) * VEC;
            A v[VEC] = {};
            if (r < left && c < width) load_vec<T, VEC>(v, p + r * stride + c);
#pragma unroll
            for (int j = 0; j < VEC; j += W) {
                Vec<A, W> t;
#pragma unroll
                for (int w = 0; w < W; ++w) t.v[w] = v[j + w];
                *reinterpret_cast<Vec<A, W>*>(room + r * pitch<A, D>() + c + j) = t;
            }
        }
    } else {
#pragma unroll 1
        for (int i = threadIdx.x; i < COUNT * D; i += THREADS) {
            const int r = i / D, c = i % D;
            room[r * pitch<A, D>() + c] = r < left && c < width ? to_acc(p[r * stride + c]) : A(0);
        }
    }
}

// s[r] = own[r] . other
template <typename A, int D, int ROWS>
__device__ __forceinline__ void products(A (&s)[ROWS], const A* own, const A* other) {
    constexpr int W = words<A>();
#pragma unroll
    for (int r = 0; r < ROWS; ++r) s[r] = 0;
#pragma unroll 1
    for (int c = 0; c < D; c += W) {
        A b[W];
        take<W>(b, other + c);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            A a[W];
            take<W>(a, own + r * pitch<A, D>() + c);
#pragma unroll
            for (int j = 0; j < W; ++j) s[r] += a[j] * b[j];
        }
    }
}

// sum[r] += p[r] . tile, this lane's columns of it
template <typename A, int D, int ROWS>
__device__ __forceinline__ void combine(A (&sum)[ROWS][D / 32], const A* p, const A* tile) {
    constexpr int W = words<A>(), COLUMNS = D / 32;
    tile += threadIdx.x % 32 * COLUMNS;
#pragma unroll 1
    for (int k = 0; k < TILE; k += W) {
        A v[W][COLUMNS];
#pragma unroll
        for (int i = 0; i < W; ++i) take<COLUMNS>(v[i], tile + (k + i) * pitch<A, D>());
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            A w[W];
            take<W>(w, p + r * TILE + k);
#pragma unroll
            for (int i = 0; i < W; ++i)
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c) sum[r][c] += w[i] * v[i][c];
        }
    }
}

// rows [first, first + ROWS) of y that exist = v
template <typename T, int D, int ROWS>
__device__ __forceinline__ void store_rows(T* y, i64 stride, int left, int width, const Acc<T> (&v)[ROWS][D / 32]) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int j = 0; j < D / 32; ++j) {
            const int c = threadIdx.x % 32 * (D / 32) + j;
            if (r < left && c < width) y[r * stride + c] = from_acc<T>(v[r][j]);
        }
}

// what dropout leaves of x: nothing, also of NaN or infinity
template <typename A> __device__ __forceinline__ A times(A kept, A x) { return kept == A(0) ? A(0) : kept * x; }

// the scores of one sample and head
template <typename T> struct Scores {
    typedef Acc<T> A;
    const void* mask;
    int kind, causal, dropped, length, keys;
    i64 mask_row, mask_key, place, all;
    unsigned threshold;
    A scale, factor;
    Key key;

    // For `rows` weights, `next_query` and `next_key` apart, 32 places apart in either room: what the mask adds, and what
    // dropout multiplies by, whose numbers are those of queries, samples with heads and keys. Not in registers: a loop.
    __device__ __forceinline__ void prepare(A* added, A* kept, int rows, int query, int k, int next_query, int next_key) const {
        if (!kind && !dropped) return;
#pragma unroll 1
        for (int r = 0; r < rows; ++r, query += next_query, k += next_key) {
            kept[TILE * r] = 0;
            if (query >= length || k >= keys) continue;
            const i64 at = query * mask_row + k * mask_key;
            if (kind == 1) added[TILE * r] = static_cast<const unsigned char*>(mask)[at] ? A(0) : -infinity<A>();
            if (kind == 2) added[TILE * r] = to_acc(static_cast<const T*>(mask)[at]);
            if (!dropped) continue;
            const i64 i = (query * all + place) * keys + k;
            unsigned w[4];
            philox_block(w, i / 4, key);
            const unsigned word = i & 2 ? (i & 1 ? w[3] : w[2]) : (i & 1 ? w[1] : w[0]);
            kept[TILE * r] = word >= threshold ? factor : A(0);
        }
    }
    // -inf where the query may not look, or one of the two is not there
    __device__ __forceinline__ A operator()(A product, int query, int k, const A& added) const {
        if (query >= length || k >= keys || (causal && k > query)) return -infinity<A>();
        if (!kind) return product * scale;
        return kind == 1 && added != A(0) ? added : product * scale + added;
    }
};
#define XP_SCORES_OF(sample, head)                                                                                      \
    Scores<T> {                                                                                                         \
        kind == 1 ? (const void*)(static_cast<const unsigned char*>(mask) + sample * mask_sample + head * mask_head)       \
                  : (const void*)(static_cast<const T*>(mask) + sample * mask_sample + head * mask_head),                  \
            kind, causal, dropped, length, keys, mask_row, mask_key, (i64)sample *heads + head, (i64)samples *heads,     \
            threshold, scale, factor, KEY_ARGUMENTS                                                                        \
    }

// lse: (samples, heads, length), the logarithm of each query's sum of exponentials; 0 if it may look nowhere
template <typename T, int D, int WARPS, int ROWS>
__global__ void __launch_bounds__(WARPS * 32, 16 / WARPS)
attention_forward(const T* q, const T* k, const T* v, T* y, Acc<T>* lse, XP_LAYOUT(q), XP_LAYOUT(k), XP_LAYOUT(v),
                  XP_LAYOUT(y), XP_SCORES(T)) {
    typedef Acc<T> A;
    constexpr int OWN = WARPS * ROWS, P = pitch<A, D>();
    __shared__ __align__(16) A own[OWN * P];
    __shared__ __align__(16) A tile[TILE * P];
    __shared__ __align__(16) A weights[OWN * TILE];
    __shared__ A added[OWN * TILE];
    const int lane = threadIdx.x % 32, mine = threadIdx.x / 32 * ROWS, spot = mine * TILE + lane;
    const int blocks = (length + OWN - 1) / OWN;
    const int first = (blocks - 1 - (int)(blockIdx.x % blocks)) * OWN;  // with a causal mask, the last has most to do
    const int head = (int)(blockIdx.x / blocks % heads), sample = (int)(blockIdx.x / blocks / heads);
    const Scores<T> scores = XP_SCORES_OF(sample, head);
    q += sample * q_sample + head * q_head + first * q_row;
    k += sample * k_sample + head / group * k_head;
    v += sample * v_sample + head / group * v_head;
    load_rows<T, D, OWN, WARPS * 32>(own, q, q_row, length - first, e, wide & 1);
    A sum[ROWS][D / 32] = {}, s[ROWS], most[ROWS], total[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; ++r) most[r] = -infinity<A>();
    const int stop = causal && first + OWN < keys ? first + OWN : keys;
    for (int from = 0; from < stop; from += TILE) {
        __syncthreads();
        load_rows<T, D, TILE, WARPS * 32>(tile, k + from * k_row, k_row, keys - from, e, wide & 2);
        __syncthreads();
        scores.prepare(added + spot, weights + spot, ROWS, first + mine, from + lane, 1, 0);
        products<A, D, ROWS>(s, own + mine * P, tile + lane * P);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            A& weight = weights[spot + r * TILE];
            s[r] = scores(s[r], first + mine + r, from + lane, added[spot + r * TILE]);
            const A now = nanmax(most[r], warp_max<32>(s[r])), shift = now == -infinity<A>() ? A(0) : now;
            const A less = exp_(most[r] - shift), p = exp_(s[r] - shift);
            most[r] = now;
            total[r] = total[r] * less + p;  // of this lane's keys
            weight = dropped ? times(weight, p) : p;
#pragma unroll
            for (int c = 0; c < D / 32; ++c) sum[r][c] *= less;
        }
        __syncthreads();
        load_rows<T, D, TILE, WARPS * 32>(tile, v + from * v_row, v_row, keys - from, f, wide & 4);
        __syncthreads();
        combine<A, D, ROWS>(sum, weights + mine * TILE, tile);
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        const A all = warp_sum<32>(total[r]), nowhere = most[r] == -infinity<A>();
#pragma unroll
        for (int c = 0; c < D / 32; ++c) sum[r][c] = nowhere ? A(0) : sum[r][c] / all;
        if (lane == 0 && first + mine + r < length)
            lse[((i64)sample * heads + head) * length + first + mine + r] = nowhere ? A(0) : most[r] + log_(all);
    }
    y += sample * y_sample + head * y_head + (first + mine) * y_row;
    store_rows<T, D, ROWS>(y, y_row, length - first - mine, f, sum);
}

// dq, and delta for `attention_keys`
template <typename T, int D, int WARPS, int ROWS>
__global__ void __launch_bounds__(WARPS * 32, 16 / WARPS)
attention_queries(const T* q, const T* k, const T* v, const T* y, const T* dy, const Acc<T>* lse, Acc<T>* delta, T* dq,
                  XP_LAYOUT(q), XP_LAYOUT(k), XP_LAYOUT(v), XP_LAYOUT(y), XP_LAYOUT(dy), XP_LAYOUT(dq), XP_SCORES(T)) {
    typedef Acc<T> A;
    constexpr int OWN = WARPS * ROWS, P = pitch<A, D>();
    __shared__ __align__(16) A own[OWN * P];
    __shared__ __align__(16) A slope[OWN * P];
    __shared__ __align__(16) A tile[TILE * P];
    __shared__ __align__(16) A weights[OWN * TILE];
    __shared__ A norms[OWN];
    __shared__ A deltas[OWN];
    __shared__ A added[OWN * TILE];
    const int lane = threadIdx.x % 32, mine = threadIdx.x / 32 * ROWS, spot = mine * TILE + lane;
    const int blocks = (length + OWN - 1) / OWN;
    const int first = (blocks - 1 - (int)(blockIdx.x % blocks)) * OWN;
    const int head = (int)(blockIdx.x / blocks % heads), sample = (int)(blockIdx.x / blocks / heads);
    const Scores<T> scores = XP_SCORES_OF(sample, head);
    k += sample * k_sample + head / group * k_head;
    v += sample * v_sample + head / group * v_head;
    y += sample * y_sample + head * y_head;
    const i64 row = ((i64)sample * heads + head) * length;
    load_rows<T, D, OWN, WARPS * 32>(own, q + sample * q_sample + head * q_head + first * q_row, q_row, length - first, e,
                                     wide & 1);
    load_rows<T, D, OWN, WARPS * 32>(slope, dy + sample * dy_sample + head * dy_head + first * dy_row, dy_row,
                                     length - first, f, wide & 8);
    __syncthreads();
    A sum[ROWS][D / 32] = {}, s[ROWS], dp[ROWS];
    for (int r = 0; r < ROWS && first + mine + r < length; ++r) {
        const int query = first + mine + r;
        A less = 0;
        for (int c = lane; c < f; c += 32) less += slope[(mine + r) * P + c] * to_acc(y[query * y_row + c]);
        less = warp_sum<32>(less);
        if (lane == 0) {
            norms[mine + r] = lse[row + query];
            deltas[mine + r] = delta[row + query] = less;
        }
    }
    const int stop = causal && first + OWN < keys ? first + OWN : keys;
    for (int from = 0; from < stop; from += TILE) {
        __syncthreads();
        load_rows<T, D, TILE, WARPS * 32>(tile, v + from * v_row, v_row, keys - from, f, wide & 4);
        __syncthreads();
        products<A, D, ROWS>(dp, slope + mine * P, tile + lane * P);
        __syncthreads();
        load_rows<T, D, TILE, WARPS * 32>(tile, k + from * k_row, k_row, keys - from, e, wide & 2);
        __syncthreads();
        scores.prepare(added + spot, weights + spot, ROWS, first + mine, from + lane, 1, 0);
        products<A, D, ROWS>(s, own + mine * P, tile + lane * P);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            A& weight = weights[spot + r * TILE];
            s[r] = scores(s[r], first + mine + r, from + lane, added[spot + r * TILE]);
            const A slope_of_p = (dropped ? times(weight, dp[r]) : dp[r]) - deltas[mine + r];
            weight = s[r] == -infinity<A>() ? A(0) : exp_(s[r] - norms[mine + r]) * slope_of_p * scale;
        }
        __syncwarp();
        combine<A, D, ROWS>(sum, weights + mine * TILE, tile);
    }
    dq += sample * dq_sample + head * dq_head + (first + mine) * dq_row;
    store_rows<T, D, ROWS>(dq, dq_row, length - first - mine, e, sum);
}

// dk and dv, sums over the queries of all heads that share them
template <typename T, int D, int WARPS, int ROWS>
__global__ void __launch_bounds__(WARPS * 32, 16 / WARPS)
attention_keys(const T* q, const T* k, const T* v, const T* dy, const Acc<T>* lse, const Acc<T>* delta, T* dk, T* dv,
               XP_LAYOUT(q), XP_LAYOUT(k), XP_LAYOUT(v), XP_LAYOUT(dy), XP_LAYOUT(dk), XP_LAYOUT(dv), XP_SCORES(T)) {
    typedef Acc<T> A;
    constexpr int OWN = WARPS * ROWS, P = pitch<A, D>();
    __shared__ __align__(16) A own_k[OWN * P];
    __shared__ __align__(16) A own_v[OWN * P];
    __shared__ __align__(16) A tile[TILE * P];
    __shared__ __align__(16) A weights[OWN * TILE];
    __shared__ A added[OWN * TILE];
    const int lane = threadIdx.x % 32, mine = threadIdx.x / 32 * ROWS, spot = mine * TILE + lane;
    const int blocks = (keys + OWN - 1) / OWN, shared = heads / group;
    const int first = (int)(blockIdx.x % blocks) * OWN;  // with a causal mask, the first has most to do
    const int of = (int)(blockIdx.x / blocks % shared), sample = (int)(blockIdx.x / blocks / shared);
    load_rows<T, D, OWN, WARPS * 32>(own_k, k + sample * k_sample + of * k_head + first * k_row, k_row, keys - first, e,
                                     wide & 2);
    load_rows<T, D, OWN, WARPS * 32>(own_v, v + sample * v_sample + of * v_head + first * v_row, v_row, keys - first, f,
                                     wide & 4);
    A to_k[ROWS][D / 32] = {}, to_v[ROWS][D / 32] = {}, s[ROWS], dp[ROWS];
    for (int head = of * group; head < (of + 1) * group; ++head) {
        const Scores<T> scores = XP_SCORES_OF(sample, head);
        const T* q_here = q + sample * q_sample + head * q_head;
        const T* dy_here = dy + sample * dy_sample + head * dy_head;
        const i64 row = ((i64)sample * heads + head) * length;
        for (int from = causal ? first / TILE * TILE : 0; from < length; from += TILE) {
            const int query = from + lane;
            const A norm = query < length ? lse[row + query] : A(0), less = query < length ? delta[row + query] : A(0);
            __syncthreads();
            load_rows<T, D, TILE, WARPS * 32>(tile, q_here + from * q_row, q_row, length - from, e, wide & 1);
            __syncthreads();
            products<A, D, ROWS>(s, own_k + mine * P, tile + lane * P);
            __syncthreads();
            load_rows<T, D, TILE, WARPS * 32>(tile, dy_here + from * dy_row, dy_row, length - from, f, wide & 8);
            __syncthreads();
            scores.prepare(added + spot, weights + spot, ROWS, query, first + mine, 0, 1);
            products<A, D, ROWS>(dp, own_v + mine * P, tile + lane * P);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                A& weight = weights[spot + r * TILE];
                s[r] = scores(s[r], query, first + mine + r, added[spot + r * TILE]);
                const bool seen = s[r] != -infinity<A>();
                const A p = seen ? exp_(s[r] - norm) : A(0), kept = weight;
                weight = dropped ? times(kept, p) : p;
                s[r] = seen ? p * ((dropped ? times(kept, dp[r]) : dp[r]) - less) * scale : A(0);
            }
            __syncwarp();
            combine<A, D, ROWS>(to_v, weights + mine * TILE, tile);
            __syncwarp();  // the weights are used up
#pragma unroll
            for (int r = 0; r < ROWS; ++r) weights[spot + r * TILE] = s[r];
            __syncthreads();
            load_rows<T, D, TILE, WARPS * 32>(tile, q_here + from * q_row, q_row, length - from, e, wide & 1);
            __syncthreads();
            combine<A, D, ROWS>(to_k, weights + mine * TILE, tile);
        }
    }
    dk += sample * dk_sample + of * dk_head + (first + mine) * dk_row;
    dv += sample * dv_sample + of * dv_head + (first + mine) * dv_row;
    store_rows<T, D, ROWS>(dk, dk_row, keys - first - mine, e, to_k);
    store_rows<T, D, ROWS>(dv, dv_row, keys - first - mine, f, to_v);
}
