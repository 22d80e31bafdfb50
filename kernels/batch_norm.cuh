// What the batch norm kernels share. One channel's values x are centred at their mean, scaled and shifted:
//   y = w (x - mean) / sqrt(var + eps) + b [+ residual] [then ReLU]
//   dx = w / sigma (g - sum(g) / n - x^ sum(g x^) / n),  x^ = (x - mean) / sigma,  g = dy where the ReLU let through
//
// Two layouts, one code: a *tile* is what a group of blocks reduces together, an *item* what a thread takes at once.
//   planes (NCHW)   tile = 1 channel; items = 16-byte pieces of its N planes of `segment` elements, at any alignment
//   columns (NHWC)  tile = tx * VEC channels side by side; items = rows, of which a thread takes VEC channels
// The `parts` blocks of a group take turns item by item; their partial results are combined in a fixed order.
#pragma once
#include "common.cuh"

namespace xp {
constexpr int BLOCK = 256, WARPS = BLOCK / 32;

// ---- statistics ------------------------------------------------------------------------------------------------
// n values with mean hi + lo and sum of squared deviations m2. The mean has two parts, as float has 24 bits: with a
// mean of 1e4 and a deviation of 1, x - hi is exact and lo what rounding took from the mean.
template <typename A> struct Moments { A n, hi, lo, m2; };
// hi + lo + more, as a rounded sum and what rounding took (Knuth's two-sum)
template <typename A> __device__ __forceinline__ void two_sum(A& hi, A& lo, A more) {
    const A sum = hi + more, part = sum - hi;
    lo += (hi - (sum - part)) + (more - part);
    hi = sum + lo;
    lo -= hi - sum;
}
// Chan, Golub & LeVeque, 1983
template <typename A> __device__ __forceinline__ Moments<A> combine(Moments<A> a, const Moments<A>& b) {
    const bool none = a.n == A(0);
    const A n = a.n + b.n, f = n == A(0) ? A(0) : ratio(b.n, n);
    if (none) a.hi = b.hi, a.lo = b.lo;  // and if b has none, f is 0
    const A d = (b.hi - a.hi) + (b.lo - a.lo);
    two_sum(a.hi, a.lo, d * f);
    a.m2 += b.m2 + d * d * (a.n * f);
    a.n = n;
    return a;
}
template <typename A> __device__ __forceinline__ Moments<A> from_lane(const Moments<A>& v, int o) {
    return Moments<A>{__shfl_xor_sync(0xffffffffu, v.n, o), __shfl_xor_sync(0xffffffffu, v.hi, o),
                      __shfl_xor_sync(0xffffffffu, v.lo, o), __shfl_xor_sync(0xffffffffu, v.m2, o)};
}
// sum g and sum g (x - hi)
template <typename A> struct Sums { A g, gx; };
template <typename A> __device__ __forceinline__ Sums<A> combine(Sums<A> a, const Sums<A>& b) {
    return Sums<A>{a.g + b.g, a.gx + b.gx};
}
template <typename A> __device__ __forceinline__ Sums<A> from_lane(const Sums<A>& v, int o) {
    return Sums<A>{__shfl_xor_sync(0xffffffffu, v.g, o), __shfl_xor_sync(0xffffffffu, v.gx, o)};
}

// ---- where a thread's values are -----------------------------------------------------------------------------------
#define BN_GEOMETRY i64 planes, i64 outer, int segment, int pieces, int channels, int tx, int parts
#define BN_ARGUMENTS planes, outer, segment, pieces, channels, tx, parts

// items first, first + step, ... of planes * pieces, without a division in the loop
struct Walk {
    i64 plane, planes, by_plane;
    int piece, pieces, by_piece;
    __device__ __forceinline__ Walk(i64 first, i64 step, i64 planes, int pieces)
        : plane(first / pieces), planes(planes), by_plane(step / pieces), piece((int)(first % pieces)), pieces(pieces),
          by_piece((int)(step % pieces)) {}
    __device__ __forceinline__ bool more() const { return plane < planes; }
    __device__ __forceinline__ void next() {
        plane += by_plane;
        piece += by_piece;
        if (piece >= pieces) {
            piece -= pieces;
            ++plane;
        }
    }
};

template <typename T, int VEC, bool COLUMNS> struct Layout {
    typedef Acc<T> A;
    typedef Vec<T, VEC> Raw;
    static constexpr int LANES = COLUMNS ? VEC : 1;                    // channels a thread
    static constexpr int TILE = COLUMNS ? (VEC == 1 ? 32 : 64) : 1;    // most channels a block
    static constexpr int BITS = COLUMNS ? 1 : VEC;                     // an item's bits in a mask of values
    static constexpr unsigned WHOLE = (1u << BITS) - 1;
    i64 planes, outer, base;
    int segment, pieces, parts, part, tx, column, row, first, channels;

    __device__ __forceinline__ Layout(int tile, int part, BN_GEOMETRY)
        : planes(planes), outer(outer), segment(segment), pieces(COLUMNS ? 1 : pieces), parts(parts), part(part), tx(tx),
          channels(channels) {
        column = COLUMNS ? threadIdx.x % tx : 0;
        row = COLUMNS ? threadIdx.x / tx : threadIdx.x;
        first = (tile * (COLUMNS ? tx : 1) + column) * LANES;
        base = COLUMNS ? first : (i64)tile * segment;
        if (first >= channels) this->planes = 0;  // nothing here, but the thread still meets the others
    }
    __device__ __forceinline__ int rows() const { return COLUMNS ? BLOCK / tx : BLOCK; }
    __device__ __forceinline__ int width() const { return COLUMNS ? tx * VEC : 1; }
    __device__ __forceinline__ Walk walk() const {
        return Walk((i64)part * rows() + row, (i64)parts * rows(), planes, COLUMNS ? 1 : pieces);
    }
    // An item as seen from any of the arrays: its element offset, and which of its values exist. Pieces are cut where
    // x is aligned, so that a plane of 49 elements is read in 16-byte pieces too.
    struct Item {
        i64 offset;
        unsigned mask;
    };
    __device__ __forceinline__ Item item(const Walk& w, const T* x) const {
        if (!w.more()) return Item{0, 0};
        const i64 start = w.plane * outer + base;
        if (COLUMNS) return Item{start, 1};
        const int c = w.piece * VEC - skew<T, VEC>(x + start);
        if (c >= 0 && c + VEC <= segment) return Item{start + c, WHOLE};
        const int low = c < 0 ? -c : 0, high = segment - c < VEC ? segment - c : VEC;
        return Item{start + c, high <= low ? 0 : ((1u << high) - 1) & ~((1u << low) - 1)};
    }
    static __device__ __forceinline__ bool vectored(const T* p, unsigned mask) {
        return COLUMNS || (mask == WHOLE && ((unsigned long long)p & (sizeof(T) * VEC - 1)) == 0);
    }
    // left as they are in memory: a conversion here would wait for each load before the next
    static __device__ __forceinline__ Raw fetch(const T* p, const Item& it) {
        Raw raw;
        if (it.mask && vectored(p + it.offset, it.mask)) {
            raw = *reinterpret_cast<const Raw*>(p + it.offset);
        } else {
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                raw.v[j] = !COLUMNS && (it.mask >> j & 1) ? p[it.offset + j] : from_acc<T>(A(0));
        }
        return raw;
    }
    static __device__ __forceinline__ void put(T* p, const Item& it, const A (&v)[VEC]) {
        if (!it.mask) return;
        if (vectored(p + it.offset, it.mask)) {
            store_vec<T, VEC>(p + it.offset, v);
        } else {
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                if (it.mask >> j & 1) p[it.offset + j] = from_acc<T>(v[j]);
        }
    }
};

// ---- one number a channel, of the type of x or of its sums ---------------------------------------------------------
enum { NARROW_WEIGHT = 1, NARROW_BIAS = 2, NARROW_MEAN = 4, NARROW_VAR = 8 };
template <typename T> __device__ __forceinline__ Acc<T> get(const void* p, bool narrow, int c, Acc<T> none) {
    if (!p) return none;
    return narrow ? to_acc(static_cast<const T*>(p)[c]) : static_cast<const Acc<T>*>(p)[c];
}
template <typename T> __device__ __forceinline__ void set(void* p, bool narrow, int c, Acc<T> v) {
    if (!p) return;
    if (narrow) static_cast<T*>(p)[c] = from_acc<T>(v);
    else static_cast<Acc<T>*>(p)[c] = v;
}

// y = scale (x - centre) + shift;  dx = scale g + slope (x - centre) + offset
template <typename A> struct Channel {
    A centre, rest, inverse, scale, shift;  // the mean is centre + rest
    A slope, offset;
    template <typename T>
    __device__ __forceinline__ void prepare(A hi, A lo, A inv, const void* weight, const void* bias, int narrow, int c) {
        centre = hi;
        rest = lo;
        inverse = inv;
        scale = get<T>(weight, narrow & NARROW_WEIGHT, c, A(1)) * inv;
        shift = get<T>(bias, narrow & NARROW_BIAS, c, A(0)) - lo * scale;
    }
    // saved: [3][channels]
    template <typename T>
    __device__ __forceinline__ void load(const A* saved, int channels, const void* weight, const void* bias, int narrow, int c) {
        prepare<T>(saved[c], saved[channels + c], saved[2 * channels + c], weight, bias, narrow, c);
    }
    __device__ __forceinline__ A out(A x) const { return (x - centre) * scale + shift; }
    __device__ __forceinline__ A inner_product(const Sums<A>& s) const { return (s.gx - rest * s.g) * inverse; }  // sum g x^
    __device__ __forceinline__ void gradient(const Sums<A>& s, A count) {
        slope = -scale * inverse * (inner_product(s) / count);
        offset = -scale * (s.g / count) - slope * rest;
    }
};

// ---- from threads to blocks to groups ----------------------------------------------------------------------------------
// One value a thread, of channel threadIdx.x % width: their totals, of which threads 0 .. width return one each.
// `width` is a power of two up to 64; room: [max(BLOCK, WARPS * width)], less if width is at most 32. Fixed order.
template <class V> __device__ __forceinline__ V sum_rows(const V* room, int rows, int width) {
    V sum = room[threadIdx.x % width];
    if (threadIdx.x < width)
        for (int i = 1; i < rows; ++i) sum = combine(sum, room[i * width + threadIdx.x]);
    return sum;
}
template <class V> __device__ __forceinline__ V reduce_channels(V v, int width, V* room) {
#pragma unroll 1
    for (int o = width; o < 32; o *= 2) v = combine(v, from_lane(v, o));
    const int group = width > 32 ? width : 32;  // threads that make one row of the room
    if (threadIdx.x % group < width) room[threadIdx.x / group * width + threadIdx.x % group] = v;
    __syncthreads();
    return sum_rows(room, BLOCK / group, width);
}

template <class L, class V> struct Room {
    V warps[WARPS * L::TILE];
};
// LANES values a thread, likewise
template <class L, class V> __device__ __forceinline__ V reduce_block(const L& at, V (&v)[L::LANES], Room<L, V>& room) {
    if (L::LANES == 1) return reduce_channels(v[0], at.width(), room.warps);
#pragma unroll 1
    for (int o = at.tx; o < 32; o *= 2) {
#pragma unroll
        for (int l = 0; l < L::LANES; ++l) v[l] = combine(v[l], from_lane(v[l], o));
    }
    if ((threadIdx.x & 31) < at.tx) {
#pragma unroll
        for (int l = 0; l < L::LANES; ++l) room.warps[(threadIdx.x >> 5) * at.width() + at.column * L::LANES + l] = v[l];
    }
    __syncthreads();
    return sum_rows(room.warps, WARPS, at.width());
}
// A group's partial results, [tile][part][field][channel of the tile]: written by one thread a channel, read from L2 (the
// blocks that wrote them are on other multiprocessors, whose writes L1 does not see).
template <typename A, class V> struct Partial {
    static constexpr int FIELDS = sizeof(V) / sizeof(A);
    static __device__ __forceinline__ void write(A* partial, int tile, int part, int parts, int width, const V& v) {
        if (threadIdx.x >= width) return;
        A* to = partial + ((i64)tile * parts + part) * FIELDS * width + threadIdx.x;
        const A* from = reinterpret_cast<const A*>(&v);
#pragma unroll
        for (int f = 0; f < FIELDS; ++f) to[f * width] = from[f];
    }
    static __device__ __forceinline__ V read(const A* partial, int tile, int part, int parts, int width, int channel) {
        const A* from = partial + ((i64)tile * parts + part) * FIELDS * width + channel;
        V v;
        A* to = reinterpret_cast<A*>(&v);
#pragma unroll
        for (int f = 0; f < FIELDS; ++f) to[f] = __ldcg(from + f * width);
        return v;
    }
};
// The group's total, from its parts; threads 0 .. width return one each
template <typename A, class V>
__device__ __forceinline__ V reduce_parts(const A* partial, int tile, int parts, int width, V* room) {
    V v{};
#pragma unroll 2
    for (int p = threadIdx.x / width; p < parts; p += BLOCK / width)
        v = combine(v, Partial<A, V>::read(partial, tile, p, parts, width, threadIdx.x % width));
    return reduce_channels(v, width, room);
}

// ---- per channel results -----------------------------------------------------------------------------------------------
template <typename A> __device__ __forceinline__ A inverse_deviation(A var, A eps) { return A(1) / sqrt(var + eps); }

// saved = {mean, its rest, 1 / sigma}; running statistics move towards the batch's, with the unbiased variance
template <typename T>
__device__ __forceinline__ void write_statistics(const Moments<Acc<T>>& m, int c, int channels, Acc<T>* saved, void* running_mean,
                                                 void* running_var, int narrow, Acc<T> count, Acc<T> momentum, Acc<T> eps) {
    typedef Acc<T> A;
    saved[c] = m.hi;
    saved[channels + c] = m.lo;
    saved[2 * channels + c] = inverse_deviation(m.m2 / count, eps);
    const A keep = A(1) - momentum, unbiased = m.m2 / (count - A(1));
    if (running_mean) set<T>(running_mean, narrow & NARROW_MEAN, c,
                             keep * get<T>(running_mean, narrow & NARROW_MEAN, c, A(0)) + momentum * m.hi);
    if (running_var) set<T>(running_var, narrow & NARROW_VAR, c,
                            keep * get<T>(running_var, narrow & NARROW_VAR, c, A(0)) + momentum * unbiased);
}
template <typename T>
__device__ __forceinline__ void write_gradients(const Sums<Acc<T>>& s, int c, int channels, const Acc<T>* saved, void* dweight,
                                                void* dbias, int narrow) {
    Channel<Acc<T>> ch;
    ch.template load<T>(saved, channels, nullptr, nullptr, 0, c);
    set<T>(dweight, narrow & NARROW_WEIGHT, c, ch.inner_product(s));
    set<T>(dbias, narrow & NARROW_BIAS, c, s.g);
}
}  // namespace xp
