// cuSOLVER, and what cuBLAS has of LAPACK: everything is one call of lapack.py with the numbers and addresses as words.
typedef int (*Lapack)(const char* name, int type, const int64_t* words, int count);
static Lapack lapack_callback;
extern "C" void cpucuda_set_lapack(Lapack f) { lapack_callback = f; }
enum { LEFT = 0, NO_VECTORS = 0 };

struct Matrix { const void* start; int64_t rows, columns, ld; bool write; int64_t batch = 1, stride = 0; };
struct Workspace { const void* start; int64_t given, needed; };  // in elements
static const Workspace NO_WORKSPACE{};

static int64_t word(const void* p) { return (int64_t)(intptr_t)p; }
static int64_t word(int64_t n) { return n; }
static int real(int type) { return type == C32 ? R32 : type == C64 ? R64 : type; }
static int workspace(int64_t m, int64_t n) { return (int)(64 + 4 * std::max<int64_t>(std::max(m, n), 0)); }
static std::vector<Operand> ints(const int* p, int64_t n, bool write = true) { return {{p, n * sizeof(int), write}}; }

// sizes as LAPACK wants them, then the call; `others` are the operands that are no matrices
template <typename... W>
static int lapack(const Library& library, Blas* h, const char* name, int type, const std::vector<Matrix>& matrices,
                  std::vector<Operand> others, Workspace work, W... words) {
    auto invalid = [&](const std::string& why) { return refuse(library, library.invalid, std::string(name) + ": " + why); };
    for (auto& m : matrices) {
        std::string size = std::to_string(m.rows) + " x " + std::to_string(m.columns);
        if (m.rows < 0 || m.columns < 0 || m.batch < 0) return invalid("a matrix of negative size, " + size);
        if (m.ld < std::max<int64_t>(1, m.rows)) return invalid("a leading dimension of " + std::to_string(m.ld) + " for a matrix " + size);
        size_t size_in_bytes = span(m.batch, m.rows, m.columns, m.ld, m.stride, type);
        if (!m.start && size_in_bytes) return invalid("a null pointer for a matrix " + size);
        others.push_back({m.start, size_in_bytes, m.write});
    }
    if (work.given < work.needed)
        return invalid("a workspace of " + std::to_string(work.given) + " elements, " + std::to_string(work.needed) + " are needed");
    others.push_back({work.start, work.needed * width(type), true});
    if (&library == &CUSOLVER && h->stream->capture)
        return refuse(library, library.failed, cudaGetErrorString(spoil(h->stream->capture, CAPTURE_UNSUPPORTED, std::string("cuSOLVER's ") + name + " is not permitted")));
    std::array<int64_t, sizeof...(W)> all{word(words)...};
    return call(library, h->device, h->stream, name, others, [=] { return lapack_callback(name, type, all.data(), (int)all.size()); });
}

// the matrices of a batch whose addresses are in device memory; false if those are not
static bool batch_of(Blas* h, const void* const* table, int batch, int64_t rows, int64_t columns, int64_t ld, bool write, std::vector<Matrix>& to) {
    Region r{};
    if (batch < 0 || !holds(table, batch * sizeof(void*), r)) return false;
    finish_late(h->stream);
    for (int i = 0; i < batch; ++i) to.push_back({table[i], rows, columns, ld, write});
    return true;
}
static int bad_table(const Library& library, const char* name, const void* table) {
    return refuse(library, library.invalid, std::string(name) + ": the table of addresses at " + hex(table) + " lies " + describe(table));
}

API cusolverDnCreate(Blas** h) { return cublasCreate(h); }
API cusolverDnDestroy(Blas* h) { return cublasDestroy(h); }
API cusolverDnSetStream(Blas* h, Stream s) { return cublasSetStream(h, s); }
API cusolverDnGetStream(Blas* h, Stream* s) { return cublasGetStream(h, s); }
API cusolverGetProperty(int which, int* value) { return *value = which ? 0 : 12, 0; }  // of CUDA 13
#define EMPTY(NAME)                                                              \
    API cusolverDnCreate##NAME(void** p) { return *p = malloc(1), 0; }           \
    API cusolverDnDestroy##NAME(void* p) { return free(p), 0; }
