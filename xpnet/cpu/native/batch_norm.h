/* Batch norm of (N, C): sums of columns, then the result; and of (N, C, L), a channel at a time, which is read
 * from memory once: its sums are made first, its result out of the cache. A residual and ReLU come with the
 * result; backward, ReLU's mask is y != 0, and where the residual wants dy, too, it is written while the sums are made.
 *
 * Sums are of shifted values in float32, some at a time, gathered in float64: data with mean 1e4 and deviation 1
 * keep full float32 accuracy. The shift is the mean of some values from all over, so that no single one that is
 * unlike the others (the first row, a corner of the image) costs digits. */

typedef struct {
  const float *x, *dy, *gamma, *beta, *residual;
  const float *kept; /* y after ReLU, or NULL */
  int relu;
  float *y, *dx, *passed; /* dy where `kept` is not 0, for the residual; or NULL */
  double *mean, *var, eps;       /* of channels; in the backward pass var is 1 / sqrt(var + eps) */
  double *dgamma, *dbeta;
  long samples, channels, length;
} norm;

/* y = scale (x - centre) + offset; x - float32(mean) is exact near the mean, offset has what rounding it left. */
static void line_of(const norm *k, long c, double mean, double inverse, float *centre, float *scale, float *offset) {
  double gain = (k->gamma ? k->gamma[c] : 1.0) * inverse;
  *centre = (float)mean, *scale = (float)gain;
  *offset = (float)((k->beta ? k->beta[c] : 0.0) - gain * (mean - *centre));
}

/* S1: dx = gamma / sigma (dy - mean(dy) - x^ mean(dy x^)) = scale dy + slope (x - centre) + offset */
static void gradient_line(const norm *k, long c, double sum, double product, float *scale, float *slope, float *offset) {
  double mean = k->mean[c], inverse = k->var[c], count = (double)k->samples * k->length, rest = mean - (float)mean;
  double gain = (k->gamma ? k->gamma[c] : 1.0) * inverse, dgamma = (product - rest * sum) * inverse;
  double bend = -(gain * inverse * dgamma / count);
  k->dbeta[c] = sum, k->dgamma[c] = dgamma;
  *scale = (float)gain, *slope = (float)bend, *offset = (float)(-(gain * sum / count) - bend * rest);
}

static void statistics(const norm *k, long c, float shift, double sum, double square) {
  double count = (double)k->samples * k->length, moment = sum / count, spread = square / count - moment * moment;
  k->mean[c] = shift + moment;
  k->var[c] = spread < 0 ? 0 : spread; /* by rounding; NaN stays */
}

#define LOOK 16 /* values of a channel whose mean is the shift */

/* The i-th of so many places from all over n, each in the middle of its part. */
INLINE long place_of(long i, long places, long n) { return (2 * i + 1) * n / (2 * places); }

/* ---- (N, C) ---- */

typedef struct {
  norm *norm;
  const float *centre, *scale, *slope, *offset;
} affine;

/* y[j] = value, with the residual of j and ReLU where there are some */
#define NORMALIZED(value)                                                              \
  do {                                                                                 \
    if (relu && residual)                                                              \
      for (long j = 0; j < n; j++) { float v = (value) + residual[j]; y[j] = v <= 0 ? 0 : v; } \
    else if (relu)                                                                     \
      for (long j = 0; j < n; j++) { float v = (value); y[j] = v <= 0 ? 0 : v; }       \
    else if (residual)                                                                 \
      for (long j = 0; j < n; j++) y[j] = (value) + residual[j];                       \
    else                                                                               \
      for (long j = 0; j < n; j++) y[j] = (value);                                     \
  } while (0)

/* dx[j] = value of `passed`, dy where ReLU let pass */
#define GRADIENT(value)                                                                \
  do {                                                                                 \
    if (kept)                                                                          \
      for (long j = 0; j < n; j++) { float passed = kept[j] != 0 ? dy[j] : 0; dx[j] = (value); } \
    else                                                                               \
      for (long j = 0; j < n; j++) { float passed = dy[j]; dx[j] = (value); }          \
  } while (0)

