"""Optimizers, schedules and clipping follow PyTorch's, step by step, for every option that both have."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import optim  # noqa: E402
from xpnet.optim.line_search import Point, lowest_of_cubic  # noqa: E402

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
    "NAdam": [
        {},
        {"lr": 0.05, "momentum_decay": 0.1},
        {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1},
    ],
    "RAdam": [
        {},
        {"lr": 0.05, "betas": (0.5, 0.7)},
        {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1},
    ],
    "Adafactor": [
        {},
        {"lr": 0.5, "eps": (1e-6, 0.1), "d": 2.0},
        {"lr": 0.05, "beta2_decay": -0.5, "weight_decay": 0.1},
    ],
    "Adamax": [{}, {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1}],
    "Rprop": [{}, {"lr": 0.1}, {"lr": 0.05, "etas": (0.7, 1.5), "step_sizes": (0.01, 0.3)}],
    "ASGD": [
        {},
        {"lr": 0.05, "lambd": 0.3, "alpha": 0.5},
        {"lr": 0.02, "lambd": 0.1, "t0": 3, "weight_decay": 0.1},
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


@pytest.fixture(autouse=True)
def wide_scalars():
    """PyTorch keeps NAdam's product in its default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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


@pytest.mark.parametrize(("name", "options"), FULL)
def test_the_way_up_is_pytorchs(name, options):
    pair = Pair()
    optimizers = make(name, pair, {**options, "maximize": True})
    for step in range(20):
        pair.feed({1} if step < 3 else ())
        for optimizer in optimizers:
            optimizer.step()
        pair.compare()


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
def test_muon(nesterov, adjust):
    """PyTorch makes its matrices orthogonal in bfloat16."""
    pair = Pair("float32", ((6, 4), (3, 5)))
    options = {"lr": 0.05, "nesterov": nesterov, "adjust_lr_fn": adjust, "weight_decay": 0.1}
    ours, theirs = make("Muon", pair, options)
    start = [p.numpy().copy() for p in pair.ours]
    for _ in range(5):
        pair.feed()
        ours.step()
        theirs.step()
        for p, q, s in zip(pair.ours, pair.theirs, start, strict=True):
            way = np.abs(q.detach().numpy() - s).max()
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), atol=0.05 * way)


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
    own = ({"etas": (0.6, 1.1)}, {}) if name == "Rprop" else ({"weight_decay": 0.2}, {"weight_decay": 0})

    def groups(p):
        return [{"params": [p[0], p[2]], **own[0]}, {"params": [p[1]], "lr": 0.01, **own[1]}]

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
            # PyTorch has NAdam's product in float32 here
            tolerance = 1e-7 if key == "mu_product" else 1e-10
            close(xpnet.to_numpy(state["state"][i][key]), value.detach().numpy(), tolerance)
    assert [g["params"] for g in state["param_groups"]] == [g["params"] for g in expected["param_groups"]]

    resumed = getattr(optim, name)(pair.ours, **options)
    resumed.load_state_dict(expected)
    for _ in range(5):
        pair.feed()
        resumed.step()
        theirs.step()
        pair.compare()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_nadams_product_is_of_the_momenta_that_held(dtype):
    """A cycle moves beta1; one parameter misses some steps, and the state goes over in the middle."""
    pair = Pair(dtype)
    options = {"lr": 0.01, "momentum_decay": 0.1}
    ours, theirs = make("NAdam", pair, options)
    cycles = [kind.OneCycleLR(o, 0.1, 30) for kind, o in ((optim, ours), (torch.optim.lr_scheduler, theirs))]
    for step in range(29):
        if step == 15:
            state, ours = theirs.state_dict(), optim.NAdam(pair.ours, **options)
            ours.load_state_dict(state)
            cycles[0].optimizer = ours
        pair.feed({1} if step % 3 == 0 else set())
        for one in (ours, theirs, *cycles):
            one.step()
        pair.compare()
    for i, values in theirs.state_dict()["state"].items():
        close(
            xpnet.to_numpy(ours.state_dict()["state"][i]["mu_product"]),
            float(values["mu_product"]),
            TOLERANCE[dtype],
        )


