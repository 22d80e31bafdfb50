"""Arrays as files and other libraries give them: every form of the same numbers is the same at every door."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, to_numpy
from xpnet.data import DataLoader, Dataset, MinMax, Standardize, load_npz
from xpnet.train import Confusion, accuracy, confusion_matrix, evaluate, f1, predict, top_k_accuracy

X = np.arange(12, dtype=np.float32).reshape(4, 3) / 4
Y = np.array([0, 2, 1, 0])


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def on_disk(a, tmp_path):
    np.save(tmp_path / f"{a.ndim}.npy", a)
    return np.load(tmp_path / f"{a.ndim}.npy", mmap_mode="r")


def frame(a):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(a) if a.ndim == 2 else pandas.Series(a)


FORMS = {
    "plain": lambda a, _: a,
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
    "little-endian": lambda a, _: a.astype(a.dtype.newbyteorder("<")),
    "big-endian, wide": lambda a, _: a.astype(">f8" if a.dtype.kind == "f" else ">i8"),
    "big-endian, short": lambda a, _: a.astype(">f4" if a.dtype.kind == "f" else ">i2"),
    "masked, nothing masked": lambda a, _: np.ma.array(a),
    "objects": lambda a, _: a.astype(object),
    "read-only": lambda a, _: read_only(a),
    "on disk": on_disk,
    "strided": lambda a, _: np.repeat(a, 2, axis=0)[::2],
    "by columns": lambda a, _: np.asfortranarray(a),
    "list": lambda a, _: a.tolist(),
    "pandas": lambda a, _: frame(a),
}


def logits():
    return xpnet.asarray(X)


def linear():
    model = nn.Linear(3, 3)
    return lambda x: to_numpy(predict(model, x))


LABEL_DOORS = {
    "Dataset": lambda y: to_numpy(Dataset(X, y).y),
    "DataLoader": lambda y: to_numpy(next(iter(DataLoader(Dataset(X, y), 4, shuffle=False)))[1]),
    "asarray": lambda y: to_numpy(xpnet.asarray(y)),
    "cross_entropy": lambda y: float(F.cross_entropy(logits(), y)),
    "nll_loss": lambda y: float(F.nll_loss(logits(), y)),
    "multi_margin_loss": lambda y: float(F.multi_margin_loss(logits(), y)),
    "accuracy": lambda y: float(accuracy(logits(), y)),
    "top_k_accuracy": lambda y: float(top_k_accuracy(2)(logits(), y)),
    "f1": lambda y: float(f1()(logits(), y)),
    "confusion_matrix": lambda y: confusion_matrix(y, y, 3),
}
SAMPLE_DOORS = {
    "Dataset": lambda x: to_numpy(Dataset(x, Y).x),
    "DataLoader": lambda x: to_numpy(next(iter(DataLoader(Dataset(x, Y), 4, shuffle=False)))[0]),
    "asarray": lambda x: to_numpy(xpnet.asarray(x)),
    "tensor": lambda x: to_numpy(xpnet.tensor(x)),
    "mse_loss": lambda x: float(F.mse_loss(xpnet.asarray(X) * 0, x)),
    "Standardize.fit": lambda x: Standardize().fit(x).mean.astype(np.float32),
    "Standardize.transform": lambda x: to_numpy(Standardize().fit(X).transform(x)),
    "MinMax.transform": lambda x: to_numpy(MinMax().fit(X).transform(x)),
}


@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize("form", FORMS)
def test_labels(door, form, tmp_path):
    found, expected = LABEL_DOORS[door](FORMS[form](Y, tmp_path)), LABEL_DOORS[door](Y)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("door", SAMPLE_DOORS)
@pytest.mark.parametrize("form", [*FORMS, "matrix"])
def test_samples(door, form, tmp_path):
    make = FORMS.get(form, lambda a, _: np.matrix(a))
    np.testing.assert_allclose(SAMPLE_DOORS[door](make(X, tmp_path)), SAMPLE_DOORS[door](X), rtol=1e-6)


@pytest.mark.host
@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("list", "objects", "pandas")])
def test_files(form, tmp_path):
    np.savez(tmp_path / "a.npz", x=FORMS[form](X.astype(np.float64), tmp_path), y=FORMS[form](Y, tmp_path))
    data = load_npz(tmp_path / "a.npz")
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)


@pytest.mark.parametrize("form", ["pandas", "list", "big-endian", "plain"])
def test_a_model_is_applied_to_them(form, tmp_path):
    apply = linear()
    x = FORMS[form](X, tmp_path)
    # a frame's columns lie one after the other, for which cuBLAS may add up in another order
    close = lambda found: np.testing.assert_allclose(found, apply(X), rtol=1e-6)
    close(apply(x))
    if form == "pandas":  # whose floats are float64, as Python's
        close(apply(frame(X.astype(np.float64))))


MASKED = [
    lambda x, y: Dataset(x, Y),
    lambda x, y: Dataset(X, y),
    lambda x, y: xpnet.asarray(x),
    lambda x, y: xpnet.tensor(x),
    lambda x, y: F.cross_entropy(xpnet.asarray(X), y),
    lambda x, y: accuracy(xpnet.asarray(X), y),
    lambda x, y: Confusion().add(xpnet.asarray(X), y),
    lambda x, y: Standardize().fit(x),
    lambda x, y: predict(nn.Linear(3, 3), x),
    lambda x, y: evaluate(nn.Linear(3, 3), (x, Y), F.cross_entropy),
]


@pytest.mark.parametrize("call", MASKED)
def test_masked_values_are_refused(call):
    x, y = np.ma.array(X), np.ma.array(Y)
    x[1, 1] = y[1] = np.ma.masked
    with pytest.raises(ValueError, match=r"has 1 masked values: fill them with x\.filled"):
        call(x, y)


@pytest.mark.parametrize(
    "values",
    [
        ["a"],
        np.array(["a"]),
        None,
        [None],
        [{}],
        np.array([object()]),
        np.array(["2020-01-01"], "datetime64[D]"),
    ],
)
def test_what_is_not_a_number_is_refused(values):
    for call in (xpnet.asarray, xpnet.tensor, lambda v: Dataset(v, [0])):
        with pytest.raises((TypeError, ValueError), match=r"expected numbers|single number"):
            call(values)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_an_op_refuses_arrays_with_rules_of_their_own():
    for array in (np.ma.array(X), np.matrix(X)):
        with pytest.raises(
            TypeError, match=r"expected an array or a Tensor, got .*make one with xpnet\.asarray"
        ):
            F.softmax(array)


@pytest.mark.host
def test_a_numpy_array_shares_its_memory_with_pytorch():
    torch = pytest.importorskip("torch")
    x = np.float32([1, 2])
    with xpnet.use_backend("torch"):
        there = xpnet.asarray(x)
    assert isinstance(there, torch.Tensor)
    there += 1
    assert x.tolist() == [2, 3]
