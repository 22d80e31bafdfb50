"""Parts of a module are found or refused by name; values set in place arrive; kept gradients stay."""

import copy
import pickle
from collections import OrderedDict, UserDict, deque
from types import MappingProxyType

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.train import Trainer


def leaf(*values):
    return xpnet.tensor(list(values), requires_grad=True)


def linear():
    return nn.Linear(2, 2)


class Holder(nn.Module):
    def __init__(self, held):
        self.held = held


# ---- parts in containers: what holds them, and the names they have ----

FOUND = {
    "list": (lambda m: [m], ["held.0"]),
    "tuple": (lambda m: (1, m), ["held.1"]),
    "dict": (lambda m: {"a": m, "b": 3}, ["held.a"]),
    "dict with numbers": (lambda m: {7: m}, ["held.7"]),
    "OrderedDict": (lambda m: OrderedDict(x=m), ["held.x"]),
    "UserDict": (lambda m: UserDict(x=m), ["held.x"]),
    "a read-only dict": (lambda m: MappingProxyType({"x": m}), ["held.x"]),
    "deque": (lambda m: deque([m]), ["held.0"]),
    "list of lists": (lambda m: [[None, m], []], ["held.0.1"]),
    "dict of lists": (lambda m: {"a": [m]}, ["held.a.0"]),
    "list of dicts": (lambda m: [{"a": {"b": m}}], ["held.0.a.b"]),
    "twice": (lambda m: [m, {"again": m}], ["held.0", "held.1.again"]),
    "ModuleList": (lambda m: nn.ModuleList([m]), ["held.0"]),
    "ModuleDict": (lambda m: nn.ModuleDict({"a": m}), ["held.a"]),
}


@pytest.mark.parametrize(("wrap", "names"), FOUND.values(), ids=FOUND)
def test_modules_in_containers_are_found(wrap, names):
    inner = linear()
    model = Holder(wrap(inner))
    assert [id(p) for p in model.parameters()] == [id(inner.weight), id(inner.bias)]
    assert list(model.state_dict()) == [f"{n}.{part}" for n in names for part in ("weight", "bias")]
    model.eval()
    assert not inner.training
    model.load_state_dict({name: np.full(a.shape, 3.0) for name, a in model.state_dict().items()})
    assert (inner.weight.numpy() == 3).all()
    model.to("numpy")
    model.to(dtype="float64")
    assert str(inner.weight.dtype).endswith("float64")
    if not isinstance(model.held, nn.Module):
        assert [id(p) for p in Holder(wrap(inner.weight)).parameters()] == [id(inner.weight)]


