"""Optimizer steps through their launchers: against the array form in float64, and formulas by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from tests.kernels.test_cross_entropy import dtype_of
from xpnet import optim
from xpnet.core.recording import Phase, Recording
from xpnet.cuda import optimizers as launchers
from xpnet.cuda.element import ELEMENTS
from xpnet.optim import rules, scaled

SGD, Adagrad, Adadelta = (rule.hyperparameters for rule in (optim.SGD, optim.Adagrad, optim.Adadelta))
RMSprop, Adam = optim.RMSprop.hyperparameters, optim.Adam.hyperparameters

# op: number of moments, those that are absent, hyperparameters and options after the moments
RULES: dict[str, tuple[int, tuple[int, ...], tuple[Any, ...]]] = {
    "sgd": (1, (0,), (SGD(lr=0.1), 3)),
    "sgd decay": (1, (0,), (SGD(lr=0.1, weight_decay=0.2), 3)),
    "sgd first step": (1, (), (SGD(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1), 1)),
    "sgd momentum": (1, (), (SGD(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1), 2)),
    "sgd nesterov": (1, (), (SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1), 2)),
    "adagrad": (1, (), (Adagrad(lr=0.1, eps=1e-3, weight_decay=0.1), 1)),
    "adagrad inside": (1, (), (Adagrad(lr=0.1, eps=1e-3, eps_inside=True), 1)),
    "adagrad later": (1, (), (Adagrad(lr=0.1, eps=1e-3, lr_decay=0.5), 4)),
    "adadelta": (2, (), (Adadelta(lr=0.7, rho=0.8, eps=1e-3, weight_decay=0.1), 1)),
    "rmsprop": (3, (1, 2), (RMSprop(lr=0.1, alpha=0.9, eps=1e-3, weight_decay=0.1), 1)),
    "rmsprop inside": (3, (1, 2), (RMSprop(lr=0.1, alpha=0.9, eps=1e-3, eps_inside=True), 1)),
    "rmsprop momentum": (3, (2,), (RMSprop(lr=0.1, alpha=0.9, eps=1e-3, momentum=0.8, weight_decay=0.1), 1)),
    "rmsprop centered": (3, (1,), (RMSprop(lr=0.1, alpha=0.9, eps=1e-2, weight_decay=0.1), 1)),
    "rmsprop all": (
        3,
        (),
        (RMSprop(lr=0.1, alpha=0.9, eps=1e-2, eps_inside=True, momentum=0.8, weight_decay=0.1), 1),
    ),
    "adam": (3, (2,), (Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1), 3)),
    "adam first step": (3, (2,), (Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-3), 1)),
    "adam amsgrad": (3, (), (Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-3), 3)),
    "adamw": (3, (2,), (Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1), 3, True)),
}
TOLERANCE = {"float64": 1e-12, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def arrays(case: str, n: int, theta: str, grad: str, seed: int = 0) -> list[np.ndarray | None]:
    """Theta, gradient and moments; mean squares are larger than squared means."""
    moments, absent, _ = RULES[case]
    rng = np.random.default_rng(seed)
    made: list[np.ndarray | None] = [
        rng.standard_normal(n).astype(dtype_of(theta)),
        rng.standard_normal(n).astype(dtype_of(grad)),
    ]
    for k in range(moments):
        low, high = (0.1, 0.5) if case.startswith("rmsprop") and k == 2 else (0.5, 2.0)
        made.append(None if k in absent else rng.uniform(low, high, n).astype(dtype_of(theta)))
    return made


def reference(case: str, given: list[np.ndarray | None]) -> list[np.ndarray | None]:
    """The array form in float64, on copies."""
    wide = [None if a is None else a.astype(np.float64) for a in given]
    with xpnet.fused(False):
        getattr(rules, f"{case.split()[0].replace('adamw', 'adam')}_step")(*wide, *RULES[case][2])
    return wide


def launched(
    launch: Launch, case: str, given: list[np.ndarray | None], offsets: tuple[int, ...] = (0,) * 5
) -> list[Any]:
    placed = [None if a is None else launch.array(a, offset=o) for a, o in zip(given, offsets, strict=False)]
    op = getattr(launchers, f"{case.split()[0].replace('adamw', 'adam')}_step")
    assert op(*placed, *RULES[case][2]) is None
    return placed


def compare(
    launch: Launch, found: list[Any], expected: list[np.ndarray | None], given: Any, tolerance: float
) -> None:
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            np.testing.assert_allclose(launch.numpy(a), b, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(launch.numpy(found[1]), given[1].astype(np.float64))  # the gradient stays


@pytest.mark.parametrize("pair", [(t.dtype, g.dtype) for t, g in launchers.PAIRS], ids="-".join)
@pytest.mark.parametrize("case", RULES)
def test_rules(launch: Launch, case: str, pair: tuple[str, str]) -> None:
    given = arrays(case, 1030, *pair)
    with launch.on(order=3, seed=1):
        found = launched(launch, case, given)
    compare(launch, found, reference(case, given), given, TOLERANCE[pair[0]])


@settings(max_examples=15)
@given(
    case=st.sampled_from(["sgd momentum", "rmsprop all", "adam amsgrad"]),
    n=st.integers(0, 2600),
    offsets=st.tuples(*[st.integers(0, 8)] * 5),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize(
    "pair", [("float32", "float32"), ("float32", "bfloat16"), ("float16", "float16")], ids="-".join
)
def test_any_size_and_alignment(
    launch: Launch, pair: tuple[str, str], case: str, n: int, offsets: tuple[int, ...], seed: int
) -> None:
    given = arrays(case, n, *pair, seed=seed)
    with launch.on(seed=seed):
        found = launched(launch, case, given, offsets)
    compare(launch, found, reference(case, given), given, TOLERANCE[pair[0]])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_the_last_block_of_an_unaligned_vector(launch: Launch, dtype: str) -> None:
    """A span that starts in the middle of a piece may need one block more."""
    vec = ELEMENTS[dtype].vector
    for n in (256 * vec - 1, 256 * vec):
        with launch.on():
            theta, grad = (launch.array(np.ones(n), dtype_of(dtype), offset=vec - 1) for _ in range(2))
            launchers.sgd_step(theta, grad, None, SGD(lr=0.25), 1)
        np.testing.assert_array_equal(launch.numpy(theta), 0.75)


def test_by_hand(launch: Launch) -> None:
    """One element each, from the papers' formulas."""
    with launch.on():
        theta, grad, v = (launch.array(np.array([x]), np.float32) for x in (2.0, 0.5, 0.25))
        launchers.sgd_step(theta, grad, v, SGD(lr=0.1, momentum=0.9, nesterov=True), 2)
        assert launch.numpy(v)[0] == pytest.approx(0.9 * 0.25 + 0.5)
        assert launch.numpy(theta)[0] == pytest.approx(2 - 0.1 * (0.5 + 0.9 * 0.725))
        theta, m, s = (launch.array(np.array([x]), np.float32) for x in (2.0, 0.0, 0.0))
        launchers.adam_step(theta, grad, m, s, None, Adam(lr=0.1, eps=0.0, weight_decay=0.01), 1, True)
        assert launch.numpy(theta)[0] == pytest.approx(2 * (1 - 0.001) - 0.1)  # the first step is lr sign(g)
        theta, s = (launch.array(np.array([x]), np.float32) for x in (2.0, 0.0))
        launchers.adagrad_step(theta, grad, s, Adagrad(lr=0.1, eps=0.0), 1)
        assert launch.numpy(theta)[0] == pytest.approx(1.9)
        theta, s, u = (launch.array(np.array([x]), np.float32) for x in (2.0, 0.0, 0.0))
        launchers.adadelta_step(theta, grad, s, u, Adadelta(), 1)
        assert launch.numpy(theta)[0] == pytest.approx(
            2 - 0.5 * np.sqrt(1e-6 / (0.1 * 0.25 + 1e-6)), rel=1e-6
        )


