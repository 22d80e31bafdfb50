"""scikit-learn's own checks of the estimators; and weights, devices, pipelines, pictures."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_moons  # noqa: E402
from sklearn.experimental import enable_halving_search_cv  # noqa: E402, F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import xpnet  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.sklearn import XPNetClassifier, XPNetRegressor  # noqa: E402

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 40, "random_state": 0}


@pytest.mark.host
@parametrize_with_checks([XPNetClassifier(), XPNetRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# ---- search, pipelines, copies ----


@pytest.mark.host
def test_pipeline_and_grid_search():
    pipe = make_pipeline(StandardScaler(), XPNetClassifier(**SMALL))
    grid = GridSearchCV(pipe, {"xpnetclassifier__alpha": [0.0, 30.0]}, cv=3).fit(X, NAMES[Y])
    assert grid.best_params_ == {"xpnetclassifier__alpha": 0.0}
    assert set(grid.predict(X)) == set(NAMES)
    assert grid.score(X, NAMES[Y]) > 0.9


@pytest.mark.host
def test_halving_search_spends_epochs():
    search = HalvingRandomSearchCV(
        XPNetClassifier((8,), tol=None, random_state=0),
        {"learning_rate": [1e-5, 0.01]},
        resource="max_iter",
        min_resources=4,
        max_resources=12,
        n_candidates=2,
        factor=3,
        cv=2,
        random_state=0,
    ).fit(X, Y)
    assert search.best_params_["learning_rate"] == 0.01
    assert search.cv_results_["n_resources"].tolist()[:2] == [4, 4]


@pytest.mark.host
def test_clones_pickles_and_copies_predict_and_train_alike():
    model = XPNetClassifier((8,), max_iter=5, dropout=0.2, random_state=0).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), clone(model).fit(X, Y)):
        assert np.array_equal(other.predict_proba(X), model.predict_proba(X))
    other = pickle.loads(pickle.dumps(model))  # moments, order of batches, dropout go on in the copy, too
    assert np.array_equal(other.partial_fit(X, Y).predict_proba(X), model.partial_fit(X, Y).predict_proba(X))


@pytest.mark.host
def test_the_process_s_random_streams_are_left_alone():
    xpnet.manual_seed(3)
    before = xpnet.random.generator_state()
    XPNetClassifier((8,), max_iter=2, dropout=0.2).fit(X, Y)
    assert xpnet.random.generator_state() == before


# ---- training ----


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_calls_of_partial_fit_are_the_epochs_of_fit(dropout):
    options = {"dropout": dropout, "batch_size": 40, "random_state": 1}
    whole = XPNetClassifier((8,), max_iter=4, tol=None, **options).fit(X, Y)
    parts = XPNetClassifier((8,), **options)
    for i in range(4):
        xpnet.manual_seed(i)  # the process's streams have no say
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    assert parts.n_iter_ == whole.n_iter_ == 4
    assert np.array_equal(parts.predict_proba(X), whole.predict_proba(X))


def test_warm_start_goes_on_from_the_weights():
    model = XPNetClassifier((8,), max_iter=15, tol=None, warm_start=True, random_state=0)
    first = model.fit(X, Y).loss_
    again = model.fit(X, Y)
    assert again.history_["train_loss"][0] < first * 1.1
    assert again.n_iter_ == 30
    cold = clone(model).set_params(warm_start=False).fit(X, Y)
    assert cold.fit(X, Y).loss_ == first


def test_early_stopping_holds_out_and_keeps_the_best_weights():
    x, y = make_moons(300, noise=0.4, random_state=0)
    options = {"early_stopping": True, "n_iter_no_change": 5, "validation_fraction": 0.3, "tol": 0.0}
    model = XPNetClassifier((64, 64), max_iter=300, random_state=0, **options).fit(x, y)
    losses = model.history_["val_loss"]
    assert len(losses) == np.argmin(losses) + 1 + 5 < 300
    last = clone(model).set_params(max_iter=int(np.argmin(losses)) + 1).fit(x, y)  # ends with the best epoch
    assert np.array_equal(model.predict_proba(x), last.predict_proba(x))


def test_training_stops_when_its_loss_stalls():
    model = XPNetClassifier((8,), learning_rate=1e-9, n_iter_no_change=3, max_iter=50, random_state=0)
    assert model.fit(X, Y).n_iter_ <= 6
    assert model.set_params(tol=None, max_iter=7).fit(X, Y).n_iter_ == 7


@pytest.mark.parametrize("batch_norm", [False, True])
def test_weights_count_as_repetitions(batch_norm):
    weights = np.arange(len(X)) % 3
    options = {"max_iter": 4, "tol": None, "batch_size": 1000, "random_state": 0, "batch_norm": False}
    weighted = XPNetClassifier((8,), **options).fit(X, Y, sample_weight=weights)
    repeated = XPNetClassifier((8,), **options).fit(X.repeat(weights, axis=0), Y.repeat(weights))
    assert weighted.predict_proba(X) == pytest.approx(repeated.predict_proba(X), abs=1e-9)
    options["batch_norm"] = batch_norm
    without = XPNetClassifier((8,), **options).fit(X[weights > 0], Y[weights > 0])
    zeros = XPNetClassifier((8,), **options).fit(X, Y, sample_weight=(weights > 0).astype(float))
    assert np.array_equal(without.predict_proba(X), zeros.predict_proba(X))


def test_class_weights_multiply_sample_weights():
    few = np.r_[0:50, 50:60]  # fifty of class 0, ten of class 1
    x, y = X[few], Y[few]
    options = {"max_iter": 4, "tol": None, "batch_size": 100, "random_state": 0}
    balanced = XPNetClassifier((8,), class_weight="balanced", **options).fit(x, y)
    by_hand = XPNetClassifier((8,), class_weight={0: 0.6, 1: 3.0}, **options).fit(x, y)
    by_sample = XPNetClassifier((8,), **options).fit(x, y, sample_weight=np.where(y == 0, 1.0, 5.0))
    for other in (by_hand, by_sample):
        assert balanced.predict_proba(X) == pytest.approx(other.predict_proba(X), abs=1e-9)
    plain = XPNetClassifier((8,), **options).fit(x, y)
    assert np.mean(balanced.predict_proba(x)[:, 1]) > np.mean(plain.predict_proba(x)[:, 1])


def test_regression_weights_and_outputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = np.stack([1e6 + x[:, 0], 1e-6 * x[:, 1] * x[:, 2]], axis=1)  # scales that a network could not learn
    model = XPNetRegressor((32,), "tanh", max_iter=300, tol=None, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.predict(x).shape == (60, 2)
    weights = np.arange(60) % 3
    options = {"max_iter": 4, "tol": None, "batch_size": 1000, "random_state": 0}
    weighted = XPNetRegressor((8,), **options).fit(x, y[:, 1], sample_weight=weights)
    repeated = XPNetRegressor((8,), **options).fit(x.repeat(weights, axis=0), y[:, 1].repeat(weights))
    assert weighted.predict(x) == pytest.approx(repeated.predict(x), rel=1e-9)
    parts = XPNetRegressor((8,), random_state=0).partial_fit(x, y).partial_fit(x, y)
    assert (parts.n_iter_, parts.predict(x[:2]).shape) == (2, (2, 2))


# ---- devices ----


@pytest.mark.parametrize("labels", ["integers", "names"])
def test_device_arrays_train_there_and_come_back(backend, labels):
    x, y = X.astype(np.float32), Y
    reference = XPNetClassifier(**SMALL, backend="numpy").fit(x, y)
    with xpnet.use_backend("numpy"):  # the arrays decide, not the default backend
        device_x = xpnet.asarray(x, backend=backend)
        device_y = xpnet.asarray(y + 5, backend=backend) if labels == "integers" else NAMES[y]
        model = XPNetClassifier(**SMALL).fit(device_x, device_y, sample_weight=None)
        assert xpnet.core.places.where(model.module_.theta) == xpnet.core.places.where(device_x)
        p = model.predict_proba(device_x)
        predicted = model.predict(device_x)
    assert xpnet.core.places.where(p) == xpnet.core.places.where(device_x)
    assert xpnet.to_numpy(p) == pytest.approx(reference.predict_proba(x), abs=1e-4)
    if labels == "integers":
        assert xpnet.core.places.where(predicted) == xpnet.core.places.where(device_x)
        assert set(xpnet.to_numpy(predicted)) <= {5, 6, 7}
    else:
        assert set(predicted) <= set(NAMES)
    assert model.score(device_x, device_y) == pytest.approx(reference.score(x, y))
    assert type(model.predict_proba(x)) is np.ndarray  # host data of a device model come back to the host
    assert XPNetClassifier(**SMALL, early_stopping=True, batch_norm=True).fit(device_x, device_y).n_iter_ > 1


def test_device_regression(backend):
    x, y = X[:, :3].astype(np.float32), X[:, 3].astype(np.float32)
    weights = 1.0 + np.arange(len(x)) % 2
    reference = XPNetRegressor(**SMALL, backend="numpy").fit(x, y, weights)
    device_x, device_y, device_weights = (xpnet.asarray(a.astype(np.float32)) for a in (x, y, weights))
    model = XPNetRegressor(**SMALL).fit(device_x, device_y, device_weights)
    predicted = model.predict(device_x)
    assert xpnet.core.places.where(predicted) == xpnet.core.places.where(device_x)
    assert xpnet.to_numpy(predicted) == pytest.approx(reference.predict(x), abs=1e-4)
    assert model.score(device_x, device_y, device_weights) == pytest.approx(reference.score(x, y, weights))


@pytest.mark.host
def test_torch_tensors_come_back_as_torch_tensors():
    torch = pytest.importorskip("torch")
    x, y = torch.asarray(X, dtype=torch.float32), torch.asarray(Y)
    model = XPNetClassifier(**SMALL).fit(x, y)
    assert isinstance(model.module_.theta, torch.Tensor)
    assert isinstance(model.predict(x), torch.Tensor)
    assert model.score(x, y) > 0.9
    assert isinstance(model.partial_fit(x, y).predict(X), np.ndarray)


def test_device_input_is_checked(backend):
    model = XPNetClassifier(**SMALL).fit(xpnet.asarray(X.astype(np.float32)), Y)
    strict = (
        xpnet.asarray
        if backend != "numpy"
        else lambda a: xpnet.asarray(a, backend=xpnet.core.backend.load("array_api_strict", None))
    )
    bad = X.astype(np.float32)
    bad[3, 1] = np.nan
    for x, message in [
        (bad, "finite"),
        (X[:, :3].astype(np.float32), "X has 3 features, but XPNetClassifier is expecting 4 features"),
        (X[:, 0].astype(np.float32), "expected a 2D array"),
        (np.zeros((0, 4), np.float32), "no samples"),
        (np.zeros((2, 4), np.complex64), "complex data not supported"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.predict(strict(x))
    with pytest.raises(ValueError, match="requires y to be passed"):
        XPNetClassifier().fit(strict(X.astype(np.float32)), None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        XPNetClassifier().fit(strict(X.astype(np.float32)), Y[:10])


# ---- modules of the user's own ----


def pictures_net(shape, outputs):
    return nn.small_cnn(outputs, channels=shape[0], width=2)


@pytest.mark.host
def test_a_module_of_one_s_own_takes_pictures():
    x = np.zeros((40, 1, 8, 8), np.float32)
    x[::2, :, :4] = 1.0  # half of the pictures are bright at the top
    y = np.where(np.arange(40) % 2, "dark", "bright")
    model = XPNetClassifier(module=pictures_net, max_iter=15, batch_size=13, random_state=0).fit(x, y)
    assert model.score(x, y) == 1.0
    assert pickle.loads(pickle.dumps(model)).score(x, y) == 1.0
    assert clone(model).get_params()["module"] is pictures_net
    with xpnet.use_backend("array_api_strict", "device1"):
        device_x = xpnet.asarray(x[:6])
    assert XPNetClassifier(module=pictures_net, max_iter=1).fit(device_x, y[:6]).n_iter_ == 1


@pytest.mark.host
def test_an_optimizer_of_one_s_own():
    rule = partial(optim.SGD, momentum=0.5)
    model = XPNetClassifier(optimizer=rule, learning_rate=0.05, alpha=0.1, max_iter=3).fit(X, Y)
    assert [g["weight_decay"] for g in model.optimizer_.param_groups] == [0.1, 0.0]
    assert model.optimizer_.param_groups[0]["momentum"] == 0.5
    assert cross_val_score(clone(model).set_params(max_iter=30, alpha=0.0), X, Y, cv=3).mean() > 0.8


@pytest.mark.host
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes: expected positive"),
        ({"hidden_layer_sizes": "8"}, "hidden_layer_sizes: expected positive"),
        ({"activation": "magic"}, "unknown activation 'magic'; choose one of relu"),
        ({"optimizer": "magic"}, "optimizer: expected a class or one of sgd"),
        ({"max_iter": 0}, "max_iter: expected an integer of at least 1"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"alpha": -1}, "alpha"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"learning_rate": -1.0}, "lr must be at least 0"),
        ({"dropout": 2.0}, "Dropout: p"),
        ({"backend": "abacus"}, "unknown backend 'abacus'"),
        ({"class_weight": {0: 1.0, 7: 2.0}}, "not in class_weight"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        XPNetClassifier(**parameters).fit(X, Y)


@pytest.mark.host
def test_other_mistakes():
    with pytest.raises(ValueError, match="first call of partial_fit needs all the labels"):
        XPNetClassifier().partial_fit(X, Y)
    model = XPNetClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="label 7, which is not one of"):
        model.partial_fit(X, np.where(Y == 2, 7, Y))
    with pytest.raises(ValueError, match="not those of the first call"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="negative values"):
        model.fit(X, Y, sample_weight=-np.ones(len(X)))
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\), expected \(150,\)"):
        model.fit(X, Y, sample_weight=np.ones(3))
    with pytest.raises(TypeError, match="makes an xpnet"):
        XPNetClassifier(module=lambda shape, outputs: None).fit(X, Y)
    with pytest.raises(ValueError, match=r"gives \(1, 2\) for one sample of shape \(4,\), expected \(1, 3\)"):
        XPNetClassifier(module=lambda shape, outputs: nn.Linear(4, 2)).fit(X, Y)


# ---- sparse matrices ----


def holes(seed=0):
    """Samples of which most numbers are 0, and weights of which some are."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(90, 7)) * (rng.random((90, 7)) < 0.3)
    return x, (x[:, 0] + x[:, 1] > 0).astype(int), rng.integers(0, 3, 90)


