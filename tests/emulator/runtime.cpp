// The emulator's runtime: fiber scheduler, barriers, warp operations, and the checks around them.
//
// It is never instrumented: under a sanitizer it tells the sanitizer which fiber runs and which
// happens-before edges the CUDA model grants, so that the tool judges the kernel by CUDA's rules.
#include <sys/mman.h>
#include <unistd.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include "switch.h"

namespace xpemu {
struct Idx { unsigned x, y, z; };
struct Context { Idx tid, bid, bdim, gdim; void* dynamic; unsigned lane, warp, rank, cluster; unsigned char result[16]; };
enum Op { OP_SHUFFLE, OP_SYNCWARP, OP_BALLOT };
enum Scope { BLOCK, CLUSTER, GRID };
enum Vote { OR, AND, COUNT };
}  // namespace xpemu
using namespace xpemu;

extern "C" Context* xpemu_current;
Context* xpemu_current;

// ---- state of a launch ------------------------------------------------------------------------------------
enum State { RUN, WAIT_BLOCK, WAIT_CLUSTER, WAIT_GRID, WAIT_WARP, DONE };
struct Fiber {
    Context ctx;
    Machine machine;
    char* stack = nullptr;
    State state;
    void *tsan = nullptr, *fake = nullptr;
    unsigned block, thread, mask;
    unsigned waits = 0;          // barriers and warp operations so far
    unsigned atomics = 0;        // recent atomics, whose edges a later fence completes (acquire side)
    void* atomic_at[8];
    bool fenced = false;         // a fence makes later atomics release everything before it
    const char* file;
    int line;
};
struct WarpOp {  // one warp operation under way
    bool used = false;
    unsigned mask, arrived;
    int op, size, line;
    const char* file;
    unsigned char value[32][8];
    int source[32];
};
struct Warp { WarpOp ops[4]; unsigned live = 0, exited = 0, phase = 0; char* token = nullptr; };
struct Block {
    unsigned live, waiting = 0, phase = 0, votes = 0, result = 0;
    const char* file;
    int line;
    char *token = nullptr, *arena = nullptr;
    void* dynamic;
    uint64_t static_bytes = 0;
    std::vector<std::pair<const void*, void*>> statics;
    std::vector<Warp> warps;
};

static size_t stack_size;
static std::vector<Fiber*> pool, fibers;
static std::vector<Block> blocks;
static std::vector<unsigned> ready, spinning;
static unsigned threads, group, grid_waiting, cluster_waiting, alive;
static Machine main_machine;
static Fiber* current;
static void *main_tsan, *main_fake;
static const void* main_stack;
static size_t main_stack_size;
static void (*entry_point)(void**);
static void** arguments;
static std::string error;
static bool aborted;
static int strict;
static uint64_t dynamic_bytes, rng, switches, barriers, warp_ops, static_most, yields;
static char launch_token, end_token, *cluster_token, *grid_token;
static unsigned cluster_phase, grid_phase;

static uint64_t random_bits() {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}
// byte loops on volatile: memcpy and memset are intercepted by sanitizers
static void copy(void* d, const void* s, size_t n) {
    auto a = (volatile char*)d;
    auto b = (const volatile char*)s;
    while (n--) *a++ = *b++;
}
static void fill(void* d, int v, size_t n) {
    auto a = (volatile char*)d;
    while (n--) *a++ = (char)v;
}
static std::string num(uint64_t n) { return std::to_string(n); }
static std::string site(const char* file, int line) {
    const char* base = strrchr(file, '/');
    return std::string(base ? base + 1 : file) + ":" + num(line);
}
static void fail(const std::string& message) {
    if (!aborted) aborted = true, error = message;
}

