/* Convolution of float32 images as products whose rows are read where they lie.
 *
 * Images are laid with their channels last and zeros around them, a part of the rows at a time, so that a
 * row of a window is one run of numbers: output q meets the run of window row i at place[q] + offset[i]. That
 * makes the three products of a convolution those of matrices with rows at given places, for any stride,
 * padding, dilation and group:
 *
 *     y[q, o]      = sum_(i, k) x[place[q] + offset[i] + k]  w[i, k, o]
 *     dx[q, c]     = sum_(t, o) dy[place[q] + offset[t] + o] w[t, o, c]       of each phase of the stride
 *     dw[o, i, k]  = sum_q      dy[q, o] x[place[q] + offset[i] + k]
 */

typedef struct {
  long samples, channels, height, width;    /* of x */
  long outputs, rows, columns;              /* of y */
  long window[2], pad[2], step[2], gap[2];  /* kernel size, padding, stride, dilation */
  long groups, in, out;                     /* channels of x and of y in a group */
  const float *x, *w, *bias;
  float *y;
  long chunk, batch;   /* rows of y, or of dx, that a task makes, in how many samples */
  long wide;           /* of the images that are read, with the zeros around */
  long runs, run;      /* of a window, and their length */
  long *offset;        /* of each run */
  int back;            /* dx of dy, not y of x */
  float *packed;       /* weights */
  float *partial;      /* sums of the weight gradient, of each task's own */
} convolution;

#define SUMS 16 /* partial sums of the weight gradient: tasks, for any number of threads */
#define ROOM (1 << 26) /* floats of all partial sums together, unless two of them are more */

enum { X, W_, BIAS, Y, SIZES };

static convolution conv_of(const int64_t *s) {
  convolution v = {.samples = s[0], .channels = s[1], .height = s[2], .width = s[3], .outputs = s[4], .rows = s[5],
                   .columns = s[6], .window = {s[7], s[8]}, .pad = {s[9], s[10]}, .step = {s[11], s[12]},
                   .gap = {s[13], s[14]}, .groups = s[15]};
  v.in = v.channels / v.groups, v.out = v.outputs / v.groups;
  return v;
}

/* How many partial sums of `size` floats, at most one for each of `all` parts of the work. */
static long sums_of(long all, long size) { return at_most(at_most(SUMS, all), at_least(2, ROOM / size)); }

/* Rows of a task, and samples where these are small. It depends on the shape alone. */
static void divide(convolution *v, long rows, long columns, long wide) {
  long fit = at_least(1, (1 << 16) / (wide * at_least(v->in, v->out))); /* 256 KiB */
  long share = v->samples >= 8 ? rows : parts(rows * v->samples, 8);
  v->chunk = at_least(1, at_most(rows, at_most(fit, share)));
  long few = at_most(fit, 256 / columns) / rows;
  v->batch = v->chunk < rows ? 1 : at_least(1, at_most(few, v->samples / 8));
}

/* Rows first, first + 1, ... of images (channels, height, width) as out[row][column + left][channel], zeros around. */
static void channels_last(const float *images, long channels, long height, long width, long first, long count, long left,
                          long wide, long depth, float *out) {
  if (!left && wide == width && depth == channels && first >= 0 && first + count <= height) { /* no zeros between rows */
    transposed(images + first * width, height * width, channels, count * width, out, depth);
    return;
  }
  for (long r = first; r < first + count; r++, out += wide * depth) {
    if (r < 0 || r >= height) {
      memset(out, 0, wide * depth * sizeof *out);
      continue;
    }
    long visible = at_most(width, wide - left);
    memset(out, 0, left * depth * sizeof *out);
    memset(out + (left + visible) * depth, 0, (wide - left - visible) * depth * sizeof *out);
    if (channels < depth) memset(out + left * depth, 0, visible * depth * sizeof *out);
    transposed(images + r * width, height * width, channels, visible, out + left * depth, depth);
  }
}

