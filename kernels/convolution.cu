// Convolution of (N, C, H, W) as a product with the matrix of all windows, whose elements are read where they lie.
//
//   T is the type in memory, E what the products take: T itself, or of float tf32 or bfloat16.
//   correlate<..., false>   y = W x + b: a column for each place of y, a term for each (channel, tap)
//   correlate<..., true>    dx = W' dy: with stride s, dx has s x s classes of places, each with taps of its own
//   weight_gradient         dW = dy x': a column for each (channel, tap), a term for each place of y; and db
//   add_parts               dW, or db, from the sums of its blocks
#include "tiles.cuh"
using namespace xp;

// x (n, c, h, w), y (n, o, p, q), window (r, s)
#define XP_SHAPE                                                                                                     \
    int n, int c, int h, int w, int o, int p, int q, int r, int s, int stride_h, int stride_w, int pad_h, int pad_w, \
        int spread_h, int spread_w, int groups

constexpr int FAR = -(1 << 30);  // outside of any image, also when two of them are added

__device__ __forceinline__ bool inside(int i, int j, int height, int width) {
    return (unsigned)i < (unsigned)height && (unsigned)j < (unsigned)width;
}

// Along one axis: the places that are computed, first + i step; tap u of theirs, which is tap + u tap_step of the window,
// meets from + i stride + u spread.
struct Axis {
    int places, first, step, taps, tap, tap_step, from, stride, spread;
};
__device__ __forceinline__ Axis forward_axis(int places, int taps, int stride, int pad, int spread) {
    return Axis{places, 0, 1, taps, 0, 1, -pad, stride, spread};
}
// of dx: the places first, first + stride, ..., which the same taps reach
__device__ __forceinline__ Axis backward_axis(int size, int taps, int stride, int pad, int spread, int first) {
    int tap = 0, step = 1;
    while (tap < taps && (first + pad - tap * spread) % stride) ++tap;
    while (step * spread % stride) ++step;
    const bool none = tap == taps;
    return Axis{first < size ? (size - first + stride - 1) / stride : 0, first, stride,
                none ? 0 : (taps - tap + step - 1) / step, tap, step,
                none ? 0 : (first + pad - tap * spread) / stride, 1, -(step * spread / stride)};
}

// n / d by one product: exact for n below 2^21, of float64 for every int; an integer division would take the time of a
// whole step, for which all other warps wait
template <typename A> __device__ __forceinline__ int divide(int n, A inverse) { return (int)((n + A(0.5)) * inverse); }

struct Term {  // of a sum over (channel, tap)
    int source, weight, i, j;
};

