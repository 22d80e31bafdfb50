// What calls of cuBLAS, cuRAND and thrust share: operands are checked over all of their bytes, then the call is queued.
struct Operand { const void* start; size_t size; bool write; };
static int call(Queue* q, const std::string& what, std::initializer_list<Operand> operands, Work work) {
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
