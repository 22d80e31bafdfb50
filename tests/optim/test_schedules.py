"""Learning-rate schedules by their formulas; the comparison with PyTorch is in oracle/test_optim.py."""

import json
import math

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.core.recording import CaptureError
from xpnet.data import DataLoader, Dataset
from xpnet.ensemble import Snapshots
from xpnet.train import LearningRate, Trainer

pytestmark = pytest.mark.host


def optimizer(*rates):
    groups = [{"params": [xpnet.tensor([0.0], requires_grad=True)], "lr": lr} for lr in rates]
    return optim.SGD(groups, lr=9.0)


def path(schedule, steps):
    """The rates of the first group, at times 0, 1, ..."""
    found = []
    for _ in range(steps):
        found.append(schedule.last_lr()[0])
        schedule.step()
    return found


PRODUCTS = np.cumprod([1.0, *(1 - 0.5 / t for t in range(1, 20))]).tolist()
FORMULAS = {
    "step": (lambda o: optim.StepLR(o, 3, gamma=0.5), lambda t: 0.5 ** (t // 3)),
    "exponential": (lambda o: optim.ExponentialLR(o, gamma=math.exp(-0.2)), lambda t: math.exp(-0.2 * t)),
    "inverse time": (lambda o: optim.InverseTimeLR(o, k=0.25), lambda t: 1 / (1 + 0.25 * t)),
    "cosine": (lambda o: optim.CosineAnnealingLR(o, T_max=8), lambda t: math.cos(math.pi * t / 16) ** 2),
    "up, steady, down": (
        lambda o: optim.WarmupStableDecayLR(o, 2, 3, 4, end_factor=0.2),
        lambda t: t / 2 if t < 2 else 1 if t <= 5 else 1 - 0.2 * (t - 5),
    ),
    "down along a cosine": (
        lambda o: optim.WarmupStableDecayLR(o, 0, 1, 6, "cosine"),
        lambda t: 1 if t < 1 else (1 + math.cos(math.pi * min(t - 1, 6) / 6)) / 2,
    ),
    "down by a root": (
        lambda o: optim.WarmupStableDecayLR(o, 1, 0, 4, "sqrt", start_factor=0.5),
        lambda t: 0.5 if t < 1 else 1 - math.sqrt(min(t - 1, 4) / 4),
    ),
    "multiplied": (lambda o: optim.MultiplicativeLR(o, lambda t: 1 - 0.5 / t), lambda t: PRODUCTS[t]),
    "a chain": (
        lambda o: optim.ChainedScheduler([optim.StepLR(o, 3, 0.5), optim.ExponentialLR(o, 0.9)]),
        lambda t: 0.5 ** (t // 3) * 0.9**t,
    ),
    "warm-up": (lambda o: optim.WarmupLR(o, 4), lambda t: min(t / 4, 1)),
    "warm-up from 0.2": (
        lambda o: optim.WarmupLR(o, 4, start_factor=0.2),
        lambda t: min(0.2 + 0.2 * t, 1),
    ),
    "warm-up, then inverse time": (
        lambda o: optim.WarmupLR(o, 4, after=optim.InverseTimeLR(o, k=1.0)),
        lambda t: t / 4 if t < 4 else 1 / (t - 3),
    ),
}


@pytest.mark.parametrize(("make", "factor"), FORMULAS.values(), ids=FORMULAS)
def test_the_rate_is_the_formulas(make, factor):
    target = optimizer(0.4, 2.0)
    schedule = make(target)
    for t in range(9):
        expected = [0.4 * factor(t), 2.0 * factor(t)]
        assert [g["lr"] for g in target.param_groups] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        schedule.step()


def test_cosine_ends_at_eta_min():
    rates = path(optim.CosineAnnealingLR(optimizer(1.0), T_max=4, eta_min=0.2), 5)
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2])


def test_the_optimizer_uses_the_rate():
    theta = xpnet.tensor([0.0], requires_grad=True)
    sgd = optim.SGD([theta], lr=1.0)
    schedule = optim.StepLR(sgd, 1, gamma=0.5)
    for expected in (-1.0, -1.5, -1.75):
        theta.grad = xpnet.asarray([1.0])
        sgd.step()
        schedule.step()
        assert theta.numpy().tolist() == [expected]


@pytest.mark.parametrize(("make", "factor"), FORMULAS.values(), ids=FORMULAS)
def test_a_restored_schedule_goes_on(make, factor):
    target = optimizer(0.4)
    schedule = make(target)
    expected = path(schedule, 9)[5:]
    schedule = make(optimizer(0.4))
    path(schedule, 5)
    saved = json.loads(json.dumps(schedule.state_dict()))
    other = optimizer(7.0)  # a resumed run: the rate is not the initial one
    resumed = make(other)
    resumed.load_state_dict(saved)
    assert path(resumed, 4) == pytest.approx(expected)


def test_a_restored_plateau_goes_on():
    metrics = [1.0, 0.9, 0.95, 0.95, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9]
    options = {"patience": 1, "cooldown": 1, "factor": 0.5}

    def run(schedule, metrics):
        rates = []
        for metric in metrics:
            schedule.step(metric)
            rates.append(schedule.optimizer.param_groups[0]["lr"])
        return rates

    whole = run(optim.ReduceLROnPlateau(optimizer(1.0), **options), metrics)
    assert len(set(whole)) > 2
    for cut in range(1, len(metrics)):
        first = optim.ReduceLROnPlateau(optimizer(1.0), **options)
        rates = run(first, metrics[:cut])
        second = optim.ReduceLROnPlateau(optimizer(rates[-1]), **options)
        second.load_state_dict(first.state_dict())
        assert rates + run(second, metrics[cut:]) == whole


def test_a_run_whose_momentum_is_scheduled_is_resumed(tmp_path):
    def run(epochs, resume=None):
        xpnet.manual_seed(0)
        model = nn.Linear(3, 1)
        rule = optim.SGD(model, lr=0.1, momentum=0.9)
        cycle = LearningRate(optim.OneCycleLR(rule, 0.1, 20), every="batch")
        x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
        trainer = Trainer(model, F.mse_loss, rule, [cycle], verbose=False)
        trainer.fit(DataLoader(Dataset(x, x[:, :1]), 8), epochs=epochs, resume=resume)
        return trainer

    run(2).save_checkpoint(tmp_path / "run")
    resumed, whole = run(4, tmp_path / "run"), run(4)
    np.testing.assert_array_equal(resumed.model.weight.numpy(), whole.model.weight.numpy())
    groups = (t.optimizer.param_groups[0]["momentum"] for t in (resumed, whole))
    assert len(set(groups)) == 1


STATES = {
    "nothing of it": (
        {"foo": 1},
        r"StepLR: the state (has|lacks) .*; that of a StepLR is step_size, gamma, base",
    ),
    "another kind's": ({"gamma": 0.1, "base": [1.0], "t": 3}, "StepLR: the state lacks 'step_size'"),
    "more groups": (
        {"step_size": 2, "gamma": 0.1, "base": [1.0, 2.0], "t": 3},
        "a state of 2 groups for an optimizer of 1",
    ),
    "another kind's in PyTorch": (
        {"gamma": 0.1, "base_lrs": [1.0], "last_epoch": 3, "_step_count": 4},
        "StepLR: the state lacks 'step_size'",
    ),
}


@pytest.mark.parametrize(("state", "message"), STATES.values(), ids=STATES)
def test_a_state_that_is_not_its_own_is_refused(state, message):
    schedule = optim.StepLR(optimizer(1.0), 2)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=message):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before
    with pytest.raises(ValueError, match="ReduceLROnPlateau: the state is foo; expected best, bad, waiting"):
        optim.ReduceLROnPlateau(optimizer(1.0)).load_state_dict({"foo": 1})


