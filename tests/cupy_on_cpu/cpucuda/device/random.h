// cuRAND: other numbers than NVIDIA's, of the same distributions.
// CuPy's stub prototypes are variadic, so a float argument arrives as a double
struct Random { Queue* stream; std::mt19937_64 bits; };
API curandCreateGenerator(Random** g, int) { return *g = new Random{legacy(current_device)}, 0; }
API curandDestroyGenerator(Random* g) { return delete g, 0; }
API curandGetVersion(int* v) { return *v = 13000, 0; }
API curandSetStream(Random* g, Stream s) { return g->stream = at(s), 0; }
API curandSetPseudoRandomGeneratorSeed(Random* g, unsigned long long seed) { return g->bits.seed(seed), 0; }
API curandSetGeneratorOffset(Random* g, unsigned long long n) { return g->bits.discard(n), 0; }
template <typename T, typename D> static int draw(Random* g, T* out, size_t n, D d) {
    if (!g->stream->capture) saw_launch("curand");
    int e = call(g->stream, "cuRAND", {{out, n * sizeof(T), true}}, [=]() mutable {
        for (size_t i = 0; i < n; ++i) out[i] = d(g->bits);
        return 0;
    });
    if (e) fprintf(stderr, "cpucuda: %s\n", cudaGetErrorString(e));
    return e ? 201 : 0;  // CURAND_STATUS_LAUNCH_FAILURE
}
API curandGenerate(Random* g, unsigned* out, size_t n) { return draw(g, out, n, [](auto& b) { return (unsigned)b(); }); }
API curandGenerateLongLong(Random* g, unsigned long long* out, size_t n) { return draw(g, out, n, [](auto& b) { return b(); }); }
static double unit(std::mt19937_64& b) { return ((b() >> 11) + 1) * 0x1p-53; }  // (0, 1], as cuRAND's
API curandGenerateUniform(Random* g, float* out, size_t n) {
    return draw(g, out, n, [](auto& b) { return ((b() >> 40) + 1) * 0x1p-24f; });
}
API curandGenerateUniformDouble(Random* g, double* out, size_t n) { return draw(g, out, n, unit); }
API curandGenerateNormal(Random* g, float* out, size_t n, double mean, double sd) {
    return draw(g, out, n, std::normal_distribution<float>(mean, sd));
}
API curandGenerateNormalDouble(Random* g, double* out, size_t n, double mean, double sd) {
    return draw(g, out, n, std::normal_distribution<double>(mean, sd));
}
API curandGenerateLogNormal(Random* g, float* out, size_t n, double mean, double sd) {
    return draw(g, out, n, std::lognormal_distribution<float>(mean, sd));
}
API curandGenerateLogNormalDouble(Random* g, double* out, size_t n, double mean, double sd) {
    return draw(g, out, n, std::lognormal_distribution<double>(mean, sd));
}
API curandGeneratePoisson(Random* g, unsigned* out, size_t n, double mean) {
    return draw(g, out, n, std::poisson_distribution<unsigned>(mean));
}
