"""Ops that reach their kernels through the registry, as a model does: on NumPy arrays with the emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import xpnet
from tests.kernels.conftest import Launch
from xpnet.core import registry as dispatch


@contextmanager
def registered(launch: Launch, *modules: ModuleType) -> Iterator[Counter[str]]:
    """Send ops to the launchers of these modules; counts calls by op. New arrays are made there."""
    backend = "cupy" if launch.gpu else "numpy"
    counts: Counter[str] = Counter()
    names = {m.__name__ for m in modules}
    dispatch.load_kernels("cupy")
    dispatch.load_kernels("numpy")
    previous = [(op, dict(op.kernels)) for op in dispatch.ops_with_kernels()]

    def counted(name: str, launcher: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = launcher(*args, **kwargs)
            counts[name] += result is not NotImplemented
            return result

        return call

    for op, kernels in previous:
        ours = kernels.get("cupy")
        if ours is not None and ours.launcher.__module__ in names:
            op.kernels[backend] = ours._replace(launcher=counted(op.__name__, ours.launcher))
        else:
            op.kernels.pop(backend, None)
    try:
        with xpnet.use_backend(backend):
            yield counts
    finally:
        for op, kernels in previous:
            op.kernels.clear()
            op.kernels.update(kernels)
