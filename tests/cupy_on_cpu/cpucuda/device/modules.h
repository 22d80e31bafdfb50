// Modules, and what is known of their kernels.
enum Mode { FIBERS, PLAIN, ONE_THREAD };  // as in nvrtc.py
struct Header { char magic[8]; uint64_t size; uint32_t mode, reserved; };
struct Module { void* handle; Mode mode; int device; };
struct Function {
    void (*entry)(void**);
    unsigned cluster;
    Mode mode;
    int max_dynamic, device;
    std::string name;       // as in the source, for messages and counts
    const unsigned* sizes;  // of the parameters
    std::string access;     // of each parameter: '-' no pointer, 'r' pointer that is read, 'w' pointer that may be written
};

API cuModuleLoadData(Module** out, const void* image) {
    auto h = (const Header*)image;
    if (memcmp(h->magic, "CPUCUDA", 8)) return NO_BINARY;
    // a file of its own name: the dynamic linker takes a name that it has seen for the library that had it
    std::string path = std::string(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp") + "/cpucuda-XXXXXX";
    int fd = mkstemp(&path[0]);
    if (fd < 0) return OUT_OF_MEMORY;
    auto data = (const char*)(h + 1);
    for (size_t done = 0; done < h->size;) {
        ssize_t n = write(fd, data + done, h->size - done);
        if (n <= 0) return OUT_OF_MEMORY;
        done += n;
    }
    close(fd);
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    if (!handle) return fprintf(stderr, "cpucuda: %s\n", dlerror()), NO_BINARY;
    *out = new Module{handle, (Mode)h->mode, current_device};
    return 0;
}
API cuModuleUnload(Module* m) { return delete m, 0; }  // functions may outlive it: stays mapped
template <typename F> static F symbol(Module* m, const char* of, const char* name) {
    return (F)dlsym(m->handle, (std::string(of) + name).c_str());
}
typedef const char* (*Text)();
API cuModuleGetFunction(Function** out, Module* m, const char* name) {
    auto entry = symbol<void (*)(void**)>(m, "xpemu_kernel_", name);
    if (!entry) return NOT_FOUND;
    auto cluster = symbol<unsigned (*)()>(m, "xpemu_cluster_", name);
    auto sizes = symbol<const unsigned* (*)()>(m, "xpemu_sizes_", name);
    auto shown = symbol<Text>(m, "xpemu_name_", name);
    std::string access = symbol<Text>(m, "xpemu_access_", name)();
    if (auto constant = symbol<Text>(m, "xpemu_const_", name))  // from the source: a type does not tell
        for (size_t i = 0; i < access.size() && constant()[i]; ++i)
            if (access[i] == 'w' && constant()[i] == 'c') access[i] = 'r';
    *out = new Function{entry, cluster ? cluster() : 1, m->mode, SHARED, m->device, shown ? shown() : name, sizes(), access};
    return 0;
}
API cuModuleGetGlobal_v2(void** p, size_t* n, Module* m, const char* name) {
    *p = dlsym(m->handle, name);
    if (!*p) return NOT_FOUND;
    Dl_info info;
    const ElfW(Sym)* symbol = nullptr;
    size_t size = dladdr1(*p, &info, (void**)&symbol, RTLD_DL_SYMENT) && symbol ? symbol->st_size : 0;
    if (n) *n = size;
    std::lock_guard<std::mutex> hold(memory_lock);
    return regions[(char*)*p] = {(char*)*p, size, DEVICE, m->device, false, 0}, 0;
}
API cuFuncGetAttribute(int* v, int a, Function* f) {
    static const int values[] = {1024, 0, 0, 0, 32, 90, 90, 0, 0, -1};
    *v = a == 8 ? f->max_dynamic : a < 10 ? values[a] : 0;
    return 0;
}
API cuFuncSetAttribute(Function* f, int a, int v) {
    if (a == 8) {
        if (v > SHARED_OPTIN) return INVALID_VALUE;
        f->max_dynamic = v;
    }
    return 0;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, Function*, int block, size_t shared) {
    int by_threads = block ? 2048 / block : 0, by_shared = shared ? int((228 << 10) / (shared + 1024)) : 32;
    return *n = std::min({32, by_threads, by_shared}), 0;
}
API cuOccupancyMaxPotentialBlockSize(int* grid, int* block, Function*, void*, size_t, int limit) {
    return *block = limit ? std::min(limit, 1024) : 1024, *grid = MULTIPROCESSORS * 2, 0;
}
