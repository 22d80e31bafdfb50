"""Checkpoint files: the state of a run (`xpnet.train.run`), and its identity (`xpnet.train.identity`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import Any

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
