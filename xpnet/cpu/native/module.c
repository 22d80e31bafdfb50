/* The Python module: `run(kernel, *arguments)` for the widest instruction set of this machine. */
#define PY_SSIZE_T_CLEAN
#include <pyconfig.h>
#if !defined(Py_GIL_DISABLED) /* which has no stable ABI */
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <stdlib.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <string.h>

#include "kernel.h"
#include "pool.h"

#define MOST_ARGUMENTS 24

static const kernel *kernels = kernels_base;
static const char *instructions = "base";
static long number; /* of kernels */
static const kernel *product_kernel;

static int bad(const kernel *k, long i, const char *expected) {
  PyErr_Format(PyExc_TypeError, "%s: argument %ld: expected %s", k->name, i, expected);
  return -1;
}

static int parse(const kernel *k, long i, PyObject *value, argument *a, Py_buffer *view, int *views) {
  switch (k->signature[i]) {
    case 'i': a->i = PyLong_AsLongLong(value); return a->i == -1 && PyErr_Occurred() ? -1 : 0;
    case 'd': a->d = PyFloat_AsDouble(value); return a->d == -1 && PyErr_Occurred() ? -1 : 0;
  }
  a->p = NULL;
  a->size = 0;
  if (value == Py_None) return 0;
  if (PyObject_GetBuffer(value, view, k->signature[i] == 'w' ? PyBUF_WRITABLE : PyBUF_SIMPLE)) {
    PyErr_Clear();
    return bad(k, i, k->signature[i] == 'w' ? "a contiguous array that can be written" : "a contiguous array");
  }
  ++*views;
  a->p = view->buf;
  a->size = view->len;
  return 0;
}

typedef struct {
  const kernel *kernel;
  const argument *arguments;
} call;

static void run_kernel(void *context, long unused) {
  (void)unused;
  const call *c = context;
  c->kernel->run(c->arguments);
}

static PyObject *run(PyObject *module, PyObject *const *args, Py_ssize_t count) {
  (void)module;
  long index = count ? PyLong_AsLong(args[0]) : -1;
  if (index < 0 || index >= number) {
    if (!PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "run: there is no kernel %ld", index);
    return NULL;
  }
  const kernel *k = &kernels[index];
  argument a[MOST_ARGUMENTS];
  Py_buffer view[MOST_ARGUMENTS];
  int views = 0, ok = count - 1 == (Py_ssize_t)strlen(k->signature);
  if (!ok) PyErr_Format(PyExc_TypeError, "%s: expected %zd arguments, got %zd", k->name, strlen(k->signature), count - 1);
  for (long i = 0; ok && i < count - 1; i++) ok = !parse(k, i, args[i + 1], &a[i], &view[views], &views);
  if (ok) {
    call c = {k, a};
    int failure;
    Py_BEGIN_ALLOW_THREADS
    failure = attempt(run_kernel, &c);
    Py_END_ALLOW_THREADS
    if (failure) PyErr_Format(PyExc_MemoryError, "%s: no memory for its intermediate results", k->name), ok = 0;
  }
  while (views) PyBuffer_Release(&view[--views]);
  if (!ok) return NULL;
  Py_RETURN_NONE;
}

/* A matrix of floats with steps between its values that a product can follow; its sizes must not be 0. */
static int matrix(PyObject *value, int flags, Py_buffer *view) {
  if (PyObject_GetBuffer(value, view, flags | PyBUF_STRIDES | PyBUF_FORMAT)) return PyErr_Clear(), 0;
  const char *format = view->format;
  if (format && format[0] == 'f' && !format[1] && view->ndim == 2 && view->shape[0] > 0 && view->shape[1] > 0 &&
      view->strides[0] > 0 && view->strides[1] > 0 && !(view->strides[0] % 4) && !(view->strides[1] % 4))
    return 1;
  return PyBuffer_Release(view), 0;
}

/* matmul(a, b, out, bias, relu): out = a b + bias, or its ReLU; False, and nothing is done, of what is no matrix of
 * float32 or does not fit. `out` is contiguous, and so is the bias or it is None. */
