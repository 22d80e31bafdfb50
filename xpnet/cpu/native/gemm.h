/* C = A B + C0 of float32 matrices with any strides (Goto & van de Geijn, 2008, "Anatomy of high-performance
 * matrix multiplication"): A in panels of MR rows, B in panels of NR columns, a tile of C in registers.
 *
 * Every element of C is the sum over k in order, at most KC terms at a time: the same for any number of threads. */

#define KC 400
#define MC (8 * MR) /* rows packed in one task */
#define NC (4 * NR)
#define NEAR (16 * MR) /* rows whose A stays in the second cache for all columns of a task */

typedef struct product {
  long m, n, k;
  const float *a, *b;
  long a_row, a_column, b_row, b_column;
  float *c;
  long c_row;
  int add;           /* to what C is already */
  const float *bias; /* of a column, or NULL */
  int relu;
  long rows, columns; /* of a task */
  long from, to, depth; /* terms whose A is packed, and how many are a step over k */
  float *packed;        /* A, or NULL: its rows are read as they are */
  const struct product *next; /* the terms that follow, whose A is packed beside the work on these */
} product;

/* ---- tiles of C: MR rows of some vectors, in registers while terms are added ---- */

INLINE void read_tile(const int vectors, const float *c, long c_row, vf sum[MR][NV]) {
UNROLL(8)
  for (int i = 0; i < MR; i++)
UNROLL(3)
    for (int j = 0; j < vectors; j++) sum[i][j] = load(c + i * c_row + j * W);
}

INLINE void write_tile(const int vectors, float *c, long c_row, vf sum[MR][NV]) {
UNROLL(8)
  for (int i = 0; i < MR; i++)
UNROLL(3)
    for (int j = 0; j < vectors; j++) store(c + i * c_row + j * W, sum[i][j]);
}

/* sum[i][j] += a(i) b[j]: one term, in which a(i) is an expression of i. */
#define ADD_TERM(vectors, a, b)                                                                          \
  do {                                                                                                   \
    vf x[NV];                                                                                            \
    UNROLL(3) for (int j = 0; j < vectors; j++) x[j] = load((b) + j * W);                                \
    UNROLL(8) for (int i = 0; i < MR; i++) {                                                             \
      vf w = splat(a);                                                                                   \
      UNROLL(3) for (int j = 0; j < vectors; j++) sum[i][j] += w * x[j];                                 \
    }                                                                                                    \
  } while (0)

/* c[i][j] += sum_k a[i a_row + k a_column] b[k][j], row k of b at `place[k]`, or at k stride if that is NULL; c is 0
 * before if it is `fresh`, whatever is in it. */
INLINE void tile_of(const int vectors, long depth, const float *a, const long a_row, const long a_column,
                    const float *b, long stride, const long *place, int fresh, float *c, long c_row) {
  vf sum[MR][NV] = {0};
  if (!fresh) read_tile(vectors, c, c_row, sum);
  for (long k = 0; k < depth; k++, a += a_column) {
    const float *term = b + (place ? place[k] : k * stride);
    ADD_TERM(vectors, a[i * a_row], term);
  }
  write_tile(vectors, c, c_row, sum);
}

/* One function for each number of vectors, `name` and its number, and `name` to choose by it. */
#define FOR_VECTORS(name, parameters, arguments, ...)                                                    \
  static void name##_1 parameters { const int vectors = 1; __VA_ARGS__; }                                \
  static void name##_2 parameters { const int vectors = 2 < NV ? 2 : NV; __VA_ARGS__; }                  \
  static void name##_all parameters { const int vectors = NV; __VA_ARGS__; }                             \
  INLINE void name##_by(long count, UNWRAP parameters) {                                                 \
    (count == NV ? name##_all : count == 1 ? name##_1 : name##_2) arguments;                             \
  }
#define UNWRAP(...) __VA_ARGS__

/* with A in panels of MR rows */
FOR_VECTORS(tile_packed, (long depth, const float *a, const float *b, long stride, int fresh, float *c, long c_row),
            (depth, a, b, stride, fresh, c, c_row), tile_of(vectors, depth, a, 1, MR, b, stride, NULL, fresh, c, c_row))
/* with MR rows of A as they are */
FOR_VECTORS(tile_rows, (long depth, const float *a, long a_row, const float *b, long stride, int fresh, float *c, long c_row),
            (depth, a, a_row, b, stride, fresh, c, c_row),
            tile_of(vectors, depth, a, a_row, 1, b, stride, NULL, fresh, c, c_row))
/* with MR rows of a transposed A as they are */
FOR_VECTORS(tile_turned, (long depth, const float *a, long a_column, const float *b, long stride, int fresh, float *c, long c_row),
            (depth, a, a_column, b, stride, fresh, c, c_row),
            tile_of(vectors, depth, a, 1, a_column, b, stride, NULL, fresh, c, c_row))