@pytest.mark.host
@pytest.mark.parametrize("options", [{"etas": (1.0, 1.2)}, {"etas": 0.5}, {"step_sizes": (0.1, 0.01)}])
def test_rprop_refuses_what_would_not_move(options):
    with pytest.raises(ValueError, match=f"Rprop: {next(iter(options))} must be two numbers"):
        optim.Rprop(Pair().ours, **options)


@pytest.mark.host
def test_pytorchs_ways_to_compute_are_taken_and_change_nothing():
    pair = Pair()
    for options in ({"foreach": True, "capturable": False}, {"fused": None, "differentiable": False}):
        assert optim.Adam(pair.ours, lr=0.1, **options).defaults == optim.Adam(pair.ours, lr=0.1).defaults
    with pytest.raises(ValueError, match="Adam: differentiable=True is not there"):
        optim.Adam(pair.ours, differentiable=True)
    with pytest.raises(TypeError, match="Adam: got an unexpected keyword argument 'forech'"):
        optim.Adam(pair.ours, forech=True)


# ---- schedules ----

SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LambdaLR", {"lr_lambda": lambda t: 0.9**t}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: 1 / (1 + t)]}),
    ("MultiStepLR", {"milestones": [3, 9, 9, 12], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 4}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 7}),
    ("PolynomialLR", {"total_iters": 12, "power": 1.7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 26}),
    (
        "OneCycleLR",
        {
            "max_lr": [0.7, 0.2],
            "epochs": 4,
            "steps_per_epoch": 7,
            "pct_start": 0.2,
            "anneal_strategy": "linear",
        },
    ),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 26, "three_phase": True, "div_factor": 10.0}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 - 0.5 / t}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 0.9, lambda t: 1 - 0.5 / t]}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4}),
    (
        "CyclicLR",
        {"base_lr": [0.1, 0.2], "max_lr": [0.7, 0.3], "step_size_up": 3, "step_size_down": 5}
        | {"mode": "triangular2", "base_momentum": [0.5, 0.6], "max_momentum": [0.8, 0.95]},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "mode": "exp_range", "gamma": 0.95}
        | {"cycle_momentum": False},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 7, "step_size_down": 2}
        | {"scale_fn": lambda t: 0.97**t, "scale_mode": "iterations"},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 3, "step_size_down": 2}
        | {"scale_fn": lambda cycle: 1 / cycle, "scale_mode": "cycle"},
    ),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
]


def two_groups():
    pair = Pair()
    rule = {"lr": 0.1, "momentum": 0.9}
    ours = optim.SGD([{"params": pair.ours[:1]}, {"params": pair.ours[1:], "lr": 0.5}], **rule)
    theirs = torch.optim.SGD([{"params": pair.theirs[:1]}, {"params": pair.theirs[1:], "lr": 0.5}], **rule)
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
    for _ in range(26 if name == "OneCycleLR" else 60):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12, atol=1e-15)
        assert schedule.last_lr() == rates(ours)
        momenta = [[group["momentum"] for group in o.param_groups] for o in (ours, theirs)]
        np.testing.assert_allclose(*momenta, rtol=1e-12)
        schedule.step()
        other.step()


@pytest.mark.host
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_schedules_state_is_loaded_from_pytorchs(name, options, by_hand):
    ours, theirs = two_groups()
    other = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for t in range(9):
        if t == 5 and by_hand and name == "StepLR":
            theirs.param_groups[0]["lr"] = 0.123
        other.step()
    schedule = getattr(optim, name)(ours, **options)
    schedule.load_state_dict(other.state_dict())
    for _ in range(9):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12, atol=1e-15)
        assert schedule.get_last_lr() == rates(ours)
        assert schedule.last_epoch == other.last_epoch
        schedule.step()
        other.step()


