"""Launches kernels/labels.cu: the labels of a loss, looked at on the device."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from xpnet.core import notes
from xpnet.core.backend import Array
from xpnet.core.notes import note_on
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element

FILE = "labels.cu"
BLOCK = 256
_LABELS = {np.dtype("int32"): "int", np.dtype("int64"): "i64"}


@cache
def _name(t: Element, label: str) -> str:
    return f"check_labels<{t.ctype}, {label}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    return {FILE: [_name(t, label) for t in ELEMENTS.values() for label in _LABELS.values()]}


@notes.check_labels.kernel("cupy")
def check_labels(target: Array, dtype: Any, classes: int, ignore_index: int | None, op: int) -> Any:
    """See `xpnet.notes.check_labels`: one launch."""
    t = element(np.dtype(dtype))
    if t is None:
        return NotImplemented
    if target.dtype not in _LABELS:
        target = namespace(target).astype(target, np.int64)
    labels = loader.empty(target, target.shape, np.int64)
    rows = loader.empty(target, target.shape, dtype)
    if target.size:
        kernel = loader.kernel(FILE, _name(t, _LABELS[target.dtype]))
        arrays = (loader.contiguous(target), labels, rows, loader.int64(target.size), loader.int64(classes))
        options = (loader.int32(ignore_index is not None), loader.int64(ignore_index or 0), loader.int32(op))
        kernel((loader.ceil_div(target.size, BLOCK),), (BLOCK,), (*arrays, *options, note_on(target)))
    return labels, rows
