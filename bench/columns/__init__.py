"""The columns of the report."""

from __future__ import annotations

from collections.abc import Sequence

from bench.columns.base import Column
from bench.columns.jax import JaxColumn
from bench.columns.plain import NumpyColumn, SklearnColumn, ThincColumn
from bench.columns.torch import TorchColumn
from bench.columns.xpnet import XpnetColumn


def all_columns() -> list[Column]:
    """Every column there is, in the order of the report."""
    return [
        XpnetColumn("numpy", fused=True),
        XpnetColumn("numpy", fused=True, captured=True),
        XpnetColumn("numpy", fused=False),
        NumpyColumn(),
        TorchColumn("cpu"),
        TorchColumn("cpu", compiled=True),
        JaxColumn("cpu"),
        SklearnColumn(),
        ThincColumn(),
        XpnetColumn("cupy", fused=True),
        XpnetColumn("cupy", fused=False),
        XpnetColumn("cupy", fused=True, captured=True),
        XpnetColumn("cupy", fused=True, captured=True, precision="tf32"),
        XpnetColumn("cupy", fused=True, captured=True, precision="bf16", channels_last=True),
        TorchColumn("cuda"),
        TorchColumn("cuda", captured=True),
        TorchColumn("cuda", captured=True, precision="tf32"),
        TorchColumn("cuda", precision="bf16", channels_last=True),
        TorchColumn("cuda", compiled=True),
        TorchColumn("cuda", compiled=True, mode="reduce-overhead"),
        JaxColumn("cuda"),
    ]


SLOW_TO_PREPARE = ("compile", "compile-cuda", "compile-cuda-reduce-overhead")
"""Columns that `--quick` leaves out unless they are named: compiling takes minutes."""


def select(names: Sequence[str] | None, quick: bool) -> tuple[list[Column], dict[str, str]]:
    """The columns to try, and why the others are not; what a library lacks here, its own process says.

    Args:
        names: keys of the wanted columns; None for all.
        quick: leave out those that take minutes to prepare.

    Raises:
        ValueError: a name is unknown.
    """
    columns = all_columns()
    known = [c.key for c in columns]
    for name in names or ():
        if name not in known:
            raise ValueError(f"unknown column {name!r}; columns are {', '.join(known)}")
    slow = "left out by --quick, compiling takes minutes; ask with --columns"
    left_out = {}
    for key in known:
        if names is not None and key not in names:
            left_out[key] = "not asked for"
        elif names is None and quick and key in SLOW_TO_PREPARE:
            left_out[key] = f"{slow} {key}"
    return [c for c in columns if c.key not in left_out], left_out


def by_key(key: str) -> Column:
    """The column of that key."""
    return next(c for c in all_columns() if c.key == key)
