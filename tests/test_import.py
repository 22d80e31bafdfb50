"""`import xpnet` is light: it loads NumPy and array-api-compat, and nothing that is needed only sometimes."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

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
    assert not modules & (OPTIONAL | {"xpnet.cpu", "xpnet.nn", "xpnet.optim", "xpnet.data", "xpnet.train"})


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


@pytest.mark.parametrize("name", ["xpnet.nn", "xpnet.nn.models", "xpnet.functional", "xpnet.optim"])
def test_names_that_load_late_are_those_that_type_checkers_see(name):
    package = importlib.import_module(name)
    late, seen = {}, {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                seen |= {alias.name: line.module for alias in line.names}
            table = ast.literal_eval(node.orelse[0].value.args[1])
            for module, names in table.items():
                late |= dict.fromkeys(names.split(), module if "." in module else f"{name}.{module}")
    assert late == seen
    assert late
    assert set(late) <= set(package.__all__) <= set(dir(package))
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert not set(late) & modules, "the import of the module would take the name's place"
    for each in package.__all__:
        assert getattr(package, each) is getattr(importlib.import_module(late.get(each, name)), each)


def test_layers_that_few_use_load_late():
    assert not loaded(TRAIN) & {"xpnet.nn.gpt", "xpnet.nn.recurrent", "xpnet.functional.ctc", "xpnet.nn.vgg"}
    assert {"xpnet.nn.recurrent"} <= loaded("from xpnet import nn; nn.LSTM")
