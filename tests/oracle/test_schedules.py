"""Rates that several write, in turn, together, one after the other or by hand, are PyTorch's at each step."""

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import optim  # noqa: E402

lr_scheduler = torch.optim.lr_scheduler

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
    pytest.mark.filterwarnings("ignore:The epoch parameter in"),
    pytest.mark.filterwarnings("ignore:OneCycleLR. step"),
]

RULES = {
    "step": ("StepLR", {"step_size": 2, "gamma": 0.5}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "function": ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    "factors": ("MultiplicativeLR", {"lr_lambda": lambda t: 0.8}),
    "milestones": ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.6}),
    "constant": ("ConstantLR", {"factor": 0.2, "total_iters": 3}),
    "to 0": ("LinearLR", {"start_factor": 0.2, "end_factor": 0.0, "total_iters": 5}),
    "up": ("LinearLR", {"start_factor": 0.2, "end_factor": 0.5, "total_iters": 5}),
    "polynomial": ("PolynomialLR", {"total_iters": 6, "power": 1.5}),
    "cosine": ("CosineAnnealingLR", {"T_max": 5}),
    "cosine to 0.01": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    "cosine of 1": ("CosineAnnealingLR", {"T_max": 1}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    "one cycle": ("OneCycleLR", {"max_lr": [0.7, 0.3], "total_steps": 40}),
    "cycles": ("CyclicLR", {"base_lr": [0.03, 0.2], "max_lr": 1.0, "step_size_up": 3, "mode": "triangular2"}),
}


def parts(library, rule, names):
    return [getattr(library, kind)(rule, **options) for kind, options in (RULES[name] for name in names)]


WAYS = {
    "in turn": parts,
    "in a chain": lambda library, rule, names: [library.ChainedScheduler(parts(library, rule, names))],
    "one after the other": lambda library, rule, names: [
        library.SequentialLR(rule, parts(library, rule, names), milestones=[4, 9][: len(names) - 1])
    ],
}


def made(library):
    options = {"lr": 0.1, "momentum": 0.9}
    if library is optim:
        first, second = (xpnet.tensor([0.0], requires_grad=True) for _ in range(2))
        return optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], **options)
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    return torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], **options)


def written(rule):
    return [group[key] for group in rule.param_groups for key in ("lr", "momentum")]


def compare(make, steps=20, by_hand=(), pause=None, state_of=optim):
    """Both libraries' rates and momenta; ours is made anew at `pause`, from a state of either."""
    rules = {library: made(library) for library in (optim, lr_scheduler)}
    schedules = {library: make(library, rule) for library, rule in rules.items()}
    for t in range(steps):
        if t in by_hand:
            for rule in rules.values():
                rule.param_groups[0]["lr"] = 0.05 * (1 + t % 3)
        if t == pause:
            states = [copy.deepcopy(s.state_dict()) for s in schedules[state_of]]
            states = json.loads(json.dumps(states)) if state_of is optim else states
            groups = copy.deepcopy(rules[state_of].state_dict())
            rules[optim] = made(optim)
            schedules[optim] = make(optim, rules[optim])
            rules[optim].load_state_dict(groups)
            for schedule, state in zip(schedules[optim], states, strict=True):
                schedule.load_state_dict(state)
        ours, theirs = (written(rule) for rule in rules.values())
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=f"at {t}")
        for schedule in (*schedules[optim], *schedules[lr_scheduler]):
            schedule.step()


def others(first):
    """Not the two cycles: in PyTorch each of them writes its momenta over those of the other one."""
    return [name for name in RULES if {first, name} != {"one cycle", "cycles"}]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("by_hand", [[0], [3], [5], [6], [7, 12], [9, 10]])
def test_a_rate_set_by_hand(name, by_hand):
    """Also at, before and after a low point, and past the end."""
    make = WAYS["in turn"]
    compare(lambda library, rule: make(library, rule, [name]), by_hand=by_hand)
    compare(lambda library, rule: make(library, rule, [name]), by_hand=by_hand, pause=8)