static void normal_row(const float *restrict x, const float *restrict residual, const int relu, const affine *f, long n,
                       float *restrict y) {
  const float *restrict m = f->centre, *restrict g = f->scale, *restrict b = f->offset;
  NORMALIZED(g[j] * (x[j] - m[j]) + b[j]);
}

static void gradient_row(const float *restrict dy, const float *restrict kept, const float *restrict x, const affine *f,
                         long n, float *restrict dx) {
  const float *restrict m = f->centre, *restrict g = f->scale, *restrict b = f->offset, *restrict s = f->slope;
  GRADIENT(g[j] * passed + s[j] * (x[j] - m[j]) + b[j]);
}

static void scale_columns(void *context, long index) {
  const affine *f = context;
  const norm *k = f->norm;
  /* the last rows first: the sums have read them last, and they may still be in a cache */
  long n = k->channels, rows = at_least(1, SPAN / n), from = (parts(k->samples, rows) - 1 - index) * rows * n;
  long to = at_most(k->samples * n, from + rows * n);
  for (long i = from; i < to; i += n)
    if (f->slope)
      gradient_row(k->dy + i, k->kept ? k->kept + i : NULL, k->x + i, f, n, k->dx + i);
    else
      normal_row(k->x + i, k->residual ? k->residual + i : NULL, k->relu, f, n, k->y + i);
}

static void columns_of(norm *k, int gradient) {
  long n = k->channels;
  double *sums = scratch(1, 2 * n * sizeof *sums);
  float *line = scratch(2, 4 * n * sizeof *line), *centre = line, *scale = line + n, *slope = line + 2 * n, *offset = line + 3 * n;
  long looks = at_most(LOOK, k->samples);
  for (long j = 0; j < n; j++) centre[j] = gradient ? (float)k->mean[j] : 0;
  for (long i = 0; !gradient && i < looks; i++) {
    const float *row = k->x + place_of(i, looks, k->samples) * n;
    for (long j = 0; j < n; j++) centre[j] += row[j] / looks;
  }
  int mode = !gradient ? MOMENTS : !k->kept ? PRODUCTS : k->passed ? RELU_PRODUCTS : KEPT_PRODUCTS;
  column_sums(mode, k->samples, n, k->x, k->dy, centre, k->kept, k->passed, sums);
  for (long j = 0; j < n; j++)
    if (gradient)
      gradient_line(k, j, sums[j], sums[n + j], &scale[j], &slope[j], &offset[j]);
    else {
      statistics(k, j, centre[j], sums[j], sums[n + j]);
      line_of(k, j, k->mean[j], 1 / sqrt(k->var[j] + k->eps), &centre[j], &scale[j], &offset[j]);
    }
  if (k->passed) k->dy = k->passed, k->kept = NULL;
  affine f = {k, centre, scale, gradient ? slope : NULL, offset};
  share(parts(k->samples, at_least(1, SPAN / n)), scale_columns, &f);
}

/* ---- (N, C, L) ---- */

#define STRETCH 1024 /* elements summed in float32 */

INLINE void sums_by(const float *x, const float *dy, const float *kept, float *passed, long n, float shift, double *first,
                    double *second) {
  vf a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0};
  long i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    vf d0 = load(x + i) - shift, d1 = load(x + i + W) - shift;
    vf v0 = dy ? load(dy + i) : d0, v1 = dy ? load(dy + i + W) : d1;
    if (kept) v0 = choose(load(kept + i) != 0, v0, (vf){0}), v1 = choose(load(kept + i + W) != 0, v1, (vf){0});
    if (passed) store(passed + i, v0), store(passed + i + W, v1);
    a0 += v0, a1 += v1, b0 += v0 * d0, b1 += v1 * d1;
  }
  float a = total(a0 + a1), b = total(b0 + b1);
  for (; i < n; i++) {
    float d = x[i] - shift, v = dy ? dy[i] : d;
    if (kept) v = kept[i] != 0 ? v : 0;
    if (passed) passed[i] = v;
    a += v, b += v * d;
  }
  *first += a, *second += b;
}

