"""Several threads: a model that trains is applied elsewhere, models train side by side, Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.ensemble import monte_carlo_dropout
from xpnet.functional import cross_entropy
from xpnet.nn.inference import evaluating, keeping_modes
from xpnet.train import Callback, Trainer, evaluate, predict

pytestmark = pytest.mark.host
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(96, 6)).astype(np.float32), np.arange(96) % 3


def network():
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3))


def in_thread(work):
    """What `work()` gives in another thread, or raises there."""
    found = []

    def run():
        try:
            found.append((work(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    value, error = found[0]
    if error is not None:
        raise error
    return value


def weights(model):
    return {name: xpnet.to_numpy(value) for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- a model that is applied while it trains ----


def test_the_mode_in_one_thread_is_not_that_of_another():
    model, other = network(), nn.Dropout(0.5)
    inside, leave, seen = threading.Event(), threading.Event(), []

    def apply():
        with evaluating(model):
            seen.extend(m.training for m in model.modules())
            inside.set()
            assert leave.wait(10)
            seen.append(other.training)

    thread = threading.Thread(target=apply)
    thread.start()
    assert inside.wait(10)
    assert all(m.training for m in model.modules())
    model.eval()
    model.train()
    leave.set()
    thread.join()
    assert seen == [False] * 6 + [True]
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("way", ["predict", "evaluate", "trainer", "dropout"])
def test_a_run_is_not_changed_by_who_applies_its_model(way):
    def fit(apply):
        xpnet.manual_seed(0)
        model = network()

        class Elsewhere(Callback):
            def on_batch_end(self, run):
                if apply:
                    in_thread(lambda: use(run))
                assert all(m.training for m in model.modules())

        def use(run):
            if way == "predict":
                predict(model, X)
            elif way == "evaluate":
                evaluate(model, (X, Y), cross_entropy)
            elif way == "trainer":
                run.evaluate(Dataset(X, Y))
            else:
                with xpnet.random.forked():
                    monte_carlo_dropout(model, X, samples=3)

        trainer = Trainer(model, cross_entropy, optim.Adam(model), [Elsewhere()])
        trainer.fit(DataLoader(Dataset(X, Y), 32, seed=0), None, 2)
        return weights(model)

    assert same(fit(False), fit(True))


def test_who_applies_a_model_in_the_middle_of_a_step_sees_evaluation_and_the_step_sees_training():
    """The switch happens while a forward pass is under way."""
    model, seen = network(), []

    def meanwhile(module, inputs, output):
        if threading.current_thread() is threading.main_thread():
            seen.append([in_thread(lambda: xpnet.to_numpy(predict(model, X[:4]))) for _ in range(2)])

    model[0].register_forward_hook(meanwhile)
    before = np.array(model[1].running_mean.numpy())
    y = model(xpnet.asarray(X[:8]))
    assert y.numpy().std() > 0
    assert not np.array_equal(before, model[1].running_mean.numpy())
    first, second = seen[0]
    assert np.array_equal(first, second)  # no dropout there


def test_keeping_modes_gives_them_back():
    model = network()
    model[3].eval()
    with keeping_modes(model):
        model.eval()
        with keeping_modes(model):
            model.train()
            assert model[3].training
        assert not model[0].training
    assert [m.training for m in model] == [True, True, True, False, True]
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert model.training


def test_a_module_with_a_mind_of_its_own_has_its_way():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    class Awake(nn.Dropout):
        def train(self, mode=True):
            return super().train(True)

    model = nn.Sequential(Frozen(4), Awake(0.5)).train()
    assert [m.training for m in model] == [False, True]
    with evaluating(model):
        assert [model.training, *(m.training for m in model)] == [False, False, True]
    assert [model.training, *(m.training for m in model)] == [True, False, True]


# ---- two trainings side by side ----


def train(seed, dropout=0.4, fused=True):
    """A run from its seed to its weights."""
    with xpnet.fused(fused):
        xpnet.manual_seed(seed)
        model = nn.mlp(6, [32, 16], 3, dropout=dropout, batch_norm=True)
        loader = DataLoader(Dataset(X, Y), 16, prefetch=seed % 2)
        Trainer(model, cross_entropy, optim.Adam(model, lr=0.01)).fit(loader, Dataset(X, Y), 3)
        return weights(model)


def test_two_trainings_in_two_threads_are_those_alone():
    jobs = [(1, 0.4, True), (2, 0.1, False), (3, 0.4, True)]
    alone = [train(*job) for job in jobs]
    for _ in range(3):
        together, threads = {}, []
        for i, job in enumerate(jobs):
            work = lambda i, job, found: found.setdefault(i, train(*job))
            threads.append(threading.Thread(target=work, args=(i, job, together)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [same(together[i], alone[i]) for i in range(3)] == [True] * 3


def test_runs_made_before_and_fitted_in_threads_are_those_alone():
    def made():
        xpnet.manual_seed(5)
        models = [network(), network()]
        data = [DataLoader(Dataset(X, Y), 16, seed=k) for k in range(2)]
        return models, [lambda m=m, d=d: Trainer(m, cross_entropy, optim.SGD(m, 0.1)).fit(d, None, 4)
                        for m, d in zip(models, data, strict=True)]  # fmt: skip

    alone = []
    for k in range(2):
        models, runs = made()
        runs[k]()
        alone.append(weights(models[k]))
    models, runs = made()
    threads = [threading.Thread(target=run) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [same(weights(m), w) for m, w in zip(models, alone, strict=True)] == [True, True]


def test_a_seed_in_a_thread_is_of_that_thread():
    key = lambda: xpnet.random.generators[xpnet.random.NOISE].next_key()
    xpnet.manual_seed(7)
    first = key()
    xpnet.manual_seed(7)
    assert in_thread(lambda: (xpnet.manual_seed(8), key())[1]).seed == 8
    assert key() == first
    xpnet.manual_seed(9)
    assert in_thread(key).seed == 9  # not seeded there: the process's


# ---- Ctrl-C ----

SLOW = """
import sys, threading, time
import numpy as np
import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader
from xpnet.functional import cross_entropy
from xpnet.train import Callback, Checkpoint, Trainer

