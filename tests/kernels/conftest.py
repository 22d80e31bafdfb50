"""Kernel tests call the launchers: on NumPy arrays with the emulator, on CuPy's with `--backend cupy`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests import emulator
from xpnet.backend import to_numpy
from xpnet.cuda import loader


class Launch:
    """Where launchers run: makes their input arrays and holds what differs between emulator and GPU."""

    def __init__(self, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu, self._monkeypatch = gpu, monkeypatch

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
        """Launch as on an architecture, in some order of threads (`Schedule`). A GPU is what it is."""
        if self.gpu:
            if loader.target().arch < arch:
                pytest.skip(f"this GPU is below sm_{arch}")
            yield
            return
        with (
            loader.use(emulator.EmuModule, arch),
            emulator.schedule(**schedule),
            self._monkeypatch.context() as patch,
        ):
            patch.setattr(np, "empty", emulator.poisoned_empty)  # what a kernel does not write shows as NaN
            patch.setattr(
                np, "empty_like", lambda a, **k: emulator.poisoned_empty(a.shape, k.get("dtype") or a.dtype)
            )
            yield
        emulator.check_guards()

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        """The values, in float64 if they are floats."""
        x = to_numpy(x)
        return x if x.dtype.kind in "iub" else x.astype(np.float64)


@pytest.fixture
def launch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Runs launchers on the emulator, or on the GPU under `--backend cupy`."""
    gpu = "cupy" in request.config.getoption("--backend")
    if gpu:
        pytest.importorskip("cupy")
    elif (reason := emulator.missing()) is not None:
        pytest.skip(reason)
    return Launch(gpu, monkeypatch)