template <typename T, typename E, int BM, int BN, int M, int N, int BK, bool BACK>
__global__ void __launch_bounds__(Tile<T, E, BM, BN, M, N>::THREADS, 512 / Tile<T, E, BM, BN, M, N>::THREADS)
correlate(const T* from, const T* weight, const T* bias, T* to, XP_SHAPE) {
    typedef Tile<T, E, BM, BN, M, N> P;
    typedef typename P::Staged S;
    constexpr int ROWS = P::THREADS / BN, STEP = P::THREADS / BK, COUNT_A = BM / STEP, COUNT_B = BK / ROWS;
    static_assert(P::THREADS % BN == 0 && BK % ROWS == 0 && P::THREADS % BK == 0 && BM % STEP == 0, "a whole number each");
    __shared__ __align__(32) S a[2][BK][BM + P::PAD];
    __shared__ __align__(32) S b[2][BK][BN + P::PAD];
    __shared__ Term terms[2][BK];
    __shared__ Axis axes[2];
    __shared__ float inverses[2];  // of the taps of a channel, and of a row of them
    const int classes = BACK ? stride_h * stride_w : 1;
    const int group = blockIdx.z / classes, kind = blockIdx.z % classes;
    if (threadIdx.x < 2) {  // kept here, since registers are scarce
        const int first = threadIdx.x ? kind % stride_w : kind / stride_w;
        axes[threadIdx.x] = threadIdx.x ? (BACK ? backward_axis(w, s, stride_w, pad_w, spread_w, first)
                                                : forward_axis(q, s, stride_w, pad_w, spread_w))
                                        : (BACK ? backward_axis(h, r, stride_h, pad_h, spread_h, first)
                                                : forward_axis(p, r, stride_h, pad_h, spread_h));
    }
    __syncthreads();
    const Axis &down = axes[0], &across = axes[1];
    const int channels = BACK ? o : c, height = BACK ? p : h, width = BACK ? q : w;  // of `from`
    const int outputs = BACK ? c : o, rows = outputs / groups, depth = channels / groups;
    const int taps = down.taps * across.taps, count = depth * taps, steps = (count + BK - 1) / BK;
    if (threadIdx.x < 2) inverses[threadIdx.x] = 1.0f / (threadIdx.x ? across.taps : taps);
    __syncthreads();
    const int area = down.places * across.places, columns = n * area;
    if (blockIdx.x * BN >= columns) return;

    // this thread's column of B
    int i0 = FAR, j0 = FAR;
    const int column = blockIdx.x * BN + threadIdx.x % BN;
    if (column < columns) {
        const int image = column / area, at = column % area;
        i0 = at / across.places * down.stride + down.from;
        j0 = at % across.places * across.stride + across.from;
        from += ((i64)image * channels + group * depth) * height * width + (i64)i0 * width + j0;
    }
    const int depth_c = c / groups, row_stride = BACK ? r * s : depth_c * r * s;
    const int term_stride = BACK ? depth_c * r * s : r * s;
    // and its first row of A
    const int row_a = blockIdx.y * BM + threadIdx.x / BK, rows_a = rows - row_a;
    weight += group * (BACK ? depth * term_stride : rows * row_stride) + row_a * row_stride;

    const auto describe = [&](int step) {
        if (threadIdx.x >= BK) return;
        const int k = step * BK + threadIdx.x;
        Term t{0, -1, FAR, FAR};
        if (k < count) {
            const int channel = divide(k, inverses[0]), tap = k - channel * taps;
            const int u = divide(tap, inverses[1]), v = tap - u * across.taps;
            t.i = u * down.spread;
            t.j = v * across.spread;
            t.source = channel * height * width + t.i * width + t.j;
            t.weight = channel * term_stride + (down.tap + u * down.tap_step) * s + across.tap + v * across.tap_step;
        }
        terms[step & 1][threadIdx.x] = t;
    };
    T next_a[COUNT_A], next_b[COUNT_B];
    const T zero = from_acc<T>(Acc<T>(0));
    const auto fetch = [&](int step) {
#pragma unroll
        for (int i = 0; i < COUNT_B; ++i) {
            const Term t = terms[step & 1][threadIdx.x / BN + i * ROWS];
            next_b[i] = inside(i0 + t.i, j0 + t.j, height, width) ? from[t.source] : zero;
        }
#pragma unroll
        for (int i = 0; i < COUNT_A; ++i) {
            const int at = terms[step & 1][threadIdx.x % BK].weight;
            next_a[i] = i * STEP < rows_a && at >= 0 ? weight[i * STEP * row_stride + at] : zero;
        }
    };
    const auto stage = [&](int step) {
#pragma unroll
        for (int i = 0; i < COUNT_B; ++i) b[step & 1][threadIdx.x / BN + i * ROWS][threadIdx.x % BN] = P::stage(next_b[i]);
#pragma unroll
        for (int i = 0; i < COUNT_A; ++i) a[step & 1][threadIdx.x % BK][threadIdx.x / BK + i * STEP] = P::stage(next_a[i]);
    };

    P tile;
    describe(0);
    describe(1);
    __syncthreads();
    if (steps) {
        fetch(0);
        stage(0);
    }
    __syncthreads();
    for (int step = 0; step < steps; ++step) {  // the next step's elements are under way while this one's are multiplied
        describe(step + 2);
        if (step + 1 < steps) fetch(step + 1);
        tile.template multiply<BK>(a[step & 1], b[step & 1]);
        if (step + 1 < steps) stage(step + 1);
        __syncthreads();
    }

    const int plane = BACK ? h * w : p * q, width_to = BACK ? w : q;
    constexpr int PIECE = P::WIDTH < vec_of<T>() ? P::WIDTH : vec_of<T>();
    const bool whole = area == plane && area % PIECE == 0;  // neighbours in D are neighbours in memory, and aligned
    to += (i64)group * rows * plane;
    if (bias) bias += group * rows;
#pragma unroll
    for (int i = 0; i < P::GROUPS; ++i)
#pragma unroll
        for (int e = 0; e < P::WIDTH; ++e) {
            const int column = blockIdx.x * BN + P::column(i) + e;
            if (column >= columns || (whole && e % PIECE)) continue;
            const int at = column % area;
            const int place = (down.first + at / across.places * down.step) * width_to + across.first +
                              at % across.places * across.step;
            T* first = to + (i64)(column / area) * outputs * plane + place;
#pragma unroll
            for (int j = 0; j < P::ROWS; ++j) {
                const int row = blockIdx.y * BM + P::row(j);
                if (row >= rows) continue;
                const Acc<T> shift = bias ? to_acc(bias[row]) : Acc<T>(0);
                if (whole) {
                    Vec<T, PIECE> piece;  // store_vec would keep two registers more than there are
#pragma unroll
                    for (int f = 0; f < PIECE; ++f) piece.v[f] = from_acc<T>(tile.value(j, i, (e + f) % P::WIDTH) + shift);
                    *reinterpret_cast<Vec<T, PIECE>*>(first + (i64)row * plane) = piece;
                } else {
                    first[(i64)row * plane] = from_acc<T>(tile.value(j, i, e) + shift);
                }
            }
        }
}

