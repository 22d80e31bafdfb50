/* Maximum of windows: of 2 by 2 with stride 2, where each value is in one, a vector at a time; of others, a row of
 * windows at a time. `which` window's element won: the first of equals, the last of NaN. */

typedef uint8_t vb __attribute__((vector_size(W), aligned(1), may_alias));

INLINE vf evens(vf a, vf b) {
  vi lanes;
  for (int l = 0; l < W; l++) lanes[l] = 2 * l;
  return shuffled(a, b, lanes);
}

INLINE vf odds(vf a, vf b) {
  vi lanes;
  for (int l = 0; l < W; l++) lanes[l] = 2 * l + 1;
  return shuffled(a, b, lanes);
}

#define ROWS 64 /* rows of windows a task */

typedef struct {
  float *x, *y; /* in the backward pass their gradients */
  uint8_t *winner;
  long planes, height, width, rows, columns; /* images, their size, and the windows over each */
  long tall, wide, down, across, above, left, spread, apart; /* window, stride, padding, dilation */
} pooled;

INLINE int tiled(const pooled *p) {
  return p->tall == 2 && p->wide == 2 && p->down == 2 && p->across == 2 && !p->above && !p->left &&
         p->spread == 1 && p->apart == 1 && 2 * p->rows <= p->height && 2 * p->columns <= p->width;
}

/* A row of windows of 2 by 2. */
INLINE void pool_tiles(const float *top, const float *low, float *y, uint8_t *winner, long columns) {
  for (long j = 0; j < columns; j += W) {
    long n = columns - j, wide = 2 * n;
    vf t0, t1, l0, l1;
    if (n >= W)
      t0 = load(top + 2 * j), t1 = load(top + 2 * j + W), l0 = load(low + 2 * j), l1 = load(low + 2 * j + W);
    else if (wide >= W) {
      t0 = load(top + 2 * j), t1 = load_some(top + 2 * j + W, wide - W);
      l0 = load(low + 2 * j), l1 = load_some(low + 2 * j + W, wide - W);
    } else
      t0 = load_some(top + 2 * j, wide), l0 = load_some(low + 2 * j, wide), t1 = l1 = (vf){0};
    vf best = evens(t0, t1), other[3] = {odds(t0, t1), evens(l0, l1), odds(l0, l1)};
    vi which = {0};
    for (int k = 0; k < 3; k++) {
      vi won = (other[k] > best) | (other[k] != other[k]);
      best = choose(won, other[k], best);
      which = (which & ~won) | (won & (k + 1));
    }
    vb bytes = __builtin_convertvector(which, vb);
    if (n >= W) {
      store(y + j, best);
      *(vb *)(winner + j) = bytes;
    } else {
      store_some(y + j, best, n);
      memcpy(winner + j, &bytes, n);
    }
  }
}

/* Those windows of a row whose k-th element, `first` columns from the first window's left edge, is in the image. */
INLINE void within(const pooled *p, long first, long *from, long *to) {
  *from = first >= 0 ? 0 : parts(-first, p->across);
  *to = first >= p->width ? 0 : at_most(p->columns, parts(p->width - first, p->across));
}

INLINE void take_better(const float *x, long step, float *y, uint8_t *winner, long n, uint8_t k) {
  for (long j = 0; j < n; j++) {
    float value = x[j * step];
    int won = (value > y[j]) | (value != value);
    y[j] = won ? value : y[j];
    winner[j] = won ? k : winner[j];
  }
}

/* A row of any windows: element after element of all. */
static void pool_row(const pooled *p, const float *x, long i, float *y, uint8_t *winner) {
  for (long j = 0; j < p->columns; j++) y[j] = -INFINITY, winner[j] = 0;
  for (long k = 0; k < p->tall * p->wide; k++) {
    long row = i * p->down - p->above + k / p->wide * p->spread, first = k % p->wide * p->apart - p->left, from, to;
    if (row < 0 || row >= p->height) continue;
    within(p, first, &from, &to);
    const float *line = x + row * p->width + first + from * p->across;
    if (p->across == 1)
      take_better(line, 1, y + from, winner + from, to - from, k);
    else if (p->across == 2)
      take_better(line, 2, y + from, winner + from, to - from, k);
    else
      take_better(line, p->across, y + from, winner + from, to - from, k);
  }
}

static void max_pool_task(void *context, long index) {
  const pooled k = *(const pooled *)context, *p = &k; /* bytes are written, which might be the shared one's */
  long first = index * ROWS, end = at_most(k.planes * k.rows, first + ROWS), i = first % k.rows, area = k.height * k.width;
  const float *x = k.x + first / k.rows * area;
  const int tiles = tiled(p);
  for (long r = first; r < end; r++) {
    if (tiles)
      pool_tiles(x + 2 * i * k.width, x + (2 * i + 1) * k.width, k.y + r * k.columns, k.winner + r * k.columns, k.columns);
    else
      pool_row(p, x, i, k.y + r * k.columns, k.winner + r * k.columns);
    if (++i == k.rows) i = 0, x += area;
  }
}

