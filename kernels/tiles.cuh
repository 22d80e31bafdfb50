// One block's tile of a matrix product: D (BM, BN) += A' B of two staged tiles, A (BK, BM) and B (BK, BN), k outermost.
//
// Cores multiplies in Acc<T>; TensorCores (from sm_80) 16-bit types and rounded floats, with float32 sums.
#pragma once
#include "common.cuh"

namespace xp {
struct tf32 {  // a float with 10 bits of mantissa
    float v;
};

// a thread has TM rows and TN columns, in groups of four
template <typename T, int BM, int BN, int TM, int TN> struct Cores {
    typedef Acc<T> A;
    typedef A Staged;
    static constexpr int THREADS = BM / TM * (BN / TN), ROWS = TM, GROUPS = TN / 4, WIDTH = 4, PAD = 4;
    A acc[TM][TN] = {};

    static __device__ __forceinline__ Staged stage(T v) { return to_acc(v); }
    static __device__ __forceinline__ int row(int j) {
        return j / 4 * (BM / (TM / 4)) + threadIdx.x / (BN / TN) * 4 + j % 4;
    }
    static __device__ __forceinline__ int column(int i) { return i * (BN / GROUPS) + threadIdx.x % (BN / TN) * 4; }
    __device__ __forceinline__ A value(int j, int i, int e) const { return acc[j][i * 4 + e]; }

    template <int BK>
    __device__ __forceinline__ void multiply(const A (&a)[BK][BM + PAD], const A (&b)[BK][BN + PAD]) {
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            A u[TM / 4][4], v[GROUPS][4];
#pragma unroll
            for (int j = 0; j < TM / 4; ++j) load_vec<A, 4>(u[j], &a[k][row(4 * j)]);
#pragma unroll
            for (int i = 0; i < GROUPS; ++i) load_vec<A, 4>(v[i], &b[k][column(i)]);
#pragma unroll
            for (int j = 0; j < TM; ++j)
#pragma unroll
                for (int i = 0; i < TN; ++i) acc[j][i] += u[j / 4][j % 4] * v[i / 4][i % 4];
        }
    }
};

#if defined(XP_EMU) || __CUDA_ARCH__ >= 800
// four 8 by 8 matrices, transposed; lane l names row l % 8 of matrix l / 8
template <typename T> __device__ __forceinline__ void load_matrices(unsigned (&f)[4], const T* row) {
#ifdef XP_EMU
    const int lane = threadIdx.x & 31;
    for (int q = 0; q < 4; ++q) {
        const unsigned long long first = __shfl_sync(~0u, (unsigned long long)row, q * 8 + lane % 4 * 2);
        const unsigned long long second = __shfl_sync(~0u, (unsigned long long)row, q * 8 + lane % 4 * 2 + 1);
        const T pair[2] = {((const T*)first)[lane / 4], ((const T*)second)[lane / 4]};
        memcpy(&f[q], pair, 4);
    }
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
#endif
}
// d (16 by 8) += a (16 by 16) b (16 by 8)
template <typename T> __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned* b);
#ifdef XP_EMU
template <typename T> __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned* b) {
    const int lane = threadIdx.x & 31;
    const auto half = [](unsigned pair, int e) {
        T v[2];
        memcpy(v, &pair, 4);
        return to_acc(v[e]);
    };
    for (int k = 0; k < 8; ++k) {
        const int high = k / 4;
        for (int i = 0; i < 4; ++i) {
            const unsigned u = __shfl_sync(~0u, a[i / 2 + 2 * high], lane / 4 * 4 + k % 4);
            const unsigned v = __shfl_sync(~0u, b[high], (lane % 4 * 2 + i % 2) * 4 + k % 4);
            d[i] += half(u, 0) * half(v, 0) + half(u, 1) * half(v, 1);
        }
    }
}
#else
#  define XP_MMA(T, NAME)                                                                                              \
      template <> __device__ __forceinline__ void mma<T>(float(&d)[4], const unsigned(&a)[4], const unsigned* b) {     \
          asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 "                                  \
                       "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                               \
                       : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                \
                       : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                            \
      }
XP_MMA(__half, "f16")
XP_MMA(__nv_bfloat16, "bf16")
#endif

// d (16 by 8) += a (16 by 8) b (8 by 8)
__device__ __forceinline__ void mma(float (&d)[4], const tf32 (&a)[4], const tf32* b) {
#ifdef XP_EMU
    const int lane = threadIdx.x & 31;
    for (int k = 0; k < 8; ++k) {
        const int high = k / 4;
        for (int i = 0; i < 4; ++i)
            d[i] += __shfl_sync(~0u, a[i / 2 + 2 * high].v, lane / 4 * 4 + k % 4) *
                    __shfl_sync(~0u, b[high].v, (lane % 4 * 2 + i % 2) * 4 + k % 4);
    }
#else
    const auto bits = [](tf32 x) { return __float_as_uint(x.v); };
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(bits(a[0])), "r"(bits(a[1])), "r"(bits(a[2])), "r"(bits(a[3])), "r"(bits(b[0])), "r"(bits(b[1])));
#endif
}

