// How blocks meet, in PTX: <cooperative_groups.h> would take NVRTC two seconds a kernel.
#pragma once
#include "common.cuh"

namespace xp {
#if XP_HAS_CLUSTER
// ---- the blocks of a cluster -------------------------------------------------------------------------------------
// What a block did before it arrives, all of them see after they have waited; all threads of a warp together.
__device__ __forceinline__ void cluster_arrive() {
#ifndef XP_EMU
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
// they have begun: a peer's shared memory is there to be written to. Between an arrival early on and this, time passes.
__device__ __forceinline__ void cluster_started() {
#ifndef XP_EMU
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
#ifdef XP_EMU
inline void cluster_wait(XP_SITE) { xpemu_barrier(xpemu::CLUSTER, 0, 0, f, l); }  // meets at once
#else
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
#endif
// *p of another block's shared memory = v; p: in this block's dynamic shared memory
__device__ __forceinline__ unsigned in_block(const void* p, int rank) {
    unsigned at = 0;
#ifndef XP_EMU
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"((unsigned)__cvta_generic_to_shared(p)), "r"(rank));
#endif
    return at;
}
template <typename A> __device__ __forceinline__ void cluster_store(A* p, int rank, A v) {
#ifdef XP_EMU
    *(A*)xpemu_map_shared(p, rank) = v;
#else
    if constexpr (sizeof(A) == 4)
        asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(in_block(p, rank)), "f"((float)v) : "memory");
    else
        asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(in_block(p, rank)), "d"((double)v) : "memory");
#endif
}
#endif

// ---- blocks of a cooperative grid ----------------------------------------------------------------------------------
// `count` was 0 before the launch and grows by one a block and meeting; the meeting is over when it is `expected`.
// Groups of blocks, each with a count of its own, do not wait for each other.
__device__ __forceinline__ void meet(unsigned* count, unsigned expected) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(count, 1u);
#ifdef XP_EMU
        while (xpemu::peek(count) < expected) xpemu_yield();
#else
        unsigned seen;
        do asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(count) : "memory");
        while (seen < expected);
#endif
        __threadfence();
    }
    __syncthreads();
}
}  // namespace xp
