"""Data larger than memory: files that are mapped, shards, and sources without numbers."""

import os
from collections import Counter

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset, Shards, ShardShuffle, Stream, StreamLoader, worker_info
from xpnet.functional import cross_entropy, mse_loss
from xpnet.train import Callback, Checkpoint, Trainer, evaluate, predict

pytestmark = pytest.mark.host

SIZES = [5, 9, 3, 7]
X = np.random.default_rng(0).normal(size=(sum(SIZES), 3)).astype(np.float32)
Y = np.arange(len(X)) % 2


def written(folder, form, dtype=np.float32):
    """The same samples as shards of a form."""
    files, start = [], 0
    for k, n in enumerate(SIZES):
        x, y = X[start : start + n].astype(dtype), Y[start : start + n]
        start += n
        if form == "npy":
            np.save(folder / f"x{k}.npy", x)
            np.save(folder / f"y{k}.npy", y)
            files.append((folder / f"x{k}.npy", folder / f"y{k}.npy"))
        elif form == "npz":
            np.savez(folder / f"{k}.npz", x=x, y=y)
            files.append(folder / f"{k}.npz")
        else:
            rows = [",".join([*map(repr, row.tolist()), str(label)]) for row, label in zip(x, y, strict=True)]
            (folder / f"{k}.csv").write_text("a,b,c,y\n" + "\n".join(rows))
            files.append(folder / f"{k}.csv")
    return files


@pytest.mark.parametrize("form", ["npy", "npz", "csv"])
@pytest.mark.parametrize("keep", [1, 9])
def test_shards_are_the_data_set(form, keep, tmp_path):
    data, whole = Shards(written(tmp_path, form), "y" if form == "csv" else -1, keep=keep), Dataset(X, Y)
    assert (len(data), data.sizes) == (len(X), SIZES)
    for (x, y), (a, b) in zip(DataLoader(data, 4, seed=1), DataLoader(whole, 4, seed=1), strict=True):
        assert np.array_equal(x, a)
        assert np.array_equal(y, b)
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert np.array_equal(data[-1][0], X[-1])
    with pytest.raises(IndexError):
        data[len(X)]


@pytest.mark.parametrize("dtype", [np.float64, ">f4"])
def test_shards_of_other_floats_are_float32(dtype, tmp_path):
    x, _ = next(iter(DataLoader(Shards(written(tmp_path, "npy", dtype)), 4, shuffle=False)))
    assert x.dtype == np.float32
    assert np.array_equal(x, X[:4])


def test_each_file_is_read_once_an_epoch(tmp_path, monkeypatch):
    files = written(tmp_path, "npz")
    data = Shards(files, keep=2)
    reads, read = Counter(), Shards._read
    monkeypatch.setattr(Shards, "_read", lambda self, k: reads.update([k]) or read(self, k))
    list(DataLoader(data, 4, sampler=ShardShuffle(data, together=2, seed=0)))
    assert reads == dict.fromkeys(range(4), 1)


def test_the_order_of_shards_is_every_sample_once_and_another_each_epoch():
    sampler = ShardShuffle(SIZES, together=2, seed=3)
    orders = [sampler.order(epoch) for epoch in range(3)]
    assert all(np.array_equal(np.sort(order), np.arange(len(X))) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], ShardShuffle(SIZES, together=2, seed=3).order(0))
    shard = np.searchsorted(np.cumsum(SIZES), orders[0], side="right")
    firsts = [set(shard[: np.flatnonzero(np.isin(shard, shard[0]))[-1] + 1])]
    assert len(firsts[0]) <= 2  # the first group holds two files at most


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: np.savez(folder / "2.npz", x=X[:3, :2], y=Y[:3]), "2.npz: it has"),
        (lambda folder: np.savez(folder / "2.npz", x=X[:3], y=Y[:2]), "2.npz: its arrays have"),
        (lambda folder: np.savez(folder / "2.npz", a=X[:3]), "2.npz: it has the arrays a, expected x and y"),
        (lambda folder: (folder / "2.npz").write_bytes(b"PK"), "2.npz: not"),
        (lambda folder: (folder / "2.npz").unlink(), "2.npz: no such file"),
    ],
)
def test_a_bad_shard_is_named(spoil, message, tmp_path):
    files = written(tmp_path, "npz")
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        Shards(files)