static void to_scheduler() {
    Fiber* f = current;
    if (asan) __sanitizer_start_switch_fiber(&f->fake, main_stack, main_stack_size);
    if (tsan) __tsan_switch_to_fiber(main_tsan, 1);
    machine_swap(f->machine, main_machine);
    if (asan) __sanitizer_finish_switch_fiber(f->fake, nullptr, nullptr);
}
static void die(const std::string& message) {
    fail(message);
    to_scheduler();  // the launch is aborted: this fiber never runs again
}
static void wake(Fiber* f) {
    f->state = RUN;
    ready.push_back(f->block * threads + f->thread);
}
static void release_block(unsigned b) {
    Block& B = blocks[b];
    B.result = B.votes;
    B.waiting = 0;
    B.phase ^= 1;
    ++barriers;
    for (unsigned t = 0; t < threads; ++t)
        if (fibers[b * threads + t]->state == WAIT_BLOCK) wake(fibers[b * threads + t]);
}
static void release_group(State s) {
    if (s == WAIT_CLUSTER) cluster_waiting = 0, cluster_phase ^= 1;
    else grid_waiting = 0, grid_phase ^= 1;
    for (auto f : fibers)
        if (f->state == s) wake(f);
}
static void complete(unsigned b, unsigned w, WarpOp& S) {
    unsigned ballot = 0;
    for (int i = 0; i < 32; ++i)
        if (S.arrived >> i & 1) {
            unsigned p;
            memcpy(&p, S.value[i], 4);
            if (p) ballot |= 1u << i;
        }
    for (int i = 0; i < 32; ++i)
        if (S.arrived >> i & 1) {
            Fiber* f = fibers[b * threads + w * 32 + i];
            int s = S.source[i];
            if (S.op != OP_SHUFFLE) memcpy(f->ctx.result, &ballot, 4);
            else if (s < 0 || s > 31 || !(S.arrived >> s & 1)) memset(f->ctx.result, 0xff, 8);  // undefined in CUDA
            else memcpy(f->ctx.result, S.value[s], 8);
            wake(f);
        }
    S.used = false;
    blocks[b].warps[w].phase ^= 1;
    ++warp_ops;
}
static void thread_exits(Fiber* f) {
    Block& B = blocks[f->block];
    Warp& W = B.warps[f->ctx.warp];
    f->state = DONE;
    --alive;
    --B.live;
    W.live &= ~(1u << f->ctx.lane);
    W.exited |= 1u << f->ctx.lane;
    if (strict) {
        for (auto& S : W.ops)
            if (S.used && (S.mask & W.exited))
                fail("thread " + num(f->thread) + " exited, but the warp operation at " + site(S.file, S.line) + " names its lane");
        if (B.waiting)
            fail("thread " + num(f->thread) + " exited while others wait at __syncthreads " + site(B.file, B.line));
    }
    // a finished block's shared memory is gone: peers of the cluster that still read it get poison
    if (!B.live && group > 1 && dynamic_bytes) fill(B.dynamic, 0xff, dynamic_bytes);
    if (B.waiting && B.waiting == B.live) release_block(f->block);
    for (auto& S : W.ops)
        if (S.used && S.arrived == (S.mask & W.live)) complete(f->block, f->ctx.warp, S);
    if (cluster_waiting && cluster_waiting == alive) release_group(WAIT_CLUSTER);
    if (grid_waiting && grid_waiting == alive) release_group(WAIT_GRID);
}
static void fiber_main() {
    if (asan) __sanitizer_finish_switch_fiber(nullptr, &main_stack, &main_stack_size);
    if (tsan) __tsan_acquire(&launch_token);
    entry_point(arguments);
    if (tsan) __tsan_release(&end_token);
    thread_exits(current);
    to_scheduler();
    abort();
}

