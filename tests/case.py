"""One op with one set of options, and what it should equal: a row of the tables of `cases` and others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

Arrays = list[np.ndarray]


@dataclass
class Case:
    """An op with one set of options.

    `function` takes Tensors, `oracle` the same NumPy float64 arrays, `torch` the same torch tensors (and the
    modules torch and torch.nn.functional first).
    """

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    oracle: Callable[..., Any]
    torch: Callable[..., Any] | None = None
    positive: bool = False  # inputs must be positive
    batched: tuple[int, ...] = (0,)  # the inputs whose first axis is the batch
    smallest: int = 0  # the smallest batch the op takes

    def inputs(self, rows: int | None = None) -> Arrays:
        """float64 samples; `rows` replaces the batch size."""
        rng = np.random.default_rng(len(self.name))
        arrays = [rng.normal(size=shape) for shape in self.shapes]
        if self.positive:
            arrays = [np.abs(a) + 0.5 for a in arrays]
        if rows is not None:
            arrays = [a[:rows] if i in self.batched else a for i, a in enumerate(arrays)]
        return arrays


def like_torch(
    name: str, function: Callable[..., Any], shapes: Any, theirs: Callable[..., Any], **options: Any
) -> Case:
    """A case whose oracle is torch itself, in float64."""

    def oracle(*arrays: np.ndarray) -> np.ndarray:
        torch = pytest.importorskip("torch")
        tensors = [torch.tensor(a) for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return theirs(torch, torch.nn.functional, *tensors).numpy()

    return Case(name, function, shapes, oracle, theirs, **options)
