"""Every experiment of the lab on CUDA: `pytest --backend cupy`. (tests/test_lab.py runs them on NumPy.)"""

import pytest

from xpnet.lab import catalogue

BACKENDS = ("cupy",)  # "torch" passes too, in 40 s; any backend: `xpnet lab all --backend NAME`


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_experiment(name, backend):
    if backend.name not in BACKENDS:
        pytest.skip(f"only on {', '.join(BACKENDS)}")
    result = catalogue()[name]()
    assert [c.what for c in result.checks if not c.ok] == []
