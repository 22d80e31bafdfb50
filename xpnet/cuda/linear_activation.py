"""Launches what `linear_activation` needs: a product, and the passes of kernels/activations.cu around it."""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.cuda.activations import bias_forward, bias_pullback, slope
from xpnet.cuda.element import element
from xpnet.cuda.gemm import gradient_of_weight, multiplied, product, rows_of, shaped
from xpnet.functional.linear import linear_activation as op


def instances(arch: int) -> dict[str, list[str]]:
    """No kernels of its own."""
    return {}


@op.kernel("cupy")
def linear_activation(
    x: Array, weight: Array, bias: Array, activation: str = "relu", p: float | None = None
) -> Any:
    """See `xpnet.functional.linear_activation`: forward one launch for ReLU by cuBLASLt, else two.

    Backward makes the gradient before the activation and, in the same pass, that of the bias.
    """
    t, number = element(x.dtype), slope(activation, p)
    fits = x.ndim >= 2 and weight.ndim == 2 and x.shape[-1] == weight.shape[1] and 0 not in x.shape
    same = x.dtype == weight.dtype == bias.dtype and bias.shape == weight.shape[:1] and bias.shape != (0,)
    if t is None or number is None or not fits or not same:
        return NotImplemented
    rows = rows_of(x)
    y = product(rows, weight.T, None, bias, relu=True) if activation == "relu" else NotImplemented
    kept = y
    if y is NotImplemented:
        z = multiplied(rows, weight.T)
        y = bias_forward(activation, t, number, z, bias)
        kept = z if activation == "gelu" else y
    of_activation = bias_pullback(activation, t, number, kept, bias)

    def into(dy: Array, room: Room) -> tuple[Any, ...]:
        dz, dbias = of_activation(dy, room.get(2))
        return (
            lambda out: shaped(multiplied(dz, weight), x.shape),
            lambda out: gradient_of_weight(dz, rows, out, room.sums.get(1)),
            dbias,
        )

    return shaped(y, (*x.shape[:-1], y.shape[1])), Joint(into)
