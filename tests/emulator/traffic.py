"""How many bytes of which array a kernel loads and stores."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.cuda import loader

from . import build
from .module import EmuKernel, EmuModule, _runtime


class Moved(NamedTuple):
    """One array of one launch.

    Attributes:
        kernel: its name.
        argument: the array's place among the arguments.
        size: of the array, in bytes.
        loaded: bytes.
        stored: bytes.
    """

    kernel: str
    argument: int
    size: int
    loaded: int
    stored: int


@cache
def _counter() -> ctypes.CDLL:
    source = build.HERE / "traffic.cpp"
    path = build.cached(
        "traffic.so",
        [source.read_text()],
        lambda out: build.gxx("-std=c++17", "-fPIC", "-O2", "-shared", source, "-o", out),
    )
    _runtime()  # it asks who runs
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


@contextmanager
def traffic(arch: int = 90, multiprocessors: int = 4) -> Iterator[list[Moved]]:
    """Launch on the emulator, for the length of a `with` block; the list fills with what each launch moves.

    What a block's threads load between two barriers or warp operations counts once, as it comes from a cache
    after the first; so does what a compiler need not load again. An array that is given twice counts at its
    first place.
    """
    seen: list[Moved] = []

    class Kernel(EmuKernel):
        def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            arrays = {
                a.ctypes.data: (i, a.nbytes)
                for i, a in reversed([*enumerate(args)])
                if isinstance(a, np.ndarray) and a.nbytes
            }
            numbers = ctypes.c_uint64 * len(arrays)
            ends = [begin + size for begin, (_, size) in arrays.items()]
            _counter().xpemu_watch(len(arrays), numbers(*arrays), numbers(*ends))
            super().__call__(grid, block, args, shared_mem=shared_mem)
            loaded, stored = numbers(), numbers()
            _counter().xpemu_traffic(loaded, stored)
            seen.extend(
                Moved(self.name, i, size, *counts)
                for (i, size), *counts in zip(arrays.values(), loaded, stored, strict=True)
            )

    class Module(EmuModule):
        kernel, instrument = Kernel, ("-fsanitize=thread",)

    _counter()  # before the kernels, which call it
    with loader.use(Module, arch, multiprocessors):
        yield seen