def test_what_is_no_number_is_refused_at_once():
    with pytest.raises(TypeError, match="ReduceLROnPlateau: patience must be"):
        optim.ReduceLROnPlateau(optimizer(1.0), patience="5")
    with pytest.raises(TypeError, match="MultiStepLR: milestones must be a list of steps, got 5"):
        optim.MultiStepLR(optimizer(1.0), 5)


def test_a_rate_set_by_hand_goes_to_eta_min_from_where_it_is():
    target = optimizer(1.0)
    schedule = optim.CosineAnnealingLR(target, 10, eta_min=0.5)
    path(schedule, 8)
    target.param_groups[0]["lr"] = 0.1
    schedule.step()
    part = (1 + math.cos(0.9 * math.pi)) / (1 + math.cos(0.8 * math.pi))
    assert schedule.last_lr() == [pytest.approx(0.5 - 0.4 * part)]


def test_a_plateau_takes_a_loss_from_the_device():
    schedule = optim.ReduceLROnPlateau(optimizer(1.0), patience=0)
    for _ in range(2):
        schedule.step(xpnet.tensor([0.5]).sum())
    assert schedule.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: optim.StepLR(o, 0), "StepLR: step_size must be at least 1, got 0"),
        (lambda o: optim.CosineAnnealingLR(o, 0), "CosineAnnealingLR: T_max must be at least 1, got 0"),
        (lambda o: optim.WarmupLR(o, 0), "WarmupLR: steps must be at least 1, got 0"),
        (lambda o: optim.ReduceLROnPlateau(o, mode="least"), "mode is .min. or .max., .*got 'least'"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold_mode="x"), "threshold_mode .*got 'min', 'x'"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), "factor must be below 1, got 1.0"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=-1.0), "factor must be at least 0, got -1.0"),
        (lambda o: optim.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), "2 values of min_lr for 1 groups"),
        (lambda o: optim.ConstantLR(o, total_iters=0), "ConstantLR: total_iters must be at least 1, got 0"),
        (lambda o: optim.LambdaLR(o, []), "LambdaLR: 0 functions for 1 groups"),
        (lambda o: optim.LambdaLR(optimizer(1.0, 2.0), [abs]), "LambdaLR: 1 functions for 2 groups"),
        (lambda o: optim.OneCycleLR(o, 1.0, 9, div_factor=0.0), "OneCycleLR: div_factor must be above 0"),
        (lambda o: optim.NAdam(nn.Linear(1, 1), momentum_decay=-1.0), "momentum_decay must be at"),
    ],
)
def test_wrong_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make(optimizer(0.1))


