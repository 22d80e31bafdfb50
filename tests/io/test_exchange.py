"""Models in files: every layer comes back with its arguments and weights; mistakes are named."""

import importlib
import json
import re
import sys

import numpy as np
import pytest

import xpnet
from tests.every_layer import LAYERS, SEVERAL, sample
from xpnet import nn
from xpnet.data import ZCA, ChannelMean, Pipeline
from xpnet.nn.description import describe, from_description
from xpnet.nn.losses import Loss
from xpnet.train import load_arrays, save_arrays

pytest.importorskip("safetensors")


def samples(shape, n=4):
    return xpnet.asarray(np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32))


@pytest.mark.host
def test_no_layer_is_forgotten():
    kinds = {
        k
        for k in (getattr(nn, name) for name in nn.__all__)
        if isinstance(k, type) and issubclass(k, nn.Module)
    }
    kinds = {k for k in kinds if k.forward is not nn.Module.forward}  # not the base class, nor mere holders
    kinds = {k for k in kinds if not issubclass(k, Loss)}
    assert {type(make()) for make, _ in (LAYERS | SEVERAL).values()} == kinds


@pytest.mark.parametrize("name", LAYERS | SEVERAL)
def test_every_layer_comes_back(name, tmp_path):
    make, shape = (LAYERS | SEVERAL)[name]
    model = make()
    several = name in SEVERAL
    inputs = [samples(s[1:], s[0]) if isinstance(s, tuple) else xpnet.asarray(s) for s in shape]
    inputs = inputs if several else [xpnet.asarray(sample(model, shape))]
    model(*inputs)  # running statistics of its own
    model.eval()
    xpnet.save(model, tmp_path / "m.safetensors")
    loaded = xpnet.load(tmp_path / "m.safetensors").model
    assert repr(loaded) == repr(model)
    assert vars(loaded).keys() == vars(model).keys()
    assert not any(module.training for module in loaded.modules())
    for a, b in zip(leaves(loaded(*inputs)), leaves(model(*inputs)), strict=True):
        assert np.array_equal(xpnet.to_numpy(a), xpnet.to_numpy(b))


def leaves(output):
    return [leaf for part in output for leaf in leaves(part)] if isinstance(output, tuple) else [output]


def test_a_file_moves_between_backends(tmp_path, backend):
    model = nn.mlp(5, [4], 3, batch_norm=True)
    xpnet.save(model, tmp_path / "m.safetensors")
    with xpnet.use_backend("numpy"):
        saved = xpnet.load(tmp_path / "m.safetensors")
        there = saved.predict(xpnet.to_numpy(samples((5,))))
    assert isinstance(there, np.ndarray)
    here = xpnet.to_numpy(model.eval()(samples((5,))))
    assert there == pytest.approx(here, abs=1e-6)


@pytest.mark.host
def test_preprocessing_and_metadata_come_back(tmp_path):
    x = samples((2, 3, 3), 40) * 5 + 1
    preprocessing = Pipeline([ChannelMean(), ZCA(eps=0.1)]).fit(x)
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    metadata = {"class_names": ["a", "b"], "run": {"seed": 3}}
    xpnet.save(model, tmp_path / "m.safetensors", preprocessing, metadata)
    saved = xpnet.load(tmp_path / "m.safetensors")
    assert saved.metadata == metadata
    assert np.array_equal(saved.predict(x), model(preprocessing.transform(x)))
    assert xpnet.load(tmp_path / "m.safetensors").preprocessing.settings == preprocessing.settings


@pytest.mark.host
def test_any_reader_of_safetensors_finds_the_weights(tmp_path):
    from safetensors.numpy import load_file

    model = nn.Linear(3, 2)
    xpnet.save(model, tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    assert arrays.keys() == {"model.weight", "model.bias"}
    assert np.array_equal(arrays["model.weight"], model.weight.numpy())


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Linear(3, 2)

    def forward(self, x):
        return self.body(x) * 2


@pytest.mark.host
def test_a_model_of_one_s_own_needs_its_code(tmp_path):
    path, model, x = tmp_path / "m.safetensors", Net(), samples((3,))
    xpnet.save(model, path)
    with pytest.raises(
        ValueError, match=r"weights of a Net, .*Net is not a layer of xpnet.nn.*load\(path, model\)"
    ):
        xpnet.load(path)
    assert np.array_equal(xpnet.load(path, Net()).predict(x), model(x).numpy())
    with pytest.raises(ValueError, match="state does not fit Linear"):
        xpnet.load(path, nn.Linear(3, 2))


@pytest.mark.host
def test_shared_layers_stay_shared(tmp_path):
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), nn.Residual(layer))
    xpnet.save(model, tmp_path / "m.safetensors")
    loaded = xpnet.load(tmp_path / "m.safetensors").model
    assert loaded[0] is loaded[2].body
    assert len(loaded.parameters()) == 2
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(TypeError, match=r"1.weight and 0.weight are one parameter"):
        describe(tied)


@pytest.mark.host
def test_a_layer_of_float64_stays_one():
    model = from_description(json.loads(json.dumps(describe(nn.BatchNorm1d(3, dtype="float64")))))
    assert model.running_var.dtype == np.float64


@pytest.mark.host
def test_other_files_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError):
        xpnet.load(path)
    save_arrays(path, {"w": np.ones(2)})
    with pytest.raises(ValueError, match="not a saved model"):
        xpnet.load(path)
    xpnet.save(nn.Linear(3, 2), path)
    arrays, content = load_arrays(path)
    content["layers"]["kind"] = "Magic"
    save_arrays(path, arrays, content)
    with pytest.raises(ValueError, match=r"unknown kind of layer 'Magic'; xpnet\.nn has none of that name"):
        xpnet.load(path)
    content["layers"] = {"kind": "Linear", "in_features": 3, "magic": 1}
    save_arrays(path, arrays, content)
    with pytest.raises(ValueError, match=r"Linear: .*magic"):
        xpnet.load(path)


@pytest.mark.host
@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [("onnx", "xpnet.io.onnx", "onnx"), ("sklearn", "xpnet.sklearn", "sklearn")],
)
def test_a_missing_package_names_its_extra(monkeypatch, package, module, extra):
    for name in [n for n in sys.modules if n == module or n.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=re.escape(f'pip install "xpnet[{extra}]"')):
        importlib.import_module(module)
