"""Flat parameters by count: how many spans, where they lie, when what is known of a model is forgotten."""

import copy
import pickle

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.nn import tree as tree_file
from xpnet.nn import vector as vector_file
from xpnet.nn.flat import ALIGNMENT, FlatParameters, Span, named_views, spans, spans_with_gradient
from xpnet.train import EMA


def leaf(*shape, dtype="float32", start=1.0):
    n = int(np.prod(shape))
    return xpnet.tensor(xpnet.asarray(start + np.arange(n, dtype="float32").reshape(shape), dtype), True)


def host(x):
    return xpnet.to_numpy(x)


def deep(layers=50, width=8):
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])


def backward(model, width=8):
    model(xpnet.asarray(np.ones((2, width), np.float32))).sum().backward()


def address(array):
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0]
    if hasattr(array, "data_ptr"):
        return array.data_ptr()
    if hasattr(array, "__cuda_array_interface__"):
        return array.__cuda_array_interface__["data"][0]
    return np.asarray(array._array).__array_interface__["data"][0]


# ---- the vector ----


@pytest.fixture(params=["float16", "bfloat16", "float32", "float64"])
def dtype(request, backend):
    if backend == "array_api_strict" and "16" in request.param:
        pytest.skip("this backend has no such type")
    if backend in ("numpy", "cupy") and request.param == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return request.param


def test_every_parameter_starts_at_16_bytes_and_the_rest_is_zero(dtype):
    parameters = [leaf(*shape, dtype=dtype) for shape in ((3, 3), (1,), (5,), (2, 4), (7,))]
    expected = [host(p.data).astype(np.float64) for p in parameters]
    flat = FlatParameters(parameters)
    base, total = address(flat.values), 0
    for p, values in zip(parameters, expected, strict=True):
        assert (address(p.data) - base) % ALIGNMENT == 0
        assert p._offset * (address(flat.values[1:]) - base) % ALIGNMENT == 0
        np.testing.assert_array_equal(host(p.data).astype(np.float64), values)
        total += values.sum()
    assert host(flat.values).astype(np.float64).sum() == total
    assert flat.values.shape[0] > sum(p.size for p in parameters)
    assert not host(flat.grads).astype(np.float64).any()
    packed = flat.pack()
    assert packed.packed
    assert packed.values.shape == (sum(p.size for p in parameters),)
    np.testing.assert_array_equal(
        host(packed.values).astype(np.float64), np.concatenate([v.ravel() for v in expected])
    )


def test_views_by_name_share_memory():
    flat = FlatParameters({"w": leaf(2, 3), "b": leaf(3)})
    moment = flat.like()
    flat.view("b", moment)[...] = xpnet.asarray([1.0, 2.0, 3.0])
    assert host(moment).tolist() == [0] * 6 + [0, 0] + [1, 2, 3]
    assert host(flat.view("w")).tolist() == [[1, 2, 3], [4, 5, 6]]
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    _ = model.theta
    np.testing.assert_array_equal(host(model[0].weight._flat.view("1.weight")), model[1].weight.numpy())
    vectors = [(span, span.like() + 1) for span in spans(model)]
    assert {n: v.shape for n, v in named_views(model, vectors).items()} == {
        n: p.shape for n, p in model.named_parameters()
    }


def test_like_is_float32_for_16_bit_types(dtype):
    if dtype != "float64":
        assert str(FlatParameters([leaf(3, dtype=dtype)]).like().dtype).endswith("float32")


def test_spans_break_where_told_and_where_parameters_are_no_neighbours():
    a, b, c, d = parameters = [leaf(3) for _ in range(4)]
    FlatParameters(parameters)
    count = lambda *args: [len(span.parameters) for span in spans(*args)]
    assert count(parameters) == [4]
    assert count([a, b, d]) == [2, 1]
    assert count([b, a, c]) == [1, 1, 1]
    assert count(parameters, lambda p: p is c) == [2, 1, 1]
    other = FlatParameters([b])
    assert count(parameters) == [1, 1, 2]
    assert parameters[1]._flat is other


