"""Samplers, folds, prefetching, and the guard of test sets."""

import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest

import xpnet
from xpnet import nn
from xpnet.data import (
    ClassBalanced,
    Curriculum,
    DataLoader,
    Dataset,
    HardExamples,
    Interleaved,
    ReuseWarning,
    k_fold,
    load_digits,
    split,
)
from xpnet.data.prefetch import PinnedBuffers, prefetched
from xpnet.functional import cross_entropy
from xpnet.train import evaluate, predict

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def numbered(n, classes=2):
    return Dataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n) % classes)


def seen(loader):
    return [xpnet.to_numpy(x)[:, 0].astype(int).tolist() for x, _ in loader]


# ---- samplers ----


@pytest.mark.host
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: Interleaved(LABELS, seed),
        lambda seed: ClassBalanced(LABELS, seed),
        lambda seed: HardExamples(100, seed=seed),
        lambda seed: Curriculum(np.arange(100), seed=seed),
    ],
)
def test_orders_depend_on_seed_and_epoch_alone(make):
    sampler = make(1)
    first = sampler.order(0)
    assert np.array_equal(first, sampler.order(0))
    assert np.array_equal(first, make(1).order(0))
    assert not np.array_equal(first, make(2).order(0))
    assert not np.array_equal(first, sampler.order(1)[: len(first)])


@pytest.mark.host
def test_interleaved_classes_have_their_fraction_of_every_span():
    order = Interleaved(LABELS, seed=0).order(3)
    assert sorted(order) == list(range(100))
    indicators = LABELS[order][:, None] == [0, 1, 2]
    for start in range(0, 90, 7):
        for length in (10, 20, 40):
            part = indicators[start : start + length]
            assert np.abs(part.sum(axis=0) - len(part) * np.array([0.6, 0.3, 0.1])).max() <= 1.5
    inside = order[LABELS[order] == 0]
    assert not np.array_equal(inside, np.sort(inside))


@pytest.mark.host
def test_balanced_classes_come_equally_often():
    sampler = ClassBalanced(LABELS, seed=0)
    counts = np.array([np.bincount(LABELS[sampler.order(e)], minlength=3) for e in range(9)])
    assert (counts.sum(axis=1) == 100).all()
    assert np.abs(counts - 100 / 3).max() <= 1
    rare = np.concatenate([sampler.order(e) for e in range(9)])
    assert np.abs(np.bincount(rare, minlength=100)[90:] - 30).max() <= 9  # each of the ten, evenly


@pytest.mark.host
def test_hard_examples_come_in_proportion_to_their_loss():
    sampler = HardExamples(1000, seed=0)
    assert np.array_equal(np.sort(sampler.order(0)), np.arange(1000))
    losses = np.linspace(0, 2, 1000)
    sampler.update(xpnet.asarray(losses))
    counts = np.mean([np.bincount(sampler.order(e), minlength=1000) for e in range(200)], axis=0)
    weights = np.maximum(losses, 0.1)
    np.testing.assert_allclose(counts, weights / weights.mean(), atol=0.15)
    assert counts[:50].min() > 0  # the easy ones are not forgotten


@pytest.mark.host
def test_outliers_are_not_hard_examples():
    losses = np.abs(np.random.default_rng(0).normal(1, 0.2, 500))
    losses[[7, 123]] = [60.0, 80.0]
    sampler = HardExamples(500, outlier=5, seed=0)
    sampler.update(losses)
    assert np.flatnonzero(sampler.outliers()).tolist() == [7, 123]
    assert sampler.weights()[[7, 123]].tolist() == [1, 1]
    assert sampler.weights().mean() == pytest.approx(1, abs=1e-6)  # they do not make the others look easy
    unguarded = HardExamples(500, outlier=1e9, seed=0)
    unguarded.update(losses)
    assert unguarded.weights()[123] > 50
    flat = HardExamples(3)
    flat.update(np.zeros(3))
    assert flat.weights().tolist() == [1, 1, 1]


@pytest.mark.host
def test_a_curriculum_begins_with_the_easy_and_grows_to_all():
    difficulty = np.random.default_rng(0).permutation(100)
    sampler = Curriculum(difficulty, start=0.2, epochs=4, seed=0)
    orders = [sampler.order(e) for e in range(6)]
    assert [len(o) for o in orders] == [20, 40, 60, 80, 100, 100]
    for order in orders:
        assert sorted(difficulty[order]) == list(range(len(order)))  # the easiest, once each
    assert difficulty[orders[0]].tolist() != list(range(20))


def test_a_loader_follows_its_sampler():
    sampler = Curriculum(-np.arange(10), start=0.4, epochs=2, seed=0)
    loader = DataLoader(numbered(10), 3, sampler=sampler)
    for epoch, (length, batches) in enumerate([(4, 2), (7, 3), (10, 4), (10, 4)]):
        assert len(loader) == batches
        got = seen(loader)
        assert [i for batch in got for i in batch] == sampler.order(epoch).tolist()
        assert sorted(i for batch in got for i in batch) == list(range(10 - length, 10))


@pytest.mark.host
def test_samplers_refuse():
    with pytest.raises(ValueError, match="Interleaved: expected integer labels"):
        Interleaved(np.ones(3))
    with pytest.raises(ValueError, match=r"expected losses of shape \(3,\), got \(2,\)"):
        HardExamples(3).update(np.ones(2))
    with pytest.raises(ValueError, match="finite and not negative"):
        HardExamples(2).update(np.array([1, np.nan]))
    with pytest.raises(ValueError, match="smallest"):
        HardExamples(2, smallest=0)
    with pytest.raises(ValueError, match="finite score"):
        Curriculum(np.ones((2, 2)))
    with pytest.raises(ValueError, match="0 < start <= 1"):
        Curriculum(np.ones(2), start=0)