def test_shards_with_classes_of_text_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n1.5,cat\n2.5,dog\n")
    with pytest.raises(ValueError, match=r"a\.csv: its classes are texts, which other files may number"):
        Shards([tmp_path / "a.csv"])


@pytest.mark.parametrize(
    ("second", "target", "refused"),
    [
        ("b,a,y\n2,1,0\n", -1, True),
        ("a,c,y\n2,1,0\n", -1, True),
        ("y,a,b\n0,2,1\n", -1, True),
        ("y,a,b\n0,2,1\n", "y", False),
        ("2,1,0\n", -1, False),
    ],
)
def test_tables_in_shards_have_the_same_columns(second, target, refused, tmp_path):
    (tmp_path / "0.csv").write_text("a,b,y\n1,2,1\n")
    (tmp_path / "1.csv").write_text(second)
    files = [tmp_path / "0.csv", tmp_path / "1.csv"]
    if refused:
        with pytest.raises(ValueError, match=r"1\.csv: it has the columns .*, the files before it a, b, y"):
            Shards(files, target)
    else:
        x, y = Shards(files, target).rows(np.arange(2))
        assert x.tolist() == [[1, 2], [2, 1]]
        assert y.tolist() == [1, 0]


def test_a_shard_that_changes_is_refused(tmp_path):
    data = Shards(written(tmp_path, "npz"), keep=1)
    np.savez(tmp_path / "0.npz", x=X[:2], y=Y[:2])
    with pytest.raises(ValueError, match=r"0\.npz: it is another file than at the beginning"):
        data.rows(np.array([0]))


# ---- sources without numbers ----


def part(k):
    start = sum(SIZES[:k])
    yield from ((X[i], int(Y[i])) for i in range(start, start + SIZES[k]))


class Plain:
    def __iter__(self):
        return ((X[i], int(Y[i])) for i in range(len(X)))


class Sharing:
    def __iter__(self):
        info = worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return ((X[i], int(Y[i])) for i in range(first, len(X), step))


class Failing:
    def __iter__(self):
        yield from Plain()
        raise ValueError("row 24 is broken")


class Dying:
    def __iter__(self):
        yield X[0], 0
        os._exit(7)


STREAM = Stream(part, range(len(SIZES)))


def rows(loader):
    return [[*map(xpnet.to_numpy, batch)] for batch in loader]


def same(found, wanted):
    one, other = ([array for batch in batches for array in batch] for batches in (found, wanted))
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("source", [STREAM, Plain(), Sharing()], ids=["stream", "iterable", "sharing"])
def test_a_stream_is_the_data_set_in_order(source):
    assert same(rows(StreamLoader(source, 4)), rows(DataLoader(Dataset(X, Y), 4, shuffle=False)))


@pytest.mark.parametrize("shuffle", [0, 6])
def test_the_number_of_workers_changes_nothing_of_a_stream(shuffle):
    wanted = rows(StreamLoader(STREAM, 4, shuffle, seed=2))
    for workers in (1, 3):
        assert same(rows(StreamLoader(STREAM, 4, shuffle, workers, seed=2)), wanted)


def test_workers_of_an_iterable_take_turns():
    assert same(rows(StreamLoader(Sharing(), 4, workers=2)), rows(StreamLoader(Plain(), 4)))
    assert same(rows(StreamLoader(Plain(), 4, workers=1)), rows(StreamLoader(Plain(), 4)))


@pytest.mark.parametrize(
    ("source", "workers", "error", "message"),
    [
        (Plain(), 2, RuntimeError, "each of the workers would give all samples"),
        (Failing(), 1, ValueError, "row 24 is broken"),
        (Dying(), 1, RuntimeError, "worker 0 ended with exit code 7"),
        (iter([1, 2]), 0, TypeError, "an iterator can be used only once"),
        (3, 0, TypeError, "expected a Stream or an iterable, got int"),
        ([lambda: 1], 1, TypeError, "workers need a source that can be pickled"),
    ],
)
def test_what_goes_wrong_is_said(source, workers, error, message):
    with pytest.raises(error, match=message):
        list(StreamLoader(source, 4, workers=workers))


