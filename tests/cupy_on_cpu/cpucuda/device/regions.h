// Device memory is host memory: the live allocations, and with CPUCUDA_GUARD=1 fences around each.
//
// Fresh memory is poisoned with NaN. Guarded, an allocation has pages of its own: those before and after it
// may not be touched, the rest of its last page (CuPy wants its start at a multiple of 512) holds a pattern that is
// checked after each kernel, and freed memory may not be touched any more.
enum Kind { HOST = 1, DEVICE = 2, MANAGED = 3 };
struct Region {
    char* start;
    size_t size;
    Kind kind;
    int device;
    bool owned;
    size_t pages;  // bytes of the mapping that hold it, if guarded
};
static std::atomic<bool> guard{getenv("CPUCUDA_GUARD") && atoi(getenv("CPUCUDA_GUARD"))};
API cpucuda_guarded() { return guard; }
API cpucuda_set_guard(int on) { return guard.exchange(on); }
static const size_t PAGE = sysconf(_SC_PAGESIZE), FENCE = 16 * PAGE;
static const size_t QUARANTINE = 8192;  // freed regions kept: mappings are limited
static const unsigned char POISON = 0xff, CANARY = 0xc5;
static std::mutex memory_lock;
static std::map<const char*, Region> regions, freed;  // by start
static std::deque<const char*> freed_in_order;
static size_t used[MAX_DEVICES];

static size_t rounded(size_t size, size_t to) { return (std::max<size_t>(size, 1) + to - 1) / to * to; }
static const Region* find(const std::map<const char*, Region>& in, const void* p, size_t slack = 0) {
    auto it = in.upper_bound((const char*)p);
    if (it == in.begin()) return nullptr;
    --it;
    return (const char*)p < it->first + std::max<size_t>(it->second.size, 1) + slack ? &it->second : nullptr;
}
static char* map_guarded(size_t size, size_t& pages) {
    pages = rounded(rounded(size, 512), PAGE);
    char* m = (char*)mmap(nullptr, pages + 2 * FENCE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED || mprotect(m + FENCE, pages, PROT_READ | PROT_WRITE)) return nullptr;
    memset(m + FENCE, CANARY, pages);
    return m + FENCE + pages - rounded(size, 512);
}
static int allocate(void** p, size_t size, Kind kind) {
    std::lock_guard<std::mutex> hold(memory_lock);
    if (kind == DEVICE && used[current_device] + size > MEMORY) return OUT_OF_MEMORY;
    size_t pages = 0;
    if (guard && kind != HOST) {
        if (!(*p = map_guarded(size, pages))) return OUT_OF_MEMORY;
        memset(*p, POISON, size);
    } else {
        if (posix_memalign(p, 512, rounded(size, 512))) return OUT_OF_MEMORY;
        memset(*p, POISON, rounded(size, 512));
    }
    regions[(char*)*p] = {(char*)*p, size, kind, current_device, true, pages};
    if (kind == DEVICE) used[current_device] += size;
    return 0;
}
static std::string bytes(size_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }
static std::string hex(const void* p) {
    char text[32];
    return snprintf(text, sizeof text, "%p", p), text;
}
static std::string describe(const Region& r) {
    static const char* kinds[] = {"", "pinned host memory", "memory of device ", "managed memory"};
    return bytes(r.size) + " of " + (kinds[r.kind] + (r.kind == DEVICE ? std::to_string(r.device) : "")) + " at " + hex(r.start);
}
// what lies at an address that may not be used
static std::string describe(const void* p) {
    std::lock_guard<std::mutex> hold(memory_lock);
    if (auto r = find(regions, p)) return "inside of " + describe(*r);
    if (auto r = find(freed, p)) return "in freed memory, once " + describe(*r);
    std::string text = "in no live allocation: host memory, or freed";
    auto next = regions.upper_bound((const char*)p);
    if (next != regions.begin()) {
        auto& r = std::prev(next)->second;
        size_t past = (const char*)p - r.start - r.size;
        if (past < FENCE) return text + " (" + bytes(past) + " past the end of " + describe(r) + ")";
    }
    if (next != regions.end() && (size_t)(next->first - (const char*)p) < FENCE)
        text += " (" + bytes(next->first - (const char*)p) + " before " + describe(next->second) + ")";
    return text;
}
static std::string damage(const Region& r) {  // what a guarded allocation's surroundings tell; empty: nothing
    if (!r.pages) return "";
    const char *first = r.start + rounded(r.size, 512) - r.pages, *end = r.start + rounded(r.size, 512);
    auto hurt = [](const char* from, const char* to) -> const char* {
        for (; from < to; ++from)
            if ((unsigned char)*from != CANARY) return from;
        return nullptr;
    };
    if (auto p = hurt(r.start + r.size, end)) return "wrote " + bytes(p - r.start - r.size) + " past the end of " + describe(r);
    if (auto p = hurt(first, r.start)) return "wrote " + bytes(r.start - p) + " before the start of " + describe(r);
    return "";
}
static void heal(const Region& r) {  // once told, not again
    memset(r.start + rounded(r.size, 512) - r.pages, CANARY, r.pages - rounded(r.size, 512));
    memset(r.start + r.size, CANARY, rounded(r.size, 512) - r.size);
}
static int check_canaries(const Region& r, const std::string& who) {
    auto found = damage(r);
    return found.empty() ? 0 : (heal(r), failed(ILLEGAL_ADDRESS, who + ": " + found));
}
static int check_canaries() {
    if (!guard) return 0;
    std::lock_guard<std::mutex> hold(memory_lock);
    for (auto& entry : regions)
        if (int e = check_canaries(entry.second, "work before this synchronisation")) return e;
    return 0;
}
static int check_canaries(const void* p, const std::string& who) {
    std::lock_guard<std::mutex> hold(memory_lock);
    auto r = find(regions, p, 1);
    return r ? check_canaries(*r, who) : 0;
}
static int release(void* p) {
    if (!p) return 0;
    std::lock_guard<std::mutex> hold(memory_lock);
    auto it = regions.find((char*)p);
    if (it == regions.end() || !it->second.owned)
        return failed(INVALID_VALUE, "freed: an address " + hex(p) + (freed.count((char*)p) ? " that was freed before" : " that was never allocated"));
    Region r = it->second;
    int hurt = check_canaries(r, "work before this free");
    {
        std::lock_guard<std::mutex> hold(order_lock);
        places.forget(r.start, r.size);
    }
    if (r.kind == DEVICE) used[r.device] -= r.size;
    regions.erase(it);
    if (!r.pages) return free(p), hurt;
    char* first = r.start + rounded(r.size, 512) - r.pages;
    mmap(first, r.pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    freed[r.start] = r;
    freed_in_order.push_back(r.start);
    if (freed_in_order.size() > QUARANTINE) {
        Region old = freed[freed_in_order.front()];
        freed.erase(freed_in_order.front());
        freed_in_order.pop_front();
        munmap(old.start + rounded(old.size, 512) - old.pages - FENCE, old.pages + 2 * FENCE);
    }
    return hurt;
}
// which region holds the n bytes at p; no region and an error if none holds all of them
static bool holds(const void* p, size_t n, Region& out) {
    std::lock_guard<std::mutex> hold(memory_lock);
    auto r = find(regions, p, 1);
    if (!r || (const char*)p + n > r->start + r->size) return false;
    return out = *r, true;
}
