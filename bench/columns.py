"""The columns of the report: a library on a device, how it holds arrays, and how its work is timed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, ClassVar

import numpy as np


class Column:
    """A library on a device.

    Attributes:
        key: short name, for `--columns` and result files.
        title: what it is.
        library: the method of a case that this column calls.
        device: "cpu" or "cuda".
    """

    key: str
    title: str
    precise: bool = True  # whether products of float32 numbers are made in float32
    library: ClassVar[str] = ""
    library_title: ClassVar[str] = ""
    device: str = "cpu"

    def missing(self) -> str | None:
        """Why the column cannot run here; None if it can."""
        return _import_error(self.library)

    def prepare(self, threads: int) -> None:
        """Set the number of CPU threads, once."""

    def active(self) -> AbstractContextManager[Any]:
        """The state in which programs are built, checked and timed."""
        return nullcontext()

    def array(self, host: np.ndarray) -> Any:
        """A host array where this column computes; it may share memory."""
        return host

    def host(self, array: Any) -> np.ndarray:
        """The values on the host."""
        return np.asarray(array)

    def compile(self, function: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """What the column's compiler, if any, makes of a function that may overwrite arguments `donate`."""
        return function

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """What the column makes of a whole training step, a function of arrays: one launch, say."""
        return step

    def seconds(self, run: Callable[[int], Any], indices: Sequence[int]) -> float:
        """The time of one `run` after the other, until the last has finished."""
        start = perf_counter()
        for i in indices:
            out = run(i)
        self.wait(out)
        return perf_counter() - start

    def wait(self, out: Any) -> None:
        """Return when `out` has been computed."""

    def forget(self) -> None:
        """Give memory back after a case."""


def _import_error(package: str) -> str | None:
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken installation must not end the run
        lines = str(error).splitlines() or [""]
        return f"{package} is not installed" if isinstance(error, ModuleNotFoundError) else lines[0]
    return None


class NumpyColumn(Column):
    """The hand-written programs."""

    key, title, library, library_title = "numpy", "hand-written NumPy", "numpy", "NumPy"

    def missing(self) -> str | None:
        return None

    def host(self, array: Any) -> Any:
        return array  # CuPy's too: NumPy's functions work on them where they are


