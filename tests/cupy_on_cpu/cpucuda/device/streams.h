// Streams: queues of work, done at once or, with CPUCUDA_ASYNC=1, as late as CUDA allows: when somebody waits for it.
// What reads too early, or frees or reuses memory too early, then shows. The rules of capture are in capture.h.
typedef std::chrono::steady_clock::time_point Time;
typedef std::function<int()> Work;
struct Queue;
struct Capture;
struct Event {
    Time time;
    int device;
    Queue* queue = nullptr;
    uint64_t ticket = 0;
    Clock seen;
    Capture* capture = nullptr;
};
struct Queue {
    size_t number;
    int device;
    unsigned flags = 0;
    int priority = 0;
    bool destroyed = false;
    uint64_t issued = 0, done = 0;  // of late work
    std::deque<Work> work;
    uint64_t waited = 0;            // the last call when a copy to the host waited
    Line line, captured;
    Capture* capture = nullptr;
    bool blocking() const { return !(flags & 1); }
};
typedef Queue* Stream;

static const bool late = getenv("CPUCUDA_ASYNC") && atoi(getenv("CPUCUDA_ASYNC"));
static std::recursive_mutex device_lock;  // taken without the GIL only: products call Python
static std::mutex queues_lock;
static std::vector<Queue*> queues;        // of all devices; each device's first is its legacy stream
static int sticky;

static Queue* new_queue(int device, unsigned flags, int priority) {
    std::lock_guard<std::mutex> hold(queues_lock);
    auto q = new Queue{queues.size(), device, flags, priority};
    queues.push_back(q);
    return q;
}
static Queue* legacy(int device) {
    static const std::vector<Queue*> all = [] {
        std::vector<Queue*> v;
        for (int d = 0; d < device_count; ++d) v.push_back(new_queue(d, 0, 0));
        return v;
    }();
    return all[device];
}
static Queue* at(Stream s) { return (uintptr_t)s > 2 ? s : legacy(current_device); }
static bool is_legacy(const Queue* q) { return q == legacy(q->device); }
static std::vector<Queue*> queues_of(int device) {
    legacy(device);
    std::lock_guard<std::mutex> hold(queues_lock);
    std::vector<Queue*> all;
    for (auto q : queues)
        if (q->device == device && !q->destroyed) all.push_back(q);
    return all;
}
static std::string name_of(const Queue* q) {
    return (is_legacy(q) ? "the default stream" : "stream " + std::to_string(q->number)) + " of device " + std::to_string(q->device);
}

// ---- late work ----------------------------------------------------------------------------------------------
static void drain(Queue* q, uint64_t upto) {
    while (q->done < upto && !q->work.empty()) {
        Work w = std::move(q->work.front());
        q->work.pop_front();
        if (int e = w()) sticky = sticky ? sticky : e;
        ++q->done;
    }
}
static void push(Queue* q, Work w) {
    q->work.push_back(std::move(w));
    ++q->issued;
}
static void after(Queue* q, Queue* other) {
    uint64_t ticket = other->issued;
    if (other != q && other->done < ticket) push(q, [=] { return drain(other, ticket), 0; });
}
static int take_sticky() {
    int e = sticky;
    return sticky = 0, e;
}

// ---- order ----------------------------------------------------------------------------------------------------
static void see(Clock& clock, const Queue* q) {
    clock.merge(q->line.seen);
    clock.reach(q->number, q->line.issued);
}
// the call gets its ticket, or is refused because it races with one on another stream
static int order(Line& line, Places& at, const Queue* q, const std::vector<Touch>& touches, const char* what) {
    for (auto& t : touches)
        if (auto a = at.clash(t, line.seen, q->number)) {
            char address[32];
            snprintf(address, sizeof address, "%p", t.address);
            return failed(UNORDERED, std::string(what) + " on " + name_of(q) + (t.write ? " may write " : " reads ") + address + ", which " +
                                         a->what + " uses on " + name_of(queues[a->stream]) +
                                         ": nothing orders one after the other (record an event there and wait for it here)");
        }
    ++line.issued;
    for (auto& t : touches) at.add(t, {q->number, line.issued, what});
    return 0;
}
static int order_now(Queue* q, const std::vector<Touch>& touches, const char* what) {
    std::lock_guard<std::mutex> hold(order_lock);
    q->line.seen.merge(host_clock);
    if (is_legacy(q)) {  // the legacy stream waits for all that do not opt out, and they for it
        std::lock_guard<std::mutex> hold(queues_lock);
        for (auto other : queues)
            if (other != q && other->device == q->device && other->blocking() && !other->destroyed) see(q->line.seen, other);
    } else if (q->blocking()) see(q->line.seen, legacy(q->device));
    return order(q->line, places, q, touches, what);
}

static int captured(Queue* q, Work& w, const std::vector<Touch>& touches, const char* what, bool& taken);
static int enqueue(Queue* q, const char* what, const std::vector<Touch>& touches, Work w) {
    bool taken = false;
    if (int e = captured(q, w, touches, what, taken)) return e;
    if (taken) return 0;
    if (int e = order_now(q, touches, what)) return e;
    if (!late) return w();
    std::lock_guard<std::recursive_mutex> hold(device_lock);
    if (is_legacy(q)) {
        for (auto other : queues_of(q->device))
            if (other->blocking()) after(q, other);
    } else if (q->blocking()) after(q, legacy(q->device));
    push(q, std::move(w));
    return 0;
}
static void host_sees(const Clock& seen) {
    std::lock_guard<std::mutex> hold(order_lock);
    host_clock.merge(seen);
}
// the host waits: for one stream, for all of a device
static int finish(Queue* q) {
    {
        std::lock_guard<std::mutex> hold(order_lock);
        see(host_clock, q);
    }
    if (!late) return 0;
    std::lock_guard<std::recursive_mutex> hold(device_lock);
    drain(q, q->issued);
    return take_sticky();
}
static int finish_all(int device) {
    int e = 0;
    for (auto q : queues_of(device))
        if (int f = finish(q)) e = e ? e : f;
    return e;
}
static void finish_late(Queue* q) {  // what is read at once must be there; no wait of the host as CUDA has it
    if (!late) return;
    std::lock_guard<std::recursive_mutex> hold(device_lock);
    drain(q, q->issued);
}
