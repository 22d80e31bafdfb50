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
 * task has every eighth row, and adds up its tokens in their order; dy is read once, in whole rows. */
#define SHARES 8

static void add_rows_task(void *context, long index) {
  const argument *a = context;
  const int64_t *places = a[1].p;
  long d = a[3].i, rows = a[2].size / (long)sizeof(float) / d, tokens = a[1].size / (long)sizeof(int64_t);
  for (long r = index; r < rows; r += SHARES) memset(a[2].f + r * d, 0, (size_t)d * sizeof(float));
  for (long t = 0; t < tokens; t++) {
    if (places[t] % SHARES != index || places[t] == a[4].i) continue;
    float *restrict out = a[2].f + places[t] * d;
    const float *restrict dy = a[0].f + t * d;
    for (long j = 0; j < d; j++) out[j] += dy[j];
  }
}

static void add_rows(const argument *a) { share(SHARES, add_rows_task, (void *)a); }
