// Runs CUDA C++ on the CPU. Force-included by g++ before a .cu file (as a precompiled header).
//
// Every CUDA thread is a fiber of one host thread. Fibers switch only where CUDA threads can wait for each
// other (barriers, warp operations), so a missing barrier shows up as a wrong order, and the order in which
// fibers run is the scheduler's choice: fixed, reversed or random. The runtime is in runtime.cpp.
#pragma once
#define XP_EMU 1
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector_types.h>  // NVIDIA's own headers: float4, dim3, __half, __nv_bfloat16
#include <vector_functions.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__

namespace xpemu {
struct Idx { unsigned x, y, z; };
struct Context {  // what the running fiber sees
    Idx tid, bid, bdim, gdim;
    void* dynamic;
    unsigned lane, warp, rank, cluster;
    unsigned char result[16];
};
enum Op { OP_SHUFFLE, OP_SYNCWARP, OP_BALLOT };
enum Scope { BLOCK, CLUSTER, GRID };
enum Vote { OR, AND, COUNT };
}  // namespace xpemu

extern "C" {
extern xpemu::Context* xpemu_current;
unsigned xpemu_barrier(int scope, int vote, unsigned predicate, const char* file, int line);
void xpemu_warp(int op, unsigned mask, const void* value, int size, int source, const char* file, int line);
void xpemu_fence(void);
void xpemu_atomic(const volatile void* address);
void* xpemu_map_shared(void* p, unsigned rank);
void* xpemu_static_shared(const void* key, uint64_t size, uint64_t align);
void xpemu_fail(const char* message, const char* file, int line);
void xpemu_yield(void);
}

#define XP_SITE const char *f = __builtin_FILE(), int l = __builtin_LINE()  // the caller's place, for messages

namespace xpemu {
inline void* dynamic_shared() { return xpemu_current->dynamic; }
template <typename T> T warp_op(int op, unsigned mask, T v, int source, const char* f, int l) {
    static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 8, "not a shuffle type");
    xpemu_warp(op, mask, &v, sizeof(T), source, f, l);
    T r;
    memcpy(&r, xpemu_current->result, sizeof(T));
    return r;
}
inline int lane() { return (int)xpemu_current->lane; }
inline int segment(int lane, int width) { return lane & ~(width - 1); }
}  // namespace xpemu

#define threadIdx (xpemu_current->tid)
#define blockIdx (xpemu_current->bid)
#define blockDim (xpemu_current->bdim)
#define gridDim (xpemu_current->gdim)
static constexpr int warpSize = 32;

// ---- barriers, votes, shuffles -------------------------------------------------------------------------
inline void __syncthreads(XP_SITE) { xpemu_barrier(xpemu::BLOCK, xpemu::OR, 0, f, l); }
inline int __syncthreads_or(int p, XP_SITE) { return xpemu_barrier(xpemu::BLOCK, xpemu::OR, p != 0, f, l); }
inline int __syncthreads_and(int p, XP_SITE) { return xpemu_barrier(xpemu::BLOCK, xpemu::AND, p != 0, f, l); }
inline int __syncthreads_count(int p, XP_SITE) { return xpemu_barrier(xpemu::BLOCK, xpemu::COUNT, p != 0, f, l); }
inline void __syncwarp(unsigned m = 0xffffffffu, XP_SITE) {
    int zero = 0;
    xpemu_warp(xpemu::OP_SYNCWARP, m, &zero, 4, 0, f, l);
}
template <typename T> T __shfl_sync(unsigned m, T v, int s, int w = 32, XP_SITE) {
    return xpemu::warp_op(xpemu::OP_SHUFFLE, m, v, xpemu::segment(xpemu::lane(), w) + (s & (w - 1)), f, l);
}
template <typename T> T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, XP_SITE) {
    int me = xpemu::lane(), s = me ^ x;
    return xpemu::warp_op(xpemu::OP_SHUFFLE, m, v, xpemu::segment(s, w) > xpemu::segment(me, w) ? me : s, f, l);
}
template <typename T> T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, XP_SITE) {
    int me = xpemu::lane(), s = me + (int)d;
    return xpemu::warp_op(xpemu::OP_SHUFFLE, m, v, xpemu::segment(s, w) != xpemu::segment(me, w) ? me : s, f, l);
}
template <typename T> T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, XP_SITE) {
    int me = xpemu::lane(), s = me - (int)d;
    return xpemu::warp_op(xpemu::OP_SHUFFLE, m, v, s < xpemu::segment(me, w) ? me : s, f, l);
}
inline unsigned __ballot_sync(unsigned m, int p, XP_SITE) {
    return xpemu::warp_op<unsigned>(xpemu::OP_BALLOT, m, p != 0, 0, f, l);
}
inline int __any_sync(unsigned m, int p, XP_SITE) { return __ballot_sync(m, p, f, l) != 0; }
inline int __all_sync(unsigned m, int p, XP_SITE) { return __ballot_sync(m, !p, f, l) == 0; }