@pytest.mark.host
def test_a_plateaus_and_a_sequences_state_are_loaded_from_pytorchs():
    ours, theirs = two_groups()
    options = {"patience": 1, "cooldown": 2, "factor": 0.5, "min_lr": [0.02, 0.2]}
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for metric in (1.0, 0.5, 0.7, 0.8, 0.9):
        other.step(metric, 3)
    schedule = optim.ReduceLROnPlateau(ours, **options)
    for group, lr in zip(ours.param_groups, rates(theirs), strict=True):
        group["lr"] = lr
    schedule.load_state_dict(other.state_dict())
    for _ in range(20):
        schedule.step(1.0, 3)
        other.step(1.0, 3)
        assert schedule.get_last_lr() == rates(theirs)
    assert rates(ours) == [0.02, 0.2]

    found = []
    for library, rule in zip((torch.optim.lr_scheduler, optim), reversed(two_groups()), strict=True):
        parts = [library.LinearLR(rule, start_factor=0.2, total_iters=4), library.ExponentialLR(rule, 0.9)]
        schedule = library.SequentialLR(rule, parts, milestones=[4])
        for _ in range(6):
            schedule.step() if not found else None
        if found:
            schedule.load_state_dict(found[0].state_dict())
        found.append(schedule)
    np.testing.assert_allclose(
        *(rates(s.optimizer if hasattr(s, "optimizer") else s._optimizer) for s in found)
    )


@pytest.mark.host
@pytest.mark.parametrize("eta_min", [0.0, 0.05])
def test_schedules_that_step_in_turn_multiply(eta_min):
    paths = []
    for library, rule in zip((optim, torch.optim.lr_scheduler), two_groups(), strict=True):
        schedules = [library.CosineAnnealingLR(rule, 10, eta_min), library.ExponentialLR(rule, 0.9)]
        path = []
        for t in range(9):
            if t == 7:
                rule.param_groups[0]["lr"] = 0.02  # by hand, below eta_min
            path.append(rates(rule))
            for schedule in schedules:
                schedule.step()
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-12)


@pytest.mark.host
def test_schedules_one_after_the_other():
    paths = []
    for library, rule in zip((optim, torch.optim.lr_scheduler), two_groups(), strict=True):
        parts = [
            library.LinearLR(rule, start_factor=0.2, total_iters=4),
            library.ExponentialLR(rule, 0.9),
            library.StepLR(rule, 2, 0.5),
        ]
        schedule, path = library.SequentialLR(rule, parts, milestones=[4, 9]), []
        for _ in range(15):
            path.append(rates(rule))
            schedule.step()
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize("from_pytorch", [False, True])
def test_schedules_in_a_chain(from_pytorch):
    """Together as PyTorch's, and so after a pause."""
    schedules = []

    def chained(library, rule):
        parts = [
            library.ConstantLR(rule, 0.2, total_iters=4),
            library.CosineAnnealingLR(rule, 70, 0.01),
            library.ExponentialLR(rule, 0.97),
        ]
        schedules.append(library.ChainedScheduler(parts, rule))
        return schedules[-1]

    ours, theirs = two_groups()
    schedule, other = chained(optim, ours), chained(torch.optim.lr_scheduler, theirs)
    for t in range(60):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-10, atol=1e-14)
        if t == 7:
            state = other.state_dict() if from_pytorch else json.loads(json.dumps(schedule.state_dict()))
            ours = two_groups()[0]
            schedule = chained(optim, ours)
            schedule.load_state_dict(state)
            assert schedule.last_epoch == 7
            np.testing.assert_allclose(schedule.get_last_lr(), rates(theirs), rtol=1e-12)
        schedule.step()
        other.step()


@pytest.mark.host
def test_one_cycle_moves_betas():
    pair = Pair()
    ours, theirs = make("Adam", pair, {"betas": (0.5, 0.99)})
    schedule = optim.OneCycleLR(ours, 0.1, 20)
    other = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, 20)
    for _ in range(19):
        np.testing.assert_allclose(ours.param_groups[0]["betas"], theirs.param_groups[0]["betas"], rtol=1e-12)
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


# ---- rules of which PyTorch has none, or another kind ----


