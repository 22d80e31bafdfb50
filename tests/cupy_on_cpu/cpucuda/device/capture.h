// Stream capture: calls become the nodes of a graph, in the order in which they were made, which respects every
// dependency. What CUDA refuses during a capture is refused here, and spoils the capture as it does there.
enum Mode_of_capture { GLOBAL, THREAD_LOCAL, RELAXED };
struct Graph {
    std::vector<Work> nodes;
    std::vector<Touch> touches;
};
struct Capture {
    Queue* origin;
    int mode;
    std::thread::id thread;
    Graph* graph = new Graph;
    bool spoilt = false;
    std::set<Queue*> queues;
    Places places;
};
static std::recursive_mutex captures_lock;
static std::set<Capture*> captures;  // under way

static int spoil(Capture* c, int code, const std::string& detail) {
    c->spoilt = true;
    return failed(code, detail + " (while " + name_of(c->origin) + " is capturing)");
}
static Capture* capture_that_blocks(const Queue* q) {  // work on the legacy stream would have to wait for it
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    if (is_legacy(q))
        for (auto c : captures)
            if (c->origin->blocking() && c->origin->device == q->device) return c;
    return nullptr;
}
// calls that may wait for the device: refused unless the capture is relaxed
static int unsafe(const char* what) {
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    for (auto c : captures)
        if (c->mode == GLOBAL || (c->mode == THREAD_LOCAL && c->thread == std::this_thread::get_id()))
            return spoil(c, CAPTURE_UNSUPPORTED, std::string(what) + " is not permitted");
    return 0;
}
static int no_capture_on(Queue* q, const char* what) {
    if (q->capture) return spoil(q->capture, CAPTURE_UNSUPPORTED, std::string(what) + " of a capturing stream");
    if (auto c = capture_that_blocks(q)) return spoil(c, CAPTURE_IMPLICIT, std::string(what) + " of the legacy stream");
    return 0;
}
static int no_capture_on_device(int device, const char* what) {
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    for (auto c : captures)
        for (auto q : c->queues)
            if (q->device == device) return spoil(c, CAPTURE_UNSUPPORTED, std::string(what) + " of a capturing device");
    return 0;
}
static int captured(Queue* q, Work& w, const std::vector<Touch>& touches, const char* what, bool& taken) {
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    if (captures.empty()) return 0;
    Capture* c = q->capture;
    if (!c) {
        if ((c = capture_that_blocks(q))) return spoil(c, CAPTURE_IMPLICIT, std::string(what) + " on the legacy stream");
        return 0;
    }
    if (c->spoilt) return CAPTURE_INVALIDATED;
    if (int e = order(q->captured, c->places, q, touches, what)) return c->spoilt = true, e;
    c->graph->nodes.push_back(std::move(w));
    c->graph->touches.insert(c->graph->touches.end(), touches.begin(), touches.end());
    taken = true;
    return 0;
}
static void join(Queue* q, Capture* c) {
    q->capture = c;
    q->captured = Line();
    c->queues.insert(q);
}
API cudaStreamBeginCapture(Stream s, int mode) {
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    Queue* q = at(s);
    if (is_legacy(q)) return failed(CAPTURE_UNSUPPORTED, "the legacy stream cannot capture");
    if (q->capture) return failed(ILLEGAL_STATE, name_of(q) + " is capturing already");
    auto c = new Capture{q, mode, std::this_thread::get_id()};  // kept: events may name it
    captures.insert(c);
    join(q, c);
    return 0;
}
API cudaStreamEndCapture(Stream s, Graph** g) {
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    *g = nullptr;
    Queue* q = at(s);
    Capture* c = q->capture;
    if (!c) return failed(ILLEGAL_STATE, name_of(q) + " is not capturing");
    if (c->origin != q) return spoil(c, CAPTURE_UNMATCHED, "the capture did not begin in " + name_of(q));
    captures.erase(c);
    int e = c->spoilt ? CAPTURE_INVALIDATED : 0;
    for (auto other : c->queues) {
        if (!e && other != q && other->captured.issued > q->captured.seen.of(other->number))
            e = failed(CAPTURE_UNJOINED, name_of(q) + " does not wait for the captured work of " + name_of(other));
        other->capture = nullptr;
    }
    if (!e) *g = c->graph;
    return e;
}
API cudaStreamIsCapturing(Stream s, int* status) {
    Queue* q = at(s);
    if (auto c = capture_that_blocks(q)) return spoil(c, CAPTURE_IMPLICIT, "asking whether the legacy stream is capturing");
    return *status = !q->capture ? 0 : q->capture->spoilt ? 2 : 1, 0;
}
// the executable graph is the graph: neither changes any more
API cudaGraphInstantiate(Graph** exec, Graph* g, unsigned long long) { return *exec = g, 0; }
API cudaGraphUpload(Graph*, Stream) { return 0; }
API cudaGraphDestroy(Graph*) { return 0; }
API cudaGraphExecDestroy(Graph*) { return 0; }
API cudaGraphLaunch(Graph* g, Stream s) {
    if (at(s)->capture) return failed(UNSUPPORTED, "a graph inside of a graph is not emulated");
    saw(GRAPHS);
    return enqueue(at(s), "a graph", g->touches, [=] {
        for (auto& node : g->nodes)
            if (int e = node()) return e;
        return 0;
    });
}
