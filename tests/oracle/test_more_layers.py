"""Layers of several inputs or outputs, and others that one expression makes for both libraries: PyTorch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from tests.oracle.test_layers import randomised, state_of  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn  # noqa: E402

RNG = np.random.default_rng(3)
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def data(*shape):
    return RNG.normal(size=shape)


def whole(high, *shape):
    return RNG.integers(0, high, shape)


E = (5, 3, 8)  # (L, N, E)
LATER = np.triu(np.ones((5, 5), bool), 1)
ABSENT = np.arange(4)[None, :] >= np.array([4, 2, 3])[:, None]
OWN_ABSENT = np.arange(5)[None, :] >= np.array([5, 2, 3])[:, None]
ADDED = data(5, 4)
ATTENTION = {
    "attention": (lambda n, d: n.MultiheadAttention(8, 2, **d), [data(*E)] * 3, {}),
    "attention of others": (
        lambda n, d: n.MultiheadAttention(8, 2, kdim=6, vdim=5, batch_first=True, bias=False, **d),
        [data(3, 5, 8), data(3, 4, 6), data(3, 4, 5)],
        {"average_attn_weights": False},
    ),
    "attention, masked": (
        lambda n, d: n.MultiheadAttention(8, 4, batch_first=True, **d),
        [data(3, 5, 8), data(3, 4, 8), data(3, 4, 8)],
        {"attn_mask": ADDED, "key_padding_mask": ABSENT},
    ),
    "attention, masked, no weights": (
        lambda n, d: n.MultiheadAttention(8, 4, **d),
        [data(5, 3, 8), data(4, 3, 8), data(4, 3, 8)],
        {"attn_mask": ADDED, "key_padding_mask": ABSENT, "need_weights": False},
    ),
    "attention, causal": (
        lambda n, d: n.MultiheadAttention(8, 4, **d),
        [data(*E)] * 3,
        {"attn_mask": LATER, "is_causal": True, "need_weights": False},
    ),
    "attention of one sample": (
        lambda n, d: n.MultiheadAttention(8, 2, **d),
        [data(5, 8), data(4, 8), data(4, 8)],
        {"key_padding_mask": ABSENT[1]},
    ),
    "attention with one more key": (
        lambda n, d: n.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, **d),
        [data(*E)] * 3,
        {"attn_mask": LATER},
    ),
    "attention with one more key, no weights": (
        lambda n, d: n.MultiheadAttention(8, 2, add_bias_kv=True, **d),
        [data(*E)] * 3,
        {"key_padding_mask": OWN_ABSENT, "need_weights": False},
    ),
    "attention, a mask a head": (
        lambda n, d: n.MultiheadAttention(8, 2, **d),
        [data(*E)] * 3,
        {"attn_mask": data(6, 5, 5)},
    ),
    "encoder layer": (
        lambda n, d: n.TransformerEncoderLayer(8, 2, 12, 0.0, **d),
        [data(*E)],
        {"src_mask": LATER, "src_key_padding_mask": OWN_ABSENT & False},
    ),
    "encoder layer, norm first": (
        lambda n, d: n.TransformerEncoderLayer(
            8, 2, 12, 0.0, "gelu", 1e-3, batch_first=True, norm_first=True, bias=False, **d
        ),
        [data(3, 5, 8)],
        {"src_mask": LATER},
    ),
    "encoder": (
        lambda n, d: n.TransformerEncoder(
            n.TransformerEncoderLayer(8, 2, 12, 0.0, **d), 2, n.LayerNorm(8, **d)
        ),
        [data(*E)],
        {},
    ),
    "decoder layer": (
        lambda n, d: n.TransformerDecoderLayer(8, 2, 12, 0.0, **d),
        [data(*E), data(4, 3, 8)],
        {"tgt_mask": LATER, "tgt_is_causal": True, "memory_key_padding_mask": ABSENT},
    ),
    "decoder": (
        lambda n, d: n.TransformerDecoder(
            n.TransformerDecoderLayer(8, 2, 12, 0.0, "gelu", norm_first=True, **d), 2
        ),
        [data(*E), data(4, 3, 8)],
        {},
    ),
}
TABLES = {
    "Embedding": (lambda n, d: n.Embedding(7, 3, **d), [whole(7, 4, 5)], {}),
    **{
        f"EmbeddingBag of {mode}": (
            lambda n, d, m=mode: n.EmbeddingBag(7, 3, mode=m, **d),
            [whole(7, 4, 5)],
            {},
        )
        for mode in ("mean", "sum", "max")
    },
    "Embedding of short rows": (lambda n, d: n.Embedding(7, 3, 1, 0.5, **d), [whole(7, 4, 5)], {}),
    "Embedding of rows of small numbers": (
        lambda n, d: n.Embedding(7, 3, max_norm=0.4, norm_type=float("inf"), **d),
        [whole(7, 30)],
        {},
    ),
    "Embedding by frequency": (
        lambda n, d: n.Embedding(7, 3, 2, scale_grad_by_freq=True, **d),
        [whole(7, 4, 5)],
        {},
    ),
    "EmbeddingBag of short rows": (lambda n, d: n.EmbeddingBag(7, 3, 0.5, 1.0, **d), [whole(7, 4, 5)], {}),
    "EmbeddingBag with padding": (
        lambda n, d: n.EmbeddingBag(7, 3, padding_idx=-2, **d),
        [whole(7, 4, 5)],
        {},
    ),
    "Embedding with padding": (lambda n, d: n.Embedding(7, 3, padding_idx=-2, **d), [whole(7, 30)], {}),
    "RMSNorm": (lambda n, d: n.RMSNorm(5, **d), [data(4, 3, 5)], {}),
    "RMSNorm, 2 axes": (lambda n, d: n.RMSNorm((3, 5), eps=0.1, **d), [data(4, 3, 5)], {}),
    "RMSNorm, plain": (lambda n, d: n.RMSNorm(5, elementwise_affine=False, **d), [data(4, 5)], {}),
    "PReLU": (lambda n, d: n.PReLU(3, **d), [data(4, 3, 2)], {}),
}
X, H = data(5, 3, 4), data(2, 3, 6)
RECURRENT = {
    "LSTM": (lambda n, d: n.LSTM(4, 6, **d), [X], {}),
    "LSTM, 2 layers, both ways": (
        lambda n, d: n.LSTM(4, 6, 2, bidirectional=True, batch_first=True, **d),
        [data(3, 5, 4)],
        {"hx": (data(4, 3, 6), data(4, 3, 6))},
    ),
    "LSTM of one sequence": (lambda n, d: n.LSTM(4, 6, bias=False, **d), [X[:, 0]], {}),
    "GRU": (lambda n, d: n.GRU(4, 6, 2, **d), [X], {"hx": H}),
    "GRU, both ways": (lambda n, d: n.GRU(4, 6, 1, False, bidirectional=True, **d), [X], {"hx": H}),
    "RNN": (lambda n, d: n.RNN(4, 6, 2, **d), [X], {"hx": H}),
    "RNN with relu": (lambda n, d: n.RNN(4, 6, nonlinearity="relu", **d), [X], {}),
    "LSTMCell": (lambda n, d: n.LSTMCell(4, 6, **d), [X[0]], {"hx": (H[0], H[1])}),
    "LSTMCell from 0": (lambda n, d: n.LSTMCell(4, 6, **d), [X[0]], {}),
    "GRUCell": (lambda n, d: n.GRUCell(4, 6, **d), [X[0], H[0]], {}),
    "GRUCell of one": (lambda n, d: n.GRUCell(4, 6, **d), [X[0, 0], H[0, 0]], {}),
    "RNNCell": (lambda n, d: n.RNNCell(4, 6, nonlinearity="relu", **d), [X[0], H[0]], {}),
}


def weight_norm(n, layer, **options):
    return (nn if n is nn else torch.nn.utils.parametrizations).weight_norm(layer, **options)


def spectral_norm(n, layer, **options):
    return (nn if n is nn else torch.nn.utils.parametrizations).spectral_norm(layer, **options)


def Unpooled(n, axes, size=None):
    """Windows that overlap, and the maxima back where they were; as a module of either library."""

    class Both(n.Module):
        def __init__(self):
            super().__init__()
            window = (3, 2, 1)
            self.pool = getattr(n, f"MaxPool{axes}d")(*window, return_indices=True)
            self.back = getattr(n, f"MaxUnpool{axes}d")(*window)

        def forward(self, x):
            return self.back(*self.pool(x), size)

    return Both()


SPATIAL = {
    "Conv1d": (lambda n, d: n.Conv1d(4, 6, 3, 2, 1, 2, 2, **d), [data(2, 4, 9)], {}),
    "Conv1d of one": (lambda n, d: n.Conv1d(4, 6, 3, padding="same", bias=False, **d), [data(4, 9)], {}),
    "Conv3d": (lambda n, d: n.Conv3d(2, 4, (2, 3, 2), 2, (1, 0, 1), 1, 2, **d), [data(2, 2, 4, 5, 3)], {}),
    **{
        f"Conv1d, {mode}": (
            lambda n, d, mode=mode: n.Conv1d(4, 6, 4, 2, 2, padding_mode=mode, **d),
            [data(2, 4, 9)],
            {},
        )
        for mode in ("reflect", "replicate", "circular")
    },
    "Conv2d, reflect": (
        lambda n, d: n.Conv2d(2, 4, (3, 2), padding=(2, 1), padding_mode="reflect", **d),
        [data(1, 2, 4, 5)],
        {},
    ),
    "Conv2d, circular, same": (
        lambda n, d: n.Conv2d(2, 4, (4, 2), padding="same", dilation=(1, 2), padding_mode="circular", **d),
        [data(2, 4, 5)],
        {},
    ),
    "Conv2d, replicate, valid": (
        lambda n, d: n.Conv2d(2, 4, 3, 2, "valid", padding_mode="replicate", **d),
        [data(1, 2, 4, 5)],
        {},
    ),
    "Conv3d, replicate": (
        lambda n, d: n.Conv3d(2, 4, 2, 2, (1, 0, 2), groups=2, padding_mode="replicate", **d),
        [data(1, 2, 3, 4, 5)],
        {},
    ),
    "Conv3d, circular": (
        lambda n, d: n.Conv3d(2, 4, 2, padding=1, padding_mode="circular", **d),
        [data(1, 2, 3, 4, 5)],
        {},
    ),
    "ConvTranspose1d": (lambda n, d: n.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, **d), [data(2, 4, 5)], {}),
    "ConvTranspose2d": (
        lambda n, d: n.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 0), 2, False, (1, 2), **d),
        [data(2, 4, 5, 4)],
        {},
    ),
    "ConvTranspose1d to a size": (
        lambda n, d: n.ConvTranspose1d(4, 6, 3, 3, 1, **d),
        [data(2, 4, 5)],
        {"output_size": (15,)},
    ),
    "ConvTranspose2d to a size": (
        lambda n, d: n.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), dilation=(2, 1), **d),
        [data(4, 5, 4)],
        {"output_size": [6, 12, 13]},
    ),
    "ConvTranspose3d by position": (
        lambda n, d: n.ConvTranspose3d(2, 3, 2, 2, 0, 1, 1, True, 1, "zeros", **d),
        [data(1, 2, 2, 3, 2)],
        {},
    ),
    "Bilinear": (lambda n, d: n.Bilinear(3, 4, 5, **d), [data(2, 6, 3), data(2, 6, 4)], {}),
    "Linear with lengths": (lambda n, d: weight_norm(n, n.Linear(4, 3, **d)), [data(2, 4)], {}),
    "Linear with one length": (lambda n, d: weight_norm(n, n.Linear(4, 3, **d), dim=None), [data(2, 4)], {}),
    "Conv2d with lengths": (
        lambda n, d: weight_norm(n, n.Conv2d(2, 3, 2, **d), dim=1),
        [data(1, 2, 4, 5)],
        {},
    ),
    "Conv2d with one length, by -1": (
        lambda n, d: weight_norm(n, n.Conv2d(2, 3, 2, **d), dim=-1),
        [data(1, 2, 4, 5)],
        {},
    ),
    "bias with lengths": (lambda n, d: weight_norm(n, n.Linear(4, 3, **d), name="bias"), [data(2, 4)], {}),
    "Linear of spectral norm 1": (lambda n, d: spectral_norm(n, n.Linear(4, 3, **d)), [data(2, 4)], {}),
    "Conv2d of spectral norm 1": (
        lambda n, d: spectral_norm(n, n.Conv2d(2, 3, 2, **d), n_power_iterations=3),
        [data(1, 2, 4, 5)],
        {},
    ),
    "ConvTranspose2d of spectral norm 1": (
        lambda n, d: spectral_norm(n, n.ConvTranspose2d(2, 3, 2, **d)),
        [data(1, 2, 4, 5)],
        {},
    ),
    "attention with lengths": (
        lambda n, d: weight_norm(n, n.MultiheadAttention(8, 2, **d), name="in_proj_weight"),
        [data(*E)] * 3,
        {},
    ),
    "MaxUnpool1d": (lambda n, d: Unpooled(n, 1), [data(2, 3, 9)], {}),
    "MaxUnpool2d": (lambda n, d: Unpooled(n, 2), [data(2, 3, 7, 9)], {}),
    "MaxUnpool2d to a size": (lambda n, d: Unpooled(n, 2, (1, 3, 8, 9)), [data(3, 8, 9)], {}),
    "MaxPool1d": (lambda n, d: n.MaxPool1d(3, 2, 1, ceil_mode=True), [data(2, 3, 8)], {}),
    "AvgPool1d": (lambda n, d: n.AvgPool1d(3, 2, 1, True, False), [data(2, 3, 8)], {}),
    "MaxPool2d, wider than x": (lambda n, d: n.MaxPool2d((9, 2), ceil_mode=True), [data(2, 3, 5, 5)], {}),
    "AvgPool1d, wider than x": (lambda n, d: n.AvgPool1d(9, ceil_mode=True), [data(2, 3, 5)], {}),
    "AvgPool2d, wider than x": (
        lambda n, d: n.AvgPool2d(9, padding=1, ceil_mode=True, count_include_pad=False),
        [data(2, 3, 5, 5)],
        {},
    ),
    "AdaptiveAvgPool1d": (lambda n, d: n.AdaptiveAvgPool1d(3), [data(2, 3, 8)], {}),
    "AdaptiveAvgPool2d": (lambda n, d: n.AdaptiveAvgPool2d((3, None)), [data(2, 3, 8, 4)], {}),
    "AdaptiveMaxPool1d": (lambda n, d: n.AdaptiveMaxPool1d(3), [data(2, 3, 8)], {}),
    "AdaptiveMaxPool2d": (lambda n, d: n.AdaptiveMaxPool2d(3), [data(2, 3, 8, 4)], {}),
    "Upsample": (lambda n, d: n.Upsample(scale_factor=2, mode="bilinear"), [data(2, 3, 4, 5)], {}),
    "Upsample to a size": (
        lambda n, d: n.Upsample(7, mode="linear", align_corners=True),
        [data(2, 3, 4)],
        {},
    ),
    **{
        f"Upsampling{kind}2d {options}": (
            lambda n, d, kind=kind, options=options: getattr(n, f"Upsampling{kind}2d")(**options),
            [data(2, 3, 4, 5)],
            {},
        )
        for kind in ("Nearest", "Bilinear")
        for options in ({"size": (7, 3)}, {"scale_factor": 2}, {"scale_factor": (1.5, 3.0)})
    },
    "Threshold": (lambda n, d: n.Threshold(0.1, -3.0), [data(4, 3, 5)], {}),
    "Softmin": (lambda n, d: n.Softmin(1), [data(4, 3, 5)], {}),
    "PixelShuffle": (lambda n, d: n.PixelShuffle(2), [data(2, 8, 3, 4)], {}),
    "PixelUnshuffle": (lambda n, d: n.PixelUnshuffle(2), [data(2, 2, 4, 6)], {}),
    **{
        f"{kind}Pad{i}d": (
            lambda n, d, kind=kind, i=i: getattr(n, f"{kind}Pad{i}d")(
                tuple(1 + k % 2 for k in range(2 * i)), *([0.5] if kind == "Constant" else [])
            ),
            [data(2, 3, *(4, 3, 5)[:i])],
            {},
        )
        for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
        for i in (1, 2, 3)
    },
}
LAYERS = {**ATTENTION, **TABLES, **RECURRENT, **SPATIAL}
each_layer = pytest.mark.parametrize(("make", "inputs", "options"), LAYERS.values(), ids=LAYERS)


def flat(outputs):
    """The arrays of an output that may be a tuple of tuples."""
    if isinstance(outputs, tuple):
        return [leaf for output in outputs for leaf in flat(output)]
    return [] if outputs is None else [outputs]


def of_both(value, dtype):
    """An argument for each library, which has a gradient if it is of floats."""
    if isinstance(value, tuple):
        return tuple(zip(*(of_both(part, dtype) for part in value), strict=True))
    if not isinstance(value, np.ndarray):
        return value, value
    if value.dtype.kind != "f":
        return xpnet.asarray(value), torch.tensor(value)
    a = xpnet.tensor(value, requires_grad=True, dtype=dtype)
    return a, torch.tensor(value, requires_grad=True, dtype=getattr(torch, dtype))


def close(a, b, dtype):
    b = b.detach().numpy()
    scale = max(np.abs(b).max(initial=0), 1e-2)
    np.testing.assert_allclose(xpnet.to_numpy(a), b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("training", [True, False])
@each_layer
def test_values_and_gradients(make, inputs, options, training, dtype):
    theirs = randomised(make(torch.nn, {"dtype": getattr(torch, dtype)}), dtype).train(training)
    ours = make(nn, {"dtype": dtype}).train(training)
    ours.load_state_dict(state_of(theirs))
    same = {id(x): of_both(x, dtype) for x in inputs}  # self-attention is given one array three times
    pairs = [same[id(x)] for x in inputs]
    named = {k: of_both(v, dtype) for k, v in options.items()}
    y = flat(ours(*(a for a, _ in pairs), **{k: a for k, (a, _) in named.items()}))
    z = flat(theirs(*(b for _, b in pairs), **{k: b for k, (_, b) in named.items()}))
    assert len(y) == len(z)
    total, expected = 0.0, 0.0
    for i, (a, b) in enumerate(zip(y, z, strict=True)):
        close(a, b, dtype)
        assert str(a.dtype).endswith(dtype)
        weights = np.cos(i + np.arange(b.numel())).reshape(tuple(b.shape))
        total = total + (a * xpnet.asarray(weights, dtype)).sum()
        expected = expected + (b * torch.tensor(weights, dtype=b.dtype)).sum()
    total.backward()
    expected.backward()
    for ours_, theirs_ in [*same.values(), *named.values()]:
        for a, b in zip(flat(ours_), flat(theirs_), strict=True):
            if isinstance(a, xpnet.Tensor) and b.grad is not None:
                close(a.grad, b.grad, dtype)
    for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other
        close(p.grad, q.grad, dtype)


@each_layer
def test_our_weights_load_into_pytorch(make, inputs, options):
    ours = make(nn, {"dtype": "float64"}).eval()
    theirs = make(torch.nn, {"dtype": torch.float64}).eval()
    state = {name: torch.tensor(xpnet.to_numpy(a)) for name, a in ours.state_dict().items()}
    theirs.load_state_dict(state)
    y = flat(ours(*(of_both(x, "float64")[0] for x in inputs)))
    for a, b in zip(y, flat(theirs(*(of_both(x, "float64")[1] for x in inputs))), strict=True):
        close(a, b, "float64")


@pytest.mark.host
@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights_are_of_pytorchs_size(name):
    """Zeros where PyTorch has them; elsewhere the same spread."""
    make = LAYERS[name][0]
    torch.manual_seed(0)
    theirs = make(torch.nn, {}).state_dict()
    for key, a in make(nn, {}).state_dict().items():
        values, expected = xpnet.to_numpy(a).astype(float), theirs[key].numpy().astype(float)
        assert (values == 0).all() == (expected == 0).all(), key
        if values.size >= 60 and expected.std():
            assert abs(values.std() / expected.std() - 1) < 0.35, key


@pytest.mark.host
def test_the_initial_rows_of_attention_are_of_pytorchs_size():
    ours, theirs = (n.MultiheadAttention(2048, 1, add_bias_kv=True) for n in (nn, torch.nn))
    for name in ("bias_k", "bias_v"):
        expected = float(getattr(theirs, name).detach().std())
        assert abs(getattr(ours, name).numpy().std() / expected - 1) < 0.15, name


@pytest.mark.host
def test_attention_drops_nothing_in_evaluation():
    x = np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)
    layer = nn.MultiheadAttention(8, 2, dropout=0.9).eval()
    layer.out_proj.bias.data[...] = 1.0
    calm = nn.MultiheadAttention(8, 2)
    calm.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer(x, x, x)[0].numpy(), calm(x, x, x)[0].numpy())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_sequences_of_different_lengths(kind, both_ways):
    """As PyTorch's packed sequences."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    theirs = randomised(getattr(torch.nn, kind)(4, 6, 2, bidirectional=both_ways), "float64")
    ours = getattr(nn, kind)(4, 6, 2, bidirectional=both_ways, dtype="float64")
    ours.load_state_dict(state_of(theirs))
    lengths = np.array([3, 5, 1])
    (a, b), (ha, hb) = (
        of_both(data(5, 3, 4), "float64"),
        of_both(data(4 if both_ways else 2, 3, 6), "float64"),
    )
    states = ((ha, ha), (hb, hb)) if kind == "LSTM" else (ha, hb)
    y = ours(a, states[0], lengths=lengths)
    packed = pack_padded_sequence(b, torch.tensor(lengths), enforce_sorted=False)
    z, ends = theirs(packed, states[1])
    z = (pad_packed_sequence(z)[0], ends)
    for p, q in zip(flat(y), flat(z), strict=True):
        close(p, q, "float64")
    sum((p * p).sum() for p in flat(y)).backward()
    sum((q * q).sum() for q in flat(z)).backward()
    close(a.grad, b.grad, "float64")
    close(ha.grad, hb.grad, "float64")
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, "float64")


