"""Small arrays sent to the kernels, too."""

from __future__ import annotations

import pytest

from xpnet.core import registry
from xpnet.cpu import launch


@pytest.fixture(params=["serial", "parallel"])
def every_size(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[str]:
    """Kernels take arrays of every size, on one thread and on all; the names of those launched so far."""
    registry.load_kernels("numpy")
    for op in registry.ops_with_kernels():
        if "numpy" in op.kernels:
            monkeypatch.setitem(op.kernels, "numpy", op.kernels["numpy"]._replace(min_size=0))
    monkeypatch.setattr(launch, "PARALLEL", 0 if request.param == "parallel" else 1 << 62)
    launches: list[str] = []
    original = launch._locked

    def counted(function):
        call = original(function)
        return lambda *args, **options: (launches.append(function.name), call(*args, **options))[1]

    monkeypatch.setattr(launch, "_locked", counted)
    monkeypatch.setattr(launch, "_kernels", {})
    return launches
