"""CUDA graphs through CuPy: a stream to capture on, memory that nobody else gets, and the replay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np


class Graph:
    """What a function does on the current device, to be repeated with the data that its arrays have then.

    Attributes:
        numbers: bytes on the device, for what changes from one replay to the next.

    Args:
        room: how many.
    """

    def __init__(self, room: int) -> None:
        self._pool = cupy.cuda.MemoryPool()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._graph: Any = None
        self._written = b""
        with cupy.cuda.using_allocator(self._pool.malloc):
            self.numbers = cupy.empty(room, np.uint8)

    def capture(self, function: Callable[[], Any]) -> Any:
        """Call a function, whose work is recorded and not done; what it returns."""
        with self._stream, cupy.cuda.using_allocator(self._pool.malloc):
            self._stream.begin_capture()
            try:
                result = function()
            except BaseException:
                with contextlib.suppress(Exception):  # a capture that is spoilt says so again
                    self._stream.end_capture()
                raise
            self._graph = self._stream.end_capture()
        return result

    def replay(self, host: np.ndarray) -> None:
        """Do the work, on the current stream, after writing the numbers."""
        now = host.tobytes()
        if now != self._written:
            # pageable memory: the bytes are taken before the call returns, nothing waits
            self.numbers.data.copy_from_host_async(host.ctypes.data, host.nbytes)
            self._written = now
        self._graph.launch()


def copied(x: Any) -> Any:
    """A copy in memory of its own, without a kernel where x is contiguous."""
    if not x.flags.c_contiguous:
        return x.copy()
    copy = cupy.empty(x.shape, x.dtype)
    copy.data.copy_from_device_async(x.data, x.nbytes)
    return copy


def copy_into(static: Any, given: Any) -> None:
    """Other values for an array that a graph reads: from the device or the host, without a wait."""
    if isinstance(given, np.ndarray):
        given = np.ascontiguousarray(given, dtype=static.dtype)
        static.data.copy_from_host_async(given.ctypes.data, given.nbytes)
    elif given.flags.c_contiguous:
        static.data.copy_from_device_async(given.data, given.nbytes)
    else:
        static[...] = given


def same_bytes(static: Any, given: Any) -> bool:
    """Whether two arrays hold the same bits; waits for the device."""
    given = cupy.ascontiguousarray(cupy.asarray(given))
    if static.nbytes == 0:
        return True
    return bool((static.reshape(-1).view(np.uint8) == given.reshape(-1).view(np.uint8)).all())