def test_parameters_that_stay_are_not_moved_when_others_leave():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    whole, kept = nn.Sequential(a, b).theta, b.theta
    place = address(b.weight.data)
    _ = nn.Sequential(a, nn.Linear(2, 2)).theta
    optim.SGD(b, lr=0.1).zero_grad()
    backward(b, 4)
    optim.SGD(b, lr=0.1).step()
    assert address(b.weight.data) == place
    np.testing.assert_array_equal(host(kept), host(b.theta))
    np.testing.assert_array_equal(host(whole)[20:], host(b.theta))


# ---- a kept theta ----


def anyhow(model):
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


def assign(model):
    model[0].weight.data = model[0].weight.data * 2


def load(model):
    model.load_state_dict({k: v * 3 for k, v in model.state_dict().items()})


def train(model):
    rule = optim.Adam([{"params": model[1]}, {"params": model[0], "lr": 0.1}])
    for _ in range(2):
        rule.zero_grad()
        backward(model, 3)
        optim.clip_grad_norm(model, 0.1)
        rule.step()


def others(model):
    copied = copy.deepcopy(model)
    _ = copied.theta, model[0].theta, model[1].theta, pickle.dumps(model)
    copied.theta[...] = 0
    optim.SGD(model[1]).step()


def same_place(model):
    backend = xpnet.core.places.backend_of(model.theta)
    model.to(backend.name, backend.device).float().to("float32")


def average(model):
    ema = EMA(0.5)
    for _ in range(3):
        ema.update(model, 0.5)


@pytest.mark.parametrize("act", [assign, load, train, others, same_place, average], ids=lambda f: f.__name__)
def test_a_kept_theta_is_the_memory_of_the_parameters(act):
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
    theta = model.theta
    act(model)
    np.testing.assert_array_equal(host(theta), anyhow(model))
    theta[...] = xpnet.asarray(np.arange(38, dtype=np.float32))
    np.testing.assert_array_equal(anyhow(model), np.arange(38))
    assert address(model.theta) == address(theta)


def test_theta_after_training_without_it_is_packed_and_the_optimizer_follows():
    found = []
    for look in (False, True):
        xpnet.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
        rule = optim.Adam(model, lr=0.1)
        for step in range(4):
            rule.zero_grad()
            backward(model, 3)
            rule.step()
            if look and step == 1:
                theta = model[1].theta  # packs the neighbours, too
                assert theta.shape == (18,)
                assert address(model.theta) == address(model[0].weight.data)
        found.append(anyhow(model))
        assert rule.state_dict()["state"][3]["step"] == 4
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_array_equal(host(theta), found[1][20:])


def test_a_moved_or_taken_model_has_another_theta():
    model = nn.Linear(3, 5)
    before = model.theta
    bigger = nn.Sequential(model, nn.Linear(5, 3))
    assert bigger.theta.shape == (38,)
    model.theta[...] = 1
    assert host(bigger.theta)[:20].tolist() == [1] * 20
    assert not (host(before) == 1).all()
    model.double()
    assert model.theta.shape == (20,)
    assert str(model.theta.dtype).endswith("float64")


# ---- what is known of a model, until it changes ----


class Walks:
    """Counts the walks through trees."""

    def __init__(self, monkeypatch):
        self.n = 0
        known = tree_file.Known.__init__

        def counted(this, module):
            self.n += 1
            known(this, module)

        monkeypatch.setattr(tree_file.Known, "__init__", counted)

    def of(self, act):
        before = self.n
        act()
        return self.n - before


@pytest.fixture
def walks(monkeypatch):
    return Walks(monkeypatch)


def test_nothing_is_walked_when_nothing_changed(walks, monkeypatch):
    model = deep(5)
    rule = optim.Adam(model)
    made = []
    vector = vector_file.as_one_vector
    monkeypatch.setattr(vector_file, "as_one_vector", lambda named: made.append(1) or vector(named))

    def step():
        model.zero_grad()
        backward(model)
        optim.clip_grad_norm(model, 1.0)
        rule.step()
        model.eval().train()
        return model.theta, model.grad, model.parameters(), spans(model)

    step()
    assert walks.of(step) == 0
    assert len(made) == 1


