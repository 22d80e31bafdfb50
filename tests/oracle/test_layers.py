"""Layers equal PyTorch's: names, weights exchanged both ways, values, gradients, running statistics."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import nn  # noqa: E402

RNG = np.random.default_rng(5)


def data(*shape):
    return RNG.normal(size=shape) * 1.5 + 0.3


# ours, theirs, an input; weights are exchanged before the comparison
LAYERS = {
    "Linear": (lambda d: nn.Linear(5, 3, dtype=d), lambda: torch.nn.Linear(5, 3), data(4, 5)),
    "Linear, no bias": (
        lambda d: nn.Linear(5, 3, bias=False, dtype=d),
        lambda: torch.nn.Linear(5, 3, bias=False),
        data(2, 4, 5),
    ),
    "BatchNorm1d": (lambda d: nn.BatchNorm1d(5, dtype=d), lambda: torch.nn.BatchNorm1d(5), data(8, 5)),
    "BatchNorm1d, 3 axes": (
        lambda d: nn.BatchNorm1d(5, eps=1e-2, momentum=0.3, dtype=d),
        lambda: torch.nn.BatchNorm1d(5, eps=1e-2, momentum=0.3),
        data(4, 5, 6),
    ),
    "BatchNorm1d, plain": (
        lambda d: nn.BatchNorm1d(5, affine=False, track_running_stats=False, dtype=d),
        lambda: torch.nn.BatchNorm1d(5, affine=False, track_running_stats=False),
        data(8, 5),
    ),
    "BatchNorm2d": (lambda d: nn.BatchNorm2d(3, dtype=d), lambda: torch.nn.BatchNorm2d(3), data(4, 3, 5, 2)),
    "LayerNorm": (lambda d: nn.LayerNorm(5, dtype=d), lambda: torch.nn.LayerNorm(5), data(4, 5)),
    "LayerNorm, 2 axes": (
        lambda d: nn.LayerNorm((3, 5), eps=1e-3, dtype=d),
        lambda: torch.nn.LayerNorm((3, 5), eps=1e-3),
        data(4, 2, 3, 5),
    ),
    "LayerNorm, plain": (
        lambda d: nn.LayerNorm(5, elementwise_affine=False, dtype=d),
        lambda: torch.nn.LayerNorm(5, elementwise_affine=False),
        data(4, 5),
    ),
    "GroupNorm": (
        lambda d: nn.GroupNorm(3, 6, dtype=d),
        lambda: torch.nn.GroupNorm(3, 6),
        data(4, 6, 5),
    ),
    "GroupNorm, plain": (
        lambda d: nn.GroupNorm(2, 6, affine=False, dtype=d),
        lambda: torch.nn.GroupNorm(2, 6, affine=False),
        data(4, 6, 5, 2),
    ),
    "InstanceNorm2d": (
        lambda d: nn.InstanceNorm2d(3, dtype=d),
        lambda: torch.nn.InstanceNorm2d(3),
        data(4, 3, 5, 2),
    ),
    "InstanceNorm2d, affine": (
        lambda d: nn.InstanceNorm2d(3, affine=True, dtype=d),
        lambda: torch.nn.InstanceNorm2d(3, affine=True),
        data(4, 3, 5, 2),
    ),
    "Dropout, p 0": (lambda d: nn.Dropout(0.0), lambda: torch.nn.Dropout(0.0), data(4, 5)),
    "Dropout, p 1": (lambda d: nn.Dropout(1.0), lambda: torch.nn.Dropout(1.0), data(4, 5)),
    "ReLU": (lambda d: nn.ReLU(), torch.nn.ReLU, data(4, 5)),
    "LeakyReLU": (lambda d: nn.LeakyReLU(0.2), lambda: torch.nn.LeakyReLU(0.2), data(4, 5)),
    "LeakyReLU, defaults": (lambda d: nn.LeakyReLU(), torch.nn.LeakyReLU, data(4, 5)),
    "ELU": (lambda d: nn.ELU(0.7), lambda: torch.nn.ELU(0.7), data(4, 5)),
    "ELU, defaults": (lambda d: nn.ELU(), torch.nn.ELU, data(4, 5)),
    "Sigmoid": (lambda d: nn.Sigmoid(), torch.nn.Sigmoid, data(4, 5)),
    "Tanh": (lambda d: nn.Tanh(), torch.nn.Tanh, data(4, 5)),
    "Hardtanh": (lambda d: nn.Hardtanh(), torch.nn.Hardtanh, data(4, 5)),
    "Softplus": (lambda d: nn.Softplus(), torch.nn.Softplus, data(4, 5)),
    "GELU": (lambda d: nn.GELU(), torch.nn.GELU, data(4, 5)),
    "Softmax": (lambda d: nn.Softmax(), lambda: torch.nn.Softmax(-1), data(4, 5)),
    "Softmax, axis 1": (lambda d: nn.Softmax(1), lambda: torch.nn.Softmax(1), data(4, 5, 2)),
    "Flatten": (lambda d: nn.Flatten(), torch.nn.Flatten, data(4, 5, 2)),
    "Flatten from 2": (lambda d: nn.Flatten(2), lambda: torch.nn.Flatten(2), data(4, 5, 2, 3)),
    "Sequential": (
        # no bias before batch norm: its gradient is zero up to rounding
        lambda d: nn.Sequential(nn.Linear(5, 4, bias=False, dtype=d), nn.BatchNorm1d(4, dtype=d), nn.Tanh()),
        lambda: torch.nn.Sequential(
            torch.nn.Linear(5, 4, bias=False), torch.nn.BatchNorm1d(4), torch.nn.Tanh()
        ),
        data(8, 5),
    ),
}
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
each_layer = pytest.mark.parametrize(("make", "reference", "x"), LAYERS.values(), ids=LAYERS)


def close(ours, theirs, dtype):
    theirs = theirs.detach().numpy()
    scale = np.abs(theirs).max() if theirs.size else 0
    np.testing.assert_allclose(
        xpnet.to_numpy(ours), theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(scale, 1e-3)
    )


def state_of(module):
    """PyTorch also counts batches; the count plays no part at a fixed momentum."""
    return {k: v.numpy() for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}


def randomised(module, dtype):
    """Weights away from 0 and 1, so that each of them matters."""
    module = module.to(getattr(torch, dtype))
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape))))
        for name, b in module.named_buffers():
            if name.endswith("running_var"):
                b.copy_(torch.tensor(rng.uniform(0.5, 2, size=tuple(b.shape))))
    return module


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("training", [True, False])
@each_layer
def test_values_gradients_and_statistics(make, reference, x, training, dtype):
    ours, theirs = make(dtype), randomised(reference(), dtype)
    ours.load_state_dict(state_of(theirs))
    ours.train(training)
    theirs.train(training)
    for step in range(2):  # twice: running statistics move on
        a = xpnet.tensor(x * (step + 1), requires_grad=True, dtype=dtype)
        b = torch.tensor(x * (step + 1), requires_grad=True, dtype=getattr(torch, dtype))
        y, z = ours(a), theirs(b)
        close(y, z, dtype)
        weights = np.cos(np.arange(z.numel())).reshape(tuple(z.shape))
        y.backward(xpnet.asarray(weights, dtype))
        z.backward(torch.tensor(weights, dtype=z.dtype))
        close(a.grad, b.grad, dtype)
        assert str(a.grad.dtype).endswith(dtype)
    for (name, p), (expected, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == expected
        close(p.grad, q.grad, dtype)  # of both steps: gradients accumulate
    for name, value in state_of(theirs).items():
        close(ours.state_dict()[name], torch.tensor(value), dtype)


@each_layer
def test_our_weights_load_into_pytorch(make, reference, x):
    ours, theirs = make("float64").eval(), reference().double().eval()
    state = {name: torch.tensor(xpnet.to_numpy(a)) for name, a in ours.state_dict().items()}
    result = theirs.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in result.missing_keys)
    close(ours(xpnet.asarray(x)), theirs(torch.tensor(x)), "float64")


@pytest.mark.host
def test_names_of_a_model_are_pytorchs():
    def build(n, dtype):
        class Net(n.Module):
            def __init__(self):
                super().__init__()
                self.stem = n.Sequential(n.Linear(4, 3, **dtype), n.ReLU(), n.BatchNorm1d(3, **dtype))
                self.tied = self.stem[0]
                blocks = [n.Linear(3, 3, **dtype), n.LayerNorm(3, **dtype)]
                self.blocks = n.ModuleList(blocks) if n is torch.nn else blocks

        return Net()

    ours, theirs = build(nn, {"dtype": "float64"}), build(torch.nn, {"dtype": torch.float64})
    for kind in ("named_parameters", "named_buffers"):
        names, expected = (
            [name for name, _ in getattr(m, kind)() if not name.endswith("tracked")] for m in (ours, theirs)
        )
        assert names == expected
    assert set(ours.state_dict()) == set(state_of(theirs))
    ours.load_state_dict(state_of(theirs))
    np.testing.assert_array_equal(ours.tied.weight.numpy(), theirs.tied.weight.detach().numpy())


@pytest.mark.host
def test_default_weights_have_pytorchs_range():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(300, 200), torch.nn.Linear(300, 200)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert abs(p.numpy().std() / q.detach().numpy().std() - 1) < 0.15
        assert np.abs(p.numpy()).max() <= 300**-0.5


def test_dropout_scales_as_pytorchs():
    x = np.ones((300, 300), np.float32)
    torch.manual_seed(0)
    ours, theirs = nn.Dropout(0.3)(xpnet.asarray(x)), torch.nn.Dropout(0.3)(torch.tensor(x))
    ours, theirs = xpnet.to_numpy(ours), theirs.numpy()
    assert set(np.unique(ours)) == set(np.unique(theirs))
    assert abs((ours == 0).mean() - (theirs == 0).mean()) < 0.01
