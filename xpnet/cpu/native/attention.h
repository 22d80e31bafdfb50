/* Attention: from scores to weights, a row in the cache throughout, and back. */

typedef struct {
  const float *s;
  const void *mask;
  const int64_t *places; /* of each row: where its row of the mask begins */
  float *w, scale;
  long rows, keys, length, first, floats;
} weighing;

/* The scaled scores of a row, -inf where it may not look. */
INLINE void scores_of(const weighing *k, long i, long seen, float *restrict w) {
  const float *restrict s = k->s + i * k->keys;
  if (!k->mask)
    for (long j = 0; j < seen; j++) w[j] = s[j] * k->scale;
  else if (k->floats) {
    const float *restrict mask = (const float *)k->mask + k->places[i];
    for (long j = 0; j < seen; j++) w[j] = s[j] * k->scale + mask[j];
  } else {
    const uint8_t *restrict mask = (const uint8_t *)k->mask + k->places[i];
    for (long j = 0; j < seen; j++) w[j] = mask[j] ? s[j] * k->scale : -INFINITY;
  }
}

static void weighing_task(void *context, long index) {
  const weighing *k = context;
  long n = k->keys, some = at_least(1, SPAN / n), to = at_most(k->rows, (index + 1) * some);
  for (long i = index * some; i < to; i++) {
    long seen = k->length ? at_most(n, k->first + i % k->length + 1) : n; /* causal: query l looks at keys 0 to l */
    float *w = k->w + i * n;
    scores_of(k, i, seen, w);
    float top = row_largest(w, seen), factor = 0; /* of a query that may look nowhere */
    if (top != -INFINITY)
      factor = 1 / row_exponentials(w, top, seen, w);
    else
      for (long j = 0; j < seen; j++) { /* comparisons may have passed over a NaN, and one spoils the row */
        if (w[j] != w[j]) factor = NAN;
        w[j] = 0;
      }
    for (long j = 0; j < seen; j++) w[j] *= factor;
    for (long j = seen; j < n; j++) w[j] = 0 * factor;
  }
}

/* attention_weights(s, mask, places, w, scale, floats, keys, length, first): rows of the softmax of scale s + mask; of a mask of
 * bool (floats is 0), where it is True. Where `length` is not 0 row i is query first + i % length, and looks at no later key. */
static void attention_weights(const argument *a) {
  long keys = a[6].i, rows = a[0].size / (long)sizeof(float) / keys;
  weighing k = {a[0].f, a[1].p, a[2].p, a[3].f, (float)a[4].d, rows, keys, a[7].i, a[8].i, a[5].i};
  share(parts(rows, at_least(1, SPAN / keys)), weighing_task, &k);
}

/* attention_scores_gradient(w, dw, total, ds, scale, rows, keys): ds = scale w (dw - total) */
static void scores_gradient_task(void *context, long index) {
  const argument *a = context;
  long n = a[6].i, some = at_least(1, SPAN / n), to = at_most(a[5].i, (index + 1) * some);
  float scale = (float)a[4].d;
  for (long i = index * some; i < to; i++) {
    const float *restrict w = a[0].f + i * n, *restrict dw = a[1].f + i * n;
    float *restrict ds = a[3].f + i * n, total = a[2].f[i];
    for (long j = 0; j < n; j++) ds[j] = w[j] * (dw[j] - total) * scale;
  }
}

static void attention_scores_gradient(const argument *a) {
  share(parts(a[5].i, at_least(1, SPAN / a[6].i)), scores_gradient_task, (void *)a);
}
