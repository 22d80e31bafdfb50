"""Products in a 16-bit type, everything that adds up many numbers in float32, of a float32 model.

The parameters stay float32 ("master weights"), and so do their gradients: what goes into a product is rounded
on the way (Micikevicius et al., 2018; PyTorch's `torch.autocast`).
"""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Backend, dtype_name, named_dtype
from xpnet.core.checks import nearest
from xpnet.core.context import Within, autocasts, casting
from xpnet.core.node import Carried, Node
from xpnet.core.op import is_recording
from xpnet.core.operators import astype
from xpnet.core.places import backend_of
from xpnet.core.versions import last

TYPES = {"bf16": "bfloat16", "bfloat16": "bfloat16", "float16": "float16"}

LOWER = frozenset(
    ("attention", "bias_activation", "conv2d", "einsum", "linear", "linear_activation", "matmul")
) | {"attention_matrix", "recurrence", "transposed", "two_sided"}
"""Ops whose float32 arguments are rounded: products, and what is made in one pass with them."""

UPPER = (
    frozenset(("batch_norm", "batch_norm_relu", "group_norm", "layer_norm", "rms_norm"))
    | {"log_softmax", "logsigmoid", "softmax", "softplus", "of_norm_1", "of_length"}
    | {"cumulative_sum", "mean", "power", "prod", "std", "sum", "var"}
    | {"erf", "exp", "expm1", "log", "log10", "log1p", "log2", "logaddexp", "reciprocal", "sinh", "cosh"}
    | {"absolute_norm", "gaussian_kl", "kl_div", "squared_norm", "weighted_binary_cross_entropy"}
)
"""Ops that are made in float32, beside all losses. In the others float32 wins where both meet."""


class autocast(Within[Any]):
    """Make products of float32 numbers in a 16-bit type inside the block, with parameters that stay float32.

    Args:
        dtype: `"bf16"` (or `"bfloat16"`): 7 bits of mantissa, a relative error of each input of at most 2^-8,
            the range of float32. `"float16"`: 10 bits, 2^-11, and nothing above 65504 or below 6e-8: a
            `xpnet.train.LossScaler` keeps gradients in that range.

    Raises:
        ValueError: another type.

    For the forward pass alone, in this thread; `backward` follows in the types that it finds. Rounded are the
    arguments of linear layers, products, convolutions, attention and recurrences, whose sums are made in
    float32 and rounded once. In float32 are losses, softmax, the norms with their statistics, sums, means,
    powers, exponentials and logarithms. Everything else takes what comes, in float32 where both meet.
    A parameter is rounded once a block, and anew after an optimizer's step; its gradient is float32. Float64
    is left alone, and so are methods that write in place. `Trainer(precision=...)` does all of this.

    >>> import xpnet
    >>> from xpnet import nn
    >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2), nn.Softmax())
    >>> x = xpnet.asarray([[1.0, 2.0, 3.0, 4.0]])
    >>> with xpnet.autocast("float16"):
    ...     hidden, y = model[0](x), model(x)
    >>> hidden.dtype, y.dtype, model[0].weight.dtype
    (dtype('float16'), dtype('float32'), dtype('float32'))
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = type_named("autocast", dtype)
        super().__init__(casting, None)

    def __enter__(self) -> None:
        casting.enter(Casting(self._dtype))
        autocasts[0] += 1

    def __exit__(self, *exc: object) -> None:
        autocasts[0] -= 1
        casting.leave()


def type_named(who: str, name: Any) -> str:
    """The dtype that a user means.

    Raises:
        ValueError: none of them.
    """
    if not isinstance(name, str) or name not in TYPES:
        near = nearest(name, tuple(TYPES))
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f'{who}: expected "bf16" or "float16", got {name!r}{hint}')
    return TYPES[name]


class Casting:
    """What happens to the arguments of ops inside one block.

    Args:
        dtype: its name.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._rounded: dict[tuple[int, bool], tuple[Any, Any, Any]] = {}  # parameters, kept alive, and values
        self._written = last[0]

    def __call__(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The op of arguments in the types that it wants."""
        if any(isinstance(a, Carried) for a in args):
            return op(*args, **kwargs)
        with casting.within(None):
            name = op.__name__
            if name in LOWER:
                args = self._lower(args)
            elif op.is_loss or name in UPPER or name.endswith(("_loss", "_logits", "entropy")):
                args = _to_float32(args)
            elif name not in ("astype", "clone") and len(args) > 1:
                kinds = {dtype_name(a.dtype) for a in args if hasattr(a, "dtype")}
                if "float32" in kinds and len(kinds & {"float16", "bfloat16"}) > 0:
                    args = _to_float32(args)
            return op(*args, **kwargs)

    def _lower(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(dtype_name(a.dtype) == "float64" for a in args if hasattr(a, "dtype")):
            return args
        return tuple(self._round(a) if _is(a, "float32") else a for a in args)

    def _round(self, a: Any) -> Any:
        if not (isinstance(a, Node) and a.requires_grad and a._pullback is None):
            return _as(a, self.dtype)
        if self._written != last[0]:  # an optimizer's step: parameters have other values
            self._written = last[0]
            self._rounded.clear()
        key = id(a), is_recording()
        _, data, rounded = self._rounded.get(key, (None, None, None))
        if data is not a._data or (key[1] and rounded._pullback is None):  # assigned; freed by backward
            rounded = _as(a, self.dtype)
            self._rounded[key] = a, a._data, rounded
        return rounded


def _is(a: Any, *names: str) -> bool:
    return hasattr(a, "dtype") and hasattr(a, "shape") and dtype_name(a.dtype) in names


def _to_float32(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_as(a, "float32") if _is(a, "float16", "bfloat16") else a for a in args)


def _as(a: Any, dtype: str) -> Any:
    return astype(a, named_dtype(dtype, backend_of(a._data if isinstance(a, Node) else a)))


def check_available(who: str, name: str, backend: Backend) -> None:
    """Whether a backend has the type.

    Raises:
        ValueError: it has not; says what to do.
    """
    try:
        named_dtype(TYPES[name], backend)
    except (ImportError, TypeError):
        other = 'or take precision="float16"' if name != "float16" else 'or take precision="float32"'
        raise ValueError(
            f'{who}: precision="{name}" needs bfloat16, which {backend.name} has not; pip install '
            f'"xpnet[bfloat16]", {other}'
            if TYPES[name] == "bfloat16"
            else f'{who}: precision="{name}" needs float16, which {backend.name} has not; take '
            'precision="float32", or another backend'
        ) from None
