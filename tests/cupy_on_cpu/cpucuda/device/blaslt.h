// cuBLASLt: the same products, with a stream of the call's own and what is done to C on the way out.
struct LtHandle { int device; };
struct LtProduct { int compute, scale, op_a, op_b, epilogue; const void* bias; void* aux; int64_t ld_aux; };
struct LtMatrix { int type; uint64_t rows, columns; int64_t ld; int batch; int64_t stride; };
struct LtPreference { uint64_t workspace; };
struct LtFound { uint64_t algorithm[8]; size_t workspace; int status; float waves; int reserved[4]; };
enum { INVALID_VALUE_LT = 7, NOT_SUPPORTED = 15 };

static int no_lt(const std::string& why) { return fprintf(stderr, "cpucuda: cuBLASLt: %s\n", why.c_str()), NOT_SUPPORTED; }
template <typename T> static int set(T& to, const void* from, size_t size) {
    return size == sizeof(T) ? (memcpy(&to, from, size), 0) : INVALID_VALUE_LT;
}
API cublasLtCreate(LtHandle** h) { return *h = new LtHandle{current_device}, 0; }
API cublasLtDestroy(LtHandle* h) { return delete h, 0; }
API cublasLtMatmulDescCreate(LtProduct** p, int compute, int scale) { return *p = new LtProduct{compute, scale, 0, 0, 1, nullptr, nullptr, 0}, 0; }
API cublasLtMatmulDescDestroy(LtProduct* p) { return delete p, 0; }
API cublasLtMatmulDescSetAttribute(LtProduct* p, int which, const void* value, size_t size) {
    switch (which) {
        case 3: return set(p->op_a, value, size);
        case 4: return set(p->op_b, value, size);
        case 7: return set(p->epilogue, value, size);
        case 8: return set(p->bias, value, size);
        case 11: return set(p->aux, value, size);
        case 12: return set(p->ld_aux, value, size);
    }
    return no_lt("attribute " + std::to_string(which) + " of a product is not emulated");
}
API cublasLtMatrixLayoutCreate(LtMatrix** m, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    return *m = new LtMatrix{type, rows, columns, ld, 1, 0}, 0;
}
API cublasLtMatrixLayoutDestroy(LtMatrix* m) { return delete m, 0; }
API cublasLtMatrixLayoutSetAttribute(LtMatrix* m, int which, const void* value, size_t size) {
    if (which == 5) return set(m->batch, value, size);
    if (which == 6) return set(m->stride, value, size);
    return no_lt("attribute " + std::to_string(which) + " of a matrix is not emulated");
}
API cublasLtMatmulPreferenceCreate(LtPreference** p) { return *p = new LtPreference{0}, 0; }
API cublasLtMatmulPreferenceDestroy(LtPreference* p) { return delete p, 0; }
API cublasLtMatmulPreferenceSetAttribute(LtPreference* p, int which, const void* value, size_t size) {
    return which == 1 ? set(p->workspace, value, size) : 0;
}
static std::string unfit(const LtProduct* p, const LtMatrix* a, const LtMatrix* b, const LtMatrix* c) {
    uint64_t m = p->op_a ? a->columns : a->rows, k = p->op_a ? a->rows : a->columns;
    uint64_t kb = p->op_b ? b->columns : b->rows, n = p->op_b ? b->rows : b->columns;
    if (k != kb || m != c->rows || n != c->columns) return "the matrices do not fit";
    for (auto x : {a, b, c})
        if (x->ld < (int64_t)x->rows) return "a leading dimension is smaller than the rows";
    if (a->batch != c->batch || b->batch != c->batch) return "the batches differ";
    if (p->epilogue == 512 && c->batch == 1) return "";
    if (p->epilogue & (32 | 128)) {
        if (c->batch != 1 || c->type == R64) return "a mask or GELU of a batch, or of float64, is not emulated";
        if (p->epilogue == 36) return "";
        if (p->epilogue == 164) return p->ld_aux % 8 || p->ld_aux < (int64_t)c->rows ? "the input of GELU is kept in columns of multiples of 8" : "";
        // the masks of ReLU, forward and backward: a bit an element, columns in whole 16 bytes
        if (p->epilogue != 134 && p->epilogue != 136) return "epilogue " + std::to_string(p->epilogue) + " is not emulated";
        if (p->ld_aux % 128 || p->ld_aux < (int64_t)c->rows) return "the mask's leading dimension is no multiple of 128, or below the rows";
        return "";
    }
    if (p->epilogue & ~7) return "epilogue " + std::to_string(p->epilogue) + " is not emulated";
    return "";
}
API cublasLtMatmulAlgoGetHeuristic(LtHandle*, LtProduct* p, LtMatrix* a, LtMatrix* b, LtMatrix* c, LtMatrix*, LtPreference* preference,
                                   int wanted, LtFound* found, int* count) {
    std::string why = unfit(p, a, b, c);
    *count = 0;
    if (!why.empty()) return no_lt(why);
    if (wanted < 1) return INVALID_VALUE_LT;
    *found = LtFound{};
    found->workspace = std::min<uint64_t>(preference->workspace, 4096);
    return *count = 1, 0;
}
API cublasLtMatmul(LtHandle* h, LtProduct* p, const void* alpha, const void* a, LtMatrix* ma, const void* b, LtMatrix* mb, const void* beta,
                   const void* c, LtMatrix* mc, void* d, LtMatrix*, const LtFound* algorithm, void* workspace, size_t workspace_size, Stream s) {
    if (h->device != current_device) return no_lt("a handle of another device");
    std::string why = unfit(p, ma, mb, mc);
    if (!why.empty()) return no_lt(why);
    if (c != d) return no_lt("C and D that differ are not emulated");
    if (algorithm && workspace_size < algorithm->workspace) return no_lt("the workspace is too small for the algorithm");
    if (p->epilogue & (4 | 512) && !p->bias) return no_lt("the epilogue wants a bias, and there is none");
    if (p->epilogue & 128 && (!p->aux || (uintptr_t)p->aux % 16)) return no_lt("the epilogue wants another matrix, aligned to 16 bytes");
    int k = p->op_a ? ma->rows : ma->columns;
    Product product{p->op_a, p->op_b, (int)mc->rows, (int)mc->columns, k, mc->batch, nullptr, nullptr, a, b, d,
                    ma->type, mb->type, mc->type, p->scale, ma->ld, mb->ld, mc->ld, ma->stride, mb->stride, mc->stride,
                    p->epilogue, p->bias, p->aux, p->ld_aux};
    struct Scalars { alignas(16) char alpha[16], beta[16]; } kept{};
    memcpy(kept.alpha, alpha, width(p->scale)), memcpy(kept.beta, beta, width(p->scale));
    auto size = [](const LtMatrix* m) { return span(m->batch, m->rows, m->columns, m->ld, m->stride, m->type); };
    Queue* q = at(s);
    int e = call(q, "a cuBLASLt product",
                 {{a, size(ma), false}, {b, size(mb), false}, {d, size(mc), true},
                  {p->epilogue & 4 ? p->bias : nullptr, mc->rows * width(mc->type), false},
                  {p->epilogue == 512 ? p->bias : nullptr, mc->columns * width(mc->type), true}, {workspace, workspace_size, true},
                  {p->epilogue & 128 ? p->aux : nullptr, mc->columns * p->ld_aux * (p->epilogue & 32 ? width(mc->type) * 8 : 1) / 8, p->epilogue != 136}},
                 [=]() mutable {
                     product.alpha = kept.alpha, product.beta = kept.beta;
                     return gemm_callback(&product);
                 });
    if (!e && !q->capture) saw(PRODUCTS, "a cuBLASLt product");
    return e >= 100 ? refuse(CUBLAS, CUBLAS.failed, cudaGetErrorString(e)) : e;
}