REFUSED = {
    "set": (lambda: {linear()}, TypeError, "held is a set with parts of the module"),
    "frozenset in a list": (lambda: [frozenset([linear()])], TypeError, r"held\.0 is a frozenset"),
    "values of a dict": (lambda: {"a": linear()}.values(), TypeError, "held is a dict_values"),
    "array of objects": (
        lambda: np.array([linear(), None], dtype=object),
        TypeError,
        "held is a ndarray with parts",
    ),
    "key": (lambda: {linear(): 1}, TypeError, "held has a Linear as a key"),
    "key with a dot": (lambda: {"a.b": linear()}, ValueError, "the key 'a.b' has a dot"),
    "two keys of one name": (lambda: {1: linear(), "1": linear()}, ValueError, "make one name"),
    "leaf": (lambda: leaf(1.0), TypeError, r"held is a Tensor that requires a gradient.*nn\.Parameter"),
    "leaf in a dict": (lambda: {"w": [leaf(1.0)]}, TypeError, r"held\.w\.0 is a Tensor"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_lost_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        Holder(make())
    later = Holder([])
    later.held.append(make())
    with pytest.raises(error, match=r"held\.0"):
        later.parameters()


def test_what_is_no_part_may_be_anything():
    x = leaf(1.0)
    plain = {"sizes": {1, 2}, "plain": xpnet.tensor([1.0]), "function": F.relu, "range": range(9)}
    model = Holder({"output": x * 2, **plain})
    assert model.parameters() == []
    x = xpnet.tensor([1.0])
    x.requires_grad = True
    model.held["plain"] = x
    with pytest.raises(TypeError, match=r"held\.plain is a Tensor"):
        model.state_dict()


def test_a_module_that_contains_itself_is_refused():
    parent, child = Holder(None), Holder(None)
    parent.held = [child]
    with pytest.raises(ValueError, match=r"Holder\.parent: the Holder would contain itself.*weakref"):
        child.parent = parent
    with pytest.raises(ValueError, match=r"Holder\.me\.0: "):
        child.me = [child]
    child.held = []
    child.held.append({"up": parent})  # a list changes without a word
    for use in (parent.parameters, parent.state_dict, child.modules):
        with pytest.raises(ValueError, match=r"held\.0.*contains itself"):
            use()
    loop = Holder([])
    loop.held.append(loop.held)
    with pytest.raises(ValueError, match=r"held\.0: the list contains itself"):
        loop.parameters()


# ---- values that are set ----

WRONG_SUCCESSORS = {
    "an array for a parameter": (
        "weight",
        lambda m: m.weight.data,
        r"BatchNorm1d\.weight is a Parameter, .* cannot take its place.*weight\.data\[\.\.\.\] = x",
    ),
    "a Tensor for a parameter": ("weight", lambda m: m.weight * 2, "is a Parameter, Tensor cannot"),
    "a buffer for a parameter": ("weight", lambda m: m.running_mean, "is a Parameter, Buffer cannot"),
    "a number for a parameter": ("weight", lambda m: 0.5, "is a Parameter, float cannot"),
    "a number for a buffer": ("running_mean", lambda m: 0.5, r"running_mean is a Buffer: expected a Tensor"),
    "a gradient for a buffer": ("running_mean", lambda m: m.weight * 2, r"has no gradient: pass x\.detach"),
}


@pytest.mark.parametrize(("name", "value", "message"), WRONG_SUCCESSORS.values(), ids=WRONG_SUCCESSORS)
def test_what_cannot_take_the_place_of_a_parameter_or_buffer(name, value, message):
    model = nn.BatchNorm1d(2)
    before = getattr(model, name)
    with pytest.raises(TypeError, match=message):
        setattr(model, name, value(model))
    assert getattr(model, name) is before


def test_what_can_take_the_place_of_a_parameter_or_buffer():
    model = nn.BatchNorm1d(2)
    other = nn.Parameter(np.float32([3, 4]))
    model.weight = other
    assert model.parameters()[0] is other
    model.weight = None
    assert [name for name, _ in model.named_parameters()] == ["bias"]
    model.running_mean = model.running_mean * 0 + 2  # a Tensor
    model.running_var = xpnet.asarray(np.float32([5, 6]))  # an array
    assert [name for name, _ in model.named_buffers()] == ["running_mean", "running_var"]
    assert [b.tolist() for b in model.buffers()] == [[2, 2], [5, 6]]


def test_a_buffer_counts():
    class Counter(nn.Module):
        def __init__(self):
            self.n = nn.Buffer(xpnet.asarray(np.int64(0)))
            self.total = nn.Buffer(xpnet.asarray(np.float32([0, 0])), persistent=False)

        def forward(self, x):
            self.n += 1
            self.total = self.total + x
            return x

    model = Counter()
    for _ in range(3):
        model(xpnet.tensor([1.0, 2.0]))
    assert (model.n.item(), model.total.tolist()) == (3, [3, 6])
    assert isinstance(model.n, nn.Buffer)
    assert not model.total.persistent
    assert list(model.state_dict()) == ["n"]
    copied = copy.deepcopy(model)
    copied(xpnet.tensor([1.0, 2.0]))
    assert (model.n.item(), copied.n.item(), copied.total.persistent) == (3, 4, False)


# ---- in place, by PyTorch's rules ----


def test_the_first_loop_of_pytorchs_tutorial_trains():
    x = xpnet.asarray(np.linspace(-1, 1, 64, dtype=np.float32))
    a, b = leaf(0.0), leaf(0.0)
    p = nn.Parameter(np.float32([0.0]))
    for _ in range(300):
        loss = ((a + b * x + p - (0.5 + 2 * x)) ** 2).mean()
        loss.backward()
        with xpnet.no_grad():
            for w in (a, b, p):
                w -= 0.2 * w.grad
                w.grad = None
    assert loss.item() < 1e-6
    assert abs(b.item() - 2) < 1e-3
    assert a.requires_grad
    assert (a._pullback, p._pullback) == (None, None)


def test_a_model_in_one_vector_is_trained_in_place():
    model = nn.Linear(2, 1)
    theta = model.theta
    before = xpnet.to_numpy(theta).copy()
    with xpnet.no_grad():
        for p in model.parameters():
            p += 1
    np.testing.assert_allclose(xpnet.to_numpy(theta), before + 1, rtol=1e-6)


OPERATORS = {
    "+=": lambda x, y: x.__iadd__(y),
    "-=": lambda x, y: x.__isub__(y),
    "*=": lambda x, y: x.__imul__(y),
    "/=": lambda x, y: x.__itruediv__(y),
    "**=": lambda x, y: x.__ipow__(y),
    "[]=": lambda x, y: x.__setitem__(0, y) or x,
}


@pytest.mark.parametrize("operate", OPERATORS.values(), ids=OPERATORS)
def test_in_place_operators(operate):
    source = np.float32([2, 3])
    x = xpnet.tensor(source)
    memory = x.data
    assert operate(x, 2.0) is x
    assert x.data is memory
    assert source.tolist() == [2, 3]  # what it was made from
    w = leaf(2.0, 3.0)
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        operate(w, 2.0)
    assert w.tolist() == [2, 3]
    with xpnet.no_grad():
        assert operate(w, 2.0) is w
    assert w.tolist() == x.tolist()
    assert w.requires_grad


def test_a_computed_tensor_goes_on_with_its_history():
    x = leaf(2.0, 3.0)
    y = x * x
    y += 1
    y *= y
    y.sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), [2 * 5 * 4, 2 * 10 * 6])
    total = xpnet.tensor(0.0)
    for _ in range(2):
        total += x.sum()
    total.backward()
    with pytest.raises(RuntimeError, match="would lose its gradient"):
        x[0] = 1.0