/* c[i][j] += sum over runs and k of row[i][offset + k] b[k][j]: a tile with its rows anywhere. */
INLINE void tile_runs_of(const int vectors, const float *const *row, const long *offset, long runs, long run,
                         const float *b, int fresh, float *c, long c_row) {
  vf sum[MR][NV] = {0};
  if (!fresh) read_tile(vectors, c, c_row, sum);
  for (long r = 0; r < runs; r++) {
    const float *a[MR];
UNROLL(8)
    for (int i = 0; i < MR; i++) a[i] = row[i] + offset[r];
    for (long k = 0; k < run; k++, b += vectors * W) ADD_TERM(vectors, a[i][k], b);
  }
  write_tile(vectors, c, c_row, sum);
}

FOR_VECTORS(tile_runs,
            (const float *const *row, const long *offset, long runs, long run, const float *b, int fresh, float *c, long c_row),
            (row, offset, runs, run, b, fresh, c, c_row),
            tile_runs_of(vectors, row, offset, runs, run, b, fresh, c, c_row))
/* c[i][j] += sum_q a[q a_column + i] b[place[q] + j]: a tile whose terms are anywhere */
FOR_VECTORS(tile_places, (const float *a, long a_column, const float *b, const long *place, long terms, float *c, long c_row),
            (a, a_column, b, place, terms, c, c_row), tile_of(vectors, terms, a, 1, a_column, b, 0, place, 0, c, c_row))

/* Weights as rows_times_weights reads them: those of n columns and some elements of the window (`taps`, or all if
 * NULL), depth terms each; w[column w_column + term w_term + tap]. */
static void pack_weights(const float *w, long n, long w_column, long depth, long w_term, const long *taps, long count,
                         float *packed) {
  for (long i = 0; i < n; i++) {
    long j = i / NR * NR, columns = at_most(NR, padded(n) - j);
    float *to = packed + j * count * depth + (i - j);
    for (long t = 0; t < count; t++)
      for (long k = 0; k < depth; k++)
        to[(t * depth + k) * columns] = w[i * w_column + k * w_term + (taps ? taps[t] : t)];
  }
}

/* out[q][j] = sum of rows at place[q] with packed weights (runs, run, outputs), for q < count. */
static void rows_times_weights(const convolution *v, const float *a, const long *place, long count, const float *packed,
                               long outputs, const long *offset, long runs, const float *bias, float *out) {
  long wide = padded(outputs), most = at_least(1, KC / v->run);
  if (bias) {
    memset(out, 0, wide * sizeof *out);
    memcpy(out, bias, outputs * sizeof *out);
    for (long q = 1; q < count; q++) memcpy(out + q * wide, out, wide * sizeof *out);
  }
  for (long from = 0; from < runs; from += most) {
    long some = at_most(most, runs - from);
    for (long j = 0; j < wide; j += NR) {
      long columns = at_most(NR, wide - j), vectors = columns / W;
      const float *b = packed + j * runs * v->run + from * v->run * columns;
      for (long q = 0; q < count; q += MR) {
        const float *row[MR];
        for (long i = 0; i < MR; i++) row[i] = a + place[at_most(q + i, count - 1)];
        tile_runs_by(vectors, row, offset + from, some, v->run, b, !from && !bias, out + q * wide + j, wide);
      }
    }
  }
}

/* A task: rows first to first + count of samples begin to end, in a group. */
typedef struct {
  long group, begin, end, first, count;
} part;

static long parts_of(const convolution *v, long rows) {
  return parts(v->samples, v->batch) * parts(rows, v->chunk) * v->groups;
}

static part part_of(const convolution *v, long rows, long index) {
  long chunks = parts(rows, v->chunk), at = index / v->groups, begin = at / chunks * v->batch;
  long first = at % chunks * v->chunk;
  return (part){index % v->groups, begin, at_most(v->samples, begin + v->batch), first, at_most(v->chunk, rows - first)};
}

