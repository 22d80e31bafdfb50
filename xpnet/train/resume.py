"""Checkpoint files: the state of a run (`xpnet.train.run`), and its identity (`xpnet.train.identity`)."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from xpnet.io.files import METADATA, load_tree, plain, save_tree

_KIND = "training checkpoint"


def write_checkpoint(
    path: str | PathLike[str],
    identity: Mapping[str, Any],
    state: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a run's identity and state, and metadata, to one file, whole or not at all.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.
        TypeError: metadata that JSON cannot hold.
    """
    content = {
        "kind": _KIND,
        "settings": identity,
        "state": state,
        METADATA: plain(metadata or {}, keep=True),
    }
    save_tree(path, content)


def load_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """What `Trainer.save_checkpoint` wrote: "settings", "state" and "metadata"; arrays are NumPy arrays.

    "facts", the key in the file, is the same as "metadata".

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or not a checkpoint.
    """
    content = load_tree(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise ValueError(f"{path}: a file of xpnet, but not a {_KIND}")
    return {**content, "metadata": content[METADATA]}