def test_steps_past_a_cycle_are_said_once():
    rule = optimizer(0.1)
    schedule = optim.OneCycleLR(rule, 1.0, 9)
    path(schedule, 9)
    last = rule.param_groups[0]["lr"]
    with pytest.warns(UserWarning, match="OneCycleLR: step 10 of a cycle of 9") as said:
        path(schedule, 3)
    assert len(said) == 1
    assert rule.param_groups[0]["lr"] == last


def test_the_base_class_has_no_formula():
    with pytest.raises(NotImplementedError):
        optim.Schedule(optimizer(0.1))


# ---- rates that others write, and a second run ----


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(("make", "factor"), FORMULAS.values(), ids=FORMULAS)
def test_a_rate_set_by_hand_is_the_one_the_schedule_goes_on_from(make, factor, step):
    plain, touched = make(optimizer(0.4)), make(optimizer(0.4))
    path(plain, step)
    path(touched, step)
    now = touched.optimizer.param_groups[0]["lr"]
    if not now:
        pytest.skip("half of 0 is 0")
    touched.optimizer.param_groups[0]["lr"] = now / 2
    assert path(touched, 4)[1:] == pytest.approx([rate / 2 for rate in path(plain, 4)[1:]])


def test_a_group_added_later_follows_the_schedule():
    target = optimizer(1.0)
    schedule = optim.StepLR(target, 1, gamma=0.5)
    schedule.step()
    target.add_param_group({"params": [xpnet.tensor([0.0], requires_grad=True)], "lr": 8.0})
    schedule.step()
    assert schedule.last_lr() == [0.25, 4.0]