EMPTY(GesvdjInfo)
EMPTY(SyevjInfo)
API cusolverDnCreateParams(int* p) { return *p = 1, 0; }  // CuPy's stub has four bytes for it
API cusolverDnDestroyParams(int) { return 0; }

// ---- systems, triangles, orthogonal factors -------------------------------------------------------------------
#define SOLVERS(X, T, ORTHOGONAL)                                                                                              \
    API cusolverDn##X##getrf_bufferSize(Blas*, int m, int n, void*, int, int* size) { return *size = workspace(m, n), 0; }      \
    API cusolverDn##X##getrf(Blas* h, int m, int n, void* a, int lda, void* work, int* pivots, int* info) {                     \
        auto others = ints(pivots, std::max(0, std::min(m, n)));                                                               \
        if (!pivots) return refuse(CUSOLVER, CUSOLVER.invalid, "getrf without pivots is not emulated");                        \
        others.push_back({info, sizeof(int), true});                                                                           \
        int size = workspace(m, n);                                                                                            \
        return lapack(CUSOLVER, h, "getrf", T, {{a, m, n, lda, true}}, others, {work, size, size}, m, n, a, lda, pivots, info); \
    }                                                                                                                          \
    API cusolverDn##X##getrs(Blas* h, int op, int n, int columns, const void* a, int lda, const int* pivots, void* b, int ldb,  \
                             int* info) {                                                                                      \
        auto others = ints(pivots, std::max(0, n), false);                                                                     \
        others.push_back({info, sizeof(int), true});                                                                           \
        return lapack(CUSOLVER, h, "getrs", T, {{a, n, n, lda, false}, {b, n, columns, ldb, true}}, others, NO_WORKSPACE, op,   \
                      n, columns, a, lda, pivots, b, ldb, info);                                                               \
    }                                                                                                                          \
    API cusolverDn##X##potrf_bufferSize(Blas*, int, int n, void*, int, int* size) { return *size = workspace(n, n), 0; }        \
    API cusolverDn##X##potrf(Blas* h, int part, int n, void* a, int lda, void* work, int given, int* info) {                    \
        return lapack(CUSOLVER, h, "potrf", T, {{a, n, n, lda, true}}, ints(info, 1), {work, given, workspace(n, n)}, part, n,  \
                      a, lda, info);                                                                                           \
    }                                                                                                                          \
    API cusolverDn##X##potrs(Blas* h, int part, int n, int columns, const void* a, int lda, void* b, int ldb, int* info) {      \
        return lapack(CUSOLVER, h, "potrs", T, {{a, n, n, lda, false}, {b, n, columns, ldb, true}}, ints(info, 1),              \
                      NO_WORKSPACE, part, n, columns, a, lda, b, ldb, info);                                                   \
    }                                                                                                                          \
    API cusolverDn##X##potrfBatched(Blas* h, int part, int n, void** a, int lda, int* info, int batch) {                        \
        std::vector<Matrix> all;                                                                                               \
        if (!batch_of(h, a, batch, n, n, lda, true, all)) return bad_table(CUSOLVER, "potrfBatched", a);                       \
        return lapack(CUSOLVER, h, "potrfBatched", T, all, ints(info, batch), NO_WORKSPACE, part, n, a, lda, info, batch);      \
    }                                                                                                                          \
    API cusolverDn##X##potrsBatched(Blas* h, int part, int n, int columns, void** a, int lda, void** b, int ldb, int* info,     \
                                    int batch) {                                                                               \
        std::vector<Matrix> all;                                                                                               \
        if (columns != 1) return refuse(CUSOLVER, CUSOLVER.invalid, "potrsBatched: one right-hand side only");                 \
        if (!batch_of(h, a, batch, n, n, lda, false, all)) return bad_table(CUSOLVER, "potrsBatched", a);                      \
        if (!batch_of(h, b, batch, n, 1, ldb, true, all)) return bad_table(CUSOLVER, "potrsBatched", b);                       \
        return lapack(CUSOLVER, h, "potrsBatched", T, all, ints(info, 1), NO_WORKSPACE, part, n, a, lda, b, ldb, info, batch);  \
    }                                                                                                                          \
    API cusolverDn##X##geqrf_bufferSize(Blas*, int m, int n, void*, int, int* size) { return *size = workspace(m, n), 0; }      \
    API cusolverDn##X##geqrf(Blas* h, int m, int n, void* a, int lda, void* tau, void* work, int given, int* info) {            \
        auto others = ints(info, 1);                                                                                           \
        others.push_back({tau, std::max(0, std::min(m, n)) * width(T), true});                                                 \
        return lapack(CUSOLVER, h, "geqrf", T, {{a, m, n, lda, true}}, others, {work, given, workspace(m, n)}, m, n, a, lda,    \
                      tau, info);                                                                                              \
    }                                                                                                                          \
    API cusolverDn##X##ORTHOGONAL##gqr_bufferSize(Blas*, int m, int n, int, const void*, int, const void*, int* size) {         \
        return *size = workspace(m, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##ORTHOGONAL##gqr(Blas* h, int m, int n, int k, void* a, int lda, const void* tau, void* work, int given,  \
                                       int* info) {                                                                            \
        if (k < 0 || n < k || m < n) return refuse(CUSOLVER, CUSOLVER.invalid, "orgqr: wants m >= n >= k >= 0");               \
        auto others = ints(info, 1);                                                                                           \
        others.push_back({tau, k * width(T), false});                                                                          \
        return lapack(CUSOLVER, h, "orgqr", T, {{a, m, n, lda, true}}, others, {work, given, workspace(m, n)}, m, n, k, a, lda, \
                      tau, info);                                                                                              \
    }                                                                                                                          \
    API cusolverDn##X##ORTHOGONAL##mqr_bufferSize(Blas*, int, int, int m, int n, int, const void*, int, const void*,            \
                                                  const void*, int, int* size) {                                               \
        return *size = workspace(m, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##ORTHOGONAL##mqr(Blas* h, int side, int op, int m, int n, int k, const void* a, int lda, const void* tau, \
                                       void* c, int ldc, void* work, int given, int* info) {                                   \
        int rows = side == LEFT ? m : n;                                                                                       \
        if (k < 0 || k > rows) return refuse(CUSOLVER, CUSOLVER.invalid, "ormqr: more reflections than rows");                 \
        auto others = ints(info, 1);                                                                                           \
        others.push_back({tau, k * width(T), false});                                                                          \
        return lapack(CUSOLVER, h, "ormqr", T, {{a, rows, k, lda, false}, {c, m, n, ldc, true}}, others,                        \
                      {work, given, workspace(m, n)}, side, op, m, n, k, a, lda, tau, c, ldc, info);                           \
    }                                                                                                                          \
    API cublas##X##getrfBatched(Blas* h, int n, void** a, int lda, int* pivots, int* info, int batch) {                         \
        std::vector<Matrix> all;                                                                                               \
        if (!pivots) return refuse(CUBLAS, CUBLAS.invalid, "getrfBatched without pivots is not emulated");                     \
        if (!batch_of(h, a, batch, n, n, lda, true, all)) return bad_table(CUBLAS, "getrfBatched", a);                         \
        auto others = ints(info, batch);                                                                                       \
        others.push_back({pivots, (size_t)batch * std::max(0, n) * sizeof(int), true});                                        \
        return lapack(CUBLAS, h, "getrfBatched", T, all, others, NO_WORKSPACE, n, a, lda, pivots, info, batch);                 \
    }                                                                                                                          \
    API cublas##X##getrsBatched(Blas* h, int op, int n, int columns, const void* const* a, int lda, const int* pivots,          \
                                void** b, int ldb, int* info, int batch) { /* info is the host's */                            \
        std::vector<Matrix> all;                                                                                               \
        if (!pivots) return refuse(CUBLAS, CUBLAS.invalid, "getrsBatched without pivots is not emulated");                     \
        if (!batch_of(h, a, batch, n, n, lda, false, all)) return bad_table(CUBLAS, "getrsBatched", a);                        \
        if (!batch_of(h, b, batch, n, columns, ldb, true, all)) return bad_table(CUBLAS, "getrsBatched", b);                   \
        *info = 0;                                                                                                             \
        return lapack(CUBLAS, h, "getrsBatched", T, all, ints(pivots, (int64_t)batch * std::max(0, n), false), NO_WORKSPACE,    \
                      op, n, columns, a, lda, pivots, b, ldb, batch);                                                          \
    }                                                                                                                          \
    API cublas##X##getriBatched(Blas* h, int n, const void* const* a, int lda, const int* pivots, void** c, int ldc,            \
                                int* info, int batch) {                                                                        \
        std::vector<Matrix> all;                                                                                               \
        if (!pivots) return refuse(CUBLAS, CUBLAS.invalid, "getriBatched without pivots is not emulated");                     \
        if (!batch_of(h, a, batch, n, n, lda, false, all)) return bad_table(CUBLAS, "getriBatched", a);                        \
        if (!batch_of(h, c, batch, n, n, ldc, true, all)) return bad_table(CUBLAS, "getriBatched", c);                         \
        auto others = ints(info, batch);                                                                                       \
        others.push_back({pivots, (size_t)batch * std::max(0, n) * sizeof(int), false});                                       \
        return lapack(CUBLAS, h, "getriBatched", T, all, others, NO_WORKSPACE, n, a, lda, pivots, c, ldc, info, batch);         \
    }                                                                                                                          \
    API cublas##X##trsm(Blas* h, int side, int part, int op, int unit, int m, int n, const void* alpha, const void* a, int lda, \
                        void* b, int ldb) {                                                                                    \
        if (h->pointer_mode) return refuse(CUBLAS, CUBLAS.failed, "trsm with alpha on the device is not emulated");            \
        int64_t kept[2] = {0, 0};                                                                                              \
        memcpy(kept, alpha, width(T));                                                                                         \
        int order = side == LEFT ? m : n;                                                                                      \
        return lapack(CUBLAS, h, "trsm", T, {{a, order, order, lda, false}, {b, m, n, ldb, true}}, {}, NO_WORKSPACE, side, part, \
                      op, unit, m, n, kept[0], kept[1], a, lda, b, ldb);                                                       \
    }