def test_what_is_written_into_a_computed_tensor_has_its_gradient():
    x = leaf(2.0, 3.0)
    y = x * x
    before = y * 10  # took y as it was
    y[0] = x[1] * 7
    (before + y).sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), [10 * 2 * 2, 10 * 2 * 3 + 7 + 2 * 3])
    x.grad = None
    z = xpnet.tensor([1.0, 1.0])
    z[0] = x.sum()
    (z * z).sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), [10.0, 10.0])


def test_in_place_results_that_do_not_fit():
    n = xpnet.tensor([1, 2])
    with pytest.raises(TypeError, match=r"in place: .*float.* does not fit a tensor of .*int"):
        n += xpnet.asarray(np.float32([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"result of shape \(3, 2\) does not fit a tensor of shape \(2,\)"):
        n += xpnet.asarray(np.ones((3, 2), np.int64))
    assert n.tolist() == [1, 2]
    n += xpnet.asarray(np.int64([1, 1]))
    assert n.tolist() == [2, 3]


# ---- gradients that the user kept ----


@pytest.mark.parametrize("in_vector", [True, False])
@pytest.mark.parametrize("forget", ["optimizer", "model", "None"])
def test_a_kept_gradient_is_not_overwritten(in_vector, forget):
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    copied = copy.deepcopy(model)
    copied_optimizer = optim.SGD(copied, lr=0.1, momentum=0.9)
    if in_vector:
        _ = model.theta
    kept = []
    for step in range(4):
        for m, o in ((model, optimizer), (copied, copied_optimizer)):
            if forget == "optimizer" or m is copied:
                o.zero_grad()
            elif forget == "model":
                m.zero_grad()
            else:
                m.weight.grad = m.bias.grad = None
            m(xpnet.asarray(np.float32([[step, 1]]))).sum().backward()
            o.step()
        kept.append((model.weight.grad, model.grad if in_vector else model.bias.grad))
    assert [xpnet.to_numpy(g).ravel().tolist() for g, _ in kept] == [[step, 1] for step in range(4)]
    if in_vector:
        assert [xpnet.to_numpy(g).ravel().tolist() for _, g in kept] == [[step, 1, 1] for step in range(4)]
    for p, q in zip(model.parameters(), copied.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_a_gradient_is_written_through():
    model = nn.Linear(2, 1, bias=False)
    model(xpnet.asarray(np.float32([[3, 4]]))).sum().backward()
    model.weight.grad *= 2
    model.weight.grad[0, 0] = -1.0
    assert xpnet.to_numpy(model.grad).tolist() == [-1, 8]


def test_zero_grad_sets_to_none_or_to_zero():
    for zero_grad in (lambda m: m.zero_grad, lambda m: optim.SGD(m, lr=1.0).zero_grad):
        model = nn.Linear(2, 1)
        zero_grad(model)(set_to_none=False)
        assert model.weight.grad is None
        model(xpnet.asarray(np.float32([[3, 4]]))).sum().backward()
        zero_grad(model)(set_to_none=False)
        assert xpnet.to_numpy(model.weight.grad).tolist() == [[0, 0]]
        zero_grad(model)()
        assert model.weight.grad is None


def test_a_gradient_of_the_wrong_shape_is_refused():
    from xpnet.core.op import differentiable

    for result in (
        lambda x: lambda dy: x[:1] * 0,
        lambda x: lambda dy: lambda out: x[:1] * 0,
    ):
        bad = differentiable(lambda x, result=result: (x * 2, result(x)))
        for x in (leaf(1.0, 2.0, 3.0), nn.Parameter(np.float32([1, 2, 3]))):
            with pytest.raises(ValueError, match=r"of shape \(1,\) reached a tensor of shape \(3,\)"):
                bad(x).sum().backward()
            assert x.grad is None


def test_retain_grad():
    x = leaf(1.0, 2.0)
    for make in (lambda x: x * 3, F.relu):  # a pullback for each input, and one for all
        y = make(x)
        assert y.grad is None
        y.retain_grad()
        y.retain_grad()
        z = (y * y).sum()
        z.backward(retain_graph=True)
        once = xpnet.to_numpy(y.grad).copy()
        np.testing.assert_allclose(once, 2 * y.numpy())
        z.backward()
        np.testing.assert_allclose(xpnet.to_numpy(y.grad), 2 * once)
    x.retain_grad()
    with pytest.raises(RuntimeError, match="no gradient reaches"):
        xpnet.tensor([1.0]).retain_grad()


# ---- training ----


def test_an_optimizer_of_another_model_is_refused():
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"the optimizer has the parameters of another model"):
        Trainer(model, F.cross_entropy, optim.SGD(other, lr=0.1))
    Trainer(model, F.cross_entropy, optim.SGD([model.bias, *other.parameters()], lr=0.1))


def test_a_module_that_overrides_train_has_its_way():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    frozen = Frozen(2)
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(frozen))
    frozen.requires_grad_(False)
    assert model.train() is model
    assert not frozen.training
    x = xpnet.asarray(np.float32([[1, 2], [3, 5], [0, 1], [7, 2]]))
    Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1)).fit(
        Dataset(x, np.array([0, 1, 0, 1])), epochs=2
    )
    assert frozen.running_mean.tolist() == [0, 0]
    assert frozen.weight.tolist() == [1, 1]


