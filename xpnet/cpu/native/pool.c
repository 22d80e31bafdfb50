/* The pool: a generation counter that idle threads watch for a moment, then sleep on. */
#include "pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MOST 256
/* Looks at the counter before a thread sleeps, some 100 us: as long as Python needs for a few ops. */
#define LOOKS 5000

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_came = PTHREAD_COND_INITIALIZER, work_done = PTHREAD_COND_INITIALIZER;
static atomic_long generation;
static atomic_long next;
static atomic_int active, failed, wanted = 1;
static int is_open, sleeping, started;
static task job;
static void *job_context;
static long job_tasks;

static inline void breathe(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* ---- no memory: a thread leaves its task, the caller of the kernel gets to know ---- */

static _Thread_local jmp_buf *way_out;

static void no_memory(void) { longjmp(*way_out, 1); }

int attempt(task body, void *context) {
  jmp_buf here, *outer = way_out;
  way_out = &here;
  int failure = setjmp(here);
  if (!failure) body(context, 0);
  way_out = outer;
  return failure;
}

typedef struct {
  task body;
  void *context;
  long tasks;
} work;

static void take_all(void *mine, long unused) {
  (void)unused;
  const work *w = mine;
  for (long i; (i = atomic_fetch_add(&next, 1)) < w->tasks;) w->body(w->context, i);
}

static void take(task body, void *context, long tasks) {
  work w = {body, context, tasks};
  if (attempt(take_all, &w)) atomic_store(&failed, 1);
}

static void *worker(void *seen_before) {
  long seen = (long)seen_before;
  for (;;) {
    for (int look = 0; look < LOOKS && atomic_load(&generation) == seen; look++) breathe();
    pthread_mutex_lock(&mutex);
    while (atomic_load(&generation) == seen) {
      sleeping++;
      pthread_cond_wait(&work_came, &mutex);
      sleeping--;
    }
    seen = atomic_load(&generation);
    if (is_open && atomic_load(&active) < wanted - 1) {
      atomic_fetch_add(&active, 1);
      task body = job;
      void *context = job_context;
      long tasks = job_tasks;
      pthread_mutex_unlock(&mutex);
      take(body, context, tasks);
      pthread_mutex_lock(&mutex);
      if (atomic_fetch_sub(&active, 1) == 1) pthread_cond_signal(&work_done);
    }
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

/* A child of fork has the caller's thread alone. */
static void in_child(void) {
  pthread_mutex_init(&owner, NULL);
  pthread_mutex_init(&mutex, NULL);
  pthread_cond_init(&work_came, NULL);
  pthread_cond_init(&work_done, NULL);
  atomic_store(&active, 0);
  atomic_store(&failed, 0);
  is_open = sleeping = started = 0;
}

static void start(void) { /* with the mutex */
  static int told;
  if (!told) told = 1, pthread_atfork(NULL, NULL, in_child);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  for (; started < wanted - 1; started++) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, worker, (void *)atomic_load(&generation))) break;
  }
  pthread_attr_destroy(&attributes);
}

void share(long tasks, task body, void *context) {
  if (tasks < 2 || wanted < 2 || pthread_mutex_trylock(&owner)) {
    for (long i = 0; i < tasks; i++) body(context, i);
    return;
  }
  pthread_mutex_lock(&mutex);
  if (started < wanted - 1) start();
  job = body, job_context = context, job_tasks = tasks, is_open = 1;
  atomic_store(&next, 0);
  atomic_fetch_add(&generation, 1);
  if (sleeping) pthread_cond_broadcast(&work_came);
  pthread_mutex_unlock(&mutex);
  take(body, context, tasks);
  for (int look = 0; look < 10 * LOOKS && atomic_load(&active); look++) breathe();
  pthread_mutex_lock(&mutex);
  is_open = 0; /* who comes now finds nothing to do */
  while (atomic_load(&active)) pthread_cond_wait(&work_done, &mutex);
  pthread_mutex_unlock(&mutex);
  int failure = atomic_exchange(&failed, 0);
  pthread_mutex_unlock(&owner);
  if (failure) no_memory();
}

int pool_threads(void) { return wanted; }

void pool_set_threads(int count) {
  pthread_mutex_lock(&mutex);
  wanted = count < 1 ? 1 : count > MOST ? MOST : count;
  pthread_mutex_unlock(&mutex);
}

/* ---- scratch ---- */

typedef struct {
  void *memory[SCRATCH_SLOTS];
  long bytes[SCRATCH_SLOTS];
} room;

static pthread_key_t rooms;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void leave(void *mine) {
  for (int i = 0; i < SCRATCH_SLOTS; i++) free(((room *)mine)->memory[i]);
  free(mine);
}

static void make_key(void) { pthread_key_create(&rooms, leave); }

void *scratch(int slot, long bytes) {
  pthread_once(&once, make_key);
  room *mine = pthread_getspecific(rooms);
  if (!mine) {
    if (!(mine = calloc(1, sizeof *mine))) no_memory();
    pthread_setspecific(rooms, mine);
  }
  if (mine->bytes[slot] < bytes) {
    free(mine->memory[slot]);
    long size = (bytes + 63) / 64 * 64;
    mine->bytes[slot] = 0;
    if (!(mine->memory[slot] = aligned_alloc(64, size))) no_memory();
    mine->bytes[slot] = size;
  }
  return mine->memory[slot];
}
