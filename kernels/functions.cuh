// Functions of C by one name for both types of sums. After `using namespace xp`.
#pragma once
__device__ __forceinline__ float tanh_(float v) { return tanhf(v); }
__device__ __forceinline__ double tanh_(double v) { return tanh(v); }
__device__ __forceinline__ float expm1_(float v) { return expm1f(v); }
__device__ __forceinline__ double expm1_(double v) { return expm1(v); }
__device__ __forceinline__ float full_exp(float v) { return expf(v); }  // exp_ loses digits far from 0
__device__ __forceinline__ double full_exp(double v) { return exp(v); }
__device__ __forceinline__ float erfc_(float v) { return erfcf(v); }
__device__ __forceinline__ double erfc_(double v) { return erfc(v); }
