"""Values of other libraries go in wherever arrays do, or are refused in one line."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import Dataset, Standardize
from xpnet.train import Trainer, accuracy, evaluate, predict

pytestmark = pytest.mark.host

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def library(name):
    return pytest.importorskip(name)


XS = {
    "pandas": lambda: library("pandas").DataFrame(X),
    "pandas nullable": lambda: library("pandas").DataFrame(X).convert_dtypes(),
    "polars": lambda: library("polars").DataFrame(X),
    "polars lazy": lambda: library("polars").DataFrame(X).lazy(),
    "arrow": lambda: library("pyarrow").table({str(j): X[:, j] for j in range(3)}),
    "sparse matrix": lambda: library("scipy.sparse").csr_matrix(X),
    "sparse array": lambda: library("scipy.sparse").coo_array(X),
    "masked": lambda: np.ma.masked_array(X),
    "matrix": lambda: np.matrix(X),
    "big-endian": lambda: X.astype(">f4"),
}
YS = {
    "pandas": lambda: library("pandas").Series(Y, index=range(100, 140)),
    "pandas nullable": lambda: library("pandas").Series(Y).astype("Int64"),
    "polars": lambda: library("polars").Series(Y),
    "arrow": lambda: library("pyarrow").array(Y),
    "arrow chunked": lambda: library("pyarrow").chunked_array([Y[:9], Y[9:]]),
    "masked": lambda: np.ma.masked_array(Y),
}


def model():
    xpnet.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2))


def fitted(x, y):
    net = model()
    Trainer(net, F.cross_entropy, optim.SGD(net, lr=0.1)).fit((x, y), epochs=1)
    return xpnet.to_numpy(net.theta)


@pytest.mark.parametrize("name", XS)
def test_samples_of_every_library_are_the_array(name):
    x = XS[name]()
    assert np.array_equal(Dataset(x, Y).x, X)
    assert np.array_equal(xpnet.to_numpy(x), X)
    assert np.array_equal(xpnet.asarray(x), X)
    if name not in ("masked", "matrix", "big-endian"):  # arrays are taken as they are, these refused
        assert np.array_equal(xpnet.to_numpy(model()(x)), xpnet.to_numpy(model()(X)))
    assert np.allclose(Standardize().fit(x).transform(x), Standardize().fit(X).transform(X), atol=1e-6)
    assert np.array_equal(predict(model(), x), predict(model(), X))
    assert evaluate(model(), (x, Y), F.cross_entropy) == evaluate(model(), (X, Y), F.cross_entropy)
    assert np.array_equal(fitted(x, Y), fitted(X, Y))


@pytest.mark.parametrize("name", YS)
def test_targets_of_every_library_are_the_array(name):
    y = YS[name]()
    assert np.array_equal(Dataset(X, y).y, Y)
    scores = np.stack([-X[:, 0], X[:, 0]], axis=1)
    assert float(F.cross_entropy(scores, y)) == float(F.cross_entropy(scores, Y))
    assert float(accuracy(scores, y)) == 1.0
    assert np.array_equal(fitted(X, y), fitted(X, Y))


@pytest.mark.parametrize("name", [name for name in XS if name not in ("masked", "matrix", "big-endian")])
def test_functions_take_tables_of_every_library(name):
    x = XS[name]()
    tensor = xpnet.tensor(X, requires_grad=True)
    assert np.array_equal(xpnet.to_numpy(F.softmax(x)), F.softmax(X))
    assert float(F.mse_loss(x, X + 1)) == float(F.mse_loss(tensor, XS[name]()) + 1) == 1.0
    (tensor * 2.0).sum().backward()
    F.mse_loss(
        x, tensor
    ).backward()  # the target's gradient: that of the mean of (target - x)^2 at its minimum
    assert np.array_equal(xpnet.to_numpy(tensor.grad), np.full_like(X, 2.0))


def test_losses_take_series():
    series = library("pandas").Series(X[:, 0], index=range(100, 140))
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits):
        both = loss(series, X[:, 1]), loss(X[:, 0], library("pandas").Series(X[:, 1]))
        assert float(both[0]) == float(both[1]) == float(loss(X[:, 0], X[:, 1]))
    with pytest.raises(ValueError, match="must have the same shape"):
        F.mse_loss(series, X)
    with pytest.raises(TypeError, match="expected numbers"):
        F.mse_loss(library("pandas").Series(["a"] * 40), X[:, 0])


REFUSED = {
    "masked values": (lambda: np.ma.masked_array(X, mask=X > 1), ValueError, "masked values: fill them"),
    "missing values": (lambda: library("pandas").DataFrame({"a": [1.0, None] * 20}), ValueError, "nan at"),
    "texts": (lambda: library("pandas").DataFrame({"a": ["x", "y"] * 20}), TypeError, "expected numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_array_is_refused(case):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        Dataset(make(), Y)
    with pytest.raises(error, match=message):
        Standardize().fit(make())


def test_estimators_refuse_masked_values():
    estimators = pytest.importorskip("xpnet.sklearn")
    masked = np.ma.masked_array(X, mask=X > 1)
    with pytest.raises(ValueError, match="masked values: fill them"):
        estimators.XPNetClassifier((4,), max_iter=1).fit(masked, Y)
    fitted = estimators.XPNetClassifier((4,), max_iter=1, random_state=0).fit(np.ma.masked_array(X), Y)
    with pytest.raises(ValueError, match="masked values: fill them"):
        fitted.predict(masked)


def test_missing_values_of_pandas_are_said():
    pandas = library("pandas")
    table = pandas.DataFrame(X).convert_dtypes()
    table.iloc[3, 1] = pandas.NA
    for take in (
        lambda: Dataset(table, Y),
        lambda: xpnet.asarray(table),
        lambda: predict(nn.Linear(3, 2), table),
    ):
        with pytest.raises(TypeError, match="1 values are missing: fill them, or drop their samples"):
            take()


def test_texts_as_targets_say_what_to_do():
    with pytest.raises(TypeError, match=r"np\.unique\(y, return_inverse=True\) makes classes"):
        Dataset(X, library("pandas").Series(["a", "b"] * 20))


def test_a_memory_mapped_file_is_an_array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(xpnet.to_numpy(model()(mapped)), xpnet.to_numpy(model()(X)))


def test_a_dict_of_columns_is_refused_by_a_data_set():
    with pytest.raises(TypeError, match=r"x is a dict, expected an array; .* Columns\(\)"):
        Dataset({"a": X[:, 0]}, Y)


def test_a_lazy_frame_goes_into_an_estimator():
    pytest.importorskip("sklearn")
    from xpnet.sklearn import XPNetClassifier

    lazy = library("polars").DataFrame(X).lazy()
    ours, theirs = (XPNetClassifier((4,), max_iter=2, random_state=0).fit(x, Y) for x in (lazy, X))
    assert np.array_equal(ours.predict(lazy), theirs.predict(X))