# ---- folds ----


@pytest.mark.host
@pytest.mark.parametrize("stratify", [True, False])
def test_folds_partition_the_data(stratify):
    data = Dataset(np.arange(100, dtype=np.float32)[:, None], LABELS)
    folds = list(k_fold(data, 7, stratify=stratify, seed=0))
    assert len(folds) == 7
    assert sorted(i for _, v in folds for i in v.x[:, 0]) == list(range(100))
    for train, validation in folds:
        assert sorted([*train.x[:, 0], *validation.x[:, 0]]) == list(range(100))
        assert len(validation) in (14, 15)
        if stratify:
            assert np.abs(np.bincount(validation.y) - len(validation) * np.array([0.6, 0.3, 0.1])).max() <= 1
    again = list(k_fold(data, 7, stratify=stratify, seed=0))
    assert all(np.array_equal(a.x, b.x) for (_, a), (_, b) in zip(folds, again, strict=True))


@pytest.mark.host
def test_folds_refuse():
    for k in (1, 101):
        with pytest.raises(ValueError, match="k must be from 2 to the 100 samples"):
            k_fold(numbered(100), k)
    with pytest.raises(TypeError, match="integer labels"):
        k_fold(Dataset(np.ones((4, 1)), np.ones(4)), 2)


# ---- test sets ----


def test_a_test_set_warns_from_its_second_use_on():
    model = nn.Linear(64, 10)
    train, validation, test = split(load_digits(), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            evaluate(model, train, cross_entropy)
            evaluate(model, validation, cross_entropy)
        scaled = test.map(lambda x: x / 16).to_backend()
        evaluate(model, scaled, cross_entropy)
    # the same samples in another form are the same test set
    for use in (
        lambda: evaluate(model, test, cross_entropy),
        lambda: predict(model, DataLoader(test, 9, shuffle=False)),
        lambda: predict(model, test.subset([1, 2])),
    ):
        with pytest.warns(ReuseWarning, match="digits test set is used for the .* time"):
            use()


# ---- prefetching ----


@pytest.mark.parametrize("ahead", [1, 3, 50])
def test_prefetching_changes_nothing(ahead):
    plain, ahead_of = (DataLoader(numbered(10), 3, seed=1, prefetch=p) for p in (0, ahead))
    for _ in range(2):
        assert seen(ahead_of) == seen(plain)
    batches = iter(ahead_of)
    next(batches), next(batches)
    state = ahead_of.state_dict()
    assert state == {"seed": 1, "epoch": 2, "batch": 2}  # what was handed out, not what was prepared
    resumed = DataLoader(numbered(10), 3, prefetch=ahead)
    resumed.load_state_dict(state)
    rest = [xpnet.to_numpy(x)[:, 0].astype(int).tolist() for x, _ in batches]
    assert seen(resumed) == rest


def waiting_threads():
    return [t for t in threading.enumerate() if t.name == "xpnet-prefetch"]


@pytest.mark.host
def test_items_are_made_ahead_but_not_too_far():
    made = []

    def make():
        for i in range(10):
            made.append(i)
            yield i

    items = prefetched(make(), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(made) == 4  # one used, two waiting, one in the thread's hands
    assert list(items) == list(range(1, 10))
    assert waiting_threads() == []


class Device(np.ndarray):
    """A stand-in for an array on CUDA: its copy happens when the stream is waited for, not before."""

    def set(self, host, stream):
        stream.pending.append((self, host))


class Stream:
    def __init__(self):
        self.pending = []

    def record(self):
        return self

    def synchronize(self):
        for device, host in self.pending:
            device[...] = host
        self.pending.clear()


class PageLocked(bytearray):
    def __init__(self, size):
        super().__init__(size)
        self.mem = types.SimpleNamespace(size=size)


@pytest.mark.host
def test_page_locked_memory_is_used_again_only_after_its_copy(monkeypatch):
    stream, made = Stream(), []

    def allocate(size):
        made.append(size)
        return PageLocked(size)

    cuda = types.SimpleNamespace(alloc_pinned_memory=allocate, get_current_stream=lambda: stream)
    fake = types.SimpleNamespace(cuda=cuda, empty=lambda shape, dtype: np.empty(shape, dtype).view(Device))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    buffers = PinnedBuffers(2)
    x, y = np.arange(40, dtype=np.float32).reshape(10, 4), np.arange(10)
    parts = [np.array([3, 1, 9]), np.array([2, 2, 7]), np.array([0, 5]), np.array([8, 6, 4])]
    found = [buffers.move(x, y, part) for part in parts]
    stream.synchronize()
    for (on_x, on_y), part in zip(found, parts, strict=True):
        assert np.array_equal(on_x, x[part])
        assert np.array_equal(on_y, y[part])
    assert len(made) == 4  # x and y, twice


@pytest.mark.host
def test_errors_and_broken_off_iterations_end_the_thread():
    def failing():
        yield 1
        raise ValueError("no second one")

    items = prefetched(failing(), 1)
    assert next(items) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(items)
    endless = prefetched(iter(int, 1), 2)
    next(endless)
    assert len(waiting_threads()) == 1
    endless.close()
    assert waiting_threads() == []
    with pytest.raises(ValueError, match="prefetch must be at least 0"):
        DataLoader(numbered(2), 1, prefetch=-1)
