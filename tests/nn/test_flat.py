"""All parameters are one vector: theta and its gradient, who owns it, and life without it."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.nn import flat as flat_file
from xpnet.nn import module as module_file
from xpnet.nn import vector as vector_file

RNG_INPUT = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
TARGET = np.arange(12) % 3


def mlp(dtype="float32"):
    return nn.Sequential(
        nn.Linear(4, 5, bias=False, dtype=dtype),
        nn.BatchNorm1d(5, dtype=dtype),
        nn.Tanh(),
        nn.Linear(5, 3, dtype=dtype),
    )


def loss_of(model):
    first = model.parameters()[0].data
    x = xpnet.asarray(RNG_INPUT, backend=xpnet.core.places.backend_of(first))
    return F.cross_entropy(model(x), TARGET)


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def flat(arrays):
    return np.concatenate([xpnet.to_numpy(a).reshape(-1) for a in arrays])


def parameters(model):
    return flat(p.data for p in model.parameters())


# ---- theta and grad ----


def test_theta_is_the_parameters_in_order():
    model = mlp()
    assert model.theta.shape == (4 * 5 + 5 + 5 + 5 * 3 + 3,)
    np.testing.assert_array_equal(xpnet.to_numpy(model.theta), parameters(model))
    assert str(model.theta.dtype) == str(model[0].weight.dtype)


def test_writing_theta_changes_the_model():
    model = mlp()
    model.theta[...] = xpnet.asarray(np.arange(48, dtype=np.float32))
    np.testing.assert_array_equal(model[0].weight.numpy(), np.arange(20).reshape(5, 4))
    np.testing.assert_array_equal(model[3].bias.numpy(), [45, 46, 47])
    zero = xpnet.asarray(np.zeros((1, 4), np.float32))
    model.theta[...] = xpnet.asarray(np.zeros(48, np.float32))
    assert not model.eval()(zero).numpy().any()


def test_changing_a_parameter_changes_theta():
    model = mlp()
    theta = model.theta
    model[3].bias.data[...] = xpnet.asarray([1.0, 2.0, 3.0])
    model[1].weight.data = model[1].weight.data * 4  # assignment, as PyTorch users write it
    model[1].bias.data += 5
    got = xpnet.to_numpy(theta)
    assert got[-3:].tolist() == [1, 2, 3]
    assert got[20:30].tolist() == [4] * 5 + [5] * 5


def test_assigned_data_must_fit_the_vector():
    layer = nn.Linear(2, 3)
    _ = layer.theta
    with pytest.raises(
        ValueError, match=r"expected shape \(3,\) and dtype .*float32, got \(2,\) and .*float32"
    ):
        layer.bias.data = xpnet.asarray([1.0, 2.0])
    with pytest.raises(ValueError, match="dtype"):
        layer.bias.data = xpnet.asarray(np.zeros(3))
    layer = nn.Linear(2, 3)  # no vector yet: anything goes
    layer.bias.data = xpnet.asarray([1.0, 2.0])
    assert layer.theta.shape == (8,)


def test_grad_is_the_gradients_in_order_and_zero_where_there_is_none():
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(4, 3))
    loss_of(model[1]).backward()
    separate = flat(p.grad for p in model[1].parameters())
    assert np.abs(separate).max() > 0
    grad = xpnet.to_numpy(model.grad)
    np.testing.assert_array_equal(grad, np.concatenate([np.zeros(10, np.float32), separate]))
    assert model[0].weight.grad is None
    loss_of(model[1]).backward()  # accumulates
    np.testing.assert_allclose(xpnet.to_numpy(model.grad)[10:], 2 * separate, rtol=1e-6)
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    assert not xpnet.to_numpy(model.grad).any()
    loss_of(model[1]).backward()  # and starts over
    np.testing.assert_array_equal(xpnet.to_numpy(model.grad)[10:], separate)


def test_gradients_made_before_the_vector_move_into_it():
    model = mlp()
    loss_of(model).backward()
    before = flat(p.grad for p in model.parameters())
    np.testing.assert_array_equal(xpnet.to_numpy(model.grad), before)
    model.grad[...] = xpnet.asarray(np.ones(48, np.float32))
    assert (flat(p.grad for p in model.parameters()) == 1).all()


def test_a_shared_parameter_is_in_theta_once_and_sums_its_gradients():
    class Tied(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 4, bias=False)
            self.same = self.layer

        def forward(self, x):
            return self.same(self.layer(x))

    model = Tied()
    assert model.theta.shape == (16,)
    x = RNG_INPUT.astype(np.float64)
    w = model.layer.weight.numpy().astype(np.float64)
    model(xpnet.asarray(RNG_INPUT)).sum().backward()
    ones = np.ones_like(x)
    expected = ones.T @ (x @ w.T) + (ones @ w).T @ x  # d sum(x W^T W^T) / dW
    np.testing.assert_allclose(xpnet.to_numpy(model.layer.weight.grad), expected, rtol=1e-4)


def test_parameters_of_two_dtypes_have_no_theta():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype="float64"))
    with pytest.raises(TypeError, match="theta is one vector of one dtype"):
        _ = model.theta


def test_parameters_of_two_dtypes_train():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3, dtype="float64"))
    optimizer = xpnet.optim.SGD(model, lr=1.0, momentum=0.9)
    expected = []
    for layer in model:
        x = xpnet.asarray(RNG_INPUT, layer.weight.dtype)
        F.cross_entropy(layer(x), TARGET).backward()
        expected += [xpnet.to_numpy(p.data) - xpnet.to_numpy(p.grad) for p in layer.parameters()]
    optimizer.step()
    np.testing.assert_allclose(parameters(model), flat(expected), rtol=1e-6)
    assert [str(p.dtype).split(".")[-1] for p in model.parameters()] == ["float32"] * 2 + ["float64"] * 2


# ---- who owns the vector ----


def test_a_bigger_model_takes_the_parameters_over_and_the_optimizer_follows():
    def run(steal):
        xpnet.manual_seed(1)
        model = mlp()
        optimizer = xpnet.optim.Adam(model, lr=0.05)
        train(model, optimizer, 3)
        if steal:
            bigger = nn.Sequential(nn.Linear(2, 2), model)
            theta = bigger.theta
            assert theta.shape == (48 + 6,)
        train(model, optimizer, 3)
        if steal:
            np.testing.assert_array_equal(xpnet.to_numpy(theta)[6:], parameters(model))
            assert optimizer.state_dict()["state"][0]["step"] == 6
        return parameters(model)

    np.testing.assert_array_equal(run(True), run(False))


def test_a_part_left_behind_by_a_moved_part_is_gathered_again():
    a, b = nn.Linear(4, 3), nn.Linear(4, 3)
    whole = nn.Sequential(a, b)
    _ = whole.theta
    optimizer = xpnet.optim.SGD(b, lr=0.1, momentum=0.9)
    nn.Sequential(a, nn.Linear(2, 2)).theta[...] = 0  # takes a's parameters from the vector of a and b
    train(b, optimizer, 1)
    spans = optimizer._spans
    train(b, optimizer, 1)
    assert optimizer._spans is spans  # not rebuilt at every step
    np.testing.assert_array_equal(xpnet.to_numpy(b.theta), parameters(b))


def test_two_optimizers_share_one_model():
    xpnet.manual_seed(1)
    model, reference = mlp(), mlp()
    reference.load_state_dict(model.state_dict())
    _ = model.theta
    first, second = (xpnet.optim.SGD(model[i], lr=lr) for i, lr in ((0, 0.1), (3, 0.5)))
    groups = [{"params": reference[0]}, {"params": reference[3], "lr": 0.5}]
    together = xpnet.optim.SGD(groups, lr=0.1)
    for _ in range(4):
        for m, optimizers in ((model, (first, second)), (reference, (together,))):
            m.zero_grad()
            loss_of(m).backward()
            for optimizer in optimizers:
                optimizer.step()
    np.testing.assert_array_equal(parameters(model), parameters(reference))


# ---- moving ----

RULES = [
    lambda p: xpnet.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: xpnet.optim.Adagrad(p, lr=0.1),
    lambda p: xpnet.optim.Adadelta(p),
    lambda p: xpnet.optim.RMSprop(p, momentum=0.5, centered=True),
    lambda p: xpnet.optim.Adam(p, lr=0.05, amsgrad=True),
    lambda p: xpnet.optim.AdamW(p, lr=0.05),
]


def elsewhere(backend):
    """Another backend or device than the test's."""
    name = "numpy" if backend.name != "numpy" else "array_api_strict"
    if name not in xpnet.available_backends():
        pytest.skip(f"{name} is not installed")
    return (name, "device1") if name == "array_api_strict" else (name,)


