"""The regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from xpnet import functional as F
from xpnet.core.backend import Array, dtype_name
from xpnet.sklearn.base import Estimator, documented
from xpnet.sklearn.sparse import rows_of
from xpnet.sklearn.validation import check_pairs, check_weights, like_input, on_host, uneven


def _weighted_mse(output: Any, target: Any) -> Any:
    """Mean of w (output - y)^2; the last column of the target is sqrt(w), the others are sqrt(w) y."""
    return F.mse_loss(output * target[:, -1:], target[:, :-1])


@documented
class XPNetRegressor(RegressorMixin, Estimator):
    """A network that predicts numbers, trained by the squared error.

    {parameters}

    Attributes:
        module_: the network; its outputs are standardised targets.
        target_mean_: mean of the targets of the first fit, (outputs,).
        target_std_: their standard deviation, 1 where it is 0.
        optimizer_: what trained it.
        history_: the `xpnet.train.History` of the last fit; losses are in units of the targets' variance.
        loss_: the mean training loss of the last epoch.
        n_iter_: epochs trained since a fresh start.
        n_features_in_: features of a sample, or channels of a picture.
        feature_names_in_: their names, if X was a data frame with names.

    Targets are standardised for training, so their scale does not matter; that of X does: put a scaler
    before. X may be sparse or on a device and weights given, as for `XPNetClassifier`.

    >>> from sklearn.datasets import load_diabetes
    >>> from xpnet.sklearn import XPNetRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=True)
    >>> model = XPNetRegressor((16,), max_iter=50, random_state=0).fit(X * 20, y)
    >>> model.score(X * 20, y) > 0.5
    True
    """

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
        random_state: Any = None,
        backend: str | None = None,
        device: Any = None,
        callbacks: Sequence[Any] = (),
        verbose: bool = False,
    ) -> None:
        self._set(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> XPNetRegressor:
        """Train.

        Args:
            X: (n, features) samples.
            y: (n,) or (n, outputs) numbers.
            sample_weight: (n,) non-negative weights.

        Raises:
            ValueError: bad parameters, shapes, values or weights.
            xpnet.train.TrainingDivergedError: the loss became NaN or infinite.
        """
        return self._learn(X, y, sample_weight, self.warm_start and hasattr(self, "module_"))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> XPNetRegressor:
        """Train for one epoch on these samples, from where the last call ended.

        Args:
            X: (n, features) samples.
            y: (n,) or (n, outputs) numbers; those of the first call set the standardisation.
            sample_weight: (n,) non-negative weights.

        Raises:
            ValueError: as `fit`.
        """
        return self._learn(X, y, sample_weight, hasattr(self, "module_"), epochs=1)

    def predict(self, X: Any) -> Array:
        """The predicted numbers, (n,) or (n, outputs) as y was in the first fit."""
        output = like_input(self._scores(X), X)
        dtype = dtype_name(output.dtype)
        mean, std = (like_input(a.astype(dtype), X) for a in (self.target_mean_, self.target_std_))
        y = output * std + mean
        return y[:, 0] if self._one_dimensional_ else y

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2, the fraction of the variance that is explained."""
        weights = None if sample_weight is None else on_host(sample_weight)
        return r2_score(on_host(y), on_host(self.predict(X)), sample_weight=weights)

    def _learn(
        self, X: Any, y: Any, sample_weight: Any, again: bool, epochs: int | None = None
    ) -> XPNetRegressor:
        self._check_parameters()
        x, y = check_pairs(
            self, X, y, images=self.module is not None, reset=not again, multi_output=True, y_numeric=True
        )
        weights = check_weights(sample_weight, len(y))
        one_dimensional, y = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        if weights is not None and not weights.all():  # as if they were not there, for batch norm, too
            kept = np.flatnonzero(weights)
            x, y, weights = rows_of(x, kept), y[kept], weights[kept]
        if not again:
            self._one_dimensional_, self.n_outputs_ = one_dimensional, y.shape[1]
            self.target_mean_ = np.average(y, axis=0, weights=weights)
            deviation = np.sqrt(np.average((y - self.target_mean_) ** 2, axis=0, weights=weights))
            constant = y.min(axis=0) == y.max(axis=0)  # rounding leaves such a deviation just above 0
            self.target_std_ = np.where(constant, 1.0, deviation)
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {y.shape[1]} outputs, the first fit had {self.n_outputs_}")
        weights = uneven(weights)
        target = (y - self.target_mean_) / self.target_std_
        loss: Any = F.mse_loss
        if weights is not None:
            root = np.sqrt(weights / weights.mean())[:, None]
            target, loss = np.concatenate([target * root, root], axis=1), _weighted_mse
        self._train(x, target, loss, None, again, epochs)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
