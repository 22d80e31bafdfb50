"""CuPy: indices, constants of captured ops, and whatever is no op, on the device of its arrays."""

import threading

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.ensemble import Ensemble, average_weights
from xpnet.train import Trainer, accuracy, recompute_batch_norm

pytestmark = pytest.mark.usefixtures("cupy")


def network():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def data():
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    return x, np.arange(8) % 3


# ---- indices and constants --------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [[0, 9], [-9]])
@pytest.mark.parametrize("where", ["host", "device"])
def test_an_index_out_of_range_is_refused(index, where):
    t = xpnet.tensor(np.arange(4, dtype=np.float32))
    index = np.array(index)
    with pytest.raises((IndexError, ValueError)):
        to_numpy(t[index if where == "host" else xpnet.asarray(index)])


@pytest.fixture
def stream(cupy):
    from xpnet.core import arrays

    arrays._ARANGES.clear()
    xpnet.get_backend()
    stream = cupy.cuda.Stream(non_blocking=True)
    with xpnet.fused(False), stream:
        yield stream
        stream.synchronize()


def test_a_constant_first_needed_under_capture_is_right_outside_of_it(cupy, stream):
    from xpnet.core import arrays

    x = xpnet.asarray(np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3))
    y = xpnet.asarray(np.array([0, 1, 2, 0]))
    expected = to_numpy(F.multi_margin_loss(x, y))
    arrays._ARANGES.clear()
    junk = [cupy.full(4, 7, np.int64) for _ in range(50)]  # what the memory holds that it will be given
    del junk
    stream.begin_capture()
    captured = F.multi_margin_loss(x, y)
    stream.end_capture()
    found = to_numpy(F.multi_margin_loss(x, y))
    del captured
    arrays._ARANGES.clear()
    np.testing.assert_array_equal(found, expected)


def test_a_replay_reads_its_constants_after_many_other_sizes(cupy, stream):
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    y, out = xpnet.asarray(np.array([0, 1, 2, 0])), cupy.zeros((), np.float32)
    expected = float(to_numpy(F.nll_loss(x, y)))
    stream.begin_capture()
    captured = F.nll_loss(x, y)
    out[...] = captured
    graph = stream.end_capture()
    for n in range(5, 90):
        F.nll_loss(xpnet.asarray(np.ones((n, 3), np.float32)), xpnet.asarray(np.zeros(n, np.int64)))
    _junk = [cupy.full(4, 7, np.int64) for _ in range(400)]
    graph.launch(stream)
    stream.synchronize()
    assert float(out.get()) == pytest.approx(expected, rel=1e-6)


def test_batches_made_ahead_go_to_the_device_of_set_backend(second):
    found = []

    def work():
        for ahead in (0, 2):
            x, _ = next(iter(DataLoader(Dataset(*data()), 4, prefetch=ahead)))
            found.append(x.device.id)

    default = xpnet.core.backend._default
    xpnet.core.backend._default = xpnet.core.backend.load("cupy", second)  # set_backend, of all threads
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        xpnet.core.backend._default = default
    assert found == [second, second]


# ---- on the device of the arrays --------------------------------------------------------------------------


def test_a_target_on_another_device_is_refused_or_moved(second):
    x, y = data()
    with xpnet.use_backend("cupy", second):
        target = xpnet.asarray(y)
    logits = xpnet.asarray(x)
    try:
        value = float(to_numpy(F.cross_entropy(logits, target)))
    except xpnet.DeviceError:
        return
    assert np.isfinite(value)


def test_a_model_moves_to_a_device_that_is_not_current(second, monkeypatch):
    monkeypatch.setattr("xpnet.nn.parameter._HAS_VIEWS", {})
    with xpnet.use_backend("numpy"):
        model = network()
        model.to("cupy", second)
    assert {p.data.device.id for p in model.parameters()} == {second}


FOLLOW = {
    "accuracy": lambda model, x, y: accuracy(model(x), y),
    "fit": lambda model, x, y: Trainer(model, F.cross_entropy, optim.Adam(model)).fit([(x, y)], epochs=1),
    "accumulate": lambda model, x, y: Trainer(
        model, F.cross_entropy, optim.Adam(model), accumulate=2, metrics=[]
    ).fit([(x, y), (x, y)], epochs=1),
    "ensemble": lambda model, x, y: Ensemble([model, model])(x),
    "average_weights": lambda model, x, y: average_weights([model, model]),
    "recompute_batch_norm": lambda model, x, y: recompute_batch_norm(model, [(x, y)]),
    "comparison": lambda model, x, y: model(x) > 0,
}


@pytest.mark.parametrize("first", ["step", "noise"])
def test_an_arena_follows_its_parameters(first, second, monkeypatch):
    monkeypatch.setattr("xpnet.nn.parameter._HAS_VIEWS", {"cupy": True})
    with xpnet.use_backend("cupy", second):
        p = xpnet.tensor(np.ones(8, np.float32), requires_grad=True)
        p.grad = xpnet.asarray(np.arange(8, dtype=np.float32)) + 1
    with xpnet.use_backend("numpy"):
        if first == "step":
            optim.SGD([p], lr=0.1).step()
        else:
            optim.GradientNoise([p], eta=0.1)()
    assert p.data.device.id == second


@pytest.mark.parametrize("what", FOLLOW)
def test_what_is_no_op_follows_its_arrays(what, second):
    with xpnet.use_backend("cupy", second):
        model = network().eval()
        x, y = (xpnet.asarray(a) for a in data())
        F.cross_entropy(model(x), y).backward()  # the arena is made here
    with xpnet.use_backend("numpy"):
        FOLLOW[what](model, x, y)
