// Pooling of (N, C, H, W): y (N, C, P, Q), one value for each window (r, s). Backward gathers: no two threads meet.
#include "common.cuh"
using namespace xp;

#define XP_WINDOWS                                                                                                   \
    int h, int w, int p, int q, int r, int s, int stride_h, int stride_w, int pad_h, int pad_w, int spread_h, int spread_w

// where[i] = the place of the maximum, the first of several and the last NaN: in the window, or with PLACES in the
// image. What is outside never wins; a window of nothing but -inf has its first element, inside or not.
template <typename T, typename W, bool PLACES, int BLOCK>
__global__ void __launch_bounds__(BLOCK) max_pool(const T* x, T* y, W* where, int count, XP_WINDOWS) {
    const int at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= count) return;
    const int row = at / q % p * stride_h - pad_h, column = at % q * stride_w - pad_w;
    x += (i64)(at / q / p) * h * w;
    Acc<T> most = -infinity<Acc<T>>();
    int u = 0, v = 0;
    for (int i = 0; i < r; ++i) {
        const int k = row + i * spread_h;
        if (k < 0 || k >= h) continue;
        for (int j = 0; j < s; ++j) {
            const int l = column + j * spread_w;
            if (l < 0 || l >= w) continue;
            const Acc<T> value = to_acc(x[k * w + l]);
            if (value > most || value != value) {
                most = value;
                u = i;
                v = j;
            }
        }
    }
    if (y) y[at] = from_acc<T>(most);
    if (PLACES) {
        const int k = row + u * spread_h, l = column + v * spread_w;
        // of a window that begins outside and is all -inf: its first element that is no padding
        where[at] = (W)(k < 0 ? (k % spread_h + spread_h) % spread_h : k) * w + (l < 0 ? (l % spread_w + spread_w) % spread_w : l);
    } else {
        where[at] = (W)(u * s + v);
    }
}

#include "reach.cuh"

// dx = the sum of dy over the windows whose maximum it is
template <typename T, typename W, int BLOCK>
__global__ void __launch_bounds__(BLOCK) max_pool_gradient(const T* dy, const W* winner, T* dx, int count, XP_WINDOWS) {
    const int at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= count) return;
    const Reach down(at / w % h, r, stride_h, pad_h, spread_h), across(at % w, s, stride_w, pad_w, spread_w);
    const i64 image = (i64)(at / w / h) * p * q;
    Acc<T> sum = 0;
    for (int i = down.tap, k = down.window; i < r && k >= 0; i += down.step, k -= down.back)
        for (int j = across.tap, l = across.window; k < p && j < s && l >= 0; j += across.step, l -= across.back)
            if (l < q && winner[image + k * q + l] == (W)(i * s + j)) sum += to_acc(dy[image + k * q + l]);
    dx[at] = from_acc<T>(sum);
}

// how many elements of a window count: those within the image, or within its padding too, or a number that is given
__device__ __forceinline__ int extent(int first, int taps, int size, int pad, bool padded) {
    const int last = first + taps, end = padded ? size + pad : size;
    return (last < end ? last : end) - (first < 0 && !padded ? 0 : first);
}
template <typename A>
__device__ __forceinline__ A fraction(int k, int l, int r, int s, int h, int w, int pad_h, int pad_w, int padded, int divisor) {
    if (divisor) return A(1) / A(divisor);
    return A(1) / (A(extent(k, r, h, pad_h, padded)) * A(extent(l, s, w, pad_w, padded)));
}

// `lanes` threads share a window
template <typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
average_pool(const T* x, T* y, int count, int lanes, int padded, int divisor, XP_WINDOWS) {
    const i64 thread = (i64)blockIdx.x * BLOCK + threadIdx.x;
    const int at = (int)(thread / lanes);
    const int row = at / q % p * stride_h - pad_h, column = at % q * stride_w - pad_w;
    Acc<T> sum = 0;
    if (at < count) {
        x += (i64)(at / q / p) * h * w;
        for (int e = (int)(thread % lanes); e < r * s; e += lanes) {
            const int k = row + e / s, l = column + e % s;
            if (k >= 0 && k < h && l >= 0 && l < w) sum += to_acc(x[k * w + l]);
        }
    }
    for (int o = lanes / 2; o > 0; o >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (at < count && thread % lanes == 0)
        y[at] = from_acc<T>(sum * fraction<Acc<T>>(row, column, r, s, h, w, pad_h, pad_w, padded, divisor));
}

template <typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
average_pool_gradient(const T* dy, T* dx, int count, int padded, int divisor, XP_WINDOWS) {
    const int at = blockIdx.x * BLOCK + threadIdx.x;
    if (at >= count) return;
    const Reach down(at / w % h, r, stride_h, pad_h, spread_h), across(at % w, s, stride_w, pad_w, spread_w);
    dy += (i64)(at / w / h) * p * q;
    Acc<T> sum = 0;
    for (int i = down.tap, k = down.window; i < r && k >= 0; i += down.step, k -= down.back)
        for (int j = across.tap, l = across.window; k < p && j < s && l >= 0; j += across.step, l -= across.back)
            if (l < q)
                sum += to_acc(dy[k * q + l]) * fraction<Acc<T>>(k * stride_h - pad_h, l * stride_w - pad_w, r, s, h, w,
                                                                pad_h, pad_w, padded, divisor);
    dx[at] = from_acc<T>(sum);
}
