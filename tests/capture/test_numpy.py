"""Captured steps on NumPy: what is written down makes the same bits, and what is not is refused."""

import itertools
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnet
from tests.every_layer import LAYERS, SEVERAL, sample
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.core import op as ops
from xpnet.core.recording import CaptureError, on_host

pytestmark = pytest.mark.host
RNG = np.random.default_rng(0)


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.tobytes() == b.tobytes()


# averages whose weight changes from step to step, which the fourth call shows
NOT_CAPTURED = {"BatchNorm2d, the average"}


def several(shapes, seed):
    rng = np.random.default_rng(seed)
    return tuple(s if isinstance(s, np.ndarray) else rng.normal(size=s).astype(np.float32) for s in shapes)


@pytest.mark.parametrize("name", [*LAYERS, *SEVERAL])
def test_every_layer(name):
    """Seven steps of each layer, on other data each time, with and without."""
    make, shape = (LAYERS | SEVERAL)[name]
    data = [(sample(make(), shape, seed=i),) if name in LAYERS else several(shape, i) for i in range(7)]

    def run(captured):
        xpnet.manual_seed(3)
        layer = make()
        trained = list(layer.parameters())
        optimizer = optim.Adam(trained, lr=0.1) if trained else None

        def step(*x):
            if optimizer:
                optimizer.zero_grad()
            y = layer(*x)
            y = y[0] if isinstance(y, tuple) else y
            loss = (y * y).mean()
            if optimizer:
                loss.backward()
                optimizer.step()
            return loss, y

        step = xpnet.capture(step) if captured else step
        found = [step(*map(xpnet.asarray, x)) for x in data]
        if captured:
            assert step.graphs == (name not in NOT_CAPTURED)
        state = layer.state_dict().values()
        return [xpnet.to_numpy(v) for v in [*(v for pair in found for v in pair), *state]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if name in NOT_CAPTURED else "error", RuntimeWarning)
        captured = run(True)
    for a, b in zip(captured, run(False), strict=True):
        same_bits(a, b)


LABELS = RNG.integers(0, 3, (12, 8))
SOME = np.where(RNG.random((12, 8)) < 0.4, -100, LABELS)
NOW_AND_THEN = {
    "from the third batch on": np.where(np.arange(12)[:, None] < 3, LABELS, SOME),
    "at first": np.where(np.arange(12)[:, None] < 8, SOME, LABELS),
    "every other batch, all of one": np.where(
        np.arange(12)[:, None] == 8, -100, np.where(np.arange(12)[:, None] % 2, SOME, LABELS)
    ),
}


