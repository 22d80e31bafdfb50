"""Normalisation layers; the formulas are in xpnet.functional.normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import number, size
from xpnet.core.context import again
from xpnet.core.operators import reshape
from xpnet.core.recording import depends_on, refuse
from xpnet.nn import fuse
from xpnet.nn.activation import ReLU
from xpnet.nn.module import Layer, Module
from xpnet.nn.parameter import Buffer, HostBuffer, Parameter


class _Affine(Layer):
    """A learned scale (from 1) and shift (from 0) of each channel or element, the scale alone, or neither."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, shape: tuple[int, ...], affine: bool, bias: bool, dtype: str) -> None:
        self.weight = Parameter(init.constant(shape, 1.0, dtype=dtype)) if affine else None
        self.bias = Parameter(init.zeros(shape, dtype=dtype)) if affine and bias else None


class BatchNorm(_Affine):
    """What BatchNorm1d, BatchNorm2d and BatchNorm3d share: all but the number of axes."""

    axes: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        num_features = size(type(self).__name__, "num_features", num_features)
        super().__init__((num_features,), affine, bias, dtype)
        self.num_features, self.eps = num_features, number(type(self).__name__, "eps", eps, 0)
        self.momentum = momentum if momentum is None else number(type(self).__name__, "momentum", momentum)
        tracked = track_running_stats
        self.running_mean = Buffer(init.zeros((num_features,), dtype=dtype)) if tracked else None
        self.running_var = Buffer(init.constant((num_features,), 1.0, dtype=dtype)) if tracked else None
        if tracked and momentum is None:
            self.num_batches_tracked = HostBuffer(np.int64(0))

    def batch_fraction(self) -> float:
        """The weight of this batch in the running statistics; it is counted for their plain average."""
        if self.momentum is not None:
            return self.momentum
        if not self.training or self.running_mean is None:
            return 0.0
        refuse(f"{type(self).__name__} with momentum=None weighs each batch differently")
        self.num_batches_tracked += 1
        return 1 / int(self.num_batches_tracked)

    def arguments(self, x: Any) -> tuple[Any, ...]:
        """What `batch_norm` takes, of an input of the right shape."""
        if x.ndim not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}): expected {self.num_features} channels on "
                f"axis 1 of {' or '.join(map(str, self.axes))} axes, got an input of shape {tuple(x.shape)}"
            )
        depends_on(self, "training", "momentum", "eps")
        if self.training and again.get():  # the statistics have moved when it ran first
            return x, None, None, self.weight, self.bias, True, 0.0, self.eps
        return (
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum if self.momentum is not None else self.batch_fraction(),
            self.eps,
        )

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.batch_norm(*self.arguments(x))

    def extra_repr(self) -> str:
        """The number of channels."""
        return f"{self.num_features}"


class BatchNorm1d(BatchNorm):
    """Batch norm of (N, C) or (N, C, L) (Ioffe & Szegedy, 2015).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for the average of all batches.
        affine: learn a scale and a shift a channel.
        track_running_stats: keep running statistics for evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; in training, a batch with one value a channel.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.BatchNorm1d(2, eps=1e-12)(xpnet.asarray([[1.0, 5.0], [3.0, 5.0]])).numpy()
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    axes = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch norm of (N, C, H, W) (Ioffe & Szegedy, 2015).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for the average of all batches.
        affine: learn a scale and a shift a channel.
        track_running_stats: keep running statistics for evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; in training, a batch with one value a channel.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.BatchNorm2d(1, eps=1e-12)(xpnet.asarray([[[[1.0, 3.0]]]])).numpy()
    array([[[[-1.,  1.]]]], dtype=float32)
    """

    axes = (4,)


class BatchNorm3d(BatchNorm):
    """Batch norm of (N, C, D, H, W) (Ioffe & Szegedy, 2015).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for the average of all batches.
        affine: learn a scale and a shift a channel.
        track_running_stats: keep running statistics for evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; in training, a batch with one value a channel.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.BatchNorm3d(1, eps=1e-12)(xpnet.asarray([[[[[1.0, 3.0]]]]])).numpy()
    array([[[[[-1.,  1.]]]]], dtype=float32)
    """

    axes = (5,)


@fuse.joins(BatchNorm1d)
@fuse.joins(BatchNorm2d)
@fuse.joins(BatchNorm3d)
def _then_relu(norm: BatchNorm, following: Module, x: Any) -> Any:
    return F.batch_norm_relu(*norm.arguments(x)) if type(following) is ReLU else None


class LayerNorm(_Affine):
    """Standardise each sample over its last axes (Ba et al., 2016).

    Args:
        normalized_shape: the sizes of those axes, or of the last one.
        eps: added to the variance.
        elementwise_affine: learn a scale and a shift an element.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.LayerNorm(2, eps=1e-12)(xpnet.asarray([[1.0, 3.0], [0.0, 9.0]])).numpy()
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        shape = tuple(size("LayerNorm", "normalized_shape", n) for n in sizes)
        super().__init__(shape, elementwise_affine, bias, dtype)
        self.normalized_shape, self.eps = shape, number("LayerNorm", "eps", eps, 0)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The shape."""
        return f"{self.normalized_shape}"


