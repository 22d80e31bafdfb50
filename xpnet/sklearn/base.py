"""What both estimators share: their parameters, and training through `xpnet.train.Trainer`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from xpnet import nn
from xpnet.core import random
from xpnet.core.backend import Array, Backend, dtype_name, get_backend, load, use_backend
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of
from xpnet.data import DataLoader, Dataset, split
from xpnet.data.dataset import take
from xpnet.nn.inference import BATCH, outputs
from xpnet.optim.by_name import OPTIMIZERS, decayed_weights, make_optimizer
from xpnet.sklearn.sparse import SparseSamples, dense_batches, is_sparse, rows_of
from xpnet.sklearn.validation import check_samples, device_of
from xpnet.train import Callback, EarlyStopping, Progress, Trainer, predict

Class = TypeVar("Class", bound=type)

_LOCK = threading.RLock()  # the default random streams and the default backend are the process's

PARAMETERS = """Args:
        hidden_layer_sizes: units of each hidden layer; an integer for one layer, () for a linear model.
        activation: a key of `xpnet.nn.models.ACTIVATIONS`, such as "relu", "tanh", "gelu".
        module: a function of (shape of a sample, number of outputs) that makes the network, instead of the
            parameters of the perceptron; samples may then be pictures, (n, channels, height, width). To be
            pickled, it must be a function of a module, not a lambda.
        dropout: probability of dropping a hidden unit.
        batch_norm: batch norm before each activation.
        optimizer: "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"; or
            a class such as `functools.partial(xpnet.optim.SGD, momentum=0.8)`.
        learning_rate: default: one that suits the optimizer (0.005 for adam).
        alpha: L2 penalty, alpha / 2 * sum W^2 beside the mean loss; biases and norms have none.
        batch_size: samples a batch; "auto": a tenth of them, but at least 64 and at most 200.
        max_iter: epochs at most.
        tol: an epoch improves the loss if it lowers it by more than this; None: train all `max_iter` epochs.
        early_stopping: hold out part of the training data, stop by its loss, keep the best weights;
            otherwise stop by the training loss.
        validation_fraction: the part held out.
        n_iter_no_change: epochs without improvement that are let pass.
        warm_start: `fit` goes on from the weights of the last fit.
        random_state: seed of weights, batches, dropout and the held-out part.
        backend: where to train; default: on the device of X, or for host data on xpnet's default backend.
        device: of that backend.
        callbacks: further `xpnet.train.Callback`s.
        verbose: print a line an epoch."""


def documented(kind: Class) -> Class:
    """Write the common parameters into the docstring of a class, where it says `{parameters}`."""
    kind.__doc__ = (kind.__doc__ or "").replace("{parameters}", PARAMETERS)
    return kind


class Estimator(BaseEstimator):
    """Parameters, training and scores; a subclass says what targets, loss and predictions are."""

    module_: Any
    optimizer_: Any
    _streams_: dict[str, Any]
    n_outputs_: int

    def _set(self, parameters: dict[str, Any]) -> None:
        """Store the arguments of `__init__`, unchanged, as scikit-learn wants them."""
        for name in self._get_param_names():
            setattr(self, name, parameters[name])

    # ---- training ----

    def _train(
        self,
        x: Array,
        target: np.ndarray,
        loss: Callable[[Any, Any], Any],
        labels: np.ndarray | None,
        again: bool,
        epochs: int | None = None,
    ) -> None:
        """Train on checked samples; `epochs` overrides the stopping rules (partial_fit).

        Args:
            x: (n, ...) float32 or float64, where they are.
            target: what `loss` takes beside the output, on the host.
            loss: mean over a batch.
            labels: classes by which the held-out part is stratified.
            again: go on from the weights there are.
            epochs: exactly so many; default: by the parameters.
        """
        backend = self._backend(x)
        with _LOCK, use_backend(backend, backend.device), self._streams(again):
            if not again:
                self.module_ = self._make_module(x)
                self.n_iter_ = 0
            if not again or epochs is None:
                self.optimizer_ = self._make_optimizer(self.module_)
            dtype = _dtype(self.module_)
            data = x, asarray(target, dtype if target.dtype.kind == "f" else None)
            if not is_sparse(x):
                data = asarray(x, dtype), data[1]
            validation = None
            if self.early_stopping and epochs is None:
                indices = np.arange(len(target))
                parts = split(
                    Dataset(indices, indices if labels is None else labels, "X"),
                    (1 - self.validation_fraction, self.validation_fraction),
                    stratify=labels is not None,
                )
                data, held_out = ((rows_of(data[0], p.x), take(data[1], p.x)) for p in parts)
                validation = _batches(held_out, dtype, BATCH, "the held-out part of X", shuffle=False)
            callbacks = [
                *self.callbacks,
                *self._stopping(epochs),
                *([Progress(False)] if self.verbose else []),
            ]
            trainer = Trainer(self.module_, loss, self.optimizer_, callbacks, verbose=False)
            history = trainer.fit(self._loader(data, dtype), validation, epochs or self.max_iter)
        self.history_ = history
        self.n_iter_ += history.epochs
        self.loss_ = history["train_loss"][-1]

    def _stopping(self, epochs: int | None) -> list[Callback]:
        if self.tol is None or epochs is not None:
            return []
        monitor = "val_loss" if self.early_stopping else "train_loss"
        return [
            EarlyStopping(
                self.n_iter_no_change, monitor, min_delta=self.tol, restore_best=self.early_stopping
            )
        ]

    def _loader(self, data: tuple[Any, Array], dtype: str) -> DataLoader:
        n = int(data[0].shape[0])
        size = min(max(64, min(n // 10, 200)) if self.batch_size == "auto" else self.batch_size, n)
        lonely = n > size and n % size == 1  # batch norm cannot use a batch of one sample
        drop_last = lonely and (self.batch_norm or self.module is not None)
        loader = _batches(data, dtype, size, "X", drop_last=drop_last)
        loader.epoch = self.n_iter_  # six calls of partial_fit shuffle as six epochs of fit
        return loader

    def _backend(self, x: Array) -> Backend:
        if self.backend is not None:
            return load(self.backend, self.device)
        return device_of(x) or get_backend()

    @contextmanager
    def _streams(self, again: bool) -> Iterator[None]:
        """Random streams of this estimator's own for a while; then the process's again."""
        with random.forked():
            if again:
                random.set_generator_state(self._streams_)
            else:
                random.manual_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
            try:
                yield
            finally:
                self._streams_ = random.generator_state()

    def _make_module(self, x: Array) -> nn.Module:
        shape, dtype = tuple(x.shape[1:]), dtype_name(x.dtype)
        if self.module is None:
            sizes = self.hidden_layer_sizes
            sizes = [sizes] if isinstance(sizes, int | np.integer) else sizes
            options = self.activation, self.dropout, self.batch_norm, dtype
            return nn.mlp(shape[0], [int(s) for s in sizes], self.n_outputs_, *options)
        module = self.module(shape, self.n_outputs_)
        if not isinstance(module, nn.Module):
            raise TypeError(f"module: expected a function that makes an xpnet.nn.Module, got {module!r}")
        found = predict(module, asarray(rows_of(x, np.array([0])), _dtype(module))).shape
        if tuple(found) != (1, self.n_outputs_):
            raise ValueError(
                f"module: its network gives {tuple(found)} for one sample of shape {shape}, expected "
                f"{(1, self.n_outputs_)}"
            )
        return module

    def _make_optimizer(self, module: nn.Module) -> Any:
        rate = self.learning_rate
        if isinstance(self.optimizer, str):
            return make_optimizer(self.optimizer, module, rate, self.alpha)
        groups = decayed_weights(module, self.alpha) if self.alpha else module
        return self.optimizer(groups) if rate is None else self.optimizer(groups, lr=rate)

    def _check_parameters(self) -> None:
        """Raise ValueError for what would only be noticed in training, or not at all."""
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, int | np.integer) else sizes
        if not isinstance(sizes, Sequence | np.ndarray) or not all(
            isinstance(size, int | np.integer) and size > 0 for size in sizes
        ):
            raise ValueError(f"hidden_layer_sizes: expected positive integers, got {sizes!r}")
        if self.batch_size != "auto" and not (
            isinstance(self.batch_size, int | np.integer) and self.batch_size > 0
        ):
            raise ValueError(f'batch_size: expected "auto" or a positive integer, got {self.batch_size!r}')
        for name in ("max_iter", "n_iter_no_change"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction: expected a number in (0, 1), got {self.validation_fraction}"
            )
        if not self.alpha >= 0:
            raise ValueError(f"alpha: expected a number of at least 0, got {self.alpha}")
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer: expected a class or one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )

    # ---- applying ----

    def _scores(self, x: Any) -> Array:
        """The network's output for each sample, where the network is."""
        check_is_fitted(self)
        x = check_samples(self, x, images=self.module is not None)
        backend = backend_of(self.module_.parameters()[0].data)
        with use_backend(backend, backend.device):
            dtype = _dtype(self.module_)
            if is_sparse(x):
                return outputs(self.module_, dense_batches(x, dtype))
            return predict(self.module_, asarray(x, dtype))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _batches(data: tuple[Any, Array], dtype: str, size: int, name: str, **options: Any) -> DataLoader:
    """Batches of samples, sparse or not, and their targets."""
    x, y = data
    if is_sparse(x):
        return DataLoader(SparseSamples(x, y, dtype), size, collate=SparseSamples.batch, **options)
    return DataLoader(Dataset(x, y, name), size, **options)


def _dtype(module: nn.Module) -> str:
    """The name of a network's dtype."""
    return dtype_name(module.parameters()[0].dtype)
