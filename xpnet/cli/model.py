"""The networks that the command line trains, and the file that one is saved in."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import __version__, nn
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
    saved = load(path)
    if saved.metadata.get("kind") not in MODELS or saved.preprocessing is None:
        raise ValueError(f"{path}: holds a model, but not one of `xpnet train`")
    return saved.model, saved.preprocessing, saved.metadata


def versions() -> dict[str, str]:
    """What a run depended on."""
    return {"xpnet": __version__, "python": platform.python_version(), "numpy": np.__version__}
