"""Optimizers, schedules and clipping follow PyTorch's, step by step, for every option that both have."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import optim  # noqa: E402

STEPS = 100
SHAPES = ((4, 3), (5,), (2, 3, 2))
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}

# every option both have, alone and together; the arguments are the same on both sides
OPTIONS = {
    "SGD": [
        {"lr": 0.05},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.4},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.5, "weight_decay": 0.05},
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    ],
    "Adagrad": [
        {},
        {"lr": 0.1, "lr_decay": 0.05},
        {"lr": 0.1, "initial_accumulator_value": 0.5},
        {"lr": 0.1, "eps": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-6},
    ],
    "Adadelta": [{}, {"rho": 0.5}, {"eps": 1e-2}, {"lr": 0.5, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.1}],
    "RMSprop": [
        {},
        {"alpha": 0.9},
        {"eps": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"weight_decay": 0.1},
        {"lr": 0.02, "alpha": 0.8, "eps": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ],
    "Adam": [
        {},
        {"lr": 0.05, "betas": (0.5, 0.7)},
        {"lr": 0.05, "betas": (0.0, 0.9)},
        {"lr": 0.05, "eps": 0.1},
        {"lr": 0.05, "amsgrad": True},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "amsgrad": True, "weight_decay": 0.1},
    ],
    "AdamW": [
        {},
        {"lr": 0.05, "weight_decay": 0.0},
        {"lr": 0.05, "weight_decay": 0.3},
        {"lr": 0.05, "amsgrad": True},
        {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "amsgrad": True, "weight_decay": 0.1},
    ],
}
CASES = [
    pytest.param(name, options, id=f"{name}-{'-'.join(options) or 'defaults'}")
    for name, cases in OPTIONS.items()
    for options in cases
]
FULL = [(name, cases[-1]) for name, cases in OPTIONS.items()]  # all options together


class Pair:
    """The same parameters and gradients on both sides."""

    def __init__(self, dtype="float64", shapes=SHAPES):
        self.dtype, self.rng = dtype, np.random.default_rng(7)
        start = [self.rng.normal(size=shape).astype(dtype) for shape in shapes]
        self.ours = [xpnet.tensor(a, requires_grad=True) for a in start]
        self.theirs = [torch.tensor(a, requires_grad=True) for a in start]

    def feed(self, skip=()):
        """New gradients of uneven size, none for the parameters in `skip`."""
        for i, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            g = (self.rng.normal(size=p.shape) * 10 ** self.rng.uniform(-3, 1)).astype(self.dtype)
            p.grad = None if i in skip else xpnet.asarray(g)
            q.grad = None if i in skip else torch.tensor(g)

    def compare(self, tolerance=None):
        for p, q in zip(self.ours, self.theirs, strict=True):
            close(p.numpy(), q.detach().numpy(), tolerance or TOLERANCE[self.dtype])


def close(ours, theirs, tolerance):
    """Relative to the size of the array."""
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


def make(name, pair, options):
    return getattr(optim, name)(pair.ours, **options), getattr(torch.optim, name)(pair.theirs, **options)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_path_is_pytorchs(name, options, dtype):
    pair = Pair(dtype)
    start = [p.numpy().copy() for p in pair.ours]
    optimizers = make(name, pair, options)
    for _ in range(STEPS):
        pair.feed()
        for optimizer in optimizers:
            optimizer.step()
        pair.compare()
    assert all((p.numpy() != s).all() for p, s in zip(pair.ours, start, strict=True))


@pytest.mark.host
@pytest.mark.parametrize("name", OPTIONS)
def test_the_defaults_are_pytorchs(name):
    pair = Pair()
    ours, theirs = make(name, pair, {})
    common = {k: v for k, v in ours.defaults.items() if k in theirs.defaults}
    assert common == {k: theirs.defaults[k] for k in common}
    assert set(ours.defaults) - set(common) <= {"eps_inside"}


@pytest.mark.parametrize(("name", "options"), FULL)
def test_groups(name, options):
    pair = Pair()

    def groups(p):
        return [
            {"params": [p[0], p[2]], "weight_decay": 0.2},
            {"params": [p[1]], "lr": 0.01, "weight_decay": 0},
        ]

    ours = getattr(optim, name)(groups(pair.ours), **options)
    theirs = getattr(torch.optim, name)(groups(pair.theirs), **options)
    for step in range(STEPS):
        if step == 50:
            for optimizer in (ours, theirs):
                optimizer.param_groups[1]["lr"] = 0.1
        pair.feed()
        ours.step()
        theirs.step()
        pair.compare()


@pytest.mark.parametrize(("name", "options"), FULL)
def test_unused_parameters_are_skipped_as_in_pytorch(name, options):
    pair = Pair()
    optimizers = make(name, pair, options)
    for step in range(40):
        # from time to time one, two or all of them get no gradient; the last one none at all at first
        skip = {i for i in range(3) if (step + i) % (i + 3) == 0} | ({2} if step < 10 else set())
        pair.feed(skip)
        for optimizer in optimizers:
            optimizer.step()
        pair.compare()
    ours, theirs = (o.state_dict()["state"] for o in optimizers)
    if name != "SGD":  # PyTorch's SGD counts no steps
        assert [ours[i]["step"] for i in range(3)] == [int(theirs[i]["step"]) for i in range(3)]


@pytest.mark.parametrize(("name", "options"), FULL)
def test_the_saved_state_is_pytorchs_and_loads_from_it(name, options):
    pair = Pair()
    ours, theirs = make(name, pair, options)
    for _ in range(5):
        pair.feed()
        ours.step()
        theirs.step()
    state, expected = ours.state_dict(), theirs.state_dict()
    for i, values in expected["state"].items():
        assert {k for k, v in values.items() if v is not None} <= state["state"][i].keys()
        for key, value in values.items():
            close(xpnet.to_numpy(state["state"][i][key]), value.detach().numpy(), 1e-10)
    assert [g["params"] for g in state["param_groups"]] == [g["params"] for g in expected["param_groups"]]

    resumed = getattr(optim, name)(pair.ours, **options)
    resumed.load_state_dict(expected)
    for _ in range(5):
        pair.feed()
        resumed.step()
        theirs.step()
        pair.compare()


# ---- schedules ----

SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
]


def two_groups():
    pair = Pair()
    ours = optim.SGD([{"params": pair.ours[:1]}, {"params": pair.ours[1:], "lr": 0.5}], lr=0.1)
    theirs = torch.optim.SGD([{"params": pair.theirs[:1]}, {"params": pair.theirs[1:], "lr": 0.5}], lr=0.1)
    return ours, theirs


# the learning rates are of interest here, not the steps between
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.host
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules(name, options):
    ours, theirs = two_groups()
    schedule = getattr(optim, name)(ours, **options)
    other = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for _ in range(25):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12, atol=1e-15)
        assert schedule.last_lr() == rates(ours)
        schedule.step()
        other.step()


@pytest.mark.host
def test_warm_up_then_cosine():
    ours, theirs = two_groups()
    schedule = optim.WarmupLR(ours, 5, start_factor=0.1, after=optim.CosineAnnealingLR(ours, T_max=12))
    linear = torch.optim.lr_scheduler.LinearLR(theirs, start_factor=0.1, total_iters=5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=12)
    other = torch.optim.lr_scheduler.SequentialLR(theirs, [linear, cosine], milestones=[5])
    for _ in range(17):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12)
        schedule.step()
        other.step()


@pytest.mark.host
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max"},
        {"patience": 1, "factor": 0.5},
        {"patience": 0, "cooldown": 2, "factor": 0.3},
        {"patience": 1, "threshold": 0.2},
        {"patience": 1, "threshold": 0.2, "mode": "max"},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "abs"},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "abs", "mode": "max"},
        {"patience": 0, "min_lr": 0.02},
        {"patience": 0, "eps": 0.02},
    ],
)
@pytest.mark.parametrize("shift", [0.0, -2.0])  # a negative metric: "relative" changes sign
def test_reduce_on_plateau(options, shift):
    rng = np.random.default_rng(3)
    metrics = [*(1 / np.arange(1, 15)), *rng.uniform(0, 1, 40), float("nan"), *rng.uniform(0, 2, 20)]
    ours, theirs = two_groups()
    schedule = optim.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    seen = set()
    for metric in metrics:
        schedule.step(metric + shift)
        other.step(metric + shift)
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12)
        seen.add(rates(ours)[0])
    assert len(seen) > 1  # it did fall


# ---- clipping ----


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e3])
@pytest.mark.parametrize("skip", [(), (1,)])
def test_clip_grad_norm(max_norm, skip, dtype):
    pair = Pair(dtype)
    pair.feed(skip)
    norm = optim.clip_grad_norm(pair.ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(pair.theirs, max_norm)
    tolerance = {"float64": 1e-13, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(xpnet.to_numpy(norm), expected.numpy(), rtol=tolerance)
    for p, q in zip(pair.ours, pair.theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(xpnet.to_numpy(p.grad), q.grad.numpy(), rtol=tolerance)
