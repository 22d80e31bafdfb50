"""Mistakes that kernels find in the data. The first is noted in device memory; nothing waits for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backend import Array, to_numpy
from xpnet.cuda import loader

OPS = {1: "cross_entropy"}
"""The op behind each number that kernels pass to `report` in common.cuh."""


def record(xp: Any) -> Array:
    """The current device's record, int64 {op, value, limit}; all zero: no mistake so far."""
    memory = loader.target().memory
    if "errors" not in memory:
        memory["errors"] = xp.zeros(3, dtype=xp.int64)
    return memory["errors"]


def check_errors() -> None:
    """Raise if a kernel has met a label out of range since the last call. This waits for the devices.

    Raises:
        ValueError: names the op, the first bad label and the valid range.
    """
    for target in loader.targets():
        noted = target.memory.get("errors")
        if noted is None:
            continue
        op, value, limit = (int(v) for v in np.array(to_numpy(noted)))
        if op:
            noted[...] = 0
            raise ValueError(
                f"{OPS.get(op, f'op {op}')}: label {value} is out of range: with {limit} classes, labels are "
                f"0 to {limit - 1}; its loss and gradient are NaN"
            )
