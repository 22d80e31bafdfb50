"""`xpnet.save` and `xpnet.load`: a model, its preprocessing and metadata in one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.core.places import namespace
from xpnet.core.reading import reading
from xpnet.core.renamed import renamed
from xpnet.functional import softmax
from xpnet.init import to_be_loaded
from xpnet.io.files import METADATA, ForeignFileError, load_arrays, load_foreign, plain, save_arrays
from xpnet.nn.container import Average
from xpnet.nn.description import describe, from_description
from xpnet.nn.inference import in_batches, outputs
from xpnet.nn.module import Module

if TYPE_CHECKING:  # a model without preprocessing is saved and loaded without xpnet.data
    from xpnet.data.preprocessing import Preprocessing


TASKS = ("classification", "regression", "text", "reconstruction")


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes:
        model: in evaluation mode.
        preprocessing: fitted; None if there is none.
        metadata: whatever was saved beside them; `facts` is its earlier name.
    """

    model: Any
    preprocessing: Preprocessing | None
    metadata: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """The earlier name of `metadata`."""
        return self.metadata

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes, if the file has them.

        Raises:
            ValueError: they are no list of names.
        """
        names = self.metadata.get("class_names")
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
            raise ValueError("its class_names cannot be used: expected a list of names")
        return [str(name) for name in names]

    @property
    def task(self) -> str:
        """One of `TASKS`; "classification" unless the file says otherwise.

        Raises:
            ValueError: the file says something else.
        """
        task = self.metadata.get("task", "classification")
        if task not in TASKS:
            raise ValueError(f"its task is {task!r}, expected one of {', '.join(TASKS)}")
        return str(task)

    def samples(self, x: Any) -> Array:
        """What the model takes, for samples that are not preprocessed yet: as `predict` does it.

        Raises:
            ValueError: columns are missing, or samples have another number of values.
        """
        from xpnet.data.columns import Columns
        from xpnet.data.dataset import as_array
        from xpnet.data.frame import is_table

        first = getattr(self.preprocessing, "steps", [self.preprocessing])[0]
        if not isinstance(first, Columns):
            if is_table(x):
                x = numbers_of(x, self.metadata.get("columns"))
            x = as_array(x)
            shape = self.metadata.get("shape")
            if shape is not None and math.prod(x.shape[1:]) == math.prod(shape):
                x = namespace(x).reshape(x, (x.shape[0], *shape))
        if self.preprocessing is not None:
            x = self.preprocessing.transform(x)
        return as_array(x)

    def predict(self, x: Any) -> Array:
        """The model's output for samples that are not preprocessed yet, as `xpnet.train.predict` gives it.

        Args:
            x: (n, ...) samples of the training data's shape, or flat; for a model of a table, a data frame of
                pandas or polars, an Arrow table or a dict, whose columns are found by their names.

        Returns:
            Scores, (n, classes); or the predicted numbers of a regression.
        """
        return outputs(self.model, in_batches(self.samples(x)))

    def predict_interval(self, x: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The ends of an interval around each predicted number, (n,) each, that has the true one so often.

        For a new row like those of the table, the true number is inside with a probability of at least
        `level`: an average over rows, not a promise for each. `xpnet train table --ensemble N` makes such
        models; the factors come from rows that no network was trained on.

        Args:
            x: as for `predict`.
            level: one of 0.5, 0.8, 0.9, 0.95 and 0.99.

        Raises:
            ValueError: the model has no intervals, or none of that level.
        """
        from xpnet.io.intervals import around

        return around(members_of(self.model, self.samples(x)), self.metadata.get("intervals"), level)

    def predict_proba(self, x: Any) -> np.ndarray:
        """The probability of each class, (n, classes), in the order of `class_names`; x as for `predict`.

        Raises:
            ValueError: the model predicts numbers.

        >>> import os, tempfile, xpnet
        >>> from xpnet import nn
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> xpnet.save(nn.Linear(2, 3), path, metadata={"columns": ["width", "height"]})
        >>> xpnet.load(path).predict_proba({"height": [1.0, 2.0], "width": [0.5, 0.1]}).shape
        (2, 3)
        """
        return probabilities_of(self.predict(x), self.task)

    def predict_class(self, x: Any) -> list[str]:
        """The name of the most probable class of each sample; its number where classes have no names."""
        chosen = self.predict_proba(x).argmax(axis=1)
        names = self.class_names
        return [str(k) if names is None else names[k] for k in chosen]


def members_of(model: Module, samples: Array) -> np.ndarray:
    """What each member of an ensemble predicts of one number a sample, (members, n) float64."""
    members = model.layers if isinstance(model, Average) else [model]
    found = [to_numpy(outputs(member, in_batches(samples))) for member in members]
    return np.stack(found)[..., 0].astype(np.float64)


def probabilities_of(scores: Array, task: str = "classification") -> np.ndarray:
    """The probability of each class for scores (n, classes); one score a sample is that of the second of two.

    Raises:
        ValueError: they are no scores of classes.
    """
    if task != "classification" or scores.ndim != 2:
        raise ValueError(f"the model predicts numbers, {tuple(scores.shape)}, not classes: use predict")
    if scores.shape[1] == 1:
        xp = namespace(scores)
        scores = xp.concat([xp.zeros_like(scores), scores], axis=1)
    return to_numpy(softmax(scores))