def test_a_first_step_does_not_read_the_velocity(launch: Launch) -> None:
    with launch.on():
        theta, grad, v = (launch.array(np.full(5, x), np.float32) for x in (1.0, 2.0, np.nan))
        launchers.sgd_step(theta, grad, v, SGD(lr=0.1, momentum=0.9), 1)
    np.testing.assert_array_equal(launch.numpy(v), 2)


OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "eps": 1e-3}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "betas": (0.8, 0.95)}),
    ("AdamW", {"weight_decay": 0.1}),
]


def train(name: str, options: dict[str, Any], steps: int = 5) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A model of two groups trained by an optimizer and a schedule; theta and the moments."""
    xpnet.manual_seed(3)
    model = xpnet.nn.Sequential(xpnet.nn.Linear(6, 9), xpnet.nn.Tanh(), xpnet.nn.Linear(9, 3))
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.02}]
    optimizer = getattr(xpnet.optim, name)(groups, lr=0.01, **options)
    schedule = xpnet.optim.ExponentialLR(optimizer, gamma=0.9)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        optimizer.zero_grad()
        x = xpnet.asarray(rng.standard_normal((8, 6)).astype(np.float32))
        xpnet.functional.cross_entropy(model(xpnet.Tensor(x)), rng.integers(0, 3, 8)).backward()
        optimizer.step()
        schedule.step()
    moments = [
        {k: xpnet.to_numpy(v) for k, v in s.items() if k != "step"}
        for s in optimizer.state_dict()["state"].values()
    ]
    return np.concatenate([xpnet.to_numpy(p.data).ravel() for p in model.parameters()]), moments


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_training_with_the_kernels(launch: Launch, name: str, options: dict[str, Any]) -> None:
    with xpnet.fused(False):
        theta, moments = train(name, options)
    with launch.on(), registered(launch, launchers) as counted:
        found, states = train(name, options)
    assert (
        sum(counted.values()) >= 10
    )  # five steps of two groups, weights and biases alternating in the vector
    np.testing.assert_allclose(found, theta, rtol=2e-5, atol=2e-6)
    for a, b in zip(states, moments, strict=True):
        for key, value in b.items():
            np.testing.assert_allclose(a[key], value, rtol=1e-4, atol=1e-6)


def test_hyperparameters_are_written_when_they_change(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a captured launch needs: its array follows, and the host's part of a replay launches nothing."""
    monkeypatch.setattr(launchers, "_SLOTS", {})  # an earlier test's theta may have had this address
    with launch.on():
        theta, grad = (launch.array(np.full(5, x), np.float32) for x in (1.0, 1.0))
        step = lambda lr: launchers.sgd_step(theta, grad, None, SGD(lr=lr), 1)
        step(0.5)
        array = launchers._SLOTS[next(reversed(launchers._SLOTS))][1]
        recording = Recording()
        recording.device = launch.array(recording.host)
        with recording.during(Phase.CAPTURED):  # where launches are recorded; here they are made
            step(0.0)
        (write,) = recording.updates
        write(SGD(lr=0.25), 1)
        np.testing.assert_array_equal(recording.host[: recording.size].view(np.float32)[:3], [1, 0, 0.25])
        np.testing.assert_array_equal(launch.numpy(theta), 0.5)
        array[2] = 0.125  # the kernel reads the device
        step(0.5)  # no change as far as the host knows: nothing is written
        np.testing.assert_array_equal(launch.numpy(theta), 0.375)


