"""Checkpoint files: the state of a run, and what must be equal for another run to go on from it.

State is everything that changes while training (`xpnet.train.run`). The identity of a run is everything that
two runs must share to be the same; a checkpoint of another one is refused before anything changes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from os import PathLike
from typing import Any

from xpnet.core.backend import dtype_name
from xpnet.core.reading import reading
from xpnet.io.files import METADATA, Content, load_tree, plain
from xpnet.io.generations import older

_KIND = "training checkpoint"


def checkpoint_content(
    identity: Mapping[str, Any], state: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> Content:
    """A run's identity and state, and metadata, as they are written to a file.

    Raises:
        ImportError: safetensors is missing.
        TypeError: metadata that JSON cannot hold.
    """
    return Content.of_tree(
        {
            "kind": _KIND,
            "settings": identity,
            "state": state,
            METADATA: plain(metadata or {}, keep=True),
        }
    )


def load_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """What `Trainer.save_checkpoint` wrote: "settings", "state" and "metadata"; arrays are NumPy arrays.

    "facts", the key in the file, is the same as "metadata". If the file is damaged, and
    `Checkpoint(keep=...)` has kept older ones beside it, the newest of them that is whole is read.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or not a checkpoint, and there is no older one.

    Warns:
        UserWarning: an older one was read; names both, and what is wrong with the newer.
    """
    try:
        return _load(path)
    except ValueError as error:
        for former in older(path):
            try:
                content = _load(former)
            except (ValueError, OSError):
                continue
            step = content["state"]["step"]
            warnings.warn(f"{error}; read {former} instead, of {step} updates", stacklevel=2)
            return content
        raise


def _load(path: str | PathLike[str]) -> dict[str, Any]:
    content = load_tree(path)
    with reading(path, f"a {_KIND}"):
        if not isinstance(content, dict) or content.get("kind") != _KIND:
            raise ValueError(f"{path}: a file of xpnet, but not a {_KIND}")
        state, settings, metadata = content["state"], content["settings"], content[METADATA]
        kinds = {"history": dict, "callbacks": list, "step": int, "batches": int, "stop": bool}
        wrong = [name for name, kind in kinds.items() if type(state[name]) is not kind]
        if wrong or not isinstance(settings, dict) or not isinstance(metadata, dict):
            raise ValueError(f"its {[*wrong, 'settings'][0]} cannot be used")
        return {**content, "metadata": metadata}


def is_whole(path: str | PathLike[str]) -> bool:
    """Whether there is a checkpoint that can be read."""
    try:
        return bool(_load(path))
    except (ValueError, OSError):
        return False


def identity_of(
    model: Any,
    optimizer: Any,
    data: Any,
    training: Mapping[str, Any],
    callbacks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What must be equal for a run to go on as if it had not stopped, in terms of JSON.

    Args:
        model: by its layers, and the shapes and dtypes of its arrays.
        optimizer: by its settings.
        data: by its settings, if it has any, or the number of its batches.
        training: settings of the run itself.
        callbacks: name and settings of each.
    """
    sized = {"batches": len(data)} if isinstance(data, Sized) else {}
    parts = {
        "model": {
            "layers": repr(model).splitlines(),
            "arrays": {
                name: f"{dtype_name(a.dtype)} {list(a.shape)}" for name, a in model.state_dict().items()
            },
        },
        "optimizer": optimizer.settings() if hasattr(optimizer, "settings") else {},
        "data": data.settings() if hasattr(data, "settings") else sized,
        "training": training,
        "callbacks": callbacks,
    }
    return json.loads(json.dumps(parts, default=lambda value: value.item()))


def check_settings(saved: Mapping[str, Any], own: Mapping[str, Any], path: Any) -> None:
    """Compare the identity in a checkpoint with that of a run.

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


def _differences(saved: Any, own: Any, name: str) -> Iterator[str]:
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