// ---- what kernels call ------------------------------------------------------------------------------------
extern "C" unsigned xpemu_barrier(int scope, int vote, unsigned predicate, const char* file, int line) {
    Fiber* f = current;
    Block& B = blocks[f->block];
    ++f->waits;
    f->file = file;
    f->line = line;
    char* token;
    if (scope == BLOCK) {
        if (strict && B.live != threads)
            fail("__syncthreads " + site(file, line) + " after " + num(threads - B.live) + " threads of the block have exited");
        if (B.waiting && (B.line != line || strcmp(B.file, file)))
            fail("threads of one block wait at different __syncthreads: " + site(B.file, B.line) + " and " + site(file, line));
        if (!B.waiting) B.votes = vote == AND;
        B.votes = vote == AND ? (B.votes & predicate) : vote == COUNT ? B.votes + predicate : (B.votes | predicate);
        B.file = file;
        B.line = line;
        token = B.token + 8 * B.phase;
        f->state = WAIT_BLOCK;
        if (tsan) __tsan_release(token);
        if (++B.waiting == B.live) release_block(f->block);
    } else {
        bool cluster = scope == CLUSTER;
        token = cluster ? cluster_token + 8 * cluster_phase : grid_token + 8 * grid_phase;
        f->state = cluster ? WAIT_CLUSTER : WAIT_GRID;
        if (tsan) __tsan_release(token);
        unsigned& waiting = cluster ? cluster_waiting : grid_waiting;
        if (++waiting == alive) release_group(f->state);
    }
    to_scheduler();
    if (tsan) __tsan_acquire(token);
    return blocks[f->block].result;
}
extern "C" void xpemu_warp(int op, unsigned mask, const void* v, int size, int source, const char* file, int line) {
    Fiber* f = current;
    Warp& W = blocks[f->block].warps[f->ctx.warp];
    unsigned lane = f->ctx.lane;
    ++f->waits;
    f->file = file;
    f->line = line;
    f->mask = mask;
    if (!(mask >> lane & 1)) die("lane " + num(lane) + " is not in its own mask at " + site(file, line));
    if (strict && (mask & W.exited)) die("warp operation at " + site(file, line) + " names lanes that have exited");
    WarpOp* S = nullptr;
    for (auto& s : W.ops)
        if (s.used && s.mask == mask) S = &s;
    if (!S) {
        for (auto& s : W.ops)
            if (s.used && (s.mask & mask))
                die("overlapping warp masks at " + site(s.file, s.line) + " and " + site(file, line));
        for (auto& s : W.ops)
            if (!s.used) {
                S = &s;
                break;
            }
        if (!S) die("more than 4 warp operations of one warp under way at " + site(file, line));
        S->used = true;
        S->mask = mask;
        S->arrived = 0;
        S->op = op;
        S->size = size;
        S->file = file;
        S->line = line;
    }
    if (S->op != op || S->line != line || S->size != size)
        fail("lanes of one warp meet at different warp operations: " + site(S->file, S->line) + " and " + site(file, line));
    fill(S->value[lane], 0, 8);
    copy(S->value[lane], v, size);
    S->source[lane] = source;
    S->arrived |= 1u << lane;
    // a shuffle moves a value but orders no memory; only __syncwarp does
    char* token = W.token + 8 * W.phase;
    f->state = WAIT_WARP;
    if (tsan && op == OP_SYNCWARP) __tsan_release(token);
    if (S->arrived == (mask & W.live)) complete(f->block, f->ctx.warp, *S);
    to_scheduler();
    if (tsan && op == OP_SYNCWARP) __tsan_acquire(token);
}
// the running block, and how often its running thread has waited for others
extern "C" uint64_t xpemu_moment(void) {
    const Context& c = current->ctx;
    return (((uint64_t)c.bid.z * c.gdim.y + c.bid.y) * c.gdim.x + c.bid.x) << 32 | current->waits;
}

extern "C" void xpemu_fence(void) {
    if (!tsan) return;
    for (unsigned i = 0; i < current->atomics && i < 8; ++i) __tsan_acquire(current->atomic_at[i]);
    current->atomics = 0;
    current->fenced = true;
}
extern "C" void xpemu_atomic(const volatile void* p) {  // relaxed: an edge only together with fences
    if (!tsan) return;
    if (current->fenced) __tsan_release((void*)p);
    current->atomic_at[current->atomics++ % 8] = (void*)p;
}
extern "C" void xpemu_yield(void) {  // this thread waits for memory: the others go first
    if (++yields > 20000000) die("a thread waits for ever for what another one should write");
    spinning.push_back(current->block * threads + current->thread);
    to_scheduler();
}
extern "C" void* xpemu_map_shared(void* p, unsigned rank) {
    if (rank >= group) die("map_shared_rank out of the cluster");
    return (char*)blocks[rank].dynamic + ((char*)p - (char*)blocks[current->block].dynamic);
}
extern "C" void* xpemu_static_shared(const void* key, uint64_t size, uint64_t align) {
    Block& B = blocks[current->block];
    for (auto& e : B.statics)
        if (e.first == key) return e.second;
    if (B.static_bytes + size > 48 * 1024) die("static shared memory over 48 KiB");
    void* p = nullptr;
    if (tsan) {  // no malloc inside a fiber
        B.static_bytes = (B.static_bytes + 127) & ~127ull;
        p = B.arena + B.static_bytes;
    } else if (posix_memalign(&p, align < 16 ? 16 : align, size)) abort();
    fill(p, 0xff, size);  // poison; the heap gives AddressSanitizer its red zones
    B.statics.push_back({key, p});
    B.static_bytes += size;
    if (B.static_bytes > static_most) static_most = B.static_bytes;
    return p;
}
extern "C" void xpemu_fail(const char* message, const char* file, int line) {
    die(std::string(message) + " at " + site(file, line));
}