static PyObject *matmul(PyObject *module, PyObject *const *args, Py_ssize_t count) {
  (void)module;
  if (count != 5) return PyErr_Format(PyExc_TypeError, "matmul: expected 5 arguments, got %zd", count);
  Py_buffer view[4];
  int views = 0, flags[3] = {0, 0, PyBUF_WRITABLE};
  while (views < 3 && matrix(args[views], flags[views], &view[views])) views++;
  int fits = views == 3;
  argument x[13];
  if (fits) {
    const Py_buffer *a = &view[0], *b = &view[1], *c = &view[2];
    long m = a->shape[0], k = a->shape[1], n = b->shape[1];
    fits = b->shape[0] == k && c->shape[0] == m && c->shape[1] == n && c->strides[1] == 4 && c->strides[0] == 4 * n;
    x[0].p = a->buf, x[1].i = a->strides[0] / 4, x[2].i = a->strides[1] / 4;
    x[3].p = b->buf, x[4].i = b->strides[0] / 4, x[5].i = b->strides[1] / 4;
    x[6].p = c->buf, x[7].i = n, x[8].i = m, x[9].i = n, x[10].i = k, x[11].p = NULL, x[12].i = args[4] == Py_True;
    /* of vectors as matrices, a step of 1 is the one that is followed */
    if (k == 1) x[2].i = x[4].i = 1;
    if (fits && args[3] != Py_None) {
      fits = !PyObject_GetBuffer(args[3], &view[3], PyBUF_ND | PyBUF_FORMAT);
      if (fits) {
        const Py_buffer *bias = &view[views++];
        x[11].p = bias->buf;
        fits = bias->ndim == 1 && bias->shape[0] == n && bias->format && bias->format[0] == 'f' && !bias->format[1];
      } else
        PyErr_Clear();
    }
    /* one step of each matrix is 1, the other takes the values apart */
    fits = fits && (x[1].i == 1 || x[2].i == 1) && (x[4].i == 1 || x[5].i == 1);
  }
  int failure = 0;
  if (fits) {
    call c = {product_kernel, x};
    Py_BEGIN_ALLOW_THREADS
    failure = attempt(run_kernel, &c);
    Py_END_ALLOW_THREADS
  }
  while (views) PyBuffer_Release(&view[--views]);
  if (failure) return PyErr_Format(PyExc_MemoryError, "matmul: no memory for its intermediate results");
  return PyBool_FromLong(fits);
}

static PyObject *set_threads(PyObject *module, PyObject *count) {
  (void)module;
  long n = PyLong_AsLong(count);
  if (n == -1 && PyErr_Occurred()) return NULL;
  pool_set_threads(n > 256 ? 256 : (int)n);
  Py_RETURN_NONE;
}

static PyObject *threads(PyObject *module, PyObject *none) {
  (void)module, (void)none;
  return PyLong_FromLong(pool_threads());
}

static void choose(void) {
#if defined(__x86_64__) && defined(__GNUC__)
  const char *most = getenv("XPNET_CPU");
  int wide = !most || !strcmp(most, "avx512"), middle = wide || !strcmp(most, "avx2");
  __builtin_cpu_init();
  if (wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    kernels = kernels_avx512, instructions = "avx512";
  else if (middle && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    kernels = kernels_avx2, instructions = "avx2";
#endif
}

/* Arrays of a step are freed at its end and wanted again in the next one. glibc gives large ones back to the
 * system at once, and every page of the next must be found and zeroed anew: up to a third of a CNN's step. It is
 * told to keep 256 MiB, unless the user has told it something. */
static void keep_memory(void) {
#if defined(__GLIBC__)
  if (getenv("MALLOC_TRIM_THRESHOLD_") || getenv("MALLOC_MMAP_THRESHOLD_") || getenv("GLIBC_TUNABLES")) return;
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, "run(kernel, *arguments)"},
    {"matmul", (PyCFunction)(void (*)(void))matmul, METH_FASTCALL, "matmul(a, b, out, bias, relu)"},
    {"set_threads", set_threads, METH_O, "set_threads(count): the most threads that work at once"},
    {"threads", threads, METH_NOARGS, "threads(): the most threads that work at once"},
    {0},
};

static int fill(PyObject *module) {
  choose();
  keep_memory();
  PyObject *names = PyDict_New();
  if (!names) return -1;
  for (number = 0; kernels[number].name; number++) {
    PyObject *index = PyLong_FromLong(number);
    if (!strcmp(kernels[number].name, "gemm")) product_kernel = &kernels[number];
    if (!index || PyDict_SetItemString(names, kernels[number].name, index)) return -1;
    Py_DECREF(index);
  }
  if (PyModule_AddObjectRef(module, "kernels", names)) return -1;
  Py_DECREF(names);
  PyObject *signatures = PyTuple_New(number);
  if (!signatures) return -1;
  for (long i = 0; i < number; i++) {
    PyObject *letters = PyUnicode_FromString(kernels[i].signature);
    if (!letters || PyTuple_SetItem(signatures, i, letters)) return -1;
  }
  if (PyModule_AddObjectRef(module, "signatures", signatures)) return -1;
  Py_DECREF(signatures);
  return PyModule_AddStringConstant(module, "instructions", instructions);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
#if defined(Py_GIL_DISABLED)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0},
};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", "Fused kernels for NumPy arrays.", 0, methods, slots, 0, 0, 0};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
