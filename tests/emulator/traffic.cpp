// Counts the bytes that kernels load and store, by array: what -fsanitize=thread calls at every access, without its
// runtime. Stacks and shared memory lie in no array.
//
// What a block's threads load between two of their barriers or warp operations comes over the bus once, however many
// of them ask for it: the first brings it to the cache. Later loads count again.
#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" uint64_t xpemu_moment();  // of the runtime: the block, and how often the thread has waited for others

namespace {
constexpr int MOST = 64;
struct Array {
    uint64_t begin, end, loaded, stored;
    std::vector<uint64_t> seen;  // of every byte: when it was loaded last
} arrays[MOST];
int count = 0;

template <bool STORE> inline void note(const volatile void* p, uint64_t bytes) {
    const uint64_t at = (uint64_t)p;
    for (int i = 0; i < count; ++i)
        if (at >= arrays[i].begin && at < arrays[i].end) {
            Array& a = arrays[i];
            if (STORE) {
                a.stored += bytes;
                return;
            }
            const uint64_t now = xpemu_moment();
            for (uint64_t k = at - a.begin; k < at - a.begin + bytes && k < a.seen.size(); ++k) {
                a.loaded += a.seen[k] != now;
                a.seen[k] = now;
            }
            return;
        }
}
}  // namespace

extern "C" {
// of n arrays: where they begin, and end; the counts start at 0
void xpemu_watch(int n, const uint64_t* begins, const uint64_t* ends) {
    count = n < MOST ? n : MOST;
    for (int i = 0; i < count; ++i) arrays[i] = {begins[i], ends[i], 0, 0, std::vector<uint64_t>(ends[i] - begins[i], ~0ull)};
}
void xpemu_traffic(uint64_t* loaded, uint64_t* stored) {
    for (int i = 0; i < count; ++i) loaded[i] = arrays[i].loaded, stored[i] = arrays[i].stored;
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
#define ACCESS(n)                                                       \
    void __tsan_read##n(void* p) { note<false>(p, n); }                 \
    void __tsan_write##n(void* p) { note<true>(p, n); }                 \
    void __tsan_unaligned_read##n(void* p) { note<false>(p, n); }       \
    void __tsan_unaligned_write##n(void* p) { note<true>(p, n); }       \
    void __tsan_volatile_read##n(void* p) { note<false>(p, n); }        \
    void __tsan_volatile_write##n(void* p) { note<true>(p, n); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void* p, size_t n) { note<false>(p, n); }
void __tsan_write_range(void* p, size_t n) { note<true>(p, n); }

#define ATOMICS(bits, T)                                                                                             \
    T __tsan_atomic##bits##_load(const volatile T* p, int) { note<false>(p, sizeof(T)); return __atomic_load_n(p, 5); } \
    T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { note<true>(p, sizeof(T)); return __atomic_exchange_n(p, v, 5); } \
    T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { note<true>(p, sizeof(T)); return __atomic_fetch_add(p, v, 5); } \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {                          \
        note<true>(p, sizeof(T));                                                                                    \
        return __atomic_compare_exchange_n(p, e, v, false, 5, 5);                                                    \
    }
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
}