class XpnetColumn(Column):
    """xpnet on one backend, with its fused kernels or with its Array API bodies alone.

    Args:
        backend: its name.
        fused: whether kernels run.
        captured: whether training steps are captured, with `xpnet.capture`.
        precision: of float32 products.
    """

    library = library_title = "xpnet"

    def __init__(self, backend: str, fused: bool, captured: bool = False, precision: str = "float32") -> None:
        self.backend, self.fused, self.captured, self.precision = backend, fused, captured, precision
        self.device = "cuda" if backend == "cupy" else "cpu"
        ways = {"unfused": not fused, "captured": captured, precision: precision != "float32"}
        chosen = [way for way, given in ways.items() if given]
        self.key = "-".join(["xpnet", *(["cupy"] if backend == "cupy" else []), *chosen])
        titles = {"unfused": "fused kernels off", "captured": "captured steps"}
        self.title = ", ".join([f"xpnet {backend}", *(titles.get(way, way) for way in chosen)])
        self.precise = precision == "float32"

    def missing(self) -> str | None:
        import xpnet
        from xpnet.core.places import backend_name
        from xpnet.core.registry import registered

        try:
            with xpnet.use_backend(self.backend):
                backend_name(xpnet.asarray([0.0]))  # loads the backend's kernels
        except xpnet.BackendUnavailableError as error:
            return str(error)
        if not self.fused and not any(self.backend in backends for backends in registered().values()):
            return f"no fused kernels are registered for {self.backend}, so it is what the fused column runs"
        return None

    def prepare(self, threads: int) -> None:
        if self.backend == "numpy" and self.fused and _import_error("numba") is None:
            import numba

            numba.set_num_threads(min(threads, int(numba.config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]

    @contextmanager
    def active(self) -> Iterator[None]:
        import xpnet

        with (
            xpnet.use_backend(self.backend),
            xpnet.fused(self.fused),
            xpnet.matmul_precision(self.precision),
        ):
            yield

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        import xpnet

        return xpnet.capture(step) if self.captured else step

    def array(self, host: np.ndarray) -> Any:
        import xpnet

        return xpnet.asarray(host)

    def host(self, array: Any) -> np.ndarray:
        import xpnet

        return xpnet.to_numpy(array)

    def seconds(self, run: Callable[[int], Any], indices: Sequence[int]) -> float:
        return _cupy_seconds(run, indices) if self.device == "cuda" else super().seconds(run, indices)

    def forget(self) -> None:
        if self.device == "cuda":
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()


def _cupy_seconds(run: Callable[[int], Any], indices: Sequence[int]) -> float:
    """Time between two events of the current stream."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for i in indices:
        run(i)
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(start, end) / 1e3


class TorchColumn(Column):
    """PyTorch, eager or compiled, as a user would write it; float32 products in full float32.

    Args:
        device: "cpu" or "cuda".
        compiled: whether losses and optimizers go through `torch.compile`.
        mode: of that.
        captured: whether training steps are CUDA graphs, as PyTorch's notes on CUDA write them.
        precision: of float32 products, "float32" or "tf32".
    """

    library, library_title = "torch", "PyTorch"

    def __init__(
        self,
        device: str,
        compiled: bool = False,
        mode: str = "default",
        captured: bool = False,
        precision: str = "float32",
    ) -> None:
        self.device, self.compiled, self.mode = device, compiled, mode
        self.captured, self.precision = captured, precision
        ways = [*([mode] if mode != "default" else []), *(["captured"] if captured else [])]
        ways += [precision] if precision != "float32" else []
        name = "compile" if compiled else "torch"
        self.key = "-".join([name, *(["cuda"] if device == "cuda" else []), *ways])
        title = ("torch.compile" if compiled else "torch eager") + f" on {device}"
        self.title = ", ".join([title, *ways])
        self.precise = precision == "float32"

    @contextmanager
    def active(self) -> Iterator[None]:
        import torch

        tf32, before = self.precision == "tf32", torch.backends.cuda.matmul.allow_tf32
        if before == tf32:
            yield
            return
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = before

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return _torch_graph(step) if self.captured else step

    def missing(self) -> str | None:
        reason = _import_error("torch")
        if reason is None and self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "torch sees no CUDA device"
        return reason

    def prepare(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def array(self, host: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(host).to(self.device)

    def host(self, array: Any) -> np.ndarray:
        return array.detach().cpu().numpy()

    def compile(self, function: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        if not self.compiled:
            return function
        import torch

        return torch.compile(function, mode=self.mode)

    def seconds(self, run: Callable[[int], Any], indices: Sequence[int]) -> float:
        if self.device == "cpu":
            return super().seconds(run, indices)
        import torch

        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for i in indices:
            run(i)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def forget(self) -> None:
        import torch

        if self.compiled:
            torch.compiler.reset()
        if self.device == "cuda":
            torch.cuda.empty_cache()


def _torch_graph(step: Callable[..., Any]) -> Callable[..., Any]:
    """A training step as a CUDA graph, after three steps on a side stream, which count as steps."""
    import torch

    calls, static, graph, loss = 0, [], torch.cuda.CUDAGraph(), None

    def run(*arrays: Any) -> Any:
        nonlocal calls, static, loss
        calls += 1
        if calls <= 3:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                result = step(*arrays)
            torch.cuda.current_stream().wait_stream(stream)
            return result
        if not static:
            static = [array.clone() for array in arrays]
            with torch.cuda.graph(graph):
                loss = step(*static)
        for own, given in zip(static, arrays, strict=True):
            own.copy_(given)
        graph.replay()
        return loss

    return run


class JaxColumn(Column):
    """JAX, each program one `jit`; float32 products in full float32."""

    library, library_title = "jax", "JAX"

    def __init__(self, device: str) -> None:
        self.device = device
        self.key = "jax" + ("" if device == "cpu" else "-cuda")
        self.title = f"jax jit on {device}"

    def missing(self) -> str | None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory to the others
        reason = _import_error("jax")
        if reason is None:
            import jax

            try:
                jax.devices(self.device)
            except RuntimeError:
                return f"jax has no {self.device} device"
        return reason

    def prepare(self, threads: int) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    @contextmanager
    def active(self) -> Iterator[None]:
        import jax

        with jax.default_device(jax.devices(self.device)[0]):
            yield

    def array(self, host: np.ndarray) -> Any:
        import jax

        # a copy: donated buffers must not be the host's
        return jax.device_put(np.array(host), jax.devices(self.device)[0])

    def compile(self, function: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        import jax

        return jax.jit(function, donate_argnums=donate)

    def wait(self, out: Any) -> None:
        import jax

        jax.block_until_ready(out)

    def forget(self) -> None:
        import jax

        jax.clear_caches()


class SklearnColumn(Column):
    """scikit-learn's MLPClassifier."""

    key, title, library, library_title = "sklearn", "sklearn MLPClassifier", "sklearn", "scikit-learn"


class ThincColumn(Column):
    """thinc's layers and optimizers on NumPy."""

    key, title, library, library_title = "thinc", "thinc", "thinc", "thinc"


# ---- data that never leave the device ----------------------------------------------------------------------


class DeviceRandom:
    """Normal and whole numbers as CuPy arrays, as fast as memory: repetitions of a few million from the host.

    Of a prime number of them, so that no row of a matrix is like another.
    """

    def __init__(self, seed: int = 0, size: int = 4_194_301) -> None:
        import cupy

        self.xp, self.at = cupy, 0
        rng = np.random.default_rng(seed)
        self.normal = cupy.asarray(rng.standard_normal(size, dtype=np.float32))
        self.word = cupy.asarray(rng.integers(0, 1 << 31, size))

    def _take(self, values: Any, n: int) -> Any:
        """n of the values, from another place each time."""
        self.at = (self.at + 999_983) % values.size
        rolled = self.xp.concatenate([values[self.at :], values[: self.at]])
        return self.xp.tile(rolled, -(-n // values.size))[:n]

    def standard_normal(self, shape: Any, dtype: Any = np.float32) -> Any:
        """Of N(0, 1)."""
        shape = (shape,) if isinstance(shape, int) else shape
        return self._take(self.normal, int(np.prod(shape))).reshape(shape).astype(dtype, copy=False)

    def integers(self, low: int, high: int, n: int) -> Any:
        """From `low` to `high` - 1."""
        return low + self._take(self.word, n) % (high - low)


class OnDevice:
    """A CUDA column whose inputs and results are CuPy arrays."""

    def array(self, host: Any) -> Any:
        return host

    def host(self, array: Any) -> Any:
        return array


class XpnetOnDevice(OnDevice, XpnetColumn):
    """xpnet on CuPy."""

    def host(self, array: Any) -> Any:
        import xpnet

        return array.data if isinstance(array, xpnet.Tensor) else array


class TorchOnDevice(OnDevice, TorchColumn):
    """PyTorch on CUDA; the memory is CuPy's."""

    def array(self, host: Any) -> Any:
        import torch

        if host.dtype.name != "bfloat16":
            return torch.from_dlpack(host)
        return torch.from_dlpack(host.view(np.int16)).view(torch.bfloat16)

    def host(self, array: Any) -> Any:
        import cupy
        import torch

        array = array.detach()
        if array.dtype != torch.bfloat16:
            return cupy.from_dlpack(array)
        import ml_dtypes

        return cupy.from_dlpack(array.view(torch.int16)).view(ml_dtypes.bfloat16)


def all_columns() -> list[Column]:
    """Every column there is, in the order of the report."""
    return [
        XpnetColumn("numpy", fused=True),
        XpnetColumn("numpy", fused=False),
        NumpyColumn(),
        TorchColumn("cpu"),
        TorchColumn("cpu", compiled=True),
        JaxColumn("cpu"),
        SklearnColumn(),
        ThincColumn(),
        XpnetColumn("cupy", fused=True),
        XpnetColumn("cupy", fused=False),
        XpnetColumn("cupy", fused=True, captured=True),
        XpnetColumn("cupy", fused=True, captured=True, precision="tf32"),
        TorchColumn("cuda"),
        TorchColumn("cuda", captured=True),
        TorchColumn("cuda", captured=True, precision="tf32"),
        TorchColumn("cuda", compiled=True),
        TorchColumn("cuda", compiled=True, mode="reduce-overhead"),
        JaxColumn("cuda"),
    ]


SLOW_TO_PREPARE = ("compile", "compile-cuda", "compile-cuda-reduce-overhead")
"""Columns that `--quick` leaves out unless they are named: compiling takes minutes."""


def select(names: Sequence[str] | None, quick: bool) -> tuple[list[Column], dict[str, str]]:
    """The columns that can run, and why the others cannot.

    Args:
        names: keys of the wanted columns; None for all.
        quick: leave out those that take minutes to prepare.

    Raises:
        ValueError: a name is unknown.
    """
    columns = all_columns()
    known = [c.key for c in columns]
    for name in names or ():
        if name not in known:
            raise ValueError(f"unknown column {name!r}; columns are {', '.join(known)}")
    present, missing = [], {}
    for column in columns:
        if names is not None and column.key not in names:
            missing[column.key] = "not asked for"
        elif names is None and quick and column.key in SLOW_TO_PREPARE:
            missing[column.key] = (
                f"left out by --quick, compiling takes minutes; ask with --columns {column.key}"
            )
        else:
            reason = column.missing()
            if reason is None:
                present.append(column)
            else:
                missing[column.key] = reason
    return present, missing
