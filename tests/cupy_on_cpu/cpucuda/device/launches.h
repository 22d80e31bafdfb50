// Launches: what CUDA refuses, what the arguments point to, and a kernel's faults.
struct Fault { uintptr_t address; int signal; bool write; };
struct Running { bool fibers; sigjmp_buf back; Fault fault; };
static thread_local Running* running;
static const int faults[3] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction others[3];  // the handlers that ours replaced
static bool catching;

// ends the kernel, not the process
static void on_fault(int signal, siginfo_t* info, void* context) {
    if (!running) {  // no kernel's: the other handler's turn, when the instruction runs again
        catching = false;
        for (int i = 0; i < 3; ++i) sigaction(faults[i], &others[i], nullptr);
        return;
    }
    bool write = false;
#ifdef __x86_64__
    write = ((ucontext_t*)context)->uc_mcontext.gregs[REG_ERR] & 2;
#endif
    running->fault = {(uintptr_t)info->si_addr, signal, write};
    if (running->fibers) xpemu_fail("fault", "", 0);  // leaves this fiber, and the handler on it, for good
    siglongjmp(running->back, 1);
}
static std::string text_of(const Fault& f) {
    if (f.signal == SIGFPE) return "integer division by zero";
    return std::string(f.write ? "write to" : "read of") + " illegal address " + hex((void*)f.address) + ", " + describe((void*)f.address);
}

static void catch_faults() {
    if (catching) return;
    struct sigaction ours{};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 3; ++i) sigaction(faults[i], &ours, &others[i]);
    catching = true;
}

// pointers must be null or lead to memory of the kernel's device; their targets and one past the end are allowed
static int check_arguments(const Function* f, void** args, std::vector<Touch>& touches) {
    for (size_t i = 0; i < f->access.size(); ++i) {
        if (f->access[i] == '-') continue;
        const void* p = *(const void**)args[i];
        if (!p) continue;
        auto refuse = [&](const std::string& why) {
            return failed(ILLEGAL_ADDRESS, f->name + ": argument " + std::to_string(i) + " is " + hex(p) + ", " + why);
        };
        Region r{};
        if (!holds(p, 0, r)) return refuse(describe(p));
        if (r.kind == DEVICE && r.device != f->device)
            return refuse("memory of device " + std::to_string(r.device) + ", but the kernel runs on device " + std::to_string(f->device) +
                          ", which has no access to it");
        if (r.kind != HOST && p < r.start + r.size) touches.push_back({p, f->access[i] == 'w'});
    }
    return 0;
}

static std::mutex launch_lock;
static uint64_t launches[3];
extern "C" void cpucuda_launches(uint64_t* out) { memcpy(out, launches, sizeof launches); }
static void loop(Function* f, const unsigned* g, const unsigned* b, void** args) {
    bool one = f->mode == ONE_THREAD;  // a grid-stride loop: one thread does it all
    Context c{};
    c.bdim = one ? Idx{1, 1, 1} : Idx{b[0], b[1], b[2]};
    c.gdim = one ? Idx{1, 1, 1} : Idx{g[0], g[1], g[2]};
    c.cluster = 1;
    xpemu_current = &c;
    Idx &t = c.tid, &B = c.bid;
    for (B.z = 0; B.z < c.gdim.z; ++B.z)
        for (B.y = 0; B.y < c.gdim.y; ++B.y)
            for (B.x = 0; B.x < c.gdim.x; ++B.x)
                for (t.z = 0; t.z < c.bdim.z; ++t.z)
                    for (t.y = 0; t.y < c.bdim.y; ++t.y)
                        for (t.x = 0; t.x < c.bdim.x; ++t.x) f->entry(args);
}
static int run(Function* f, const unsigned* g, const unsigned* b, unsigned shared, void** args, bool cooperative) {
    std::lock_guard<std::mutex> hold(launch_lock);
    ++launches[f->mode];
    static const int order = getenv("XP_ORDER") ? atoi(getenv("XP_ORDER")) : 0;
    bool fibers = f->mode == FIBERS || shared || cooperative || f->cluster > 1;
    Running here{fibers};
    catch_faults();
    running = &here;
    char message[2048];
    int failure = 0;
    if (!sigsetjmp(here.back, 0)) {
        if (fibers)
            failure = xpemu_launch(f->entry, g, b, shared, f->cluster, cooperative, 1, args, order, 0, 1, nullptr, message, sizeof message);
        else loop(f, g, b, args);
    }
    running = nullptr;
    if (here.fault.signal) return failed(here.fault.signal == SIGFPE ? LAUNCH_FAILED : ILLEGAL_ADDRESS, f->name + ": " + text_of(here.fault));
    return failure ? failed(LAUNCH_FAILED, f->name + ": " + message) : 0;
}
// the kernel, and what it did around the memory that it was given
static int run_checked(Function* f, const unsigned* g, const unsigned* b, unsigned shared, void** args, bool cooperative, bool again) {
    std::vector<Touch> touches;
    if (again)
        if (int e = check_arguments(f, args, touches)) return e;
    if (int e = run(f, g, b, shared, args, cooperative)) return e;
    if (guard)
        for (size_t i = 0; i < f->access.size(); ++i)
            if (f->access[i] != '-' && *(void**)args[i])
                if (int e = check_canaries(*(void**)args[i], f->name)) return e;
    return 0;
}
static int launch(Function* f, std::array<unsigned, 3> g, std::array<unsigned, 3> b, unsigned shared, Stream s, void** args, bool cooperative) {
    uint64_t threads = (uint64_t)b[0] * b[1] * b[2];
    if (!threads || threads > 1024 || b[2] > 64 || !g[0] || !g[1] || !g[2] || g[1] > 65535 || g[2] > 65535 || g[0] > 0x7fffffffu ||
        (int)shared > f->max_dynamic)
        return INVALID_VALUE;
    Queue* q = at(s);
    if (q->destroyed || q->device != current_device || f->device != current_device)
        return failed(INVALID_HANDLE, f->name + ", loaded on device " + std::to_string(f->device) + ", launched on " + name_of(q) +
                                          (q->destroyed ? ", which is destroyed" : "") + " while device " + std::to_string(current_device) + " is current");
    std::vector<Touch> touches;
    if (int e = check_arguments(f, args, touches)) return e;
    if (!q->capture) saw_launch(f->name);
    if (!late && !q->capture)
        return enqueue(q, f->name.c_str(), touches, [&] { return run_checked(f, g.data(), b.data(), shared, args, cooperative, false); });
    size_t room = 0;
    for (auto n = f->sizes; *n; ++n) room += (*n + 15) / 16 * 16;
    auto values = std::make_shared<std::vector<long double>>(room / 16);  // of the alignment of anything
    auto pointers = std::make_shared<std::vector<void*>>();
    char* p = (char*)values->data();
    for (auto n = f->sizes; *n; p += (*n + 15) / 16 * 16, ++n) {
        memcpy(p, args[pointers->size()], *n);
        pointers->push_back(p);
    }
    return enqueue(q, f->name.c_str(), touches,
                   [=] { return run_checked(f, g.data(), b.data(), shared, pointers->data(), cooperative && values, true); });
}
API cuLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   Stream s, void** args, void**) {
    return launch(f, {gx, gy, gz}, {bx, by, bz}, shared, s, args, false);
}
API cuLaunchCooperativeKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, Stream s, void** args) {
    return launch(f, {gx, gy, gz}, {bx, by, bz}, shared, s, args, true);
}