/* What the windows of a part read of x, and where the window of each output begins. */
static long read_windows(const convolution *v, part p, float **x, long **place) {
  long tall = (p.count - 1) * v->step[0] + (v->window[0] - 1) * v->gap[0] + 1, wide = v->wide, pixels = 0;
  *x = scratch(1, ((p.end - p.begin) * tall * wide * v->in + NR) * sizeof **x);
  *place = scratch(2, (p.end - p.begin) * p.count * v->columns * sizeof **place);
  for (long n = 0; n < p.end - p.begin; n++) {
    channels_last(v->x + ((p.begin + n) * v->channels + p.group * v->in) * v->height * v->width, v->in, v->height,
                  v->width, p.first * v->step[0] - v->pad[0], tall, v->pad[1], wide, v->in, *x + n * tall * wide * v->in);
    for (long r = 0; r < p.count; r++)
      for (long c = 0; c < v->columns; c++)
        (*place)[pixels++] = ((n * tall + r * v->step[0]) * wide + c * v->step[1]) * v->in;
  }
  return pixels;
}

static void correlate_task(void *context, long index) {
  const convolution *v = context;
  part p = part_of(v, v->rows, index);
  float *x;
  long *place, pixels = read_windows(v, p, &x, &place), across = padded(v->out), plane = v->rows * v->columns;
  float *out = scratch(3, (pixels + MR) * across * sizeof *out);
  rows_times_weights(v, x, place, pixels, v->packed + p.group * across * v->runs * v->run, v->out, v->offset, v->runs,
                     v->bias ? v->bias + p.group * v->out : NULL, out);
  long mine = p.count * v->columns;
  for (long n = p.begin; n < p.end; n++)
    transposed(out + (n - p.begin) * mine * across, across, mine, v->out,
               v->y + (n * v->outputs + p.group * v->out) * plane + p.first * v->columns, plane);
}

/* The runs of a window in images `wide` across: whole rows of it, or single pixels if these are apart. */
static void find_runs(convolution *v, long *offset) {
  long wide = v->wide = v->width + 2 * v->pad[1];
  int whole = v->gap[1] == 1;
  v->run = v->in * (whole ? v->window[1] : 1);
  v->runs = v->window[0] * (whole ? 1 : v->window[1]);
  for (long r = 0; r < v->runs; r++)
    offset[r] = whole ? r * v->gap[0] * wide * v->in
                      : (r / v->window[1] * v->gap[0] * wide + r % v->window[1] * v->gap[1]) * v->in;
  v->offset = offset;
}

/* ---- windows of one pixel: products of the images as they lie ---- */

static int is_pointwise(const convolution *v) {
  return v->window[0] * v->window[1] == 1 && v->step[0] * v->step[1] == 1 && !v->pad[0] && !v->pad[1];
}

/* y = w x, or dx = w^T dy, of a sample and a group. */
static void pointwise_task(void *context, long index) {
  const convolution *v = context;
  long plane = v->height * v->width, g = index % v->groups, n = index / v->groups;
  float *x = (float *)v->x + (n * v->channels + g * v->in) * plane, *y = v->y + (n * v->outputs + g * v->out) * plane;
  const float *w = v->w + g * v->out * v->in;
  product p = {.a = w, .a_row = v->in, .a_column = 1, .b_row = plane, .b_column = 1, .c_row = plane, .n = plane};
  if (v->back)
    p.a_row = 1, p.a_column = v->in, p.m = v->in, p.k = v->out, p.b = y, p.c = x;
  else
    p.m = v->out, p.k = v->in, p.b = x, p.c = y;
  if (!v->back && v->bias) {
    p.add = 1;
    for (long o = 0; o < v->out; o++)
      for (long q = 0; q < plane; q++) y[o * plane + q] = v->bias[g * v->out + o];
  }
  multiply_all(&p, 1);
}

