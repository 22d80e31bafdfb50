"""Kernel tests call the launchers: on NumPy arrays with the emulator, on CuPy's with `--backend cupy`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests import emulator
from xpnet.core.convert import to_numpy
from xpnet.core.notes import check_errors
from xpnet.cuda import loader


class Launch:
    """Where launchers run: makes their input arrays and holds what differs between emulator and GPU."""

    def __init__(self, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu, self._monkeypatch = gpu, monkeypatch
        self.hardware = gpu and not importlib.import_module("cupy").__version__.endswith("+cpu")

    def array(self, x: Any, dtype: Any = None, offset: int = 0) -> Any:
        """An input array; `offset` in elements makes an unaligned view. Guarded on the emulator."""
        x = np.asarray(x) if dtype is None else np.asarray(x).astype(dtype)
        if not self.gpu:
            return emulator.guarded(x, offset * x.itemsize)
        import cupy

        room = cupy.empty(x.size + offset, x.dtype)
        view = room[offset:].reshape(x.shape)
        view[...] = cupy.asarray(x)
        return view

    @contextmanager
    def on(self, arch: int = 90, **schedule: Any) -> Iterator[None]:
        """Launch with the tiers of an architecture; `schedule` is the emulator's. Outputs start as NaN."""
        with self._monkeypatch.context() as patch:
            if self.gpu:
                here = loader.target()
                if here.arch < arch:
                    pytest.skip(f"this GPU is below sm_{arch}")
                patch.setattr(here, "arch", arch if arch < 90 else here.arch)
                xp = importlib.import_module("xpnet.core.cupy_namespace")
                patch.setattr(xp, "empty", _poisoned(xp.empty))
                patch.setattr(loader, "empty", _poisoned(loader.empty))
                yield
                return
            patch.setattr(np, "empty", emulator.poisoned_empty)
            with loader.use(emulator.EmuModule, arch), emulator.schedule(**schedule):
                yield
        emulator.check_guards()

    def read(self, x: Any) -> None:
        """Wait for x, as whoever reads it does, and raise what has been noted."""
        self.numpy(x)
        check_errors()

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        """The values, in float64 if they are floats."""
        x = to_numpy(x)
        return x if x.dtype.kind in "iub" else x.astype(np.float64)


def _poisoned(empty: Callable[..., Any]) -> Callable[..., Any]:
    """CuPy's `empty`, filled with NaN (-1 for integers)."""

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        out = empty(*args, **kwargs)
        if out.nbytes:
            out.data.memset(0xFF, out.nbytes)
        return out

    return poisoned


@pytest.fixture
def launch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Runs launchers on the emulator, or on the GPU under `--backend cupy`."""
    gpu = "cupy" in request.config.getoption("--backend")
    if gpu:
        cupy = pytest.importorskip("cupy")
        if "XP_PLAIN_ALLOCATOR" in os.environ:  # for compute-sanitizer
            cupy.cuda.set_allocator(None)
    elif (reason := emulator.missing()) is not None:
        pytest.skip(reason)
    return Launch(gpu, monkeypatch)
