"""Where PyTorch's arguments are: a valid call means the same here, by position and as input=."""

import inspect
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.core.renamed import INPUT  # noqa: E402

f, schedules = torch.nn.functional, torch.optim.lr_scheduler
PAIRS = {
    "F": [(name, F, f) for name in F.__all__],
    "nn": [(name, nn, torch.nn) for name in nn.__all__ if name != "Module"],
    "optim": [(name, optim, torch.optim) for name in optim.__all__ if name != "Optimizer"],
    "schedule": [(name, optim, schedules) for name in optim.__all__ if name != "Optimizer"],
}
SHARED = {
    f"{part}.{name}": (getattr(ours, name), getattr(theirs, name))
    for part, pairs in PAIRS.items()
    for name, ours, theirs in pairs
    if hasattr(theirs, name)
} | {"F.flatten": (F.flatten, torch.flatten), "F.unflatten": (F.unflatten, torch.unflatten)}
FORWARDS = {
    f"{name}.forward": (ours.forward, theirs.forward)
    for name, (ours, theirs) in SHARED.items()
    if hasattr(theirs, "forward")
}

BY_NAME = {  # what has a place in PyTorch and none here, and neither has what comes behind it
    "size_average": "long deprecated",
    "reduce": "likewise",
    "device": "xpnet.set_backend says where; None is taken by name",
    "_stacklevel": "private",
    "_weight": "private: from_pretrained",
    "foreach": "how PyTorch computes a step, as are the next ones; taken by name",
    "capturable": "likewise",
    "min_value": "deprecated",
    "proj_size": "no projections of states here",
}
OTHERWISE = {  # what is called otherwise, or is missing, and why
    "nn.PoissonNLLLoss.forward": "log_input, which PyTorch's function calls input",
}
SAME = {("dim", "axis"), *(("input", name) for name in INPUT)}
_DEFAULT = re.compile(r"\s*[=:].*")


def positional(function):
    """Names of the arguments that may be given by position; of one in C by its docstring; or None."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        parameters = None
    if parameters is None or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        found = re.match(r"\s*\w+\((.*?)\)(?: ->|\s*\n|$)", function.__doc__ or "", re.DOTALL)
        if not found or "*args" in found[1]:
            return None
        names = [_DEFAULT.sub("", word.strip()) for word in found[1].split(",")]
        return names[: names.index("*")] if "*" in names else names
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def misplaced(mine, expected):
    """What is wrong with the places of our arguments, or None."""
    for i, name in enumerate(expected):
        here = mine[i] if i < len(mine) else None
        if name in BY_NAME:
            return here and f"{here} has a place that PyTorch has given to {name}: make it keyword-only"
        if name != here and (name, here) not in SAME:
            return f"argument {i} is {here}, in PyTorch {name}"
    return (
        f"{mine[len(expected)]} has a place that PyTorch does not have" if len(mine) > len(expected) else None
    )


PLACES = {
    name: (mine, expected)
    for name, (ours, theirs) in (SHARED | FORWARDS).items()
    if (mine := positional(ours)) is not None and (expected := positional(theirs)) is not None
}


@pytest.mark.host
@pytest.mark.parametrize("name", PLACES)
def test_each_argument_is_in_the_place_of_pytorchs(name):
    assert (misplaced(*PLACES[name]) is not None) == (name in OTHERWISE), misplaced(*PLACES[name])


@pytest.mark.host
def test_the_places_of_nearly_all_are_known():
    left = (SHARED | FORWARDS).keys() - PLACES.keys()
    containers = {"nn.Sequential", "nn.Identity", "nn.ModuleList.forward", "nn.ModuleDict.forward"}
    containers |= {"nn.ParameterList.forward", "nn.ParameterDict.forward"}
    without_arguments = {"nn.LogSigmoid", "nn.Sigmoid", "nn.Softsign", "nn.Tanh", "nn.Tanhshrink"}
    assert left == containers | without_arguments
    assert len(PLACES) > 300


# ---- input= ----

INPUTS = [name for name, (_, theirs) in PLACES.items() if name.startswith("F.") and theirs[0] == "input"]


@pytest.mark.parametrize("name", INPUTS)
def test_functions_take_input(name):
    """In `test_op_db` with values; here that none is left out."""
    ours = SHARED[name][0]
    first = next(iter(inspect.signature(ours).parameters))
    for call in (lambda: ours(None, input=1), lambda: ours(**{first: None}, input=1)):
        with pytest.raises(TypeError, match=rf"^\w+: input= is {first}, the first argument, which is given"):
            call()


def test_input_is_the_first_argument():
    x = xpnet.tensor(np.arange(12.0).reshape(4, 3) / 7, requires_grad=True)
    y = np.array([0, 2, 1, 1])
    calls = [
        lambda *a, **k: F.relu(*a, **k),
        lambda *a, **k: F.layer_norm(*a, normalized_shape=(3,), **k),
        lambda *a, **k: F.cross_entropy(*a, target=y, **k),
        lambda *a, **k: nn.CrossEntropyLoss()(*a, target=y, **k),
        lambda *a, **k: nn.Softmax(1)(*a, **k),
        lambda *a, **k: nn.Sequential(nn.Identity(), nn.ReLU())(*a, **k),
    ]
    for call in calls:
        gradients = []
        for result in (call(x), call(input=x)):
            result.sum().backward()
            gradients.append((result.numpy(), x.grad))
            x.grad = None
        for a, b in zip(*gradients, strict=True):
            np.testing.assert_array_equal(xpnet.to_numpy(a), xpnet.to_numpy(b))
    layer = nn.LSTM(3, 4, dtype="float64")
    np.testing.assert_array_equal(layer(input=x)[0].numpy(), layer(x)[0].numpy())


def test_an_input_of_ones_own_is_left_alone():
    class Mine(nn.Module):
        def forward(self, x, input):
            return x + input

    @xpnet.differentiable
    def minus(x, input):
        return x - input, lambda dy: (dy, -dy)

    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    assert Mine()(x, input=1.0).numpy().tolist() == [2.0, 3.0]
    assert minus(x, input=x).numpy().tolist() == [0.0, 0.0]
    for call in (lambda: nn.MultiheadAttention(4, 2)(input=x), lambda: F.ctc_loss(input=x)):
        with pytest.raises(TypeError, match=r"missing|unexpected"):
            call()


def test_the_names_of_what_was_missing_in_place():
    """What was by name alone before: the values are PyTorch's."""
    a, b = np.array([0.5, 3.0]), np.array([0.0, 0.0])
    x, t = xpnet.asarray(a), torch.tensor(a)
    assert float(nn.HuberLoss("sum", 0.5)(x, b)) == torch.nn.HuberLoss("sum", 0.5)(t, torch.tensor(b)).item()
    loss = nn.CTCLoss(0, "sum", True)
    assert (loss.blank, loss.reduction, loss.zero_infinity) == (0, "sum", True)
    log = np.log(np.full((2, 1, 3), 1 / 3))
    target = np.array([[1, 1]])  # too long for two steps
    assert float(loss(xpnet.asarray(log), target, [2], [2])) == 0.0
    table = np.arange(6.0).reshape(3, 2)
    for mode in ("sum", "mean"):
        mine = F.embedding_bag([[0, 2]], xpnet.asarray(table), None, None, 2.0, False, mode, False)
        theirs = f.embedding_bag(torch.tensor([[0, 2]]), torch.tensor(table), None, None, 2.0, False, mode)
        np.testing.assert_allclose(xpnet.to_numpy(mine), theirs.numpy())