def test_dropout_is_between_layers_and_only_in_training():
    xpnet.manual_seed(0)
    layer, x = nn.GRU(4, 6, 2, dropout=0.5), xpnet.asarray(X.astype(np.float32))
    first, second = (xpnet.to_numpy(layer(x)[0]) for _ in range(2))
    assert (first != second).any()
    layer.eval()
    np.testing.assert_array_equal(*(xpnet.to_numpy(layer(x)[0]) for _ in range(2)))
    alone = nn.GRU(4, 6, 1, dropout=0.5)
    np.testing.assert_array_equal(*(xpnet.to_numpy(alone(x)[0]) for _ in range(2)))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_derivatives_of_sequences(kind):
    layer = getattr(nn, kind)(2, 3, dtype="float64")

    def function(x, *parameters):
        return layer(x, lengths=[2, 4])[0]

    assert xpnet.gradcheck(function, xpnet.tensor(data(4, 2, 2), requires_grad=True))
    hessian = xpnet.hessian(lambda x: (layer(x)[0] ** 2).sum())(xpnet.asarray(data(3, 1, 2)))
    flat_hessian = xpnet.to_numpy(hessian).reshape(6, 6)
    np.testing.assert_allclose(flat_hessian, flat_hessian.T, rtol=1e-9, atol=1e-12)