/* out[k out_row + i] = from[i row + k] for i < n, k < depth. */
static void transposed(const float *from, long row, long n, long depth, float *out, long out_row) {
  long i = 0;
  for (; i + W <= n; i += W) {
    long k = 0;
    for (; k + W <= depth; k += W) {
      vf r[W];
UNROLL(16)
      for (int l = 0; l < W; l++) r[l] = load(from + (i + l) * row + k);
      transpose(r);
UNROLL(16)
      for (int l = 0; l < W; l++) store(out + (k + l) * out_row + i, r[l]);
    }
    for (; k < depth; k++)
      for (int l = 0; l < W; l++) out[k * out_row + i + l] = from[(i + l) * row + k];
  }
  for (; i < n; i++)
    for (long k = 0; k < depth; k++) out[k * out_row + i] = from[i * row + k];
}

/* out[k width + i] = from[i row + k column] for i < n, k < depth; zeros from n to width. */
static void pack(const float *from, long row, long column, long n, long depth, long width, float *out) {
  if (n < width) memset(out, 0, depth * width * sizeof *out);
  if (column == 1)
    transposed(from, row, n, depth, out, width);
  else if (row == 1 && n == MR && width == MR)
    for (long k = 0; k < depth; k++) memcpy(out + k * MR, from + k * column, MR * sizeof *out);
  else if (row == 1)
    for (long k = 0; k < depth; k++) memcpy(out + k * width, from + k * column, n * sizeof *out);
  else
    for (long k = 0; k < depth; k++)
      for (long i = 0; i < n; i++) out[k * width + i] = from[i * row + k * column];
}

/* Columns of B in panels of NR, one after the other; a row of B is read in one go. */
static void pack_columns(const product *p, long from, long depth, long column, long columns, float *out) {
  const float *b = p->b + from * p->b_row + column * p->b_column;
  if (p->b_column != 1) {
    for (long j = 0; j < columns; j += NR) {
      long width = at_most(NR, columns - j), wide = padded(width);
      pack(b + j * p->b_column, p->b_column, p->b_row, width, depth, wide, out + j * depth);
    }
    return;
  }
  long whole = columns / NR * NR, rest = columns - whole, wide = padded(rest);
  for (long k = 0; k < depth; k++, b += p->b_row) {
    for (long j = 0; j < whole; j += NR) memcpy(out + j * depth + k * NR, b + j, NR * sizeof *out);
    float *last = out + whole * depth + k * wide;
    for (long j = 0; j < rest; j++) last[j] = b[whole + j];
    for (long j = rest; j < wide; j++) last[j] = 0;
  }
}

/* The packed A of the step over k that begins at `from`. */
INLINE float *packed_at(const product *p, long from) { return p->packed + (from - p->from) * (parts(p->m, MR) * MR); }

static void pack_rows(void *context, long index) {
  const product *p = context;
  long blocks = parts(p->m, MC), first = index % blocks * MC, last = at_most(p->m, first + MC);
  long from = p->from + index / blocks * p->depth, depth = at_most(p->depth, p->to - from);
  float *packed = packed_at(p, from);
  for (long i = first; i < last; i += MR)
    pack(p->a + i * p->a_row + from * p->a_column, p->a_row, p->a_column, at_most(MR, last - i), depth, MR,
         packed + i * depth);
}

/* One step over k of a part of C. */
static void multiply_step(const product *p, long column, long columns, long row, long rows, long from, long depth) {
  int start = from == 0, finish = from + depth == p->k;
  float *b = scratch(1, NC * KC * sizeof *b), edge[MR * NR];
  const float *packed = p->packed ? packed_at(p, from) : NULL;
  pack_columns(p, from, depth, column, columns, b);
  for (long first = 0; first < rows; first += NEAR)
  for (long j = 0; j < columns; j += NR) {
    long width = at_most(NR, columns - j), vectors = parts(width, W);
    for (long i = first; i < at_most(rows, first + NEAR); i += MR) {
      long height = at_most(MR, rows - i), c_row = p->c_row;
      float *out = p->c + (row + i) * c_row + column + j, *c = out;
      int partial = height < MR || width < vectors * W, fresh = start && !p->add && !p->bias;
      if (partial) {
        c = edge, c_row = NR;
        memset(edge, 0, sizeof edge);
      }
      if (start && !p->add && p->bias)
        for (long r = 0; r < height; r++) memcpy(c + r * c_row, p->bias + column + j, width * sizeof *c);
      else if (partial && !fresh)
        for (long r = 0; r < height; r++) memcpy(c + r * c_row, out + r * p->c_row, width * sizeof *c);
      const float *panel = b + j * depth, *a = p->a + (row + i) * p->a_row + from * p->a_column;
      if (packed)
        tile_packed_by(vectors, depth, packed + (row + i) * depth, panel, vectors * W, fresh, c, c_row);
      else if (height < MR) {
        float *last = scratch(2, MR * KC * sizeof *last);
        pack(a, p->a_row, p->a_column, height, depth, MR, last);
        tile_packed_by(vectors, depth, last, panel, vectors * W, fresh, c, c_row);
      } else if (p->a_column == 1)
        tile_rows_by(vectors, depth, a, p->a_row, panel, vectors * W, fresh, c, c_row);
      else
        tile_turned_by(vectors, depth, a, p->a_column, panel, vectors * W, fresh, c, c_row);
      if (finish && p->relu)
        for (long r = 0; r < height; r++)
          for (long s = 0; s < width; s++) c[r * c_row + s] = c[r * c_row + s] <= 0 ? 0 : c[r * c_row + s];
      if (partial)
        for (long r = 0; r < height; r++) memcpy(out + r * p->c_row, c + r * c_row, width * sizeof *c);
    }
  }
}

