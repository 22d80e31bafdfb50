"""Layers of several inputs and outputs as ONNX files give in onnxruntime what they give, for any N."""

import math

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime

import xpnet
from tests.every_layer import SEVERAL
from xpnet import nn
from xpnet.io.onnx import Input, to_onnx

pytestmark = pytest.mark.host

LATER = np.triu(np.ones((5, 5), bool), 1)
BLOCKED = np.array([[False, True, False, True]] * 4 + [[True] * 4])  # the last query may look nowhere
FLOATS = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
KEYS = {"key": Input("N", 4, 6), "value": Input("N", 4, 6)}
PLAIN = {"key": "x", "value": "x"}
PADDING = {"key_padding_mask": Input("N", 4, dtype="bool")}


def scramble(model):
    """Values of both signs, none of them 0, which do not saturate gates."""
    rng = np.random.default_rng(1)
    state = {name: rng.normal(size=a.shape) * 0.6 for name, a in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def attention(**options):
    return lambda: nn.MultiheadAttention(6, 2, batch_first=True, **options)


def encoder(**options):
    return lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.1, "gelu", batch_first=True, **options)


def decoder(**options):
    return lambda: nn.TransformerDecoderLayer(6, 2, 8, 0.2, "relu", batch_first=True, **options)


CASES = {
    "LSTM": (lambda: nn.LSTM(3, 4), (5, "N", 3), {}),
    "LSTM of any length": (lambda: nn.LSTM(3, 4), (2, 3), {}),
    "LSTM of one sequence": (lambda: nn.LSTM(3, 4, 2), (3,), {"hx": (Input(2, 4), Input(2, 4))}),
    "LSTM, all of it": (
        lambda: nn.LSTM(3, 4, 2, dropout=0.2, bidirectional=True, batch_first=True),
        (5, 3),
        {"hx": (Input(4, "N", 4), Input(4, "N", 4))},
    ),
    "LSTM without bias": (lambda: nn.LSTM(3, 4, 2, False, True), (5, 3), {}),
    "LSTM without bias, from a state": (
        lambda: nn.LSTM(3, 4, 1, False, True),
        (5, 3),
        {"hx": (Input(1, "N", 4), Input(1, "N", 4))},
    ),
    "GRU": (lambda: nn.GRU(3, 4, 2, bidirectional=True), (5, "N", 3), {}),
    "GRU from a state": (lambda: nn.GRU(3, 4, 2, batch_first=True), (5, 3), {"hx": Input(2, "N", 4)}),
    "GRU without bias": (lambda: nn.GRU(3, 4, bias=False, batch_first=True), (5, 3), {}),
    "RNN": (lambda: nn.RNN(3, 4, 2, batch_first=True), (5, 3), {}),
    "RNN with relu": (
        lambda: nn.RNN(3, 4, 2, "relu", batch_first=True, bidirectional=True),
        (5, 3),
        {"hx": Input(4, "N", 4)},
    ),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), (3,), {"hx": (Input("N", 4), Input("N", 4))}),
    "LSTMCell from nothing": (lambda: nn.LSTMCell(3, 4), (3,), {}),
    "GRUCell": (lambda: nn.GRUCell(3, 4, False), (3,), {"hx": Input("N", 4)}),
    "RNNCell": (lambda: nn.RNNCell(3, 4, True, "relu"), (3,), {"hx": Input("N", 4)}),
    "attention to itself": (attention(), (5, 6), PLAIN),
    "attention to others": (attention(), (5, 6), KEYS),
    "attention, and the weights of a query that may look nowhere": (
        attention(),
        (5, 6),
        {**KEYS, "attn_mask": BLOCKED},
    ),
    "attention without weights": (attention(bias=False), (5, 6), {**PLAIN, "need_weights": False}),
    "attention, weights of each head": (attention(), (5, 6), {**KEYS, "average_attn_weights": False}),
    "attention, causal": (attention(), (5, 6), {**KEYS, "is_causal": True}),
    "attention with a mask of bool": (attention(), (5, 6), {**PLAIN, "attn_mask": LATER}),
    "attention of who may look nowhere": (
        attention(),
        (5, 6),
        {**KEYS, "attn_mask": BLOCKED, "need_weights": False},
    ),
    "attention with a mask of numbers": (attention(), (5, 6), {**KEYS, "attn_mask": FLOATS}),
    "attention with masks as inputs": (
        attention(),
        (5, 6),
        {**KEYS, **PADDING, "attn_mask": Input(5, 4), "need_weights": False},
    ),
    "attention with a mask of bool as input": (
        attention(),
        (5, 6),
        {**KEYS, "attn_mask": Input(5, 4, dtype="bool"), "need_weights": False},
    ),
    "attention, padded and causal": (
        attention(),
        (5, 6),
        {**KEYS, **PADDING, "is_causal": True, "need_weights": False},
    ),
    "attention of other sizes": (
        lambda: nn.MultiheadAttention(6, 2, 0.1, bias=False, kdim=4, vdim=3),
        (5, "N", 6),
        {"key": Input(4, "N", 4), "value": Input(4, "N", 3)},
    ),
    "attention with more keys": (
        lambda: nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True),
        (5, "N", 6),
        {"key": Input(4, "N", 6), "value": Input(4, "N", 6), "attn_mask": FLOATS, "is_causal": True},
    ),
    "attention with more keys, causal": (
        attention(add_zero_attn=True),
        (5, 6),
        {**KEYS, "is_causal": True, **PADDING},
    ),
    "attention of one sequence": (
        lambda: nn.MultiheadAttention(6, 3),
        (6,),
        {"key": Input(4, 6), "value": Input(4, 6), "key_padding_mask": Input(4, dtype="bool")},
    ),
    "encoder's layer, causal": (encoder(), (5, 6), {"is_causal": True}),
    "encoder's layer with masks": (
        encoder(norm_first=True),
        (5, 6),
        {"src_mask": LATER, "src_key_padding_mask": Input("N", 5, dtype="bool")},
    ),
    "encoder": (
        lambda: nn.TransformerEncoder(encoder()(), 2, nn.LayerNorm(6)),
        (5, 6),
        {"mask": LATER, "src_key_padding_mask": Input("N", 5)},
    ),
    "encoder, causal": (lambda: nn.TransformerEncoder(encoder()(), 2), (5, 6), {"is_causal": True}),
    "decoder's layer": (decoder(), (5, 6), {"memory": Input("N", 4, 6)}),
    "decoder's layer with masks": (
        decoder(norm_first=True),
        (5, 6),
        {
            "memory": Input("N", 4, 6),
            "tgt_mask": LATER,
            "memory_mask": FLOATS,
            "memory_key_padding_mask": Input("N", 4, dtype="bool"),
        },
    ),
    "decoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 3, 8), 2, nn.LayerNorm(6)),
        (5, "N", 6),
        {"memory": Input(4, "N", 6), "tgt_is_causal": True, "memory_is_causal": True},
    ),
    "CosineSimilarity": (nn.CosineSimilarity, (5, 3), {"x2": Input("N", 5, 3)}),
    "CosineSimilarity, short": (
        lambda: nn.CosineSimilarity(-1, 2.0),
        (5, 3),
        {"x2": Input("N", 5, 3)},
    ),
    "PairwiseDistance": (nn.PairwiseDistance, (5, 3), {"x2": Input("N", 5, 3)}),
    "PairwiseDistance of p": (lambda: nn.PairwiseDistance(3.0, 0.1, True), (3,), {"x2": Input("N", 3)}),
    "PairwiseDistance, the largest": (lambda: nn.PairwiseDistance(math.inf), (3,), {"x2": Input("N", 3)}),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), (2, 3), {"input2": Input("N", 2, 4)}),
    "MaxUnpool1d": (lambda: nn.MaxUnpool1d(2), (2, 3), {"indices": Input("N", 2, 3, dtype="int64")}),
    "MaxUnpool2d": (
        lambda: nn.MaxUnpool2d(2),
        (2, 3, 2),
        {"indices": Input("N", 2, 3, 2, dtype="int64"), "output_size": (7, 5)},
    ),
    "MaxUnpool3d": (
        lambda: nn.MaxUnpool3d(2),
        (2, 2, 3, 2),
        {"indices": Input("N", 2, 2, 3, 2, dtype="int64"), "output_size": (5, 7, 4)},
    ),
    "VAE": (lambda: nn.VAE(12, (7, 5), 2, "elu"), (4, 3), {}),
}


