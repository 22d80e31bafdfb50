"""Captured steps: the same bits as without, what a replay asks of the device, and what is refused."""

import gc
import os
import warnings

import numpy as np
import pytest

import xpnet
from bench.cases.base import Inputs
from bench.cases.networks import CNNStep, ResNetStep
from bench.cases.steps import BatchNormDropoutMLP, CifarMLP, MnistMLP, TinyMLP
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.core.convert import to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.train import EMA, Checkpoint, GradientClipping, GradientNoise, Trainer
from xpnet.train.learning_rate import LearningRate

CLASSES = 5


@pytest.fixture(autouse=True)
def captured_here(backend):
    if backend.name not in ("numpy", "cupy"):
        pytest.skip("nothing is captured there")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what cannot be captured says so by a warning
        yield


def network():
    return nn.Sequential(
        *(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.25)),
        *(nn.Linear(32, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, CLASSES)),
    )


def batches(n, rows=32):
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((rows, 20), np.float32), rng.integers(0, CLASSES, rows)) for _ in range(n)]


def training(model, optimizer, between=lambda: None, loss=F.cross_entropy):
    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        between()
        optimizer.step()
        return value

    return step


def trained(optimizer_of, captured, steps=40, between=None, schedule=None):
    """Losses and the whole state after some steps."""
    xpnet.manual_seed(1)
    model = network()
    optimizer = optimizer_of(model)
    step = training(model, optimizer, between(model) if between else lambda: None)
    step = xpnet.capture(step) if captured else step
    schedule = schedule and schedule(optimizer)
    losses = []
    for x, y in batches(steps):
        losses.append(step(xpnet.asarray(x), xpnet.asarray(y)))
        if schedule:
            schedule.step()
    if captured:
        assert step.graphs == 1
    state = optimizer.state_dict()["state"]
    moments = [to_numpy(v) for values in state.values() for v in values.values()]
    buffers = [to_numpy(v) for v in model.state_dict().values()]
    return [loss.item() for loss in losses], [*moments, *buffers], xpnet.random.generator_state()


