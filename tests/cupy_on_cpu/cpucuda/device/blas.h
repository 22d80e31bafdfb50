// cuBLAS: everything is one batched product in blas.py.
struct Blas { int pointer_mode, math_mode, device; Queue* stream; };
struct Product {  // column-major C = alpha op(A) op(B) + beta C; types are cudaDataType
    int op_a, op_b, m, n, k, batch;
    const void *alpha, *beta, *a, *b;
    void* c;
    int type_a, type_b, type_c, type_scale;
    int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
    int epilogue;  // of cuBLASLt: 1 none, or bits: 2 relu, 4 a bias for each row of C; 512 sums of columns of op(B), written; 32 gelu; 128 aux
    const void* bias;
    void* aux;
    int64_t ld_aux;  // of a mask in bits
};
typedef int (*Gemm)(const Product*);
static Gemm gemm_callback;
extern "C" void cpucuda_set_gemm(Gemm f) { gemm_callback = f; }
enum { R32 = 0, R64 = 1, R16 = 2, C32 = 4, C64 = 5 };

API cublasCreate(Blas** h) { return *h = new Blas{0, 0, current_device, legacy(current_device)}, 0; }
API cublasDestroy(Blas* h) { return delete h, 0; }
API cublasGetVersion(Blas*, int* v) { return *v = 130000, 0; }
API cublasSetPointerMode(Blas* h, int m) { return h->pointer_mode = m, 0; }
API cublasGetPointerMode(Blas* h, int* m) { return *m = h->pointer_mode, 0; }
API cublasSetStream(Blas* h, Stream s) { return h->stream = (uintptr_t)s > 2 ? s : legacy(h->device), 0; }
API cublasGetStream(Blas* h, Stream* s) { return *s = is_legacy(h->stream) ? nullptr : h->stream, 0; }
API cublasSetMathMode(Blas* h, int m) { return h->math_mode = m, 0; }
API cublasGetMathMode(Blas* h, int* m) { return *m = h->math_mode, 0; }

static size_t width(int type) { return type == R16 || type == 14 ? 2 : type == R32 ? 4 : type == C64 ? 16 : 8; }
static int call(Blas* h, const char* what, const std::vector<Operand>& operands, Work work) {
    return call(CUBLAS, h->device, h->stream, what, operands, std::move(work));
}
// bytes from the first element to the last of column-major matrices
static size_t span(int batch, int64_t rows, int64_t columns, int64_t ld, int64_t stride, int type) {
    return batch && rows && columns ? ((batch - 1) * stride + (columns - 1) * ld + rows) * width(type) : 0;
}
static int gemm(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int ta, int64_t lda, int64_t sa,
                const void* b, int tb, int64_t ldb, int64_t sb, const void* beta, void* c, int tc, int64_t ldc, int64_t sc,
                int batch, int scale) {
    Product p{oa, ob, m, n, k, batch, alpha, beta, a, b, c, ta, tb, tc, scale, lda, ldb, ldc, sa, sb, sc, 1, nullptr};
    struct Scalars { alignas(16) char alpha[16], beta[16]; } kept{};
    if (!h->pointer_mode) memcpy(kept.alpha, alpha, width(scale)), memcpy(kept.beta, beta, width(scale));
    bool on_host = !h->pointer_mode;
    return call(h, "a cuBLAS product",
                {{a, k ? span(batch, oa ? k : m, oa ? m : k, lda, sa, ta) : 0, false},
                 {b, k ? span(batch, ob ? n : k, ob ? k : n, ldb, sb, tb) : 0, false},
                 {c, span(batch, m, n, ldc, sc, tc), true}},
                [=]() mutable {
                    if (on_host) p.alpha = kept.alpha, p.beta = kept.beta;
                    return gemm_callback(&p);
                });
}
// cublasComputeType_t -> type of alpha and beta
static int scale_type(int compute, int tc) {
    bool complex = tc == C32 || tc == C64;
    if (compute == 64 || compute == 65) return R16;                         // 16F
    if (compute == 70 || compute == 71) return complex ? C64 : R64;         // 64F
    return complex ? C32 : R32;                                             // 32F and its TF32, BF16 variants
}
API cublasGemmEx_v11(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int ta, int lda, const void* b,
                     int tb, int ldb, const void* beta, void* c, int tc, int ldc, int compute, int) {
    return gemm(h, oa, ob, m, n, k, alpha, a, ta, lda, 0, b, tb, ldb, 0, beta, c, tc, ldc, 0, 1, scale_type(compute, tc));
}
API cublasGemmStridedBatchedEx_v11(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int ta, int lda,
                                   long long sa, const void* b, int tb, int ldb, long long sb, const void* beta, void* c, int tc,
                                   int ldc, long long sc, int batch, int compute, int) {
    return gemm(h, oa, ob, m, n, k, alpha, a, ta, lda, sa, b, tb, ldb, sb, beta, c, tc, ldc, sc, batch, scale_type(compute, tc));
}
// the older forms, whose compute type is a cudaDataType
API cublasGemmEx(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int ta, int lda, const void* b,
                 int tb, int ldb, const void* beta, void* c, int tc, int ldc, int compute, int) {
    int scale = compute >= 64 ? scale_type(compute, tc) : compute;
    return gemm(h, oa, ob, m, n, k, alpha, a, ta, lda, 0, b, tb, ldb, 0, beta, c, tc, ldc, 0, 1, scale);
}
API cublasGemmStridedBatchedEx(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int ta, int lda,
                               long long sa, const void* b, int tb, int ldb, long long sb, const void* beta, void* c, int tc,
                               int ldc, long long sc, int batch, int compute, int) {
    int scale = compute >= 64 ? scale_type(compute, tc) : compute;
    return gemm(h, oa, ob, m, n, k, alpha, a, ta, lda, sa, b, tb, ldb, sb, beta, c, tc, ldc, sc, batch, scale);
}
API cublasSgemmEx(Blas* h, int oa, int ob, int m, int n, int k, const float* alpha, const void* a, int ta, int lda, const void* b,
                  int tb, int ldb, const float* beta, void* c, int tc, int ldc) {
    return gemm(h, oa, ob, m, n, k, alpha, a, ta, lda, 0, b, tb, ldb, 0, beta, c, tc, ldc, 0, 1, R32);
}
#define GEMM(X, T)                                                                                                       \
    API cublas##X##gemm(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a, int lda,            \
                        const void* b, int ldb, const void* beta, void* c, int ldc) {                                     \
        return gemm(h, oa, ob, m, n, k, alpha, a, T, lda, 0, b, T, ldb, 0, beta, c, T, ldc, 0, 1, T);                         \
    }                                                                                                                     \
    API cublas##X##gemmStridedBatched(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void* a,       \
                                      int lda, long long sa, const void* b, int ldb, long long sb, const void* beta,      \
                                      void* c, int ldc, long long sc, int batch) {                                        \
        return gemm(h, oa, ob, m, n, k, alpha, a, T, lda, sa, b, T, ldb, sb, beta, c, T, ldc, sc, batch, T);                  \
    }                                                                                                                     \
    API cublas##X##gemmBatched(Blas* h, int oa, int ob, int m, int n, int k, const void* alpha, const void** a, int lda,    \
                               const void** b, int ldb, const void* beta, void** c, int ldc, int batch) {                 \
        finish_late(h->stream); /* the pointers are in device memory */                                                   \
        for (int i = 0; i < batch; ++i)                                                                                   \
            if (int e = gemm(h, oa, ob, m, n, k, alpha, a[i], T, lda, 0, b[i], T, ldb, 0, beta, c[i], T, ldc, 0, 1, T)) return e; \
        return 0;                                                                                                         \
    }                                                                                                                     \
    API cublas##X##gemv(Blas* h, int op, int m, int n, const void* alpha, const void* a, int lda, const void* x, int ix,    \
                        const void* beta, void* y, int iy) { /* x and y as rows: C^T = x^T op(A)^T */                     \
        int rows = op ? n : m, inner = op ? m : n;                                                                        \
        return gemm(h, 0, op ? 0 : 1, 1, rows, inner, alpha, x, T, ix, 0, a, T, lda, 0, beta, y, T, iy, 0, 1, T);             \
    }