// ---- singular values and eigenvalues ----------------------------------------------------------------------------
#define SPECTRA(X, T, SYMMETRIC)                                                                                               \
    API cusolverDn##X##gesvd_bufferSize(Blas*, int m, int n, int* size) {                                                      \
        return m < n ? refuse(CUSOLVER, CUSOLVER.invalid, "gesvd: wants m >= n") : (*size = workspace(m, n), 0);               \
    }                                                                                                                          \
    API cusolverDn##X##gesvd(Blas* h, signed char left, signed char right, int m, int n, void* a, int lda, void* s, void* u,    \
                             int ldu, void* v, int ldv, void* work, int given, void* rwork, int* info) {                       \
        if (m < n) return refuse(CUSOLVER, CUSOLVER.invalid, "gesvd: wants m >= n");                                           \
        if (left == 'O' && right == 'O') return refuse(CUSOLVER, CUSOLVER.invalid, "gesvd: both into A");                      \
        std::vector<Matrix> all{{a, m, n, lda, true}};                                                                         \
        if (left == 'A' || left == 'S') all.push_back({u, m, left == 'A' ? m : n, ldu, true});                                 \
        if (right == 'A' || right == 'S') all.push_back({v, n, n, ldv, true});                                                 \
        auto others = ints(info, 1);                                                                                           \
        others.push_back({s, n * width(real(T)), true});                                                                       \
        others.push_back({rwork, std::max(0, n - 1) * width(real(T)), true});                                                  \
        return lapack(CUSOLVER, h, "gesvd", T, all, others, {work, given, workspace(m, n)}, left, right, m, n, a, lda, s, u,    \
                      ldu, v, ldv, info);                                                                                      \
    }                                                                                                                          \
    API cusolverDn##X##gesvdj_bufferSize(Blas*, int, int, int m, int n, const void*, int, const void*, const void*, int,        \
                                         const void*, int, int* size, void*) {                                                 \
        return *size = workspace(m, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##gesvdj(Blas* h, int vectors, int thin, int m, int n, void* a, int lda, void* s, void* u, int ldu,        \
                              void* v, int ldv, void* work, int given, int* info, void*) {                                     \
        int k = std::max(0, std::min(m, n));                                                                                   \
        std::vector<Matrix> all{{a, m, n, lda, true}};                                                                         \
        if (vectors != NO_VECTORS) {                                                                                           \
            all.push_back({u, m, thin ? k : m, ldu, true});                                                                    \
            all.push_back({v, n, thin ? k : n, ldv, true});                                                                    \
        }                                                                                                                      \
        auto others = ints(info, 1);                                                                                           \
        others.push_back({s, k * width(real(T)), true});                                                                       \
        return lapack(CUSOLVER, h, "gesvdj", T, all, others, {work, given, workspace(m, n)}, vectors, thin, m, n, a, lda, s, u, \
                      ldu, v, ldv, info);                                                                                      \
    }                                                                                                                          \
    API cusolverDn##X##gesvdjBatched_bufferSize(Blas*, int, int m, int n, const void*, int, const void*, const void*, int,      \
                                                const void*, int, int* size, void*, int) {                                     \
        return *size = workspace(m, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##gesvdjBatched(Blas* h, int vectors, int m, int n, void* a, int lda, void* s, void* u, int ldu, void* v,  \
                                     int ldv, void* work, int given, int* info, void*, int batch) {                            \
        if (m > 32 || n > 32) return refuse(CUSOLVER, CUSOLVER.invalid, "gesvdjBatched: at most 32 x 32");                     \
        std::vector<Matrix> all{{a, m, n, lda, true, batch, (int64_t)lda * n}};                                                \
        if (vectors != NO_VECTORS) {                                                                                           \
            all.push_back({u, m, m, ldu, true, batch, (int64_t)ldu * m});                                                      \
            all.push_back({v, n, n, ldv, true, batch, (int64_t)ldv * n});                                                      \
        }                                                                                                                      \
        auto others = ints(info, batch);                                                                                       \
        others.push_back({s, (size_t)batch * std::max(0, std::min(m, n)) * width(real(T)), true});                             \
        return lapack(CUSOLVER, h, "gesvdjBatched", T, all, others, {work, given, workspace(m, n)}, vectors, m, n, a, lda, s,   \
                      u, ldu, v, ldv, info, batch);                                                                            \
    }                                                                                                                          \
    API cusolverDn##X##gesvdaStridedBatched_bufferSize(Blas*, int, int, int m, int n, const void*, int, long long, const void*, \
                                                       long long, const void*, int, long long, const void*, int, long long,    \
                                                       int* size, int) {                                                       \
        return *size = workspace(m, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##gesvdaStridedBatched(Blas* h, int vectors, int rank, int m, int n, void* a, int lda, long long sa,       \
                                            void* s, long long ss, void* u, int ldu, long long su, void* v, int ldv,           \
                                            long long sv, void* work, int given, int* info, double* residuals, int batch) {    \
        if (m < n || rank > n) return refuse(CUSOLVER, CUSOLVER.invalid, "gesvda: wants m >= n >= rank");                      \
        std::vector<Matrix> all{{a, m, n, lda, true, batch, sa}};                                                              \
        if (vectors != NO_VECTORS) {                                                                                           \
            all.push_back({u, m, rank, ldu, true, batch, su});                                                                 \
            all.push_back({v, n, rank, ldv, true, batch, sv});                                                                 \
        }                                                                                                                      \
        auto others = ints(info, batch);                                                                                       \
        if (batch > 0) others.push_back({s, ((batch - 1) * ss + rank) * width(real(T)), true});                                \
        int e = lapack(CUSOLVER, h, "gesvda", T, all, others, {work, given, workspace(m, n)}, vectors, rank, m, n, a, lda, sa,  \
                       s, ss, u, ldu, su, v, ldv, sv, info, residuals, batch);                                                 \
        if (e) return e;                                                                                                       \
        saw(SYNCHRONISATIONS, "cuSOLVER gesvda"); /* the residuals are the host's */                                           \
        return finish(h->stream);                                                                                              \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evd_bufferSize(Blas*, int, int, int n, const void*, int, const void*, int* size) {            \
        return *size = workspace(n, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evd(Blas* h, int vectors, int part, int n, void* a, int lda, void* w, void* work, int given,  \
                                      int* info) {                                                                             \
        return eigenvalues(h, T, vectors, part, n, a, lda, w, {work, given, workspace(n, n)}, info, 1);                        \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evj_bufferSize(Blas*, int, int, int n, const void*, int, const void*, int* size, void*) {     \
        return *size = workspace(n, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evj(Blas* h, int vectors, int part, int n, void* a, int lda, void* w, void* work, int given,  \
                                      int* info, void*) {                                                                      \
        return eigenvalues(h, T, vectors, part, n, a, lda, w, {work, given, workspace(n, n)}, info, 1);                        \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evjBatched_bufferSize(Blas*, int, int, int n, const void*, int, const void*, int* size,       \
                                                        void*, int) {                                                          \
        return *size = workspace(n, n), 0;                                                                                     \
    }                                                                                                                          \
    API cusolverDn##X##SYMMETRIC##evjBatched(Blas* h, int vectors, int part, int n, void* a, int lda, void* w, void* work,      \
                                             int given, int* info, void*, int batch) {                                         \
        return eigenvalues(h, T, vectors, part, n, a, lda, w, {work, given, workspace(n, n)}, info, batch);                    \
    }

// of symmetric and Hermitian matrices, by whichever method
static int eigenvalues(Blas* h, int type, int vectors, int part, int64_t n, void* a, int64_t lda, void* w, Workspace work, int* info,
                       int batch) {
    auto others = ints(info, batch);
    others.push_back({w, (size_t)batch * std::max<int64_t>(0, n) * width(real(type)), true});
    return lapack(CUSOLVER, h, "syevd", type, {{a, n, n, lda, true, batch, lda * n}}, others, work, vectors, part, n, a, lda, w, info,
                  (int64_t)batch);
}
API cusolverDnXsyevd_bufferSize(Blas*, void*, int, int, int64_t n, int type, void*, int64_t, int, void*, int, size_t* device,
                                size_t* host) {
    return *device = workspace(n, n) * width(type), *host = 0, 0;
}
API cusolverDnXsyevd(Blas* h, void*, int vectors, int part, int64_t n, int type, void* a, int64_t lda, int type_w, void* w, int compute,
                     void* work, size_t bytes_of_work, void*, size_t, int* info) {
    if (type_w != real(type) || compute != type) return refuse(CUSOLVER, CUSOLVER.invalid, "Xsyevd: types that do not fit each other");
    return eigenvalues(h, type, vectors, part, n, a, lda, w, {work, (int64_t)(bytes_of_work / width(type)), workspace(n, n)}, info, 1);
}
API cusolverDnXgeev_bufferSize(Blas*, void*, int, int, int64_t n, int type, const void*, int64_t, int, const void*, int, const void*,
                               int64_t, int, const void*, int64_t, int, size_t* device, size_t* host) {
    return *device = workspace(n, n) * width(type), *host = 0, 0;
}
API cusolverDnXgeev(Blas* h, void*, int left, int right, int64_t n, int type, void* a, int64_t lda, int type_w, void* w, int, void*,
                    int64_t, int, void* v, int64_t ldv, int, void* work, size_t bytes_of_work, void*, size_t, int* info) {
    if (left != NO_VECTORS) return refuse(CUSOLVER, CUSOLVER.invalid, "Xgeev: left eigenvectors are not there");
    if (type_w != C32 && type_w != C64) return refuse(CUSOLVER, CUSOLVER.failed, "Xgeev: real eigenvalues are not emulated");
    std::vector<Matrix> all{{a, n, n, lda, true}};
    if (right != NO_VECTORS) all.push_back({v, n, n, ldv, true});
    auto others = ints(info, 1);
    others.push_back({w, std::max<int64_t>(0, n) * width(type_w), true});
    return lapack(CUSOLVER, h, "geev", type, all, others, {work, (int64_t)(bytes_of_work / width(type)), workspace(n, n)}, right, n, a, lda,
                  w, v, ldv, info);
}
SOLVERS(S, R32, or)
SOLVERS(D, R64, or)
SOLVERS(C, C32, un)
SOLVERS(Z, C64, un)
SPECTRA(S, R32, sy)
SPECTRA(D, R64, sy)
SPECTRA(C, C32, he)
SPECTRA(Z, C64, he)
