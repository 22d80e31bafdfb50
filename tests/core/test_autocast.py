"""`xpnet.autocast`: which ops are rounded, on every layer; beside PyTorch's; float32 gradients."""

import contextlib
import threading

import numpy as np
import pytest

import xpnet
from tests.every_layer import LAYERS, SEVERAL, sample
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.core.context import autocasts, casting
from xpnet.core.trees import leaves


def name_of(array):
    return str(array.dtype).removeprefix("torch.")


def wide(array):
    return to_numpy(array).astype(np.float64)


@pytest.fixture(autouse=True)
def has_the_types(backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no 16-bit type")


def trained(name, dtype):
    """Outputs and gradients."""
    xpnet.manual_seed(3)
    make, shapes = {**LAYERS, **SEVERAL}[name]
    layer, rng = make(), np.random.default_rng(0)
    if name in LAYERS:
        given = [sample(layer, shapes)]
    else:
        given = [s if isinstance(s, np.ndarray) else rng.normal(size=s).astype(np.float32) for s in shapes]
    inputs = [
        xpnet.tensor(a, requires_grad=True) if a.dtype == np.float32 else xpnet.asarray(a) for a in given
    ]
    with xpnet.autocast(dtype) if dtype else contextlib.nullcontext():
        ys = [y for _, y in leaves(layer(*inputs)) if isinstance(y, xpnet.Tensor)]
        loss = sum((y * y).mean() for y in ys)
    assert name_of(loss) == "float32"
    loss.backward()
    leaf = [*layer.parameters(), *(x for x in inputs if isinstance(x, xpnet.Tensor))]
    gradients = [p.grad for p in leaf if p.grad is not None]
    assert {name_of(g) for g in gradients} == {"float32"}
    return [wide(a) for a in (*ys, *gradients)]


@pytest.mark.parametrize("name", [*LAYERS, *SEVERAL])
def test_every_layer_trains_as_in_float32_up_to_rounding(name, backend):
    if "ResNet" in name and backend.name == "cupy":
        pytest.skip("minutes on the emulated device, in convolutions that other networks have, too")
    found, want = trained(name, "float16"), trained(name, None)
    assert [a.shape for a in found] == [a.shape for a in want]
    found, want = (np.concatenate([a.ravel() for a in arrays]) for arrays in (found, want))
    # statistics of few numbers, and their derivatives, multiply rounding
    assert np.linalg.norm(found - want) <= (0.5 if "ResNet" in name else 0.01) * np.linalg.norm(want)


BATCH = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
FUNCTIONS = {  # of the same name in both libraries; a product of a 16-bit type goes in
    "relu": lambda lib, h: lib.relu(h),
    "gelu": lambda lib, h: lib.gelu(h),
    "sigmoid": lambda lib, h: lib.sigmoid(h),
    "softmax": lambda lib, h: lib.softmax(h, 1) if lib is not F else lib.softmax(h, axis=1),
    "log_softmax": lambda lib, h: lib.log_softmax(h, 1) if lib is not F else lib.log_softmax(h, axis=1),
    "layer_norm": lambda lib, h: lib.layer_norm(h, (5,)),
    "sum": lambda lib, h: h.sum(),
    "power": lambda lib, h: h**2,
    "with an integer": lambda lib, h: h * 2,
    "mse_loss": lambda lib, h: lib.mse_loss(h, h * 0),
}


@pytest.mark.host
@pytest.mark.parametrize("what", list(FUNCTIONS))
def test_types_and_values_are_those_of_pytorch_on_a_gpu(what):
    """PyTorch's lists for CUDA; its CPU takes softmax, norms and losses of bfloat16 in float32, too."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    weight = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    with xpnet.autocast("bf16"):
        ours = FUNCTIONS[what](F, F.linear(xpnet.tensor(BATCH), xpnet.tensor(weight)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = torch.nn.functional.linear(torch.tensor(BATCH), torch.tensor(weight))
        theirs = FUNCTIONS[what](torch.nn.functional, h)
    kept = ("relu", "gelu", "sigmoid", "with an integer")
    assert name_of(ours) == ("bfloat16" if what in kept else "float32")
    np.testing.assert_allclose(wide(ours), theirs.double().numpy(), rtol=0.02, atol=0.02)


def test_a_parameter_is_rounded_once_a_block():
    layer, x = nn.Linear(6, 6), xpnet.tensor(BATCH)
    with xpnet.autocast("float16"):
        y = layer(layer(x))
        rounded = casting.get()._rounded
        assert len(rounded) == 2
        with xpnet.no_grad():  # without a graph it is another
            layer(x)
        assert len(rounded) == 4
    y.sum().backward(xpnet.asarray(np.float16(1)))
    assert name_of(layer.weight.grad) == "float32"
    with xpnet.autocast("float16"):
        before = wide(layer(x))
    layer.weight.data *= 2
    with xpnet.autocast("float16"):
        assert not np.array_equal(wide(layer(x)), before)


def test_it_ends_with_its_block_and_is_of_its_thread():
    layer, x, seen = nn.Linear(6, 2), xpnet.tensor(BATCH), []
    look = lambda: seen.append(name_of(layer(x)))

    def inside():
        with xpnet.autocast("float16"):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            with xpnet.autocast("float16"):
                look()
            look()
            raise RuntimeError("out")

    with pytest.raises(RuntimeError, match="out"):
        inside()
    look()
    assert seen == ["float32", "float16", "float16", "float32"]
    assert autocasts == [0]


def test_backward_inside_the_block_keeps_its_types():
    layer, x = nn.Linear(6, 2), xpnet.tensor(BATCH)
    zeros = xpnet.asarray(np.zeros((4, 2), np.float32))
    with xpnet.autocast("float16"):
        F.mse_loss(layer(x), zeros).backward()
    inside = wide(layer.weight.grad)
    layer.zero_grad()
    with xpnet.autocast("float16"):
        loss = F.mse_loss(layer(x), zeros)
    loss.backward()
    np.testing.assert_array_equal(wide(layer.weight.grad), inside)


def test_float64_is_left_alone(backend):
    layer = nn.Linear(6, 2, dtype="float64")
    with xpnet.autocast("float16"):
        assert name_of(layer(xpnet.asarray(BATCH, "float64"))) == "float64"


def test_other_types_are_refused():
    with pytest.raises(ValueError, match='expected "bf16" or "float16", got \'float61\'; did you mean'):
        xpnet.autocast("float61")


def test_several_steps_in_one_block_see_new_parameters():
    """As in a block for each step: what was rounded before an update is not used after it, in no mode."""

    def outputs(whole, each):
        xpnet.manual_seed(0)
        model, x = nn.Linear(3, 2), xpnet.tensor([[1.0, 2.0, 3.0]])
        optimizer, found = optim.SGD(model, lr=0.5), []
        with whole:
            for _ in range(3):
                optimizer.zero_grad()
                with each():
                    y = model(x)
                    y.sum().backward()
                optimizer.step()
                with each(), xpnet.no_grad():
                    found += [y.numpy(), model(x).numpy()]
        return np.array(found)

    found = outputs(xpnet.autocast("float16"), contextlib.nullcontext)
    expected = outputs(contextlib.nullcontext(), lambda: xpnet.autocast("float16"))
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found[:, 0, 0])) == 4


def test_an_assigned_parameter_is_rounded_anew():
    model, x = nn.Linear(2, 1, bias=False), xpnet.asarray([[1.0, 1.0]])
    with xpnet.autocast("float16"), xpnet.no_grad():
        model(x)
        model.weight.data = xpnet.asarray([[1.0, 2.0]])
        assert model(x).item() == 3
