// Streams and events, as CuPy calls them.
API cudaStreamCreateWithPriority(Stream* s, unsigned flags, int priority) {
    return legacy(current_device), *s = new_queue(current_device, flags, priority), 0;
}
API cudaStreamCreate(Stream* s) { return cudaStreamCreateWithPriority(s, 0, 0); }
API cudaStreamCreateWithFlags(Stream* s, unsigned flags) { return cudaStreamCreateWithPriority(s, flags, 0); }
API cudaStreamGetFlags(Stream s, unsigned* f) { return *f = at(s)->flags, 0; }
API cudaStreamGetPriority(Stream s, int* p) { return *p = at(s)->priority, 0; }
API cudaStreamDestroy(Stream s) {  // kept: events may still name it
    Queue* q = at(s);
    if (late) {
        std::lock_guard<std::recursive_mutex> hold(device_lock);
        drain(q, q->issued);
    }
    std::lock_guard<std::mutex> hold(order_lock);
    if (q->blocking()) see(legacy(q->device)->line.seen, q);
    return q->destroyed = true, 0;
}
API cudaStreamSynchronize(Stream s) {
    Queue* q = at(s);
    if (int e = no_capture_on(q, "synchronisation")) return e;
    // the copy before has waited already, and CuPy's .get() is one wait for the host, not two
    if (q->waited && q->waited == q->line.issued) q->waited = 0;
    else saw(SYNCHRONISATIONS, "cudaStreamSynchronize");
    int e = finish(q);
    return e ? e : check_canaries();
}
API cudaDeviceSynchronize() {
    if (int e = no_capture_on_device(current_device, "synchronisation")) return e;
    saw(SYNCHRONISATIONS, "cudaDeviceSynchronize");
    int e = finish_all(current_device);
    return e ? e : check_canaries();
}
static int query(Queue* q, uint64_t ticket) {  // polling makes progress, so that it ends
    if (q->done >= ticket) return 0;
    if (device_lock.try_lock()) {
        drain(q, q->done + 1);
        device_lock.unlock();
    }
    return NOT_READY;
}
API cudaStreamQuery(Stream s) {
    Queue* q = at(s);
    if (int e = no_capture_on(q, "query")) return e;
    int e = query(q, q->issued);
    if (!e) {
        std::lock_guard<std::mutex> hold(order_lock);
        see(host_clock, q);
    }
    return e;
}
API cudaStreamWaitEvent(Stream s, Event* e, unsigned) {
    Queue* q = at(s);
    std::lock_guard<std::recursive_mutex> capturing(captures_lock);
    if (!e->queue) return 0;
    if (e->capture) {  // the fork of a capture, or its join
        if (!captures.count(e->capture)) return failed(INVALID_VALUE, "the event was recorded in a capture that has ended");
        if (!q->capture) {
            if (is_legacy(q)) return spoil(e->capture, CAPTURE_IMPLICIT, "the legacy stream waits for a captured event");
            join(q, e->capture);
        } else if (q->capture != e->capture) return spoil(q->capture, CAPTURE_MERGE, "the event belongs to another capture");
        return q->captured.seen.merge(e->seen), 0;
    }
    if (q->capture) return spoil(q->capture, CAPTURE_ISOLATION, "waits for an event that was recorded outside of the capture");
    {
        std::lock_guard<std::mutex> hold(order_lock);
        q->line.seen.merge(e->seen);
    }
    if (!late) return 0;
    std::lock_guard<std::recursive_mutex> hold(device_lock);
    Queue* other = e->queue;
    uint64_t ticket = e->ticket;
    if (q != other) push(q, [=] { return drain(other, ticket), 0; });
    return 0;
}
API cudaLaunchHostFunc(Stream s, void (*f)(void*), void* data) {
    Queue* q = at(s);
    if (q->capture) return enqueue(q, "a host function", {}, [=] { return f(data), 0; });
    int e = finish(q);
    return f(data), e;
}
API cudaStreamAddCallback(Stream s, void (*f)(Stream, int, void*), void* data, unsigned) {
    if (int e = no_capture_on(at(s), "callback")) return e;
    int e = finish(at(s));
    return f(s, e, data), 0;
}
API cudaEventCreateWithFlags(Event** e, unsigned) { return *e = new Event{{}, current_device}, 0; }
API cudaEventCreate(Event** e) { return cudaEventCreateWithFlags(e, 0); }
API cudaEventDestroy(Event*) { return 0; }  // kept: queued work may name it
API cudaEventRecord(Event* e, Stream s) {
    Queue* q = at(s);
    if (q->destroyed || e->device != q->device)
        return failed(INVALID_HANDLE, "the event belongs to device " + std::to_string(e->device) + ", it is recorded in " + name_of(q));
    std::lock_guard<std::recursive_mutex> capturing(captures_lock), hold(device_lock);
    int status = enqueue(q, "an event", {}, [=] { return e->time = std::chrono::steady_clock::now(), 0; });
    std::lock_guard<std::mutex> order(order_lock);
    Line& line = q->capture ? q->captured : q->line;
    e->seen = line.seen;
    e->seen.reach(q->number, line.issued);
    return e->queue = q, e->ticket = q->issued, e->capture = q->capture, status;
}
static int not_captured(Event* e, const char* what) {
    if (!e->capture) return 0;
    auto message = std::string(what) + " of an event that was recorded in a capture";
    std::lock_guard<std::recursive_mutex> hold(captures_lock);
    return captures.count(e->capture) ? spoil(e->capture, CAPTURED_EVENT, message) : failed(CAPTURED_EVENT, message);
}
API cudaEventQuery(Event* e) {
    if (int refused = not_captured(e, "query")) return refused;
    if (int refused = unsafe("cudaEventQuery")) return refused;
    int status = e->queue ? query(e->queue, e->ticket) : 0;
    if (!status) host_sees(e->seen);
    return status;
}
API cudaEventSynchronize(Event* e) {
    if (int refused = not_captured(e, "synchronisation")) return refused;
    saw(SYNCHRONISATIONS, "cudaEventSynchronize");
    host_sees(e->seen);
    if (!late || !e->queue) return 0;
    std::lock_guard<std::recursive_mutex> hold(device_lock);
    drain(e->queue, e->ticket);
    return take_sticky();
}
API cudaEventElapsedTime(float* ms, Event* a, Event* b) {
    return *ms = std::chrono::duration<float, std::milli>(b->time - a->time).count(), 0;
}
