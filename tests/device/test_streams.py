"""Work of two streams on the same memory must be ordered."""

import os

import numpy as np
import pytest

from .planted import UNORDERED, cupy, scale

pytestmark = pytest.mark.host


def streams(**kind):
    kind = kind or {"non_blocking": True}
    return cupy.cuda.Stream(**kind), cupy.cuda.Stream(**kind)


def array(stream):
    with stream:
        x = cupy.empty(4, "f4")
        x.fill(1)
    return x


def use(stream, x):
    with stream:
        scale(x, cupy.empty(4, "f4"))


def test_a_read_that_does_not_wait_for_the_write_is_refused() -> None:
    a, b = streams()
    x = array(a)
    with pytest.raises(
        RuntimeError, match=rf"{UNORDERED}: scale on stream \d+ .* reads 0x.*, which cupy_fill uses on"
    ):
        use(b, x)


def test_a_write_that_does_not_wait_for_a_read_is_refused() -> None:
    a, b = streams()
    x = array(a)
    a.synchronize()
    use(b, x)
    with (
        pytest.raises(RuntimeError, match=rf"{UNORDERED}: cupy_fill.* may write 0x.*, which scale uses on"),
        a,
    ):
        x.fill(2)


ORDERS = {
    "event": lambda a, b: b.wait_event(a.record()),
    "stream": lambda a, b: a.synchronize(),
    "event of the host": lambda a, b: a.record().synchronize(),
    "device": lambda a, b: cupy.cuda.Device().synchronize(),
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_orders(order: str) -> None:
    a, b = streams()
    x = array(a)
    ORDERS[order](a, b)
    use(b, x)


def test_events_order_transitively_and_only_what_came_before() -> None:
    a, b = streams()
    c, _ = streams()
    x = array(a)
    b.wait_event(a.record())
    c.wait_event(b.record())
    use(c, x)
    with a:
        y = cupy.empty(4, "f4")
        y.fill(3)
    with pytest.raises(RuntimeError, match=UNORDERED):
        use(c, y)


def test_two_readers_need_no_order() -> None:
    a, b = streams()
    x = array(a)
    a.synchronize()
    use(a, x)
    use(b, x)
    with a:
        x + 1
    with b:
        x + 1


def test_the_default_stream_waits_for_blocking_streams_and_they_for_it() -> None:
    (a, b), null = streams(non_blocking=False), cupy.cuda.Stream.null
    x = array(a)
    use(null, x)
    use(b, x)  # through the default stream
    use(a, array(null))


def test_the_default_stream_does_not_order_non_blocking_streams() -> None:
    a, _ = streams()
    with pytest.raises(RuntimeError, match=r"on the default stream of device 0.* uses on stream"):
        use(cupy.cuda.Stream.null, array(a))


OPERATIONS = {
    "product": lambda x: x.reshape(2, 2) @ x.reshape(2, 2),
    "copy": lambda x: cupy.empty(4, "f4").data.copy_from_device_async(x.data, 16),
    "memset": lambda x: x.data.memset_async(0, 16),
    "to the host": lambda x: x.get(),
    "sort": lambda x: x.sort(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_kind_of_work_is_checked(operation: str) -> None:
    a, b = streams()
    x = array(a)
    with pytest.raises(RuntimeError, match=f"{UNORDERED}|CUBLAS_STATUS_EXECUTION_FAILED"), b:
        OPERATIONS[operation](x)


def test_memory_given_back_and_taken_again_has_no_past() -> None:
    """The driver's own pool orders what it hands to another stream."""
    runtime, pointers = cupy.cuda.runtime, []
    for stream in streams() * 4:
        pointers.append(runtime.mallocAsync(1 << 16, stream.ptr))
        runtime.memsetAsync(pointers[-1], 0, 1 << 16, stream.ptr)
        runtime.freeAsync(pointers[-1], stream.ptr)
        if os.environ.get("CPUCUDA_ASYNC") == "1":  # freed by now
            stream.synchronize()
    assert len(set(pointers)) < len(pointers)


def test_replays_are_ordered_too() -> None:
    a, b = streams()
    x, y = array(a), cupy.empty(4, "f4")
    with a:
        a.begin_capture()
        scale(x, y)
        graph = a.end_capture()
    with pytest.raises(RuntimeError, match=f"{UNORDERED}: a graph"):
        graph.launch(stream=b)
    b.wait_event(a.record())
    graph.launch(stream=b)
    b.synchronize()
    np.testing.assert_array_equal(y.get(), [2, 2, 2, 2])
