"""Kernels that go wrong when told to, for the tests of the device; these skip without CuPy on the CPU."""

import functools

import pytest

cpucuda = pytest.importorskip("cpucuda", reason="runs under python -m tests.cupy_on_cpu")
import cupy  # noqa: E402
from cupy_backends.cuda.libs import cublas  # noqa: E402, F401

ILLEGAL, UNORDERED = "cudaErrorIllegalAddress", "cpucudaErrorUnordered"

CODE = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}
extern "C" __global__ void write_at(float* y, long long i) { y[i] = 1; }
extern "C" __global__ void read_at(const float* x, long long i, float* y) { y[0] = x[i]; }
extern "C" __global__ void write_after_barrier(float* y, long long i) {
    __syncthreads();
    if (threadIdx.x == 3) y[i] = 1;
}
extern "C" __global__ void divide(int* y, int by) { y[0] = y[1] / by; }
"""


@functools.cache
def module(device: int) -> cupy.RawModule:
    return cupy.RawModule(code=CODE)


def launch(name, *args, block=4):
    """Launch a kernel of `CODE` on the current device and stream."""
    module(cupy.cuda.runtime.getDevice()).get_function(name)((1,), (block,), args)


def run(name, *args, block=4):
    """Launch it and wait, so that what it does wrong is told by then, also with CPUCUDA_ASYNC=1."""
    launch(name, *args, block=block)
    cupy.cuda.Device().synchronize()


def scale(x, y, factor=2.0):
    launch("scale", x, y, cupy.float32(factor), cupy.int32(x.size), block=max(1, x.size))