@pytest.mark.parametrize("rule", RULES)
def test_a_model_moved_in_the_middle_of_training_goes_on_as_if_it_had_not(rule, backend):
    other = elsewhere(backend)

    def run(move):
        xpnet.manual_seed(1)
        model = mlp("float64")
        xpnet.to_numpy(model.theta)  # in one vector from the start
        optimizer = rule(model)

        def loss():
            data = model[0].weight.data
            x = xpnet.asarray(RNG_INPUT, "float64", backend=xpnet.core.places.backend_of(data))
            return F.cross_entropy(model(x), TARGET)

        for step in range(9):
            optimizer.zero_grad()
            loss().backward()
            if move and step == 3:
                assert model.to(*other) is model
                moved = [*model.parameters(), *(b for _, b in model.named_buffers())]
                places = {xpnet.core.places.where(t.data) for t in moved}
                places |= {xpnet.core.places.where(p.grad) for p in model.parameters()}
                assert places == {xpnet.core.places.where(model.theta)}
                assert xpnet.core.places.backend_name(model.theta) == other[0]
            optimizer.step()
            if move and step == 5:
                model.to(backend.name, backend.device)
        return np.concatenate([parameters(model), *(b.numpy() for _, b in model.named_buffers())])

    np.testing.assert_allclose(run(True), run(False), rtol=1e-11, atol=1e-14)