// a staged element that nothing has rounded: with tf32 nobody asks
template <typename S> __device__ __forceinline__ auto exact(S v) { return to_acc(v); }
__device__ __forceinline__ float exact(tf32 v) { return v.v; }

struct Tap {  // of an element of dW: where it lies from the corner of a window
    int source, i, j;
};
struct Place {  // of y: the corner of its window in x, and its element of dy
    i64 x, dy;
    int i, j;
};

// parts[block of terms] = {dW (o, c / groups, r, s), db (o) if with_bias} over `chunk` places of y
template <typename T, typename E, int BM, int BN, int M, int N, int BK>
__global__ void __launch_bounds__(Tile<T, E, BM, BN, M, N>::THREADS, 512 / Tile<T, E, BM, BN, M, N>::THREADS)
weight_gradient(const T* x, const T* dy, Acc<T>* parts, int with_bias, int chunk, XP_SHAPE) {
    typedef Tile<T, E, BM, BN, M, N> P;
    typedef typename P::Staged S;
    constexpr int STEP = P::THREADS / BK, COUNT_A = BM / STEP, COUNT_B = BN / STEP;
    static_assert(P::THREADS % BK == 0 && BM % STEP == 0 && BN % STEP == 0 && P::THREADS >= BM, "a whole number each");
    __shared__ __align__(32) S a[2][BK][BM + P::PAD];
    __shared__ __align__(32) S b[2][BK][BN + P::PAD];
    __shared__ Place places[2][BK];
    __shared__ Tap taps[BN];
    __shared__ double inverses[2];  // of the places of an image, and of a row
    const int depth = c / groups, rows = o / groups, columns = depth * r * s, group = blockIdx.z;
    const int across = (columns + BN - 1) / BN, first = blockIdx.x % across * BN;
    const int part = blockIdx.x / across, area = p * q, all = n * area, begin = part * chunk;
    const int stop = begin + chunk < all ? begin + chunk : all, steps = (stop - begin + BK - 1) / BK;

    if (threadIdx.x < 2) inverses[threadIdx.x] = 1.0 / (threadIdx.x ? q : area);
    for (int i = threadIdx.x; i < BN; i += P::THREADS) {
        const int column = first + i, tap = column % (r * s), u = tap / s * spread_h, v = tap % s * spread_w;
        taps[i] = column < columns ? Tap{column / (r * s) * h * w + u * w + v, u, v} : Tap{0, FAR, FAR};
    }
    const auto describe = [&](int step) {
        if (threadIdx.x >= BK) return;
        const int k = begin + step * BK + threadIdx.x;
        Place place{0, -1, FAR, FAR};
        if (k < stop) {
            const int image = divide(k, inverses[0]), at = k - image * area, row = divide(at, inverses[1]);
            place.i = row * stride_h - pad_h;
            place.j = (at - row * q) * stride_w - pad_w;
            place.x = ((i64)image * c + group * depth) * h * w + (i64)place.i * w + place.j;
            place.dy = ((i64)image * o + group * rows) * area + at;
        }
        places[step & 1][threadIdx.x] = place;
    };
    T next_a[COUNT_A], next_b[COUNT_B];
    const T zero = from_acc<T>(Acc<T>(0));
    const int k = threadIdx.x % BK, line = threadIdx.x / BK, row_a = blockIdx.y * BM + line;
    const auto fetch = [&](int step) {
        const Place place = places[step & 1][k];
        const T *corner = x + place.x, *slope = dy + place.dy + (i64)row_a * area;
#pragma unroll
        for (int i = 0; i < COUNT_B; ++i) {
            const Tap t = taps[line + i * STEP];
            next_b[i] = inside(place.i + t.i, place.j + t.j, h, w) ? corner[t.source] : zero;
        }
#pragma unroll
        for (int i = 0; i < COUNT_A; ++i)
            next_a[i] = row_a + i * STEP < rows && place.dy >= 0 ? slope[i * STEP * area] : zero;
    };
    const auto stage = [&](int step) {
#pragma unroll
        for (int i = 0; i < COUNT_B; ++i) b[step & 1][k][line + i * STEP] = P::stage(next_b[i]);
#pragma unroll
        for (int i = 0; i < COUNT_A; ++i) a[step & 1][k][line + i * STEP] = P::stage(next_a[i]);
    };

    P tile;
    Acc<T> sum = 0;
    const bool sums = with_bias && first == 0 && threadIdx.x < BM;
    __syncthreads();
    describe(0);
    describe(1);
    __syncthreads();
    if (steps) {
        fetch(0);
        stage(0);
    }
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        if (step + 1 < steps) fetch(step + 1);
        describe(step + 2);
        tile.template multiply<BK>(a[step & 1], b[step & 1]);
        if (sums) {
#pragma unroll
            for (int i = 0; i < BK; ++i) sum += exact(a[step & 1][i][threadIdx.x]);
        }
        if (step + 1 < steps) stage(step + 1);
        __syncthreads();
    }

    parts += part * ((i64)o * columns + (with_bias ? o : 0));
    const int row = blockIdx.y * BM + threadIdx.x;
    if (sums && row < rows) parts[(i64)o * columns + group * rows + row] = sum;
