"""Launches what `linear_activation` needs: a product, and the passes of kernels/activations.cu around it."""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.cuda import gates, loader
from xpnet.cuda.activations import bias_forward, bias_pullback, flat, of_elementwise, slope
from xpnet.cuda.cublaslt import GELU
from xpnet.cuda.element import element
from xpnet.cuda.gemm import (
    gradient_of_input,
    gradient_of_weight,
    gradients,
    multiplied,
    product,
    rows_of,
    shaped,
    with_relu,
)
from xpnet.functional.linear import linear_activation as op


def instances(arch: int) -> dict[str, list[str]]:
    """No kernels of its own."""
    return {}


@op.kernel("cupy")
def linear_activation(
    x: Array,
    weight: Array,
    bias: Array,
    activation: str = "relu",
    p: float | None = None,
    recorded: bool = False,
) -> Any:
    """See `xpnet.functional.linear_activation`: forward one launch for ReLU by cuBLASLt, else two.

    Backward makes the gradient before the activation and, in the same pass, that of the bias. None of it is
    left to do for ReLU below another linear layer, whose products mask the one and sum the other up.
    """
    t, number = element(x.dtype), slope(activation, p)
    fits = x.ndim >= 2 and weight.ndim == 2 and x.shape[-1] == weight.shape[1] and 0 not in x.shape
    same = x.dtype == weight.dtype == bias.dtype and bias.shape == weight.shape[:1] and bias.shape != (0,)
    if t is None or not fits or not same:
        return NotImplemented
    rows = rows_of(x)
    if activation == "gelu_tanh":
        return _with_gelu(x, rows, weight, bias, recorded)
    if number is None:
        return NotImplemented
    y, gate = with_relu(rows, weight, bias, recorded) if activation == "relu" else (NotImplemented, None)
    kept = y
    if y is NotImplemented:
        z = multiplied(rows, weight.T)
        y = bias_forward(activation, t, number, z, bias)
        kept = z if activation == "gelu" else y
    of_activation = bias_pullback(activation, t, number, kept, bias)

    def into(dy: Array, room: Room) -> tuple[Any, ...]:
        if gate is not None and gate.has_passed(dy):
            return gradients(shaped(dy, y.shape), rows, weight, bias, x.shape, room)
        dz, dbias = of_activation(dy, room.get(2))
        return (
            lambda out: gradient_of_input(dz, weight, x.shape, room),
            lambda out: gradient_of_weight(dz, rows, out, room.sums.get(1)),
            dbias,
        )

    return shaped(y, (*x.shape[:-1], y.shape[1])), Joint(into, gate)


def _with_gelu(x: Array, rows: Array, weight: Array, bias: Array, recorded: bool) -> Any:
    """GELU by tanh in the product, which leaves its input for backward.

    Of 16 bits, whose rounding hides that of cuBLASLt's tanh; others, by linear and gelu_tanh, are exact.
    """
    columns = weight.shape[0]
    if rows.dtype.itemsize > 2 or columns % 8:
        return NotImplemented
    found = flat("GELUTanh", rows.dtype, rows.shape[0] * columns, 0.0)
    if found is None:
        return NotImplemented
    (_, backward), *launch = found
    z = loader.empty(rows, (rows.shape[0], columns), rows.dtype) if recorded else None
    y = product(rows, weight.T, None, bias, GELU, z)
    if y is NotImplemented:
        return y

    def into(dy: Array, room: Room) -> tuple[Any, ...]:
        kept = product(rows, weight.T, None, bias) if z is None else z
        dz = of_elementwise(shaped(dy, y.shape), kept, gates.FILE, backward, *launch)
        return gradients(dz, rows, weight, bias, x.shape, room)

    return shaped(y, (*x.shape[:-1], columns)), Joint(into)
