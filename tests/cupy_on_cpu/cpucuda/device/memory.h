// Allocation, as CuPy calls it.
static int device_allocation(void** p, size_t n, Kind kind) {
    if (int e = unsafe("allocation")) return e;
    saw(ALLOCATIONS, "cudaMalloc");
    count(ALLOCATION_BYTES, n);
    return allocate(p, n, kind);
}
static int freeing(void* p, bool device) {
    if (!p) return 0;
    if (int e = unsafe("freeing memory")) return e;
    Region r{};
    holds(p, 0, r);
    saw(SYNCHRONISATIONS, device ? "cudaFree" : "cudaFreeHost");  // CUDA waits for the device that has it
    if (device) saw(FREES, "cudaFree");
    int e = finish_all(r.device), f = release(p);
    return f ? f : e;
}
API cudaMalloc(void** p, size_t n) { return device_allocation(p, n, DEVICE); }
API cudaMallocManaged(void** p, size_t n, unsigned) { return device_allocation(p, n, MANAGED); }
API cudaMallocAsync(void** p, size_t n, Stream s) {
    if (at(s)->capture) return spoil(at(s)->capture, UNSUPPORTED, "cudaMallocAsync: allocations inside of a graph are not emulated");
    saw(ALLOCATIONS, "cudaMallocAsync");
    count(ALLOCATION_BYTES, n);
    return allocate(p, n, DEVICE);
}
API cudaMallocFromPoolAsync(void** p, size_t n, void*, Stream s) { return cudaMallocAsync(p, n, s); }
API cudaHostAlloc(void** p, size_t n, unsigned) {
    if (int e = unsafe("allocation of pinned memory")) return e;
    saw(HOST_ALLOCATIONS, "cudaHostAlloc");
    return allocate(p, n, HOST);
}
API cudaFree(void* p) { return freeing(p, true); }
API cudaFreeHost(void* p) { return freeing(p, false); }
API cudaFreeAsync(void* p, Stream s) {
    if (at(s)->capture) return spoil(at(s)->capture, UNSUPPORTED, "cudaFreeAsync: freeing inside of a graph is not emulated");
    saw(FREES, "cudaFreeAsync");
    return enqueue(at(s), "cudaFreeAsync", {{p, true}}, [=] { return release(p); });
}
API cudaHostRegister(void* p, size_t n, unsigned) {
    std::lock_guard<std::mutex> hold(memory_lock);
    return regions[(char*)p] = {(char*)p, n, HOST, current_device, false, 0}, 0;
}
API cudaHostUnregister(void* p) {
    std::lock_guard<std::mutex> hold(memory_lock);
    return regions.erase((char*)p) ? 0 : INVALID_VALUE;
}
API cudaMemGetInfo(size_t* free_, size_t* total) { return *free_ = MEMORY - used[current_device], *total = MEMORY, 0; }
struct Attributes { int type, device; void *device_pointer, *host_pointer; };
API cudaPointerGetAttributes(Attributes* a, const void* p) {
    std::lock_guard<std::mutex> hold(memory_lock);
    auto r = find(regions, p);
    *a = {r ? r->kind : 0, r ? r->device : -2, r ? (void*)p : nullptr, r && r->kind != DEVICE ? (void*)p : nullptr};
    return 0;
}
API cudaDeviceGetDefaultMemPool(void** p, int d) { return valid(d) ? (*p = &used[d], 0) : INVALID_DEVICE; }
API cudaDeviceGetMemPool(void** p, int d) { return cudaDeviceGetDefaultMemPool(p, d); }
API cudaDeviceSetMemPool(int, void*) { return 0; }
API cudaMemPoolTrimTo(void*, size_t) { return 0; }
API cudaMemPoolSetAttribute(void*, int, void*) { return 0; }
API cudaMemPoolGetAttribute(void* pool, int, void* v) { return *(uint64_t*)v = *(size_t*)pool, 0; }