/* dw = dy x^T of a group, summed over some samples. */
static void pointwise_weight_task(void *context, long index) {
  const convolution *v = context;
  long plane = v->height * v->width, g = index % v->groups, mine = index / v->groups;
  long tasks = sums_of(v->samples, v->groups * v->out * v->in);
  float *dw = v->partial + index * v->out * v->in;
  memset(dw, 0, v->out * v->in * sizeof *dw);
  for (long n = v->samples * mine / tasks; n < v->samples * (mine + 1) / tasks; n++) {
    product p = {.a = v->y + (n * v->outputs + g * v->out) * plane, .a_row = plane, .a_column = 1, .m = v->out,
                 .b = v->x + (n * v->channels + g * v->in) * plane, .b_row = 1, .b_column = plane, .n = v->in,
                 .c = dw, .c_row = v->in, .k = plane, .add = 1};
    multiply_all(&p, 1);
  }
}

static void pointwise_weight(convolution *v, float *dw) {
  long size = v->groups * v->out * v->in, tasks = sums_of(v->samples, size);
  v->partial = scratch(3, tasks * size * sizeof *v->partial);
  share(tasks * v->groups, pointwise_weight_task, v);
  for (long i = 0; i < size; i++) {
    double sum = 0;
    for (long t = 0; t < tasks; t++) sum += v->partial[t * size + i];
    dw[i] = (float)sum;
  }
}

/* y = conv2d(x, w, bias) */
static void correlate(const argument *a) {
  convolution v = conv_of(a[SIZES].p);
  v.x = a[X].f, v.w = a[W_].f, v.bias = a[BIAS].f, v.y = a[Y].f;
  if (is_pointwise(&v)) {
    share(v.samples * v.groups, pointwise_task, &v);
    return;
  }
  long area = v.window[0] * v.window[1], across = padded(v.out);
  find_runs(&v, scratch(4, area * sizeof *v.offset));
  float *packed = scratch(0, v.groups * across * v.in * area * sizeof *packed);
  memset(packed, 0, v.groups * across * v.in * area * sizeof *packed);
  for (long g = 0; g < v.groups; g++) /* (tap, channel) is the order of k in the runs */
    pack_weights(v.w + g * v.out * v.in * area, v.out, v.in * area, v.in, area, NULL, area, packed + g * across * v.in * area);
  v.packed = packed;
  divide(&v, v.rows, v.columns, v.wide * v.step[0]);
  share(parts_of(&v, v.rows), correlate_task, &v);
}

/* ---- the gradient of x ---- */

/* dx at rows a, a + step, ... is a correlation of dy with every step-th row of the window, and so in the other
 * axis: a phase. Its weights, and which elements of the window they are. */
typedef struct {
  long at[2], taps;
  long *offset;
  float *packed;
} phase;

static void pack_phase(const convolution *v, phase *f, long top, long left, long *used) {
  long area = v->window[0] * v->window[1], across = padded(v->in);
  for (long t = 0; t < area; t++) {
    long i = f->at[0] + v->pad[0] - t / v->window[1] * v->gap[0], j = f->at[1] + v->pad[1] - t % v->window[1] * v->gap[1];
    if (i % v->step[0] || j % v->step[1]) continue;
    f->offset[f->taps] = ((i / v->step[0] + top) * v->wide + j / v->step[1] + left) * v->out;
    used[f->taps++] = t;
  }
  for (long g = 0; g < v->groups; g++)
    pack_weights(v->w + g * v->out * v->in * area, v->in, area, v->out, v->in * area, used, f->taps,
                 f->packed + g * across * f->taps * v->out);
}

/* Whether any element of the window is in a phase of an axis. */
static int has_taps(const convolution *v, int axis, long at) {
  for (long t = 0; t < v->window[axis]; t++)
    if ((at + v->pad[axis] - t * v->gap[axis]) % v->step[axis] == 0) return 1;
  return 0;
}

/* down(a / b) for a of any sign */
static long down(long a, long b) { return a >= 0 ? a / b : -parts(-a, b); }

typedef struct {
  convolution v;
  long phases, top, left; /* the phases that have taps; elsewhere dx is 0 */
  phase *phase;
} backward;

