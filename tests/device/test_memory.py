"""What a kernel may touch: memory of its own device, alive, inside of its bounds."""

import numpy as np
import pytest

from .planted import ILLEGAL, cpucuda, cublas, cupy, run, scale

pytestmark = pytest.mark.host


def x(n: int = 100) -> cupy.ndarray:
    return cupy.ones(n, "f4")


def test_fresh_memory_is_nan() -> None:
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        assert np.isnan(cupy.empty(7, "f4").get()).all()


def test_the_hosts_memory_is_no_argument() -> None:
    host = np.ones(4, "f4")
    with pytest.raises(RuntimeError, match=f"{ILLEGAL}: scale: argument 0 is 0x.*host memory"):
        run("scale", cupy.uint64(host.ctypes.data), x(), cupy.float32(1), cupy.int32(4))


def test_a_number_is_no_pointer() -> None:
    with pytest.raises(RuntimeError, match=r"scale: argument 0 is 0x.*in no live allocation"):
        run("scale", np.float64(1), x(), cupy.float32(1), cupy.int32(4))


def test_cupys_own_kernels_are_checked() -> None:
    host = np.ones(4, "f4")
    outside = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, None, device_id=0)
    array = cupy.ndarray(4, "f4", cupy.cuda.MemoryPointer(outside, 0))
    with pytest.raises(RuntimeError, match=r"cupy_add.*argument 0.*host memory"):
        array + 1


def test_null_and_pinned_memory_are_allowed() -> None:
    pinned = cupy.cuda.alloc_pinned_memory(400)
    run("scale", cupy.uint64(pinned.ptr), x(), cupy.float32(1), cupy.int32(4))
    run("scale", cupy.uint64(0), x(), cupy.float32(1), cupy.int32(0))


@pytest.mark.parametrize(("name", "block"), [("write_at", 1), ("write_after_barrier", 4)])
@pytest.mark.parametrize("index", [100 + 4096, -4096])
def test_a_write_far_outside_ends_the_kernel_not_the_process(name: str, block: int, index: int) -> None:
    with cpucuda.guarded():
        y = x()
        place = f"{abs(index) * 4 - 400 * (index > 0)} bytes (past the end of|before) 400 bytes"
        with pytest.raises(RuntimeError, match=f"{ILLEGAL}: {name}: write to illegal address 0x.*{place}"):
            run(name, y, np.int64(index), block=block)
        run(name, y, np.int64(7), block=block)  # the device goes on
        assert float(y[7]) == 1


def test_a_read_far_outside_is_found() -> None:
    with cpucuda.guarded():
        y = x()
        with pytest.raises(
            RuntimeError, match=r"read_at: read of illegal address .* past the end of 400 bytes"
        ):
            run("read_at", y, np.int64(200), y)


def test_a_read_just_outside_is_no_number() -> None:
    with cpucuda.guarded():
        y, out = x(), x(1)
        run("read_at", y, np.int64(100), out)
        assert not 0.5 < abs(float(out[0])) < 2


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (100, "wrote 0 bytes past the end of 400 bytes of memory of device 0"),
        (-3, "wrote 12 bytes before the start of"),
    ],
)
@pytest.mark.parametrize(("name", "block"), [("write_at", 1), ("write_after_barrier", 4)])
def test_a_write_just_outside_names_the_kernel(name: str, block: int, index: int, message: str) -> None:
    with cpucuda.guarded():
        y = x()
        with pytest.raises(RuntimeError, match=f"{name}: {message}"):
            run(name, y, np.int64(index), block=block)
        run(name, y, np.int64(0), block=block)  # told once


def test_use_after_free_is_found() -> None:
    with cpucuda.guarded():
        y = x()
        address = np.uint64(y.data.ptr)
        del y
        with pytest.raises(RuntimeError, match=r"argument 0 is 0x.*in freed memory, once 400 bytes"):
            run("write_at", address, np.int64(0))


def test_use_after_free_through_another_pointer_is_found() -> None:
    with cpucuda.guarded():
        y, other = x(), x()
        offset = np.int64((y.data.ptr - other.data.ptr) // 4)
        del y
        with pytest.raises(
            RuntimeError, match=r"write_at: write to illegal address .*in freed memory, once 400"
        ):
            run("write_at", other, offset)


def test_freeing_twice_is_refused() -> None:
    pointer = cupy.cuda.runtime.malloc(64)
    cupy.cuda.runtime.free(pointer)
    with pytest.raises(RuntimeError, match="InvalidValue"):
        cupy.cuda.runtime.free(pointer)


def test_division_by_zero_is_told() -> None:
    with pytest.raises(RuntimeError, match="divide: integer division by zero"):
        run("divide", cupy.ones(2, "i4"), np.int32(0), block=1)


def test_a_copy_past_the_end_is_refused() -> None:
    with cpucuda.guarded():
        y = x()
        host = np.ones(200, "f4")
        with pytest.raises(RuntimeError, match=r"800 bytes at 0x.* reach past the end of 400 bytes"):
            y.data.copy_from_host(host.ctypes.data, host.nbytes)


def test_a_product_reaches_no_further_than_its_operands(capfd) -> None:
    one = np.ones(1, "f4").ctypes.data
    handle = cupy.cuda.device.get_cublas_handle()
    with cpucuda.guarded():
        a, c = x(6), x(4)
        gemm = (a.data.ptr, 2, a.data.ptr, 3, one, c.data.ptr, 2)
        cublas.sgemm(handle, 0, 0, 2, 2, 3, one, *gemm)
        with pytest.raises(cublas.CUBLASError):
            cublas.sgemm(handle, 0, 0, 2, 2, 4, one, *gemm)
    assert "32 bytes at" in (text := capfd.readouterr().err)
    assert "reach past the end of 24 bytes" in text


def test_guarded_arrays_compute() -> None:
    with cpucuda.guarded():
        y = cupy.arange(12, dtype="f4").reshape(3, 4)
        np.testing.assert_allclose((y @ y.T).sum(axis=0).get(), (y.get() @ y.get().T).sum(axis=0))
        scale(y.ravel(), y.ravel())
        cupy.cuda.Device().synchronize()
