"""Every layer and all preprocessing as ONNX files, run by onnxruntime, give what xpnet gives."""

import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import onnx  # noqa: E402

import xpnet  # noqa: E402
from tests.every_layer import LAYERS, sample  # noqa: E402
from xpnet import nn  # noqa: E402
from xpnet.cli import main  # noqa: E402
from xpnet.data import (  # noqa: E402
    ZCA,
    ChannelMean,
    MeanImage,
    MinMax,
    PCAWhiten,
    Pipeline,
    Standardize,
)
from xpnet.io.onnx import export, to_onnx, translates  # noqa: E402
from xpnet.io.onnx.graph import _TRANSLATORS  # noqa: E402


def samples(shape, n=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def scramble(model):
    """Values that show every parameter and statistic: none is 0 or 1."""
    rng = np.random.default_rng(1)
    state = {name: rng.uniform(0.3, 1.5, tuple(a.shape)) for name, a in model.state_dict().items()}
    model.load_state_dict({name: a.astype(np.float32) for name, a in state.items()})
    return model


def run(proto, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto if isinstance(proto, str) else proto.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def compare(model, shape, preprocessing=None):
    proto, x = to_onnx(model, shape, preprocessing), sample(model, shape, 6)
    assert (proto.ir_version, proto.opset_import[0].version) == (10, 18)
    model.eval()
    given = x if preprocessing is None else preprocessing.transform(x)
    expected = xpnet.to_numpy(model(xpnet.asarray(given)))
    found = run(proto, x)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name):
    make, shape = LAYERS[name]
    compare(scramble(make()), shape)


PREPROCESSING = {
    "Standardize": (lambda: Standardize(), (5,)),
    "Standardize by one mean": (lambda: Standardize(per_feature=False), (2, 3, 3)),
    "MinMax": (lambda: MinMax(), (5,)),
    "MeanImage": (lambda: MeanImage(), (2, 3, 3)),
    "ChannelMean": (lambda: ChannelMean(), (2, 3, 3)),
    "ChannelMean without scale": (lambda: ChannelMean(scale=False), (2, 3, 3)),
    "PCAWhiten": (lambda: PCAWhiten(components=3), (5,)),
    "ZCA": (lambda: ZCA(eps=0.1), (2, 3, 3)),
    "Pipeline": (lambda: Pipeline([ChannelMean(), ZCA(eps=0.1)]), (2, 3, 3)),
}


@pytest.mark.host
@pytest.mark.parametrize("name", PREPROCESSING)
def test_all_preprocessing(name):
    make, shape = PREPROCESSING[name]
    preprocessing = make().fit(samples(shape, n=50, seed=2) * 3 + 1)
    compare(nn.Sequential(nn.Flatten(), nn.Tanh()), shape, preprocessing)


@pytest.mark.host
def test_a_file_takes_any_number_of_samples_and_says_what_it_is(tmp_path):
    model = scramble(nn.mlp(5, [8], 3, "gelu", dropout=0.3, batch_norm=True))
    path = str(tmp_path / "model.onnx")
    export(model.train(), path, (5,), probabilities=True, metadata={"class_names": '["a", "b", "c"]'})
    assert model.training  # the export itself is in evaluation mode, the model is left as it was
    for n in (1, 7):
        found = run(path, samples((5,), n))
        assert found.sum(axis=1) == pytest.approx(np.ones(n), abs=1e-6)
    proto = onnx.load(path)
    assert {p.key: p.value for p in proto.metadata_props} == {"class_names": '["a", "b", "c"]'}
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("x", "probabilities")
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.host
def test_float64_models_take_float64():
    model = nn.Sequential(nn.Linear(4, 5, dtype="float64"), nn.LayerNorm(5, dtype="float64"), nn.Tanh())
    x = samples((4,)).astype(np.float64)
    np.testing.assert_allclose(run(to_onnx(model, (4,)), x), model(x).numpy(), rtol=1e-9)


class Square(nn.Module):
    def forward(self, x):
        return x * x


class Cube(nn.Module):
    def forward(self, x):
        return x * x * x


@translates(Square)
def square(graph, layer, x):
    return graph.add("Mul", x.name, x.name)


@pytest.mark.host
def test_layers_of_one_s_own():
    compare(nn.Sequential(nn.Linear(4, 3), Square()), (4,))
    with pytest.raises(TypeError, match=r"model:Sequential/1:Cube is not a layer .*translates\(Cube\)"):
        to_onnx(nn.Sequential(nn.Linear(4, 3), Cube()), (4,))
    with pytest.raises(ValueError, match="BatchNorm1d"):
        to_onnx(nn.BatchNorm1d(4), (5,))


# ---- the command ----


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A saved model in the working folder."""
    monkeypatch.chdir(tmp_path)
    scaler = Standardize().fit(samples((4,), 30) * 2 + 1)
    model = scramble(nn.mlp(4, [8], 2, batch_norm=True))
    xpnet.save(model, "m.safetensors", scaler, {"shape": [4], "class_names": ["a", "b"]})
    return xpnet.load("m.safetensors")


@pytest.mark.host
def test_the_command_exports(saved, capsys):
    assert main(["export", "m.safetensors", "m.onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "saved m.onnx: x (N, 4) -> output, preprocessing included"
    assert lines[1].startswith("in onnxruntime it gives what xpnet gives, to ")
    x = samples((4,), seed=5)
    np.testing.assert_allclose(run("m.onnx", x), saved.predict(x), rtol=1e-5, atol=1e-5)
    assert main(["export", "m.safetensors", "m.onnx", "--probabilities"]) == 0
    assert run("m.onnx", x).sum(axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    assert onnx.load("m.onnx").metadata_props[0].value == '["a", "b"]'


@pytest.mark.host
def test_all_outputs_of_a_model_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    xpnet.save(scramble(nn.VAE(6, (4,), 2)), "vae.safetensors", metadata={"shape": [6]})
    assert main(["export", "vae.safetensors", "vae.onnx"]) == 0
    assert "x (N, 6) -> output, mean, log_variance\nin onnxruntime it gives" in capsys.readouterr().out
    assert main(["export", "vae.safetensors", "vae.onnx", "--probabilities"]) == 2
    assert "probabilities are of one output, VAE has 3" in capsys.readouterr().err


@pytest.mark.host
def test_a_wrong_export_is_noticed(saved, capsys, monkeypatch):
    monkeypatch.setitem(_TRANSLATORS, nn.ReLU, lambda graph, layer, x: graph.add("Neg", x.name))
    assert main(["export", "m.safetensors", "m.onnx"]) == 1


@pytest.mark.host
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.safetensors", "m.onnx"], "nope.safetensors: no such file"),
        (["m.safetensors", "nope/m.onnx"], "cannot write nope"),
        (["m.safetensors", "m.onnx", "--shape", "3"], "fitted on samples of shape (4,)"),
        (["plain.safetensors", "m.onnx"], "does not say the shape of a sample: add --shape"),
    ],
)
def test_mistakes_end_with_one_line(saved, capsys, arguments, message):
    xpnet.save(nn.Sequential(nn.Conv2d(1, 2, 3)), "plain.safetensors")
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