@pytest.mark.parametrize("shuffle", [1, 5, 100])
def test_a_shuffled_epoch_has_every_sample_once_and_another_order(shuffle):
    loader = StreamLoader(STREAM, 4, shuffle, seed=2)
    epochs = [np.concatenate([x for x, _ in loader]) for _ in range(2)]
    for x in epochs:
        assert np.array_equal(np.sort(x[:, 0]), np.sort(X[:, 0]))
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("shuffle", [0, 6])
@pytest.mark.parametrize("done", [0, 1, 4])
def test_a_stream_goes_on_in_the_middle_of_an_epoch(shuffle, done):
    wanted = rows(StreamLoader(STREAM, 4, shuffle, seed=2))
    loader = StreamLoader(STREAM, 4, shuffle, seed=2)
    batches = iter(loader)
    for _ in range(done):
        next(batches)
    other = StreamLoader(STREAM, 4, shuffle, seed=9)
    other.load_state_dict(loader.state_dict())
    assert same(rows(other), wanted[done:])
    assert other.state_dict() == {"seed": 2, "epoch": 1, "batch": 0}


def test_ranks_share_every_batch():
    whole = rows(StreamLoader(STREAM, 4, 6, seed=2))
    parts = []
    for rank in range(2):
        loader = StreamLoader(STREAM, 4, 6, seed=2)
        loader.shard(rank, 2)
        parts.append(rows(loader))
    for (x, y), (a, b), (c, d) in zip(whole, *parts, strict=False):
        assert np.array_equal(x[0::2], a)
        assert np.array_equal(x[1::2], c)
        assert np.array_equal(y[1::2], d)
        assert np.array_equal(y[0::2], b)


class StopAfter(Callback):
    """Ctrl-C after some batches."""

    last = True

    def __init__(self, batches):
        self.batches = batches

    def on_batch_end(self, trainer):
        self.batches -= 1
        if not self.batches:
            raise KeyboardInterrupt


def trained(loader, *callbacks, resume=None):
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    Trainer(model, cross_entropy, optim.Adam(model), callbacks).fit(loader, epochs=3, resume=resume)
    return xpnet.to_numpy(model.theta)


@pytest.mark.parametrize("kind", ["stream", "shards"])
def test_a_run_resumes_with_the_same_bits(kind, tmp_path):
    pytest.importorskip("safetensors")
    files = written(tmp_path, "npz")

    def loader():
        if kind == "stream":
            return StreamLoader(STREAM, 4, shuffle=6, seed=2)
        data = Shards(files)
        return DataLoader(data, 4, sampler=ShardShuffle(data, seed=2), seed=2)

    wanted = trained(loader())
    path = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        trained(loader(), Checkpoint(path, every_steps=1), StopAfter(9))
    assert np.array_equal(trained(loader(), Checkpoint(path, every_steps=1), resume=path), wanted)


def test_streams_are_measured_and_predicted():
    model = nn.Linear(3, 2)
    loader, data = StreamLoader(STREAM, 4), Dataset(X, Y)
    assert np.allclose(predict(model, loader), predict(model, data), atol=1e-6)
    measured, wanted = (evaluate(model, source, cross_entropy) for source in (loader, data))
    assert measured == pytest.approx(wanted)


def test_augmentation_and_transform_see_every_sample_by_its_place():
    loader = StreamLoader(STREAM, 4, transform=lambda x: 2 * x, augment=lambda x, y, draw: (x + 1, y))
    assert np.allclose(np.concatenate([x for x, _ in loader]), 2 * (X + 1))


def test_a_mapped_array_is_a_data_set(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = Dataset(mapped, Y)
    assert np.shares_memory(data.x, mapped)
    model = nn.Linear(3, 1)
    targets = X[:, :1].copy()
    Trainer(model, mse_loss, optim.SGD(model, lr=0.1)).fit(DataLoader(Dataset(mapped, targets), 4), epochs=1)