template <typename E> __device__ __forceinline__ E staged(E v) { return v; }
template <typename E> __device__ __forceinline__ E staged(float v);
template <> __device__ __forceinline__ __nv_bfloat16 staged<__nv_bfloat16>(float v) { return __float2bfloat16_rn(v); }
template <> __device__ __forceinline__ tf32 staged<tf32>(float v) {
#ifdef XP_EMU
    return tf32{isfinite(v) ? __uint_as_float((__float_as_uint(v) + 0x1000u) & ~0x1fffu) : v};
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return tf32{__uint_as_float(bits)};
#endif
}

// a warp has WM rows and WN columns; E is what a T is rounded to
template <typename T, typename E, int BM, int BN, int WM, int WN> struct TensorCores {
    typedef E Staged;
    static constexpr int THREADS = BM / WM * (BN / WN) * 32, ROWS = WM / 8, GROUPS = WN / 8, WIDTH = 2, PAD = 8;
    float acc[WM / 16][WN / 8][4] = {};

    static __device__ __forceinline__ E stage(T v) { return staged<E>(v); }
    static __device__ __forceinline__ int first_row() { return threadIdx.x / 32 / (BN / WN) * WM; }
    static __device__ __forceinline__ int first_column() { return threadIdx.x / 32 % (BN / WN) * WN; }
    static __device__ __forceinline__ int row(int j) { return first_row() + j * 8 + (threadIdx.x & 31) / 4; }
    static __device__ __forceinline__ int column(int i) { return first_column() + i * 8 + (threadIdx.x & 3) * 2; }
    __device__ __forceinline__ float value(int j, int i, int e) const { return acc[j / 2][i][j % 2 * 2 + e]; }

    template <int BK, typename H>
    __device__ __forceinline__ void multiply(const H (&a)[BK][BM + PAD], const H (&b)[BK][BN + PAD]) {
        const int line = threadIdx.x & 7, matrix = (threadIdx.x & 31) / 8;
#pragma unroll
        for (int k = 0; k < BK; k += 16) {
            unsigned u[WM / 16][4], v[WN / 16][4];
#pragma unroll
            for (int j = 0; j < WM / 16; ++j)
                load_matrices<H>(u[j], &a[k + matrix / 2 * 8 + line][first_row() + j * 16 + matrix % 2 * 8]);
#pragma unroll
            for (int i = 0; i < WN / 16; ++i)
                load_matrices<H>(v[i], &b[k + matrix % 2 * 8 + line][first_column() + i * 16 + matrix / 2 * 8]);
#pragma unroll
            for (int j = 0; j < WM / 16; ++j)
#pragma unroll
                for (int i = 0; i < WN / 8; ++i) mma<H>(acc[j][i], u[j], v[i / 2] + i % 2 * 2);
        }
    }
    // of tf32, whose fragments are read one by one; PAD keeps their banks apart
    template <int BK>
    __device__ __forceinline__ void multiply(const tf32 (&a)[BK][BM + PAD], const tf32 (&b)[BK][BN + PAD]) {
        const int k0 = threadIdx.x & 3, at = (threadIdx.x & 31) / 4;
#pragma unroll
        for (int k = 0; k < BK; k += 8) {
            tf32 u[WM / 16][4], v[WN / 8][2];
#pragma unroll
            for (int j = 0; j < WM / 16; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) u[j][e] = a[k + k0 + e / 2 * 4][first_row() + j * 16 + e % 2 * 8 + at];
#pragma unroll
            for (int i = 0; i < WN / 8; ++i)
#pragma unroll
                for (int e = 0; e < 2; ++e) v[i][e] = b[k + k0 + e * 4][first_column() + i * 8 + at];
#pragma unroll
            for (int j = 0; j < WM / 16; ++j)
#pragma unroll
                for (int i = 0; i < WN / 8; ++i) mma(acc[j][i], u[j], v[i]);
        }
    }
};
#endif

template <bool WARPS, typename T, typename E, int BM, int BN, int M, int N> struct TileOf {
    typedef Cores<T, BM, BN, M, N> type;
};
#if defined(XP_EMU) || __CUDA_ARCH__ >= 800
template <typename T, typename E, int BM, int BN, int M, int N> struct TileOf<true, T, E, BM, BN, M, N> {
    typedef TensorCores<T, E, BM, BN, M, N> type;
};
#endif
// M by N is a thread's part, or from 16 rows on a warp's, on tensor cores
template <typename T, typename E, int BM, int BN, int M, int N>
using Tile = typename TileOf<(M >= 16), T, E, BM, BN, M, N>::type;
}  // namespace xp
