/* Layer, group and RMS norm: rows of n values, each standardised alone; a channel is `length` values of a row. */

typedef struct {
  const float *x, *dy, *gamma, *beta;
  float *y, *dx;
  double *mean, *inverse; /* of rows; RMS norm has no mean, it takes off 0 */
  double eps, *partial;   /* sums of dgamma and dbeta, of each group of rows its own: (groups, 2, channels) */
  long rows, n, channels, length, groups; /* channels of all `rows / samples` rows of a sample */
} row_norm;

static long rows_of_task(const row_norm *k) { return at_least(1, SPAN / k->n); }

/* The channel of the first value of row i. */
static long channel_of(const row_norm *k, long i) {
  if (k->n == k->channels * k->length) return 0; /* divisions take as long as a short row */
  return i % (k->channels * k->length / k->n) * (k->n / k->length);
}

static void row_task(void *context, long index) {
  const row_norm *k = context;
  long first = index * rows_of_task(k), last = at_most(k->rows, first + rows_of_task(k)), n = k->n;
  for (long i = first; i < last; i++) {
    const float *restrict x = k->x + i * n;
    float *restrict y = k->y + i * n;
    for (long j = 0; j < n; j += 16) __builtin_prefetch(x + 2 * n + j);
    double sum, square, moment, spread;
    float shift = 0;
    for (long j = 0; j < LOOK && k->mean; j++) shift += x[place_of(j, LOOK, n)] / LOOK;
    for (int turn = 0;; turn++) {
      sum = square = 0;
      for (long j = 0; j < n; j += STRETCH) stretch_sums(x + j, NULL, at_most(STRETCH, n - j), shift, &sum, &square);
      moment = k->mean ? sum / n : 0, spread = square / n - moment * moment;
      if (turn || moment * moment <= 0.25 * spread) break;
      shift += (float)moment; /* those values are unlike the others, and would cost digits */
    }
    double mean = shift + moment;
    double inverse = 1 / sqrt((spread < 0 ? 0 : spread) + k->eps);
    if (k->mean) k->mean[i] = mean;
    k->inverse[i] = inverse;
    float centre = (float)mean, scale = (float)inverse, rest = (float)((mean - centre) * inverse);
    long channel = channel_of(k, i);
    if (k->length == 1) {
      const float *restrict gamma = k->gamma ? k->gamma + channel : NULL, *restrict beta = k->beta ? k->beta + channel : NULL;
      if (gamma && beta)
        for (long j = 0; j < n; j++) y[j] = gamma[j] * (scale * (x[j] - centre) - rest) + beta[j];
      else
        for (long j = 0; j < n; j++) y[j] = (gamma ? gamma[j] : 1) * (scale * (x[j] - centre) - rest) + (beta ? beta[j] : 0);
    } else
      for (long c = 0; c < n / k->length; c++) {
        float gamma = k->gamma ? k->gamma[channel + c] : 1, beta = k->beta ? k->beta[channel + c] : 0;
        float slope = gamma * scale, offset = beta - gamma * rest;
        for (long j = c * k->length; j < (c + 1) * k->length; j++) y[j] = slope * (x[j] - centre) + offset;
      }
  }
}

