/* Threads that share the tasks of one caller. */
#ifndef XPNET_POOL_H
#define XPNET_POOL_H

typedef void (*task)(void *context, long index);

/* Call body(context, 0), ..., body(context, tasks - 1), each once, in any order and in several threads.
 *
 * The caller takes tasks like every thread, so a thread that has no core delays no more than the task it
 * holds. What a task computes must depend on its index alone: results are then the same for any number of
 * threads. While one caller has the pool, others run their tasks alone. */
void share(long tasks, task body, void *context);

/* The most threads that work at once, the caller among them. */
int pool_threads(void);
void pool_set_threads(int count);

/* body(context, 0); 1 if it ended early because `scratch` found no memory. */
int attempt(task body, void *context);

/* Memory of this thread, at least `bytes` of it and 64-byte aligned, until its next call with this slot. Where
 * there is none the work ends: `attempt`, which must be around it, says so. */
void *scratch(int slot, long bytes);
#define SCRATCH_SLOTS 5

#endif
