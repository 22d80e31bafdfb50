"""From a kernel's file and name to something that can be launched; and the arithmetic that launchers share.

A launcher asks for `kernel("cross_entropy.cu", "xent_warp<float, 4, 8, 32, 128>")` and calls the result as a
CuPy kernel: `k(grid, block, args, shared_mem=bytes)`. Scalars go as `np.int32`, `np.int64`, `np.float32` or
`np.float64`, exactly the types of the parameters; arrays go whole (None is the null pointer), their strides
are not seen. A kernel is compiled at its first use, once a device, and kept on disk by CuPy.

The one replaceable part is the module class: `cupy.RawModule`, or with `use(EmuModule)` the tests' emulator,
which runs the same sources on NumPy arrays through the same launchers.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.context import Setting
from xpnet.core.places import namespace

log = logging.getLogger("xpnet.cuda")
Kernel = Callable[..., None]
ModuleFactory = Callable[..., Any]

# CuPy adds the architecture and -ftz=true, and finds the toolkit's headers
OPTIONS = ("--std=c++17",)


# ---- sources ----------------------------------------------------------------------------------------------


@functools.cache
def folder() -> Path:
    """The folder of the CUDA sources: `kernels/` of this checkout, or the package xpnet.kernels."""
    places = [Path(__file__).resolve().parents[2] / "kernels"]  # first: another checkout may be installed
    spec = importlib.util.find_spec("xpnet.kernels")
    places += [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    for place in places:
        if (place / "common.cuh").exists():
            return place
    raise FileNotFoundError(
        f"xpnet's CUDA sources are missing: no common.cuh in {', '.join(map(str, places))}"
    )


_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.M)


def assemble(file: str, seen: set[str] | None = None) -> str:
    """The whole text of a source, its own headers written in place.

    CuPy names compiled kernels on disk by a hash of the text and does not look into headers; so the headers
    are part of the text. `#line` keeps the positions in messages.
    """
    seen = set() if seen is None else seen
    text = (folder() / file).read_text(encoding="utf-8").replace("#pragma once", "")

    def include(match: re.Match[str]) -> str:
        header, after = match[1], text.count("\n", 0, match.start()) + 2
        if header in seen:
            return ""
        seen.add(header)
        return f'{assemble(header, seen)}\n#line {after} "{file}"'

    return f'#line 1 "{file}"\n{_INCLUDE.sub(include, text)}'


@functools.cache
def source(file: str) -> str:
    """`assemble`, once a process."""
    return assemble(file)


# ---- kernels ----------------------------------------------------------------------------------------------


class Target:
    """One device: how modules are made for it, its architecture (90 for sm_90), and what it has so far."""

    def __init__(
        self, factory: ModuleFactory, arch: int, multiprocessors: int, options: dict[str, Any]
    ) -> None:
        self.factory, self.arch, self.multiprocessors, self.options = factory, arch, multiprocessors, options
        self.kernels: dict[tuple[str, str, int, int, bool], Kernel] = {}

    def build(self, file: str, name: str, cluster: int, shared: int, cooperative: bool) -> Kernel:
        """Compile one kernel, or fetch it from CuPy's disk cache."""
        log.debug("compiling %s of %s for sm_%d", name, file, self.arch)
        start = time.perf_counter()
        module = self.factory(
            code=source(file),
            options=OPTIONS,
            name_expressions=(name,),
            enable_cooperative_groups=cooperative,
            **self.options,
        )
        kernel = module.get_function(name)
        if shared > 48 * 1024:
            kernel.max_dynamic_shared_size_bytes = shared
        if cluster > 1 and hasattr(kernel, "cluster"):
            kernel.cluster = cluster  # on a GPU, __cluster_dims__ in the source says it
        if not cooperative:  # what a RawKernel calls after it has looked for the device, which is this one
            kernel = getattr(kernel, "kernel", kernel)
        self.kernels[file, name, cluster, shared, cooperative] = kernel
        log.debug("compiled %s in %.2f s", name, time.perf_counter() - start)
        return kernel


_override: Setting[Target | None] = Setting("xpnet_cuda_target", None)
_devices: dict[int, Target] = {}


def target() -> Target:
    """The device that kernels are launched on now."""
    replaced = _override.get()
    if replaced is not None:
        return replaced
    number = _runtime().getDevice()
    return _devices.get(number) or _made(number)


def _made(number: int) -> Target:
    import cupy

    device = cupy.cuda.Device(number)
    arch, multiprocessors = int(device.compute_capability), device.attributes["MultiProcessorCount"]
    return _devices.setdefault(number, Target(cupy.RawModule, arch, multiprocessors, {}))


@functools.cache
def _runtime() -> Any:
    from cupy.cuda import runtime  # a statement that takes longer than the call it is for

    return runtime


