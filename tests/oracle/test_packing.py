"""Packed sequences: data, outputs, last states and gradients are PyTorch's, in whatever order."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from tests.oracle.test_layers import randomised, state_of  # noqa: E402
from xpnet import nn  # noqa: E402
from xpnet.nn.utils.rnn import (  # noqa: E402
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
)

theirs = torch.nn.utils.rnn
RNG = np.random.default_rng(5)
X, H = RNG.normal(size=(6, 4, 3)), RNG.normal(size=(4, 4, 5))
SORTED, MIXED = [5, 4, 4, 1], [2, 5, 1, 5]


def close(a, b):
    np.testing.assert_allclose(xpnet.to_numpy(a), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def both(x=X):
    return (
        xpnet.tensor(x, requires_grad=True, dtype="float64"),
        torch.tensor(np.array(x), requires_grad=True, dtype=torch.float64),
    )


def same_packing(mine, expected):
    close(mine.data, expected.data)
    assert mine.batch_sizes.tolist() == expected.batch_sizes.tolist()
    for a, b in ((mine[2], expected[2]), (mine[3], expected[3])):
        assert (a is None) == (b is None)
        assert a is None or a.tolist() == b.tolist()


LAYERS = {
    "LSTM": lambda n, **d: n.LSTM(3, 5, **d),
    "LSTM, 2 layers, both ways": lambda n, **d: n.LSTM(3, 5, 2, bidirectional=True, **d),
    "GRU, both ways": lambda n, **d: n.GRU(3, 5, bidirectional=True, **d),
    "RNN, 2 layers": lambda n, **d: n.RNN(3, 5, 2, **d),
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [SORTED, MIXED, [6, 6, 6, 6]], ids=str)
@pytest.mark.parametrize("given", [False, True], ids=["from 0", "from a state"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_of_packed_sequences(make, given, lengths, batch_first):
    layer = randomised(make(torch.nn, batch_first=batch_first), "float64")
    mine = make(nn, batch_first=batch_first, dtype="float64")
    mine.load_state_dict(state_of(layer))
    (x, t), ordered = both(X.swapaxes(0, 1).copy() if batch_first else X), lengths != MIXED
    packed = pack_padded_sequence(x, lengths, batch_first, ordered)
    expected = theirs.pack_padded_sequence(t, torch.tensor(lengths), batch_first, ordered)
    same_packing(packed, expected)
    n = layer.num_layers * (2 if layer.bidirectional else 1)
    h, g = both(H[:n])
    lstm = isinstance(mine, nn.LSTM)
    a, a_ends = mine(packed, *([(h, h * 2) if lstm else h] if given else []))
    b, b_ends = layer(expected, *([(g, g * 2) if lstm else g] if given else []))
    same_packing(a, b)
    y, counts = pad_packed_sequence(a, batch_first, total_length=7)
    z, expected_counts = theirs.pad_packed_sequence(b, batch_first, total_length=7)
    close(y, z)
    assert counts.tolist() == expected_counts.tolist() == lengths
    ends, expected_ends = (a_ends, b_ends) if lstm else ((a_ends,), (b_ends,))
    total = sum(((e * (i + 2)).sum() for i, e in enumerate(ends)), (y * y).sum())
    expected_total = sum(((e * (i + 2)).sum() for i, e in enumerate(expected_ends)), (z * z).sum())
    for e, k in zip(ends, expected_ends, strict=True):
        close(e, k)
    total.backward()
    expected_total.backward()
    close(x.grad, t.grad)
    if given:
        close(h.grad, g.grad)
    for p, q in zip(mine.parameters(), layer.parameters(), strict=True):
        close(p.grad, q.grad)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_padding(shape, batch_first):
    arrays = [RNG.normal(size=(n, *shape)) for n in (2, 5, 3)]
    pairs = [both(a) for a in arrays]
    for side in ("right", "left"):
        y = pad_sequence([x for x, _ in pairs], batch_first, -1.5, side)
        z = theirs.pad_sequence([t for _, t in pairs], batch_first, -1.5, side)
        close(y, z)
        (y * y).sum().backward()
        (z * z).sum().backward()
    for x, t in pairs:
        close(x.grad, t.grad)
    packed = pack_sequence([xpnet.asarray(a) for a in arrays], enforce_sorted=False)
    expected = theirs.pack_sequence([torch.tensor(a) for a in arrays], enforce_sorted=False)
    same_packing(packed, expected)
    for options in ({}, {"padding_value": 7.0, "total_length": 6}):
        a, n = pad_packed_sequence(packed, batch_first, **options)
        b, m = theirs.pad_packed_sequence(expected, batch_first, **options)
        close(a, b)
        assert n.tolist() == m.tolist()


def test_other_values_of_packed_sequences():
    """As a script does it: dropout, say, of the data, and a new PackedSequence of the same sizes."""
    x, t = both()
    packed = pack_padded_sequence(x, MIXED, enforce_sorted=False)
    expected = theirs.pack_padded_sequence(t, torch.tensor(MIXED), enforce_sorted=False)
    mine = PackedSequence(packed.data * 2, packed.batch_sizes, packed.sorted_indices)
    other = theirs.PackedSequence(expected.data * 2, expected.batch_sizes, expected.sorted_indices)
    same_packing(mine, other)
    close(pad_packed_sequence(mine)[0], theirs.pad_packed_sequence(other)[0])
    assert isinstance(packed._replace(data=x), PackedSequence)


def test_they_are_found_where_pytorch_has_them():
    assert nn.utils.rnn.pack_padded_sequence is nn.pack_padded_sequence is pack_padded_sequence
    assert nn.LSTM(3, 5).flatten_parameters() is None


REFUSED = {
    "zero": (lambda x: pack_padded_sequence(x, [2, 1, 1, 0]), ValueError, "must be from 1 to 6, got"),
    "long": (lambda x: pack_padded_sequence(x, [7, 1, 1, 1]), ValueError, "must be from 1 to 6, got"),
    "order": (lambda x: pack_padded_sequence(x, MIXED), ValueError, "longest sequence must come first"),
    "number": (lambda x: pack_padded_sequence(x, [2, 1]), ValueError, "expected 4 lengths"),
    "fractions": (lambda x: pack_padded_sequence(x, [2.0] * 4), TypeError, "expected integers"),
    "total": (
        lambda x: pad_packed_sequence(pack_padded_sequence(x, SORTED), total_length=4),
        ValueError,
        "total_length=4 is below 5",
    ),
    "nothing": (lambda x: pad_sequence([]), ValueError, "no sequences"),
    "axes": (lambda x: pad_sequence([x, x[:, :2, :]]), ValueError, "only the first axis may differ"),
    "side": (lambda x: pad_sequence([x], padding_side="top"), ValueError, 'must be "right" or "left"'),
    "twice": (
        lambda x: nn.GRU(3, 5)(pack_padded_sequence(x, SORTED), lengths=SORTED),
        TypeError,
        "GRU: packed sequences have lengths",
    ),
    "features": (
        lambda x: nn.GRU(2, 5)(pack_padded_sequence(x, SORTED)),
        ValueError,
        "GRU: expected a sequence",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message) as found:
        call(xpnet.asarray(X, "float32"))
    assert "\n" not in str(found.value)
