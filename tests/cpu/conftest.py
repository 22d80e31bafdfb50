"""Small arrays sent to the kernels, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xpnet.core import registry
from xpnet.cpu import launch, products


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def every_size(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Kernels take arrays of every size, in one thread and in two; the names of those launched so far."""
    registry.load_kernels("numpy")
    for op in registry.ops_with_kernels():
        if "numpy" in op.kernels:
            monkeypatch.setitem(op.kernels, "numpy", op.kernels["numpy"]._replace(min_size=0))
    monkeypatch.setattr(products, "_FEW", 0)
    launches: list[str] = []
    native = launch.Native

    class Counted:
        @staticmethod
        def run(index, *arguments):
            native.run(index, *arguments)
            launches.append(list(native.kernels)[index])

        @staticmethod
        def matmul(*arguments):
            done = native.matmul(*arguments)
            launches.extend(["gemm" if arguments[2].ndim == 2 else "batched_gemm"] * done)
            return done

    monkeypatch.setattr(launch, "Native", Counted)
    before = native.threads()
    native.set_threads(request.param)
    yield launches
    native.set_threads(before)
