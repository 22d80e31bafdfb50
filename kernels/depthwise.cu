// Convolution where every output has a channel of its own: outputs / channels of them share one. There is nothing that a
// product of matrices could reuse; a thread makes one element of y or dx, a block sums for one channel of the weight.
#include "common.cuh"
#include "reach.cuh"
using namespace xp;

#define XP_SHAPE                                                                                                     \
    int n, int c, int h, int w, int o, int p, int q, int r, int s, int stride_h, int stride_w, int pad_h, int pad_w, \
        int spread_h, int spread_w, int groups

template <typename T, bool BACK, int BLOCK>
__global__ void __launch_bounds__(BLOCK) depthwise(const T* from, const T* weight, const T* bias, T* to, XP_SHAPE) {
    const int height = BACK ? h : p, width = BACK ? w : q;  // of the result
    const int area = height * width, at = blockIdx.x * BLOCK + threadIdx.x, each = o / c;
    if (at >= area) return;
    const int i0 = at / width, j0 = at % width;
    const i64 image = (i64)blockIdx.z * gridDim.y + blockIdx.y;  // of one channel
    Acc<T> sum = 0;
    if (BACK) {
        const Reach down(i0, r, stride_h, pad_h, spread_h), across(j0, s, stride_w, pad_w, spread_w);
        for (int e = 0; e < each; ++e) {
            const T* dy = from + (image * each + e) * p * q;
            const T* tap = weight + (i64)(blockIdx.y * each + e) * r * s;
            for (int i = down.tap, k = down.window; i < r && k >= 0; i += down.step, k -= down.back)
                for (int j = across.tap, l = across.window; k < p && j < s && l >= 0; j += across.step, l -= across.back)
                    if (l < q) sum += to_acc(tap[i * s + j]) * to_acc(dy[k * q + l]);
        }
    } else {
        const int channel = blockIdx.y / each, row = i0 * stride_h - pad_h, column = j0 * stride_w - pad_w;
        const T* x = from + ((i64)blockIdx.z * c + channel) * h * w;
        const T* tap = weight + (i64)blockIdx.y * r * s;
        for (int i = 0; i < r; ++i)
            for (int j = 0; j < s; ++j) {
                const int k = row + i * spread_h, l = column + j * spread_w;
                // a window's zeros count: 0 inf is NaN
                sum += to_acc(tap[i * s + j]) * (k >= 0 && k < h && l >= 0 && l < w ? to_acc(x[k * w + l]) : Acc<T>(0));
            }
        if (bias) sum += to_acc(bias[blockIdx.y]);
    }
    to[image * area + at] = from_acc<T>(sum);
}

// parts[block of places] = {dW (o, 1, r, s), db (o) if with_bias}; a block has TAPS taps of one output
constexpr int TAPS = 9, FAR = -(1 << 30);
template <typename T, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
depthwise_weight(const T* x, const T* dy, Acc<T>* parts, int with_bias, int chunk, XP_SHAPE) {
    typedef Acc<T> A;
    __shared__ A room[TAPS + 1][BLOCK / 32];
    const int output = blockIdx.y, first = blockIdx.z * TAPS, area = p * q, all = n * area, begin = blockIdx.x * chunk;
    const int stop = begin + chunk < all ? begin + chunk : all;
    A sums[TAPS] = {}, slope = 0;
    int down[TAPS], across[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        down[t] = first + t < r * s ? (first + t) / s * spread_h : FAR;
        across[t] = (first + t) % s * spread_w;
    }
    for (int k = begin + threadIdx.x; k < stop; k += BLOCK) {
        const int image = k / area, at = k % area, row = at / q * stride_h - pad_h, column = at % q * stride_w - pad_w;
        const T* plane = x + ((i64)image * c + output / (o / c)) * h * w;
        const A d = to_acc(dy[((i64)image * o + output) * area + at]);
        slope += d;
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            const int i = row + down[t], j = column + across[t];
            sums[t] += d * (i >= 0 && i < h && j >= 0 && j < w ? to_acc(plane[i * w + j]) : A(0));
        }
    }
    parts += blockIdx.x * ((i64)o * r * s + (with_bias ? o : 0));
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        const A sum = block_sum<BLOCK / 32>(sums[t], room[t]);
        if (threadIdx.x == 0 && first + t < r * s) parts[(i64)output * r * s + first + t] = sum;
    }
    slope = block_sum<BLOCK / 32>(slope, room[TAPS]);
    if (threadIdx.x == 0 && with_bias && first == 0) parts[(i64)o * r * s + output] = slope;
}