WRONG = {
    "sequence": (
        lambda: nn.Conv1d(4, 6, 30, dtype="float64")(np.zeros((2, 4, 9))),
        ValueError,
        r"conv1d: sequences of \(9,\) with padding",
    ),
    "channels": (
        lambda: nn.Conv1d(4, 6, 3, dtype="float64")(np.zeros((2, 5, 9))),
        ValueError,
        r"conv1d: an input of 5 channels does not fit a weight of shape \(6, 4, 3\)",
    ),
    "features": (lambda: nn.LSTM(4, 6)(X[..., :3]), ValueError, r"LSTM: expected a sequence .* 4 features"),
    "steps": (lambda: nn.GRU(4, 6)(X[:0]), ValueError, "at least one step"),
    "axes": (lambda: nn.RNN(4, 6)(X[None]), ValueError, "RNN: expected a sequence"),
    "state": (lambda: nn.GRU(4, 6)(X, H), ValueError, r"expected h_0 of shape \(1, 3, 6\), got \(2, 3, 6\)"),
    "no pair": (lambda: nn.LSTM(4, 6)(X, H), TypeError, r"expected hx as a pair \(h_0, c_0\)"),
    "dtype": (lambda: nn.LSTM(4, 6)(X), TypeError, "x is float64 and the weight float32"),
    "lengths": (
        lambda: nn.GRU(4, 6, dtype="float64")(X, lengths=[1, 2]),
        ValueError,
        "lengths: expected 3 integers",
    ),
    "length": (
        lambda: nn.GRU(4, 6, dtype="float64")(X, lengths=[1, 2, 6]),
        ValueError,
        "lengths: expected 1 to 5, got 1 to 6",
    ),
    "word": (lambda: nn.RNN(4, 6, nonlinearity="gelu"), ValueError, 'nonlinearity must be "tanh" or "relu"'),
    "size": (lambda: nn.LSTM(0, 6), ValueError, "LSTM: input_size must be at least 1, got 0"),
    "p": (lambda: nn.LSTM(4, 6, 2, dropout=2), ValueError, r"in \[0, 1\], got 2"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_eps_of_rms_norm_is_that_of_the_dtype_it_is_summed_in(dtype, backend):
    """A mean square of 2^-20 lies between the eps of all three: 2^-10, 2^-23 and 2^-52."""
    if dtype == "float16" and backend.name == "array_api_strict":
        pytest.skip("this backend has no such type")
    x = np.full((2, 4), 2.0**-10, dtype)
    y = torch.nn.functional.rms_norm(torch.tensor(x), (4,)).numpy()
    tolerance = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-15}[dtype]
    np.testing.assert_allclose(xpnet.to_numpy(F.rms_norm(xpnet.asarray(x), 4)), y, rtol=tolerance)
    np.testing.assert_allclose(
        xpnet.to_numpy(nn.RMSNorm(4, dtype=dtype)(xpnet.asarray(x))), y, rtol=tolerance
    )


def test_a_batch_of_none():
    y, (h, c) = nn.LSTM(4, 6)(xpnet.asarray(np.zeros((5, 0, 4), np.float32)))
    assert (y.shape, h.shape, c.shape) == ((5, 0, 6), (1, 0, 6), (1, 0, 6))


@pytest.mark.parametrize(
    ("layer", "shape", "parts"),
    [
        (nn.Dropout1d(0.4), (50, 40, 3), 2),
        (nn.Dropout1d(0.4), (500, 3), 1),
        (nn.Dropout2d(0.4), (50, 40, 3, 2), 2),
        (nn.Dropout2d(0.4), (50, 40, 3), 2),
        (nn.Dropout3d(0.4), (50, 40, 3, 2, 2), 2),
        (nn.Dropout3d(0.4), (500, 3, 2, 2), 1),
        (nn.DropPath(0.4), (500, 3, 2), 1),
        (nn.DropPath(0.4, scale_by_keep=False), (500, 3, 2), 1),
    ],
    ids=lambda value: str(value),
)
def test_whole_parts_are_dropped(layer, shape, parts):
    """As PyTorch's: one decision a part, the same mean."""
    x = xpnet.tensor(np.ones(shape, np.float32), requires_grad=True)
    y = layer.train()(x)
    y.sum().backward()
    found = y.numpy().reshape(*shape[:parts], -1)
    assert (found == found[..., :1]).all()
    scale = 1.0 if getattr(layer, "scale_by_keep", True) is False else 1 / 0.6
    assert set(np.unique(found)) == {np.float32(0), np.float32(scale)}
    assert abs((found == 0).mean() - 0.4) < 0.08
    np.testing.assert_array_equal(xpnet.to_numpy(x.grad), y.numpy())
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["ConstantPad", "ZeroPad"])
def test_pads_of_one_sample_of_one_channel(kind, axes):
    x, value = data(*(4, 3, 2)[:axes]), (0.5,) * (kind == "ConstantPad")
    y = getattr(nn, f"{kind}{axes}d")(2, *value)(xpnet.asarray(x))
    expected = getattr(torch.nn, f"{kind}{axes}d")(2, *value)(torch.tensor(x))
    np.testing.assert_array_equal(xpnet.to_numpy(y), expected.numpy())