def arrays(result):
    if isinstance(result, tuple):
        return [a for part in result for a in arrays(part)]
    return [] if result is None else [xpnet.to_numpy(result)]


@pytest.mark.parametrize("name", CASES)
def test_layers_of_several_arrays(name):
    make, shape, inputs = CASES[name]
    model = scramble(make()).eval()
    proto = to_onnx(model, shape, inputs=inputs)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    whole = shape if "N" in shape else ("N", *shape)
    for n in (1, 4):
        rng = np.random.default_rng(n)
        fed = {}

        def draw(name, shape, dtype=None, n=n, rng=rng, fed=fed):
            sizes = [n if size == "N" else size for size in shape]
            places = math.prod(sizes[2:])  # of each channel, each once
            kinds = {
                "bool": lambda: rng.random(sizes) < 0.3,
                "int64": lambda: np.stack([rng.permutation(places) for _ in range(n * sizes[1])]).reshape(
                    sizes
                ),
                None: lambda: rng.normal(size=sizes).astype("f"),
            }
            fed[name] = kinds[dtype]()
            return xpnet.asarray(fed[name])

        x = draw("x", whole)
        given = {}
        for key, what in inputs.items():
            if isinstance(what, Input):
                given[key] = draw(key, what.shape, what.dtype)
            elif isinstance(what, tuple) and isinstance(what[0], Input):
                given[key] = tuple(draw(f"{key}_{i}", part.shape) for i, part in enumerate(what))
            else:
                given[key] = x if isinstance(what, str) else what
        expected, found = arrays(model(x, **given)), session.run(None, fed)
        assert len(expected) == len(found)
        for ours, theirs, output in zip(expected, found, session.get_outputs(), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5, err_msg=output.name)
            assert [size if isinstance(size, int) else n for size in output.shape] == list(ours.shape)
    assert session.get_outputs()[0].name == "output"


