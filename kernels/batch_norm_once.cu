// Batch norm in one read, for data that fit on the chip: a group of blocks keeps a tile in its shared memory between the
// statistics and the output, or between the sums and dx. GROUP says what a group is, and so how its blocks meet:
//   1   one block, which meets nobody
//   8   a cluster (sm_90); groups are scheduled and wait on their own, so one loads while another stores
//   0   `parts` blocks of a cooperative grid, which take one tile after another and wait for nobody else
#include "batch_norm_walks.cuh"
#include "meetings.cuh"
using namespace xp;

template <class L, class V> struct Totals : Room<L, V> {
    V all[L::TILE];
};
// From threads 0 .. width to all, each for its lanes. This barrier also ends the reads of room.warps, so that the next
// reduction may start at once; and the next one's barrier ends the reads of room.all.
template <class L, class V>
__device__ __forceinline__ void spread(const L& at, const V& mine, V (&v)[L::LANES], Totals<L, V>& room) {
    if (threadIdx.x < at.width()) room.all[threadIdx.x] = mine;
    __syncthreads();
#pragma unroll
    for (int l = 0; l < L::LANES; ++l) v[l] = room.all[at.column * L::LANES + l];
}

// A group's total: of its only block, or of its blocks after they met. Every thread gets those of its lanes, and threads
// 0 .. width one a channel besides.
template <int GROUP, class L, typename A, class V>
__device__ __forceinline__ V reduce(const L& at, A* partial, int tile, unsigned* count, unsigned expected, V (&v)[L::LANES],
                                    Totals<L, V>& room) {
    V mine = reduce_block<L, V>(at, v, room);
    if (GROUP != 1) {
        Partial<A, V>::write(partial, tile, at.part, at.parts, at.width(), mine);
#if XP_HAS_CLUSTER
        if (GROUP > 1) {
            cluster_arrive();
            cluster_wait();
        }
#endif
        if (GROUP == 0) meet(count, expected);
        mine = reduce_parts(partial, tile, at.parts, at.width(), room.warps);
    }
    spread(at, mine, v, room);
    return mine;
}

// counts: what each group of a cooperative grid meets by; blocks that make no whole group have nothing to do
#define BN_EACH_TILE                                                                                                  \
    const int groups = gridDim.x / parts, width = COLUMNS ? tx * VEC : 1, tiles = (channels + width - 1) / width;      \
    const int group = blockIdx.x / parts;                                                                              \
    unsigned expected = 0;                                                                                             \
    for (int tile = group < groups ? group : tiles; tile < tiles; tile += groups)

#define BN_FORWARD_PARAMETERS                                                                                         \
    const T *x, const T *residual, T *y, Acc<T> *partial, unsigned *counts, Acc<T> *saved, const void *weight, const void *bias,         \
        void *running_mean, void *running_var, int narrow, Acc<T> count, Acc<T> momentum, Acc<T> eps, int relu, BN_GEOMETRY
#define BN_FORWARD_ARGUMENTS                                                                                          \
    x, residual, y, partial, counts, saved, weight, bias, running_mean, running_var, narrow, count, momentum, eps, relu, BN_ARGUMENTS

// dynamic shared memory: the slab, BLOCK raw items for each turn of a thread
template <typename T, int VEC, bool COLUMNS, int GROUP> __device__ __forceinline__ void forward(BN_FORWARD_PARAMETERS) {
    typedef Layout<T, VEC, COLUMNS> L;
    typedef Moments<Acc<T>> V;
    extern __shared__ __align__(16) unsigned char bytes[];
    __shared__ Totals<L, V> room;
    typename L::Raw* slab = reinterpret_cast<typename L::Raw*>(bytes);
    BN_EACH_TILE {
        const L at(tile, blockIdx.x % parts, BN_ARGUMENTS);
        V v[L::LANES];
        read_moments<L, true>(at, x, slab, v);
        const V mine = reduce<GROUP>(at, partial, tile, counts + group, expected += parts, v, room);
        Channel<Acc<T>> ch[L::LANES];
#pragma unroll
        for (int l = 0; l < L::LANES; ++l)
            if (at.first + l < channels)
                ch[l].template prepare<T>(v[l].hi, v[l].lo, inverse_deviation(v[l].m2 / count, eps), weight, bias, narrow,
                                          at.first + l);
        write_output<L, true>(at, x, static_cast<const typename L::Raw*>(slab), residual, y, ch, relu);
        const int c = tile * width + threadIdx.x;
        if (at.part == 0 && threadIdx.x < width && c < channels)
            write_statistics<T>(mine, c, channels, saved, running_mean, running_var, narrow, count, momentum, eps);
    }
}

