"""Copies to experiment on, so that a diagnostic leaves model, optimizer, loader and random state alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.data import DataLoader, Dataset
from xpnet.data.dataset import take
from xpnet.nn import Dropout, Module
from xpnet.train.evaluation import as_dataset


def copy_of(model: Any, optimizer: Any = None) -> tuple[Any, Any]:
    """Independent copies of a model, in training mode, and of an optimizer over its parameters."""
    copied, copied_optimizer = copy.deepcopy((model, optimizer))
    copied.zero_grad()  # those of the last step have been copied, too
    return copied.train(), copied_optimizer


def leaves(model: Any) -> list[tuple[str, Any]]:
    """(name, module) of the layers: modules that have none inside."""
    named = model.named_modules()
    return [(n, m) for n, m in named if not any(isinstance(child, Module) for _, child in m._children())]


def without_dropout(model: Any) -> Any:
    """The model with every Dropout layer passing everything."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    return model


def in_float64(model: Any) -> Any:
    """The model, a copy that stands alone, with parameters and buffers in float64."""
    for tensor in [*model.parameters(), *(buffer for _, buffer in model.named_buffers())]:
        if "float" in str(tensor.dtype):
            tensor.grad = None  # before its dtype is another
            tensor.data = as_float64(tensor.data)
    return model


def as_float64(x: Array) -> Array:
    """Floating-point arrays in float64, others as they are."""
    xp = namespace(x)
    return xp.astype(x, xp.float64) if "float" in str(x.dtype) else x


def batches_of(data: Any) -> Any:
    """Batches of the data as training would see them, from a loader of our own.

    Args:
        data: a DataLoader, a Dataset or a pair of arrays (shuffled batches of 32), or any iterable of
            (x, y) batches.
    """
    data = as_dataset(data)
    if isinstance(data, Dataset):
        return DataLoader(data)
    return copy.copy(data) if isinstance(data, DataLoader) else data


def dataset_of(data: Any) -> Dataset | None:
    """The data set behind a loader; None if the data is only an iterable of batches."""
    data = as_dataset(getattr(data, "dataset", data))
    return data if isinstance(data, Dataset) else None


def first_samples(data: Any, n: int) -> tuple[Array, Array]:
    """The first n samples of an epoch, as training would see them, on the default backend."""
    xs: list[Array] = []
    ys: list[Array] = []
    found = 0
    for batch in batches_of(data):
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not hasattr(batch[0], "shape"):
            raise TypeError("diagnostics look at batches (x, y) of two arrays; pass data in that form")
        x, y = batch
        xs.append(asarray(x))
        ys.append(asarray(y))
        found += x.shape[0]
        if found >= n:
            break
    if not xs:
        raise ValueError("the training data gave no batches")
    xp = namespace(xs[0])
    stop = min(n, found)
    return xp.concat(xs)[:stop, ...], xp.concat(ys)[:stop, ...]


def is_labels(y: Any) -> bool:
    """Whether targets are class labels: integers, one a sample."""
    return "int" in str(y.dtype) and y.ndim == 1


def balanced(x: Array, y: Array, n: int) -> tuple[Array, Array]:
    """n samples with as many classes as there are, evenly."""
    labels = to_numpy(y)
    order = np.arange(len(labels))
    if is_labels(y):  # the first of each class, then the second of each, ...
        by_class = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[by_class], labels[by_class], side="left")
        order = by_class[np.argsort(np.arange(len(labels)) - starts, kind="stable")]
    chosen = order[:n]
    return take(x, chosen), asarray(take(y, chosen), backend=backend_of(x))