def numbers_of(x: Any, names: Sequence[str] | None) -> np.ndarray:
    """A table of numbers as an array, (n, columns) float32, its columns in the order of `names`.

    Raises:
        ValueError: a column is missing, is not of numbers, or has missing values.
    """
    from xpnet.data.frame import as_frame

    frame = as_frame(x)
    by_name = frame.names is not None and names is not None
    places = [frame.index(name) for name in names or ()] if by_name else range(len(frame.columns))
    columns = []
    for j in places:
        numbers = frame.columns[j].numbers
        if numbers is None or frame.columns[j].missing.any():
            bad = np.flatnonzero(frame.columns[j].missing if numbers is not None else _odd(frame.columns[j]))
            raise frame.fault(int(bad[0]), j, "is not a number")
        columns.append(numbers)
    return np.stack(columns, axis=1).astype(np.float32)


def _odd(column: Any) -> np.ndarray:
    from xpnet.data.text import is_number

    return np.array([not is_number(text) for text in column.texts])


@renamed(facts="metadata")
def save(
    model: Module,
    path: str | PathLike[str],
    preprocessing: Preprocessing | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: a Module on any backend.
        path: the file, replaced if it exists.
        preprocessing: fitted on the training set, to be applied to every sample.
        metadata: anything else that JSON can hold, such as the names of the classes; numbers and arrays of
            NumPy and paths become what it can.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.
        TypeError: something that JSON cannot hold, by name.

    Any reader of safetensors finds the weights under `model.<name>`, with PyTorch's names and layouts, and
    the statistics under `preprocessing.<name>`. A model of your own classes is saved, too, but only your code
    can make it again: `xpnet.load(path, Net())`.

    >>> import os, tempfile, numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.data import Standardize
    >>> x = np.float32([[1.0, 20.0], [3.0, 10.0]])
    >>> model, scaler = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), Standardize().fit(x)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> xpnet.save(model, path, scaler, {"class_names": ["a", "b", "c"]})
    >>> saved = xpnet.load(path)
    >>> bool((saved.predict(x) == model(scaler.transform(x))).all())
    True
    >>> saved.metadata["class_names"]
    ['a', 'b', 'c']
    """
    arrays, fitted = {f"model.{name}": array for name, array in model.state_dict().items()}, None
    if preprocessing is not None:
        from xpnet.data.pipeline import describe as describe_preprocessing

        fitted = describe_preprocessing(preprocessing)
        arrays |= {f"preprocessing.{name}": a for name, a in preprocessing.state_dict().items()}
    try:
        layers, reason = describe(model), None
    except TypeError as error:
        layers, reason = None, str(error)
    content = {
        "content": "model",
        "class": type(model).__name__,
        "layers": layers,
        "reason": reason,
        "preprocessing": fitted,
        METADATA: plain(metadata or {}),
    }
    save_arrays(path, arrays, content)


def load(path: str | PathLike[str], model: Module | None = None) -> Saved:
    """Read what `save` wrote.

    Args:
        path: the file; with `model`, also a safetensors file that another program wrote, such as PyTorch's.
        model: a model to take the weights, where it is; default: one like the saved one is made, on the
            default backend.

    Returns:
        The model in evaluation mode, its preprocessing and the metadata: see `Saved`.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds something else, or holds a model that needs `model`.

    >>> import os, tempfile, xpnet
    >>> from xpnet import nn
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> xpnet.save(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), path)
    >>> saved = xpnet.load(path)
    >>> saved.model(xpnet.asarray([[1.0, 2.0]])).shape, saved.preprocessing
    ((1, 3), None)
    """
    try:
        arrays, content = load_arrays(path)
    except ForeignFileError:
        if model is None:
            raise
        arrays, foreign = load_foreign(path)
        model.load_state_dict(arrays)
        return Saved(model.eval(), None, {**foreign})
    with reading(path, "a saved model"):
        if content.get("content") != "model":
            hint = "; resume from it with Trainer.fit(..., resume=path)" if "tree" in content else ""
            raise ValueError(f"{path}: not a saved model, as xpnet.save writes it{hint}")
        parts: dict[str, dict[str, Any]] = {"model": {}, "preprocessing": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = array
        preprocessing, metadata = None, content[METADATA]
        if not isinstance(metadata, dict):
            raise ValueError(f"its metadata are a {type(metadata).__name__}")
        if content["preprocessing"] is not None:
            from xpnet.data.pipeline import from_description as make_preprocessing

            preprocessing = make_preprocessing(content["preprocessing"])
            preprocessing.load_state_dict(parts["preprocessing"])
        if model is None:
            if content["layers"] is None:
                raise ValueError(
                    f"{path}: holds the weights of a {content['class']}, which cannot be made from the file "
                    f"({content['reason']}); make it and pass it: load(path, model)"
                )
            with to_be_loaded(sum(array.size for array in parts["model"].values())):
                model = from_description(content["layers"])
            model.load_state_dict(parts["model"])
            return Saved(model.eval(), preprocessing, metadata)
    model.load_state_dict(parts["model"])
    return Saved(model.eval(), preprocessing, metadata)
