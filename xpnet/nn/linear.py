"""Affine layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import axis, initializer, size
from xpnet.nn import fuse
from xpnet.nn.activation import fused_name
from xpnet.nn.module import Layer, Module
from xpnet.nn.parameter import Parameter


class Linear(Layer):
    """y = x W^T + b.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether to add b.
        weight_init: makes W from its shape; default `init.torch_default`.
        bias_init: makes b; default uniform in +-1/sqrt(in_features), as in PyTorch.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is negative.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Linear(3, 2)(xpnet.asarray([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weight_init: init.Initializer = init.torch_default,
        bias_init: init.Initializer | None = None,
        dtype: str = "float32",
    ) -> None:
        name = type(self).__name__
        in_features = size(name, "in_features", in_features, 0)
        out_features = size(name, "out_features", out_features, 0)
        self.in_features, self.out_features = in_features, out_features
        initializer(name, "weight_init", weight_init)
        self.weight = Parameter(weight_init((out_features, in_features), dtype=dtype))
        if bias_init is None:
            bound = in_features**-0.5 if in_features else 0.0
            bias_init = lambda shape, dtype: init.uniform(shape, -bound, bound, dtype=dtype)
        initializer(name, "bias_init", bias_init)
        self.bias = Parameter(bias_init((out_features,), dtype=dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


@fuse.joins(Linear)
def _then_activation(linear: Linear, following: Module, x: Any) -> Any:
    activation = fused_name(following)
    if activation is None or linear.bias is None:
        return None
    return F.linear_activation(x, linear.weight, linear.bias, *activation)


class Maxout(Linear):
    """The maximum of `pieces` affine maps a unit (Goodfellow et al., 2013).

    Args:
        in_features: size of the last axis of the input.
        out_features: units.
        pieces: affine maps a unit; 2 doubles the parameters of a Linear.
        **options: as for Linear.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is negative.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Maxout(3, 2)(xpnet.asarray([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, pieces: int = 2, **options: Any) -> None:
        self.pieces = size("Maxout", "pieces", pieces)
        out_features = size("Maxout", "out_features", out_features, 0)
        super().__init__(in_features, out_features * self.pieces, **options)

    def forward(self, x: Any) -> Any:
        """(..., in_features) -> (..., units)."""
        return F.maxout(super().forward(x), self.pieces)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in_features}, {self.out_features // self.pieces}, pieces={self.pieces}"


class Flatten(Layer):
    """Merge the axes from `start_dim` to `end_dim`: (N, C, H, W) -> (N, C H W).

    Args:
        start_dim: the first of the axes.
        end_dim: the last of them.

    Raises:
        ValueError: when it is called, x does not have these axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Flatten()(xpnet.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[1., 2., 3., 4.]], dtype=float32)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = axis("Flatten", "start_dim", start_dim)
        self.end_dim = axis("Flatten", "end_dim", end_dim)

    def forward(self, x: Any) -> Any:
        """The reshaped input."""
        return F.flatten(x, self.start_dim, self.end_dim)


class Unflatten(Layer):
    """Several axes in place of one: (N, C H W) -> (N, C, H, W).

    Args:
        dim: the axis.
        unflattened_size: of the new axes; one of them may be -1, for what is left.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: when it is called, x does not have this axis, or the sizes do not make it up.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Unflatten(1, (2, 2))(xpnet.asarray([[1.0, 2.0, 3.0, 4.0]])).shape
    (1, 2, 2)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim = axis("Unflatten", "dim", dim)
        self.unflattened_size = tuple(axis("Unflatten", "unflattened_size", n) for n in unflattened_size)

    def forward(self, x: Any) -> Any:
        """The reshaped input."""
        return F.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The axis and its parts."""
        return f"{self.dim}, {self.unflattened_size}"