class Slow:
    def __len__(self):
        return 64
    def __getitem__(self, i):
        if armed:
            print("waits", flush=True)
            time.sleep(30)
        return np.zeros(3, np.float32), 0

armed = []

class Arm(Callback):
    last = True  # after the first checkpoint, which has read some samples

    def on_batch_end(self, run):
        armed.append(run.step)

model = nn.Linear(3, 2)
loader = DataLoader(Slow(), 8, shuffle=False, prefetch=int(sys.argv[1]))
start = time.perf_counter()
try:
    trainer = Trainer(model, cross_entropy, optim.SGD(model, 0.1), [Checkpoint("c", every_steps=1), Arm()])
    trainer.fit(loader, None, 2)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("prefetch", [0, 2])
def test_ctrl_c_does_not_wait_for_a_slow_batch(prefetch, tmp_path):
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(prefetch)],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # which a job in the background ignores
    )
    assert process.stdout.readline() == "waits\n", "nothing was trained"
    time.sleep(1)  # what was made ahead is trained on
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=15)  # the batch takes 30 s
    assert out == "interrupted\n"
    assert process.returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


class Gate:
    """Samples of which the fifth waits until it may come."""

    def __init__(self):
        self.open, self.inside, self.most = threading.Event(), 0, 0

    def __len__(self):
        return 16

    def __getitem__(self, i):
        self.inside += 1
        self.most = max(self.most, self.inside)
        if i == 4:
            self.open.wait(20)
        self.inside -= 1
        return np.float32([i])


def test_a_late_thread_ends_by_itself_and_is_waited_for_by_the_next_iteration():
    gate = Gate()
    loader = DataLoader(gate, 4, shuffle=False, prefetch=1)
    batches = iter(loader)
    next(batches)
    start = time.monotonic()
    batches.close()  # the second batch is under way
    assert time.monotonic() - start < 5
    late = [t for t in threading.enumerate() if t.name == "xpnet-prefetch"]
    assert len(late) == 1
    threading.Timer(0.3, gate.open.set).start()
    again = [x.ravel().tolist() for x in loader]
    assert again == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert gate.most == 1  # never two threads in the data at once
    assert not late[0].is_alive()
    assert [t for t in threading.enumerate() if t.name == "xpnet-prefetch"] == []
