"""What changes on the host between the calls of a captured step: the numbers are those of the step itself.

Each case is run captured and as it is; `same` makes one of the two.
"""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.train import Callback, GradientClipping, Trainer


@pytest.fixture(autouse=True)
def captured_here(backend):
    if backend.name not in ("numpy", "cupy"):
        pytest.skip("nothing is captured there")


RNG = np.random.default_rng(0)
X = [RNG.standard_normal((6, 4), np.float32) for _ in range(8)]
Y = [RNG.integers(0, 3, 6) for _ in range(8)]


def same(function):
    return function


def made():
    xpnet.manual_seed(0)
    model = nn.mlp(4, [5], 3)
    return model, optim.SGD(model, lr=0.1)


def total(model):
    return [float(abs(p.data).sum()) for p in model.parameters()]


def batches(n=8):
    return [(xpnet.asarray(X[i % 8]), xpnet.asarray(Y[i % 8])) for i in range(n)]


def loss_of(model, x, y):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


def accumulation_inside(capture):
    model, optimizer = made()

    @capture
    def step(x, y, last):
        loss = loss_of(model, x, y)
        if last:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    for i, (x, y) in enumerate(batches(24)):
        step(x, y, i % 3 == 2)
    return total(model)


def a_step_outside(capture):
    model, optimizer = made()
    gradient = capture(lambda x, y: loss_of(model, x, y))
    for x, y in batches():
        optimizer.zero_grad()
        gradient(x, y)
        optimizer.step()
    return total(model)


def accumulation_outside(capture):
    model, optimizer = made()
    gradient = capture(lambda x, y: loss_of(model, x, y))
    for i, (x, y) in enumerate(batches(12)):
        gradient(x, y)
        if i % 2:
            optimizer.step()
            optimizer.zero_grad()
    return total(model)


def usual(model, optimizer, after=lambda: None):
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        optimizer.step()
        after()
        return loss

    return step


def gradients_forgotten_between(capture):
    model, optimizer = made()
    step = capture(usual(model, optimizer))
    for x, y in batches():
        optimizer.zero_grad()
        step(x, y)
    return total(model), [float(abs(p.grad).sum()) for p in model.parameters()]


def a_gradient_from_outside(capture):
    model, optimizer = made()

    @capture
    def step(x, y):
        loss = loss_of(model, x, y)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    for i, (x, y) in enumerate(batches()):
        if i == 5:
            loss_of(model, x, y)
        step(x, y)
    return total(model)


def inference_of_a_model_that_moves(capture):
    model, _ = made()
    apply = capture(lambda x: model(x))
    found = []
    with xpnet.no_grad():
        for x, _ in batches():
            found.append(float(apply(x).data[0, 0]))
        model.to("numpy").to(xpnet.get_backend().name)
        found.append(float(apply(x).data[0, 0]))
        for p in model.parameters():
            p.data = p.data * 0.5
        found.append(float(apply(x).data[0, 0]))
        model[1] = nn.Tanh()
        found.append(float(apply(x).data[0, 0]))
    return found


def a_schedule_inside(capture):
    model, optimizer = made()
    schedule = optim.StepLR(optimizer, 2)
    step = capture(usual(model, optimizer, schedule.step))
    for x, y in batches():
        step(x, y)
    return total(model), optimizer.param_groups[0]["lr"]


def numbers_of_numpy(capture):
    scale = capture(lambda x, s: x * s)
    one = xpnet.asarray(np.ones(2, np.float32))
    return [float(scale(one, s)[0]) for s in np.linspace(0, 1, 12, dtype=np.float32)]


def signs_of_zero(capture):
    sign = capture(lambda x, s: x / s)
    one = xpnet.asarray(np.ones(1, np.float32))
    return [float(sign(one, s)[0]) for s in [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, -0.5, -0.5, -0.5]]


def an_argument_that_is_written(capture):
    def add(x, total):
        total[...] = total + x.sum()
        return x

    add = capture(add)
    x, sum_ = (xpnet.asarray(np.full(n, 1, np.float32)) for n in (2, 1))
    found = []
    for _ in range(6):
        add(x, sum_)
        found.append(float(sum_[0]))
    return found


def an_argument_that_is_written_at_times(capture):
    """In the call that is captured, and in the next, nothing changes."""

    def add(x, total):
        total += x
        return x

    add, total = capture(add), xpnet.asarray(np.zeros(2, np.float32))
    found = []
    for i in range(7):
        add(xpnet.asarray(np.full(2, i if i not in (2, 3) else 0, np.float32)), total)
        found.append(float(total[0]))
    return found


def a_leaf_that_gets_another_array(capture):
    w = xpnet.tensor([1.0, 2.0], requires_grad=True)

    @capture
    def step(x):
        w._forget()
        loss = (w * w * x).sum()
        loss.backward()
        return loss

    found = []
    for i in range(8):
        if i == 5:
            w.data = xpnet.asarray(np.array([3, 4], np.float32))
        found.append((float(step(xpnet.asarray(np.ones(2, np.float32)))), xpnet.to_numpy(w.grad).tolist()))
    return found


