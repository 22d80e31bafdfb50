"""What a column is: a library on a device, how it holds arrays, and how its work is timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
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
    steps_only: bool = False  # whether it differs from another column in whole training steps alone
    precision: str = "float32"  # of products of float32 numbers: "float32", "tf32", or "bf16" for autocast
    channels_last: bool = False  # whether images keep the channels of a pixel side by side
    library: ClassVar[str] = ""
    library_title: ClassVar[str] = ""
    device: str = "cpu"

    def missing(self) -> str | None:
        """Why the column cannot run here; None if it can."""
        return import_error(self.library)

    def prepare(self) -> None:
        """Make the library ready, once; its number of threads comes from the environment."""

    def active(self) -> AbstractContextManager[Any]:
        """The state in which programs are built, checked and timed."""
        return nullcontext()

    def casts(self) -> AbstractContextManager[Any]:
        """Autocast, where that is the column's precision: around one step, whose weights it casts once."""
        return nullcontext()

    def cast(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A training step within `casts`, where that is the column's precision."""

        def cast(*arrays: Any) -> Any:
            with self.casts():
                return step(*arrays)

        return cast if self.precision == "bf16" else step

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

    def laid_out(self, model: Any) -> Any:
        """The same model, whose images lie as the column wants."""
        return model.to(memory_format="channels_last") if self.channels_last else model

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


def import_error(package: str) -> str | None:
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken installation must not end the run
        lines = str(error).splitlines() or [""]
        return f"{package} is not installed" if isinstance(error, ModuleNotFoundError) else lines[0]
    return None
