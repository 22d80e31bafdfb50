/* Maximum of windows of 2 by 2 with stride 2: images as pairs of rows. */

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

#define PAIRS 64 /* pairs of rows a task */

/* max_pool(x, y, winner, pairs, columns): y = max of four and which: the first of equals, the last of NaN */
static void max_pool_task(void *context, long index) {
  const argument *a = context;
  long columns = a[4].i, end = at_most(a[3].i, (index + 1) * PAIRS);
  for (long r = index * PAIRS; r < end; r++) {
    const float *top = a[0].f + 4 * r * columns, *low = top + 2 * columns;
    float *y = a[1].f + r * columns;
    uint8_t *winner = (uint8_t *)a[2].p + r * columns;
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
}

static void max_pool(const argument *a) { share(parts(a[3].i, PAIRS), max_pool_task, (void *)a); }

/* max_pool_gradient(dx, dy, winner, pairs, columns): dy where it won, 0 elsewhere */
static void max_pool_gradient_task(void *context, long index) {
  const argument *a = context;
  long columns = a[4].i, end = at_most(a[3].i, (index + 1) * PAIRS);
  vi low_lanes, high_lanes;
  for (int l = 0; l < W; l++) low_lanes[l] = l / 2 + (l & 1) * W, high_lanes[l] = low_lanes[l] + W / 2;
  for (long r = index * PAIRS; r < end; r++) {
    float *top = a[0].f + 4 * r * columns, *low = top + 2 * columns;
    const float *dy = a[1].f + r * columns;
    const uint8_t *winner = (uint8_t *)a[2].p + r * columns;
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
}

static void max_pool_gradient(const argument *a) { share(parts(a[3].i, PAIRS), max_pool_gradient_task, (void *)a); }
