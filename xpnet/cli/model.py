"""The networks that the command line trains, and the file that one is saved in."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import __version__, nn
from xpnet.core.reading import reading
from xpnet.data.preprocessing import Preprocessing
from xpnet.io.model import load


def mlp(inputs: int, layers: list[int], classes: int, dropout: float) -> nn.Sequential:
    """The perceptron of the command line: ReLU, with batch norm."""
    return nn.mlp(inputs, layers, classes, dropout=dropout, batch_norm=True)


# what `xpnet train --model` offers; each is made from arguments that the saved model keeps
MODELS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp,
    "cnn": nn.small_cnn,
    "resnet": nn.small_resnet,
}


def load_model(path: str) -> tuple[nn.Module, Preprocessing, dict[str, Any]]:
    """A network of `xpnet train` on the default backend, its preprocessing, and its metadata.

    `metadata["kind"]` names the model, `metadata["model"]` are its arguments, `metadata["shape"]` is that of
    a sample.

    Raises:
        ValueError: the file is damaged or holds something else.
        OSError: it cannot be read.
        ImportError: safetensors is missing.
    """
    with reading(path, "a model of `xpnet train`"):
        saved = load(path)
        if saved.metadata.get("kind") not in MODELS or saved.preprocessing is None:
            raise ValueError(f"{path}: holds a model, but not one of `xpnet train`")
        return saved.model, saved.preprocessing, _checked(saved.metadata)


def _checked(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a model, if the commands can work with them.

    Raises:
        ValueError: naming what is not as `xpnet train` writes it.
    """

    def sizes(value: Any) -> bool:
        return isinstance(value, list) and all(type(n) is int and n > 0 for n in value) and value != []

    names, classes = metadata.get("class_names"), dict(metadata["model"]).get("classes")
    parts = {
        "shape": sizes(metadata["shape"]),
        "picture": sizes(metadata.get("picture", metadata["shape"])),
        "size": sizes([metadata.get("size") or 1]),
        "data": isinstance(metadata["data"], str),
        "classes": type(classes) is int and classes > 0,
        "class_names": names is None
        or (isinstance(names, list) and len(names) == classes and all(isinstance(n, str) for n in names)),
    }
    wrong = [name for name, good in parts.items() if not good]
    if wrong:
        raise ValueError(f"its {wrong[0]} cannot be used")
    return {**metadata, "class_names": names}


def versions() -> dict[str, str]:
    """What a run depended on."""
    return {"xpnet": __version__, "python": platform.python_version(), "numpy": np.__version__}