static long tasks_of_packing(const product *p) {
  return p->packed ? parts(p->m, MC) * parts(p->to - p->from, p->depth) : 0;
}

static long tasks_of(const product *p) { return parts(p->m, p->rows) * parts(p->n, p->columns); }

static void multiply(void *context, long index) {
  product *p = context;
  if (index >= tasks_of(p)) {
    pack_rows((void *)p->next, index - tasks_of(p));
    return;
  }
  long blocks = parts(p->m, p->rows), column = index / blocks * p->columns, row = index % blocks * p->rows;
  long columns = at_most(p->columns, p->n - column), rows = at_most(p->rows, p->m - row);
  for (long from = p->from; from < p->to; from += p->depth)
    multiply_step(p, column, columns, row, rows, from, at_most(p->depth, p->to - from));
}

#define LITTLE (1 << 18) /* multiply-adds, a few microseconds: as long as threads take to come */
#define PACKED (1 << 18) /* floats of A packed at once, which stay in a cache, unless one step over k has more */

/* `within` a task: one of several products that are made at once. */
static void multiply_all(product *p, int within) {
  within |= p->m * p->n * p->k < LITTLE;
  /* enough tasks for any number of threads, and small ones, of the same size for all: B is packed once in each, so that
   * of few rows is rather cut up by columns */
  p->columns = within || p->m >= p->n ? NC : at_most(NC, parts(parts(p->n, 8), NR) * NR);
  long columns = parts(p->n, p->columns), blocks = at_least(parts(8, columns), parts(p->m, 1024));
  p->rows = within ? p->m : at_least(4 * MR, parts(parts(p->m, blocks), MR) * MR);
  int few = p->a_column == 1 ? p->n <= FEW_OF_ROWS * NR : p->a_row == 1 && p->n <= FEW * NR;
  long tall = parts(p->m, MR) * MR;
  p->depth = parts(p->k, at_least(1, parts(p->k, KC)));
  long some = few ? p->k : at_least(1, PACKED / at_least(1, tall * p->depth)) * p->depth;
  float *packed = few ? NULL : scratch(0, tall * at_most(2 * some, p->k) * sizeof *packed);
  p->from = 0, p->to = at_most(p->k, some), p->packed = packed;
  if (!few) share(tasks_of_packing(p), pack_rows, p);
  for (int turn = 1; p->from < p->k; turn ^= 1) {
    product next = *p;
    next.from = p->to, next.to = at_most(p->k, p->to + some), next.packed = few ? NULL : packed + turn * tall * some;
    p->next = &next;
    /* threads meet once for each part, since all wait there for one that has no core */
    share(tasks_of(p) + tasks_of_packing(&next), multiply, p);
    *p = next;
  }
}

/* gemm(a, a_row, a_column, b, b_row, b_column, c, c_row, m, n, k, bias, relu) */
static void gemm(const argument *x) {
  product p = {.a = x[0].f, .a_row = x[1].i, .a_column = x[2].i, .b = x[3].f, .b_row = x[4].i, .b_column = x[5].i,
               .c = x[6].f, .c_row = x[7].i, .m = x[8].i, .n = x[9].i, .k = x[10].i, .bias = x[11].f, .relu = x[12].i};
  multiply_all(&p, 0);
}

/* ---- a product for each of a batch ---- */

typedef struct {
  product one;
  const argument *next; /* inner matrices, then how far apart those of a and of b are, outer and inner */
} batch;

static void multiply_one(void *context, long index) {
  const batch *k = context;
  const argument *next = k->next;
  product p = k->one;
  long outer = index / next[0].i, inner = index % next[0].i;
  p.a += outer * next[1].i + inner * next[2].i, p.b += outer * next[3].i + inner * next[4].i, p.c += index * p.m * p.n;
  multiply_all(&p, 1);
}

/* batched_gemm(a, a_row, a_column, b, b_row, b_column, c, m, n, k, outer, inner, ...): c is contiguous; see `batch` */
static void batched_gemm(const argument *x) {
  product p = {.a = x[0].f, .a_row = x[1].i, .a_column = x[2].i, .b = x[3].f, .b_row = x[4].i, .b_column = x[5].i,
               .c = x[6].f, .c_row = x[8].i, .m = x[7].i, .n = x[8].i, .k = x[9].i};
  batch k = {p, x + 11};
  share(x[10].i * x[11].i, multiply_one, &k);
}
