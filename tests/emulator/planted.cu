// A correct kernel, and with -DBUG=n the same with one planted mistake: the emulator must notice each.
extern "C" __global__ void row_sum(const float* x, float* out, int C) {
    __shared__ float part[8];
    float s = 0.f;
    for (int c = threadIdx.x; c < C; c += blockDim.x) s += x[(long long)blockIdx.x * C + c];
    for (int o = 16; o > 0; o >>= 1) s += __shfl_down_sync(0xffffffffu, s, o);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
#if BUG != 1  // no barrier
    __syncthreads();
#endif
#if BUG == 2  // barrier in divergent code
    if (threadIdx.x < 64) __syncthreads();
#endif
#if BUG == 3  // past the end of shared memory
    if (threadIdx.x == 0) part[8 + C % 3] = 0.f;
#endif
    const int parts = BUG == 4 ? 8 : blockDim.x / 32;  // 4: reads shared memory that nobody wrote
    if (threadIdx.x == 0) {
        float t = 0.f;
        for (int i = 0; i < parts; ++i) t += part[i];
        out[blockIdx.x] = t;
    }
#if BUG == 5  // full-mask shuffle in a divergent branch
    if (threadIdx.x < 16) out[blockIdx.x] += 0.f * __shfl_down_sync(0xffffffffu, s, 1);
#endif
#if BUG == 6  // misaligned vector load
    if (threadIdx.x == 0) {
        float4 q = *(const float4*)(x + 1);
        out[blockIdx.x] += 0.f * q.x;
    }
#endif
#if BUG == 7  // past the end of global memory
    if (threadIdx.x == 0) out[blockIdx.x] += 0.f * x[(long long)gridDim.x * C];
#endif
}