@pytest.mark.host
@pytest.mark.parametrize(
    "kind", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array", "coo_array"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_samples_are_the_dense_ones_bit_by_bit(kind, dtype):
    from scipy import sparse

    x, y, weights = holes()
    x, make = x.astype(dtype), getattr(sparse, kind)
    options = {"max_iter": 4, "random_state": 0, "early_stopping": True, "batch_size": 16}
    for model in (XPNetClassifier((8,), **options), XPNetRegressor((8,), batch_norm=True, **options)):
        dense = clone(model).fit(x, y, weights).partial_fit(x, y)
        thin = clone(model).fit(make(x), y, weights).partial_fit(make(x), y)
        assert np.array_equal(thin.predict(make(x)), dense.predict(x))
        assert thin.predict(make(x)).dtype == dense.predict(x).dtype
        assert thin.score(make(x), y, weights) == dense.score(x, y, weights)
        assert dict(thin.history_)["train_loss"] == dict(dense.history_)["train_loss"]
    assert np.array_equal(
        XPNetClassifier((8,), **options).fit(make(x), y).predict_proba(make(x)),
        XPNetClassifier((8,), **options).fit(x, y).predict_proba(x),
    )


@pytest.mark.host
def test_sparse_samples_are_never_dense_as_a_whole(monkeypatch):
    from scipy import sparse

    x, y, _ = holes()
    x, y = sparse.csr_matrix(np.tile(x, (30, 1))), np.tile(y, 30)
    rows, dense = [], sparse.csr_matrix.toarray
    monkeypatch.setattr(
        sparse.csr_matrix, "toarray", lambda self, *a, **k: rows.append(self.shape[0]) or dense(self, *a, **k)
    )
    XPNetClassifier((4,), max_iter=1, batch_size=64, early_stopping=True).fit(x, y).predict(x)
    assert max(rows) <= 1024 < x.shape[0]
    assert 64 in rows


@pytest.mark.host
def test_sparse_targets_pipelines_and_mistakes():
    from scipy import sparse

    x, y, _ = holes()
    thin = sparse.csr_matrix(x)
    goals = np.stack([y, 1.0 - y], axis=1)
    model = XPNetRegressor(**SMALL)
    both = clone(model).fit(thin, sparse.csr_matrix(goals)), clone(model).fit(x, goals)
    assert np.array_equal(both[0].predict(thin), both[1].predict(x))
    pipe = make_pipeline(StandardScaler(with_mean=False), XPNetClassifier(**SMALL))
    grid = GridSearchCV(pipe, {"xpnetclassifier__alpha": [0.0, 0.1]}, cv=2).fit(thin, y)
    assert grid.score(thin, y) == grid.score(x, y)
    with pytest.raises(ValueError, match="X has 6 features"):
        both[0].predict(thin[:, :6])
    thin.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        clone(model).fit(thin, y)