static void input_task(void *context, long index) {
  const backward *k = context;
  const convolution *v = &k->v;
  long all = parts(v->height, v->step[0]), most = parts(v->width, v->step[1]), across = padded(v->in);
  part p = part_of(v, all, index);
  /* the rows that any phase reads below its own */
  long tall = k->top + p.count + down(v->step[0] - 1 + v->pad[0], v->step[0]), size = tall * v->wide * v->out;
  long samples = p.end - p.begin, plane = v->height * v->width;
  float *dy = scratch(1, (samples * size + NR) * sizeof *dy);
  long *place = scratch(2, samples * p.count * most * sizeof *place);
  float *out = scratch(3, (samples * p.count * most + MR) * across * sizeof *out);
  for (long n = 0; n < samples; n++)
    channels_last(v->y + ((p.begin + n) * v->outputs + p.group * v->out) * v->rows * v->columns, v->out, v->rows,
                  v->columns, p.first - k->top, tall, k->left, v->wide, v->out, dy + n * size);
  long first = p.first * v->step[0], last = at_most(v->height, (p.first + p.count) * v->step[0]);
  if (k->phases < v->step[0] * v->step[1])
    for (long n = p.begin; n < p.end; n++)
      for (long c = 0; c < v->in; c++)
        memset((float *)v->x + (n * v->channels + p.group * v->in + c) * plane + first * v->width, 0,
               (last - first) * v->width * sizeof(float));
  for (const phase *f = k->phase; f < k->phase + k->phases; f++) {
    long rows = at_most(p.count, parts(v->height - f->at[0], v->step[0]) - p.first), pixels = 0;
    long columns = parts(v->width - f->at[1], v->step[1]);
    if (rows <= 0 || columns <= 0) continue;
    for (long n = 0; n < samples; n++)
      for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) place[pixels++] = n * size + (r * v->wide + c) * v->out;
    rows_times_weights(v, dy, place, pixels, f->packed + p.group * across * f->taps * v->out, v->in, f->offset, f->taps,
                       NULL, out);
    const float *from = out;
    for (long n = p.begin; n < p.end; n++)
      for (long r = p.first; r < p.first + rows; r++, from += columns * across) {
        float *to = (float *)v->x + (n * v->channels + p.group * v->in) * plane;
        to += (r * v->step[0] + f->at[0]) * v->width + f->at[1];
        if (v->step[1] == 1)
          transposed(from, across, columns, v->in, to, plane);
        else
          for (long c = 0; c < v->in; c++)
            for (long q = 0; q < columns; q++) to[c * plane + q * v->step[1]] = from[q * across + c];
      }
  }
}

/* dx of dy */
static void input_gradient(const argument *a) {
  backward k = {conv_of(a[SIZES].p), 0, 0, 0, NULL};
  convolution *v = &k.v;
  v->x = a[X].f, v->w = a[W_].f, v->y = a[Y].f, v->run = v->out;
  if (is_pointwise(v)) {
    v->back = 1;
    share(v->samples * v->groups, pointwise_task, v);
    return;
  }
  k.top = at_least(0, -down(v->pad[0] - (v->window[0] - 1) * v->gap[0], v->step[0]));
  k.left = at_least(0, -down(v->pad[1] - (v->window[1] - 1) * v->gap[1], v->step[1]));
  long most = parts(v->width, v->step[1]), area = v->window[0] * v->window[1];
  v->wide = k.left + most + down(v->step[1] - 1 + v->pad[1], v->step[1]);
  long floats = v->groups * padded(v->in) * v->out * area;
  float *packed = scratch(0, floats * sizeof *packed);
  long *offset = scratch(4, area * (2 * sizeof *offset + sizeof *k.phase)), *used = offset + area;
  k.phase = (phase *)(used + area);
  memset(packed, 0, floats * sizeof *packed);
  for (long i = 0; i < v->step[0]; i++)
    for (long j = 0; has_taps(v, 0, i) && j < v->step[1]; j++) {
      if (!has_taps(v, 1, j)) continue;
      phase *one = &k.phase[k.phases++];
      *one = (phase){{i, j}, 0, offset, packed};
      pack_phase(v, one, k.top, k.left, used);
      offset += one->taps;
      packed += v->groups * padded(v->in) * v->out * one->taps;
    }
  long rows = parts(v->height, v->step[0]);
  divide(v, rows, most, v->wide);
  share(parts_of(v, rows), input_task, &k);
}

