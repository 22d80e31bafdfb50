/* Softmax cross-entropy: a row stays in the first-level cache from its maximum to its gradient. */

#define ROWS 64

typedef struct {
  const float *z;
  const int64_t *y;
  float *losses, *gradient, scale;
  long rows, classes;
} entropy;

/* Rows of a few classes, W at a time: a vector holds one class of all. */
static void narrow(const entropy *e, long from, long count) {
  long n = e->classes;
  float row[W * W];
  vf v[W];
  for (int i = 0; i < W; i++) {
    v[i] = i >= count ? (vf){0} : n == W ? load(e->z + (from + i) * n) : load_some(e->z + (from + i) * n, n);
    store(row + i * W, v[i]);
  }
  transpose(v);
  vf top = v[0], sum = {0}, picked = {0};
  for (long j = 1; j < n; j++) top = larger(top, v[j]);
  for (long i = 0; i < count; i++) picked[i] = row[i * W + e->y[from + i]];
  for (long j = 0; j < n; j++) sum += v[j] = exponential(v[j] - top);
  for (long i = 0; i < count; i++) e->losses[from + i] = (top[i] - picked[i]) + logf(sum[i]);
  if (!e->gradient) return;
  vf factor = e->scale / sum;
  for (long j = 0; j < n; j++) v[j] *= factor;
  transpose(v);
  for (long i = 0; i < count; i++) {
    float *g = e->gradient + (from + i) * n;
    if (n == W)
      store(g, v[i]);
    else
      store_some(g, v[i], n);
    g[e->y[from + i]] -= e->scale;
  }
}

/* The largest of n numbers. */
INLINE float row_largest(const float *x, long n) {
  if (n < W) {
    float top = x[0];
    for (long j = 1; j < n; j++) top = x[j] > top || top != top ? x[j] : top;
    return top;
  }
  vf a = load(x), b = load(x + n - W); /* the last ones, perhaps twice */
  long j = 0;
  for (; j + 2 * W <= n; j += 2 * W) a = larger(a, load(x + j)), b = larger(b, load(x + j + W));
  for (; j + W <= n; j += W) a = larger(a, load(x + j));
  return largest(larger(a, b));
}

/* out = e^(x - top), and its sum. */
INLINE float row_exponentials(const float *x, float top, long n, float *out) {
  vf s = {0}, t = {0};
  long j = 0;
  for (; j + 2 * W <= n; j += 2 * W) {
    vf p = exponential(load(x + j) - top), q = exponential(load(x + j + W) - top);
    store(out + j, p), store(out + j + W, q);
    s += p, t += q;
  }
  for (; j + W <= n; j += W) {
    vf p = exponential(load(x + j) - top);
    store(out + j, p);
    s += p;
  }
  if (j < n) {
    store_some(out + j, exponential(load_some(x + j, n - j) - top), n - j);
    t += load_some(out + j, n - j); /* zeros after the last */
  }
  return total(s + t);
}

/* One row of many classes. */
static void wide_row(const entropy *e, long i, float *room) {
  long n = e->classes;
  const float *z = e->z + i * n;
  for (long j = 0; j < n; j += 16) __builtin_prefetch(z + 2 * n + j);
  float *g = e->gradient ? e->gradient + i * n : room, top = row_largest(z, n), sum = row_exponentials(z, top, n, g);
  e->losses[i] = (top - z[e->y[i]]) + logf(sum);
  if (!e->gradient) return;
  float factor = e->scale / sum;
  for (long j = 0; j < n; j++) g[j] *= factor;
  g[e->y[i]] -= e->scale;
}

static void entropy_task(void *context, long index) {
  const entropy *e = context;
  long end = at_most(e->rows, (index + 1) * ROWS);
  if (e->classes <= W)
    for (long i = index * ROWS; i < end; i += W) narrow(e, i, at_most(W, end - i));
  else {
    float *room = scratch(1, (e->classes + W) * sizeof *room);
    for (long i = index * ROWS; i < end; i++) wide_row(e, i, room);
  }
}

/* cross_entropy(z, y, losses, gradient, scale, rows, classes): losses[i] = log sum exp z_i - z_i[y_i], gradient =
 * scale (softmax - e(y)) if there is one. A NaN in a row makes its sum, and so the whole row, NaN. */
static void cross_entropy(const argument *a) {
  entropy e = {a[0].f, a[1].p, a[2].f, a[3].f, (float)a[4].d, a[5].i, a[6].i};
  share(parts(e.rows, ROWS), entropy_task, &e);
}

/* ---- softmax of rows ---- */

/* softmax(x, y, rows, n) */
static void softmax_task(void *context, long index) {
  const argument *a = context;
  long n = a[3].i, some = at_least(1, SPAN / n), to = at_most(a[2].i, (index + 1) * some);
  for (long i = index * some; i < to; i++) {
    const float *x = a[0].f + i * n;
    float *restrict y = a[1].f + i * n, factor = 1 / row_exponentials(x, row_largest(x, n), n, y);
    for (long j = 0; j < n; j++) y[j] *= factor;
  }
}

static void softmax(const argument *a) { share(parts(a[2].i, at_least(1, SPAN / a[3].i)), softmax_task, (void *)a); }

/* softmax_gradient(dy, y, dx, rows, n): dx = y (dy - sum(dy y)) */
static void softmax_gradient_task(void *context, long index) {
  const argument *a = context;
  long n = a[4].i, some = at_least(1, SPAN / n), to = at_most(a[3].i, (index + 1) * some);
  for (long i = index * some; i < to; i++) {
    const float *restrict dy = a[0].f + i * n, *restrict y = a[1].f + i * n;
    float *restrict dx = a[2].f + i * n;
    vf s = {0};
    long j = 0;
    for (; j + W <= n; j += W) s += load(dy + j) * load(y + j);
    if (j < n) s += load_some(dy + j, n - j) * load_some(y + j, n - j);
    float sum = total(s);
    for (j = 0; j < n; j++) dx[j] = y[j] * (dy[j] - sum);
  }
}

static void softmax_gradient(const argument *a) {
  share(parts(a[3].i, at_least(1, SPAN / a[4].i)), softmax_gradient_task, (void *)a);
}
