"""xpnet's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from bench.columns.base import Column


class XpnetColumn(Column):
    """xpnet on one backend, with its fused kernels or with its Array API bodies alone.

    Args:
        backend: its name.
        fused: whether kernels run.
        captured: whether training steps are captured, with `xpnet.capture`.
        precision: of products: "float32", "tf32", or "bf16", which is `xpnet.autocast`.
        channels_last: whether images are.
    """

    library = library_title = "xpnet"

    def __init__(
        self,
        backend: str,
        fused: bool,
        captured: bool = False,
        precision: str = "float32",
        channels_last: bool = False,
    ) -> None:
        self.backend, self.fused, self.captured, self.precision = backend, fused, captured, precision
        self.channels_last = channels_last
        self.device = "cuda" if backend == "cupy" else "cpu"
        ways = {"unfused": not fused, "captured": captured, precision: precision != "float32"}
        ways["channels_last"] = channels_last
        chosen = [way for way, given in ways.items() if given]
        self.key = "-".join(["xpnet", *(["cupy"] if backend == "cupy" else []), *chosen])
        titles = {"unfused": "fused kernels off", "captured": "captured steps"}
        self.title = ", ".join([f"xpnet {backend}", *(titles.get(way, way) for way in chosen)])
        self.steps_only = captured

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

    @contextmanager
    def active(self) -> Iterator[None]:
        import xpnet

        with (
            xpnet.use_backend(self.backend),
            xpnet.fused(self.fused),
            xpnet.matmul_precision("tf32" if self.precision == "tf32" else "float32"),
        ):
            yield

    def casts(self) -> AbstractContextManager[Any]:
        import xpnet

        return xpnet.autocast("bf16") if self.precision == "bf16" else nullcontext()

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        import xpnet

        step = self.cast(step)
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
