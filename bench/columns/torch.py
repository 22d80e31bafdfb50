"""PyTorch's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from bench.columns.base import Column, import_error


class TorchColumn(Column):
    """PyTorch, eager or compiled, as a user would write it; float32 products in full float32.

    Args:
        device: "cpu" or "cuda".
        compiled: whether losses and optimizers go through `torch.compile`.
        mode: of that.
        captured: whether training steps are CUDA graphs, as PyTorch's notes on CUDA write them.
        precision: of products: "float32", "tf32", or "bf16", which is `torch.autocast`.
        channels_last: whether images are.
    """

    library, library_title = "torch", "PyTorch"

    def __init__(
        self,
        device: str,
        compiled: bool = False,
        mode: str = "default",
        captured: bool = False,
        precision: str = "float32",
        channels_last: bool = False,
    ) -> None:
        self.device, self.compiled, self.mode = device, compiled, mode
        self.captured, self.precision, self.channels_last = captured, precision, channels_last
        ways = [*([mode] if mode != "default" else []), *(["captured"] if captured else [])]
        ways += [precision] if precision != "float32" else []
        ways += ["channels_last"] if channels_last else []
        name = "compile" if compiled else "torch"
        self.key = "-".join([name, *(["cuda"] if device == "cuda" else []), *ways])
        title = ("torch.compile" if compiled else "torch eager") + f" on {device}"
        self.title = ", ".join([title, *ways])

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
        step = self.cast(step)
        return _torch_graph(step) if self.captured else step

    def casts(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def missing(self) -> str | None:
        reason = import_error("torch")
        if reason is None and self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "torch sees no CUDA device"
        return reason

    def prepare(self) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def array(self, host: np.ndarray) -> Any:
        import torch

        array = torch.from_numpy(host).to(self.device)
        last = self.channels_last and array.ndim == 4
        return array.contiguous(memory_format=torch.channels_last) if last else array

    def laid_out(self, model: Any) -> Any:
        import torch

        return model.to(memory_format=torch.channels_last) if self.channels_last else model

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