def assert_same(found, want):
    assert found[0] == want[0]
    for a, b in zip(found[1], want[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[2] == want[2]


RULES = {
    "sgd": lambda m: optim.SGD(m, lr=0.1),
    "nesterov": lambda m: optim.SGD(m, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda m: optim.Adam(m, lr=0.01),
    "adamw": lambda m: optim.AdamW(m, lr=0.01, weight_decay=0.1),
    "adagrad": lambda m: optim.Adagrad(m, lr=0.05, lr_decay=0.01),
    "adadelta": lambda m: optim.Adadelta(m),
    "rmsprop": lambda m: optim.RMSprop(m, lr=0.01, momentum=0.5, centered=True),
    "a rate that is a function": lambda m: optim.Adam(m, lr=lambda t: 0.01 / (1 + t / 10)),
    "groups": lambda m: optim.SGD(
        [{"params": [p for p in m.parameters() if p.ndim > 1], "weight_decay": 0.1},
         {"params": [p for p in m.parameters() if p.ndim < 2], "lr": 0.02}], lr=0.1, momentum=0.9,
    ),
    "chain": lambda m: optim.chain(
        optim.ClipValue(0.1), optim.ClipNorm(0.5), optim.Noise(1e-3), optim.Decay(1e-3), optim.Adam(m)
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", list(RULES))
def test_the_bits_are_those_of_eager_steps(rule):
    assert_same(trained(RULES[rule], True), trained(RULES[rule], False))


def test_schedules_and_what_comes_between():
    def between(model):
        noise = optim.GradientNoise(model, eta=1e-3)
        return lambda: (optim.clip_grad_norm(model, 0.5), noise())

    schedule = lambda optimizer: optim.CosineAnnealingLR(optimizer, 20)
    both = [trained(RULES["nesterov"], c, between=between, schedule=schedule) for c in (True, False)]
    assert_same(*both)


def test_16_bit_models_with_float32_masters():
    def run(captured):
        xpnet.manual_seed(0)
        model = nn.mlp(20, [16], CLASSES, dtype="float16")
        optimizer = optim.Adam(model, lr=0.01)
        step = training(model, optimizer)
        step = xpnet.capture(step) if captured else step
        losses = [step(*map(xpnet.asarray, (x.astype(np.float16), y))).item() for x, y in batches(20)]
        return losses, [to_numpy(p.data) for p in model.parameters()], None

    assert_same(run(True), run(False))


CASES = [  # and steps of each, where not all take 200
    (TinyMLP(32), 200),
    (MnistMLP(16), 50),
    (BatchNormDropoutMLP(16), 50),
    (CifarMLP(2), 20),
    (CNNStep(2), 20),
    (ResNetStep(2, blocks=1), 10),
]


@pytest.mark.parametrize(("case", "steps"), [pytest.param(*c, id=c[0].name) for c in CASES])
def test_the_benchmarks_networks(case, steps):
    """Steps of the same bits, the last of which asks for one graph and one copy; XP_LADDER=1: 200 of each."""
    rng = np.random.default_rng(0)
    shared, sets = case.shared(rng), [case.inputs(rng) for _ in range(4)]
    steps = 200 if "XP_LADDER" in os.environ else steps

    def run(captured):
        xpnet.manual_seed(0)
        model = case.model()
        for p, value in zip(model.parameters(), Inputs(shared, sets).shared["parameters"], strict=True):
            p.data[...] = xpnet.asarray(value)
        step = training(model, case.optimizer(optim, model))
        step = xpnet.capture(step) if captured else step
        data = [(xpnet.asarray(s["x"]), xpnet.asarray(s["y"])) for s in sets]
        losses = [loss.item() for loss in [step(*data[i % 4]) for i in range(steps)]]  # whose memory is free
        if captured:
            asked(lambda: step(*data[0]))
        else:
            step(*data[0])
        return losses, [to_numpy(model.theta)], None

    assert_same(run(True), run(False))


def asked(step):
    """What a replay asks of the emulated device; a GPU does not tell."""
    try:
        import cpucuda
    except ImportError:
        return step()
    gc.collect()
    with cpucuda.count() as n:
        result = step()
    assert n.graphs == 1, n
    assert n.launches == n.products == 0, n
    assert n.synchronisations == n.device_to_host == n.allocations == n.frees == 0, n
    assert n.host_to_device <= 1, n
    return result


# ---- the Trainer ------------------------------------------------------------------------------------------


def fitted(tmp_path, captured, epochs=6, resume=None, weighted=True, **options):
    xpnet.manual_seed(1)
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((100, 20), np.float32), rng.integers(0, CLASSES, 100))
    model = network()
    optimizer = optim.Adam(model, lr=0.01)
    callbacks = [
        GradientClipping(norm=0.5),
        GradientNoise(1e-4),
        EMA(0.9),
        LearningRate(optim.CosineAnnealingLR(optimizer, 6)),
        Checkpoint(tmp_path / f"{captured}.ckpt"),
    ]
    weight = xpnet.asarray(np.array([1, 2, 0.5, 1, 3], np.float32))
    loss = lambda z, y: F.cross_entropy(z, y, weight=weight if weighted else None)
    trainer = Trainer(model, loss, optimizer, callbacks, capture=captured, **options)
    history = trainer.fit(DataLoader(data, 16), data, epochs=epochs, resume=resume)
    assert made(trainer) == captured
    kept = {name: history[name] for name in ("train_loss", "val_loss", "val_accuracy", "lr")}
    return kept, [to_numpy(v) for v in model.state_dict().values()], xpnet.random.generator_state()


def made(trainer):
    """Whether a graph has been made of the work of a Trainer."""
    work = trainer.train_step.captured
    return work is not None and work._captured is not None and work._captured.graphs > 0


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 3}, {"accumulate": 3, "weighted": False}, {"l2": 1e-3}], ids=str
)
def test_trainer(tmp_path, options):
    """With class weights, clipping, noise, EMA, a schedule; the last batch of an epoch is smaller."""
    assert_same(fitted(tmp_path, True, **options), fitted(tmp_path, False, **options))


def test_a_captured_run_resumes_to_the_bit(tmp_path):
    whole = fitted(tmp_path, False)
    fitted(tmp_path, True, epochs=3)
    assert_same(fitted(tmp_path, True, resume=tmp_path / "True.ckpt"), whole)


def test_trainer_says_what_it_cannot_capture():
    class Mine(GradientClipping):
        capturable = False

    model = network()
    optimizer = optim.SGD(model, lr=0.1)
    x, y = batches(1)[0]
    trainer = Trainer(model, F.cross_entropy, optimizer, [Mine(norm=1.0)], capture=True)
    with pytest.warns(RuntimeWarning, match="capture=True has no effect: Mine works between backward and"):
        trainer.fit((x, y), epochs=1)


# ---- what changes between calls ---------------------------------------------------------------------------


def plain():
    """Without dropout, whose stream two networks would share."""
    return nn.mlp(20, [32, 16], CLASSES, batch_norm=True)


def ready(make=network, **options):
    """A captured step after its warm-up, with its model and optimizer."""
    xpnet.manual_seed(0)
    model = make()
    optimizer = optim.SGD(model, lr=0.1, **options)
    step = xpnet.capture(training(model, optimizer))
    data = [(xpnet.asarray(x), xpnet.asarray(y)) for x, y in batches(8)]
    for x, y in data[:3]:
        step(x, y)
    assert step.graphs == 1
    return step, model, optimizer, data


def test_results_are_the_callers():
    step, _, _, data = ready()
    first = step(*data[0])
    value = first.item()
    step(*data[1])
    assert first.item() == value


def test_each_shape_and_setting_has_a_graph():
    step, _, _, _ = ready()
    small = [(xpnet.asarray(x), xpnet.asarray(y)) for x, y in batches(3, rows=8)]
    for x, y in small:
        step(x, y)
    assert step.graphs == 2
    with xpnet.matmul_precision("tf32"):
        for x, y in small:
            step(x, y)
    assert step.graphs == 3


def test_a_layer_that_changes_its_mode_is_captured_anew():
    step, model, _, data = ready()
    model[3].eval()  # dropout
    before = xpnet.random.generator_state()
    step(*data[0])
    assert xpnet.random.generator_state() == before
    model[3].train()
    step(*data[0])
    assert xpnet.random.generator_state() != before


CHANGES = {
    "another probability": lambda model: setattr(model[3], "p", 0.5),
    "another momentum": lambda model: setattr(model[1], "momentum", 0.5),
    "a frozen layer": lambda model: [p.requires_grad_(False) for p in model[4].parameters()],
    "a layer that is trained again": lambda model: [p.requires_grad_(True) for p in model[4].parameters()],
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_change_of_the_network_is_captured_anew(what):
    def run(captured):
        step, model, optimizer, data = ready()
        step = step if captured else training(model, optimizer)
        losses = [step(*d).item() for d in data[:2]]
        CHANGES[what](model)
        losses += [step(*d).item() for d in data]
        return losses, [to_numpy(v) for v in model.state_dict().values()], xpnet.random.generator_state()

    assert_same(run(True), run(False))


def test_draws_are_those_of_a_fork():
    step, _, _, data = ready()
    outside = xpnet.random.generator_state()
    for _ in range(2):
        with xpnet.random.forked(5):
            step(*data[0])
            assert xpnet.random.generator_state() != outside
            first = xpnet.random.generators[xpnet.random.DROPOUT].state
        assert first[0] == 5
        assert first[2] == 1
    assert xpnet.random.generator_state() == outside


def test_parameters_that_move_are_found_again(second):
    """Other memory: the graph would write where they were."""
    step, model, _, data = ready(plain, momentum=0.9)
    other, twin, _, _ = ready(plain, momentum=0.9)
    model.to("numpy").to("cupy")
    losses = [(step(*d).item(), other(*d).item()) for d in data]
    assert all(a == b for a, b in losses)
    np.testing.assert_array_equal(to_numpy(model.theta), to_numpy(twin.theta))


def test_hyperparameters_may_change():
    step, _, optimizer, data = ready(plain, momentum=0.9)
    _, twin, others, _ = ready(plain, momentum=0.9)
    for d in data:
        for o in (optimizer, others):
            o.param_groups[0]["lr"] *= 0.5
            o.param_groups[0]["momentum"] *= 0.9
        assert step(*d).item() == training(twin, others)(*d).item()


def test_labels_may_come_from_the_host():
    step, _, _, _ = ready(plain)
    _, twin, others, _ = ready(plain)
    for x, y in batches(5):
        assert step(xpnet.asarray(x), y).item() == training(twin, others)(xpnet.asarray(x), y).item()


def test_a_wrong_label_in_a_replay_is_an_error(backend):
    step, _, _, data = ready()
    x, _ = data[0]
    with pytest.raises(ValueError, match=f"label {CLASSES}( of row 0)? is out of range"):
        step(x, xpnet.asarray(np.full(32, CLASSES))).item()
    if backend.name == "numpy":  # where it is seen before anything is computed
        assert np.isfinite(step(*data[1]).item())


def test_wrong_shapes_are_errors_as_without():
    step, _, _, data = ready()
    with pytest.raises(ValueError, match="does not fit a weight of shape"):
        step(data[0][0][:, :7], data[0][1])


# ---- what cannot be captured ------------------------------------------------------------------------------


class Own(optim.Optimizer):
    lr: float = 0.1

    def update(self, span):
        span.values[...] -= self.hyper(span) * span.grads

    @staticmethod
    def hyper(span):
        return span.h.lr


class Mine(optim.Transform):
    def update(self, spans):
        return True


def waits(model, optimizer):
    step = training(model, optimizer)
    return lambda x, y: xpnet.asarray([step(x, y).item()])


def number(model, optimizer):
    step = training(model, optimizer)
    return lambda x, y: (step(x, y), 0.5)


def averaging():
    return nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, CLASSES))