def test_no_layer_is_forgotten():
    assert {type(make()) for make, _ in SEVERAL.values()} <= {type(make()) for make, _, _ in CASES.values()}


def test_outputs_have_names_and_sizes():
    lstm = to_onnx(nn.LSTM(3, 4, batch_first=True), (5, 3), inputs={"hx": (Input(1, "N", 4),) * 2})
    sizes = lambda x: [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]
    assert {x.name: sizes(x) for x in lstm.graph.input} == {
        "x": ["N", 5, 3], "hx_0": [1, "N", 4], "hx_1": [1, "N", 4]
    }  # fmt: skip
    assert {y.name: sizes(y) for y in lstm.graph.output} == {
        "output": ["N", 5, 4], "h_n": [1, "N", 4], "c_n": [1, "N", 4]
    }  # fmt: skip
    vae = to_onnx(nn.VAE(12, (7,), 2), (3, 4))
    assert [y.name for y in vae.graph.output] == ["output", "mean", "log_variance"]


def test_float64():
    model = scramble(nn.TransformerEncoderLayer(6, 2, 8, dtype="float64")).eval()
    x = np.random.default_rng(0).normal(size=(5, 2, 6))
    proto = to_onnx(model, (5, "N", 6), inputs={"is_causal": True})
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(found, arrays(model(xpnet.asarray(x), is_causal=True))[0], rtol=1e-9)


MASK = np.zeros((4, 5, 5), bool)
MISTAKES = {
    "a key that is missing": (attention(), {}, r"model:MultiheadAttention .* argument: 'key'; .* inputs="),
    "another argument": (attention(), {**PLAIN, "kye": 1}, r"unexpected keyword argument 'kye'"),
    "a word": (attention(), {"key": "y", "value": "x"}, r'key is an Input, "x" or a constant, got \'y\''),
    "a mask of a batch": (attention(), {**PLAIN, "attn_mask": MASK}, r"of one batch: give \(L, S\)"),
    "padding of a batch": (
        attention(),
        {**PLAIN, "key_padding_mask": np.zeros((2, 5), bool)},
        "make it an onnx.Input",
    ),
    "in a chain": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.LSTM(6, 3)),
        {},
        "model:Sequential/1:LSTM gives several outputs, and a chain of layers has one",
    ),
    "attention in a chain": (
        lambda: nn.Sequential(attention()()),
        {},
        "model:Sequential/0:MultiheadAttention cannot be exported: missing a required argument: 'key'",
    ),
    "a further input of a chain": (
        lambda: nn.Sequential(nn.Linear(6, 6)),
        {"key": Input("N", 3)},
        "unexpected keyword argument 'key'",
    ),
    "float64": (lambda: nn.LSTM(6, 3, dtype="float64"), {}, r"recurrent layers in float32: model.to"),
    "lengths": (lambda: nn.GRU(6, 3), {"lengths": np.array([5, 5])}, "GRU with lengths"),
    "a state of a batch": (lambda: nn.GRU(6, 3), {"hx": np.zeros((1, 5, 3), "f")}, "hx must be onnx.Input"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name):
    make, inputs, message = MISTAKES[name]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        to_onnx(make(), (5, 6), inputs=inputs)
    assert "\n" not in str(caught.value)


def test_probabilities_are_of_one_output():
    with pytest.raises(TypeError, match="probabilities are of one output, VAE has 3"):
        to_onnx(nn.VAE(12, (7,), 2), (12,), probabilities=True)
