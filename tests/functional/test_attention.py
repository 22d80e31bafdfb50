"""Attention in blocks of queries is attention; what it refuses; dropout of its weights."""

import tracemalloc

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.functional import attention

RNG = np.random.default_rng(0)
Q, K, V = RNG.normal(size=(2, 3, 7, 4)), RNG.normal(size=(2, 3, 9, 4)), RNG.normal(size=(2, 3, 9, 5))
MASK = RNG.normal(size=(2, 1, 7, 9)) > -0.5
OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "masked": {"attn_mask": MASK},
    "added": {"attn_mask": np.where(MASK, 0.3, -1.0)},
    "dropped": {"dropout_p": 0.4},
    "dropped, causal": {"dropout_p": 0.4, "is_causal": True},
}


def run(options):
    xpnet.manual_seed(5)
    inputs = [xpnet.tensor(x, requires_grad=True, dtype="float64") for x in (Q, K, V)]
    y = F.scaled_dot_product_attention(*inputs, **options)
    (y * xpnet.asarray(np.cos(np.arange(y.size)).reshape(y.shape))).sum().backward()
    return [xpnet.to_numpy(x) for x in (y, *(x.grad for x in inputs))]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("rows", [1, 3])
def test_blocks_change_nothing(options, rows, monkeypatch):
    whole = run(options)
    monkeypatch.setattr(attention, "_SCORES", 2 * 3 * 9 * rows)
    for a, b in zip(run(options), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("blocks", [False, True])
def test_gradients_with_dropout(blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(attention, "_SCORES", 1)

    def function(*inputs):
        xpnet.manual_seed(1)
        return F.scaled_dot_product_attention(*inputs, dropout_p=0.5, is_causal=True)

    assert xpnet.gradcheck(function, *(xpnet.tensor(x[0], requires_grad=True) for x in (Q, K, V)))


def test_dropout_drops_weights_and_keeps_their_mean():
    n = 400
    x, v = np.zeros((1, n, 2)), np.eye(n)[None]
    kept = xpnet.to_numpy(F.scaled_dot_product_attention(*map(xpnet.asarray, (x, x, v)), dropout_p=0.25)) * n
    assert set(np.round(np.unique(kept), 9)) == {0.0, round(1 / 0.75, 9)}
    assert abs((kept == 0).mean() - 0.25) < 0.01
    none = F.scaled_dot_product_attention(*map(xpnet.asarray, (x, x, v)), dropout_p=1.0)
    assert not xpnet.to_numpy(none).any()


@pytest.mark.host
def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(length):
        x = [xpnet.tensor(np.ones((1, length, 8), np.float32), requires_grad=True) for _ in range(3)]
        tracemalloc.start()
        F.scaled_dot_product_attention(*x, is_causal=True).sum().backward()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(8192) < 8192 * 8192 * 4  # one matrix of all scores
    assert peak(8192) < 1.5 * peak(4096)


REFUSED = {
    "widths": (lambda: F.scaled_dot_product_attention(Q, K[..., :3], V), ValueError, r"expected query .*E"),
    "lengths": (lambda: F.scaled_dot_product_attention(Q, K, V[..., :3, :]), ValueError, "expected query"),
    "batches": (lambda: F.scaled_dot_product_attention(Q[:, :2], K, V), ValueError, "do not broadcast"),
    "both": (
        lambda: F.scaled_dot_product_attention(Q, K, V, MASK, is_causal=True),
        ValueError,
        "pass attn_mask or is_causal",
    ),
    "a mask": (lambda: F.scaled_dot_product_attention(Q, K, V, MASK[..., :2]), ValueError, "a mask of shape"),
    "p": (lambda: F.scaled_dot_product_attention(Q, K, V, dropout_p=2), ValueError, "dropout_p is the prob"),
    "dtypes": (
        lambda: F.scaled_dot_product_attention(Q, K.astype("float32"), V),
        TypeError,
        "the key is float32, the query float64",
    ),
    "integers": (
        lambda: F.scaled_dot_product_attention(*[Q.astype(int)] * 3),
        TypeError,
        "the query is int64",
    ),
    "heads": (
        lambda: F.scaled_dot_product_attention(Q, K[:, :2], V[:, :2], enable_gqa=True),
        ValueError,
        "3 heads of queries do not share",
    ),
    "a layer's heads": (lambda: nn.MultiheadAttention(5, 2), ValueError, "num_heads=2 does not divide"),
    "a layer's input": (
        lambda: nn.MultiheadAttention(4, 2)(Q[0], K[0], Q[0]),
        ValueError,
        r"expected query \(L, N, 4\), key",
    ),
    "a layer's mask": (
        lambda: nn.MultiheadAttention(4, 2, dtype="float64")(Q[0], Q[0], Q[0], attn_mask=MASK[0, 0]),
        ValueError,
        r"attn_mask must have shape \(3, 3\)",
    ),
    "a layer's padding": (
        lambda: nn.MultiheadAttention(4, 2, dtype="float64")(Q[0], Q[0], Q[0], MASK[0, 0]),
        ValueError,
        r"key_padding_mask must have shape \(7, 3\)",
    ),
    "activation": (
        lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"),
        ValueError,
        "activation must be one of relu, gelu, silu, got 'tanh'",
    ),
    "no layer": (lambda: nn.TransformerEncoder(nn.Linear, 2), TypeError, "expected a layer"),
    "floats": (lambda: F.embedding([0.5], Q[0, 0]), TypeError, "x is float64, expected integers"),
    "a table": (lambda: F.embedding([0], Q), ValueError, r"expected a weight of shape \(n, d\)"),
    "a row": (lambda: F.embedding([0, 7], Q[0, 0]), IndexError, "embedding: 7 is out of range: of 7 rows"),
    "below": (lambda: F.embedding([-1], Q[0, 0]), IndexError, "-1 is out of range"),
    "padding": (lambda: nn.Embedding(3, 2, 3), ValueError, "padding_idx=3 is not one of 3 rows"),
    "odd": (lambda: F.rotary_embedding(V), ValueError, "D even, got"),
    "odd places": (lambda: F.sinusoidal_encoding(2, 3), ValueError, "dim must be even, got 3"),
    "too long": (
        lambda: nn.SinusoidalEncoding(4, max_len=3)(Q.astype("float32")),
        ValueError,
        "L at most 3, got",
    ),
    "rms": (lambda: F.rms_norm(Q, 3), ValueError, r"expected an input ending in \(3,\)"),
    "halves": (lambda: F.glu(V), ValueError, "does not split in halves along dim=-1"),
    "slopes": (lambda: F.prelu(Q, np.ones(2)), ValueError, r"a weight of shape \(2,\) does not fit"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_rotated_products_know_only_the_distance():
    q, k = (RNG.normal(size=(1, 6)) for _ in range(2))
    turn = lambda x, place: xpnet.to_numpy(F.rotary_embedding(xpnet.asarray(x), offset=place))
    near = turn(q, 5) @ turn(k, 2).T
    np.testing.assert_allclose(turn(q, 105) @ turn(k, 102).T, near, rtol=1e-9)
    assert abs(turn(q, 6) @ turn(k, 2).T - near) > 1e-3


def test_places_have_their_own_pattern():
    table = xpnet.to_numpy(F.sinusoidal_encoding(50, 6, dtype="float64"))
    places, i = np.arange(50)[:, None], np.arange(3)
    np.testing.assert_allclose(table[:, ::2], np.sin(places / 10000 ** (i / 3)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(table[:, 1::2], np.cos(places / 10000 ** (i / 3)), rtol=1e-12, atol=1e-12)
    layer = nn.SinusoidalEncoding(6, 0.0, 50, dtype="float64")
    assert "encoding" not in layer.state_dict()
    np.testing.assert_array_equal(xpnet.to_numpy(layer(xpnet.asarray(np.zeros((2, 9, 6)))))[1], table[:9])


def test_gradients_of_repeated_rows_add_up():
    weight = nn.Embedding(5, 2, padding_idx=1, dtype="float64")
    assert (weight.weight.numpy()[1] == 0).all()
    x = np.array([0, 1, 1, 3] * 5)
    weight(x).sum().backward()
    assert xpnet.to_numpy(weight.weight.grad).tolist() == [[5, 5], [0, 0], [0, 0], [5, 5], [0, 0]]


WHOLE = {"a list": [[0, 0, 1]], "uint8": np.array([[0, 0, 1]], np.uint8), "int64": np.array([[0, 0, 1]])}


@pytest.mark.host
@pytest.mark.parametrize("mask", WHOLE.values(), ids=WHOLE)
def test_masks_of_whole_numbers_are_refused(mask):
    """They could be truth values or numbers to add."""
    x, layer = xpnet.asarray(RNG.normal(size=(1, 3, 4))), nn.MultiheadAttention(4, 2, batch_first=True)
    block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    x = xpnet.asarray(x, "float32")
    square = np.broadcast_to(np.asarray(mask), (3, 3))
    calls = {
        "scaled_dot_product_attention: attn_mask": lambda: F.scaled_dot_product_attention(x, x, x, mask),
        "MultiheadAttention: key_padding_mask": lambda: layer(x, x, x, mask),
        "MultiheadAttention: attn_mask": lambda: layer(x, x, x, attn_mask=square),
    }
    same = {"MultiheadAttention: key_padding_mask": lambda: block(x, src_key_padding_mask=mask)}
    for name, call in (*calls.items(), *same.items()):
        with pytest.raises(TypeError, match=rf"{name} is u?int(8|64), expected bool, or floating.*mask != 0"):
            call()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_scores_of_large_values_in_16_bits(dtype, backend):
    """Products of 200 and 200 are beyond float16, before and after the scale."""
    if backend.name == "array_api_strict":
        pytest.skip("it has no such types")
    exact = RNG.normal(size=(2, 5, 16)) * 200
    x = xpnet.asarray(exact, dtype)
    y = F.scaled_dot_product_attention(x, x, x)
    wide = xpnet.asarray(x, "float64")
    expected = xpnet.to_numpy(F.scaled_dot_product_attention(wide, wide, wide))
    assert y.dtype == x.dtype
    near = {"rtol": 1e-2, "atol": 1.0}
    np.testing.assert_allclose(xpnet.to_numpy(xpnet.asarray(y, "float64")), expected, **near)
    layer = nn.MultiheadAttention(16, 2, bias=False, dtype="float64")
    layer.in_proj_weight.data[...] = xpnet.asarray(np.concatenate([np.eye(16)] * 3))
    expected = xpnet.to_numpy(layer(wide, wide, wide)[1])
    half = layer.to(dtype)
    np.testing.assert_allclose(
        xpnet.to_numpy(xpnet.asarray(half(x, x, x)[1], "float64")), expected, atol=1e-2
    )


@pytest.mark.parametrize("shape", [(7, 1), (1, 1), (2, 1, 1, 1), (9,), (1, 9), ()])
def test_gradients_of_masks_that_broadcast(shape):
    mask = xpnet.tensor(RNG.normal(size=shape), requires_grad=True)
    inputs = [xpnet.tensor(x, requires_grad=True) for x in (Q, K, V)]
    assert xpnet.gradcheck(F.scaled_dot_product_attention, *inputs, mask)
    assert mask.grad is None or mask.grad.shape == shape


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", [np.ones((1, 3), bool), np.full((1, 3), -np.inf)], ids=["bool", "added"])
def test_a_query_that_may_look_nowhere_gets_0(need_weights, mask):
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype="float64")
    x = xpnet.tensor(RNG.normal(size=(1, 3, 4)), requires_grad=True)
    y, weights = layer(x, x, x, mask, need_weights)
    np.testing.assert_allclose(xpnet.to_numpy(y)[0, 0], layer.out_proj.bias.numpy(), atol=1e-12)
    assert weights is None or not xpnet.to_numpy(weights).any()
    y.sum().backward()
    assert not xpnet.to_numpy(x.grad).any()


def test_heads_of_queries_that_share_those_of_keys_have_masks_of_their_own():
    """Heads 0 to 2 of queries share head 0 of keys, 3 to 5 head 1, and each has its own mask."""
    q, mask = RNG.normal(size=(2, 6, 5, 4)), RNG.normal(size=(2, 6, 5, 9)) > 0
    k, v = K[:, :2], V[:, :2]
    y = F.scaled_dot_product_attention(*map(xpnet.asarray, (q, k, v, mask)), enable_gqa=True)
    k, v = (np.repeat(x, 3, axis=1) for x in (k, v))
    expected = F.scaled_dot_product_attention(*map(xpnet.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(xpnet.to_numpy(y), xpnet.to_numpy(expected), rtol=1e-10)


@pytest.mark.host
@pytest.mark.parametrize("p", [1.5, -0.1, float("nan")])
def test_probabilities_are_looked_at_when_layers_are_made(p):
    """A layer in evaluation drops nothing and would take any number."""
    for make in (
        lambda: nn.MultiheadAttention(4, 2, dropout=p),
        lambda: nn.TransformerEncoderLayer(4, 2, dropout=p),
        lambda: nn.TransformerDecoderLayer(4, 2, dropout=p),
        lambda: nn.LSTM(3, 5, 2, dropout=p),
        lambda: nn.SinusoidalEncoding(4, p),
        lambda: nn.GPT(5, dropout=p),
        lambda: nn.LSTMLanguageModel(5, dropout=p),
        lambda: nn.ViT(
            image_size=8, patch_size=4, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=4, dropout=p
        ),
        lambda: nn.VGG((1,), dropout=p),
        lambda: nn.DropPath(p),
        lambda: nn.Dropout(p),
    ):
        with pytest.raises(ValueError, match=r"is the probability of dropping|must be at least -inf"):
            make()


def test_no_rows_of_a_table_have_a_gradient_of_0():
    layer = nn.Embedding(4, 3, padding_idx=0)
    layer(np.zeros((0, 2), int)).sum().backward()
    assert xpnet.to_numpy(layer.weight.grad).tolist() == np.zeros((4, 3)).tolist()


@pytest.mark.host
def test_places_begin_at_0():
    with pytest.raises(ValueError, match=r"rotary_embedding: offset.* at least 0, got -1"):
        F.rotary_embedding(Q, offset=-1)


@pytest.mark.host
@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_cell_takes_one_step(cell):
    with pytest.raises(
        ValueError, match=rf"{cell.__name__}: expected x of shape \(N, 3\) or \(3,\), one step"
    ):
        cell(3, 5)(np.zeros((1, 2, 3), np.float32))


@pytest.mark.host
def test_dropout_between_one_layer_is_a_warning():
    with pytest.warns(UserWarning, match="GRU: dropout=0.5 drops between layers, and there is one") as found:
        nn.GRU(3, 5, dropout=0.5)
    assert found[0].filename == __file__


@pytest.mark.host
@pytest.mark.parametrize("size", [2.7, "3", True, (2, 1.5)])
def test_sizes_of_images_are_whole(size):
    with pytest.raises(TypeError, match="interpolate: size must be a whole number, got"):
        F.interpolate(np.ones((1, 1, 4, 4)), size)
