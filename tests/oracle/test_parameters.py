"""Parameters in lists and dicts: PyTorch's names and order, and a training of both."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import nn, optim  # noqa: E402

VALUES = {"scale": [[1.0, 2.0]], "bias": [0.5], "again": [[3.0, -1.0]]}
DICTS = {"dict": dict, "ordered": OrderedDict, "pairs": lambda values: list(values.items())}


def both(make):
    """The same container of each library."""
    return (
        make(nn, lambda v: xpnet.asarray(np.array(v))),
        make(torch.nn, lambda v: torch.tensor(v, dtype=torch.float64)),
    )


def same(ours, theirs):
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(xpnet.to_numpy(ours.state_dict()[name]), value.numpy(), strict=True)


def test_a_list_of_parameters():
    ours, theirs = both(lambda n, t: n.ParameterList([t(v) for v in VALUES.values()]))
    same(ours, theirs)
    for held, t in (
        (ours, lambda v: xpnet.asarray(np.array(v))),
        (theirs, lambda v: torch.tensor(v).double()),
    ):
        held.append(t([9.0]))
        held.extend([t([8.0]), t([7.0])])
        held += [t([6.0])]
        held[-2] = t([5.0])
        assert len(held[1:4]) == 3
        assert [tuple(p.shape) for p in held] == [(1, 2), (1,), (1, 2), (1,), (1,), (1,), (1,)]
    same(ours, theirs)
    same(ours[::2], theirs[::2])
    assert ours[0] is next(iter(ours))
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        same(copied, theirs)
    shared = nn.Parameter(xpnet.asarray([1.0]))
    assert nn.ParameterList([shared])[0] is shared


@pytest.mark.parametrize("kind", DICTS.values(), ids=DICTS)
def test_a_dict_of_parameters(kind):
    ours, theirs = both(lambda n, t: n.ParameterDict(kind({k: t(v) for k, v in VALUES.items()})))
    same(ours, theirs)
    for held, t in (
        (ours, lambda v: xpnet.asarray(np.array(v))),
        (theirs, lambda v: torch.tensor(v).double()),
    ):
        held["new"] = t([9.0])
        held.update({"z": t([8.0]), "c": t([7.0])})
        held["bias"] = t([6.0])
        assert held.bias is held["bias"] is held.get("bias")
        assert held.get("nothing", 3) == 3
        assert held.setdefault("z") is held.z
        held.setdefault("more", t([5.0]))
        assert held.pop("scale").shape == (1, 2)
        del held["new"]
        assert ("new" in held, len(held)) == (False, 5)
    same(ours, theirs)
    same(ours.copy(), theirs.copy())
    assert list(ours) == list(ours.keys()) == list(theirs)
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        same(copied, theirs)
    ours.bias = xpnet.asarray([2.0])  # as the key it is
    assert float(ours["bias"].numpy()[0]) == 2.0
    ours.clear()
    assert (len(ours), ours.parameters()) == (0, [])


def test_they_are_trained_in_a_model():
    def net(n, t):
        class Net(n.Module):
            def __init__(self):
                super().__init__()
                self.rows = n.ParameterList([t([1.0, 2.0]), t([3.0, -1.0])])
                self.named = n.ParameterDict({"scale": t([0.5, 0.25])})

            def forward(self, x):
                return (self.rows[0] * x + self.rows[1]) * self.named.scale

        return Net()

    ours, theirs = both(net)
    same(ours, theirs)
    rules = optim.Adam(ours, lr=0.1), torch.optim.Adam(theirs.parameters(), lr=0.1)
    x = np.random.default_rng(0).normal(size=(4, 2))
    for _ in range(5):
        for model, rule, t in zip((ours, theirs), rules, (xpnet.asarray, torch.tensor), strict=True):
            rule.zero_grad()
            (model(t(x)) ** 2).sum().backward()
            rule.step()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-10, err_msg=name)
    again = both(net)[0]
    again.load_state_dict(theirs.state_dict())
    np.testing.assert_allclose(*(xpnet.to_numpy(m.theta) for m in (again, ours)), rtol=1e-10)


WRONG = {
    "a number": (lambda: nn.ParameterList([3]), TypeError, "ParameterList: 0 is int, expected a Parameter"),
    "a layer": (
        lambda: nn.ParameterDict({"a": nn.ReLU()}),
        TypeError,
        "ParameterDict: 'a' is ReLU, expected",
    ),
    "a dot": (lambda: nn.ParameterDict({"a.b": np.ones(1)}), KeyError, r"a string without dots, got 'a\.b'"),
    "in a place": (
        lambda: setattr(nn.ParameterDict({"a": np.ones(1)}), "a", 3),
        TypeError,
        "ParameterDict: 'a' is int, expected a Parameter, a Tensor or an array",
    ),
    "a call": (lambda: nn.ParameterList()(1), NotImplementedError, r"ParameterList has no forward\(\)"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