class RMSNorm(_Affine):
    """Divide each sample by the root of its mean square over the last axes (Zhang & Sennrich, 2019).

    Args:
        normalized_shape: the sizes of those axes, or of the last one.
        eps: added to the mean square; default: the smallest step at 1 of the dtype.
        elementwise_affine: learn a scale an element.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.RMSNorm(2)(xpnet.asarray([[3.0, 3.0], [0.0, 0.0]])).numpy()
    array([[1., 1.],
           [0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        shape = tuple(size("RMSNorm", "normalized_shape", n) for n in sizes)
        super().__init__(shape, elementwise_affine, False, dtype)
        self.normalized_shape = shape
        self.eps = eps if eps is None else number("RMSNorm", "eps", eps, 0)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The shape."""
        return f"{self.normalized_shape}, eps={self.eps}"


class GroupNorm(_Affine):
    """Standardise each sample over `num_groups` groups of channels (Wu & He, 2018).

    Args:
        num_groups: must divide `num_channels`.
        num_channels: C of (N, C, ...).
        eps: added to the variance.
        affine: learn a scale and a shift a channel.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, eps below 0, or the groups do not divide the channels.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.GroupNorm(2, 4, eps=1e-12)(xpnet.asarray([[1.0, 3.0, 0.0, 9.0]])).numpy()
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        num_groups = size("GroupNorm", "num_groups", num_groups)
        num_channels = size("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not split into {num_groups} groups")
        super().__init__((num_channels,), affine, bias, dtype)
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps = number("GroupNorm", "eps", eps, 0)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Groups and channels."""
        return f"{self.num_groups}, {self.num_channels}"


class InstanceNorm(_Affine):
    """What InstanceNorm1d, InstanceNorm2d and InstanceNorm3d share: all but the number of axes."""

    positions: tuple[str, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        name = type(self).__name__
        num_features = size(name, "num_features", num_features)
        super().__init__((num_features,), affine, bias, dtype)
        self.num_features, self.eps = num_features, number(name, "eps", eps, 0)
        self.momentum, tracked = number(name, "momentum", momentum or 0.0), track_running_stats
        self.running_mean = Buffer(init.zeros((num_features,), dtype=dtype)) if tracked else None
        self.running_var = Buffer(init.constant((num_features,), 1.0, dtype=dtype)) if tracked else None

    def forward(self, x: Any) -> Any:
        """The same shape."""
        shape, axes = tuple(x.shape), len(self.positions)
        own = self.training or self.running_mean is None
        few = own and math.prod(shape[-axes:]) < 2  # nothing to divide by
        if len(shape) not in (axes + 1, axes + 2) or shape[-axes - 1] != self.num_features or few:
            expected = ", ".join(("N", str(self.num_features), *self.positions))
            raise ValueError(f"{type(self).__name__}: expected ({expected}), got {shape}")
        if len(shape) == axes + 1:
            return reshape(self.forward(reshape(x, (1, *shape))), shape)
        depends_on(self, "training", "momentum", "eps")
        running = (self.running_mean, self.running_var)
        return F.instance_norm(x, *running, self.weight, self.bias, own, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """The number of channels."""
        return f"{self.num_features}"


class InstanceNorm1d(InstanceNorm):
    """Standardise each channel of each sequence (Ulyanov et al., 2016).

    Args:
        num_features: C of (N, C, L) or (C, L).
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for 0, as in PyTorch.
        affine: learn a scale and a shift a channel; off by default, as in PyTorch.
        track_running_stats: keep running statistics, and normalise with them in evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; when it is called, sequences of one place.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.InstanceNorm1d(1, eps=1e-12)(xpnet.asarray([[[1.0, 3.0]]]))
    array([[[-1.,  1.]]], dtype=float32)
    """

    positions = ("L",)


class InstanceNorm2d(InstanceNorm):
    """Standardise each channel of each image (Ulyanov et al., 2016).

    Args:
        num_features: C of (N, C, H, W) or (C, H, W).
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for 0, as in PyTorch.
        affine: learn a scale and a shift a channel; off by default, as in PyTorch.
        track_running_stats: keep running statistics, and normalise with them in evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; when it is called, images of one pixel.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.InstanceNorm2d(1, eps=1e-12)(xpnet.asarray([[[[1.0, 3.0]]]]))
    array([[[[-1.,  1.]]]], dtype=float32)
    """

    positions = (
        "H",
        "W",
    )


class InstanceNorm3d(InstanceNorm):
    """Standardise each channel of each volume (Ulyanov et al., 2016).

    Args:
        num_features: C of (N, C, D, H, W) or (C, D, H, W).
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics; None for 0, as in PyTorch.
        affine: learn a scale and a shift a channel; off by default, as in PyTorch.
        track_running_stats: keep running statistics, and normalise with them in evaluation.
        bias: False for no shift.
        dtype: default float32.

    Raises:
        TypeError: a size or eps is not a number.
        ValueError: a size is below 1, or eps below 0; when it is called, volumes of one element.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.InstanceNorm3d(1, eps=1e-12)(xpnet.asarray([[[[[1.0, 3.0]]]]]))
    array([[[[[-1.,  1.]]]]], dtype=float32)
    """

    positions = (
        "D",
        "H",
        "W",
    )
