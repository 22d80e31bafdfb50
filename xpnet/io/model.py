"""`xpnet.save` and `xpnet.load`: a model, its preprocessing and metadata in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from xpnet.core.backend import Array
from xpnet.core.reading import reading
from xpnet.core.renamed import renamed
from xpnet.init import to_be_loaded
from xpnet.io.files import METADATA, load_arrays, plain, save_arrays
from xpnet.nn.description import describe, from_description
from xpnet.nn.inference import in_batches, outputs
from xpnet.nn.module import Module

if TYPE_CHECKING:  # a model without preprocessing is saved and loaded without xpnet.data
    from xpnet.data.preprocessing import Preprocessing


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

    def predict(self, x: Any) -> Array:
        """The model's output for samples that are not preprocessed yet, as `xpnet.train.predict` gives it."""
        from xpnet.data.dataset import as_array

        if self.preprocessing is not None:
            x = self.preprocessing.transform(x)
        return outputs(self.model, in_batches(as_array(x)))


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
        path: the file.
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
    with reading(path, "a saved model"):
        arrays, content = load_arrays(path)
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