#define BN_BACKWARD_PARAMETERS                                                                                        \
    const T *x, const T *dy, const T *y, T *dresidual, T *dx, Acc<T> *partial, unsigned *counts, const Acc<T> *saved,   \
        void *dweight, void *dbias, const void *weight, const void *bias, int narrow, Acc<T> count, int held, int relu,  \
        BN_GEOMETRY
#define BN_BACKWARD_ARGUMENTS                                                                                         \
    x, dy, y, dresidual, dx, partial, counts, saved, dweight, dbias, weight, bias, narrow, count, held, relu, BN_ARGUMENTS

// the slab holds x and, `held` items later, g
template <typename T, int VEC, bool COLUMNS, int GROUP> __device__ __forceinline__ void backward(BN_BACKWARD_PARAMETERS) {
    typedef Layout<T, VEC, COLUMNS> L;
    typedef Sums<Acc<T>> V;
    extern __shared__ __align__(16) unsigned char bytes[];
    __shared__ Totals<L, V> room;
    typename L::Raw* slab = reinterpret_cast<typename L::Raw*>(bytes);
    BN_EACH_TILE {
        const L at(tile, blockIdx.x % parts, BN_ARGUMENTS);
        Channel<Acc<T>> ch[L::LANES];
#pragma unroll
        for (int l = 0; l < L::LANES; ++l)
            if (at.first + l < channels) ch[l].template load<T>(saved, channels, weight, bias, narrow, at.first + l);
        V v[L::LANES];
        read_sums<L, true>(at, x, dy, y, slab, held, dresidual, static_cast<T*>(nullptr), ch, relu, v);
        const V mine = reduce<GROUP>(at, partial, tile, counts + group, expected += parts, v, room);
#pragma unroll
        for (int l = 0; l < L::LANES; ++l) ch[l].gradient(v[l], count);
        write_gradient<L, true>(at, x, dy, y, static_cast<const typename L::Raw*>(slab), held, dx, ch, relu);
        const int c = tile * width + threadIdx.x;
        if (at.part == 0 && threadIdx.x < width && c < channels) {
            write_gradients<T>(mine, c, channels, saved, dweight, dbias, narrow);
        }
    }
}

// ---- the kernels: on their own or in a cooperative grid, and in clusters ------------------------------------------------
template <typename T, int VEC, bool COLUMNS, int GROUP>
__global__ void __launch_bounds__(BLOCK, 2) bn_forward(BN_FORWARD_PARAMETERS) {
    forward<T, VEC, COLUMNS, GROUP>(BN_FORWARD_ARGUMENTS);
}
template <typename T, int VEC, bool COLUMNS, int GROUP>
__global__ void __launch_bounds__(BLOCK, 2) bn_backward(BN_BACKWARD_PARAMETERS) {
    backward<T, VEC, COLUMNS, GROUP>(BN_BACKWARD_ARGUMENTS);
}
template <typename T, int VEC, bool COLUMNS, int GROUP>
__global__ void __launch_bounds__(BLOCK, 2) XP_CLUSTER(GROUP) bn_forward_cluster(BN_FORWARD_PARAMETERS) {
    forward<T, VEC, COLUMNS, GROUP>(BN_FORWARD_ARGUMENTS);
}
template <typename T, int VEC, bool COLUMNS, int GROUP>
__global__ void __launch_bounds__(BLOCK, 2) XP_CLUSTER(GROUP) bn_backward_cluster(BN_BACKWARD_PARAMETERS) {
    backward<T, VEC, COLUMNS, GROUP>(BN_BACKWARD_ARGUMENTS);
}
