#if defined(__x86_64__) && defined(__GNUC__)
#define LEVEL 2
#define TARGET "avx2,fma,bmi2"
#include "target.h"
#define TABLE kernels_avx2
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
