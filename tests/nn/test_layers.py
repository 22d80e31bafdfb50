"""Layers by their formulas, and what they refuse; the comparison with PyTorch is in oracle/test_layers.py."""

import numpy as np
import pytest
from scipy import special

import xpnet
from xpnet import functional as F
from xpnet import nn

X = np.random.default_rng(2).normal(size=(6, 4, 3)) * 2 + 1


def array(x, dtype="float64"):
    return xpnet.asarray(np.asarray(x, dtype=dtype))


ELEMENTWISE = {
    "relu": (nn.ReLU(), lambda x: np.where(x > 0, x, 0)),
    "leaky relu": (nn.LeakyReLU(0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "elu": (nn.ELU(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    "sigmoid": (nn.Sigmoid(), special.expit),
    "tanh": (nn.Tanh(), np.tanh),
    "lecun tanh": (nn.LeCunTanh(), lambda x: 1.7159 * np.tanh(2 * x / 3)),
    "hardtanh": (nn.Hardtanh(), lambda x: np.clip(x, -1, 1)),
    "softplus": (nn.Softplus(), lambda x: np.logaddexp(0, x)),
    "gelu": (nn.GELU(), lambda x: x * special.ndtr(x)),
    "softmax": (nn.Softmax(), lambda x: special.softmax(x, axis=-1)),
    "softmax, axis 1": (nn.Softmax(1), lambda x: special.softmax(x, axis=1)),
}


@pytest.mark.parametrize(("layer", "formula"), ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_activations(layer, formula):
    assert not layer.parameters()
    np.testing.assert_allclose(xpnet.to_numpy(layer(array(X))), formula(X), rtol=1e-10, atol=1e-12)


def test_linear_is_x_times_w_transposed_plus_b():
    layer = nn.Linear(3, 2, dtype="float64")
    w, b = layer.weight.numpy(), layer.bias.numpy()
    assert w.shape == (2, 3)
    np.testing.assert_allclose(layer(array(X)).numpy(), np.einsum("nki,oi->nko", X, w) + b, rtol=1e-12)
    plain = nn.Linear(3, 2, bias=False)
    assert plain.bias is None
    assert [name for name, _ in plain.named_parameters()] == ["weight"]


def test_linear_takes_initialisers():
    layer = nn.Linear(
        3,
        2,
        weight_init=xpnet.init.orthogonal,
        bias_init=lambda shape, dtype: xpnet.init.constant(shape, 0.5, dtype),
    )
    np.testing.assert_allclose(layer.weight.numpy() @ layer.weight.numpy().T, np.eye(2), atol=1e-6)
    assert layer.bias.numpy().tolist() == [0.5, 0.5]


def test_maxout_takes_the_largest_of_its_pieces():
    layer = nn.Maxout(3, 2, pieces=4, dtype="float64")
    assert layer.weight.shape == (8, 3)
    affine = X[0] @ layer.weight.numpy().T + layer.bias.numpy()
    y = layer(array(X[0])).numpy()
    assert y.shape == (4, 2)
    # unit j is the maximum over its own four maps, each map used by one unit
    np.testing.assert_allclose(y, affine.reshape(4, 2, 4).max(axis=2), rtol=1e-15)  # BLAS differ by an ulp


def test_flatten():
    assert nn.Flatten()(array(X)).shape == (6, 12)
    assert nn.Flatten(0)(array(X)).shape == (72,)


NORMS = {
    "batch": (nn.BatchNorm1d(4, affine=False, dtype="float64"), (0, 2)),
    "layer": (nn.LayerNorm(3, elementwise_affine=False), (2,)),
    "layer, 2 axes": (nn.LayerNorm((4, 3), elementwise_affine=False), (1, 2)),
    "group of all": (nn.GroupNorm(1, 4, affine=False), (1, 2)),
    "group of one": (nn.GroupNorm(4, 4, affine=False), (2,)),
}


@pytest.mark.parametrize("which", NORMS)
def test_norms_standardise(which, backend):
    layer, axes = NORMS[which]
    layer.to(backend.name, backend.device)
    y = xpnet.to_numpy(layer(array(X)))
    var = X.var(axes, keepdims=True)
    np.testing.assert_allclose(
        y, (X - X.mean(axes, keepdims=True)) / np.sqrt(var + 1e-5), rtol=1e-9, atol=1e-12
    )


def test_instance_norm_standardises_each_channel_of_each_image():
    x = X.reshape(6, 2, 3, 2)
    y = xpnet.to_numpy(nn.InstanceNorm2d(2)(array(x)))
    np.testing.assert_allclose(y.mean((2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((2, 3)), 1, rtol=1e-3)


def test_scale_and_shift_start_as_the_identity():
    for layer in (nn.BatchNorm1d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)):
        assert layer.weight.numpy().tolist() == [1] * 4
        assert layer.bias.numpy().tolist() == [0] * 4
    assert nn.InstanceNorm2d(4).parameters() == []
    norm = nn.BatchNorm2d(4)
    assert (norm.running_mean.numpy() == 0).all()
    assert (norm.running_var.numpy() == 1).all()


def test_running_statistics_approach_the_datas():
    norm = nn.BatchNorm1d(4, momentum=0.5, dtype="float64")
    for _ in range(40):
        norm(array(X))
    np.testing.assert_allclose(norm.running_mean.numpy(), X.mean((0, 2)), rtol=1e-9)
    np.testing.assert_allclose(norm.running_var.numpy(), X.var((0, 2), ddof=1), rtol=1e-9)
    before = norm.running_mean.numpy().copy()
    norm.eval()(array(X + 5))
    np.testing.assert_array_equal(norm.running_mean.numpy(), before)


def test_dropout_in_training_and_evaluation():
    layer, ones = nn.Dropout(0.25), array(np.ones((100, 100)), "float32")
    y = xpnet.to_numpy(layer(ones))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03
    assert (y != xpnet.to_numpy(layer(ones))).any()  # a new mask each time
    np.testing.assert_array_equal(xpnet.to_numpy(layer.eval()(ones)), np.ones((100, 100)))
    assert nn.Dropout(0.5)(array(np.ones((0, 3)))).shape == (0, 3)


def test_dropouts_gradient_uses_the_mask_of_the_forward_pass():
    x = xpnet.tensor(np.full((20, 20), 3.0), requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    np.testing.assert_array_equal(xpnet.to_numpy(x.grad) * 3, y.numpy())


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: nn.Dropout(1.5), r"Dropout: p is the probability of dropping, in \[0, 1\], got 1.5"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: 4 channels do not split into 3 groups"),
        (
            lambda: nn.BatchNorm1d(3)(array(X)),
            r"BatchNorm1d\(3\): expected 3 channels on axis 1.*\(6, 4, 3\)",
        ),
        (lambda: nn.BatchNorm1d(4)(array(X[..., None])), r"2 or 3 axes, got .*\(6, 4, 3, 1\)"),
        (lambda: nn.BatchNorm2d(4)(array(X)), r"BatchNorm2d\(4\).* 4 axes, got .*\(6, 4, 3\)"),
        (
            lambda: nn.BatchNorm1d(4)(array(X[:1, :, 0], "float32")),
            "training needs more than one value a channel",
        ),
        (
            lambda: nn.LayerNorm(4)(array(X, "float32")),
            r"expected an input ending in \(4,\), got \(6, 4, 3\)",
        ),
        (lambda: nn.InstanceNorm2d(4)(array(X)), r"InstanceNorm2d: expected \(N, 4, H, W\), got \(6, 4, 3\)"),
        (lambda: nn.Linear(5, 2)(array(X, "float32")), r"linear: .*5.*\(6, 4, 3\)|linear: .*\(6, 4, 3\).*5"),
        (lambda: F.maxout(array(X), 2), r"maxout: .*3.*2"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(run, message):
    with pytest.raises(ValueError, match=message):
        run()
