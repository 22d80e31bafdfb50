"""How exact matrix products of float32 numbers are on a GPU whose tensor cores round their inputs."""

from __future__ import annotations

from xpnet.core.context import Setting, Within

PRECISIONS = ("float32", "tf32", "bf16")
_precision: Setting[str] = Setting("xpnet_matmul_precision", "float32")


class matmul_precision(Within[str]):
    """Let float32 products on CUDA round their inputs, which tensor cores multiply several times faster.

    Args:
        precision: `"float32"`, the default: nothing is rounded. `"tf32"`: inputs are rounded to 10 bits of
            mantissa, a relative error of each product of at most 2^-10. `"bf16"`: to 7 bits, 2^-7. Sums are
            made in float32 in every case.

    Raises:
        ValueError: there is no such precision.

    For a `with` block, in this thread alone; `xpnet.set_matmul_precision` sets it for what follows. It has no
    effect on NumPy, on other dtypes, and where cuBLASLt is missing.

    >>> import xpnet
    >>> a = xpnet.asarray([[1.0, 2.0]])
    >>> with xpnet.matmul_precision("tf32"):
    ...     xpnet.functional.linear(a, a)
    array([[5.]], dtype=float32)
    """

    def __init__(self, precision: str) -> None:
        super().__init__(_precision, _checked(precision))


def set_matmul_precision(precision: str) -> None:
    """`matmul_precision` from here on, in this thread or task; `torch.set_float32_matmul_precision` is alike.

    Args:
        precision: as for `matmul_precision`.

    Raises:
        ValueError: there is no such precision.

    >>> import xpnet
    >>> xpnet.set_matmul_precision("float32")
    """
    _precision.set(_checked(precision))


def get_matmul_precision() -> str:
    """The precision of float32 products here.

    Returns:
        "float32", "tf32" or "bf16".

    >>> import xpnet
    >>> xpnet.get_matmul_precision()
    'float32'
    """
    return _precision.get()


def _checked(precision: str) -> str:
    if precision not in PRECISIONS:
        raise ValueError(f"matmul_precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    return precision