GEMM(S, R32)
GEMM(D, R64)
GEMM(C, C32)
GEMM(Z, C64)
template <typename T> static int dot(int n, const T* x, int ix, const T* y, int iy, T* out) {
    T s = 0;
    for (int i = 0; i < n; ++i) s += x[(int64_t)i * ix] * y[(int64_t)i * iy];
    return *out = s, 0;
}
#define DOT(X, T)                                                                                           \
    API cublas##X##dot(Blas* h, int n, const T* x, int ix, const T* y, int iy, T* r) {                        \
        int e = call(h, "cuBLAS dot", {{x, sizeof(T), false}, {y, sizeof(T), false}}, [=] { return dot(n, x, ix, y, iy, r); }); \
        if (e || h->pointer_mode) return e;                                                                  \
        saw(SYNCHRONISATIONS, "cuBLAS dot"); /* its result goes to the host */                                \
        return finish(h->stream);                                                                            \
    }
DOT(S, float)
DOT(D, double)

template <typename T> static int geam(int oa, int ob, int m, int n, T alpha, const T* a, int lda, T beta, const T* b, int ldb,
                                      T* c, int ldc) {
    std::vector<T> out((size_t)m * n);  // C may be A or B
    for (int64_t j = 0; j < n; ++j)
        for (int64_t i = 0; i < m; ++i)
            out[i + j * m] = (alpha != T(0) ? alpha * a[oa ? j + i * lda : i + j * lda] : T(0)) +
                             (beta != T(0) ? beta * b[ob ? j + i * ldb : i + j * ldb] : T(0));
    for (int64_t j = 0; j < n; ++j) std::copy(&out[j * m], &out[j * m] + m, c + j * ldc);
    return 0;
}
#define GEAM(X, T)                                                                                                  \
    API cublas##X##geam(Blas* h, int oa, int ob, int m, int n, const T* alpha, const T* a, int lda, const T* beta,    \
                        const T* b, int ldb, T* c, int ldc) {                                                       \
        bool on_host = !h->pointer_mode;                                                                            \
        T kept_alpha = on_host ? *alpha : T(), kept_beta = on_host ? *beta : T();                                    \
        return call(h, "cuBLAS geam", {{a, sizeof(T), false}, {b, sizeof(T), false}, {c, sizeof(T), true}}, [=] {    \
            return geam(oa, ob, m, n, on_host ? kept_alpha : *alpha, a, lda, on_host ? kept_beta : *beta, b, ldb, c, ldc); \
        });                                                                                                         \
    }
GEAM(S, float)
GEAM(D, double)
