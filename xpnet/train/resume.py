"""The whole state of a run: a checkpoint holds it, and training goes on from it bit for bit.

State is everything that changes while training: parameters and buffers, the optimizer's moments and rates,
the random streams, the place in the training data, the history, the running mean of the epoch, what callbacks
remember. Settings are everything that must be equal for two runs to be the same; a checkpoint of other
settings is refused before anything changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sized
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import dtype_name, to_numpy
from xpnet.io.files import load_tree, plain, save_tree
from xpnet.train.callbacks import Callback

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

_KIND = "training checkpoint"


def save_checkpoint(
    trainer: Trainer, path: str | PathLike[str], facts: Mapping[str, Any] | None = None
) -> None:
    """Write a trainer's state, settings and some facts to one file, whole or not at all.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.
        RuntimeError: training was broken off within an update.
    """
    content = {
        "kind": _KIND,
        "settings": settings_of(trainer),
        "state": state_of(trainer),
        "facts": plain(facts or {}, keep=True),
    }
    save_tree(path, content)


def load_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """What `save_checkpoint` wrote: "settings", "state" and "facts"; arrays are NumPy arrays.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or not a checkpoint.
    """
    content = load_tree(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise ValueError(f"{path}: a file of xpnet, but not a {_KIND}")
    return content


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything that changes in training, as copies: nested dicts of arrays and what JSON can hold.

    Raises:
        RuntimeError: training was broken off within an update.
    """
    if not trainer._settled:
        raise RuntimeError(
            "training was broken off within an update: there is nothing exact to save; "
            "resume from the checkpoint written before"
        )
    return {
        "model": _trained(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "random": random.generator_state(),
        "data": _position(trainer.data),
        "validation": _position(trainer.validation),
        "history": dict(trainer.history),
        "mean": trainer._mean.state_dict(),
        "batches": trainer._taken,
        "step": trainer.step,
        "stop": trainer.stop,
        "seconds": trainer._elapsed(),
        "scaler": None if trainer.scaler is None else trainer.scaler.state_dict(),
        "callbacks": [callback.state_dict() for callback in _stateful(trainer)],
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put a trainer where `state_of` found one of equal settings. If that fails, nothing has changed."""
    before = state_of(trainer)
    try:
        _apply(trainer, state)
    except Exception:
        _apply(trainer, before)
        raise


def _apply(trainer: Trainer, state: dict[str, Any]) -> None:
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    for callback, saved in zip(_stateful(trainer), state["callbacks"], strict=True):
        callback.load_state_dict(saved)
    if trainer.scaler is not None:
        trainer.scaler.load_state_dict(state["scaler"])
    for data, position in ((trainer.data, state["data"]), (trainer.validation, state["validation"])):
        if position is not None and hasattr(data, "load_state_dict"):
            data.load_state_dict(position)
    trainer.history.replace(state["history"])
    trainer._mean.load_state_dict(state["mean"])
    trainer._taken, trainer.step, trainer.stop = state["batches"], state["step"], state["stop"]
    trainer._start_clock(state["seconds"])
    trainer._trained = None
    random.set_generator_state(state["random"])
    random.split_by_rank(trainer.communicator.rank)


def _position(data: Any) -> Any:
    """Where a loader is; None for data that always begin at their beginning."""
    return data.state_dict() if hasattr(data, "state_dict") else None


def _trained(trainer: Trainer) -> dict[str, Any]:
    """The weights that training would go on with: not the best or averaged ones it put in at its end."""
    current = trainer.model.state_dict()
    if trainer._trained is None:
        return current
    shown, trained = trainer._trained
    same = all(
        np.array_equal(_host(shown[name]), _host(value), equal_nan=True) for name, value in current.items()
    )
    return trained if same else current


def _host(array: Any) -> np.ndarray:
    return np.asarray(to_numpy(array), dtype=np.float64)


def _stateful(trainer: Trainer) -> list[Callback]:
    return [c for c in trainer.callbacks if type(c).state_dict is not Callback.state_dict]


# ---- settings ---------------------------------------------------------------------------------------------


def settings_of(trainer: Trainer) -> dict[str, Any]:
    """What must be equal for a run to go on as if it had not stopped, in terms of JSON."""
    data, optimizer = trainer.data, trainer.optimizer
    parts = {
        "model": {
            "layers": repr(trainer.model).splitlines(),
            "arrays": {
                name: f"{dtype_name(a.dtype)} {list(a.shape)}"
                for name, a in trainer.model.state_dict().items()
            },
        },
        "optimizer": optimizer.settings() if hasattr(optimizer, "settings") else {},
        "data": data.settings()
        if hasattr(data, "settings")
        else {"batches": len(data)}
        if isinstance(data, Sized)
        else {},
        "training": trainer.settings(),
        "callbacks": [
            {"name": type(c).__name__, **c.settings()}
            for c in trainer.callbacks
            if c in _stateful(trainer) or type(c).settings is not Callback.settings
        ],
    }
    return json.loads(json.dumps(parts, default=lambda value: value.item()))


def check_settings(saved: Mapping[str, Any], own: Mapping[str, Any], path: Any) -> None:
    """Compare the settings of a checkpoint with those of a trainer.

    Raises:
        ValueError: naming what differs, with both values.
    """
    differences = list(_differences(saved, own, ""))
    if differences:
        raise ValueError(
            f"{path}: this checkpoint is of another run: "
            + "; ".join(differences[:3])
            + ". Nothing was changed"
        )


def _differences(saved: Any, own: Any, name: str) -> Any:
    if isinstance(saved, dict) and isinstance(own, dict):
        for key in [*saved, *(k for k in own if k not in saved)]:
            yield from _differences(saved.get(key), own.get(key), f"{name}.{key}" if name else key)
    elif isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own) and name != "callbacks":
        for i, (a, b) in enumerate(zip(saved, own, strict=True)):
            yield from _differences(a, b, f"{name}[{i}]")
    elif saved != own:
        yield f"{name} is {_short(saved)} there and {_short(own)} here"


def _short(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else "absent" if value is None else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
