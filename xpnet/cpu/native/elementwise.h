/* One pass over flat arrays. */

#define SPAN (1 << 15) /* elements of a task */

#define EACH(name, type, ...)                                                    \
  static void name##_task(void *context, long index) {                            \
    const argument *a = context;                                                  \
    long n = a[0].size / (long)sizeof(type), from = index * SPAN, to = at_most(n, from + SPAN); \
    __VA_ARGS__                                                                   \
  }                                                                               \
  static void name(const argument *a) {                                           \
    share(parts(a[0].size / (long)sizeof(type), SPAN), name##_task, (void *)a);   \
  }

#define EACH_OF(name, type, ...) EACH(name, type, __VA_ARGS__) /* with the name written out */

/* dx = dy 1[y != 0]: of NaN, too; no product, dy may be infinite */
EACH(relu_gradient, float, {
  float *restrict dx = a[0].f;
  const float *restrict dy = a[1].f, *restrict y = a[2].f;
  for (long i = from; i < to; i++) dx[i] = y[i] != 0 ? dy[i] : 0;
})

/* y = max(x, 0), NaN where x is */
EACH(relu, float, {
  float *restrict y = a[0].f;
  const float *restrict x = a[1].f;
  for (long i = from; i < to; i++) y[i] = x[i] <= 0 ? 0 : x[i];
})

/* y = a + b; b may be shorter, then it repeats */
EACH(add, float, {
  float *restrict y = a[0].f;
  const float *restrict x = a[1].f;
  long n = a[2].size / (long)sizeof(float);
  for (long i = from, some; i < to; i += some) {
    const float *restrict b = a[2].f + i % n;
    some = at_most(to - i, n - i % n);
    for (long j = 0; j < some; j++) y[i + j] = x[i + j] + b[j];
  }
})

/* dx = dy d, d the derivative */
EACH(chain, float, {
  float *restrict dx = a[0].f;
  const float *restrict dy = a[1].f, *restrict d = a[2].f;
  for (long i = from; i < to; i++) dx[i] = dy[i] * d[i];
})

/* erf by Eigen's rational function, as in xpnet/core/error_function.py */
INLINE vf error_function(vf x) {
  vf z = choose(x > 4, splat(4), choose(x < -4, splat(-4), x)), s = z * z;
  vf p = -2.72614225801306e-10f * s + 2.77068142495902e-08f, q = -1.45660718464996e-05f * s + -2.13374055278905e-04f;
  p = p * s + -2.10102402082508e-06f;
  p = p * s + -5.69250639462346e-05f;
  p = p * s + -7.34990630326855e-04f;
  p = p * s + -2.95459980854025e-03f;
  p = p * s + -1.60960333262415e-02f;
  q = q * s + -1.68282697438203e-03f;
  q = q * s + -7.37332916720468e-03f;
  q = q * s + -1.42647390514189e-02f;
  p = p * z / q;
  return choose(p > 1, splat(1), choose(p < -1, splat(-1), p));
}

/* y = x Phi(x) */
INLINE vf gelu_of(vf x, vf *derivative) {
  vf phi = 0.5f * (1 + error_function(x * 0.70710678f));
  *derivative = phi + x * 0.39894228f * exponential(-0.5f * x * x);
  return x * phi;
}

/* gelu(y, d, x): and its derivative, unless d is None */
EACH(gelu, float, {
  float *y = a[0].f, *d = a[1].f;
  const float *x = a[2].f;
  long i = from;
  vf slope;
  for (; i + W <= to; i += W) {
    store(y + i, gelu_of(load(x + i), &slope));
    if (d) store(d + i, slope);
  }
  if (i < to) {
    store_some(y + i, gelu_of(load_some(x + i, to - i), &slope), to - i);
    if (d) store_some(d + i, slope, to - i);
  }
})