def test_instances_of_one_position_have_running_statistics():
    theirs = torch.nn.InstanceNorm2d(3, affine=True, track_running_stats=True).double()
    theirs(torch.tensor(data(2, 3, 4, 5)))
    ours = nn.InstanceNorm2d(3, affine=True, track_running_stats=True, dtype="float64")
    ours.load_state_dict(state_of(theirs))
    x = data(2, 3, 1, 1)
    close(ours.eval()(xpnet.asarray(x)), theirs.eval()(torch.tensor(x)), "float64")
    with pytest.raises(ValueError, match="InstanceNorm2d: expected"):
        ours.train()(xpnet.asarray(x))


@pytest.mark.host
@pytest.mark.parametrize("axes", [1, 2])
def test_spectral_norm_of_transposed_convolutions_is_that_of_outputs(axes):
    """More inputs than outputs, so that the vectors' lengths tell the axes apart."""
    layer = nn.spectral_norm(getattr(nn, f"ConvTranspose{axes}d")(4, 2, 3))
    at = layer.parametrizations["weight"]
    assert vars(at)["0"]._u.data.shape == (2,)
    assert vars(at)["0"]._v.data.shape == (4 * 3**axes,)
    matrix = np.moveaxis(layer.eval().weight.numpy(), 1, 0).reshape(2, -1)
    assert abs(np.linalg.norm(matrix, 2) - 1) < 1e-3


