// What the host asked of the device, counted; counts.py reads it by this order.
enum Count { LAUNCHES, GRAPHS, PRODUCTS, SYNCHRONISATIONS, HOST_TO_DEVICE, HOST_TO_DEVICE_BYTES, DEVICE_TO_HOST, DEVICE_TO_HOST_BYTES,
             DEVICE_TO_DEVICE, DEVICE_TO_DEVICE_BYTES, MEMSETS, ALLOCATIONS, ALLOCATION_BYTES, FREES, HOST_ALLOCATIONS,
             FACTORIZATIONS, TRANSFORMS, COUNTS };
typedef void (*Witness)(int what, const char* name);
static std::atomic<uint64_t> counts[COUNTS];
static std::atomic<Witness> witness;
static std::mutex kernels_lock;
static std::map<std::string, uint64_t> kernels;  // launches by name

static void count(Count what, uint64_t n = 1) { counts[what] += n; }
static void saw(Count what, const char* name = "") {  // may run Python: call it without a lock
    ++counts[what];
    if (Witness w = witness) w(what, name);
}
static void saw_launch(const std::string& name) {
    {
        std::lock_guard<std::mutex> hold(kernels_lock);
        ++kernels[name];
    }
    saw(LAUNCHES, name.c_str());
}
extern "C" void cpucuda_set_witness(Witness w) { witness = w; }
extern "C" size_t cpucuda_counts(uint64_t* out) {
    for (int i = 0; i < COUNTS; ++i) out[i] = counts[i];
    return COUNTS;
}
extern "C" size_t cpucuda_kernels(char* out, size_t room) {  // lines "count name"; returns the room they need
    std::string all;
    std::lock_guard<std::mutex> hold(kernels_lock);
    for (auto& k : kernels) all += std::to_string(k.second) + " " + k.first + "\n";
    if (all.size() < room) memcpy(out, all.c_str(), all.size() + 1);
    return all.size() + 1;
}