def adan(theta, grads, lr, betas, eps, decay, no_prox):
    """Algorithm 1 of Xie et al., 2024, in the words of the authors' code, step by step in float64."""
    b1, b2, b3 = betas
    m, v, n, before = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta), grads[0]
    for k, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - before)
        n = b3 * n + (1 - b3) * (g + b2 * (g - before)) ** 2
        eta = lr / (np.sqrt(n / (1 - b3**k)) + eps)
        step = eta * (m / (1 - b1**k) + b2 * v / (1 - b2**k))
        theta = theta * (1 - lr * decay) - step if no_prox else (theta - step) / (1 + lr * decay)
        before = g
    return theta


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "no_prox": True}])
def test_adan_is_its_papers(options):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(3, 2)), rng.normal(size=(20, 3, 2))
    p = xpnet.tensor(start, requires_grad=True)
    rule = optim.Adan([p], lr=0.1, betas=(0.9, 0.8, 0.95), eps=1e-3, **options)
    for g in grads:
        p.grad = xpnet.asarray(g)
        rule.step()
    decay, no_prox = options.get("weight_decay", 0.0), options.get("no_prox", False)
    close(p.numpy(), adan(start, grads, 0.1, (0.9, 0.8, 0.95), 1e-3, decay, no_prox), 1e-12)
    with pytest.raises(ValueError, match="betas must be three numbers"):
        optim.Adan([p], betas=(0.9, 0.8))


def rosenbrock(x, y, x0):
    return ((x0 - x) ** 2).sum() + 100 * ((y - x**2) ** 2).sum()


LBFGS = [
    {},
    {"lr": 0.5, "max_iter": 5},
    {"history_size": 2, "max_iter": 30},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7, "max_eval": 40},
    {"line_search_fn": "strong_wolfe", "lr": 1e-3, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1.0, "tolerance_change": 1e-2},
]


def test_a_bracket_is_left_from_near_its_ends_as_pytorch_does():
    """A length that is much too large, along waves: the cubic's minimum falls on the ends of brackets."""
    start = np.array([3.0, -2.0])
    a, b = xpnet.tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    options = {"lr": 10.0, "line_search_fn": "strong_wolfe"}
    rules = optim.LBFGS([a], **options), torch.optim.LBFGS([b], **options)
    waves = lambda x, sin: (sin(9 * x) + x**2).sum()

    def closure(rule, loss):
        rule.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(6):
        rules[0].step(lambda: closure(rules[0], lambda: waves(a, xpnet.array_api.sin)))
        rules[1].step(lambda: closure(rules[1], lambda: waves(b, torch.sin)))
        close(a.numpy(), b.detach().numpy(), 1e-7)


def test_two_points_in_one_place_have_no_cubic():
    """Then the middle of the limits, as where the cubic has no minimum."""
    point = lambda slope: Point(2.0, 0.0, np.zeros(1), slope)
    assert lowest_of_cubic(point(-1.0), point(-1.0), (1.0, 5.0)) == 3
    assert lowest_of_cubic(point(-1.0), point(1.0)) == 2


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -2.0)])
@pytest.mark.parametrize("options", LBFGS)
def test_lbfgs_is_pytorchs(options, start):
    if not options.get("line_search_fn"):
        options = {**options, "lr": 1e-3 * options.get("lr", 1)}  # without one, Newton's length is too long
    ours = [xpnet.tensor(np.array([v, v / 2]), requires_grad=True) for v in start]
    theirs = [torch.tensor([v, v / 2], requires_grad=True) for v in start]
    rules = optim.LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)
    counts, losses = [0, 0], []

    def closure(i, members, one):
        counts[i] += 1
        rules[i].zero_grad()
        loss = rosenbrock(*members, one)
        loss.backward()
        return loss

    for _ in range(6):
        a = rules[0].step(lambda: closure(0, ours, 1.0))
        b = rules[1].step(lambda: closure(1, theirs, 1.0))
        assert counts[0] == counts[1]
        losses.append((float(a), float(b)))
        for p, q in zip(ours, theirs, strict=True):
            close(p.numpy(), q.detach().numpy(), 1e-7)  # a bracket's ends are decided by the last bits
    close(*np.array(losses).T, 1e-7)
    state = rules[1].state[theirs[0]]
    mine = rules[0].state_dict()["state"][0]
    assert mine["n_iter"] == state["n_iter"]
    assert mine["func_evals"] == state["func_evals"] == counts[0]