MISFITS = {
    "wider with steps": (
        lambda: nn.MaxPool1d(9, 1, ceil_mode=True)(np.ones((1, 1, 5), np.float32)),
        ValueError,
        "smaller than the window",
    ),
    "channels": (lambda: nn.Conv1d(3, 4, 2, groups=2), ValueError, "Conv1d: groups=2 must divide 3 and 4"),
    "kernel": (lambda: nn.Conv3d(3, 4, (2, 2)), ValueError, "Conv3d: kernel_size must be one number or 3"),
    "a fraction": (lambda: nn.Conv1d(3, 4, 2.5), TypeError, "Conv1d: kernel_size must be a whole number"),
    "output size": (
        lambda: nn.ConvTranspose2d(3, 4, 2, 2)(np.ones((1, 3, 4, 4), np.float32), (8, 10)),
        ValueError,
        r"ConvTranspose2d: output_size \(8, 10\) of an input .*, expected \(8, 8\) to \(9, 9\)",
    ),
    "output sizes": (
        lambda: nn.ConvTranspose2d(3, 4, 2, 2)(np.ones((1, 3, 4, 4), np.float32), (8, 8, 8)),
        ValueError,
        r"ConvTranspose2d: output_size \(8, 8, 8\) of an input",
    ),
    "padding mode": (
        lambda: nn.Conv2d(3, 4, 2, padding_mode="mirror"),
        ValueError,
        "Conv2d: padding_mode must be one of zeros, reflect, replicate, circular, got 'mirror'",
    ),
    "same": (lambda: nn.Conv1d(3, 4, 2, 2, "same"), ValueError, 'padding="same" needs stride 1'),
    "axes": (
        lambda: nn.Conv1d(3, 4, 2)(np.ones((1, 3, 4, 4), np.float32)),
        ValueError,
        "conv1d: expected x of",
    ),
    "more": (
        lambda: nn.ConvTranspose2d(3, 4, 2, output_padding=1)(np.ones((1, 3, 4, 4), np.float32)),
        ValueError,
        r"output_padding \(1, 1\) must be below stride or dilation",
    ),
    "fit": (
        lambda: nn.ConvTranspose2d(3, 4, 2)(np.ones((1, 2, 4, 4), np.float32)),
        ValueError,
        "conv_transpose2d: an input of 2 channels does not fit",
    ),
    "small": (lambda: nn.Conv3d(1, 1, 3)(np.ones((1, 1, 2, 4, 4), np.float32)), ValueError, "2 slices"),
    "bilinear": (lambda: nn.Bilinear(2, 3, 4)(X[..., :2], X), ValueError, "bilinear: inputs of shapes"),
    "two sizes": (lambda: nn.Upsample(2, 2.0), ValueError, "pass size or scale_factor, one of them"),
    "no size": (
        nn.UpsamplingBilinear2d,
        ValueError,
        "UpsamplingBilinear2d: pass size or scale_factor, one of them",
    ),
    "shrink": (lambda: nn.Softshrink(-1), ValueError, "Softshrink: lambd must be at least 0, got -1"),
    "shrunk": (lambda: F.softshrink(X, -1), ValueError, "softshrink: lambd must be at least 0, got -1"),
    "threshold": (lambda: nn.Threshold(0, None), TypeError, "Threshold: value must be a number, got None"),
    "mode": (lambda: nn.Upsample(2, mode="cubic"), ValueError, "Upsample: mode must be one of nearest"),
    "mode of axes": (
        lambda: nn.Upsample(2, mode="bilinear")(X),
        ValueError,
        r"bilinear takes x of shape \(N, C, H, W\), got \(5, 3, 4\)",
    ),
    "antialias": (
        lambda: F.interpolate(X, 2, mode="nearest", antialias=True),
        ValueError,
        "antialias is for the modes bilinear and bicubic, not for 'nearest'",
    ),
    "corners": (lambda: nn.Upsample(2, align_corners=True)(X), ValueError, "align_corners is not for mode"),
    "shuffle": (lambda: nn.PixelShuffle(2)(X), ValueError, r"has no multiple of 2\^2 channels"),
    "pad": (lambda: nn.ZeroPad2d((1, 2)), ValueError, "ZeroPad2d: padding must be one number or 4"),
    "mirror": (lambda: nn.ReflectionPad1d(4)(X), ValueError, "mode 'reflect' has no element -4 of 4"),
    "pad axes": (lambda: nn.ZeroPad1d(4)(X[None]), ValueError, "ZeroPad1d: expected x of 2 or 3 axes"),
    "dropout": (lambda: nn.Dropout1d()(X[None]), ValueError, "dropout1d: expected x of 2 or 3 axes"),
    "p": (lambda: nn.Dropout2d(2), ValueError, "Dropout2d: p is the probability of dropping"),
    "path": (lambda: nn.DropPath(2), ValueError, "DropPath: drop_prob is the probability"),
    "pool": (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), ValueError, "output_size must be one number or 2"),
    "adaptive axes": (
        lambda: nn.AdaptiveAvgPool2d(2)(X[0]),
        ValueError,
        "adaptive_avg_pool2d: expected x of",
    ),
    "adaptive size": (lambda: F.adaptive_avg_pool1d(X, (0,)), ValueError, "output_size must be at least 1"),
    "adaptive float": (
        lambda: F.adaptive_max_pool2d(X, 2.0),
        TypeError,
        "adaptive_max_pool2d: output_size must be a whole number, got 2.0",
    ),
    "output padding": (
        lambda: nn.ConvTranspose1d(4, 8, 3, output_padding=1, dtype="float64")(np.ones((1, 4, 5))),
        ValueError,
        r"conv_transpose1d: output_padding \(1,\) must be below stride or dilation",
    ),
    "all padding": (
        lambda: F.conv_transpose1d(np.ones((2, 1)), np.ones((2, 1, 2)), padding=1),
        ValueError,
        r"conv_transpose1d: padding \(1,\) leaves nothing of \(2,\)",
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint8])
def test_adaptive_sizes_may_be_numpys(kind, axes, number):
    x, name = np.random.default_rng(0).normal(size=(2, 3, *(5, 6, 4)[:axes])), f"adaptive_{kind}_pool{axes}d"
    expected = getattr(torch.nn.functional, name)(torch.tensor(x), (2,) * axes).numpy()
    for size in (number(2), (number(2),) * axes, [number(2)] * axes):
        np.testing.assert_allclose(xpnet.to_numpy(getattr(F, name)(xpnet.asarray(x), size)), expected)


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), MISFITS.values(), ids=MISFITS)
def test_misfits_are_refused(call, error, message):
    test_refusals(call, error, message)
