"""Batches made ahead of time: a background thread, and page-locked host memory on the way to a GPU."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from xpnet.core.backend import get_backend

_END = object()
_PATIENCE = 0.2  # seconds that the end of an iteration waits for a batch that nobody wants any more
_late: WeakKeyDictionary[Any, threading.Thread] = WeakKeyDictionary()


def prefetched(batches: Iterator[Any], ahead: int, owner: Any = None) -> Iterator[Any]:
    """The same items in the same order, up to `ahead` of them made before they are asked for.

    Args:
        batches: iterated over in one background thread, which NumPy's and CuPy's work lets run beside this
            one.
        ahead: how many to make at most.
        owner: whose batches they are, of which one thread at a time makes some.

    An error of `batches` is raised here, in its place. The thread ends when the iteration ends or is broken
    off; Ctrl-C does not wait for a batch that takes long, but the owner's next iteration does.
    """
    previous = None if owner is None else _late.pop(owner, None)
    if previous is not None:
        previous.join()
    items: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()
    context = _CudaContext()

    def put(item: tuple[Any, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                items.put(item, timeout=0.05)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            with context:
                for batch in batches:
                    if not put((batch, None)):
                        return
            put((_END, None))
        except BaseException as error:  # handed over
            put((None, error))

    # in a copy of this context: with the backend that is in use here
    thread = threading.Thread(target=copy_context().run, args=(work,), name="xpnet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            batch, error = items.get()
            if error is not None:
                raise error
            if batch is _END:
                return
            yield batch
    finally:
        stopped.set()
        thread.join(_PATIENCE)
        if thread.is_alive() and owner is not None:
            _late[owner] = thread


class _CudaContext:
    """For a `with` block in another thread: the device and the stream that are current here.

    The work of both threads is on one stream, so it runs in the order in which it is asked for, and memory
    that one thread gives back can be used by the other.
    """

    def __init__(self) -> None:
        self.parts: list[Any] = []
        backend = get_backend()
        if str(backend) == "cupy":
            with backend.device:
                self.parts = [backend.device, backend.xp.cuda.get_current_stream()]

    def __enter__(self) -> None:
        for part in self.parts:
            part.__enter__()

    def __exit__(self, *error: Any) -> None:
        for part in reversed(self.parts):
            part.__exit__(*error)


class PinnedBuffers:
    """Page-locked host memory that batches are gathered into and copied from without waiting.

    Args:
        count: batches whose copies may be under way at once.
    """

    def __init__(self, count: int) -> None:
        import cupy

        self.cupy = cupy
        self.slots: list[dict[str, Any]] = [{} for _ in range(count)]
        self.next = 0

    @staticmethod
    def useful(x: Any, y: Any) -> bool:
        """Whether these arrays are on the host and batches are wanted on CUDA."""
        return str(get_backend()) == "cupy" and isinstance(x, np.ndarray) and isinstance(y, np.ndarray)

    def move(self, x: np.ndarray, y: np.ndarray, samples: np.ndarray) -> tuple[Any, Any]:
        """Rows `samples` of x and y on the device."""
        slot = self.slots[self.next]
        self.next = (self.next + 1) % len(self.slots)
        if "copied" in slot:
            slot["copied"].synchronize()  # the copy out of this memory is done
        stream = self.cupy.cuda.get_current_stream()
        moved = []
        for name, array in (("x", x), ("y", y)):
            host = self._memory(slot, name, array, len(samples))
            np.take(array, samples, axis=0, out=host, mode="clip")  # other modes copy once more
            device = self.cupy.empty(host.shape, host.dtype)
            device.set(host, stream=stream)
            moved.append(device)
        slot["copied"] = stream.record()
        return moved[0], moved[1]

    def _memory(self, slot: dict[str, Any], name: str, array: np.ndarray, n: int) -> np.ndarray:
        """Room for n samples in the slot's page-locked memory."""
        count = n * int(np.prod(array.shape[1:]))
        if name not in slot or slot[name].mem.size < count * array.itemsize:
            slot[name] = self.cupy.cuda.alloc_pinned_memory(count * array.itemsize)
        return np.frombuffer(slot[name], array.dtype, count).reshape(n, *array.shape[1:])
