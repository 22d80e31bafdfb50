"""DataLoader over anything with `__len__` and `__getitem__`."""

import numpy as np
import pytest

import xpnet
from xpnet.data import Arrays, DataLoader, Dataset
from xpnet.data.augment import Augmentation
from xpnet.data.collate import collate


class Map:
    """A map-style data set."""

    def __init__(self, item, n=11):
        self.item, self.n = item, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return self.item(i)


X = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
Y = np.arange(11) * 2

ITEMS = {
    "pair": lambda i: (X[i], int(Y[i])),
    "list": lambda i: [X[i], X[i, 0]],
    "dict": lambda i: {"x": X[i], "deep": {"y": float(i), "z": (i, i % 2 == 0)}},
    "array": lambda i: X[i],
    "number": lambda i: i,
    "float64 array": lambda i: (X[i].astype(np.float64), np.float64(i)),
    "bytes": lambda i: (X[i].astype(np.uint8), np.int32(i)),
}


def host(tree):
    """The arrays of a batch by their places."""
    if isinstance(tree, dict):
        return {f"{k}/{name}": a for k, part in tree.items() for name, a in host(part).items()}
    if isinstance(tree, tuple | list):
        return {f"{k}/{name}": a for k, part in enumerate(tree) for name, a in host(part).items()}
    return {"": xpnet.to_numpy(tree)}


@pytest.mark.parametrize("kind", ITEMS)
def test_batches_are_items_stacked_place_by_place(kind):
    loader = DataLoader(Map(ITEMS[kind]), 4, seed=3)
    order = loader.order(0)
    assert sorted(order) == list(range(11))
    seen = list(loader)
    assert len(seen) == len(loader) == 3
    for batch, chosen in zip(seen, (order[:4], order[4:8], order[8:]), strict=True):
        expected = [host(ITEMS[kind](int(i))) for i in chosen]
        for place, array in host(batch).items():
            np.testing.assert_array_equal(array, np.stack([item[place] for item in expected]))
    assert type(seen[0]) in (tuple, dict, type(xpnet.asarray(X)))


@pytest.mark.parametrize("kind", ITEMS)
def test_against_pytorch(kind):
    torch = pytest.importorskip("torch")
    theirs = torch.utils.data.DataLoader(Map(ITEMS[kind]), batch_size=4)
    for our, their in zip(DataLoader(Map(ITEMS[kind]), 4, shuffle=False), theirs, strict=True):
        our, their = host(our), host(their)
        assert our.keys() == their.keys()
        for place in our:
            np.testing.assert_array_equal(our[place], their[place])


@pytest.mark.parametrize(
    ("items", "dtype"),
    [
        ([0.5, 1.5], "float32"),
        ([1, 0.5], "float32"),
        ([np.float64(1), np.float64(2)], "float32"),
        ([1, 2], "int64"),
        ([True, False], "bool"),
        ([np.float32(1), np.float32(2)], "float32"),
        ([np.int32(1), np.int32(2)], "int32"),
        ([np.zeros(2), np.ones(2)], "float64"),
        ([np.zeros(2, np.float16), np.ones(2, np.float16)], "float16"),
    ],
)
def test_dtypes(items, dtype):
    if dtype == "float16" and xpnet.get_backend().name == "array_api_strict":
        pytest.skip("the standard has no float16")
    assert dtype in str(collate(items).dtype)


def test_arrays_of_a_device_are_stacked_there():
    items = [(xpnet.asarray(X[i]), i) for i in range(11)]
    x, y = next(iter(DataLoader(items, 4, shuffle=False)))
    assert type(x) is type(xpnet.asarray(X))
    np.testing.assert_array_equal(xpnet.to_numpy(x), X[:4])
    np.testing.assert_array_equal(xpnet.to_numpy(y), np.arange(4))


@pytest.mark.parametrize("options", [{}, {"prefetch": 2}, {"replacement": True}, {"drop_last": True}])
def test_the_batches_of_a_dataset_item_by_item(options):
    one = DataLoader(Dataset(X, Y), 4, seed=1, **options)
    other = DataLoader(Map(ITEMS["pair"]), 4, seed=1, **options)
    for _ in range(2):
        for (x, y), (u, v) in zip(one, other, strict=True):
            assert np.array_equal(xpnet.to_numpy(x), xpnet.to_numpy(u))
            assert np.array_equal(xpnet.to_numpy(y), xpnet.to_numpy(v))


@pytest.mark.parametrize("options", [{}, {"prefetch": 2}, {"shuffle": False}])
def test_arrays_in_parts_are_their_items(options):
    parts = {"x": (X, xpnet.asarray(X)), "y": Y}
    items = Map(lambda i: {"x": (X[i], X[i]), "y": int(Y[i])})
    for our, their in zip(
        DataLoader(Arrays(parts), 4, seed=1, **options), DataLoader(items, 4, seed=1, **options), strict=True
    ):
        our, their = host(our), host(their)
        assert our.keys() == their.keys()
        for place in our:
            np.testing.assert_array_equal(our[place], their[place])
    assert host(Arrays(parts)[2:4])["y/"].tolist() == [4, 6]


