"""What `Trainer(precision=...)` means: the types of products, and of what flows between layers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from xpnet.core.autocast import TYPES, autocast, check_available
from xpnet.core.backend import dtype_name
from xpnet.core.checks import nearest
from xpnet.core.places import backend_of
from xpnet.core.precision import matmul_precision

PRECISIONS = ("float32", "tf32", "bf16", "float16")


def check_precision(precision: Any, model: Any) -> str | None:
    """The precision, if this model can be trained in it.

    Raises:
        ValueError: there is no such precision, the backend has no such type, or the model is not float32.
    """
    if precision is None:
        return None
    if precision not in PRECISIONS:
        near = nearest(str(precision), PRECISIONS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(
            f"Trainer: precision must be one of {', '.join(PRECISIONS)}, or None, got {precision!r}{hint}"
        )
    for name, p in model.named_parameters() if hasattr(model, "named_parameters") else ():
        if dtype_name(p.dtype) != "float32":
            raise ValueError(
                f"Trainer: precision={precision!r} is of a float32 model, whose weights stay so; {name} is "
                f"{dtype_name(p.dtype)}: make the model without dtype=, or leave precision away"
            )
        if precision in TYPES:
            check_available("Trainer", precision, backend_of(p.data))
    return str(precision)


def forward_in(precision: str | None) -> AbstractContextManager[object]:
    """Around a forward pass."""
    return autocast(precision) if precision in TYPES else nullcontext()


def products_in(precision: str | None) -> AbstractContextManager[object]:
    """Around forward and backward pass: how exact products of float32 numbers are."""
    return matmul_precision(precision) if precision in ("float32", "tf32") else nullcontext()
