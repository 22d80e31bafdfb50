/* Rows of a table by number, and their gradient. */

/* take_rows(w, places, y, d): y[t] = w[places[t]], rows of d */
static void take_rows_task(void *context, long index) {
  const argument *a = context;
  const float *w = a[0].f;
  const int64_t *places = a[1].p;
  long d = a[3].i, some = at_least(1, SPAN / d), tokens = a[1].size / (long)sizeof(int64_t);
  long to = at_most(tokens, (index + 1) * some);
  for (long t = index * some; t < to; t++) memcpy(a[2].f + t * d, w + places[t] * d, (size_t)d * sizeof(float));
}

static void take_rows(const argument *a) {
  share(parts(a[1].size / (long)sizeof(int64_t), at_least(1, SPAN / a[3].i)), take_rows_task, (void *)a);
}

/* add_rows(dy, places, out, d, padding): out[p] = the sum of dy[t] where places[t] is p, but for p = padding. Each
 * task has some columns of all rows, so tokens of a row are added in their order, and no row is too popular. */
#define LINE 16 /* floats */

INLINE long columns_each(long d) { return at_least(LINE, (d / 8 + LINE - 1) / LINE * LINE); }

static void add_rows_task(void *context, long index) {
  const argument *a = context;
  const int64_t *places = a[1].p;
  long d = a[3].i, some = columns_each(d), from = index * some, n = at_most(some, d - from);
  long rows = a[2].size / (long)sizeof(float) / d, tokens = a[1].size / (long)sizeof(int64_t);
  for (long r = 0; r < rows; r++) memset(a[2].f + r * d + from, 0, (size_t)n * sizeof(float));
  for (long t = 0; t < tokens; t++) {
    if (places[t] == a[4].i) continue;
    float *restrict out = a[2].f + places[t] * d + from;
    const float *restrict dy = a[0].f + t * d + from;
    for (long j = 0; j < n; j++) out[j] += dy[j];
  }
}

static void add_rows(const argument *a) { share(parts(a[3].i, columns_each(a[3].i)), add_rows_task, (void *)a); }