class Holder(nn.Module):
    def __init__(self):
        self.first = nn.Linear(2, 2)
        self.blocks = [nn.Linear(2, 2), [nn.Linear(2, 2)]]
        self.heads = {"a": nn.Linear(2, 2)}
        self.row = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.named = nn.ModuleDict({"x": nn.Linear(2, 2)})
        self.inner = nn.Residual(nn.Linear(2, 2))
        self.missing = None
        self.notes = []


def delete(m, new):
    del m.first


# new: a layer that was made before anything was asked for, since making one is a change, too
CHANGES = {
    "assign a module": lambda m, new: setattr(m, "first", new),
    "assign a parameter": lambda m, new: setattr(m.inner.body, "weight", new.weight),
    "add one": lambda m, new: setattr(m.inner, "scale", new.bias),
    "register one": lambda m, new: m.first.register_parameter("gain", new.bias),
    "add a module": lambda m, new: m.inner.add_module("more", new),
    "delete": delete,
    "set to None": lambda m, new: setattr(m.first, "bias", None),
    "None to one": lambda m, new: setattr(m, "missing", new),
    "append to a list": lambda m, new: m.blocks.append(new),
    "append to an empty list": lambda m, new: m.notes.append(new),
    "append to a nested list": lambda m, new: m.blocks[1].append(new),
    "replace in a list": lambda m, new: m.blocks.__setitem__(0, new),
    "swap in a list": lambda m, new: m.blocks.reverse(),
    "replace in a nested list": lambda m, new: m.blocks[1].__setitem__(0, new),
    "pop": lambda m, new: m.blocks.pop(),
    "a parameter in a list": lambda m, new: m.notes.append(new.weight),
    "set in a dict": lambda m, new: m.heads.update(b=new),
    "replace in a dict": lambda m, new: m.heads.update(a=new),
    "Sequential.append": lambda m, new: m.row.append(new),
    "Sequential.pop": lambda m, new: m.row.pop(0),
    "Sequential[i]": lambda m, new: m.row.__setitem__(0, new),
    "ModuleDict.pop": lambda m, new: m.named.pop("x"),
    "ModuleDict[i]": lambda m, new: m.named.__setitem__("y", new),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_anywhere_below_is_seen(change):
    model, new = Holder(), nn.Linear(2, 2)
    _ = model.theta, model.grad, spans(model)
    before = model.parameters()
    for p in before:
        p.grad = xpnet.asarray(np.ones(p.shape, np.float32))
    assert len(spans_with_gradient(model)) == 1
    change(model, new)
    expected = [p for _, p in model.named_parameters()]  # this walks
    assert [id(p) for p in expected] != [id(p) for p in before]
    assert [id(p) for p in model.parameters()] == [id(p) for p in expected]
    assert [id(p) for span in spans(model) for p in span.parameters] == [id(p) for p in expected]
    with_gradient = [p for p in expected if p.grad is not None]
    assert [id(p) for s in spans_with_gradient(model) for p in s.parameters] == [id(p) for p in with_gradient]
    np.testing.assert_array_equal(host(model.theta), anyhow(model))
    assert model.grad.shape == model.theta.shape
    model.zero_grad()
    assert all(p.grad is None for p in expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.to("float64"),
        lambda m: nn.Sequential(nn.Linear(2, 2), m).theta,
        lambda m: nn.Sequential(m[1], nn.Linear(2, 2)).theta,
        lambda m: m[0].to("float64").to("float32"),
    ],
    ids=["to", "taken over", "a part taken over", "a part moved"],
)
def test_parameters_that_moved_are_found(change):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    _ = model.theta, spans(model)
    backward(model, 2)
    assert len(spans_with_gradient(model)) == 1
    change(model)
    assert all(span.current for span in spans(model))
    np.testing.assert_array_equal(host(model.theta), anyhow(model))
    np.testing.assert_array_equal(
        host(model.grad), np.concatenate([host(p.grad).ravel() for p in model.parameters()])
    )
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_tensor_to_be_trained_is_refused_whenever_it_becomes_one():
    model = nn.Linear(2, 2)
    model.offset = xpnet.tensor([1.0])
    _ = model.parameters()
    model.offset.requires_grad = True
    with pytest.raises(TypeError, match=r"offset is a Tensor that requires a gradient"):
        model.parameters()