@pytest.mark.host
@pytest.mark.parametrize(
    ("parts", "error", "match"),
    [
        ({"a": X, "b": Y[:3]}, ValueError, r"the parts have \['a'\] 11, \['b'\] 3; expected as many samples"),
        ({"a": X[:0]}, ValueError, r"\['a'\] 0; expected"),
        ({}, ValueError, "no arrays"),
        ({"a": (np.float32([1, np.nan]),)}, ValueError, r"Arrays: \['a'\]\[0\] holds nan at \[1\]"),
        ({"a": np.array(["x"])}, TypeError, r"Arrays: \['a'\] holds <U1, expected numbers"),
    ],
)
def test_parts_that_make_no_data_set(parts, error, match):
    with pytest.raises(error, match=match):
        Arrays(parts)


@pytest.mark.host
def test_position_ranks_and_settings():
    whole = [host(batch)["0/"] for batch in DataLoader(Map(ITEMS["pair"]), 4, seed=1)]
    loader = DataLoader(Map(ITEMS["pair"]), 4, seed=1)
    stream = iter(loader)
    next(stream)
    again = DataLoader(Map(ITEMS["pair"]), 4, seed=9)
    again.load_state_dict(loader.state_dict())
    assert [host(batch)["0/"].tolist() for batch in again] == [part.tolist() for part in whole[1:]]
    parts = []
    for rank in range(2):
        loader = DataLoader(Map(ITEMS["pair"]), 4, seed=1)
        loader.shard(rank, 2)
        parts.append([host(batch)["0/"] for batch in loader])
    for i, rows in enumerate(whole):
        assert sorted(np.concatenate([parts[0][i], parts[1][i]]).tolist()) == sorted(rows.tolist())
    assert loader.settings()["samples"] == 11
    assert loader.settings()["shape"] == "Map"


@pytest.mark.host
def test_items_can_be_asked_for_together():
    class Several(Map):
        def __getitem__(self, i):
            raise AssertionError("one by one")

        def __getitems__(self, indices):
            assert all(type(i) is int for i in indices)
            return [self.item(i) for i in indices]

    batch = next(iter(DataLoader(Several(ITEMS["pair"]), 4, shuffle=False)))
    np.testing.assert_array_equal(batch[0], X[:4])


@pytest.mark.host
def test_a_collate_of_ones_own():
    words = ["a", "bb", "ccc"]
    loader = DataLoader(words, 2, shuffle=False, collate=lambda items: np.array([len(w) for w in items]))
    assert [batch.tolist() for batch in loader] == [[1, 2], [3]]
    assert [batch.tolist() for batch in loader.in_order(3)] == [[1, 2, 3]]


class Shift(Augmentation):
    def __call__(self, x, y, draw):
        return x + 1, y


def test_transform_and_augment_work_on_pairs():
    loader = DataLoader(Map(ITEMS["pair"]), 11, shuffle=False, augment=Shift(), transform=lambda x: x * 2)
    np.testing.assert_allclose(xpnet.to_numpy(next(iter(loader))[0]), (X + 1) * 2, rtol=1e-6)
    np.testing.assert_allclose(xpnet.to_numpy(loader.first(2)[0]), X[:2] * 2, rtol=1e-6)
    for kind, named in (("dict", "dicts"), ("array", "ndarrays|Arrays|Tensors")):
        with pytest.raises(TypeError, match=rf"change x of batches \(x, y\), this data set gives ({named})"):
            next(iter(DataLoader(Map(ITEMS[kind]), 4, transform=lambda x: x)))


@pytest.mark.host
@pytest.mark.parametrize(
    ("items", "error", "match"),
    [
        (
            [(1, "a")],
            TypeError,
            r"an item holds a str under \[1\], expected numbers and arrays; convert it in",
        ),
        ([{"n": None}], TypeError, r"a NoneType under \['n'\]"),
        ([object()], TypeError, "an item holds a object, expected"),
        ([(1, 2), (1,)], ValueError, "the items have different lengths; give each the same parts"),
        ([{"a": 1}, {"b": 1}], ValueError, "the items have different keys"),
        (
            [(np.zeros(2),), (np.zeros(3),)],
            ValueError,
            r"under \[0\] have shapes \(2,\), \(3,\); give them one",
        ),
    ],
)
def test_items_that_make_no_batch(items, error, match):
    with pytest.raises(error, match=match):
        list(DataLoader(items, 2, shuffle=False))


@pytest.mark.host
@pytest.mark.parametrize(
    ("dataset", "error", "match"),
    [
        ((X, Y), TypeError, r"got a tuple of arrays; make one with Dataset\(x, y\)"),
        ((X, (Y, Y)), TypeError, r"got a tuple of arrays; make one with Arrays\(\(x, \(y, weights\)\)\)"),
        ((X, {"a": Y}), TypeError, r"got a tuple of arrays; make one with Arrays"),
        ({"x": X, "y": Y}, TypeError, r"anything with __len__ and __getitem__\(index\), got dict"),
        (iter([1]), TypeError, "got list_iterator"),
        ("text", TypeError, "got str"),
        ([1, 2], TypeError, "got list"),
        (Map(ITEMS["pair"], 0), ValueError, "the Map is empty"),
        ([], ValueError, "the list is empty"),
    ],
)
def test_what_has_no_items(dataset, error, match):
    with pytest.raises(error, match=match):
        DataLoader(dataset)