#pragma unroll
    for (int j = 0; j < P::ROWS; ++j) {
        const int row = blockIdx.y * BM + P::row(j);
        if (row >= rows) continue;
#pragma unroll
        for (int i = 0; i < P::GROUPS; ++i)
#pragma unroll
            for (int e = 0; e < P::WIDTH; ++e) {
                const int column = first + P::column(i) + e;
                if (column < columns) parts[(i64)(group * rows + row) * columns + column] = tile.value(j, i, e);
            }
    }
}

// out = the sum of `count` parts, `length` elements apart; `lanes` elements a block, the same order always
template <typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
add_parts(const Acc<T>* parts, i64 first, T* out, i64 size, i64 length, int count, int lanes) {
    __shared__ Acc<T> room[BLOCK];
    const i64 at = (i64)blockIdx.x * lanes + threadIdx.x % lanes;
    const int rows = BLOCK / lanes;
    Acc<T> sum = 0;
    if (at < size) {
#pragma unroll 4
        for (int i = threadIdx.x / lanes; i < count; i += rows) sum += parts[i * length + first + at];
    }
    room[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= lanes || at >= size) return;
    for (int i = 1; i < rows; ++i) sum += room[i * lanes + threadIdx.x];
    out[at] = from_acc<T>(sum);
}