// ---- memory ---------------------------------------------------------------------------------------------
inline void __threadfence() { xpemu_fence(); }
inline void __threadfence_block() {}
template <typename T> T __ldg(const T* p) { return *p; }
template <typename T> T __ldcs(const T* p) { return *p; }
template <typename T> T __ldcg(const T* p) { return *p; }
template <typename T> void __stcs(T* p, T v) { *p = v; }
template <typename T> void __stcg(T* p, T v) { *p = v; }

namespace xpemu {
template <typename T> T fetch_add(T* p, T v) {
    T r = __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
    xpemu_atomic(p);
    return r;
}
template <typename T> T compare_swap(T* p, T expected, T v) {
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    xpemu_atomic(p);
    return expected;
}
template <typename T> T exchange(T* p, T v) {
    T r = __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
    xpemu_atomic(p);
    return r;
}
template <typename T> T peek(const T* p) {  // what another thread has written; `xpemu_yield` until it has
    T r = __atomic_load_n(p, __ATOMIC_RELAXED);
    xpemu_atomic(p);
    return r;
}
}  // namespace xpemu
inline int atomicAdd(int* p, int v) { return xpemu::fetch_add(p, v); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return xpemu::fetch_add(p, v); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) { return xpemu::fetch_add(p, v); }
inline int atomicCAS(int* p, int c, int v) { return xpemu::compare_swap(p, c, v); }
inline unsigned atomicCAS(unsigned* p, unsigned c, unsigned v) { return xpemu::compare_swap(p, c, v); }
inline unsigned long long atomicCAS(unsigned long long* p, unsigned long long c, unsigned long long v) {
    return xpemu::compare_swap(p, c, v);
}
inline int atomicExch(int* p, int v) { return xpemu::exchange(p, v); }
inline unsigned atomicExch(unsigned* p, unsigned v) { return xpemu::exchange(p, v); }

// ---- arithmetic -----------------------------------------------------------------------------------------
#ifdef __x86_64__  // keeps g++ from fusing a rounded result into an FMA
template <typename T> T xpemu_round(T v) { asm volatile("" : "+x"(v)); return v; }
#else
template <typename T> T xpemu_round(T v) { asm volatile("" : "+w"(v)); return v; }
#endif
inline float __fadd_rn(float a, float b) { return xpemu_round(a + b); }
inline float __fsub_rn(float a, float b) { return xpemu_round(a - b); }
inline float __fmul_rn(float a, float b) { return xpemu_round(a * b); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return xpemu_round(a + b); }
inline double __dmul_rn(double a, double b) { return xpemu_round(a * b); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1. / sqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <typename To, typename From> To xpemu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "");
    To r;
    memcpy(&r, &x, sizeof r);
    return r;
}
inline float __int_as_float(int x) { return xpemu_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return xpemu_bits<float>(x); }
inline int __float_as_int(float x) { return xpemu_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return xpemu_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return xpemu_bits<double>(x); }
inline long long __double_as_longlong(double x) { return xpemu_bits<long long>(x); }
using std::isfinite;
using std::isnan;
using std::max;
using std::min;

// ---- registration: call a kernel of any signature with cuLaunchKernel's void** ----------------------------
namespace xpemu {
template <typename T> constexpr char scalar_code() {
    return std::is_same<T, float>::value ? 'f' : std::is_same<T, double>::value ? 'd'
         : std::is_same<T, __half>::value ? 'h' : std::is_same<T, __nv_bfloat16>::value ? 'e'
         : std::is_integral<T>::value ? (sizeof(T) == 8 ? 'l' : sizeof(T) == 4 ? 'i' : sizeof(T) == 2 ? 's' : 'b')
         : '?';
}
template <typename T> constexpr char code() {  // a pointer is the upper-case letter of what it points to
    if (!std::is_pointer<T>::value) return scalar_code<T>();
    char c = scalar_code<std::remove_cv_t<std::remove_pointer_t<T>>>();
    return c == '?' ? 'V' : (char)(c - 'a' + 'A');
}
template <typename F> struct Signature;
template <typename... A> struct Signature<void (*)(A...)> {
    template <void (*K)(A...), size_t... I> static void go(void** a, std::index_sequence<I...>) {
        K(*reinterpret_cast<std::remove_reference_t<A>*>(a[I])...);
    }
    template <void (*K)(A...)> static void call(void** a) { go<K>(a, std::index_sequence_for<A...>{}); }
    static const char* text() {
        static const char s[] = {code<A>()..., 0};
        return s;
    }
};
}  // namespace xpemu
#define XPEMU_REGISTER(i, ...)                                                                             \
    extern "C" void xpemu_kernel_##i(void** a) { xpemu::Signature<decltype(&__VA_ARGS__)>::call<&__VA_ARGS__>(a); } \
    extern "C" const char* xpemu_signature_##i() { return xpemu::Signature<decltype(&__VA_ARGS__)>::text(); }
