// Batch norm in two reads, for data that do not fit on the chip: statistics and output forward, sums and dx backward.
// Between the two, a small kernel combines the parts; a launch orders them, so nothing here needs a fence or a counter.
#include "batch_norm_walks.cuh"
using namespace xp;

// grid = tiles * parts; partial: Moments
template <typename T, int VEC, bool COLUMNS>
__global__ void __launch_bounds__(BLOCK, 2) bn_statistics(const T* x, Acc<T>* partial, BN_GEOMETRY) {
    typedef Layout<T, VEC, COLUMNS> L;
    typedef Moments<Acc<T>> V;
    __shared__ Room<L, V> room;
    const int tile = blockIdx.x / parts, part = blockIdx.x % parts;
    const L at(tile, part, BN_ARGUMENTS);
    V v[L::LANES];
    read_moments<L, false>(at, x, nullptr, v);
    const V mine = reduce_block(at, v, room);
    Partial<Acc<T>, V>::write(partial, tile, part, parts, at.width(), mine);
}

// grid = tiles
template <typename T>
__global__ void __launch_bounds__(BLOCK)
bn_combine_statistics(const Acc<T>* partial, Acc<T>* saved, void* running_mean, void* running_var, int narrow, Acc<T> count,
                      Acc<T> momentum, Acc<T> eps, int channels, int parts, int width) {
    __shared__ Moments<Acc<T>> room[BLOCK];
    const int c = blockIdx.x * width + threadIdx.x;
    const Moments<Acc<T>> mine = reduce_parts(partial, blockIdx.x, parts, width, room);
    if (threadIdx.x < width && c < channels)
        write_statistics<T>(mine, c, channels, saved, running_mean, running_var, narrow, count, momentum, eps);
}

// grid = tiles * parts. Statistics: those in `saved`; or, if fixed, the running ones, which then go to `saved` for backward.
// Blocks go from the end to the beginning: what the statistics read last is still in L2.
template <typename T, int VEC, bool COLUMNS>
__global__ void __launch_bounds__(BLOCK, 2)
bn_apply(const T* x, const T* residual, T* y, Acc<T>* saved, const void* weight, const void* bias, const void* running_mean,
         const void* running_var, int narrow, int fixed, Acc<T> eps, int relu, BN_GEOMETRY) {
    typedef Layout<T, VEC, COLUMNS> L;
    typedef Acc<T> A;
    const int index = gridDim.x - 1 - blockIdx.x;
    const L at(index / parts, index % parts, BN_ARGUMENTS);
    Channel<A> ch[L::LANES];
#pragma unroll
    for (int l = 0; l < L::LANES; ++l) {
        const int c = at.first + l;
        if (c >= channels) continue;
        if (fixed) {
            const A mean = get<T>(running_mean, narrow & NARROW_MEAN, c, A(0));
            const A inverse = inverse_deviation(get<T>(running_var, narrow & NARROW_VAR, c, A(1)), eps);
            ch[l].template prepare<T>(mean, A(0), inverse, weight, bias, narrow, c);
            if (at.part == 0 && at.row == 0) {
                saved[c] = mean;
                saved[channels + c] = A(0);
                saved[2 * channels + c] = inverse;
            }
        } else {
            ch[l].template load<T>(saved, channels, weight, bias, narrow, c);
        }
    }
    write_output<L, false>(at, x, static_cast<const typename L::Raw*>(nullptr), residual, y, ch, relu);
}

// grid = tiles * parts; partial: Sums. With fixed statistics dx is known here and written too, else it is null.
template <typename T, int VEC, bool COLUMNS>
__global__ void __launch_bounds__(BLOCK, 2)
bn_sums(const T* x, const T* dy, const T* y, T* dresidual, T* dx, Acc<T>* partial, const Acc<T>* saved, const void* weight,
        const void* bias, int narrow, int relu, BN_GEOMETRY) {
    typedef Layout<T, VEC, COLUMNS> L;
    typedef Sums<Acc<T>> V;
    __shared__ Room<L, V> room;
    const int tile = blockIdx.x / parts, part = blockIdx.x % parts;
    const L at(tile, part, BN_ARGUMENTS);
    Channel<Acc<T>> ch[L::LANES];
#pragma unroll
    for (int l = 0; l < L::LANES; ++l)
        if (at.first + l < channels) ch[l].template load<T>(saved, channels, weight, bias, narrow, at.first + l);
    V v[L::LANES];
    read_sums<L, false>(at, x, dy, y, static_cast<typename L::Raw*>(nullptr), 0, dresidual, dx, ch, relu, v);
    const V mine = reduce_block(at, v, room);
    Partial<Acc<T>, V>::write(partial, tile, part, parts, at.width(), mine);
}

// grid = tiles; sums: [2][channels], sum g and sum g (x - centre), for bn_gradient; null if the statistics are fixed
template <typename T>
__global__ void __launch_bounds__(BLOCK)
bn_combine_sums(const Acc<T>* partial, Acc<T>* sums, void* dweight, void* dbias, const Acc<T>* saved, int narrow, int channels,
                int parts, int width) {
    __shared__ Sums<Acc<T>> room[BLOCK];
    const int c = blockIdx.x * width + threadIdx.x;
    const Sums<Acc<T>> mine = reduce_parts(partial, blockIdx.x, parts, width, room);
    if (threadIdx.x >= width || c >= channels) return;
    write_gradients<T>(mine, c, channels, saved, dweight, dbias, narrow);
    if (sums) {
        sums[c] = mine.g;
        sums[channels + c] = mine.gx;
    }
}

// grid = tiles * parts, from the end to the beginning, as bn_apply
template <typename T, int VEC, bool COLUMNS>
__global__ void __launch_bounds__(BLOCK, 2)
bn_gradient(const T* x, const T* dy, const T* y, T* dx, const Acc<T>* sums, const Acc<T>* saved, const void* weight,
            const void* bias, int narrow, Acc<T> count, int relu, BN_GEOMETRY) {
    typedef Layout<T, VEC, COLUMNS> L;
    const int index = gridDim.x - 1 - blockIdx.x;
    const L at(index / parts, index % parts, BN_ARGUMENTS);
    Channel<Acc<T>> ch[L::LANES];
#pragma unroll
    for (int l = 0; l < L::LANES; ++l) {
        const int c = at.first + l;
        if (c >= channels) continue;
        ch[l].template load<T>(saved, channels, weight, bias, narrow, c);
        ch[l].gradient(Sums<Acc<T>>{sums[c], sums[channels + c]}, count);
    }
    write_gradient<L, false>(at, x, dy, y, static_cast<const typename L::Raw*>(nullptr), 0, dx, ch, relu);
}