def is_replaced() -> bool:
    """Whether launches go through another module class than CuPy's."""
    return _override.get() is not None


def targets() -> list[Target]:
    """Every device that has been used."""
    replaced = _override.get()
    return [*_devices.values(), *([replaced] if replaced else [])]


@contextmanager
def use(factory: ModuleFactory, arch: int = 90, multiprocessors: int = 4) -> Iterator[Target]:
    """Launch through another module class for the length of a `with` block.

    Args:
        factory: called as `cupy.RawModule` is, with `arch` besides.
        arch: the architecture to stand in for, as an integer: 90 for sm_90.
        multiprocessors: how many the device has, for launchers that fill it.
    """
    chosen = Target(factory, arch, multiprocessors, {"arch": arch})
    with _override.within(chosen):
        yield chosen


def kernel(file: str, name: str, *, cluster: int = 1, shared: int = 0, cooperative: bool = False) -> Kernel:
    """The kernel `name` (a C++ name, template arguments included) of `kernels/<file>` on the current device.

    Args:
        file: the source's name.
        name: as written in C++, for instance `"bn_apply<float, 4>"`.
        cluster: blocks in a cluster, as in the source's XP_CLUSTER.
        shared: the most dynamic shared memory, in bytes, that any launch will ask for.
        cooperative: whether the kernel uses a grid barrier.
    """
    here = target()
    found = here.kernels.get((file, name, cluster, shared, cooperative))
    return here.build(file, name, cluster, shared, cooperative) if found is None else found


# ---- scalars ----------------------------------------------------------------------------------------------

# making a NumPy scalar takes longer than finding the kernel, and sizes and flags are the same in every step
int32 = functools.lru_cache(4096)(np.int32)
int64 = functools.lru_cache(4096)(np.int64)
uint32 = functools.lru_cache(4096)(np.uint32)


@functools.lru_cache(4096)
def scalar(kind: Any, value: float) -> Any:
    """A setting of an op as a NumPy scalar of this type; 0.0 and -0.0 are one."""
    return kind(value)


# ---- arrays as kernels see them ---------------------------------------------------------------------------


class Shaped(NamedTuple):
    """In place of an array, for what only looks at its shape."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


def address(x: Array) -> int:
    """The address of the first element."""
    return x.ctypes.data if type(x) is np.ndarray else x.data.ptr


def stream() -> int:
    """The address of the stream that work goes to now."""
    pointer: int = _current_stream()().ptr
    return pointer


def when_stream_ends(function: Callable[..., Any], *args: Any) -> None:
    """Call a function once the current stream is no more."""
    weakref.finalize(_current_stream()(), function, *args).atexit = False


@functools.cache
def _current_stream() -> Any:
    from cupy.cuda import get_current_stream

    return get_current_stream


def is_contiguous(x: Array) -> bool:
    """Whether it lies in C order."""
    return (
        x.flags.c_contiguous if type(x) is np.ndarray else x._c_contiguous
    )  # CuPy makes an object for flags


def contiguous(x: Array) -> Array:
    """`x`, or a copy of it in C order."""
    return x if is_contiguous(x) else namespace(x).ascontiguousarray(x)


def empty(like: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array beside `like`, whose device is the current one; contents of no meaning."""
    return (
        np.empty(shape, dtype) if type(like) is np.ndarray else type(like)(shape, dtype)
    )  # as cupy.empty does


def room(given: Array | None, like: Array) -> Array:
    """`given` if a result like `like` can be written there, else a new array."""
    if given is not None and given.dtype == like.dtype and is_contiguous(given):
        return given
    return empty(like, like.shape, like.dtype)


def row_stride(x: Array) -> int | None:
    """Elements from one row of a matrix to the next; None if those of a row are not next to each other."""
    rows, columns = x.shape
    if is_contiguous(x) or (rows <= 1 and columns <= 1):
        return columns
    outer, inner = x.strides
    if (columns > 1 and inner != x.itemsize) or outer % x.itemsize or (rows > 1 and outer < 0):
        return None
    return outer // x.itemsize


# ---- launch sizes -----------------------------------------------------------------------------------------


def ceil_div(n: int, d: int) -> int:
    """n / d, rounded up."""
    return -(-n // d)


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(0, n - 1).bit_length()


def flat_blocks(n: int, elements: int) -> int:
    """Blocks of so many elements for flat.cuh, whose vectors may begin 7 places into the first piece."""
    return ceil_div(n + 7, elements)


def blocks_for(n: int, block: int, per_multiprocessor: int = 8) -> int:
    """How many blocks a grid-stride loop over n items wants: enough to fill the device, no more than that."""
    return max(1, min(ceil_div(n, block), target().multiprocessors * per_multiprocessor))
