// cuFFT: a plan and two addresses go to fft.py. Plans of one device, of up to three dimensions, with strides.
enum { FFT_INVALID_PLAN = 1, FFT_INVALID_TYPE = 3, FFT_INVALID_SIZE = 8, FFT_NO_WORKSPACE = 13 };
enum { R2C = 0x2a, C2R = 0x2c, C2C = 0x29, D2Z = 0x6a, Z2D = 0x6c, Z2Z = 0x69 };
struct Layout { int64_t embed[3], stride, distance; };  // of elements; embed: the sizes that memory has
struct Transform {  // as in fft.py
    int rank, type, batch;
    int64_t size[3];
    Layout in, out;
};
struct Plan {
    Transform transform{};
    int device;
    Queue* stream;
    bool made = false, automatic = true;
    void* work = nullptr;
    size_t work_size = 0;
};
typedef int (*Fft)(const Transform*, const void* in, void* out, int direction);
static Fft fft_callback;
extern "C" void cpucuda_set_fft(Fft f) { fft_callback = f; }
static std::mutex plans_lock;
static std::map<int, Plan> plans;

static int plan_of(int handle, Plan& out) {
    std::lock_guard<std::mutex> hold(plans_lock);
    auto it = plans.find(handle);
    if (it == plans.end()) return refuse(CUFFT, FFT_INVALID_PLAN, "no such plan: " + std::to_string(handle));
    return out = it->second, 0;
}
template <typename F> static int change(int handle, F f) {
    std::lock_guard<std::mutex> hold(plans_lock);
    auto it = plans.find(handle);
    if (it == plans.end()) return refuse(CUFFT, FFT_INVALID_PLAN, "no such plan: " + std::to_string(handle));
    return f(it->second), 0;
}
API cufftCreate(int* handle) {
    std::lock_guard<std::mutex> hold(plans_lock);
    static int last = 0;
    Plan p;
    p.device = current_device, p.stream = legacy(current_device);
    return plans[*handle = ++last] = p, 0;
}
API cufftDestroy(int handle) {
    std::lock_guard<std::mutex> hold(plans_lock);
    return plans.erase(handle) ? 0 : refuse(CUFFT, FFT_INVALID_PLAN, "destroyed: no such plan: " + std::to_string(handle));
}
API cufftGetVersion(int* version) { return *version = 12000, 0; }
API cufftSetAutoAllocation(int handle, int on) {
    return change(handle, [=](Plan& p) { p.automatic = on; });
}
API cufftSetWorkArea(int handle, void* work) {
    return change(handle, [=](Plan& p) { p.work = work; });
}
API cufftSetStream(int handle, Stream s) {
    return change(handle, [=](Plan& p) { p.stream = (uintptr_t)s > 2 ? s : legacy(p.device); });
}
static bool double_precision(int type) { return type & 0x40; }
static bool real_side(int type, bool in) { return in ? type == R2C || type == D2Z : type == C2R || type == Z2D; }
static size_t element(int type, bool in) { return (double_precision(type) ? 8 : 4) * (real_side(type, in) ? 1 : 2); }
// how many of dimension d are read or written: of the last, where the other side is real, half
static int64_t length(const Transform& t, bool in, int d) {
    return d == t.rank - 1 && real_side(t.type, !in) ? t.size[d] / 2 + 1 : t.size[d];
}
static size_t extent(const Transform& t, bool in) {
    const Layout& s = in ? t.in : t.out;
    int64_t last = (t.batch - 1) * s.distance, stride = s.stride;
    for (int d = t.rank - 1; d >= 0; stride *= s.embed[d--]) last += (length(t, in, d) - 1) * stride;
    return (last + 1) * element(t.type, in);
}
API cufftMakePlanMany(int handle, int rank, int* size, int* in_embed, int in_stride, int in_distance, int* out_embed, int out_stride,
                      int out_distance, int type, int batch, size_t* work_size) {
    if (rank < 1 || rank > 3) return refuse(CUFFT, CUFFT.invalid, "a plan of " + std::to_string(rank) + " dimensions");
    if (type != C2C && type != R2C && type != C2R && type != Z2Z && type != D2Z && type != Z2D)
        return refuse(CUFFT, FFT_INVALID_TYPE, "no such type of transform: " + std::to_string(type));
    if (batch < 1) return refuse(CUFFT, FFT_INVALID_SIZE, "a batch of " + std::to_string(batch));
    Transform t{rank, type, batch};
    for (int d = 0; d < rank; ++d)
        if ((t.size[d] = size[d]) < 1) return refuse(CUFFT, FFT_INVALID_SIZE, "a size of " + std::to_string(size[d]));
    auto side = [&](bool in, int* embed, int stride, int distance) {
        Layout s{{1, 1, 1}, embed ? stride : 1, embed ? distance : 1};
        for (int d = 0; d < rank; ++d) {
            s.embed[d] = embed && d ? embed[d] : length(t, in, d);
            if (!embed) s.distance *= s.embed[d];
        }
        return s;
    };
    if ((in_embed != nullptr) != (out_embed != nullptr)) return refuse(CUFFT, CUFFT.invalid, "strides on one side only");
    t.in = side(true, in_embed, in_stride, in_distance), t.out = side(false, out_embed, out_stride, out_distance);
    size_t n = batch * element(type, true);
    for (int d = 0; d < rank; ++d) n *= t.size[d];
    *work_size = n;
    return change(handle, [=](Plan& p) { p.transform = t, p.work_size = n, p.made = true; });
}
API cufftMakePlan1d(int handle, int size, int type, int batch, size_t* work_size) {
    return cufftMakePlanMany(handle, 1, &size, nullptr, 1, 0, nullptr, 1, 0, type, batch, work_size);
}
static int transform(int handle, int type, const void* in, void* out, int direction) {
    Plan p;
    if (int e = plan_of(handle, p)) return e;
    if (!p.made || p.transform.type != type) return refuse(CUFFT, FFT_INVALID_PLAN, p.made ? "the plan is for another type" : "the plan is not made");
    if (direction != -1 && direction != 1) return refuse(CUFFT, CUFFT.invalid, "direction " + std::to_string(direction));
    if (!p.automatic && !p.work) return refuse(CUFFT, FFT_NO_WORKSPACE, "the plan has no work area");
    size_t alignment = double_precision(type) ? 16 : 8;
    for (auto address : {in, (const void*)out})
        if ((uintptr_t)address % alignment) return refuse(CUFFT, CUFFT.invalid, hex(address) + " is not aligned to " + bytes(alignment));
    return call(CUFFT, p.device, p.stream, "a cuFFT transform",
                {{in, extent(p.transform, true), real_side(type, false)}, // what becomes real may be overwritten
                 {out, extent(p.transform, false), true},
                 {p.automatic ? nullptr : p.work, p.work_size, true}},
                [=] { return fft_callback(&p.transform, in, out, direction); });
}
#define EXECUTE(X, DIRECTION)                                                                                  \
    API cufftExec##X(int plan, void* in, void* out) { return transform(plan, X, in, out, DIRECTION); }
EXECUTE(R2C, -1)
EXECUTE(D2Z, -1)
EXECUTE(C2R, 1)
EXECUTE(Z2D, 1)
API cufftExecC2C(int plan, void* in, void* out, int direction) { return transform(plan, C2C, in, out, direction); }
API cufftExecZ2Z(int plan, void* in, void* out, int direction) { return transform(plan, Z2Z, in, out, direction); }