def test_parts_put_into_a_set_are_refused_later_too():
    model = nn.Linear(2, 2)
    model.extra = set()
    _ = model.parameters()
    model.extra.add(nn.ReLU())
    with pytest.raises(TypeError, match="extra is a set"):
        model.parameters()


def test_a_state_that_is_assigned_at_each_step_is_no_change(walks):
    class Counting(nn.Module):
        def __init__(self):
            self.linear, self.n = nn.Linear(2, 2), nn.Buffer(xpnet.asarray([0.0]))

        def forward(self, x):
            self.n = self.n.data + 1
            self.last = x
            return self.linear(x)

    model = Counting()
    backward(model, 2)
    _ = model.theta
    assert walks.of(lambda: (backward(model, 2), model.theta)) == 0
    assert model.n.item() == 2


def test_overridden_parameters_are_asked_each_time():
    class Half(nn.Module):
        def __init__(self):
            self.a, self.b, self.both = nn.Linear(2, 2), nn.Linear(2, 1), False

        def parameters(self, recurse=True):
            found = super().parameters(recurse)
            return found if self.both else found[2:]

    model = Half()
    assert model.theta.shape == (3,)
    model.both = True
    assert model.theta.shape == (9,)
    assert sum(len(s.parameters) for s in spans(model)) == 4
    model.both = False
    assert sum(len(s.parameters) for s in spans(model)) == 2

    class Wrapped(nn.Module):
        def __init__(self):
            self.reference = lambda: model  # out of the tree

        def parameters(self, recurse=True):
            return self.reference().parameters()

    np.testing.assert_array_equal(host(Wrapped().theta), host(model.theta))


def test_what_is_known_is_not_copied():
    model = deep(2)
    _ = model.theta, spans(model)
    copied = copy.deepcopy(model)
    assert "_tree" not in vars(copied)
    assert "_tree" not in vars(pickle.loads(pickle.dumps(model)))
    copied.theta[...] = 0
    assert host(model.theta).any()


def test_the_gradient_of_a_part_is_zero_in_the_whole_and_spans_leave_it_out():
    model = deep(5)
    backward(model)
    model[2].weight.grad = None
    found = spans_with_gradient(model)
    assert [len(span.parameters) for span in found] == [4, 5]
    assert isinstance(found[0], Span)
    norm = float(optim.clip_grad_norm(model, 1e9))
    assert norm == pytest.approx(float(np.sqrt((host(model.grad).astype(np.float64) ** 2).sum())), rel=1e-5)


def test_a_norm_over_aligned_parameters_is_that_of_the_parameters():
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
    rule, noise = optim.AdamW(model, lr=0.1), optim.GradientNoise(model, eta=0.1)
    for _ in range(3):
        rule.zero_grad()
        F.cross_entropy(model(x), np.arange(6) % 3).backward()
        noise()
        squares = sum((host(p.grad).astype(np.float64) ** 2).sum() for p in model.parameters())
        assert float(optim.clip_grad_norm(model, 0.5)) == pytest.approx(np.sqrt(squares), rel=1e-5)
        rule.step()
    flat = model[0].weight._flat
    assert not flat.packed
    between = np.ones(flat.values.shape[0], bool)
    for p in model.parameters():
        between[p._offset : p._offset + p.size] = False
    assert between.any()
    assert not host(flat.grads)[between].any()
    assert not host(flat.values)[between].any()
