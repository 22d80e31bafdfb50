"""Preprocessing in several steps, and its description in a saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.data.columns import Columns
from xpnet.data.preprocessing import ChannelMean, MeanImage, MinMax, Preprocessing, Standardize
from xpnet.data.vocabulary import Vocabulary
from xpnet.data.whitening import ZCA, PCAWhiten


class Pipeline(Preprocessing):
    """Several steps, each fitted on what the one before makes of the training set.

    Args:
        steps: in order.

    >>> import numpy as np
    >>> from xpnet.data import MeanImage, PCAWhiten, Pipeline
    >>> x = np.random.default_rng(0).normal(3, [1, 9], size=(50, 2)).astype(np.float32)
    >>> white = Pipeline([MeanImage(), PCAWhiten()]).fit(x).transform(x)
    >>> bool(np.allclose(np.cov(white.T, bias=True), np.eye(2), atol=1e-5))
    True
    """

    def __init__(self, steps: Sequence[Preprocessing]) -> None:
        super().__init__()
        self.steps = list(steps)

    def fit(self, x: Any) -> Pipeline:
        """Fit each step. Raises as the steps do."""
        for i, step in enumerate(self.steps):
            step.fit(x)
            if i + 1 < len(self.steps):
                x = step.transform(x)
        return self

    def transform(self, x: Any) -> Array:
        """Every step after the other."""
        for step in self.steps:
            x = step.transform(x)
        return x

    def inverse(self, x: Any) -> Array:
        """Undo every step, the last one first."""
        for step in reversed(self.steps):
            x = step.inverse(x)
        return x

    @property
    def settings(self) -> dict[str, Any]:
        """The description of each step."""
        return {"steps": [describe(step) for step in self.steps]}

    def state_dict(self) -> dict[str, np.ndarray]:
        """The statistics of every step: `"0.mean"`, `"1.matrix"`."""
        return {f"{i}.{k}": v for i, step in enumerate(self.steps) for k, v in step.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave. Raises as the steps do."""
        for i, step in enumerate(self.steps):
            start = f"{i}."
            step.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})


_ALL = (Standardize, MinMax, MeanImage, ChannelMean, PCAWhiten, ZCA, Columns, Vocabulary)
_KINDS: dict[str, type[Preprocessing]] = {kind.__name__: kind for kind in _ALL}


def describe(preprocessing: Preprocessing) -> dict[str, Any]:
    """What kind of preprocessing this is, as JSON can hold it; the statistics are in its `state_dict`."""
    return {"kind": type(preprocessing).__name__, **preprocessing.settings}


def from_description(description: Mapping[str, Any]) -> Preprocessing:
    """Unfitted preprocessing of the kind that `describe` described.

    Raises:
        ValueError: there is no such kind.

    >>> from xpnet.data.pipeline import describe, from_description
    >>> from xpnet.data import ZCA
    >>> describe(from_description(describe(ZCA(eps=0.1))))
    {'kind': 'ZCA', 'eps': 0.1}
    """
    settings = dict(description)
    kind = settings.pop("kind", None)
    if kind == "Pipeline":
        return Pipeline([from_description(step) for step in settings["steps"]])
    if kind not in _KINDS:
        raise ValueError(f"unknown preprocessing {kind!r}; kinds are {', '.join(_KINDS)}, Pipeline")
    return _KINDS[kind](**settings)