def test_a_rate_set_by_hand_after_a_factor_of_0():
    factor = lambda t: 0.0 if t == 2 else 0.9
    compare(lambda library, rule: [library.MultiplicativeLR(rule, factor)], by_hand=[4])


def test_a_rate_set_by_hand_before_a_low_point_does_not_grow():
    compare(lambda library, rule: [library.CosineAnnealingLR(rule, 10)], steps=45, by_hand=[9])


@pytest.mark.parametrize("first", RULES)
@pytest.mark.parametrize("way", WAYS)
def test_two(way, first):
    for second in others(first):
        for by_hand in ((), (6,)):
            compare(lambda o, rule, s=second: WAYS[way](o, rule, [first, s]), by_hand=by_hand)


@pytest.mark.parametrize("state_of", [optim, lr_scheduler], ids=["ours", "PyTorch's"])
@pytest.mark.parametrize("way", WAYS)
def test_two_after_a_pause(way, state_of):
    for first in RULES:
        for second in others(first):
            for pause in (3, 9):
                compare(
                    lambda o, rule, f=first, s=second: WAYS[way](o, rule, [f, s]),
                    by_hand=[1],
                    pause=pause,
                    state_of=state_of,
                )


@pytest.mark.parametrize("middle", RULES)
def test_three_one_after_the_other(middle):
    for first, last in (("up", "factors"), ("constant", "cosine"), ("cosine", "restarts")):
        compare(lambda o, rule, m=[first, middle, last]: WAYS["one after the other"](o, rule, m))


def test_two_rates_by_hand_and_a_plateau():
    """Restarts begin at the base again, whatever a plateau has made of the rate; others go on from it."""
    for name in RULES:
        found = []
        for library in (optim, lr_scheduler):
            rule = made(library)
            (schedule,) = parts(library, rule, [name])
            plateau, path = library.ReduceLROnPlateau(rule, factor=0.5, patience=0), []
            for _ in range(25):
                schedule.step()
                plateau.step(1.0)
                path.append(written(rule))
            found.append(path)
        np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_the_base_is_that_of_the_first_schedule(name):
    ours, theirs = (parts(library, made(library), ["constant", name])[1] for library in (optim, lr_scheduler))
    np.testing.assert_allclose(ours.base_lrs, theirs.base_lrs, rtol=1e-12)


def test_a_whole_float_is_a_length():
    compare(lambda library, rule: [library.CosineAnnealingLR(rule, 7.0)])
    with pytest.raises(TypeError, match=r"CosineAnnealingLR: T_max must be a whole number, got 7\.5"):
        optim.CosineAnnealingLR(made(optim), 7.5)


@pytest.mark.parametrize("factor", [1, 2])
def test_restarts_by_parts_of_an_epoch(factor):
    ours, theirs = made(optim), made(lr_scheduler)
    schedules = [
        library.CosineAnnealingWarmRestarts(rule, 3, factor)
        for library, rule in ((optim, ours), (lr_scheduler, theirs))
    ]
    for epoch in (0.25, 1.5, 2.75, 4, 8.5, None, None, 5.25, None, 0.0, None):
        for schedule in schedules:
            schedule.step() if epoch is None else schedule.step(epoch)
        np.testing.assert_allclose(written(ours), written(theirs), rtol=1e-9, atol=1e-12)
        assert schedules[0].last_epoch == schedules[1].last_epoch
    schedules[1].step(4.5)
    schedules[0].load_state_dict(schedules[1].state_dict())
    for _ in range(5):
        np.testing.assert_allclose(written(ours), written(theirs), rtol=1e-9, atol=1e-12)
        for schedule in schedules:
            schedule.step()
    with pytest.raises(ValueError, match="CosineAnnealingWarmRestarts: epoch must be at least 0"):
        schedules[0].step(-1)
