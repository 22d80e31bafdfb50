"""The classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from xpnet import functional as F
from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import namespace
from xpnet.sklearn.base import Estimator, documented
from xpnet.sklearn.sparse import rows_of
from xpnet.sklearn.validation import check_pairs, check_weights, device_of, like_input, on_host, uneven


@documented
class XPNetClassifier(ClassifierMixin, Estimator):
    """A network that tells classes apart, trained by cross-entropy.

    {parameters}
        class_weight: a dict of class to weight, or "balanced": every class counts alike. It multiplies the
            sample weights.

    Attributes:
        classes_: the labels, sorted, a NumPy array.
        module_: the network; its outputs are the logits of `classes_`.
        optimizer_: what trained it.
        history_: the `xpnet.train.History` of the last fit.
        loss_: the mean training loss of the last epoch.
        n_iter_: epochs trained since a fresh start.
        n_features_in_: features of a sample, or channels of a picture.
        feature_names_in_: their names, if X was a data frame with names.

    X and y may be NumPy arrays, lists or data frames; or CuPy (PyTorch, ...) arrays: the network is then
    trained on their device, and what the methods return is of their kind. Labels that are not numbers are
    returned as NumPy arrays. X may be a sparse matrix, of which a batch at a time becomes dense. Weights
    scale each sample's loss: a sample of weight 2 counts as two, one of weight 0 not at all. The network has
    the dtype of X if that is float64, else float32, which is faster.

    >>> from sklearn.datasets import load_iris
    >>> from xpnet.sklearn import XPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = XPNetClassifier((16,), max_iter=100, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    classes_: np.ndarray

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        module: Any = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        tol: float | None = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        class_weight: Any = None,
        random_state: Any = None,
        backend: str | None = None,
        device: Any = None,
        callbacks: Sequence[Any] = (),
        verbose: bool = False,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> XPNetClassifier:
        """Train.

        Args:
            X: (n, features) samples.
            y: (n,) labels: integers, strings or booleans.
            sample_weight: (n,) non-negative weights.

        Raises:
            ValueError: bad parameters, shapes, values or weights.
            xpnet.train.TrainingDivergedError: the loss became NaN or infinite.
        """
        self._check_parameters()
        again = self.warm_start and hasattr(self, "module_")
        x, y = self._check(X, y, reset=not again)
        weights = check_weights(sample_weight, len(y))
        if again:
            return self._learn(x, y, weights, True)
        self.classes_ = np.unique(y if weights is None else y[weights > 0])
        self.n_outputs_ = len(self.classes_)
        return self._learn(x, y, weights, False)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> XPNetClassifier:
        """Train for one epoch on these samples, from where the last call ended.

        Args:
            X: (n, features) samples.
            y: (n,) labels.
            classes: all labels that will ever come; needed in the first call.
            sample_weight: (n,) non-negative weights.

        Raises:
            ValueError: as `fit`; no `classes` in the first call, or other ones later.
        """
        self._check_parameters()
        again = hasattr(self, "module_")
        if classes is not None:
            classes = np.unique(on_host(classes))
            if again and not np.array_equal(classes, self.classes_):
                raise ValueError(f"classes: {classes} are not those of the first call, {self.classes_}")
        elif not again:
            raise ValueError("classes: the first call of partial_fit needs all the labels that will come")
        x, y = self._check(X, y, reset=not again)
        weights = check_weights(sample_weight, len(y))
        if not again:
            self.classes_, self.n_outputs_ = classes, len(classes)
        return self._learn(x, y, weights, again, epochs=1)

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample, (n,)."""
        scores = self._scores(X)
        best = namespace(scores).argmax(scores, axis=1)
        if device_of(X) is None or self.classes_.dtype.kind not in "iufb":
            return self.classes_[to_numpy(best)]
        best = like_input(best, X)
        return namespace(best).take(asarray(self.classes_, backend=device_of(X)), best, axis=0)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each of `classes_`, (n, classes)."""
        log = F.log_softmax(self._scores(X))
        return like_input(namespace(log).exp(log), X)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of the probabilities, (n, classes)."""
        return like_input(F.log_softmax(self._scores(X)), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The fraction of right predictions."""
        weights = None if sample_weight is None else on_host(sample_weight)
        return accuracy_score(on_host(y), on_host(self.predict(X)), sample_weight=weights)

    # ---- parts ----

    def _check(self, X: Any, y: Any, reset: bool) -> tuple[Array, np.ndarray]:
        x, y = check_pairs(self, X, y, images=self.module is not None, reset=reset)
        check_classification_targets(y)
        return x, y

    def _learn(
        self, x: Array, y: np.ndarray, weights: np.ndarray | None, again: bool, epochs: int | None = None
    ) -> XPNetClassifier:
        if weights is not None and not weights.all():  # as if they were not there, for batch norm, too
            kept = np.flatnonzero(weights)
            x, y, weights = rows_of(x, kept), y[kept], weights[kept]
        codes = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1).astype(np.int64)
        unknown = self.classes_[codes] != y
        if unknown.any():
            raise ValueError(f"y has the label {y[unknown][0]}, which is not one of {self.classes_}")
        weights = uneven(self._with_class_weight(codes, weights))
        target: np.ndarray = codes
        if weights is not None:  # rows of the target add up to the weight of the sample
            target = np.zeros((len(y), self.n_outputs_))
            target[np.arange(len(y)), codes] = weights / weights.mean()
        self._train(x, target, F.cross_entropy, codes, again, epochs)
        return self

    def _with_class_weight(self, codes: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        weights = np.ones(len(codes)) if weights is None else weights
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            totals = np.bincount(codes, weights, self.n_outputs_)
            return weights / totals[codes]
        each = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        return weights * each[codes]