/* The sums of g = dy gamma and g (x - centre), and those of dy and dy x^ added to the channels'. */
static void row_gradient(const row_norm *k, long i, float *dgamma, float *dbeta, double *dgamma_wide, double *dbeta_wide) {
  const float *restrict x = k->x + i * k->n, *restrict dy = k->dy + i * k->n;
  float *restrict dx = k->dx + i * k->n;
  long n = k->n, channel = channel_of(k, i), j = 0;
  double mean = k->mean ? k->mean[i] : 0;
  float centre = (float)mean, scale = (float)k->inverse[i], rest = (float)((mean - centre) * k->inverse[i]);
  double sum = 0, product = 0; /* of g and g x^ */
  if (k->length == 1) {
    const float *gamma = k->gamma ? k->gamma + channel : NULL;
    for (long from = 0; from < n; from += STRETCH) {
      long to = at_most(n, from + STRETCH);
      vf a = {0}, b = {0};
      for (j = from; j + W <= to; j += W) {
        vf v = load(dy + j), h = scale * (load(x + j) - centre) - rest, g = gamma ? v * load(gamma + j) : v;
        a += g, b += g * h;
        store(dbeta + channel + j, load(dbeta + channel + j) + v);
        store(dgamma + channel + j, load(dgamma + channel + j) + v * h);
      }
      float s = total(a), p = total(b);
      for (; j < to; j++) {
        float h = scale * (x[j] - centre) - rest, g = gamma ? dy[j] * gamma[j] : dy[j];
        s += g, p += g * h;
        dbeta[channel + j] += dy[j], dgamma[channel + j] += dy[j] * h;
      }
      sum += s, product += p;
    }
  } else
    for (long c = 0; c < n / k->length; c++) {
      double of_dy = 0, of_product = 0, gamma = k->gamma ? k->gamma[channel + c] : 1;
      for (j = c * k->length; j < (c + 1) * k->length; j += STRETCH)
        stretch_sums(x + j, dy + j, at_most(STRETCH, (c + 1) * k->length - j), centre, &of_dy, &of_product);
      of_product = (of_product - (mean - centre) * of_dy) * k->inverse[i];
      dbeta_wide[channel + c] += of_dy, dgamma_wide[channel + c] += of_product;
      sum += gamma * of_dy, product += gamma * of_product;
    }
  /* S1: dx = (g - mean(g) - x^ mean(g x^)) / sigma */
  float mean_g = k->mean ? (float)(sum / n) : 0, mean_p = (float)(product / n);
  if (k->length == 1) {
    const float *restrict gamma = k->gamma ? k->gamma + channel : NULL;
    if (gamma)
      for (j = 0; j < n; j++) dx[j] = scale * (dy[j] * gamma[j] - mean_g - (scale * (x[j] - centre) - rest) * mean_p);
    else
      for (j = 0; j < n; j++) dx[j] = scale * (dy[j] - mean_g - (scale * (x[j] - centre) - rest) * mean_p);
  } else
    for (long c = 0; c < n / k->length; c++) {
      float gamma = k->gamma ? k->gamma[channel + c] : 1;
      for (j = c * k->length; j < (c + 1) * k->length; j++)
        dx[j] = scale * (gamma * dy[j] - mean_g - (scale * (x[j] - centre) - rest) * mean_p);
    }
}

static void row_gradient_task(void *context, long index) {
  const row_norm *k = context;
  long c = k->channels, first = k->rows * index / k->groups, last = k->rows * (index + 1) / k->groups;
  double *dgamma = k->partial + index * 2 * c, *dbeta = dgamma + c;
  float *gamma_sums = scratch(3, 2 * c * sizeof *gamma_sums), *beta_sums = gamma_sums + c;
  memset(dgamma, 0, 2 * c * sizeof *dgamma);
  for (long from = first; from < last; from += BLOCK) {
    memset(gamma_sums, 0, 2 * c * sizeof *gamma_sums);
    for (long i = from; i < at_most(last, from + BLOCK); i++) row_gradient(k, i, gamma_sums, beta_sums, dgamma, dbeta);
    if (k->length == 1)
      for (long j = 0; j < 2 * c; j++) dgamma[j] += gamma_sums[j];
  }
}

/* row_norm(x, gamma, beta, eps, y, mean, inverse, rows, n, channels, length) */
static void row_norm_forward(const argument *a) {
  row_norm k = {.x = a[0].f, .gamma = a[1].f, .beta = a[2].f, .eps = a[3].d, .y = a[4].f, .mean = a[5].g, .inverse = a[6].g,
                .rows = a[7].i, .n = a[8].i, .channels = a[9].i, .length = a[10].i};
  share(parts(k.rows, rows_of_task(&k)), row_task, &k);
}

/* row_norm_gradient(dy, x, gamma, mean, inverse, dx, dgamma, dbeta, rows, n, channels, length) */
static void row_norm_gradient(const argument *a) {
  row_norm k = {.dy = a[0].f, .x = a[1].f, .gamma = a[2].f, .mean = a[3].g, .inverse = a[4].g, .dx = a[5].f,
                .rows = a[8].i, .n = a[9].i, .channels = a[10].i, .length = a[11].i};
  k.groups = at_most(GROUPS, parts(k.rows * k.n, SPAN));
  k.groups = at_least(1, at_most(k.groups, k.rows));
  k.partial = scratch(0, k.groups * 2 * k.channels * sizeof *k.partial);
  share(k.groups, row_gradient_task, &k);
  for (long c = 0; c < k.channels; c++) {
    double dgamma = 0, dbeta = 0;
    for (long g = 0; g < k.groups; g++) {
      dgamma += k.partial[g * 2 * k.channels + c];
      dbeta += k.partial[(g * 2 + 1) * k.channels + c];
    }
    a[6].f[c] = (float)dgamma, a[7].f[c] = (float)dbeta;
  }
}