@pytest.mark.parametrize("labels", NOW_AND_THEN.values(), ids=NOW_AND_THEN)
@pytest.mark.parametrize("weight", [None, np.float32([1, 2, 5])])
@pytest.mark.parametrize("form", ["rows", "positions"])
def test_labels_are_ignored_in_some_batches(labels, weight, form):
    """Without any the losses go another way: each has a program of its own."""
    x = np.random.default_rng(1).normal(size=(12, 8, 4)).astype(np.float32)

    def run(captured):
        xpnet.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.5))
        optimizer = optim.Adam(model, lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            z = model(x)
            z = z if form == "rows" else z.reshape((2, 4, 3)).transpose(0, 2, 1)
            loss = F.cross_entropy(z, y, weight)
            loss.backward()
            optimizer.step()
            return loss

        step = xpnet.capture(step) if captured else step
        shape = (8,) if form == "rows" else (2, 4)
        found = [step(a, b.reshape(shape)) for a, b in zip(x, labels, strict=True)]
        assert not captured or step.graphs == 2
        return [xpnet.to_numpy(a) for a in (*found, *model.state_dict().values())]

    for a, b in zip(run(True), run(False), strict=True):
        same_bits(a, b)


def test_labels_that_a_step_makes_itself_end_it_where_some_are_to_be_ignored():
    """A replay cannot see before what they will be, and what it did until then is done."""
    model = nn.Linear(4, 3)
    step = xpnet.capture(lambda x, y: F.cross_entropy(model(x), y[1:]))
    x, y = np.zeros((4, 4), np.float32), np.array([0, 1, 2, 0, 1])
    for _ in range(4):
        step(x, y)
    with pytest.raises(CaptureError, match=r"values of another kind .* such as labels to be ignored"):
        step(x, np.where(y == 2, -100, y))


def test_a_replay_makes_no_tensors_and_runs_no_body(monkeypatch):
    model = nn.mlp(6, [5], 3, batch_norm=True, dropout=0.1)
    optimizer = optim.Adam(model, lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    captured, x, y = xpnet.capture(step), RNG.standard_normal((8, 6), np.float32), np.arange(8) % 3
    losses = [captured(x, y).item() for _ in range(4)]
    monkeypatch.setattr(ops, "run_numpy", None)  # an op would need it
    monkeypatch.setattr(nn.Linear, "forward", None)
    losses += [captured(x, y).item() for _ in range(4)]
    assert losses[-1] < losses[0]


# ---- any program -------------------------------------------------------------------------------------------

STEPS = {
    "tanh": np.tanh,
    "square": lambda x: x * x,
    "in place": lambda x: np.add(x, 0.5, out=x.copy()),
    "+=": lambda x: _added(x.copy()),
    "reversed": lambda x: x[::-1].copy(),
    "columns": lambda x: x[:, [2, 0, 1]],
    "written": lambda x: _written(x.copy()),
    "turned": lambda x: x.T.reshape(x.shape),
    "row sums": lambda x: x / (1 + abs(x).sum(axis=1, keepdims=True)),
    "maximum": lambda x: np.maximum(x, x.mean()),
    "where": lambda x: np.where(x > 0, x, -x),
    "sorted": lambda x: np.sort(x, axis=0),
    "sorts": lambda x: _sorted(x.copy()),
    "arg": lambda x: x + np.argmax(x, axis=1)[:, None],
    "joined": lambda x: np.concatenate([x[:2], x[2:] * 2]),
    "stacked": lambda x: np.stack([x, x + 1]).sum(axis=0),
    "split": lambda x: np.concatenate(np.split(x, 2)[::-1]),
    "cumulated": lambda x: np.cumsum(x, axis=1),
    "cast": lambda x: x.astype(np.float64).astype(np.float32),
    "product": lambda x: x @ np.ones((3, 3), np.float32),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x)[:, :3],
    "clipped": lambda x: x.clip(-0.5, 0.5),
    "var": lambda x: x - x.var(),
    "put": lambda x: _put(x.copy()),
    "at": lambda x: _at(x.copy()),
    "modf": lambda x: np.modf(x * 3)[0],
    "taken": lambda x: x.take([0, 3, 2], axis=0)[[0, 1, 2, 0]],
    "a row": lambda x: x + x[0],
    "an element": lambda x: x * x[0, 0],
    "repeated": lambda x: np.repeat(x, 2, axis=0)[::2],
    "padded": lambda x: np.pad(x, 1)[1:-1, 1:-1],
    "empty": lambda x: np.copyto(y := np.empty_like(x), x) or y,
    # what NumPy does not tell of: the values are right all the same
    "by the mask": lambda x: x - x[x > 0].sum(),
    "by a value": lambda x: x if x[0, 0] > 0 else -x,
    "into plain": lambda x: _into(np.zeros(x.shape, np.float32), x),
    "through asarray": lambda x: np.asarray(x).view(np.ndarray) * 2,
    "a number": lambda x: x * float(x.max()),
}


def _added(x):
    x += 1
    x *= x
    return x


def _written(x):
    x[1:3] = x[:2] * 2
    x[:, 0] = 7
    return x


def _sorted(x):
    x.sort(axis=1)
    return x


def _put(x):
    x.put([1, 5], [3, 4])
    x[x > 1] = 0
    return x


def _at(x):
    np.add.at(x, (np.array([0, 0, 1]),), x[:3])
    return x


def _into(y, x):
    y[...] = x
    return y + x


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.integers(0, 1000))
def test_any_program(names, seed):
    """A function of arrays and a state that it moves: the same bits, whether it is captured or refused."""
    rng = np.random.default_rng(seed)
    data = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(6)]

    def run(wrap):
        state = np.ones((4, 3), np.float32)

        @wrap
        def function(x):
            for name in names:
                x = STEPS[name](x)
                x = x[:4] / (1 + abs(x[:4]))
            np.multiply(state, 0.5, out=state)
            np.add(state, x, out=state)
            return x, state

        return [(a.copy(), b.copy()) for a, b in (function(x.copy()) for x in data)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        captured = run(xpnet.capture)
    for pair, other in zip(captured, run(lambda f: f), strict=True):
        for a, b in zip(pair, other, strict=True):
            same_bits(a, b)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("by the mask", r"depends on values \(x\[mask\]\)"),
        ("by a value", r"it looks at values \(bool\)"),
        ("a number", r"it looks at values \(float\)"),
        ("into plain", "its calls give other values|cannot be followed"),
        ("through asarray", "its calls give other values"),
    ],
)
def test_what_is_not_seen_is_refused(name, why):
    step = xpnet.capture(lambda x: STEPS[name](x))

    def calls():
        for i in range(5):
            x = np.random.default_rng(i).standard_normal((4, 3)).astype(np.float32)
            same_bits(step(x), STEPS[name](x))

    with pytest.warns(RuntimeWarning, match=why):
        calls()
    assert step.graphs == 0


def test_two_threads():
    """One of them runs the function itself while the other is in the program's memory."""
    weight = RNG.standard_normal((64, 64)).astype(np.float32)
    step = xpnet.capture(lambda x: np.tanh(x @ weight) @ weight)
    data = [RNG.standard_normal((64, 64)).astype(np.float32) for _ in range(8)]
    for x in data[:4]:
        step(x)
    assert step.graphs == 1
    wrong = []

    def work():
        for _ in range(100):
            for x in data:
                if step(x).tobytes() != (np.tanh(x @ weight) @ weight).tobytes():
                    wrong.append(x)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_gradients_that_are_kept_at_times_are_an_error():
    """Work of one's own on the host forgets gradients in each fourth call: that is another step."""
    model, counts = nn.Linear(3, 2), itertools.count()
    optimizer = optim.SGD(model, lr=0.1)

    @on_host
    def forget():
        if next(counts) % 4 == 0:
            optimizer.zero_grad()

    def step(x):
        forget()
        loss = (model(x) ** 2).sum()
        loss.backward()
        return loss

    captured, x = xpnet.capture(step), np.ones((4, 3), np.float32)
    for _ in range(4):
        captured(x)
    assert captured.graphs == 1
    with pytest.raises(CaptureError, match="finds a parameter with a gradient"):
        captured(x)


def test_an_error_in_the_step_is_that_of_the_step():
    calls = []

    def step(x):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("third")
        return x * 2

    step, x = xpnet.capture(step), np.ones(3, np.float32)
    step(x)
    step(x)
    with pytest.raises(KeyError, match="third"):
        step(x)
    assert step(x).tolist() == [2, 2, 2]
    assert len(calls) == 4
