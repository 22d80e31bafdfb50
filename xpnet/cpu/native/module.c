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
static const kernel *product_kernel, *batch_kernel;

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

/* Matrices of floats, in up to two axes, with steps between their values that a product can follow; no size is 0. */
static int matrices(PyObject *value, int flags, Py_buffer *view) {
  if (PyObject_GetBuffer(value, view, flags | PyBUF_STRIDES | PyBUF_FORMAT)) return PyErr_Clear(), 0;
  const char *format = view->format;
  int axes = view->ndim, fits = format && format[0] == 'f' && !format[1] && axes >= 2 && axes <= 4;
  for (int i = 0; fits && i < axes; i++)
    fits = view->shape[i] > 0 && view->strides[i] >= (i >= axes - 2) && !(view->strides[i] % 4);
  if (!fits) PyBuffer_Release(view);
  return fits;
}

/* How far apart the matrices of an axis are, -3 or -4 from the end. */
static long apart(const Py_buffer *a, int axis) { return a->ndim + axis < 0 ? 0 : a->strides[a->ndim + axis] / 4; }

/* matmul(a, b, out, bias, relu): out = a b + bias, or its ReLU; False, and nothing is done, of what are no matrices of
 * float32 or do not fit. `out` is contiguous, and so is the bias or it is None; stacks of matrices have neither. */
static PyObject *matmul(PyObject *module, PyObject *const *args, Py_ssize_t count) {
  (void)module;
  if (count != 5) return PyErr_Format(PyExc_TypeError, "matmul: expected 5 arguments, got %zd", count);
  Py_buffer view[4];
  int views = 0, flags[3] = {0, 0, PyBUF_WRITABLE};
  while (views < 3 && matrices(args[views], flags[views], &view[views])) views++;
  int axes = views == 3 ? view[0].ndim : 0, fits = axes && view[1].ndim == axes && view[2].ndim == axes;
  argument x[17];
  if (fits) {
    const Py_buffer *a = &view[0], *b = &view[1], *c = &view[2];
    long m = a->shape[axes - 2], k = a->shape[axes - 1], n = b->shape[axes - 1], inner = axes > 2 ? a->shape[axes - 3] : 1;
    fits = b->shape[axes - 2] == k && c->shape[axes - 2] == m && c->shape[axes - 1] == n;
    fits = fits && c->strides[axes - 1] == 4 && c->strides[axes - 2] == 4 * n;
    for (int i = 0; i < axes - 2; i++) fits = fits && a->shape[i] == b->shape[i] && a->shape[i] == c->shape[i];
    long a_row = apart(a, -2), a_column = apart(a, -1), b_row = apart(b, -2), b_column = apart(b, -1);
    /* of vectors as matrices, a step of 1 is the one that is followed */
    if (k == 1) a_column = b_row = 1;
    /* one step of each matrix is 1, the other takes the values apart */
    fits = fits && (a_row == 1 || a_column == 1) && (b_row == 1 || b_column == 1);
    argument *end = x;
#define GIVE(field, value) (*end++).field = (value)
    GIVE(p, a->buf), GIVE(i, a_row), GIVE(i, a_column), GIVE(p, b->buf), GIVE(i, b_row), GIVE(i, b_column);
    GIVE(p, c->buf), GIVE(i, n), GIVE(i, m), GIVE(i, n), GIVE(i, k), GIVE(p, NULL), GIVE(i, args[4] == Py_True);
    if (axes > 2) {
      fits = fits && PyBuffer_IsContiguous(c, 'C') && args[3] == Py_None && args[4] != Py_True;
      end = x + 7;
      GIVE(i, m), GIVE(i, n), GIVE(i, k), GIVE(i, axes > 3 ? a->shape[0] : 1), GIVE(i, inner);
      GIVE(i, apart(a, -4)), GIVE(i, apart(a, -3)), GIVE(i, apart(b, -4)), GIVE(i, apart(b, -3));
    } else if (fits && args[3] != Py_None) {
      fits = !PyObject_GetBuffer(args[3], &view[3], PyBUF_ND | PyBUF_FORMAT);
      if (fits) {
        const Py_buffer *bias = &view[views++];
        x[11].p = bias->buf;
        fits = bias->ndim == 1 && bias->shape[0] == n && bias->format && bias->format[0] == 'f' && !bias->format[1];
      } else
        PyErr_Clear();
    }
  }
  int failure = 0;
  if (fits) {
    call c = {axes > 2 ? batch_kernel : product_kernel, x};
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
    if (!strcmp(kernels[number].name, "gemm"))
      product_kernel = &kernels[number];
    else if (!strcmp(kernels[number].name, "batched_gemm"))
      batch_kernel = &kernels[number];
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
