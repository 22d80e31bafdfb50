"""Launches kernels/labels.cu: the labels of a loss, looked at on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core import notes
from xpnet.core.backend import Array, namespace
from xpnet.core.notes import note_on
from xpnet.cuda import loader

FILE = "labels.cu"
BLOCK = 256
_LABELS = {"int32": "int", "int64": "i64"}


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    return {
        FILE: [
            f"check_labels<{ctype}, {label}, {BLOCK}>"
            for ctype in loader.CTYPES.values()
            for label in _LABELS.values()
        ]
    }


@notes.check_labels.kernel("cupy")
def check_labels(target: Array, dtype: Any, classes: int, ignore_index: int | None, op: int) -> Any:
    """See `xpnet.notes.check_labels`: one launch."""
    ctype = loader.CTYPES.get(np.dtype(dtype).name)
    if ctype is None:
        return NotImplemented
    xp = namespace(target)
    if loader.dtype_name(target.dtype) not in _LABELS:
        target = xp.astype(target, np.int64)
    labels, rows = xp.empty(target.shape, dtype=np.int64), xp.empty(target.shape, dtype=dtype)
    if target.size:
        label = _LABELS[loader.dtype_name(target.dtype)]
        kernel = loader.kernel(FILE, f"check_labels<{ctype}, {label}, {BLOCK}>")
        arrays = (loader.contiguous(target), labels, rows, np.int64(target.size), np.int64(classes))
        options = (np.int32(ignore_index is not None), np.int64(ignore_index or 0), np.int32(op))
        kernel((loader.ceil_div(target.size, BLOCK),), (BLOCK,), (*arrays, *options, note_on(target)))
    return labels, rows
