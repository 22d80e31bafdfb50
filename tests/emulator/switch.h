// Switching between fibers' stacks, and the hooks by which a sanitizer is told of it.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
// present only in a process that runs under that sanitizer
__attribute__((weak)) void __sanitizer_start_switch_fiber(void**, const void*, size_t);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, size_t);
__attribute__((weak)) void* __tsan_create_fiber(unsigned);
__attribute__((weak)) void* __tsan_get_current_fiber(void);
__attribute__((weak)) void __tsan_switch_to_fiber(void*, unsigned);
__attribute__((weak)) void __tsan_destroy_fiber(void*);
__attribute__((weak)) void __tsan_acquire(void*);
__attribute__((weak)) void __tsan_release(void*);
}
static const bool asan = __sanitizer_start_switch_fiber, tsan = __tsan_create_fiber;

// ---- switching stacks -----------------------------------------------------------------------------------
#if defined(__x86_64__) && !defined(XPEMU_UCONTEXT)
extern "C" void xpemu_swap(void** save, void* load);
asm(R"(.text
.globl xpemu_swap
.hidden xpemu_swap
xpemu_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
struct Machine { void* sp = nullptr; };
static void machine_make(Machine& m, char* stack, size_t size, void (*entry)()) {
    void** p = (void**)(((uintptr_t)stack + size) & ~15ull);
    *--p = nullptr;  // rsp % 16 == 8 at entry
    *--p = (void*)entry;
    for (int i = 0; i < 6; ++i) *--p = nullptr;
    m.sp = p;
}
static inline void machine_swap(Machine& from, Machine& to) { xpemu_swap(&from.sp, to.sp); }
#else
#include <ucontext.h>
struct Machine { ucontext_t c; };
static void machine_make(Machine& m, char* stack, size_t size, void (*entry)()) {
    getcontext(&m.c);
    m.c.uc_stack.ss_sp = stack;
    m.c.uc_stack.ss_size = size;
    m.c.uc_link = nullptr;
    makecontext(&m.c, entry, 0);
}
static inline void machine_swap(Machine& from, Machine& to) { swapcontext(&from.c, &to.c); }
#endif