@pytest.mark.parametrize(("make", "factor"), FORMULAS.values(), ids=FORMULAS)
def test_a_second_fit_begins_the_schedule_again(make, factor):
    model = nn.Linear(2, 2)
    target = optim.SGD(model, lr=0.4)
    trainer = Trainer(model, F.cross_entropy, target, [LearningRate(make(target))])
    data = Dataset(np.ones((4, 2), np.float32), np.zeros(4, int))
    first = trainer.fit(data, epochs=4)["lr"]
    assert trainer.fit(data, epochs=4)["lr"] == first
    target.param_groups[0]["lr"] = 0.17
    assert trainer.fit(data, epochs=1)["lr"][0] == pytest.approx(0.17 * factor(0))


def test_a_second_fit_forgets_a_plateau():
    model = nn.Linear(2, 2)
    target = optim.SGD(model, lr=1e-12)  # the loss stays where it is
    plateau = optim.ReduceLROnPlateau(target, patience=0, eps=0)
    data = Dataset(np.ones((4, 2), np.float32), np.zeros(4, int))
    trainer = Trainer(model, F.cross_entropy, target, [LearningRate(plateau)])
    first = trainer.fit(data, data, epochs=4)["lr"]
    assert first[-1] < first[0]
    assert trainer.fit(data, data, epochs=4)["lr"] == first


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "best", "target"),
    [
        ("min", "rel", 8.0, 6.0),
        ("max", "rel", 8.0, 10.0),
        ("min", "abs", 8.0, 7.75),
        ("max", "abs", 8.0, 8.25),
        ("min", "rel", -8.0, -6.0),  # as in PyTorch: a fraction of the signed value
        ("max", "rel", -8.0, -10.0),
    ],
)
def test_an_improvement_is_more_than_the_threshold(mode, threshold_mode, best, target):
    better = -0.125 if mode == "min" else 0.125
    for metric, improved in ((target + better, True), (target, False), (target - better, False)):
        schedule = optim.ReduceLROnPlateau(
            optimizer(1.0), mode, 0.5, 0, threshold=0.25, threshold_mode=threshold_mode
        )
        schedule.step(best)
        schedule.step(metric)
        assert schedule.optimizer.param_groups[0]["lr"] == (1.0 if improved else 0.5)


@pytest.mark.parametrize(("mode", "worst"), [("min", math.inf), ("max", -math.inf)])
def test_what_is_infinitely_bad_is_no_improvement(mode, worst):
    schedule = optim.ReduceLROnPlateau(optimizer(1.0), mode, 0.5, 1)
    schedule.step(worst)
    schedule.step(worst)
    assert schedule.optimizer.param_groups[0]["lr"] == 0.5


