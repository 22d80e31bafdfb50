/* Sums over the rows of (N, C): eight rows at a time in registers, 64 in float32, all in float64. */

enum { MOMENTS, PRODUCTS, KEPT_PRODUCTS, RELU_PRODUCTS, SUMS_OF, RELU_SUMS }; /* what is summed: see `some_rows` */

#define BLOCK 64   /* rows summed in float32 */
#define GROUPS 16  /* parts of the rows, for any number of threads */

typedef struct {
  int mode;
  long rows, columns;
  const float *x, *dy, *centre, *kept;
  float *out;
  double *partial; /* (groups, 2, columns) */
} columns_sum;

/* first += sum v, second += sum v d over some rows, in which
 *     MOMENTS:   v = d = x - centre
 *     PRODUCTS:  v = dy, d = x - centre
 *     SUMS_OF:   v = dy alone
 *     KEPT_...:  v = dy where kept != 0, else 0
 *     RELU_...:  likewise, written to out */
INLINE void some_rows(const int mode, const int rows, const columns_sum *s, long at, float *first, float *second) {
  const int two = mode <= RELU_PRODUCTS, written = mode == RELU_PRODUCTS || mode == RELU_SUMS;
  const int masked = written || mode == KEPT_PRODUCTS;
  long n = s->columns, j = 0;
  const float *x = s->x + at * n, *dy = s->dy + at * n, *kept = s->kept + at * n;
  float *out = s->out + at * n;
  for (; j + W <= n; j += W) {
    vf a = load(first + j), b = two ? load(second + j) : a, c = two ? load(s->centre + j) : a;
UNROLL(8)
    for (int i = 0; i < rows; i++) {
      vf d = two ? load(x + i * n + j) - c : a, v = mode == MOMENTS ? d : load(dy + i * n + j);
      if (masked) v = choose(load(kept + i * n + j) != 0, v, (vf){0});
      if (written) store(out + i * n + j, v);
      a += v;
      if (two) b += v * d;
    }
    store(first + j, a);
    if (two) store(second + j, b);
  }
  for (; j < n; j++)
    for (int i = 0; i < rows; i++) {
      float d = two ? x[i * n + j] - s->centre[j] : 0, v = mode == MOMENTS ? d : dy[i * n + j];
      if (masked) v = kept[i * n + j] != 0 ? v : 0;
      if (written) out[i * n + j] = v;
      first[j] += v;
      if (two) second[j] += v * d;
    }
}

INLINE void rows_of(const int mode, const columns_sum *s, long from, long to, float *first, float *second) {
  for (; from + 8 <= to; from += 8) some_rows(mode, 8, s, from, first, second);
  for (; from < to; from++) some_rows(mode, 1, s, from, first, second);
}

static long groups_of(long rows) { return at_most(GROUPS, parts(rows, BLOCK)); }

static void columns_task(void *context, long index) {
  const columns_sum *s = context;
  long n = s->columns, blocks = parts(s->rows, BLOCK), groups = groups_of(s->rows);
  float *first = scratch(3, 2 * n * sizeof *first), *second = first + n;
  double *sums = s->partial + index * 2 * n;
  memset(sums, 0, 2 * n * sizeof *sums);
  for (long block = blocks * index / groups; block < blocks * (index + 1) / groups; block++) {
    long from = block * BLOCK, to = at_most(s->rows, from + BLOCK);
    memset(first, 0, 2 * n * sizeof *first);
    switch (s->mode) {
      case MOMENTS: rows_of(MOMENTS, s, from, to, first, second); break;
      case PRODUCTS: rows_of(PRODUCTS, s, from, to, first, second); break;
      case KEPT_PRODUCTS: rows_of(KEPT_PRODUCTS, s, from, to, first, second); break;
      case RELU_PRODUCTS: rows_of(RELU_PRODUCTS, s, from, to, first, second); break;
      case SUMS_OF: rows_of(SUMS_OF, s, from, to, first, second); break;
      default: rows_of(RELU_SUMS, s, from, to, first, second);
    }
    for (long j = 0; j < 2 * n; j++) sums[j] += first[j];
  }
}

/* sums (2, columns) of all rows; uses scratch 0 and 3 */
static void column_sums(int mode, long rows, long columns, const float *x, const float *dy, const float *centre,
                        const float *kept, float *out, double *sums) {
  long groups = groups_of(rows);
  columns_sum s = {mode, rows, columns, x, dy, centre, kept, out, scratch(0, groups * 2 * columns * sizeof(double))};
  share(groups, columns_task, &s);
  memset(sums, 0, 2 * columns * sizeof *sums);
  for (long g = 0; g < groups; g++)
    for (long j = 0; j < 2 * columns; j++) sums[j] += s.partial[g * 2 * columns + j];
}

/* sum_rows(x, out, rows, columns) */
static void sum_rows(const argument *a) {
  double *sums = scratch(1, 2 * a[3].i * sizeof *sums);
  column_sums(SUMS_OF, a[2].i, a[3].i, a[0].f, a[0].f, NULL, NULL, NULL, sums);
  for (long j = 0; j < a[3].i; j++) a[1].f[j] = (float)sums[j];
}

/* bias_relu_gradient(dx, dy, y, dbias, rows, columns) */
static void bias_relu_gradient(const argument *a) {
  double *sums = scratch(1, 2 * a[5].i * sizeof *sums);
  column_sums(RELU_SUMS, a[4].i, a[5].i, NULL, a[1].f, NULL, a[2].f, a[0].f, sums);
  for (long j = 0; j < a[5].i; j++) a[3].f[j] = (float)sums[j];
}

/* bias_relu(y, x, bias, rows, columns): y = max(x + bias, 0) */
static void bias_relu_task(void *context, long index) {
  const argument *a = context;
  long n = a[4].i, rows = at_least(1, SPAN / n), to = at_most(a[3].i, (index + 1) * rows);
  const float *restrict bias = a[2].f;
  for (long i = index * rows; i < to; i++) {
    float *restrict y = a[0].f + i * n;
    const float *restrict x = a[1].f + i * n;
    for (long j = 0; j < n; j++) {
      float v = x[j] + bias[j];
      y[j] = v <= 0 ? 0 : v;
    }
  }
}

static void bias_relu(const argument *a) {
  share(parts(a[3].i, at_least(1, SPAN / a[4].i)), bias_relu_task, (void *)a);
}
