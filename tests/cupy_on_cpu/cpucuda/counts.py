"""Counts of what the host asked of the device: `with cpucuda.count() as n: ...; n.launches`."""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = (  # as in device/counts.h
    "launches",
    "graphs",
    "products",
    "synchronisations",
    "host_to_device",
    "host_to_device_bytes",
    "device_to_host",
    "device_to_host_bytes",
    "device_to_device",
    "device_to_device_bytes",
    "memsets",
    "allocations",
    "allocation_bytes",
    "frees",
    "host_allocations",
    "factorizations",
    "transforms",
)
_OURS = ("cupy", "cupy_backends", "cupyx", "cpucuda")
_WITNESS = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p)
_library: ctypes.CDLL


class Count:
    """What happened since it was made; after its `with` block, what happened inside.

    launches: kernels (`kernels` has them by name); graphs: launches of captured graphs, whose kernels do not
    count again; products: calls of cuBLAS; factorizations: calls of cuSOLVER; transforms: calls of cuFFT;
    synchronisations: calls that make the host wait for the device;
    host_to_device, device_to_host, device_to_device: copies, each with its `_bytes`; memsets; allocations,
    allocation_bytes, frees: of device memory (what CuPy's pool takes from its stock does not count);
    host_allocations: of pinned memory. `places` has, with `count(places=True)`, the lines that asked:
    `(what, "file:line") -> times`.
    """

    launches: int
    graphs: int
    products: int
    synchronisations: int
    host_to_device: int
    host_to_device_bytes: int
    device_to_host: int
    device_to_host_bytes: int
    device_to_device: int
    device_to_device_bytes: int
    memsets: int
    allocations: int
    allocation_bytes: int
    frees: int
    host_allocations: int
    factorizations: int
    transforms: int

    def __init__(self) -> None:
        self._start, self._end = _now(), None
        self.places: Counter[tuple[str, str]] = Counter()

    def _values(self) -> dict[str, int]:
        end = self._end or _now()
        return {name: b - a for name, a, b in zip(NAMES, self._start[0], end[0], strict=True)}

    def __getattr__(self, name: str) -> int:
        if name in NAMES:
            return self._values()[name]
        raise AttributeError(name)

    @property
    def kernels(self) -> Counter[str]:
        """How often each kernel was launched, by its name in the source."""
        return (self._end or _now())[1] - self._start[1]

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v}" for k, v in self._values().items() if v)
        lines = [f"  {n} {what} {at}" for (what, at), n in self.places.most_common()]
        return "\n".join([f"Count({values})", *lines])


def _now() -> tuple[tuple[int, ...], Counter[str]]:
    values = (ctypes.c_uint64 * len(NAMES))()
    assert _library.cpucuda_counts(values) == len(NAMES)
    room = _library.cpucuda_kernels(None, 0)
    text = ctypes.create_string_buffer(room + 4096)
    _library.cpucuda_kernels(text, len(text))
    kernels = (line.split(" ", 1) for line in text.value.decode().splitlines())
    return tuple(values), Counter({name: int(n) for n, name in kernels})


def _place() -> str:
    """The innermost line that is neither CuPy's nor this package's."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@contextmanager
def count(places: bool = False) -> Iterator[Count]:
    """Count what happens inside of the block, in all threads; blocks may be nested.

    Args:
        places: also note the line of Python that asked for each launch, copy, wait ...; one block at a time.
    """
    n = Count()

    @_WITNESS
    def witness(what: int, name: bytes) -> None:
        kind = NAMES[what]
        n.places[f"{kind} {name.decode()}".strip(), _place()] += 1

    if places:
        _library.cpucuda_set_witness(witness)
    try:
        yield n
    finally:
        n._end = _now()
        if places:
            _library.cpucuda_set_witness(None)


def install(library: ctypes.CDLL) -> None:
    """Read the counts of that library."""
    global _library
    _library = library
    library.cpucuda_counts.restype = library.cpucuda_kernels.restype = ctypes.c_size_t
    library.cpucuda_kernels.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.cpucuda_set_witness.restype = None