def an_argument_that_wants_a_gradient(capture):
    square = capture(lambda x: (x * x).sum())
    data = xpnet.asarray(X[0])
    for _ in range(5):
        square(xpnet.Tensor(data))
    x = xpnet.Tensor(data, requires_grad=True)
    square(x).backward()
    return float(abs(x.grad).sum())


def constants_of_transforms(capture):
    model, _ = made()
    decay, clip = optim.Decay(0.01), optim.ClipNorm(1.0)
    step = capture(usual(model, optim.chain(decay, clip, optim.SGD(model, lr=0.1))))
    for i, (x, y) in enumerate(batches(12)):
        decay.weight_decay, clip.max_norm = (0.5, 0.1) if i > 5 else (0.01, 1.0)
        step(x, y)
    return total(model)


def a_loss_that_is_captured(capture):
    model, optimizer = made()
    weight = xpnet.asarray(np.array([1, 5, 0.1], np.float32))
    loss = capture(lambda z, y: F.cross_entropy(z, y, weight=weight))
    data = Dataset(np.concatenate(X), np.concatenate(Y))
    return Trainer(model, loss, optimizer).fit(DataLoader(data, 8), DataLoader(data, 20), epochs=2)[
        "val_loss"
    ]


CASES = [
    accumulation_inside,
    a_step_outside,
    accumulation_outside,
    gradients_forgotten_between,
    a_gradient_from_outside,
    inference_of_a_model_that_moves,
    a_schedule_inside,
    numbers_of_numpy,
    signs_of_zero,
    an_argument_that_is_written,
    an_argument_that_is_written_at_times,
    a_leaf_that_gets_another_array,
    an_argument_that_wants_a_gradient,
    constants_of_transforms,
    a_loss_that_is_captured,
]


@pytest.mark.filterwarnings("ignore:capture")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_between_calls(case, backend):
    if case is an_argument_that_is_written_at_times and backend.name == "cupy":
        pytest.skip("a graph is not asked where it writes: its first replay shows (docs/pages/capture.md)")
    assert case(xpnet.capture) == case(same)


class Forgets(Callback):
    def on_batch_end(self, run):
        run.optimizer.zero_grad()


CHANGES = {
    "clipping": lambda t: t.callbacks.append(GradientClipping(norm=0.01)),
    "a penalty": lambda t: setattr(t, "l2", 0.5),
    "accumulation": lambda t: setattr(t, "accumulate", 3),
    "another loss": lambda t: setattr(t, "loss", lambda z, y: F.cross_entropy(z, y, label_smoothing=0.3)),
    "another optimizer": lambda t: setattr(t, "optimizer", optim.SGD(t.model, lr=0.01)),
    "a callback that forgets gradients": lambda t: t.callbacks.append(Forgets()),
}


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("what", list(CHANGES))
def test_a_trainer_that_changes_between_fits(what, accumulate):
    def fitted(capture):
        model, optimizer = made()
        data = Dataset(np.concatenate(X), np.concatenate(Y))
        trainer = Trainer(model, F.cross_entropy, optimizer, accumulate=accumulate, capture=capture)
        trainer.fit(DataLoader(data, 8), epochs=3)
        CHANGES[what](trainer)
        trainer.fit(DataLoader(data, 8), epochs=3)
        return total(trainer.model)

    assert fitted(True) == fitted(False)


def test_unknown_arguments_are_refused():
    scale = xpnet.capture(lambda x, f: f(x))
    with pytest.warns(RuntimeWarning, match="an argument is a function, whose changes would not be seen"):
        scale(xpnet.asarray(X[0]), lambda x: x * 2)


def test_a_number_that_changes_in_each_call_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("xpnet.core.capture.MOST_KINDS", 3)
    scale, x = xpnet.capture(lambda x, s: x * s), xpnet.asarray(np.ones(2, np.float32))
    found = [float(scale(x, float(s))[0]) for s in range(3)]
    with pytest.warns(
        RuntimeWarning, match="3 kinds of arguments, others run as they are; pass what changes"
    ):
        found.append(float(scale(x, 3.0)[0]))
    found.append(float(scale(x, 4.0)[0]))  # in silence: it has been said
    assert found == [0, 1, 2, 3, 4]


def test_a_list_that_is_changed_is_refused():
    def keep(x, seen):
        seen.append(x * 2)
        return x

    step, seen = xpnet.capture(keep), []
    x = xpnet.asarray(X[0])
    step(x, [])
    step(x, [])
    with pytest.warns(RuntimeWarning, match="it changes a list or dict"):
        step(x, seen)
    assert seen


def test_batches_in_reverse_are_multiplied():
    from xpnet.core.arrays import matmul

    a, b = (xpnet.asarray(RNG.standard_normal(s, np.float32)) for s in ((5, 3, 4), (5, 4, 2)))
    want = xpnet.to_numpy(a)[::-1] @ xpnet.to_numpy(b)
    np.testing.assert_allclose(xpnet.to_numpy(matmul(a[::-1], b)), want, rtol=1e-5, atol=1e-6)
