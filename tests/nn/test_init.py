"""Initial weights: each rule's variance and range, orthogonality, fans, and the same bits everywhere."""

import math

import numpy as np
import pytest
from scipy import stats

import xpnet
from xpnet import functional as F
from xpnet import init, nn

SHAPE = (300, 200)
KERNEL = (40, 20, 3, 5)  # out, in, height, width: fan-in 300, fan-out 600

# the standard deviation each rule's paper gives, from fan-in and fan-out
STD = {
    init.lecun_normal: lambda fan_in, fan_out: math.sqrt(1 / fan_in),
    init.xavier_fan_in: lambda fan_in, fan_out: math.sqrt(1 / fan_in),
    init.glorot_normal: lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    init.glorot_uniform: lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    init.he_normal: lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    init.he_uniform: lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    init.torch_default: lambda fan_in, fan_out: math.sqrt(1 / (3 * fan_in)),
}
UNIFORM = (init.glorot_uniform, init.he_uniform, init.torch_default)
ALL = [
    init.zeros,
    lambda s, **k: init.constant(s, 0.3, **k),
    init.normal,
    init.uniform,
    init.orthogonal,
    *STD,
]


@pytest.mark.parametrize(("shape", "fans"), [(SHAPE, (200, 300)), (KERNEL, (300, 600))])
@pytest.mark.parametrize("rule", STD)
def test_each_rule_has_the_distribution_of_its_paper(rule, shape, fans):
    w = xpnet.to_numpy(rule(shape)).reshape(-1)
    std = STD[rule](*fans)
    if rule in UNIFORM:
        bound = math.sqrt(3) * std
        assert np.abs(w).max() <= bound * (1 + 1e-6)
        law = stats.uniform(-bound, 2 * bound)
    else:
        law = stats.norm(0, std)
    assert stats.kstest(w, law.cdf).pvalue > 1e-3
    kurtosis = 9 / 5 if rule in UNIFORM else 3
    assert abs(w.var() / std**2 - 1) < 5 * math.sqrt((kurtosis - 1) / w.size)


@pytest.mark.parametrize(
    ("rule", "law"),
    [
        (init.normal, stats.norm(0, 0.01)),
        (lambda s: init.normal(s, std=2.0, mean=-3.0), stats.norm(-3, 2)),
        (init.uniform, stats.uniform(-0.05, 0.1)),
        (lambda s: init.uniform(s, 1.0, 3.0), stats.uniform(1, 2)),
    ],
)
def test_normal_and_uniform_take_their_parameters(rule, law):
    assert stats.kstest(xpnet.to_numpy(rule(SHAPE)).reshape(-1), law.cdf).pvalue > 1e-3


def test_zeros_and_constant():
    assert not xpnet.to_numpy(init.zeros((3, 4))).any()
    np.testing.assert_array_equal(xpnet.to_numpy(init.constant((2,), 0.1)), np.full(2, 0.1, np.float32))
    np.testing.assert_array_equal(xpnet.to_numpy(init.constant((2,), 0.1, dtype="float64")), np.full(2, 0.1))


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (6, 2, 3, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape, dtype, tolerance):
    w = xpnet.to_numpy(init.orthogonal(shape, gain=2.0, dtype=dtype)).astype(np.float64)
    w = w.reshape(shape[0], -1) / 2
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=tolerance)


def test_orthogonal_is_uniform_over_rotations():
    # without the sign fix of Mezzadri (2007) the first column of Q is half the sphere only
    first = np.array([xpnet.to_numpy(init.orthogonal((2, 2)))[:, 0] for _ in range(400)], dtype=np.float64)
    angles = (np.arctan2(first[:, 1], first[:, 0]) / (2 * np.pi)) % 1
    assert stats.kstest(angles, "uniform").pvalue > 1e-3


@pytest.mark.host
@pytest.mark.parametrize(("shape", "fans"), [((7, 3), (3, 7)), ((8, 4, 5), (20, 40)), (KERNEL, (300, 600))])
def test_fans(shape, fans):
    assert init.fans(shape) == fans


@pytest.mark.host
@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("rule", [init.fans, init.orthogonal, *STD])
def test_a_vector_has_no_fan(rule, shape):
    with pytest.raises(ValueError, match=r"two or more axes, got shape \("):
        rule(shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", ALL)
def test_the_bits_are_the_same_on_every_backend(rule, dtype, backend):
    w = rule((6, 5), dtype=dtype)
    assert xpnet.core.places.backend_name(w) == backend.name
    assert xpnet.core.places.device(w) == xpnet.core.places.device(xpnet.asarray([0.0]))
    xpnet.manual_seed(0)
    with xpnet.use_backend("numpy"):
        host = rule((6, 5), dtype=dtype)
    assert host.dtype == np.dtype(dtype)
    assert xpnet.to_numpy(w).tobytes() == host.tobytes()


def test_a_seed_fixes_the_draw_and_each_draw_is_new():
    first, second = (xpnet.to_numpy(init.he_normal((4, 4))) for _ in range(2))
    xpnet.manual_seed(0)
    np.testing.assert_array_equal(xpnet.to_numpy(init.he_normal((4, 4))), first)
    assert (first != second).all()


def test_linear_starts_uniform_in_one_over_the_root_of_fan_in():
    layer = nn.Linear(400, 300)
    for p in layer.parameters():
        assert stats.kstest(p.numpy().reshape(-1), stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("start", "symmetric"), [(0.1, True), (None, False)])
def test_equal_weights_stay_equal(start, symmetric):
    # the decks: hidden units that start equal get equal gradients, whatever the data
    weight = init.lecun_normal if start is None else lambda shape, dtype: init.constant(shape, start, dtype)
    options = {"weight_init": weight, "bias_init": lambda shape, dtype: init.zeros(shape, dtype)}
    model = nn.Sequential(nn.Linear(5, 4, **options), nn.Tanh(), nn.Linear(4, 3, **options))
    optimizer = xpnet.optim.Adam(model, lr=0.05)
    rng = np.random.default_rng(0)
    x = xpnet.asarray(rng.normal(size=(16, 5)).astype(np.float32))
    y = rng.integers(0, 3, 16)
    before = model.layers[0].weight.numpy().copy()
    for _ in range(10):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    units = model.layers[0].weight.numpy()
    assert np.abs(units - before).max() > 0.01  # it did train
    assert (np.ptp(units, axis=0).max() < 1e-5) == symmetric