def test_lbfgs_finds_the_minimum_and_goes_on_from_its_state():
    def run(halves):
        x = xpnet.tensor([-1.2, 1.0], requires_grad=True, dtype="float64")
        rule = optim.LBFGS([x], max_iter=4, line_search_fn="strong_wolfe")

        def closure():
            rule.zero_grad()
            loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
            loss.backward()
            return loss

        for k in range(20):
            if halves and k == 5:
                state, rule = rule.state_dict(), optim.LBFGS([x], max_iter=4, line_search_fn="strong_wolfe")
                rule.load_state_dict(state)
            rule.step(closure)
        return x.numpy()

    assert np.array_equal(run(False), run(True))
    close(run(False), np.ones(2), 1e-4)  # where the loss no longer changes by 1e-9
    x = xpnet.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="LBFGS: step needs a closure"):
        optim.LBFGS([x]).step()
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": [x]}, {"params": [xpnet.tensor([1.0], requires_grad=True)]}])
    with pytest.raises(ValueError, match="line_search_fn must be"):
        optim.LBFGS([x], line_search_fn="armijo")


def test_adafactor_keeps_rows_and_columns():
    pair = Pair("float64", ((4, 3), (5,), (2, 3, 2)))
    ours, theirs = make("Adafactor", pair, {})
    for _ in range(3):
        pair.feed()
        ours.step()
        theirs.step()
    state = ours.state_dict()["state"]
    for i, q in enumerate(pair.theirs):
        expected = theirs.state[q]
        names = {name for name, value in expected.items() if value is not None}
        assert set(state[i]) == names
        for name in names - {"step"}:
            assert tuple(state[i][name].shape) == tuple(expected[name].shape)
            close(xpnet.to_numpy(state[i][name]), expected[name].numpy(), 1e-10)
    ours.load_state_dict(theirs.state_dict())
    pair.feed()
    ours.step()
    theirs.step()
    pair.compare()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_goes_on_from_pytorchs_state_and_back(line_search):
    from xpnet.io.torch import torch_state_dict

    options = {"lr": 0.3, "max_iter": 3, "line_search_fn": line_search}

    def made(kind, p):
        rule = kind([p], **options)

        def closure():
            rule.zero_grad()
            loss = ((p - 1) ** 4).sum() + (p**2).sum() * 0.3
            loss.backward()
            return loss

        return rule, closure

    def ours(values):
        p = xpnet.nn.Parameter(xpnet.asarray(np.array(values)))
        return p, *made(optim.LBFGS, p)

    def theirs(values):
        p = torch.nn.Parameter(torch.tensor(np.array(values)))
        return p, *made(torch.optim.LBFGS, p)

    p, rule, closure = theirs(np.random.default_rng(0).normal(size=(4, 3)))
    for _ in range(3):
        rule.step(closure)
    q, mine, mine_closure = ours(p.detach().numpy())
    mine.load_state_dict(rule.state_dict())
    for _ in range(2):
        rule.step(closure)
        mine.step(mine_closure)
    np.testing.assert_allclose(xpnet.to_numpy(q.data), p.detach().numpy(), rtol=1e-10)
    r, back, back_closure = theirs(xpnet.to_numpy(q.data))
    back.load_state_dict(torch_state_dict(mine))
    for _ in range(2):
        back.step(back_closure)
        mine.step(mine_closure)
    np.testing.assert_allclose(xpnet.to_numpy(q.data), r.detach().numpy(), rtol=1e-10)
    with pytest.raises(ValueError, match=r"LBFGS: the state has vectors of \(12,\), expected \(2,\)"):
        ours(np.ones(2))[1].load_state_dict(rule.state_dict())


def test_a_loaded_state_is_not_pytorchs_own_memory():
    p = torch.nn.Parameter(torch.ones(3, 3, dtype=torch.float64))
    rule = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones_like(p)
    rule.step()
    q = xpnet.nn.Parameter(xpnet.asarray(p.detach().numpy().copy()))
    mine = optim.SGD([q], lr=0.1, momentum=0.9)
    mine.load_state_dict(rule.state_dict())
    rule.step()
    q.grad = xpnet.asarray(np.ones((3, 3)))
    mine.step()
    np.testing.assert_allclose(xpnet.to_numpy(q.data), p.detach().numpy(), rtol=1e-12)
