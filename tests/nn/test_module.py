"""The module tree: names, sharing, modes, state, copies, messages."""

import copy
import pickle

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn


class Net(nn.Module):
    """Every way to hold a part: attribute, list, tuple, shared, parameter, buffer; and what is no part."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.blocks = [nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)]
        self.heads = (nn.Linear(2, 3, bias=False),)
        self.again = self.blocks[0]
        self.tied = self.heads[0].weight
        self.seen = nn.Buffer(xpnet.asarray([0.0]))
        self.sizes, self.name, self.missing = [1, 2], "net", None

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads[0](self.again(x * self.scale))


def random_input(*shape, seed=0):
    return xpnet.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


# ---- names ----


def test_names_are_attribute_paths_and_shared_parameters_appear_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "scale",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.2.weight",
        "blocks.2.bias",
        "heads.0.weight",
    ]
    assert [name for name, _ in net.named_buffers()] == [
        "blocks.2.running_mean",
        "blocks.2.running_var",
        "seen",
    ]
    assert [name for name, _ in net.named_modules()] == ["", "blocks.0", "blocks.1", "blocks.2", "heads.0"]
    assert [p is q for p, (_, q) in zip(net.parameters(), net.named_parameters(), strict=True)] == [True] * 6
    assert net.modules()[0] is net


def test_a_subclass_of_sequential_may_hold_more():
    class Scaled(nn.Sequential):
        def __init__(self, *layers):
            super().__init__(*layers)
            self.scale = nn.Parameter(np.ones(1, np.float32))

    names = [name for name, _ in Scaled(nn.Linear(2, 2), nn.ReLU()).named_parameters()]
    assert names == ["0.weight", "0.bias", "scale"]


def test_sequential_indexes_slices_and_iterates():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    model = nn.Sequential(layers)
    assert len(model) == 3
    assert model[0] is layers[0]
    assert list(model) == layers
    part = model[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part) == layers[1:]
    x = random_input(4, 2)
    np.testing.assert_array_equal(model(x).numpy(), part(layers[0](x)).numpy())
    with pytest.raises(TypeError, match="element 1 is function, expected a Module"):
        nn.Sequential(nn.ReLU(), F.relu)


def test_residual_adds_its_branches():
    body, shortcut, x = nn.Linear(3, 2), nn.Linear(3, 2), random_input(4, 3)
    y = nn.Residual(body, shortcut)(x)
    np.testing.assert_allclose(y.numpy(), body(x).numpy() + shortcut(x).numpy(), rtol=1e-6)
    square = nn.Linear(3, 3)
    np.testing.assert_allclose(
        nn.Residual(square)(x).numpy(), xpnet.to_numpy(x) + square(x).numpy(), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"body gives \(4, 2\), the other branch \(4, 3\); pass a shortcut"):
        nn.Residual(body)(x)


def test_repr_shows_the_tree():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Residual(nn.Dropout(0.25)), nn.Maxout(3, 4, 2))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(2, 3, bias=False)\n"
        "  (1): Residual(\n"
        "    (body): Dropout(p=0.25)\n"
        "  )\n"
        "  (2): Maxout(3, 4, pieces=2)\n"
        ")"
    )


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(\)"):
        Empty()(1)
    with pytest.raises(ValueError, match="Empty has no parameters"):
        _ = Empty().theta


# ---- modes ----


def test_train_and_eval_reach_every_module():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net
    assert all(m.training for m in net.modules())


def test_modes_change_dropout_and_batch_norm():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    x = random_input(64, 3) * 5 + 1
    y = model(x).numpy()
    assert 0.3 < (y == 0).mean() < 0.7
    kept = y != 0
    x = xpnet.to_numpy(x)
    standard = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    np.testing.assert_allclose(y[kept], 2 * standard[kept], rtol=1e-4, atol=1e-5)
    model.eval()
    y = model(xpnet.asarray(x)).numpy()  # running statistics after one batch: 0.1 of it, 0.9 of (0, 1)
    mean, var = 0.1 * x.mean(0), 0.9 + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)


# ---- state ----


def values(module):
    return {name: xpnet.to_numpy(a).copy() for name, a in module.state_dict().items()}


def test_state_dict_copies_and_load_state_dict_restores():
    net, other = Net(), Net()
    saved = net.state_dict()
    for name, array in saved.items():
        array[...] = xpnet.asarray(np.full(array.shape, 7, np.float32))
        assert dict(Net().state_dict())[name] is not array
    assert not any((v == 7).any() for v in values(net).values())  # copies out
    other.load_state_dict(saved)
    assert all((v == 7).all() for v in values(other).values())
    saved["scale"][...] = xpnet.asarray([9.0, 9.0])
    assert (other.scale.numpy() == 7).all()  # copies in


def test_shared_parameters_are_saved_under_each_name():
    net = Net()
    state = net.state_dict()
    assert set(state) == {
        *(name for name, _ in net.named_parameters()),
        *(name for name, _ in net.named_buffers()),
        "again.weight",
        "again.bias",
        "tied",
    }
    np.testing.assert_array_equal(xpnet.to_numpy(state["tied"]), net.heads[0].weight.numpy())


def test_load_state_dict_takes_numpy_and_casts_to_the_parameter():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1.5, 2.5]]), "bias": np.array([3])})
    assert layer.weight.dtype == xpnet.asarray([1.0]).dtype
    assert layer.weight.numpy().tolist() == [[1.5, 2.5]]
    assert layer.bias.numpy().tolist() == [3.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("1.bias"), r"state does not fit Sequential: missing \['1.bias'\], unexpected \[\]"),
        (lambda s: s.update(extra=s["1.bias"]), r"missing \[\], unexpected \['extra'\]"),
        (
            lambda s: s.update({"1.bias": np.zeros(3, np.float32)}),
            r"1.bias is \(1,\) here, \(3,\) in the state",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = values(model)
    state = {name: v + 1 for name, v in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_not_strict_loads_the_common_names():
    layer = nn.Linear(2, 1)
    bias = layer.bias.numpy().copy()
    layer.load_state_dict({"weight": np.zeros((1, 2), np.float32), "other": np.zeros(3)}, strict=False)
    assert not layer.weight.numpy().any()
    np.testing.assert_array_equal(layer.bias.numpy(), bias)


# ---- copies ----


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_copy_of_model_and_optimizer_trains_on_its_own(duplicate, steps, backend):
    if duplicate is not copy.deepcopy and backend.name == "array_api_strict":
        pytest.skip("array_api_strict arrays do not keep their device in a pickle")
    x, y = random_input(8, 2), np.arange(8) % 3

    def train(model, optimizer, steps):
        for _ in range(steps):
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    model = Net()
    optimizer = xpnet.optim.Adam(model, lr=0.1)
    train(model, optimizer, steps)
    other, other_optimizer = duplicate((model, optimizer))
    assert other.again is other.blocks[0]
    assert other.tied is other.heads[0].weight
    before = values(model)
    train(other, other_optimizer, 4)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])
    train(model, optimizer, 4)
    for name, value in values(other).items():
        np.testing.assert_array_equal(value, values(model)[name])
        assert steps == 0 or name == "seen" or (value != before[name]).any()


# ---- messages ----


@pytest.mark.host
def test_a_device_error_names_layer_parameter_and_fix():
    pytest.importorskip("array_api_strict")
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Residual(nn.Linear(3, 3)))
    with xpnet.use_backend("array_api_strict", "device1"):
        x = random_input(4, 2)
    with pytest.raises(xpnet.DeviceError) as error:
        model(x)
    assert str(error.value) == (
        "layer '0' (Linear): parameter 'weight' is on numpy, the input on array_api_strict (device1); "
        "move the model with model.to(...) or the input with xpnet.asarray(x)"
    )
    model[2].to("array_api_strict", "device1")
    with pytest.raises(
        xpnet.DeviceError, match=r"layer '2\.body' \(Linear\): parameter 'weight' is on array_api"
    ):
        model(xpnet.asarray(np.ones((4, 2), np.float32)))
    norm = nn.BatchNorm1d(2, affine=False)
    with pytest.raises(xpnet.DeviceError, match=r"layer BatchNorm1d: buffer 'running_mean' is on numpy"):
        norm(x)
