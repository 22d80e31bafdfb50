"""Data sets, splits, loaders, preprocessing."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats

import xpnet
from xpnet.core.places import where
from xpnet.data import Arrays, DataLoader, Dataset, Standardize, load_digits, split


def numbered(n, classes=2):
    """Sample i holds the number i, so that a batch shows which samples it has."""
    return Dataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n) % classes)


def seen(loader):
    return [xpnet.to_numpy(x)[:, 0].astype(int).tolist() for x, _ in loader]


# ---- data sets ----


@pytest.mark.host
def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    expected, data = sklearn.load_digits(), load_digits()
    assert np.array_equal(data.x, expected.data)
    assert np.array_equal(data.y, expected.target)
    assert np.array_equal(load_digits(flatten=False).x[:, 0], expected.images)


@pytest.mark.host
def test_digits_are_complete():
    data = load_digits()
    assert (data.x.shape, data.x.dtype, data.y.dtype) == ((1797, 64), np.float32, np.int64)
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (data.x.min(), data.x.max(), data.x.sum()) == (0, 16, 561718)


def test_dataset_gives_pairs_and_subsets():
    data = Dataset(xpnet.asarray([[1.0], [2.0], [3.0]]), xpnet.asarray([0, 1, 2]))
    x, y = data[1]
    assert (xpnet.to_numpy(x).tolist(), int(y)) == ([2.0], 1)
    part = data.subset([2, 0])
    assert xpnet.to_numpy(part.x).tolist() == [[3.0], [1.0]]
    assert xpnet.to_numpy(part.y).tolist() == [2, 0]
    assert where(part.x) == where(xpnet.asarray([0.0]))
    assert data.classes == 3


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2), "x has 3 samples and y has 2"),
        (np.zeros((0, 2)), np.zeros(0), "is empty"),
        (np.zeros((3, 0)), np.zeros(3), "is empty"),
        (np.float32(1), np.zeros(1), "single number"),
        (np.array([[1.0], [np.nan]]), np.zeros(2), r"x holds nan at \[1, 0\]"),
        (np.array([[1.0], [-np.inf]]), np.zeros(2), r"x holds -inf at \[1, 0\]"),
        (np.zeros((2, 1)), np.array([0, np.inf]), r"y holds inf at \[1\]"),
    ],
)
def test_dataset_refuses(x, y, message):
    with pytest.raises(ValueError, match=message):
        Dataset(xpnet.asarray(x), xpnet.asarray(y))


@pytest.mark.host
def test_dataset_refuses_text():
    with pytest.raises(TypeError, match="expected numbers"):
        Dataset(np.array(["a"]), np.zeros(1))


# ---- splits ----


@pytest.mark.host
@pytest.mark.parametrize("stratify", [True, False])
def test_split_is_a_partition_of_exact_sizes(stratify):
    parts = split(numbered(103), (0.5, 0.3, 0.2), stratify=stratify, seed=1)
    assert [len(p) for p in parts] == [52, 30, 21]
    assert sorted(i for p in parts for i in p.x[:, 0].astype(int)) == list(range(103))


@pytest.mark.host
def test_split_keeps_class_fractions_within_a_sample():
    labels = np.repeat([0, 1, 2], [700, 200, 17])
    data = Dataset(np.zeros((917, 1), dtype=np.float32), labels)
    for part, fraction in zip(split(data, (0.7, 0.15, 0.15), seed=0), (0.7, 0.15, 0.15), strict=True):
        for k, count in enumerate((700, 200, 17)):
            assert abs((part.y == k).sum() - fraction * count) <= 1
        # in random order: class 1 does not come at regular distances
        assert len(set(np.diff(np.flatnonzero(part.y == 1)))) > 4


@pytest.mark.host
def test_split_depends_on_the_seed_alone():
    data = numbered(200)
    first, again, other = (split(data, (0.5, 0.5), seed=s)[0].x for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(np.sort(first, axis=0), np.sort(other, axis=0))
    xpnet.manual_seed(0)
    a = split(data, (0.5, 0.5))[0].x
    b = split(data, (0.5, 0.5))[0].x
    xpnet.manual_seed(0)
    assert np.array_equal(a, split(data, (0.5, 0.5))[0].x)
    assert not np.array_equal(a, b)


@pytest.mark.host
def test_split_refuses():
    data = numbered(4)
    for fractions in ((0.5, 0.6), (1.2, -0.2), ()):
        with pytest.raises(ValueError, match="fractions must be positive and add up to 1"):
            split(data, fractions)
    with pytest.raises(ValueError, match="4 samples are too few"):
        split(data, (0.98, 0.01, 0.01))
    with pytest.raises(TypeError, match="integer labels"):
        split(Dataset(np.zeros((4, 1)), np.zeros(4)), (0.5, 0.5))


# ---- loaders ----


def test_an_epoch_holds_every_sample_once_in_a_new_order():
    loader = DataLoader(numbered(10), batch_size=4, seed=0)
    epochs = [seen(loader) for _ in range(3)]
    assert [[len(b) for b in batches] for batches in epochs] == [[4, 4, 2]] * 3
    orders = [[i for batch in batches for i in batch] for batches in epochs]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(o) for o in orders}) == 3


def test_the_order_is_the_same_on_every_backend():
    # fixed numbers: each backend must give these
    assert seen(DataLoader(numbered(6), batch_size=3, seed=7)) == [[2, 1, 0], [4, 3, 5]]


def test_batches_pair_samples_with_their_labels_on_the_default_backend():
    for data in (numbered(20, 3), numbered(20, 3).to_backend()):
        for x, y in DataLoader(data, batch_size=6, seed=0):
            assert where(x) == where(y) == where(xpnet.asarray([0.0]))
            assert (xpnet.to_numpy(x)[:, 0] % 3).tolist() == xpnet.to_numpy(y).tolist()


def test_loader_options():
    data = numbered(10)
    assert seen(DataLoader(data, 4, shuffle=False)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(b) for b in seen(DataLoader(data, 4, drop_last=True))] == [4, 4]
    assert (len(DataLoader(data, 4)), len(DataLoader(data, 4, drop_last=True))) == (3, 2)
    assert seen(DataLoader(data, 4, seed=1)) != seen(DataLoader(data, 4, seed=2))
    xpnet.manual_seed(1)
    assert seen(DataLoader(data, 4)) == seen(DataLoader(data, 4, seed=1))


@pytest.mark.host
def test_sampling_with_replacement_leaves_out_one_in_e():
    n = 20000
    drawn = Counter(
        i for batch in seen(DataLoader(numbered(n), 1000, replacement=True, seed=0)) for i in batch
    )
    assert sum(drawn.values()) == n
    # the part never drawn is (1 - 1/n)^n; its standard deviation is about sqrt((1/e - 2/e^2) / n) = 0.0022
    assert 1 - len(drawn) / n == pytest.approx(np.exp(-1), abs=0.009)


def test_a_loader_resumes_in_the_middle_of_an_epoch():
    loader = DataLoader(numbered(10), 2, seed=0)
    seen(loader)
    batches = iter(loader)
    next(batches), next(batches)
    state = loader.state_dict()
    rest = [xpnet.to_numpy(x)[:, 0].astype(int).tolist() for x, _ in batches] + seen(loader)
    resumed = DataLoader(numbered(10), 2, seed=5)
    resumed.load_state_dict(state)
    assert state == {"seed": 0, "epoch": 1, "batch": 2}
    assert seen(resumed) + seen(resumed) == rest
    assert len(rest) == 3 + 5


def test_an_iteration_broken_off_is_not_continued():
    loader = DataLoader(numbered(10), 4, seed=0)
    next(iter(loader))
    assert [len(b) for b in seen(loader)] == [4, 4, 2]


@pytest.mark.host
def test_loader_refuses():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        DataLoader(numbered(3), 0)
    with pytest.raises(ValueError, match="drop_last leaves no batch: 3 samples, batch_size 4"):
        DataLoader(numbered(3), 4, drop_last=True)
    with pytest.raises(TypeError, match=r"make one with Dataset\(x, y\)"):
        DataLoader([1, 2])


@pytest.mark.host
def test_several_targets_are_refused_with_what_takes_them():
    """A tuple is several targets, as in `fit((x, (y, w)))`; a list of as many arrays as samples, rows."""
    x, y, w = np.zeros((4, 2), np.float32), np.arange(4), np.ones(4, np.float32)
    for several in ((y, w), [y, w], (y, x), (y[:2], w[:2])):
        with pytest.raises(TypeError, match=r"y is 2 arrays, .* are Arrays\(\(x, \(y, weights\)\)\)"):
            Dataset(x[: len(several[0])], several)
    assert Dataset(x, [w, w, w, w]).y.shape == (4, 4)
    assert Dataset(x, (0, 1, 2, 3)).y.shape == (4,)
    batch = next(iter(DataLoader(Arrays((x, (y, w))), 3)))
    assert [len(part) for part in batch[1]] == [3, 3]


# ---- standardisation ----


def test_standardize_is_the_z_score():
    x = np.random.default_rng(0).normal(50, [1, 20, 3], size=(200, 3)).astype(np.float32)
    scaled = Standardize().fit(xpnet.asarray(x)).transform(xpnet.asarray(x))
    assert where(scaled) == where(xpnet.asarray([0.0]))
    assert "float32" in str(scaled.dtype)
    np.testing.assert_allclose(xpnet.to_numpy(scaled), scipy.stats.zscore(x.astype(float)), atol=2e-5)
    overall = Standardize(per_feature=False).fit(x).transform(x)
    np.testing.assert_allclose(overall, scipy.stats.zscore(x.astype(float), axis=None), atol=2e-5)


def test_standardize_applies_the_statistics_of_the_training_set():
    scaler = Standardize().fit(xpnet.asarray([[0.0], [2.0]]))
    assert xpnet.to_numpy(scaler.transform(xpnet.asarray([[5.0]]))).tolist() == [[4.0]]
    assert xpnet.to_numpy(scaler.inverse(xpnet.asarray([[4.0]]))).tolist() == [[5.0]]
    other = Standardize()
    other.load_state_dict(scaler.state_dict())
    assert xpnet.to_numpy(other.transform(xpnet.asarray([[5.0]]))).tolist() == [[4.0]]


@pytest.mark.parametrize("value", [0.1, 0.0, 3e4, -1e-20])
def test_constant_features_become_zero(value):
    # 0.1 is no binary fraction: the computed deviation of a constant column may be a tiny number, not 0
    x = np.full((1437, 2), value, dtype=np.float32)
    x[:, 1] = np.arange(1437)
    scaled = xpnet.to_numpy(Standardize().fit(x).transform(xpnet.asarray(x)))
    assert np.all(scaled[:, 0] == 0)
    assert np.isfinite(scaled).all()


@pytest.mark.host
def test_standardize_takes_pictures_and_integers():
    x = np.random.default_rng(0).integers(0, 255, size=(50, 1, 4, 4), dtype=np.uint8)
    scaled = Standardize().fit(x).transform(x)
    assert (scaled.shape, scaled.dtype) == (x.shape, np.float32)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)


@pytest.mark.host
def test_standardize_refuses():
    with pytest.raises(RuntimeError, match="call fit"):
        Standardize().transform(np.zeros((1, 2)))
    with pytest.raises(RuntimeError, match="call fit"):
        Standardize().state_dict()
    with pytest.raises(ValueError, match=r"samples of shape \(2,\), got samples of shape \(3,\)"):
        Standardize().fit(np.eye(2)).transform(np.eye(3))
    with pytest.raises(ValueError, match="nothing to fit"):
        Standardize().fit(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="holds nan"):
        Standardize().fit(np.array([[np.nan]]))


@pytest.mark.parametrize("shuffle", [True, False])
def test_samples_and_targets_may_be_in_different_places(shuffle, backend):
    x, y = np.arange(12.0, dtype=np.float32).reshape(6, 2), np.arange(6)
    for pair in ((xpnet.asarray(x), y), (x, xpnet.asarray(y))):
        batches = list(DataLoader(Dataset(*pair), batch_size=4, shuffle=shuffle))
        rows = np.concatenate([xpnet.to_numpy(a) for a, _ in batches])
        labels = np.concatenate([xpnet.to_numpy(b) for _, b in batches])
        np.testing.assert_array_equal(rows, x[labels])
        assert sorted(labels) == list(range(6))