@pytest.mark.parametrize("samples", [4, 5])  # the fifth alone in its batch, which only batch norm minds
def test_modules_in_evaluation_mode_stay_there_while_the_model_trains(samples):
    frozen, free = nn.BatchNorm1d(2), nn.Sequential(nn.BatchNorm1d(2))
    model = nn.Sequential(nn.Linear(2, 2), frozen, *([free] if samples == 4 else []))
    frozen.eval()
    x = xpnet.asarray(np.float32([[1, 2], [3, 5], [0, 1], [7, 2], [4, 4]])[:samples])
    data = DataLoader(Dataset(x, np.arange(samples) % 2), 4)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1))
    for _ in range(2):  # after the first `fit` all of the model is in evaluation mode
        trainer.fit(data, data, epochs=2)
        assert frozen.running_mean.tolist() == [0, 0]
    assert samples == 5 or free[0].running_mean.tolist() != [0, 0]
    model.train()  # wakes it, as in PyTorch
    if samples == 4:
        trainer.fit(data, epochs=1)
        assert frozen.running_mean.tolist() != [0, 0]


@pytest.mark.parametrize("make", [lambda x: xpnet.tensor(x, requires_grad=True), nn.Parameter])
def test_data_of_another_type_have_gradients_of_that_type(make):
    p = make(np.float32([[1, 2]]))
    F.linear(xpnet.asarray(np.float32([[3, 4]])), p, None).sum().backward()
    p.grad = None
    p.data = xpnet.asarray(np.float64([[1, 2, 3]]))
    F.linear(xpnet.asarray(np.float64([[3, 4, 5]])), p, None).sum().backward()
    assert (str(p.grad.dtype).split(".")[-1], p.grad.shape) == ("float64", (1, 3))
    assert xpnet.to_numpy(p.grad).tolist() == [[3, 4, 5]]


def test_load_state_dict_says_what_had_no_partner():
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    state = model.state_dict()
    assert model.load_state_dict(state) == ([], [])
    state["extra"] = state.pop("0.bias")
    result = model.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["0.bias"], ["extra"])
    with pytest.raises(TypeError, match="expected names and arrays, got Linear"):
        model.load_state_dict(nn.Linear(2, 1))


# ---- copies ----

WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
COPIED = {
    "Tensor": lambda: xpnet.tensor([1.0, 2.0]),
    "leaf": lambda: leaf(1.0, 2.0),
    "Parameter": lambda: nn.Parameter(np.float32([1, 2])),
    "Buffer": lambda: nn.Buffer(np.float32([1, 2]), persistent=False),
}


@pytest.mark.host
@pytest.mark.parametrize("make", COPIED.values(), ids=COPIED)
@pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)
def test_tensors_are_copied(make, duplicate):
    x = make()
    if x.requires_grad:
        (x * x).sum().backward()
    y = duplicate(x)
    assert type(y) is type(x)
    assert (y.tolist(), y.requires_grad) == (x.tolist(), x.requires_grad)
    assert x.grad is None or x.grad.tolist() == y.grad.tolist()
    assert getattr(x, "persistent", None) == getattr(y, "persistent", None)
    with xpnet.no_grad():
        y += 1
    assert x.tolist() == [1, 2]


def test_a_tensor_with_a_history_is_not_deepcopied():
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match=r"x\.detach\(\)"):
        copy.deepcopy(y)
    assert copy.deepcopy(y.detach()).tolist() == [2]
