"""The network that the command line trains, its optimizers, and the file it is saved in."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import __version__, nn
from xpnet.data.pipeline import describe, from_description
from xpnet.data.preprocessing import Preprocessing
from xpnet.optim.by_name import OPTIMIZERS as OPTIMIZERS
from xpnet.train import load_arrays, save_arrays


def mlp(inputs: int, layers: list[int], classes: int, dropout: float) -> nn.Sequential:
    """The perceptron of the command line: ReLU, with batch norm."""
    return nn.mlp(inputs, layers, classes, dropout=dropout, batch_norm=True)


# what `xpnet train --model` offers; each is made from arguments that the saved model keeps
MODELS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp,
    "cnn": nn.small_cnn,
    "resnet": nn.small_resnet,
}


def save_model(path: str, model: nn.Module, scaler: Preprocessing, facts: dict[str, Any]) -> None:
    """Weights, running statistics, preprocessing and facts.

    `facts["kind"]` names the model, `facts["model"]` are its arguments, `facts["shape"]` is that of a sample.
    """
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    arrays |= {f"preprocessing.{name}": array for name, array in scaler.state_dict().items()}
    save_arrays(path, arrays, {**facts, "preprocessing": describe(scaler)})


def load_model(path: str) -> tuple[nn.Sequential, Preprocessing, dict[str, Any]]:
    """The model on the default backend, its preprocessing, and the facts.

    Raises:
        ValueError: the file is damaged or holds something else.
        OSError: it cannot be read.
        ImportError: safetensors is missing.
    """
    arrays, facts = load_arrays(path)
    if facts.get("kind") not in MODELS:
        raise ValueError(
            f"{path}: holds {facts.get('kind', 'no model')!r}, expected a network of `xpnet train`"
        )
    model, scaler = MODELS[facts["kind"]](**facts["model"]), from_description(facts["preprocessing"])
    parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "preprocessing": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    model.load_state_dict(parts["model"])
    scaler.load_state_dict(parts["preprocessing"])
    model.eval()
    return model, scaler, facts


def versions() -> dict[str, str]:
    """What a run depended on."""
    return {"xpnet": __version__, "python": platform.python_version(), "numpy": np.__version__}
