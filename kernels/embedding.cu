// Rows of a table by number, and the table's gradient: each row's sum over its tokens, in their order, so to the same bits.
#include "common.cuh"
using namespace xp;

// y[i] = weight[x[i]], in pieces of a row; NaN, and a note, where the number is out of range
template <typename T, typename I, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
take_rows(const T* weight, const I* x, T* y, unsigned all, unsigned pieces, i64 n, int op, i64* note) {
    const unsigned at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= all) return;
    const unsigned token = at / pieces, piece = at % pieces;
    const i64 row = x[token];
    Acc<T> v[VEC];
    if (row >= 0 && row < n) {
        load_vec<T, VEC>(v, weight + (row * pieces + piece) * VEC);
    } else {
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[j] = not_a_number<Acc<T>>();
        if (piece == 0) report(note, op, row, n, token);
    }
    store_vec<T, VEC>(y + (i64)at * VEC, v);
}

// order[starts[r] .. starts[r + 1]) = the tokens of row r, ascending; those of the row `padding`, and wrong ones, are left
// out. A block takes `rows` <= BLOCK rows of the table and looks at all tokens: it waits for no other.
template <typename I, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
order_tokens(const I* x, int* starts, int* order, int count, i64 n, i64 padding, int rows) {
    __shared__ int next[BLOCK];  // of each row: how many tokens; then where the next one goes
    __shared__ int row_of[BLOCK];
    __shared__ int token_of[BLOCK];
    __shared__ int room[32];
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const i64 base = (i64)blockIdx.x * rows, stop = base + rows < n ? base + rows : n;
    next[thread] = 0;
    __syncthreads();
    int before = 0;
    for (int i = thread; i < count; i += BLOCK) {
        const i64 row = x[i];
        if (row < 0 || row >= stop || row == padding) continue;
        if (row < base) ++before;
        else atomicAdd(&next[row - base], 1);
    }
    before = block_sum<BLOCK / 32>(before, room);  // a barrier: the counts are there
    const int own = next[thread];
    int sum = own;  // of this row and those before it, in this warp
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
        const int left = __shfl_up_sync(0xffffffffu, sum, o);
        if (lane >= o) sum += left;
    }
    __syncthreads();  // every thread has read what `room` held
    if (lane == 31) room[warp] = sum;
    __syncthreads();
    before += warp_sum<32>(lane < warp ? room[lane] : 0) + sum;
    next[thread] = before - own;
    if (base + thread < stop) {
        starts[base + thread] = before - own;
        if (base + thread == n - 1) starts[n] = before;
    }

    i64 row = thread < count ? (i64)x[thread] : -1;
    for (int i = thread; i - thread < count; i += BLOCK) {
        const bool on = row >= base && row < stop && row != padding;
        const int mine = (int)(row - base);
        row = i + BLOCK < count ? (i64)x[i + BLOCK] : -1;
        const unsigned found = __ballot_sync(0xffffffffu, on);
        __syncthreads();  // the list before is used up
        if (lane == 0) room[warp] = __popc(found);
        __syncthreads();
        const int some = lane < BLOCK / 32 ? room[lane] : 0;
        const int first = warp_sum<32>(lane < warp ? some : 0), length = warp_sum<32>(some);
        if (on) {
            const int at = first + __popc(found & ((1u << lane) - 1));
            row_of[at] = mine;
            token_of[at] = i;
        }
        __syncthreads();
        for (int from = 0; warp == 0 && from < length; from += 32) {
            const bool there = from + lane < length;
            const int r = there ? row_of[from + lane] : -1 - lane;
            int same = 0, later = 0;  // other tokens of this row among the 32
            for (int j = 0; j < 32; ++j) {
                const bool other = __shfl_sync(0xffffffffu, r, j) == r;
                same += other && j < lane;
                later += other && j > lane;
            }
            const int at = there ? next[r] + same : 0;
            __syncwarp();  // all have read where the next one goes
            if (there) {
                order[at] = token_of[from + lane];
                if (!later) next[r] = at + 1;
            }
            __syncwarp();
        }
    }
}

// dweight[r] = the sum of dy over the tokens of r. Of a block, `lanes` threads take a piece each and `groups` of them
// share the tokens of a row; what is left of it takes other rows.
template <typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
add_tokens(const T* dy, const int* starts, const int* order, T* dweight, i64 n, int pieces, int lanes, int groups) {
    typedef Acc<T> A;
    constexpr int AHEAD = 4;  // loads under way
    __shared__ A room[BLOCK * VEC];
    const int piece = (int)(blockIdx.y * lanes + threadIdx.x % lanes), group = (int)threadIdx.x / lanes % groups;
    const i64 row = (i64)blockIdx.x * (BLOCK / lanes / groups) + threadIdx.x / lanes / groups;
    const bool on = row < n && piece < pieces;
    A sum[VEC] = {};
    const int stop = on ? starts[row + 1] : 0;
    for (int k = on ? starts[row] + group : 0; k < stop; k += AHEAD * groups) {
        Piece<T, VEC> v[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; ++i)
            if (k + i * groups < stop) v[i].load(dy + ((i64)order[k + i * groups] * pieces + piece) * VEC);
#pragma unroll
        for (int i = 0; i < AHEAD; ++i)
            if (k + i * groups < stop)
#pragma unroll
                for (int j = 0; j < VEC; ++j) sum[j] += v[i][j];
    }
#pragma unroll
    for (int j = 0; j < VEC; ++j) room[j * BLOCK + threadIdx.x] = sum[j];
    for (int half = groups / 2; half > 0; half /= 2) {
        __syncthreads();
        if (group < half)
#pragma unroll
            for (int j = 0; j < VEC; ++j) room[j * BLOCK + threadIdx.x] += room[j * BLOCK + threadIdx.x + half * lanes];
    }
    if (!on || group) return;
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum[j] = room[j * BLOCK + threadIdx.x];
    store_vec<T, VEC>(dweight + (row * pieces + piece) * VEC, sum);
}
