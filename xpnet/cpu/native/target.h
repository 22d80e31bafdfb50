/* What follows is compiled for the instructions of TARGET, whatever the rest of the program needs. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#define DO(text) _Pragma(#text)
#define DO_ALL(...) DO(__VA_ARGS__)
#if defined(__clang__)
DO_ALL(clang attribute push(__attribute__((target(TARGET))), apply_to = function))
#else
DO_ALL(GCC target(TARGET))
#endif
