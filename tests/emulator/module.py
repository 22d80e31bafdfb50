"""`EmuModule`: `cupy.RawModule`'s interface over kernels compiled for the CPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from . import build


class EmuError(RuntimeError):
    """The kernel broke a rule of CUDA; the message names the place in the source."""


@dataclass(frozen=True)
class Schedule:
    """How threads take turns.

    `order`: 0 first to last, 1 last to first, 2 random, 3 random and depth first; `resident`: how many
    independent blocks run interleaved; `strict`: threads that have exited may not be waited for.
    """

    order: int = int(os.environ.get("XP_ORDER", "2"))
    seed: int = 0
    resident: int = 1
    strict: bool = True


_schedule = Schedule()


@contextmanager
def schedule(**changes: Any) -> Iterator[None]:
    """Launch under another `Schedule` for the length of a `with` block."""
    global _schedule
    previous, _schedule = _schedule, replace(_schedule, **changes)
    try:
        yield
    finally:
        _schedule = previous


@cache
def _runtime() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.runtime()), mode=ctypes.RTLD_GLOBAL)


# a signature's letter -> what the argument must be; a pointer's letter is the upper-case one of its target
_DTYPES = {"f": "float32", "d": "float64", "h": "float16", "e": "bfloat16"}
_SIZES = {"l": 8, "i": 4, "s": 2, "b": 1}


def _matches(letter: str, dtype: np.dtype) -> bool:
    if letter in _DTYPES:
        return dtype.name == _DTYPES[letter]
    return letter == "v" or (dtype.kind in "iub" and dtype.itemsize == _SIZES[letter])


class EmuKernel:
    """One kernel; `stats` holds counts of the last launch, `cluster` its `__cluster_dims__`."""

    def __init__(self, library: ctypes.CDLL, index: int, name: str, cooperative: bool) -> None:
        self._entry = ctypes.cast(getattr(library, f"xpemu_kernel_{index}"), ctypes.c_void_p)
        signature = getattr(library, f"xpemu_signature_{index}")
        signature.restype = ctypes.c_char_p
        self.signature: str = signature().decode()
        self.name, self.cooperative, self.cluster = name, cooperative, 1
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.stats: dict[str, int] = {}

    def _value(self, k: int, argument: Any, letter: str) -> np.ndarray:
        pointer = letter.isupper()
        if pointer and argument is None:
            return np.zeros(1, np.uintp)
        if not isinstance(argument, np.ndarray if pointer else np.generic) or not _matches(
            letter.lower(), argument.dtype
        ):
            kind = getattr(argument, "dtype", "")
            raise TypeError(  # CuPy would pass the wrong bytes without a word
                f"{self.name}: argument {k} is a {type(argument).__name__} {kind}, "
                f"the kernel takes {letter!r}"
            )
        return np.array([argument.ctypes.data], np.uintp) if pointer else np.array([argument])

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, *, shared_mem: int = 0
    ) -> None:
        if len(args) != len(self.signature):
            raise TypeError(f"{self.name}: {len(args)} arguments for {len(self.signature)} parameters")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise EmuError(
                f"{self.name}: {shared_mem} bytes of shared memory, but max_dynamic_shared_size_bytes is "
                f"{self.max_dynamic_shared_size_bytes}"
            )
        values = [self._value(k, a, c) for k, (a, c) in enumerate(zip(args, self.signature, strict=True))]
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        triple = ctypes.c_uint * 3
        stats, message = (ctypes.c_uint64 * 4)(), ctypes.create_string_buffer(2048)
        failed = _runtime().xpemu_launch(
            self._entry,
            triple(*(*grid, 1, 1)[:3]),
            triple(*(*block, 1, 1)[:3]),
            ctypes.c_uint64(shared_mem),
            ctypes.c_uint(self.cluster),
            int(self.cooperative),
            ctypes.c_uint(_schedule.resident),
            pointers,
            _schedule.order,
            ctypes.c_uint64(_schedule.seed),
            int(_schedule.strict),
            stats,
            message,
            ctypes.c_size_t(2048),
        )
        self.stats = dict(zip(("switches", "barriers", "warp_ops", "static_shared"), stats, strict=True))
        if failed:
            raise EmuError(f"{self.name}: {message.value.decode()}")


class EmuModule:
    """Same constructor and `get_function` as `cupy.RawModule`, and the architecture to stand in for."""

    kernel = EmuKernel
    instrument: tuple[str, ...] = ()  # more of g++'s options

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] = (),
        enable_cooperative_groups: bool = False,
        arch: int = 90,
        **_: Any,
    ) -> None:
        names = tuple(name_expressions)
        if "XP_MUTANT" in os.environ:
            from tests.kernels import ladder

            code = ladder.mutate(code)
        _runtime()
        self._library = ctypes.CDLL(str(build.kernels(code, names, tuple(options), arch, self.instrument)))
        self._index = {name: i for i, name in enumerate(names)}
        self._cooperative = enable_cooperative_groups

    def get_function(self, name: str) -> EmuKernel:
        """The kernel of that name expression."""
        return self.kernel(self._library, self._index[name], name, self._cooperative)
