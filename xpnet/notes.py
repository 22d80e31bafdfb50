"""Mistakes in the data that a device finds: noted there, raised when the host next reads a result.

To look at labels on a GPU the host would have to wait for it. So whoever meets a wrong one on the device
writes a note, four int64 {op, label, classes, row}, into page-locked host memory, which CUDA kernels reach by
the address that the host has; and whatever makes the host wait anyway (`to_numpy`, `item()`) looks there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backend import Array, backend_name, device_key, namespace, on_synchronise

OPS = ("", "cross_entropy", "nll_loss", "multi_margin_loss", "a metric")
"""The op behind each number in a note; 0 is no note."""

_notes: dict[Any, tuple[np.ndarray, Array]] = {}  # a device -> its note as the host and as the device sees it


def note_on(like: Array) -> Array:
    """The note of the device of `like`: (4,) int64, which kernels write through."""
    key = device_key(like)
    if key not in _notes:
        if backend_name(like) == "cupy":
            _notes[key] = namespace(like).page_locked(4)
        else:  # the kernels' emulator works on NumPy arrays
            host = np.zeros(4, np.int64)
            _notes[key] = host, host
    return _notes[key][1]


def check_errors() -> None:
    """Raise what has been noted since the last call. What is still running on a device is not waited for.

    Raises:
        ValueError: names the op, a label that is out of range, its row and the valid range.
    """
    for host, _ in _notes.values():
        if host[0]:
            op, label, classes, row = (int(v) for v in host)
            discard_errors()
            raise ValueError(
                f"{OPS[op]}: label {label} of row {row} is out of range: with {classes} classes, labels are "
                f"0 to {classes - 1}; its loss and gradient are NaN"
            )


def discard_errors() -> None:
    """Forget what has been noted, also by work that is still under way: a later call must not raise it."""
    for host, device in _notes.values():
        if device is not host:
            namespace(device).wait(device)
        host[...] = 0


on_synchronise.append(check_errors)