static pooled pooled_of(const argument *a) {
  const argument *i = a + 3;
  return (pooled){.x = a[0].f, .y = a[1].f, .winner = a[2].p, .planes = i[0].i, .height = i[1].i, .width = i[2].i,
                  .rows = i[3].i, .columns = i[4].i, .tall = i[5].i, .wide = i[6].i, .down = i[7].i, .across = i[8].i,
                  .above = i[9].i, .left = i[10].i, .spread = i[11].i, .apart = i[12].i};
}

/* max_pool(x, y, winner, planes, height, width, rows, columns, window, stride, padding, dilation): two each */
static void max_pool(const argument *a) {
  pooled p = pooled_of(a);
  share(parts(p.planes * p.rows, ROWS), max_pool_task, &p);
}

/* The gradient of two rows, from a row of windows of 2 by 2. */
INLINE void unpool_tiles(float *top, float *low, const float *dy, const uint8_t *winner, long columns, vi low_lanes,
                         vi high_lanes) {
  for (long j = 0; j < columns; j += W) {
    long n = columns - j, wide = 2 * n;
    vb bytes = {0};
    if (n >= W)
      bytes = *(const vb *)(winner + j);
    else
      memcpy(&bytes, winner + j, n);
    vi which = __builtin_convertvector(bytes, vi);
    vf g = n >= W ? load(dy + j) : load_some(dy + j, n), part[4];
    for (int k = 0; k < 4; k++) part[k] = (vf)((vi)g & (which == k));
    for (int i = 0; i < 2; i++) {
      float *row = (i ? low : top) + 2 * j;
      vf first = shuffled(part[2 * i], part[2 * i + 1], low_lanes);
      vf second = shuffled(part[2 * i], part[2 * i + 1], high_lanes);
      if (n >= W)
        store(row, first), store(row + W, second);
      else if (wide >= W)
        store(row, first), store_some(row + W, second, wide - W);
      else
        store_some(row, first, wide);
    }
  }
}

/* dy where it won, 0 elsewhere; sums in the order of the elements of the windows, as the body makes them. */
static void gradient_of_plane(const pooled *p, long plane) {
  float *dx = p->x + plane * p->height * p->width;
  const float *dy = p->y + plane * p->rows * p->columns;
  const uint8_t *winner = p->winner + plane * p->rows * p->columns;
  if (tiled(p)) {
    vi low_lanes, high_lanes;
    for (int l = 0; l < W; l++) low_lanes[l] = l / 2 + (l & 1) * W, high_lanes[l] = low_lanes[l] + W / 2;
    long width = p->width, columns = p->columns, rows = p->rows;
    for (long i = 0; i < rows; i++) {
      float *top = dx + 2 * i * width, *low = top + width;
      unpool_tiles(top, low, dy + i * columns, winner + i * columns, columns, low_lanes, high_lanes);
      for (long j = 2 * columns; j < width; j++) top[j] = low[j] = 0;
    }
    memset(dx + 2 * p->rows * p->width, 0, (p->height - 2 * p->rows) * p->width * sizeof *dx);
    return;
  }
  long row_of[256], column_of[256]; /* of an element of a window, from the window's place without padding */
  for (long k = 0; k < p->tall * p->wide; k++)
    row_of[k] = k / p->wide * p->spread - p->above, column_of[k] = k % p->wide * p->apart - p->left;
  memset(dx, 0, p->height * p->width * sizeof *dx);
  for (long i = p->rows - 1; i >= 0; i--)
    for (long j = p->columns - 1; j >= 0; j--) {
      long k = winner[i * p->columns + j], row = i * p->down + row_of[k], column = j * p->across + column_of[k];
      if (row >= 0 && row < p->height && column >= 0 && column < p->width)
        dx[row * p->width + column] += dy[i * p->columns + j];
    }
}

/* images of a task: memory is written in long stretches */
static long together(const pooled *p) { return at_least(1, SPAN / (p->height * p->width)); }

static void max_pool_gradient_task(void *context, long index) {
  const pooled *p = context;
  long some = together(p), end = at_most(p->planes, (index + 1) * some);
  for (long plane = index * some; plane < end; plane++) gradient_of_plane(p, plane);
}

/* max_pool_gradient(dx, dy, winner, ...): the other arguments as forward */
static void max_pool_gradient(const argument *a) {
  pooled p = pooled_of(a);
  share(parts(p.planes, together(&p)), max_pool_gradient_task, &p);
}
