"""The network that the command line trains, its optimizers, and the file it is saved in."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import __version__, init, nn, optim
from xpnet.data.pipeline import describe, from_description
from xpnet.data.preprocessing import Preprocessing
from xpnet.functional.regularizers import weights
from xpnet.train import load_arrays, save_arrays

# name: (rule, its options, learning rate that suits small networks with batch norm)
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any], float]] = {
    "sgd": (optim.SGD, {}, 0.1),
    "momentum": (optim.SGD, {"momentum": 0.9}, 0.02),
    "nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}, 0.02),
    "adagrad": (optim.Adagrad, {}, 0.02),
    "adadelta": (optim.Adadelta, {}, 1.0),
    "rmsprop": (optim.RMSprop, {}, 0.002),
    "adam": (optim.Adam, {}, 0.005),
    "adamw": (optim.AdamW, {}, 0.005),
}


def mlp(inputs: int, layers: list[int], classes: int, dropout: float) -> nn.Sequential:
    """Linear, batch norm, ReLU, dropout for each hidden layer, and a Linear that gives the scores.

    He initialisation before a ReLU; no bias before batch norm, which would cancel it.
    """
    stack: list[nn.Module] = []
    for size in layers:
        stack += [
            nn.Linear(inputs, size, bias=False, weight_init=init.he_normal),
            nn.BatchNorm1d(size),
            nn.ReLU(),
        ]
        if dropout:
            stack.append(nn.Dropout(dropout))
        inputs = size
    return nn.Sequential(
        *stack, nn.Linear(inputs, classes, weight_init=init.lecun_normal, bias_init=init.zeros)
    )


# what `xpnet train --model` offers; each is made from arguments that the saved model keeps
MODELS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp,
    "cnn": nn.small_cnn,
    "resnet": nn.small_resnet,
}


def make_optimizer(name: str, model: nn.Module, lr: float | None, weight_decay: float) -> optim.Optimizer:
    """The optimizer of that name; weight decay acts on the weights, not on biases and norms."""
    rule, settings, usual_lr = OPTIMIZERS[name]
    settings = {**settings, "lr": usual_lr if lr is None else lr}
    if not weight_decay:
        return rule(model, **settings, weight_decay=0.0)
    decayed = weights(model)
    others = [p for p in model.parameters() if p.ndim < 2]
    return rule(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        **settings,
    )


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