def test_moving_keeps_absent_gradients_absent(backend):
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(4, 3))
    loss_of(model[1]).backward()
    before = [xpnet.to_numpy(p.grad) for p in model[1].parameters()]
    model.to(*elsewhere(backend))
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    for p, gradient in zip(model[1].parameters(), before, strict=True):
        np.testing.assert_array_equal(xpnet.to_numpy(p.grad), gradient)


def test_an_unknown_backend_moves_nothing():
    model = mlp()
    place = xpnet.core.places.where(model.theta)
    with pytest.raises(ValueError, match="unknown backend 'tpu'"):
        model.to("tpu")
    assert xpnet.core.places.where(model.theta) == place


# ---- without views ----


@pytest.fixture
def no_views(monkeypatch):
    def use():
        for file in (module_file, flat_file, vector_file):
            monkeypatch.setattr(file, "has_views", lambda backend: False)

    return use


@pytest.mark.parametrize("rule", RULES)
def test_without_views_the_results_are_the_same(rule, no_views):
    def run():
        xpnet.manual_seed(1)
        model = mlp()
        weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
        optimizer = rule([{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.02}])
        noise = xpnet.optim.GradientNoise(model, eta=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            loss_of(model).backward()
            noise()
            xpnet.optim.clip_grad_norm(model, 0.5)
            optimizer.step()
        return model, optimizer

    with_views, optimizer = run()
    assert with_views[0].weight._flat is not None
    expected, state = parameters(with_views), optimizer.state_dict()["state"]
    no_views()
    without, optimizer = run()
    assert without[0].weight._flat is None
    np.testing.assert_allclose(parameters(without), expected, rtol=1e-5, atol=1e-7)
    for i, values in optimizer.state_dict()["state"].items():
        assert values.keys() == state[i].keys()
        for name, value in values.items():
            np.testing.assert_allclose(
                xpnet.to_numpy(value), xpnet.to_numpy(state[i][name]), rtol=1e-4, atol=1e-7
            )
    with pytest.raises(RuntimeError, match="slices share memory"):
        _ = without.theta


def test_a_model_moves_to_a_backend_without_views(no_views, backend):
    def run(move):
        xpnet.manual_seed(1)
        model = mlp()
        optimizer = xpnet.optim.Adam(model, lr=0.05)
        train(model, optimizer, 2)
        loss_of(model).backward()
        if move:
            no_views()
            model.to(backend.name, backend.device)
            assert all(p._flat is None for p in model.parameters())
        optimizer.step()
        train(model, optimizer, 2)
        return parameters(model)

    expected = run(False)
    np.testing.assert_allclose(run(True), expected, rtol=1e-5, atol=1e-7)


# ---- assigned gradients ----


@pytest.mark.parametrize("in_vector", [False, True])
def test_an_assigned_gradient_must_fit_the_parameter(in_vector):
    layer = nn.Linear(2, 3)
    if in_vector:
        _ = layer.theta
    for wrong in (np.ones((1, 2), np.float32), np.ones((3, 2)), np.ones(6, np.float32)):
        with pytest.raises(ValueError, match=r"grad: expected shape \(3, 2\) and dtype .*float32, got"):
            layer.weight.grad = xpnet.asarray(wrong)
        assert layer.weight.grad is None
    gradient = xpnet.asarray(np.ones((3, 2), np.float32))
    layer.weight.grad = gradient
    gradient[...] = 5 * gradient  # the parameter has a copy
    assert (xpnet.to_numpy(layer.weight.grad) == 1).all()


def test_gradients_that_were_kept_are_renewed_once(monkeypatch):
    """Not once a parameter: each time copies the whole vector."""
    model, renewed = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), []
    renew = flat_file.FlatParameters.renew_grads
    monkeypatch.setattr(
        flat_file.FlatParameters, "renew_grads", lambda self: (renewed.append(1), renew(self))
    )
    kept = [model.grad]
    for _ in range(2):
        model(xpnet.asarray(np.ones((1, 2), np.float32))).sum().backward()
        kept += [p.grad for p in model.parameters()]
        model.zero_grad()
        model.zero_grad()
    assert len(renewed) == 2
