/* What a kernel gets: the arguments of the Python call, in order. */
#ifndef XPNET_KERNEL_H
#define XPNET_KERNEL_H

#include <stdint.h>

typedef struct {
  union {
    void *p; /* an array's first element, or NULL for None */
    float *f;
    double *g;
    int64_t i;
    double d;
  };
  long size; /* of an array, in bytes */
} argument;

/* signature: one letter an argument. r: array that is read; w: array that is written; i: integer; d: number. */
typedef struct {
  const char *name, *signature;
  void (*run)(const argument *a);
} kernel;

extern const kernel kernels_base[], kernels_avx2[], kernels_avx512[];

#endif
