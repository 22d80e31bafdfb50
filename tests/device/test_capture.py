"""Streams are captured into graphs; what CUDA and CuPy refuse under capture is refused and spoils it."""

import contextlib

import numpy as np
import pytest

from .planted import cpucuda, cupy, scale

pytestmark = pytest.mark.host
runtime = cupy.cuda.runtime
GLOBAL, THREAD, RELAXED = 0, 1, 2


@pytest.fixture
def stream():
    s = cupy.cuda.Stream(non_blocking=True)
    with s:
        yield s
        while_capturing(s)


def while_capturing(s) -> None:
    """End what a failed test may have left open."""
    with contextlib.suppress(RuntimeError):
        s.end_capture()


def invalidated(s) -> None:
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        s.end_capture()
    assert not s.is_capturing()


def test_a_capture_runs_nothing_and_each_replay_everything(stream) -> None:
    x = cupy.ones(4, "f4")
    scale(x, x, 1.0)
    with cpucuda.count() as n:
        stream.begin_capture()
        assert stream.is_capturing()
        scale(x, x, 3.0)
        x += 1
        graph = stream.end_capture()
    assert (n.launches, n.graphs) == (0, 0)
    stream.synchronize()
    np.testing.assert_array_equal(x.get(), [1, 1, 1, 1])
    with cpucuda.count() as n:
        graph.launch()
        graph.launch()
    assert (n.launches, n.graphs) == (0, 2)
    np.testing.assert_array_equal(x.get(), [13, 13, 13, 13])


