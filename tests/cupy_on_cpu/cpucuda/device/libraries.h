// What calls of cuBLAS, cuSOLVER, cuFFT, cuRAND and thrust share: operands are checked over all of their bytes, then the
// call is queued.
struct Operand { const void* start; size_t size; bool write; };
static int call(Queue* q, const std::string& what, const std::vector<Operand>& operands, Work work) {
    std::vector<Touch> touches;
    for (auto& o : operands) {
        if (!o.start || !o.size) continue;
        Region r{};
        auto refuse = [&](const std::string& why) {
            return failed(ILLEGAL_ADDRESS, what + " on " + name_of(q) + ": " + bytes(o.size) + " at " + hex(o.start) + ", " + why);
        };
        if (!holds(o.start, o.size, r)) return refuse(holds(o.start, 0, r) ? "reach past the end of " + describe(r) : describe(o.start));
        if (r.kind == DEVICE && r.device != q->device) return refuse("memory of device " + std::to_string(r.device));
        if (r.kind != HOST) touches.push_back({o.start, o.write});
    }
    static std::set<std::string> names;  // clocks.h keeps what it is given
    static std::mutex names_lock;
    const char* kept;
    {
        std::lock_guard<std::mutex> hold(names_lock);
        kept = names.insert(what).first->c_str();
    }
    return enqueue(q, kept, touches, std::move(work));
}

// The codes of the mathematical libraries say little: the reason goes to standard error.
struct Library { const char* name; Count counts_as; int invalid, failed; };
static const Library CUBLAS{"cuBLAS", PRODUCTS, 7, 13}, CUSOLVER{"cuSOLVER", FACTORIZATIONS, 3, 6}, CUFFT{"cuFFT", TRANSFORMS, 4, 6};

static int refuse(const Library& library, int code, const std::string& why) {
    return fprintf(stderr, "cpucuda: %s: %s\n", library.name, why.c_str()), code;
}
static int call(const Library& library, int device, Queue* q, const std::string& what, const std::vector<Operand>& operands, Work work) {
    if (device != current_device)
        return refuse(library, library.failed, "a handle of device " + std::to_string(device) + " while device " +
                                                   std::to_string(current_device) + " is current");
    int e = call(q, what, operands, std::move(work));
    if (!e && !q->capture) saw(library.counts_as, what.c_str());
    return e >= 100 ? refuse(library, library.failed, cudaGetErrorString(e)) : e;
}
