"""Mistakes in the data that a device finds: noted there, raised when the host next reads a result.

To look at labels on a GPU the host would have to wait for it. So whoever meets a wrong one on the device
writes a note, four int64 {op, label, classes, row}, into page-locked host memory, which CUDA kernels reach by
the address that the host has; and whatever makes the host wait anyway (`to_numpy`, `item()`) looks there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import on_synchronise
from xpnet.core.places import backend_name, device_key, namespace
from xpnet.core.registry import fusable

OPS = ("", "cross_entropy", "nll_loss", "multi_margin_loss", "a metric", "an index", "embedding")
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
        IndexError: likewise for an index.
    """
    for host, _ in _notes.values():
        if host[0]:
            op, label, classes, row = (int(v) for v in host)
            discard_errors()
            if OPS[op] == "an index":
                raise IndexError(
                    f"index {label if label >= 0 else label - classes} (entry {row}) is out of range for an "
                    f"axis of {classes} elements"
                )
            if OPS[op] == "embedding":
                raise IndexError(
                    f"embedding: {label} (entry {row}) is out of range: of {classes} rows, numbers are 0 to "
                    f"{classes - 1}"
                )
            raise ValueError(
                f"{OPS[op]}: label {label} of row {row} is out of range: with {classes} classes, labels are "
                f"0 to {classes - 1}; its loss and gradient are NaN (in this call or in an earlier one "
                "that nobody has read)"
            )


def discard_errors() -> None:
    """Forget what has been noted, also by work that is still under way: a later call must not raise it."""
    for host, device in _notes.values():
        if device is not host:
            namespace(device).wait(device)
        host[...] = 0


@fusable
def check_labels(
    target: Array, dtype: Any, classes: int, ignore_index: int | None, op: int
) -> tuple[Array, Array]:
    """Labels on a CUDA device, looked at there: one that is out of range is noted (`xpnet.notes`).

    Args:
        target: (N,) integers.
        dtype: of the second result.
        classes: labels are 0 to classes - 1.
        ignore_index: the label of rows that do not count, or None.
        op: whose labels they are, its place in `xpnet.notes.OPS`.

    Returns:
        (N,) int64 labels, and what each row counts: 1, 0 if it is ignored, NaN if its label is out of range.
    """
    xp, note = namespace(target), note_on(target)
    target = xp.astype(target, xp.int64)
    wrong = (target < 0) | (target >= classes)
    rows = xp.ones_like(target, dtype=dtype)
    if ignore_index is not None:
        skip = target == ignore_index
        wrong, rows = wrong & ~skip, rows * xp.astype(~skip, dtype)
    rows = xp.where(wrong, xp.full_like(rows, math.nan), rows)
    if target.shape[0]:
        row = xp.argmax(xp.astype(wrong, xp.int8))
        found = xp.stack([xp.full_like(row, op), xp.take(target, row), xp.full_like(row, classes), row])
        note += xp.where(xp.any(wrong) & (note[0] == 0), found, xp.zeros_like(found))
    return xp.where(wrong | (rows == 0), xp.zeros_like(target), target), rows


on_synchronise.append(check_errors)
