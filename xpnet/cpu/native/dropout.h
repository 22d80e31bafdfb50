/* Dropout with the mask of `xpnet.random.philox` (Salmon et al., 2011), made in registers and never stored. */

#define LANES 64 /* blocks of four words at a time */
#define WIDTH (4 * LANES)

/* dropout(x, out, gradient, scale, threshold, words): out = x scale where a word is at least threshold, x 0
 * elsewhere; a gradient is cut off instead, it may be infinite just where the mask is 0. */
static void masks(long start, const uint32_t key[4], uint32_t c[4][LANES]) {
  for (int l = 0; l < LANES; l++) {
    uint64_t block = (uint64_t)start + l;
    c[0][l] = (uint32_t)block, c[1][l] = block >> 32, c[2][l] = key[2], c[3][l] = key[3];
  }
  uint32_t a = key[0], b = key[1];
  for (int round = 0; round < 10; round++, a += 0x9E3779B9u, b += 0xBB67AE85u)
    for (int l = 0; l < LANES; l++) {
      uint64_t p = (uint64_t)c[0][l] * 0xD2511F53u, q = (uint64_t)c[2][l] * 0xCD9E8D57u;
      c[0][l] = (uint32_t)(q >> 32) ^ c[1][l] ^ a;
      c[1][l] = (uint32_t)q;
      c[2][l] = (uint32_t)(p >> 32) ^ c[3][l] ^ b;
      c[3][l] = (uint32_t)p;
    }
}

#define DROPOUT(name, REAL)                                                                        \
  static void name##_task(void *context, long index) {                                             \
    const argument *a = context;                                                                   \
    const REAL *x = a[0].p;                                                                        \
    REAL *out = a[1].p, scale = (REAL)a[3].d, factor[WIDTH];                                       \
    long n = a[0].size / (long)sizeof(REAL), end = at_most(n, (index + 1) * SPAN);                 \
    int gradient = a[2].i != 0;                                                                    \
    uint32_t threshold = (uint32_t)a[4].i, c[4][LANES];                                            \
    for (long at = index * SPAN; at < end; at += WIDTH) {                                          \
      masks(at / 4, a[5].p, c);                                                                    \
      for (int l = 0; l < LANES; l++)                                                              \
        for (int i = 0; i < 4; i++) factor[4 * l + i] = c[i][l] >= threshold ? scale : 0;          \
      long count = at_most(WIDTH, end - at);                                                       \
      if (gradient)                                                                                \
        for (long i = 0; i < count; i++) out[at + i] = factor[i] > 0 ? x[at + i] * factor[i] : 0;  \
      else                                                                                         \
        for (long i = 0; i < count; i++) out[at + i] = x[at + i] * factor[i];                      \
    }                                                                                              \
  }                                                                                                \
  static void name(const argument *a) {                                                            \
    share(parts(a[0].size / (long)sizeof(REAL), SPAN), name##_task, (void *)a);                    \
  }
DROPOUT(dropout_f32, float)
DROPOUT(dropout_f64, double)
