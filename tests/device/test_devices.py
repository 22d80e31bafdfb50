"""Two devices that do not reach each other's memory, streams and kernels."""

import numpy as np
import pytest

from .planted import ILLEGAL, cublas, cupy, launch, scale

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(cupy.cuda.runtime.getDeviceCount() < 2, reason="CPUCUDA_DEVICES is 1"),
]
runtime = cupy.cuda.runtime


def on(device: int) -> cupy.ndarray:
    with cupy.cuda.Device(device):
        return cupy.arange(4, dtype="f4")


def test_there_are_two_and_each_has_its_memory() -> None:
    assert [on(d).device.id for d in (0, 1)] == [0, 1]
    assert [runtime.pointerGetAttributes(on(d).data.ptr).device for d in (0, 1)] == [0, 1]
    with pytest.raises(RuntimeError, match="cudaErrorInvalidDevice"):
        runtime.setDevice(2)


def test_work_on_the_second_device() -> None:
    with cupy.cuda.Device(1):
        x = on(1)
        scale(x, x)
        np.testing.assert_array_equal((x + 1).get(), [1, 3, 5, 7])
        np.testing.assert_array_equal((x.reshape(2, 2) @ x.reshape(2, 2)).get(), [[8, 12], [24, 44]])


def test_memory_of_another_device_is_no_argument() -> None:
    x, y = on(0), on(1)
    message = f"{ILLEGAL}: scale: argument 1 is 0x.*memory of device 1, but the kernel runs on device 0"
    with pytest.raises(RuntimeError, match=message):
        scale(x, y)


def test_a_stream_of_another_device_is_refused() -> None:
    x, stream = on(0), cupy.cuda.Stream()
    with cupy.cuda.Device(1):
        other = cupy.cuda.Stream()
    function = cupy.RawKernel('extern "C" __global__ void one(float* y) { y[0] = 1; }', "one")
    function((1,), (1,), (x,), stream=stream)
    with pytest.raises(RuntimeError, match="cudaErrorInvalidResourceHandle: one"):
        function((1,), (1,), (x,), stream=other)


def test_an_event_belongs_to_a_device() -> None:
    with cupy.cuda.Device(1):
        event = cupy.cuda.Event()
    with pytest.raises(RuntimeError, match="cudaErrorInvalidResourceHandle: the event belongs to device 1"):
        runtime.eventRecord(event.ptr, 0)


def test_copies_between_devices_take_the_peer_functions() -> None:
    x, y = on(0), on(1)
    x += 1
    with pytest.raises(RuntimeError, match="cudaMemcpyPeer or cudaMemcpyDefault"):
        runtime.memcpy(y.data.ptr, x.data.ptr, 16, runtime.memcpyDeviceToDevice)
    runtime.memcpyPeer(y.data.ptr, 1, x.data.ptr, 0, 16)
    np.testing.assert_array_equal(y.get(), [1, 2, 3, 4])
    x += 1
    y.data.copy_from_device(x.data, 16)
    np.testing.assert_array_equal(y.get(), [2, 3, 4, 5])
    with cupy.cuda.Device(1):
        np.testing.assert_array_equal(cupy.asarray(x).get(), [2, 3, 4, 5])


def test_there_is_no_peer_access() -> None:
    assert not runtime.deviceCanAccessPeer(0, 1)
    with pytest.raises(RuntimeError, match="cudaErrorPeerAccessUnsupported"):
        runtime.deviceEnablePeerAccess(1)


def test_filling_another_devices_memory_is_refused() -> None:
    y = on(1)
    with pytest.raises(
        RuntimeError, match=r"cudaMemset on the default stream of device 0: the target is .* device 1"
    ):
        runtime.memset(y.data.ptr, 0, 16)


@pytest.mark.parametrize(
    ("memory", "current", "message"),
    [(1, 0, "memory of device 1"), (0, 1, "a handle of device 0 while device 1 is current")],
)
def test_a_cublas_handle_belongs_to_a_device(memory: int, current: int, message: str, capfd) -> None:
    handle, x = cupy.cuda.device.get_cublas_handle(), on(memory)
    one = np.ones(1, "f4").ctypes.data
    cupy.cuda.Device(memory).synchronize()
    with pytest.raises(cublas.CUBLASError), cupy.cuda.Device(current):
        cublas.sgemm(handle, 0, 0, 2, 2, 2, one, x.data.ptr, 2, x.data.ptr, 2, one, x.data.ptr, 2)
    assert message in capfd.readouterr().err


def test_a_kernel_is_loaded_per_device() -> None:
    for device in (0, 1):
        with cupy.cuda.Device(device):
            launch("write_at", on(device), np.int64(0), block=1)