/* The sums of x - shift and its square, or of dy and dy (x - shift). */
static void stretch_sums(const float *x, const float *dy, long n, float shift, double *first, double *second) {
  sums_by(x, dy, NULL, NULL, n, shift, first, second);
}

/* The latter for dy where `kept` is not 0, else 0, which is written to `passed` unless that is NULL. */
static void passed_sums(const float *x, const float *dy, const float *kept, float *passed, long n, float shift,
                        double *first, double *second) {
  sums_by(x, dy, kept, passed, n, shift, first, second);
}

static void channel_task(void *context, long c) {
  const norm *k = context;
  double sum = 0, square = 0;
  float shift = 0, centre, scale, offset;
  for (long i = 0; i < LOOK; i++) {
    long n = place_of(i, LOOK, k->samples), at = place_of(5 * i % LOOK, LOOK, k->length); /* a place once each */
    shift += k->x[(n * k->channels + c) * k->length + at] / LOOK;
  }
  for (long n = 0; n < k->samples; n++)
    for (long i = 0; i < k->length; i += STRETCH)
      stretch_sums(k->x + (n * k->channels + c) * k->length + i, NULL, at_most(STRETCH, k->length - i), shift, &sum, &square);
  statistics(k, c, shift, sum, square);
  line_of(k, c, k->mean[c], 1 / sqrt(k->var[c] + k->eps), &centre, &scale, &offset);
  const int relu = k->relu;
  for (long i = 0, n = k->length; i < k->samples; i++) {
    long at = (i * k->channels + c) * n;
    const float *restrict x = k->x + at, *restrict residual = k->residual ? k->residual + at : NULL;
    float *restrict y = k->y + at;
    NORMALIZED(scale * (x[j] - centre) + offset);
  }
}

static void channel_gradient_task(void *context, long c) {
  const norm *k = context;
  double sum = 0, product = 0;
  float centre = (float)k->mean[c], scale, slope, offset;
  for (long n = 0; n < k->samples; n++)
    for (long i = 0; i < k->length; i += STRETCH) {
      long at = (n * k->channels + c) * k->length + i;
      long some = at_most(STRETCH, k->length - i);
      if (k->kept)
        passed_sums(k->x + at, k->dy + at, k->kept + at, k->passed ? k->passed + at : NULL, some, centre, &sum, &product);
      else
        stretch_sums(k->x + at, k->dy + at, some, centre, &sum, &product);
    }
  gradient_line(k, c, sum, product, &scale, &slope, &offset);
  for (long i = 0, n = k->length; i < k->samples; i++) {
    long at = (i * k->channels + c) * n;
    const float *restrict x = k->x + at, *restrict dy = (k->passed ? k->passed : k->dy) + at;
    const float *restrict kept = k->kept && !k->passed ? k->kept + at : NULL;
    float *restrict dx = k->dx + at;
    GRADIENT(scale * passed + slope * (x[j] - centre) + offset);
  }
}

/* batch_norm(x, gamma, beta, residual, eps, relu, y, mean, var, samples, channels, length) */
static void batch_norm(const argument *a) {
  norm k = {.x = a[0].f, .gamma = a[1].f, .beta = a[2].f, .residual = a[3].f, .eps = a[4].d, .relu = (int)a[5].i,
            .y = a[6].f, .mean = a[7].g, .var = a[8].g, .samples = a[9].i, .channels = a[10].i, .length = a[11].i};
  if (k.length == 1)
    columns_of(&k, 0);
  else
    share(k.channels, channel_task, &k);
}

/* batch_norm_gradient(dy, kept, x, gamma, mean, inverse, passed, dx, dgamma, dbeta, samples, channels, length) */
static void batch_norm_gradient(const argument *a) {
  norm k = {.dy = a[0].f, .kept = a[1].f, .x = a[2].f, .gamma = a[3].f, .mean = a[4].g, .var = a[5].g,
            .passed = a[6].f, .dx = a[7].f, .dgamma = a[8].g, .dbeta = a[9].g, .samples = a[10].i,
            .channels = a[11].i, .length = a[12].i};
  if (k.length == 1)
    columns_of(&k, 1);
  else
    share(k.channels, channel_gradient_task, &k);
}
