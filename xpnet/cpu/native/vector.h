/* Vectors as wide as the machine's registers, and how many of them a tile of a product has. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if LEVEL == 3
#define W 16 /* floats of a vector */
#define MR 8 /* rows of a tile */
#define NV 3 /* vectors of a row of a tile: MR NV sums, NV + 1 operands in 32 registers */
#define FEW 2 /* tiles beside each other, up to which packing A costs more than it gives, */
#define FEW_OF_ROWS 2 /* and where its rows are contiguous */
#elif LEVEL == 2
#define W 8
#define MR 6
#define NV 2
#define FEW 8
#define FEW_OF_ROWS 16
#else
#define W 4
#define MR 4
#define NV 2
#define FEW 2
#define FEW_OF_ROWS 2
#endif
#define NR (NV * W)

/* before a loop of so many turns at most */
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll(full))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * W)));
typedef float vf_any __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * W)));

/* r[l] is lane[l] of a and b, one after the other. */
#if defined(__clang__)
INLINE vf shuffled(vf a, vf b, vi lane) { /* one instruction, where the lanes are constants */
  vf r;
  for (int l = 0; l < W; l++) r[l] = lane[l] < W ? a[lane[l]] : b[lane[l] - W];
  return r;
}
#else
INLINE vf shuffled(vf a, vf b, vi lane) { return __builtin_shuffle(a, b, lane); }
#endif

/* The first n < W floats, zeros after them; and back. */
#if LEVEL == 3
INLINE vf load_some(const float *p, long n) { return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void store_some(float *p, vf v, long n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif LEVEL == 2
INLINE __m256i first_lanes(long n) {
  vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return (__m256i)(lane < (int)n);
}
INLINE vf load_some(const float *p, long n) { return (vf)_mm256_maskload_ps(p, first_lanes(n)); }
INLINE void store_some(float *p, vf v, long n) { _mm256_maskstore_ps(p, first_lanes(n), (__m256)v); }
#else
INLINE vf load_some(const float *p, long n) {
  vf v = {0};
  for (long i = 0; i < n; i++) v[i] = p[i];
  return v;
}
INLINE void store_some(float *p, vf v, long n) {
  for (long i = 0; i < n; i++) p[i] = v[i];
}
#endif

INLINE vf load(const float *p) { return *(const vf_any *)p; }
INLINE void store(float *p, vf v) { *(vf_any *)p = v; }
INLINE vf splat(float x) { return x - (vf){0}; }
INLINE long at_most(long a, long b) { return a < b ? a : b; }
INLINE long at_least(long a, long b) { return a > b ? a : b; }
INLINE long parts(long n, long size) { return (n + size - 1) / size; }
INLINE long padded(long n) { return parts(n, W) * W; } /* with lanes that are left over */

/* yes where the mask is set, no elsewhere */
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

/* The lanes in another order: l ^ apart */
INLINE vf swapped(vf v, int apart) {
  vi lane;
  for (int l = 0; l < W; l++) lane[l] = l ^ apart;
  return shuffled(v, v, lane);
}

/* The sum of the lanes, in halves. */
INLINE float total(vf v) {
UNROLL(4)
  for (int apart = W / 2; apart; apart /= 2) v += swapped(v, apart);
  return v[0];
}

/* W rows of W floats, transposed in registers: what is apart by a power of two changes places. */
INLINE void transpose(vf r[W]) {
UNROLL(8)
  for (int d = 1; d < W; d *= 2) {
    vi low, high;
    for (int l = 0; l < W; l++) {
      low[l] = l & d ? W + l - d : l;
      high[l] = l & d ? W + l : l + d;
    }
UNROLL(16)
    for (int i = 0; i < W; i++)
      if (!(i & d)) {
        vf a = r[i], b = r[i + d];
        r[i] = shuffled(a, b, low);
        r[i + d] = shuffled(a, b, high);
      }
  }
}

/* e^x for x <= 0 or NaN: 2^n e^r with Cephes' polynomial; 0 where it is less than the smallest normal number. */
INLINE vf exponential(vf x) {
  const float whole_numbers = 12582912.0f; /* 3 2^22: a sum with it is rounded, its last bits are n */
  vi some = (x >= -87.33654f) | (x != x);
  vf t = x * 1.4426950408889634f + whole_numbers, n = t - whole_numbers;
  vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return (vf)(((vi)p + ((vi)t << 23)) & some); /* n more in the exponent */
}

INLINE vf larger(vf a, vf b) { return choose(b > a, b, a); }

/* The largest lane; any lane, or NaN, if one is NaN. */
INLINE float largest(vf v) {
UNROLL(4)
  for (int apart = W / 2; apart; apart /= 2) v = larger(v, swapped(v, apart));
  return v[0];
}
