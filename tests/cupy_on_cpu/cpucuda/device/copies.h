// Copies and fills.
//
// kinds: 0 host to host, 1 host to device, 2 device to host, 3 device to device, 4 whatever the pointers say
struct Side { bool known, on_device; int device; };  // unknown: pageable
static int side(const void* p, size_t n, const char* what, Side& out) {
    Region r{};
    if (holds(p, n, r)) return out = {true, r.kind != HOST, r.device}, 0;
    std::lock_guard<std::mutex> hold(memory_lock);
    if (auto part = find(regions, p))
        if (part->owned) return failed(INVALID_VALUE, std::string(what) + ": " + bytes(n) + " at " + hex(p) + " reach past the end of " + describe(*part));
    return out = {false, false, -1}, 0;
}
// a copy between devices on a legacy stream comes after all earlier work of both, and before all later work
static void serialise(Queue* q, int a, int b) {
    if (late) {
        std::lock_guard<std::recursive_mutex> hold(device_lock);
        for (int device : {a, b})
            for (auto other : queues_of(device)) drain(other, other->issued);
        drain(q, q->issued);
    }
    for (int device : {a, b})
        for (auto other : queues_of(device)) {
            std::lock_guard<std::mutex> hold(order_lock);
            see(q->line.seen, other);
        }
    for (int device : {a, b})
        for (auto other : queues_of(device)) {
            std::lock_guard<std::mutex> hold(order_lock);
            see(other->line.seen, q);
        }
}
static int copy(void* d, const void* s, size_t n, int kind, Queue* q, bool peers, const char* what, bool* waits = nullptr) {
    if (!n) return 0;
    Side to, from;
    if (int e = side(d, n, what, to)) return e;
    if (int e = side(s, n, what, from)) return e;
    if ((kind == 1 || kind == 3) && !to.on_device) return failed(INVALID_VALUE, std::string(what) + ": the target " + hex(d) + " is no device memory");
    if ((kind == 2 || kind == 3) && !from.on_device) return failed(INVALID_VALUE, std::string(what) + ": the source " + hex(s) + " is no device memory");
    if (to.on_device && from.on_device && to.device != from.device && !peers && kind != 4)
        return failed(INVALID_VALUE, std::string(what) + " from device " + std::to_string(from.device) + " to device " +
                                         std::to_string(to.device) + ": that takes cudaMemcpyPeer or cudaMemcpyDefault");
    if (q->capture && !(to.known && from.known))
        return spoil(q->capture, CAPTURE_UNSUPPORTED, std::string(what) + " of pageable memory");
    bool pageable_target = !to.known;
    if (!q->capture) {
        Count c = to.on_device ? from.on_device ? DEVICE_TO_DEVICE : HOST_TO_DEVICE : DEVICE_TO_HOST;
        if (to.on_device || from.on_device) saw(c, what), count(Count(c + 1), n);
        if (from.on_device && pageable_target) saw(SYNCHRONISATIONS, what);  // returns when the bytes are there
    }
    bool serial = to.on_device && from.on_device && to.device != from.device && is_legacy(q);
    if (serial) serialise(q, to.device, from.device);
    if (waits) *waits = !to.on_device || !from.on_device;
    std::vector<Touch> touches;
    if (from.on_device) touches.push_back({s, false});
    if (to.on_device) touches.push_back({d, true});
    Work work = [=] { return memmove(d, s, n), 0; };
    if (late && !from.known) {  // pageable: the driver takes the bytes before it returns
        auto taken = std::make_shared<std::vector<char>>((const char*)s, (const char*)s + n);
        work = [=] { return memcpy(d, taken->data(), n), 0; };
    }
    int e = enqueue(q, what, touches, work);
    if (serial) serialise(q, to.device, from.device);
    if (e || !pageable_target || !from.on_device) return e;
    return q->waited = q->line.issued, finish(q);
}
API cudaMemcpyAsync(void* d, const void* s, size_t n, int kind, Stream stream) {
    return copy(d, s, n, kind, at(stream), false, "cudaMemcpyAsync");
}
static int copy_and_wait(void* d, const void* s, size_t n, int kind, bool peers, const char* what) {
    if (int e = unsafe(what)) return e;
    Queue* q = at(nullptr);
    bool waits = false;
    if (int e = copy(d, s, n, kind, q, peers, what, &waits)) return e;
    if (!waits) return 0;  // device to device: the host goes on
    if (q->waited != q->line.issued) saw(SYNCHRONISATIONS, what);
    return q->waited = 0, finish(q);
}
API cudaMemcpy(void* d, const void* s, size_t n, int kind) { return copy_and_wait(d, s, n, kind, false, "cudaMemcpy"); }
API cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) { return copy_and_wait(d, s, n, 3, true, "cudaMemcpyPeer"); }
API cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, Stream q) {
    return copy(d, s, n, 3, at(q), true, "cudaMemcpyPeerAsync");
}
API cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, int kind) {
    for (size_t i = 0; i < h; ++i)
        if (int e = cudaMemcpy((char*)d + i * dp, (const char*)s + i * sp, w, kind)) return e;
    return 0;
}
API cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, int kind, Stream stream) {
    for (size_t i = 0; i < h; ++i)
        if (int e = cudaMemcpyAsync((char*)d + i * dp, (const char*)s + i * sp, w, kind, stream)) return e;
    return 0;
}
API cudaMemsetAsync(void* p, int v, size_t n, Stream s) {
    Region r{};
    Queue* q = at(s);
    if (n && (!holds(p, n, r) || r.kind == HOST || (r.kind == DEVICE && r.device != q->device)))
        return failed(INVALID_VALUE, "cudaMemset on " + name_of(q) + ": the target is " + describe(p));
    if (!q->capture) saw(MEMSETS, "cudaMemset");
    return enqueue(q, "cudaMemset", {{p, true}}, [=] { return memset(p, v, n), 0; });
}
API cudaMemset(void* p, int v, size_t n) { return cudaMemsetAsync(p, v, n, nullptr); }
