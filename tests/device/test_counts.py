"""The counts say what CuPy asks of the device, for operations whose cost is known."""

import numpy as np
import pytest

from .planted import cpucuda, cupy, launch, scale

pytestmark = pytest.mark.host
TO_HOST = {"synchronisations": 1, "device_to_host": 1}


def a() -> cupy.ndarray:
    return cupy.arange(6, dtype="f4")


OPERATIONS = {
    "get": (lambda x: x.get(), {**TO_HOST, "device_to_host_bytes": 24}),
    "item": (lambda x: x[0].item(), {**TO_HOST, "device_to_host_bytes": 4}),
    "float": (lambda x: float(x[0]), {**TO_HOST, "device_to_host_bytes": 4}),
    "bool": (lambda x: bool(x[0]), {**TO_HOST, "device_to_host_bytes": 4}),
    "asnumpy": (cupy.asnumpy, {**TO_HOST, "device_to_host_bytes": 24}),
    "nonzero": (cupy.nonzero, {**TO_HOST, "device_to_host_bytes": 4, "launches": 3}),
    "asarray": (lambda x: cupy.asarray(np.ones(5, "f4")), {"host_to_device": 1, "host_to_device_bytes": 20}),
    "asarray, large": (
        lambda x: cupy.asarray(np.ones(1 << 20, "f4")),
        {"host_to_device": 1, "host_to_device_bytes": 1 << 22},
    ),
    "launch by value": (lambda x: scale(x, x), {"launches": 1}),
    "add": (lambda x: x + 1, {"launches": 1}),
    "sort": (lambda x: x.sort(), {"launches": 1}),
    "zeros": (lambda x: cupy.zeros(3, "f4"), {"memsets": 1}),
    "product": (lambda x: x.reshape(2, 3) @ x.reshape(3, 2), {"products": 1}),
    "synchronize": (lambda x: cupy.cuda.Device().synchronize(), {"synchronisations": 1}),
    "stream": (lambda x: cupy.cuda.get_current_stream().synchronize(), {"synchronisations": 1}),
    "event": (lambda x: cupy.cuda.get_current_stream().record().synchronize(), {"synchronisations": 1}),
    "two waits": (lambda x: [cupy.cuda.Device().synchronize() for _ in range(2)], {"synchronisations": 2}),
    "copy_from": (
        lambda x: x.data.copy_from_device_async(x.copy().data, x.nbytes),
        {"launches": 1, "device_to_device": 1, "device_to_device_bytes": 24},
    ),
    "cudaMemcpy to the host": (
        lambda x: x.data.copy_to_host(np.empty(6, "f4").ctypes.data, 24),
        {**TO_HOST, "device_to_host_bytes": 24},
    ),
    "view": (lambda x: x[1:].reshape(5, 1), {}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_costs_what_it_should(name: str) -> None:
    operation, expected = OPERATIONS[name]
    x = a()
    operation(x)  # pools are warm, kernels compiled
    cupy.cuda.Device().synchronize()
    with cpucuda.count() as n:
        operation(x)
    costs = {k: v for k in cpucuda.counts.NAMES if (v := getattr(n, k))}
    assert costs == expected


def test_kernels_are_counted_by_name_and_by_the_line_that_launched_them() -> None:
    x = a()
    with cpucuda.count(places=True) as n:
        launch("scale", x, x, cupy.float32(1), cupy.int32(6), block=6)
        x += 1
        x += 1
    assert n.launches == 3
    assert n.kernels == {"scale": 1, "cupy_add__float32_float_float32": 2}
    assert {at.rpartition("/")[2].partition(":")[0] for _, at in n.places} == {"planted.py", "test_counts.py"}


def test_a_template_is_counted_under_its_name_expression() -> None:
    code = "template <typename T> __global__ void fill(T* y, T v) { y[threadIdx.x] = v; }"
    kernel = cupy.RawModule(code=code, name_expressions=["fill<float>"]).get_function("fill<float>")
    with cpucuda.count() as n:
        kernel((1,), (6,), (a(), cupy.float32(1)))
    assert n.kernels["fill<float>"] == 1


def test_allocations_are_those_that_leave_the_pool() -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        with cpucuda.count() as n:
            x = cupy.empty(1 << 20, "f4")
        assert (n.allocations, n.allocation_bytes, n.synchronisations) == (1, 1 << 22, 0)
        del x
        with cpucuda.count() as n:
            x = cupy.empty(1 << 20, "f4")
        assert n.allocations == 0
        del x
        with cpucuda.count() as n:
            pool.free_all_blocks()
        assert (n.frees, n.synchronisations) == (1, 1)  # cudaFree waits for the device


def test_blocks_nest_and_end() -> None:
    x = a()
    with cpucuda.count() as outer:
        x += 1
        with cpucuda.count() as inner:
            x += 1
        x += 1
        assert outer.launches == 3
    x += 1
    assert (outer.launches, inner.launches) == (3, 1)
    assert repr(inner) == "Count(launches=1)"