// ---- launching --------------------------------------------------------------------------------------------
static const uint64_t ARENA = 58 << 10;  // per block under tsan: 57 KiB of static shared memory, then its tokens

static Fiber* new_fiber() {
    if (!stack_size) stack_size = asan ? 256 << 10 : tsan ? 32 << 10 : 64 << 10;  // tsan clears them for every launch
    auto f = new Fiber;
    size_t page = sysconf(_SC_PAGESIZE);
    char* m = (char*)mmap(nullptr, stack_size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) abort();
    mprotect(m, page, PROT_NONE);  // a stack overflow faults
    f->stack = m + page;
    return f;
}
static std::string deadlock() {
    static const char* where[] = {"", "__syncthreads", "cluster.sync", "grid.sync", "a warp operation", ""};
    unsigned count[6] = {};
    Fiber* example[6] = {};
    for (auto f : fibers) {
        ++count[f->state];
        if (!example[f->state]) example[f->state] = f;
    }
    std::string m = "deadlock:";
    for (int s = WAIT_BLOCK; s <= WAIT_WARP; ++s)
        if (count[s]) m += " " + num(count[s]) + " threads wait at " + where[s] + " " + site(example[s]->file, example[s]->line) + ";";
    return m + " " + num(count[DONE]) + " have exited";
}
static void run_group(const unsigned* g, const unsigned* b, uint64_t index, bool solo, char* slab, uint64_t per, int order) {
    ready.clear();
    spinning.clear();
    alive = threads * group;
    cluster_waiting = grid_waiting = cluster_phase = grid_phase = 0;
    uint64_t aligned = (dynamic_bytes + 127) & ~127ull;
    for (unsigned i = 0; i < group; ++i) {
        Block& B = blocks[i] = Block();
        B.live = threads;
        B.warps.assign((threads + 31) / 32, Warp());
        B.statics.reserve(64);
        if (tsan) {
            B.dynamic = slab + per * (index * group + i);
            B.arena = (char*)B.dynamic + aligned;
            B.token = B.arena + (57 << 10);
            for (size_t w = 0; w < B.warps.size(); ++w) B.warps[w].token = B.token + 64 + 16 * w;
            if (!i) cluster_token = B.token + 16, grid_token = B.token + 32;
        } else B.dynamic = malloc(dynamic_bytes ? dynamic_bytes : 1);
        fill(B.dynamic, 0xff, dynamic_bytes);
        uint64_t linear = index * group + i;
        for (unsigned t = 0; t < threads; ++t) {
            Fiber* f = fibers[i * threads + t];
            f->block = i;
            f->thread = t;
            f->state = RUN;
            f->fake = nullptr;
            f->ctx.tid = {t % b[0], t / b[0] % b[1], t / (b[0] * b[1])};
            f->ctx.bid = {(unsigned)(linear % g[0]), (unsigned)(linear / g[0] % g[1]), (unsigned)(linear / ((uint64_t)g[0] * g[1]))};
            f->ctx.bdim = {b[0], b[1], b[2]};
            f->ctx.gdim = {g[0], g[1], g[2]};
            f->ctx.dynamic = B.dynamic;
            f->waits = 0;
            f->ctx.lane = t & 31;
            f->ctx.warp = t >> 5;
            f->ctx.rank = solo ? 0 : i;
            f->ctx.cluster = solo ? 1 : group;
            B.warps[t >> 5].live |= 1u << (t & 31);
            if (asan) __asan_unpoison_memory_region(f->stack, stack_size);
            if (tsan) {  // a new mapping: no history of the stack's last user, and no edge to it
                mmap(f->stack, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
                f->tsan = __tsan_create_fiber(0);
                f->fenced = false;
                f->atomics = 0;
            }
            machine_make(f->machine, f->stack, stack_size, fiber_main);
            ready.push_back(i * threads + t);
        }
    }
    std::vector<unsigned> now;
    now.reserve(fibers.size());
    ready.reserve(fibers.size());
    spinning.reserve(fibers.size());
    while (!aborted && alive) {
        if (ready.empty()) ready.swap(spinning);
        if (ready.empty()) {
            fail(deadlock());
            break;
        }
        if (order == 3) {  // depth first: some warps run far ahead of the others
            size_t k = ready.size() > 1 && random_bits() % 8 == 0 ? random_bits() % ready.size() : ready.size() - 1;
            now.assign(1, ready[k]);
            ready.erase(ready.begin() + k);
        } else {
            now.swap(ready);
            ready.clear();
        }
        if (order == 1) for (size_t i = 0, j = now.size() - 1; i < j; ++i, --j) std::swap(now[i], now[j]);
        if (order == 2) for (size_t i = now.size(); i > 1; --i) std::swap(now[i - 1], now[random_bits() % i]);
        for (unsigned id : now) {
            if (aborted) break;
            current = fibers[id];
            xpemu_current = &current->ctx;
            ++switches;
            if (asan) __sanitizer_start_switch_fiber(&main_fake, current->stack, stack_size);
            if (tsan) __tsan_switch_to_fiber(current->tsan, 1);
            machine_swap(main_machine, current->machine);
            if (asan) __sanitizer_finish_switch_fiber(main_fake, nullptr, nullptr);
        }
    }
    if (!tsan)
        for (auto& B : blocks) {
            free(B.dynamic);
            for (auto& e : B.statics) free(e.second);
        }
}

// order: 0 first to last, 1 last to first, 2 random, 3 random and depth first
extern "C" int xpemu_launch(void (*kernel)(void**), const unsigned* g, const unsigned* b, uint64_t shared, unsigned cluster,
                            int cooperative, unsigned resident, void** args, int order, uint64_t seed, int be_strict,
                            uint64_t* stats, char* message, size_t length) {
    error.clear();
    aborted = false;
    strict = be_strict;
    dynamic_bytes = shared;
    rng = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
    threads = b[0] * b[1] * b[2];
    uint64_t nblocks = (uint64_t)g[0] * g[1] * g[2];
    switches = barriers = warp_ops = static_most = yields = 0;
    auto bad = [&](const char* m) { return snprintf(message, length, "%s", m), 1; };
    if (!threads || threads > 1024 || b[2] > 64) return bad("invalid block size");
    if (!nblocks || g[1] > 65535 || g[2] > 65535 || g[0] > 0x7fffffffu) return bad("invalid grid size");
    if (shared > 227 * 1024) return bad("dynamic shared memory over 227 KiB");
    if (cluster > 1 && (g[0] % cluster || cluster > 16)) return bad("grid is not a multiple of the cluster size");
    bool solo = cluster <= 1 && !cooperative;
    group = cooperative ? nblocks : cluster ? cluster : 1;
    if (solo && resident > 1) {  // several independent blocks on one "multiprocessor", interleaved
        if (resident > nblocks) resident = nblocks;
        while (nblocks % resident) --resident;
        group = resident;
    }
    entry_point = kernel;
    arguments = args;
    while (pool.size() < (size_t)threads * group) pool.push_back(new_fiber());
    fibers.assign(pool.begin(), pool.begin() + threads * group);
    blocks.assign(group, Block());
    // under tsan every block gets its own shared memory up front: the only edges are the kernel's own
    uint64_t per = ((shared + 127) & ~127ull) + ARENA;
    char* slab = nullptr;
    if (tsan) {
        if (per * nblocks > (2ull << 30)) return bad("grid too large for the race detector");
        slab = (char*)malloc(per * nblocks);
        main_tsan = __tsan_get_current_fiber();
        __tsan_release(&launch_token);
    }
    uint64_t groups = nblocks / group;
    std::vector<uint64_t> sequence(groups);
    for (uint64_t i = 0; i < groups; ++i) sequence[i] = order == 1 ? groups - 1 - i : i;
    if (order >= 2) for (uint64_t i = groups; i > 1; --i) std::swap(sequence[i - 1], sequence[random_bits() % i]);
    std::vector<void*> dead;  // a race detector's identity that is reused inherits the dead thread's history
    for (uint64_t i = 0; i < groups && !aborted; ++i) {
        run_group(g, b, sequence[i], solo, slab, per, order);
        if (tsan) for (auto f : fibers) dead.push_back(f->tsan);
        if (dead.size() > 6000) {
            for (auto d : dead) __tsan_destroy_fiber(d);
            dead.clear();
        }
    }
    if (tsan) {
        __tsan_acquire(&end_token);
        for (auto d : dead) __tsan_destroy_fiber(d);
        free(slab);
    }
    if (stats) stats[0] = switches, stats[1] = barriers, stats[2] = warp_ops, stats[3] = static_most;
    if (aborted) return snprintf(message, length, "%s", error.c_str()), 1;
    return 0;
}