# what, and why: on CuPy, and on NumPy, where updates are work of the host, and the fourth call is compared
REFUSED = {
    "a wait": (network, RULES["sgd"], waits, "capture", r"it looks at values \(item\)"),
    "a number": (network, RULES["sgd"], number, "it returns 0.5, a float", "it returns 0.5, a float"),
    "a rule without a kernel": (network, Own, training, "Own has no kernel for these parameters", None),
    "a plain average": (
        averaging, RULES["sgd"], training, "BatchNorm1d with momentum=None", "its calls give other values",
    ),
    "some steps only": (
        network, lambda m: optim.chain(optim.Accumulate(2), optim.SGD(m, lr=0.1)), training,
        "Accumulate m", None,
    ),
    "every k-th step": (
        network, lambda m: optim.Lookahead(optim.SGD(m, lr=0.1), k=2), training,
        "Lookahead does something", None,
    ),
    "weights of steps": (
        network, lambda m: optim.SGDScheduleFree(m, lr=0.1), training,
        "SGDScheduleFree weighs each step", None,
    ),
    "a transform of one's own": (
        network, lambda m: optim.chain(Mine(), optim.SGD(m, lr=0.1)), training,
        "Mine may do something", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused_trains_as_it_is(name, backend):
    """It says why, once, and the bits are those of eager steps: nothing of the attempt is left."""
    make, rule, step_of, *reasons = REFUSED[name]
    reason = reasons[backend.name == "numpy"]
    told = 3 if reason == "its calls give other values" else 2
    if backend.name == "cupy" and name not in ("a wait", "a number", "a rule without a kernel"):
        told = 0  # nothing has been trained

    def run(captured):
        xpnet.manual_seed(0)
        model = make()
        step = step_of(model, rule(model))
        step = xpnet.capture(step) if captured else step
        losses = []
        for i, (x, y) in enumerate(batches(6)):
            x, y = xpnet.asarray(x), xpnet.asarray(y)
            if captured and i == told and reason:
                with pytest.warns(RuntimeWarning, match=reason):
                    result = step(x, y)
            else:
                result = step(x, y)
            losses.append(float(to_numpy(result[0] if isinstance(result, tuple) else result).reshape(())))
        return losses, [to_numpy(v) for v in model.state_dict().values()], xpnet.random.generator_state()

    assert_same(run(True), run(False))


def test_without_fused_kernels_it_runs_as_it_is(cupy):
    model = network()
    step = xpnet.capture(training(model, optim.SGD(model, lr=0.1)))
    x, y = map(xpnet.asarray, batches(1)[0])
    with xpnet.fused(False):
        step(x, y)
        step(x, y)
        with pytest.warns(RuntimeWarning, match="the fused kernels are off"):
            step(x, y)


def test_an_argument_with_a_gradient_is_refused():
    step = xpnet.capture(lambda x: (x * x).sum().backward())
    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        x.grad = None
        step(x)
    x.grad = None
    with pytest.warns(RuntimeWarning, match="an argument requires a gradient"):
        step(x)
    assert to_numpy(x.grad).tolist() == [2.0, 4.0]
