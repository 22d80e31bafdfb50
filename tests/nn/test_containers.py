"""Sequential, ModuleList, ModuleDict; what a Module offers by PyTorch's names."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim


def names(module):
    return [name for name, _ in module.named_parameters()]


def x(*shape):
    return xpnet.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))


# ---- rows ----


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_a_row_behaves_as_a_list(kind):
    layers = [nn.Linear(2, 2) for _ in range(8)]
    row, plain = kind(layers[:3]), layers[:3]

    def same():
        assert list(row) == plain
        assert len(row) == len(plain)
        assert names(row) == [f"{i}.{part}" for i in range(len(plain)) for part in ("weight", "bias")]

    same()
    assert row.append(layers[3]) is row
    plain.append(layers[3])
    same()
    row[1] = plain[1] = layers[4]
    row[-1] = plain[-1] = nn.Linear(2, 2)
    same()
    row.insert(0, layers[5])
    plain.insert(0, layers[5])
    same()
    row.extend(layers[6:])
    plain.extend(layers[6:])
    same()
    assert row.pop() is plain.pop()
    assert row.pop(0) is plain.pop(0)
    del row[0], plain[0]
    same()
    for part in (slice(1, None), slice(None, None, 2), slice(-1, None)):
        assert type(row[part]) is kind
        assert list(row[part]) == plain[part]
    assert plain[0] in row
    assert nn.Linear(2, 2) not in row
    for wrong in (lambda: row.append(F.relu), lambda: row.__setitem__(0, 3), lambda: row.insert(0, None)):
        with pytest.raises(TypeError, match="expected a Module"):
            wrong()
    with pytest.raises(IndexError):
        row[17]
    same()


def test_a_row_may_have_names():
    model = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), act=nn.Tanh()))
    assert model.a is model[0]
    assert names(model) == ["a.weight", "a.bias"]
    model.append(nn.Linear(3, 3))
    model.add_module("last", nn.Linear(3, 1))
    assert [name for name, _ in model.named_children()] == ["a", "act", "2", "last"]
    model.a = nn.Linear(2, 3, bias=False)
    assert model.a is model[0]
    assert names(model[2:]) == ["2.weight", "2.bias", "last.weight", "last.bias"]
    assert names(model) == ["a.weight", "2.weight", "2.bias", "last.weight", "last.bias"]
    assert model(x(4, 2)).shape == (4, 1)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert names(copied) == names(model)
        np.testing.assert_array_equal(copied(x(4, 2)).numpy(), model(x(4, 2)).numpy())
    del model[1]
    assert [name for name, _ in model.named_children()] == ["a", "1", "last"]
    with pytest.raises(AttributeError, match="no attribute 'act'"):
        _ = model.act
    with pytest.raises(ValueError, match=r"a string without dots, got 'a\.b'"):
        nn.Sequential({"a.b": nn.ReLU()})


def test_a_dict_of_modules():
    heads = nn.ModuleDict({"a": nn.Linear(2, 1)})
    heads["b"] = nn.ReLU()
    heads.update([("c", nn.Linear(1, 1, bias=False))])
    assert list(heads) == list(heads.keys()) == ["a", "b", "c"]
    assert names(heads) == ["a.weight", "a.bias", "c.weight"]
    assert ("a" in heads, "z" in heads, len(heads)) == (True, False, 3)
    assert heads.pop("a") not in heads.values()
    del heads["b"]
    assert [(k, type(v)) for k, v in heads.items()] == [("c", nn.Linear)]
    heads.clear()
    assert len(heads) == 0
    for key, value, error in (("a.b", nn.ReLU(), KeyError), (1, nn.ReLU(), KeyError), ("a", 1, TypeError)):
        with pytest.raises(error, match="ModuleDict"):
            heads[key] = value


def test_modules_of_a_dict_are_attributes():
    a, b = nn.Linear(2, 1), nn.Linear(2, 1, bias=False)
    heads = nn.ModuleDict({"a": a})
    assert heads.a is a
    heads.a, heads.c = b, nn.ReLU()  # as the keys they are
    assert (heads["a"], list(heads), names(heads)) == (b, ["a", "c"], ["a.weight"])
    del heads.c
    for copied in (copy.deepcopy(heads), pickle.loads(pickle.dumps(heads))):
        assert copied.a is copied["a"]
    assert "c" not in heads
    with pytest.raises(AttributeError, match="'ModuleDict' object has no attribute 'c'"):
        _ = heads.c
    heads["keys"], heads["training"] = nn.Tanh(), nn.Identity()  # its own names stay its own
    assert list(heads.keys()) == ["a", "keys", "training"]
    assert heads.training is True
    assert not heads.eval()["training"].training


def test_parts_of_a_parameter_are_attributes():
    layer = nn.weight_norm(nn.Linear(3, 2))
    held = dict(layer.named_parameters())
    assert layer.parametrizations.weight.original0 is held["parametrizations.weight.original0"]


def test_holders_have_no_forward():
    for holder in (nn.ModuleList([nn.ReLU()]), nn.ModuleDict({"a": nn.ReLU()})):
        with pytest.raises(NotImplementedError, match=r"has no forward\(\)"):
            holder(x(1, 2))


def test_identity_takes_anything():
    a = x(2, 3)
    assert nn.Identity(54, unused=True)(a) is a


# ---- the tree ----


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), nn.Linear(3, 1))


def test_children_and_apply():
    model = net()
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    assert model.children() == list(model)
    assert model.get_submodule("1.0") is model[1][0]
    assert model.get_submodule("") is model
    with pytest.raises(AttributeError, match=r"no module '1\.7'"):
        model.get_submodule("1.7")
    seen = []
    assert model.apply(seen.append) is model
    assert seen == [model[0], model[1][0], model[1][1], model[1], model[2], model]
    assert model[1][0].parameters(recurse=False) == model[1].parameters()
    assert model.parameters(recurse=False) == []
    assert [name for name, _ in model.named_buffers()] == ["1.0.running_mean", "1.0.running_var"]
    assert model.buffers() == [b for _, b in model.named_buffers()]
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(x(4, 2)).requires_grad


def test_register():
    model = nn.Module()
    model.register_parameter("w", nn.Parameter(np.float32([1])))
    model.register_parameter("none", None)
    model.register_buffer("n", xpnet.tensor([2.0]))
    model.register_buffer("scratch", np.float32([3]), persistent=False)
    model.add_module("layer", nn.Linear(1, 1))
    assert list(model.state_dict()) == ["w", "n", "layer.weight", "layer.bias"]
    assert [name for name, _ in model.named_buffers()] == ["n", "scratch"]
    assert model.none is None
    model.register_parameter("none", nn.Parameter(np.float32([1])))
    for call, error, message in (
        (lambda: model.register_buffer("w", np.float32([1])), KeyError, "has an attribute 'w' already"),
        (lambda: model.register_parameter("forward", None), KeyError, "'forward' already"),
        (lambda: model.register_parameter("a.b", None), KeyError, "contain a dot"),
        (lambda: model.add_module("", nn.ReLU()), KeyError, "empty"),
        (lambda: model.add_module(3, nn.ReLU()), TypeError, "must be a string, got 3"),
        (lambda: model.add_module("f", F.relu), TypeError, "expected a Module, got function"),
        (lambda: model.register_buffer("b", 3), TypeError, "expected a Tensor, got int"),
        (lambda: model.register_parameter("p", xpnet.tensor([1.0])), TypeError, "expected a Parameter"),
    ):
        with pytest.raises(error, match=message):
            call()


# ---- dtypes ----

CASTS = {
    "half": (lambda m: m.half(), "float16"),
    "double": (lambda m: m.double(), "float64"),
    "to a name": (lambda m: m.to("float64"), "float64"),
    "to dtype": (lambda m: m.to(dtype="float16"), "float16"),
    "to NumPy's": (lambda m: m.to(np.float64), "float64"),
    "to NumPy's dtype": (lambda m: m.to(np.dtype("float16")), "float16"),
    "there and back": (lambda m: m.double().float(), "float32"),
}


@pytest.mark.parametrize(("cast", "dtype"), CASTS.values(), ids=CASTS)
@pytest.mark.parametrize("trained", [False, True])
def test_a_model_is_cast(cast, dtype, trained, backend):
    if dtype == "float16" and backend.name == "array_api_strict":
        pytest.skip("the standard has no float16")
    model = net()
    model.n = nn.Buffer(xpnet.asarray(np.int64(3)))
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    if trained:
        model(x(4, 2)).sum().backward()
        optimizer.step()
    before = {name: xpnet.to_numpy(a).copy() for name, a in model.state_dict().items()}
    gradients = [p.grad is not None for p in model.parameters()]
    assert cast(model) is model
    for name, a in model.state_dict().items():
        assert xpnet.to_numpy(a).dtype == ("int64" if name == "n" else dtype)
        np.testing.assert_allclose(xpnet.to_numpy(a), before[name], rtol=1e-3, atol=1e-3)
    assert [p.grad is not None for p in model.parameters()] == gradients
    a = xpnet.asarray(x(4, 2), dtype)
    model(a).sum().backward()
    optimizer.step()
    assert all(str(p.dtype).endswith(dtype) for p in model.parameters())
    assert any((xpnet.to_numpy(a) != before[name]).any() for name, a in model.state_dict().items())


def test_what_is_no_dtype_of_a_model():
    with pytest.raises(TypeError, match=r"dtype must be one of float16, .*, got 'int8'"):
        net().to(dtype="int8")
    with pytest.raises(ValueError, match=r"unknown backend 'cuda'.*cupy"):
        net().to("cuda")


# ---- hooks ----


def test_a_hook_may_change_the_output():
    layer = nn.Linear(2, 2)
    a = x(3, 2)
    plain = layer(a).numpy()
    seen = []
    double = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    look = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    np.testing.assert_allclose(layer(a).numpy(), 2 * plain, rtol=1e-6)
    np.testing.assert_allclose(seen[0], 2 * plain, rtol=1e-6)
    double.remove()
    double.remove()
    np.testing.assert_array_equal(layer(a).numpy(), plain)
    look()
    layer(a)
    assert len(seen) == 2