def test_gradients_of_a_scaled_loss(launch: Launch) -> None:
    with launch.on():
        theta = launch.array(np.ones(5), np.float32)
        grad = launch.array(np.full(5, 1024.0), np.float16)
        state = launch.array(np.array([1024, 1 / 1024, 0, 0, 0]), np.float32)
        taken: list[bool] = []
        for undo, bad, expected in ((True, 0, 0.75), (True, 1, 0.75), (False, 0, 0.75 - 256)):
            state[scaled.FOUND] = bad
            with scaled.scaling.within(scaled.Scaling(state, undo, None, taken)):
                launchers.sgd_step(theta, grad, None, SGD(lr=0.25), 1)
            np.testing.assert_array_equal(launch.numpy(theta), expected)
    assert taken == [True] * 3


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_what_is_not_finite_is_found_wherever_it_is(launch: Launch, dtype: str) -> None:
    """In each place of an unaligned vector; what lies beside it does not count."""
    n = 2 * 256 * ELEMENTS[dtype].vector + 3
    for place, bad in ((None, 0.0), (0, np.inf), (n - 1, -np.inf), (n // 2, np.nan)):
        with launch.on():
            around = launch.array(np.full(n + 4, np.inf), dtype_of(dtype))
            grads = around[1 : n + 1]
            grads[...] = 6e4
            if place is not None:
                grads[place] = bad
            state = launch.array(np.zeros(5), np.float32)
            launchers.look(grads, state)
        np.testing.assert_array_equal(launch.numpy(state), [0, 0, 0, place is not None, 0])


def test_the_scale_adapts_as_its_formula_says(launch: Launch) -> None:
    constants = scaled.Constants(2.0, 0.5, 3, 2.0**10)
    rng = np.random.default_rng(0)
    arrays = [
        (np.array([512, 1 / 512, 0, 0, 0]), np.float32),
        (np.zeros(1), np.int64),
        (np.zeros(2), np.float64),
    ]
    with launch.on():
        ours = [launch.array(a, d) for a, d in arrays]
        theirs = [a.astype(d) for a, d in arrays]
        for bad in (*(rng.random(60) < 0.2), *[True] * 50):
            for state in (ours[0], theirs[0]):
                state[scaled.FOUND] = bad
            launchers.adapt(*ours, constants)
            scaled.adapt.body(*theirs, constants)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(launch.numpy(a), b)
    assert theirs[0][scaled.SCALE] == scaled.SMALLEST
    assert theirs[1][0] >> 32 == 110


def test_a_row_is_chosen_by_what_the_host_did_not_know(launch: Launch) -> None:
    """In a replay: two updates more have been left out than were known when the numbers were written."""
    with launch.on():
        theta, grad = (launch.array(np.full(5, x), np.float32) for x in (1.0, 1.0))
        state = launch.array(np.array([1, 1, 0, 0, 3]), np.float32)
        recording = Recording()
        recording.device = launch.array(recording.host)
        known = launch.array(np.array([1.0]), np.float32)
        with recording.during(Phase.CAPTURED), scaled.scaling.within(scaled.Scaling(state, True, known, [])):
            launchers.adagrad_step(theta, grad, launch.array(np.zeros(5), np.float32), Adagrad(lr=1.0), 1)
        rows = recording.host[: recording.size].view(np.float32).reshape(scaled.ROWS, -1)
        recording.updates[0](Adagrad(lr=1.0, lr_decay=1.0), 5)
        np.testing.assert_allclose(rows[:, 2], [1 / 5, 1 / 4, 1 / 3, 1 / 2])


def test_slots_are_few(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "_MOST", 3)
    monkeypatch.setattr(launchers, "_SLOTS", {})
    with launch.on():
        kept = [launch.array(np.full(2, 1.0), np.float32) for _ in range(5)]
        for i, theta in enumerate([*kept, *kept]):
            launchers.sgd_step(theta, kept[0] * 0 + 1, None, SGD(lr=0.25), 1)
            assert len(launchers._SLOTS) == min(i + 1, 3)
    np.testing.assert_array_equal([launch.numpy(t) for t in kept], 0.5)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x = launch.array(np.ones((4, 6)), np.float32)
    ones, wide = launch.array(np.ones(6), np.float32), launch.array(np.ones(6), np.float64)
    rest = (SGD(lr=0.1, momentum=0.9), 1)
    with launch.on():
        assert launchers.sgd_step(x[:, 0], ones[:4], None, *rest) is NotImplemented  # strided
        assert launchers.sgd_step(ones, x[:, 0], None, *rest) is NotImplemented
        assert launchers.sgd_step(ones, ones[:4], None, *rest) is NotImplemented  # another size
        assert launchers.sgd_step(ones, wide, None, *rest) is NotImplemented  # another dtype
        assert launchers.sgd_step(ones, ones, wide, *rest) is NotImplemented
    np.testing.assert_array_equal(launch.numpy(ones), 1)


@pytest.mark.parametrize("case", ["sgd nesterov", "adagrad", "adadelta", "rmsprop all", "adam amsgrad"])
def test_races(launch: Launch, case: str) -> None:
    """Small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    given = arrays(case, 1500, "float32", "float32")
    with launch.on(resident=2):
        found = launched(launch, case, given)
    compare(launch, found, reference(case, given), given, TOLERANCE["float32"])