/* ---- the gradient of the weight ---- */

#define TERMS 256

static void weight_task(void *context, long index) {
  const convolution *v = context;
  long across = parts(v->out, MR) * MR, length = padded(v->run), row = v->runs * length;
  long all = parts_of(v, v->rows) / v->groups, tasks = sums_of(all, v->groups * across * row);
  long group = index % v->groups, mine = index / v->groups;
  /* Terms that are far apart share few sets of a cache: where they are read often they are laid side by side. */
  int packing = across >= 128 && row >= 512;
  float *dw = v->partial + index * across * row;
  memset(dw, 0, across * row * sizeof *dw);
  for (long i = all * mine / tasks; i < all * (mine + 1) / tasks; i++) {
    part p = part_of(v, v->rows, i * v->groups + group);
    float *x;
    long *place, pixels = read_windows(v, p, &x, &place), each = p.count * v->columns;
    float *dy = scratch(3, (pixels * across + TERMS * (across + NR)) * sizeof *dy);
    float *panels = dy + pixels * across, *beside = panels + TERMS * across;
    for (long n = p.begin; n < p.end; n++)
      channels_last(v->y + (n * v->outputs + group * v->out) * v->rows * v->columns, v->out, v->rows, v->columns, p.first,
                    p.count, 0, v->columns, across, dy + (n - p.begin) * each * across);
    for (long q = 0; q < pixels; q += TERMS) {
      long terms = at_most(TERMS, pixels - q);
      for (long o = 0; packing && o < across; o += MR) pack(dy + q * across + o, 1, across, MR, terms, MR, panels + o * terms);
      for (long r = 0; r < v->runs; r++)
        for (long k = 0; k < length; k += NR) {
          long width = at_most(NR, length - k), vectors = width / W;
          const float *seen = x + v->offset[r] + k;
          for (long t = 0; packing && t < terms; t++) memcpy(beside + t * width, seen + place[q + t], width * sizeof *beside);
          for (long o = 0; o < across; o += MR) {
            float *c = dw + o * row + r * length + k;
            if (packing)
              tile_packed_by(vectors, terms, panels + o * terms, beside, width, 0, c, row);
            else
              tile_places_by(vectors, dy + q * across + o, across, seen, place + q, terms, c, row);
          }
        }
    }
  }
}

static void weight_sums(void *context, long index) { /* of one output */
  const convolution *v = context;
  long across = parts(v->out, MR) * MR, length = padded(v->run), row = v->runs * length, area = v->window[0] * v->window[1];
  long tasks = sums_of(parts_of(v, v->rows) / v->groups, v->groups * across * row), group = index / v->out;
  float *to = v->y + index * v->in * area;
  for (long r = 0; r < v->runs; r++)
    for (long k = 0; k < v->run; k++) {
      double sum = 0;
      for (long t = 0; t < tasks; t++) sum += v->partial[((t * v->groups + group) * across + index % v->out) * row + r * length + k];
      long place = r * v->run + k; /* (window, channel) */
      to[place % v->in * area + place / v->in] = (float)sum;
    }
}

/* dw of x and dy */
static void weight_gradient(const argument *a) {
  convolution v = conv_of(a[SIZES].p);
  v.x = a[X].f, v.y = a[Y].f;
  if (is_pointwise(&v)) {
    pointwise_weight(&v, a[W_].f);
    return;
  }
  find_runs(&v, scratch(4, v.window[0] * v.window[1] * sizeof *v.offset));
  divide(&v, v.rows, v.columns, v.wide * v.step[0]);
  long size = v.groups * parts(v.out, MR) * MR * v.runs * padded(v.run), tasks = sums_of(parts_of(&v, v.rows) / v.groups, size);
  v.partial = scratch(0, tasks * size * sizeof *v.partial);
  share(tasks * v.groups, weight_task, &v);
  v.y = a[W_].f;
  share(v.outputs, weight_sums, &v);
}
