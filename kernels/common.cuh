// What every kernel uses: number types, 16-byte access, warp and block reductions.
//
// The same text is compiled by NVRTC for a GPU and by g++ for the emulator of the tests (XP_EMU).
// Conventions: one `__shared__` variable per statement; row offsets are 64-bit; sums run in Acc<T>;
// no floating-point atomics, so that results do not depend on the order in which blocks run.
#pragma once
#include <cuda_fp16.h>
#include <cuda_bf16.h>

// cluster launches exist from sm_90; below, instances with more than one block a cluster are never compiled
#if defined(XP_EMU) || __CUDA_ARCH__ >= 900
#  define XP_HAS_CLUSTER 1
#else
#  define XP_HAS_CLUSTER 0
#endif
#if XP_HAS_CLUSTER && !defined(XP_EMU)
#  define XP_CLUSTER(n) __cluster_dims__(n, 1, 1)
#else
#  define XP_CLUSTER(n)
#endif

namespace xp {
typedef long long i64;

// ---- number types: T in memory, Acc<T> in registers --------------------------------------------------------
template <typename T> struct AccOf { typedef float type; };
template <> struct AccOf<double> { typedef double type; };
template <typename T> using Acc = typename AccOf<T>::type;

__device__ __forceinline__ float to_acc(float v) { return v; }
__device__ __forceinline__ double to_acc(double v) { return v; }
__device__ __forceinline__ float to_acc(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_acc(__nv_bfloat16 v) { return __bfloat162float(v); }
template <typename T> __device__ __forceinline__ T from_acc(Acc<T> v);
template <> __device__ __forceinline__ float from_acc<float>(float v) { return v; }
template <> __device__ __forceinline__ double from_acc<double>(double v) { return v; }
template <> __device__ __forceinline__ __half from_acc<__half>(float v) { return __float2half_rn(v); }
template <> __device__ __forceinline__ __nv_bfloat16 from_acc<__nv_bfloat16>(float v) { return __float2bfloat16_rn(v); }

// NVRTC has no INFINITY or NAN
template <typename A> __device__ __forceinline__ A infinity() { return (A)__int_as_float(0x7f800000); }
template <typename A> __device__ __forceinline__ A not_a_number() { return (A)__int_as_float(0x7fffffff); }

// e^v; in float through exp2f, which is one multiply and one MUFU instruction
__device__ __forceinline__ float exp_(float v) { return exp2f(v * 1.4426950408889634f); }
__device__ __forceinline__ double exp_(double v) { return exp(v); }
__device__ __forceinline__ float log_(float v) { return logf(v); }
__device__ __forceinline__ double log_(double v) { return log(v); }
// a / b for b below 2^126: within two units in the last place, and no call of a function
__device__ __forceinline__ float ratio(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ double ratio(double a, double b) { return a / b; }
// keeps NaN
template <typename A> __device__ __forceinline__ A nanmax(A a, A b) { return (a > b || a != a) ? a : b; }
#if !defined(XP_EMU) && __CUDA_ARCH__ >= 800
template <> __device__ __forceinline__ float nanmax<float>(float a, float b) {
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
    return a;
}
#endif

// ---- 16-byte access ------------------------------------------------------------------------------------------
template <typename T> constexpr int vec_of() { return 16 / (int)sizeof(T); }  // elements in 16 bytes
template <typename T, int VEC> struct __align__(sizeof(T) * VEC) Vec { T v[VEC]; };

template <typename T, int VEC>
__device__ __forceinline__ void load_vec(Acc<T> (&dst)[VEC], const T* p) {
    const Vec<T, VEC> t = *reinterpret_cast<const Vec<T, VEC>*>(p);
#pragma unroll
    for (int j = 0; j < VEC; ++j) dst[j] = to_acc(t.v[j]);
}
// *p = t, 16 bytes an instruction: left to itself, the compiler stores the elements of a structure one by one
template <typename T, int VEC> __device__ __forceinline__ void put_vec(T* p, const Vec<T, VEC>& t) {
#ifndef XP_EMU
    if constexpr (sizeof(t) % 16 == 0) {
        const unsigned* w = reinterpret_cast<const unsigned*>(&t);
        const unsigned long long at = __cvta_generic_to_global(p);
#pragma unroll
        for (int i = 0; i < (int)sizeof(t) / 4; i += 4)
            asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(at + 4 * i), "r"(w[i]), "r"(w[i + 1]), "r"(w[i + 2]),
                         "r"(w[i + 3])
                         : "memory");
        return;
    }
#endif
    *reinterpret_cast<Vec<T, VEC>*>(p) = t;
}
template <typename T, int VEC>
__device__ __forceinline__ void store_vec(T* p, const Acc<T> (&src)[VEC]) {
    Vec<T, VEC> t;
#pragma unroll
    for (int j = 0; j < VEC; ++j) t.v[j] = from_acc<T>(src[j]);
    put_vec<T, VEC>(p, t);
}

// VEC elements as they are in memory, to be converted when they are used: a conversion at a load would wait for it before
// the next. In whole registers, of which elements of 16 bits would take one each.
__device__ __forceinline__ float from_bits(unsigned low, unsigned, int, float) { return __uint_as_float(low); }
__device__ __forceinline__ double from_bits(unsigned low, unsigned high, int, double) {
    return __longlong_as_double((i64)((unsigned long long)high << 32 | low));
}
__device__ __forceinline__ float from_bits(unsigned pair, unsigned, int j, __nv_bfloat16) {
    return __uint_as_float(j & 1 ? pair & 0xffff0000u : pair << 16);
}
__device__ __forceinline__ float from_bits(unsigned pair, unsigned, int j, __half) {
    __half_raw raw;
    raw.x = (unsigned short)(j & 1 ? pair >> 16 : pair);
    return __half2float(raw);
}
template <typename T, int VEC> struct Piece {
    static constexpr int WORDS = (sizeof(T) * VEC + 3) / 4;
    unsigned words[WORDS];
    __device__ __forceinline__ Acc<T> operator[](int j) const {
        const int at = j * (int)sizeof(T) / 4;
        return from_bits(words[at], words[sizeof(T) == 8 ? at + 1 : at], j, T());
    }
    __device__ __forceinline__ void set(int j, T v) {
        const int at = j * (int)sizeof(T) / 4;
        if constexpr (sizeof(T) == 2) {
            const unsigned bits = *reinterpret_cast<const unsigned short*>(&v);
            words[at] = j & 1 ? (words[at] & 0xffffu) | bits << 16 : bits;
        } else {
            words[at] = reinterpret_cast<const unsigned*>(&v)[0];
            if (sizeof(T) == 8) words[at + 1] = reinterpret_cast<const unsigned*>(&v)[sizeof(T) / 8];
        }
    }
    __device__ __forceinline__ void load(const T* p) {  // all of it, aligned
        if constexpr (sizeof(T) * VEC == 16) {
            const uint4 v = *reinterpret_cast<const uint4*>(p);
            words[0] = v.x, words[1 % WORDS] = v.y, words[2 % WORDS] = v.z, words[3 % WORDS] = v.w;
        } else {
#pragma unroll
            for (int j = 0; j < VEC; ++j) set(j, p[j]);
        }
    }
};

// A row of any length at any address, still in 16-byte pieces: the pieces are cut where the addresses are
// aligned, so element 0 sits `skew` places into the first one, and only a row's two ends go one by one.
template <typename T, int VEC> __device__ __forceinline__ int skew(const T* row) {
    return (int)((unsigned long long)row / sizeof(T) % VEC);
}
// whether the pieces of row `a` are aligned in row `b` too
template <typename T, int VEC> __device__ __forceinline__ bool same_skew(const T* a, const T* b) {
    return (((unsigned long long)a ^ (unsigned long long)b) & (sizeof(T) * VEC - 1)) == 0;
}
// dst = row[c .. c+VEC), `fill` where outside of [0, n); row + c is aligned
template <typename T, int VEC, typename I>
__device__ __forceinline__ void load_piece(Acc<T> (&dst)[VEC], const T* row, I c, I n, Acc<T> fill) {
    if (c >= 0 && c + VEC <= n) {
        load_vec<T, VEC>(dst, row + c);
    } else {
#pragma unroll
        for (int j = 0; j < VEC; ++j) dst[j] = (c + j >= 0 && c + j < n) ? to_acc(row[c + j]) : fill;
    }
}
// row[c .. c+VEC) = src inside of [0, n); whole pieces at once if `aligned`
template <typename T, int VEC, typename I>
__device__ __forceinline__ void store_piece(T* row, I c, I n, const Acc<T> (&src)[VEC], bool aligned) {
    if (aligned && c >= 0 && c + VEC <= n) {
        store_vec<T, VEC>(row + c, src);
    } else {
#pragma unroll
        for (int j = 0; j < VEC; ++j)
            if (c + j >= 0 && c + j < n) row[c + j] = from_acc<T>(src[j]);
    }
}

// ---- reductions; every lane gets the result, bit for bit the same ----------------------------------------------
template <int W, typename A> __device__ __forceinline__ A warp_sum(A v) {
#pragma unroll
    for (int o = W / 2; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}
template <int W, typename A> __device__ __forceinline__ A warp_max(A v) {
#pragma unroll
    for (int o = W / 2; o > 0; o >>= 1) v = nanmax(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}
// the sum over a block of WARPS whole warps, in a fixed order, known to every thread; call it once per `room`
template <int WARPS, typename A> __device__ __forceinline__ A block_sum(A v, A* room /* shared, [WARPS] */) {
    const int lane = threadIdx.x & 31;
    v = warp_sum<32>(v);
    if (lane == 0) room[threadIdx.x >> 5] = v;
    __syncthreads();
    return warp_sum<32>(lane < WARPS ? room[lane] : A(0));
}

// ---- mistakes in the data ------------------------------------------------------------------------------------
// one mistake is kept, {op, value, limit, row}, until the host looks (xpnet/core/notes.py): no kernel waits
__device__ __forceinline__ void report(i64* note, int op, i64 value, i64 limit, i64 row) {
    if (atomicCAS(reinterpret_cast<unsigned long long*>(note), 0ull, (unsigned long long)op) == 0ull) {
        note[1] = value;
        note[2] = limit;
        note[3] = row;
    }
}
}  // namespace xp
