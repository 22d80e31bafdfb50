"""`import xpnet` is light: it loads NumPy and array-api-compat, and nothing that is needed only sometimes."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.host

OPTIONAL = {
    "cupy",
    "matplotlib",
    "sklearn",
    "scipy",
    "torch",
    "array_api_strict",
    "tqdm",
    "safetensors",
    "onnx",
}
TRAIN = """
import numpy as np, xpnet
from xpnet import nn, optim, functional as F
model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.1), nn.Linear(3, 2))
optimizer = optim.Adam(model)
F.cross_entropy(model(np.ones((4, 2), np.float32)), np.arange(4) % 2).backward()
optimizer.step()
xpnet.data, xpnet.train
"""


def loaded(code):
    """The modules in memory after `code` has run in a new interpreter."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_loads_no_extra_and_no_layers():
    modules = loaded("import xpnet")
    assert {"xpnet", "numpy", "array_api_compat"} <= modules
    assert not modules & (OPTIONAL | {"numba", "xpnet.nn", "xpnet.optim", "xpnet.data", "xpnet.train"})


def test_training_on_numpy_loads_no_extra():
    modules = loaded(TRAIN)
    assert {"xpnet.nn", "xpnet.optim"} <= modules
    assert not modules & OPTIONAL


def test_random_is_imported_as_a_module():
    import xpnet.random
    from xpnet.random import Key, generators

    assert xpnet.random.generators is generators
    assert xpnet.random is sys.modules["xpnet.core.random"]
    assert Key is xpnet.random.Key