MISTAKES = {
    "no function": (lambda o: optim.LambdaLR(o, 0.5), TypeError, "lr_lambda must be a function of the step"),
    "functions": (lambda o: optim.LambdaLR(o, [abs] * 3), ValueError, "3 functions for 1 groups"),
    "milestone": (lambda o: optim.MultiStepLR(o, [0.5]), TypeError, "a milestone must be a whole number"),
    "start": (lambda o: optim.LinearLR(o, 0.0), ValueError, "start_factor must be above 0"),
    "length": (lambda o: optim.PolynomialLR(o, 0), ValueError, "total_iters must be at least 1, got 0"),
    "shape": (
        lambda o: optim.WarmupStableDecayLR(o, 1, 1, 1, "log"),
        ValueError,
        'must be "linear", "cosine"',
    ),
    "stable": (
        lambda o: optim.WarmupStableDecayLR(o, 1, -1, 1),
        ValueError,
        "WarmupStableDecayLR: stable must be at least 0, got -1",
    ),
    "no length": (lambda o: optim.OneCycleLR(o, 1.0), ValueError, "pass total_steps, or epochs and"),
    "part": (
        lambda o: optim.OneCycleLR(o, 1.0, 9, pct_start=2),
        ValueError,
        r"pct_start must be in \[0, 1\]",
    ),
    "strategy": (lambda o: optim.OneCycleLR(o, 1.0, 9, anneal_strategy="x"), ValueError, '"cos" or "linear"'),
    "peaks": (lambda o: optim.OneCycleLR(o, [1.0, 2.0], 9), ValueError, "2 values of max_lr for 1 groups"),
    "cycle": (
        lambda o: optim.CyclicLR(o, 0.1, 0.2, 0, cycle_momentum=False),
        ValueError,
        "step_size_up must",
    ),
    "cycle's mode": (lambda o: optim.CyclicLR(o, 0.1, 0.2, 3, mode="x"), ValueError, '"exp_range", got'),
    "cycle's scale": (
        lambda o: optim.CyclicLR(o, 0.1, 0.2, 3, scale_mode="x"),
        ValueError,
        'scale_mode must be "cycle" or "iterations"',
    ),
    "cycle's rates": (lambda o: optim.CyclicLR(o, [0.1] * 2, 1.0), ValueError, "2 values of base_lr for 1"),
    "factors": (
        lambda o: optim.MultiplicativeLR(o, 0.5),
        TypeError,
        "MultiplicativeLR: lr_lambda must be a function",
    ),
    "no chain": (lambda o: optim.ChainedScheduler([]), ValueError, "expected at least one schedule"),
    "a chain of numbers": (lambda o: optim.ChainedScheduler([1]), TypeError, "expected schedules, got int"),
    "a chain of another": (
        lambda o: optim.ChainedScheduler([optim.StepLR(o, 1)], optimizer(1.0)),
        ValueError,
        "ChainedScheduler: the schedules must be of this optimizer",
    ),
    "not schedules": (lambda o: optim.SequentialLR(o, [1, 2], [3]), TypeError, "expected schedules, got int"),
    "of another": (
        lambda o: optim.SequentialLR(o, [optim.LinearLR(optimizer(1.0))], []),
        ValueError,
        "must be of this optimizer",
    ),
    "milestones": (
        lambda o: optim.SequentialLR(o, [optim.LinearLR(o)] * 3, [4, 4]),
        ValueError,
        r"3 schedules need 2 milestones that rise, got \[4, 4\]",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_refused(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make(optimizer(1.0))
    assert "\n" not in str(caught.value)


def test_momentum_must_be_there_to_move():
    rule = optim.Adagrad([xpnet.tensor([0.0], requires_grad=True)])
    with pytest.raises(ValueError, match="OneCycleLR: cycle_momentum needs a rule with momentum or betas"):
        optim.OneCycleLR(rule, 1.0, 9)
    with pytest.raises(ValueError, match="CyclicLR: cycle_momentum needs a rule with momentum or betas"):
        optim.CyclicLR(rule, 0.1, 1.0)


# ---- schedules of schedules, and without a counterpart in PyTorch ----

RISES = {
    "warm-up": lambda o: optim.WarmupLR(o, 100),
    "up, steady, down": lambda o: optim.WarmupStableDecayLR(o, 100, 10, 20, "cosine"),
    "one's own": lambda o: Rise(o),
}


class Rise(optim.Schedule):
    def factor(self, t):
        return min(1.0, t**2 / 1e4)


@pytest.mark.parametrize("step", [0, 1, 50, 140])
@pytest.mark.parametrize("make", RISES.values(), ids=RISES)
def test_a_rate_set_by_hand_never_rises_above_what_was_asked_for(make, step):
    """From a small factor it waits for the schedule to come up to it; at 0 it stays."""
    plain, touched = make(optimizer(0.4)), make(optimizer(0.4))
    path(plain, step)
    path(touched, step)
    touched.optimizer.param_groups[0]["lr"] = 0.05
    for rate, own in zip(path(touched, 60), path(plain, 60), strict=True):
        assert 0 <= rate <= max(0.05, 0.4) * (1 + 1e-12)
        assert rate <= max(0.05, own) + (0.005 if step == 0 else 1e-12)  # the first step is added


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_a_rate_set_by_hand_after_factors_that_underflow(gamma):
    for schedule in (
        optim.ExponentialLR(optimizer(1.0), gamma),
        optim.StepLR(optimizer(1.0), 1, gamma),
        optim.MultiStepLR(optimizer(1.0), range(1, 500), gamma),
    ):
        path(schedule, 400)
        assert schedule.last_lr() == [0.0]
        schedule.optimizer.param_groups[0]["lr"] = 0.5
        schedule.step()
        assert schedule.last_lr() == [0.5 * gamma]


def momentum_rule():
    return optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=0.4, momentum=0.9)


def test_a_warm_up_before_any_schedule():
    after = {
        "function": lambda o: optim.LambdaLR(o, lambda t: 1 / (1 + t)),
        "cycles": lambda o: optim.CyclicLR(o, 0.2, 0.6, 2),
        "sequence": lambda o: optim.SequentialLR(
            o, [optim.StepLR(o, 1), optim.CyclicLR(o, 0.2, 0.6, 2)], [2]
        ),
    }
    for make in after.values():
        alone = make(momentum_rule())
        rule = momentum_rule()
        schedule = optim.WarmupLR(rule, 4, after=make(rule))
        path(schedule, 4)
        for _ in range(6):
            groups = rule.param_groups, alone.optimizer.param_groups
            for key in ("lr", "momentum"):
                assert groups[0][0][key] == pytest.approx(groups[1][0][key], rel=1e-12)
            schedule.step()
            alone.step()


COMPOSED = {
    "sequence": lambda o: optim.SequentialLR(
        o, [optim.ConstantLR(o, 0.5, 2), optim.OneCycleLR(o, 1.0, 12), optim.ExponentialLR(o, 0.9)], [3, 7]
    ),
    "factors": lambda o: optim.SequentialLR(
        o, [optim.LinearLR(o, 0.5), optim.MultiplicativeLR(o, lambda t: 0.9)], [3]
    ),
    "chain": lambda o: optim.ChainedScheduler(
        [optim.CyclicLR(o, 0.1, 0.5, 3), optim.ConstantLR(o, 0.5, 4), optim.ExponentialLR(o, 0.9)]
    ),
    "a chain in a sequence": lambda o: optim.SequentialLR(
        o,
        [optim.LinearLR(o, 0.5), optim.ChainedScheduler([optim.StepLR(o, 2), optim.ExponentialLR(o, 0.9)])],
        [3],
    ),
    "a sequence in a chain": lambda o: optim.ChainedScheduler(
        [
            optim.SequentialLR(o, [optim.LinearLR(o, 0.5), optim.StepLR(o, 2, 0.5)], [4]),
            optim.ExponentialLR(o, 0.9),
        ]
    ),
}


def both(rule):
    return [(group["lr"], group["momentum"]) for group in rule.param_groups]


def walk(schedule, steps=12):
    found = []
    for _ in range(steps):
        found.append(both(schedule.optimizer))
        schedule.step()
    return found


@pytest.mark.parametrize("make", COMPOSED.values(), ids=COMPOSED)
def test_composed_schedules_begin_again_and_go_on(make):
    schedule = make(momentum_rule())
    whole = walk(schedule)
    schedule.restart()
    assert walk(schedule) == whole
    for pause in (1, 5, 9):
        schedule = make(momentum_rule())
        walk(schedule, pause)
        state = json.loads(json.dumps(schedule.state_dict()))
        other = make(momentum_rule())
        other.optimizer.load_state_dict(schedule.optimizer.state_dict())
        other.load_state_dict(state)
        assert walk(other, 12 - pause) == whole[pause:]
        # the place alone, as a run with other constants has it: what comes of so many steps
        other = make(momentum_rule())
        LearningRate(other).load_changed_state(state)
        assert walk(other, 12 - pause) == whole[pause:]
    assert {"rates", "schedulers", "t"}.isdisjoint(schedule.settings())


def test_a_composed_schedule_begins_again_at_a_rate_set_by_hand():
    rule = optimizer(1.0)
    parts = [optim.ConstantLR(rule, 0.5), optim.LambdaLR(rule, lambda t: 0.5**t)]
    schedule = optim.SequentialLR(rule, parts, [2])
    assert path(schedule, 4) == [0.5, 0.5, 1.0, 0.5]
    rule.param_groups[0]["lr"] = 8.0
    schedule.restart()
    assert path(schedule, 4) == [4.0, 4.0, 8.0, 4.0]


def test_a_schedule_in_a_sequence_has_the_initial_rates_for_base():
    rule = optimizer(1.0)
    up = optim.LinearLR(rule, 0.125, total_iters=4)  # it has set the rate to 0.125
    schedule = optim.SequentialLR(rule, [up, optim.InverseTimeLR(rule, 1.0)], [2])
    assert path(schedule, 4) == [0.125, pytest.approx(0.34375), 1.0, 0.5]


def test_a_chain_goes_on_by_its_own_parts_only():
    state = optim.ChainedScheduler([optim.StepLR(optimizer(1.0), 1)]).state_dict()
    rule = optimizer(1.0)
    chain = optim.ChainedScheduler([optim.StepLR(rule, 1), optim.StepLR(rule, 1)])
    before = chain.state_dict()
    with pytest.raises(ValueError, match="ChainedScheduler: a state of 1 schedules for 2 of them"):
        chain.load_state_dict(state)
    others = [optim.StepLR(rule, 1).state_dict(), optim.ExponentialLR(rule, 0.5).state_dict()]
    with pytest.raises(ValueError, match="StepLR: the state lacks 'step_size'"):
        chain.load_state_dict({**before, "t": 3, "schedulers": others})
    assert chain.state_dict() == before


OLD = {  # as saved before states had rates, and sequences their parts
    "step": (lambda o: optim.StepLR(o, 2, 0.5), {"step_size": 2, "gamma": 0.5, "base": [0.8], "t": 3}, 0.4),
    "sequence": (
        lambda o: optim.SequentialLR(o, [optim.LinearLR(o, 0.5), optim.StepLR(o, 2, 0.5)], [4]),
        {"milestones": [4], "base": [0.8], "t": 7},
        0.4,
    ),
    "cycle": (
        lambda o: optim.SequentialLR(o, [optim.ConstantLR(o, 0.5, 3), optim.CyclicLR(o, 0.1, 0.5, 2)], [3]),
        {"milestones": [3], "base": [0.8], "t": 5},
        0.5,
    ),
}


@pytest.mark.parametrize(("make", "state", "rate"), OLD.values(), ids=OLD)
def test_an_old_state_is_loaded(make, state, rate):
    schedule = make(momentum_rule())
    schedule.load_state_dict(state)
    assert schedule.last_lr() == [pytest.approx(rate)]
    assert schedule.last_epoch == state["t"]


def test_a_state_has_a_rate_that_was_set_by_hand_after_the_last_step():
    schedule = optim.StepLR(optimizer(1.0), 2, gamma=0.5)
    path(schedule, 2)
    schedule.optimizer.param_groups[0]["lr"] = 0.3
    resumed = optim.StepLR(optimizer(7.0), 2, gamma=0.5)
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert path(resumed, 3) == [0.3, 0.3, 0.15]


def test_a_group_added_later_begins_with_its_rate_in_every_schedule():
    def add(rule):
        rule.add_param_group({"params": [xpnet.tensor([0.0], requires_grad=True)], "lr": 8.0})

    rule = optimizer(1.0)
    schedule = optim.LambdaLR(rule, lambda t: 0.5**t)
    path(schedule, 2)
    add(rule)
    schedule.step()
    assert schedule.last_lr() == [0.125, 1.0]
    rule = optimizer(1.0)
    schedule = optim.SequentialLR(rule, [optim.ConstantLR(rule, 0.5), optim.ExponentialLR(rule, 0.5)], [3])
    path(schedule, 1)
    add(rule)
    assert [path(schedule, 2), rule.param_groups[1]["lr"]] == [[0.5, 0.5], 8.0]
    assert optim.StepLR(rule, 1).base_lrs == [1.0, 8.0]


def test_snapshots_begin_at_the_present_rate():
    rule = optimizer(1.0)
    path(optim.StepLR(rule, 1, gamma=0.5), 2)
    assert Snapshots(rule, 3).schedule.last_lr() == [0.25]


def test_a_part_of_an_epoch_is_no_part_of_a_captured_step():
    schedule = optim.CosineAnnealingWarmRestarts(optimizer(1.0), 5)
    step = xpnet.capture(lambda x: (x * 2, schedule.step(0.5)))
    with pytest.raises(CaptureError, match=r"schedule.step\(epoch\) is of one step alone"):
        step(xpnet.asarray([1.0]))