def test_a_captured_training_step_learns_as_an_eager_one_does(stream) -> None:
    """A perceptron with ReLU, its backward pass and Adam; sums stand in for cuBLAS, which CuPy refuses."""
    rng = np.random.default_rng(0)
    x, y = (cupy.asarray(rng.normal(size=s).astype("f4")) for s in ((8, 3), (8,)))
    start = cupy.asarray(rng.normal(size=3).astype("f4"))

    def step(w, m, v, t) -> None:
        t += 1
        hidden = (x * w).sum(axis=1)
        error = cupy.maximum(hidden, 0) - y
        grad = (x * ((hidden > 0) * error)[:, None]).sum(axis=0)
        m += 0.1 * (grad - m)
        v += 0.01 * (grad * grad - v)
        w -= 0.1 * (m / (1 - 0.9**t)) / (cupy.sqrt(v / (1 - 0.99**t)) + 1e-8)

    def state():
        return start.copy(), cupy.zeros_like(start), cupy.zeros_like(start), cupy.zeros(1, "f4")

    eager, captured = state(), state()
    for _ in range(5):
        step(*eager)
    step(*state())  # the pool has every block now
    stream.synchronize()
    with cpucuda.count() as n:
        stream.begin_capture()
        step(*captured)
        graph = stream.end_capture()
        for _ in range(5):
            graph.launch()
    assert (n.launches, n.graphs, n.synchronisations, n.allocations) == (0, 5, 0, 0)
    for a, b in zip(eager, captured, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


def test_a_sort_is_captured(stream) -> None:
    x = cupy.asarray(np.array([3, 1, 2], "f4"))
    y = x.copy()
    stream.begin_capture()
    y[...] = x
    y.sort()
    graph = stream.end_capture()
    x *= -1
    graph.launch()
    np.testing.assert_array_equal(y.get(), [-3, -2, -1])


def test_the_pool_may_allocate(stream) -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones(4, "f4")
        y = x * 0
        stream.begin_capture()
        y[...] = (x + 1) * 2
        graph = stream.end_capture()
        graph.launch()
    np.testing.assert_array_equal(y.get(), [4, 4, 4, 4])


def test_an_allocation_outside_of_the_pool_needs_a_relaxed_capture(stream) -> None:
    for mode in (GLOBAL, THREAD):
        stream.begin_capture(mode)
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported: allocation"):
            runtime.malloc(64)
        invalidated(stream)
    pointer = runtime.malloc(64)
    stream.begin_capture(GLOBAL)
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported: freeing memory"):
        runtime.free(pointer)
    invalidated(stream)
    stream.begin_capture(RELAXED)
    runtime.free(pointer)
    runtime.free(runtime.malloc(64))
    stream.end_capture()


UNSUPPORTED = {
    "stream": lambda s, e: s.synchronize(),
    "query": lambda s, e: runtime.streamQuery(s.ptr) and _raise(runtime.streamQuery(s.ptr)),
    "device": lambda s, e: cupy.cuda.Device().synchronize(),
    "event": lambda s, e: s.record().synchronize(),
    "outside": lambda s, e: s.wait_event(e),
    "pageable memory": lambda s, e: runtime.memcpyAsync(
        cupy.empty(4, "f4").data.ptr, np.ones(4, "f4").ctypes.data, 16, runtime.memcpyHostToDevice, s.ptr
    ),
}


def _raise(status: int) -> None:
    raise runtime.CUDARuntimeError(status)


@pytest.mark.parametrize("call", UNSUPPORTED)
def test_waits_are_refused(call: str, stream) -> None:
    x, event = cupy.ones(4, "f4"), stream.record()
    cupy.empty(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    scale(x, x)
    with pytest.raises(runtime.CUDARuntimeError, match=r"StreamCapture|CapturedEvent"):
        UNSUPPORTED[call](stream, event)
    invalidated(stream)


REFUSED_BY_CUPY = {
    "get": lambda x: x.get(),
    "item": lambda x: x[0].item(),
    "bool": lambda x: bool(x[0]),
    "asarray": lambda x: cupy.asarray(np.ones(4, "f4")),
    "product": lambda x: x.reshape(2, 2) @ x.reshape(2, 2),
}


@pytest.mark.parametrize("call", REFUSED_BY_CUPY)
def test_cupys_own_refusals(call: str, stream) -> None:
    x = cupy.ones(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    with pytest.raises((RuntimeError, NotImplementedError), match="captur"):
        REFUSED_BY_CUPY[call](x)


def test_the_default_stream_cannot_capture() -> None:
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        runtime.streamBeginCapture(0)
    with pytest.raises(RuntimeError, match="cudaErrorIllegalState"):
        runtime.streamEndCapture(cupy.cuda.Stream(non_blocking=True).ptr)


ON_THE_DEFAULT_STREAM = {
    "event": lambda x, host: runtime.eventRecord(cupy.cuda.Event().ptr, 0),
    "memcpy": lambda x, host: runtime.memcpy(x, host, 16, runtime.memcpyHostToDevice),
    "memset": lambda x, host: runtime.memsetAsync(x, 0, 16, 0),
    "synchronize": lambda x, host: runtime.streamSynchronize(0),
    "is_capturing": lambda x, host: runtime.streamIsCapturing(0),
}


@pytest.mark.parametrize("call", ON_THE_DEFAULT_STREAM)
def test_the_default_stream_may_not_wait_for_a_blocking_capture(call: str) -> None:
    x, host, s = cupy.ones(4, "f4"), np.ones(4, "f4"), cupy.cuda.Stream()
    s.begin_capture()
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureImplicit"):
        ON_THE_DEFAULT_STREAM[call](x.data.ptr, host.ctypes.data)
    invalidated(s)


def test_a_non_blocking_capture_leaves_the_default_stream_alone(stream) -> None:
    x = cupy.ones(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    with cupy.cuda.Stream.null:
        np.testing.assert_array_equal((x + 1).get(), [2, 2, 2, 2])
    stream.end_capture()


def test_fork_and_join(stream) -> None:
    side = cupy.cuda.Stream(non_blocking=True)
    x, y = cupy.ones(4, "f4"), cupy.ones(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    side.wait_event(stream.record())
    assert side.is_capturing()
    with side:
        scale(y, y, 5.0)
    scale(x, x)
    stream.wait_event(side.record())
    scale(y, x)
    graph = stream.end_capture()
    assert not side.is_capturing()
    graph.launch()
    np.testing.assert_array_equal(x.get(), [10, 10, 10, 10])


def test_a_fork_must_be_joined(stream) -> None:
    side, y = cupy.cuda.Stream(non_blocking=True), cupy.ones(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    side.wait_event(stream.record())
    with side:
        scale(y, y)
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnjoined"):
        stream.end_capture()
    assert not side.is_capturing()


def test_branches_of_a_capture_are_ordered(stream) -> None:
    side, y = cupy.cuda.Stream(non_blocking=True), cupy.ones(4, "f4")
    stream.synchronize()
    stream.begin_capture()
    side.wait_event(stream.record())
    scale(y, y)
    with side, pytest.raises(RuntimeError, match="cpucudaErrorUnordered"):
        scale(y, y)


def test_a_replay_after_its_memory_was_freed_is_refused(stream) -> None:
    with cpucuda.guarded():
        x = cupy.ones(4, "f4")
        stream.begin_capture()
        scale(x, x)
        graph = stream.end_capture()
        graph.launch()
        del x
        with pytest.raises(RuntimeError, match=r"scale: argument 0 .* in freed memory"):
            graph.launch() or stream.synchronize()
