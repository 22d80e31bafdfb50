"""Gated activations as layers; the formulas are in xpnet.functional.gates."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core import checks
from xpnet.core.checks import number, size
from xpnet.nn.module import Layer
from xpnet.nn.parameter import Parameter


class SiLU(Layer):
    """x sigmoid(x), of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.SiLU()(xpnet.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.silu(x)


class Mish(Layer):
    """x tanh(softplus(x)), of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> round(float(nn.Mish()(xpnet.asarray([1.0]))[0]), 4)
    0.8651
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.mish(x)


class Hardsigmoid(Layer):
    """x / 6 + 1/2, clipped to [0, 1], of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Hardsigmoid()(xpnet.asarray([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.hardsigmoid(x)


class Hardswish(Layer):
    """x hardsigmoid(x), of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Hardswish()(xpnet.asarray([0.0, 1.5, 4.0]))
    array([0.   , 1.125, 4.   ], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.hardswish(x)


class LogSigmoid(Layer):
    """log(sigmoid(x)), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.LogSigmoid()(xpnet.asarray([-1000.0, 1000.0]))
    array([-1000.,     0.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.logsigmoid(x)


class PReLU(Layer):
    """x for x > 0, else weight * x, with a slope that is learned (He et al., 2015).

    Args:
        num_parameters: 1 for one slope, or the number of channels, which are on axis 1.
        init: the slope to begin with.
        dtype: default float32.

    Raises:
        TypeError: num_parameters is not a whole number.
        ValueError: it is below 1; when called, it is neither 1 nor the number of channels.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.PReLU()(xpnet.asarray([-1.0, 2.0])).numpy()
    array([-0.25,  2.  ], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: str = "float32") -> None:
        self.num_parameters = size("PReLU", "num_parameters", num_parameters)
        self.init = number("PReLU", "init", init)
        self.weight = Parameter(_constant((self.num_parameters,), self.init, dtype))

    def forward(self, x: Any) -> Any:
        """(N, C, ...), the same shape."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"


_constant = init.constant  # PReLU has an argument of that name


class _Halving(Layer):
    def __init__(self, dim: int = -1) -> None:
        self.dim = checks.axis(type(self).__name__, "dim", dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class GLU(_Halving):
    """a sigmoid(b), a and b the halves of x along an axis (Dauphin et al., 2017).

    Args:
        dim: the axis, of even length.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.GLU()(xpnet.asarray([[3.0, 0.0]]))
    array([[1.5]], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Half of the axis."""
        return F.glu(x, self.dim)


class SwiGLU(_Halving):
    """silu(a) b, a and b the halves of x along an axis (Shazeer, 2020).

    Args:
        dim: the axis, of even length.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.SwiGLU()(xpnet.asarray([[1000.0, 3.0]]))
    array([[3000.]], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Half of the axis."""
        return F.swiglu(x, self.dim)


class LogSoftmax(Layer):
    """log(softmax(x)) along `dim`, for `nll_loss`.

    Args:
        dim: default the last axis.
        axis: NumPy's name for `dim`.

    Raises:
        TypeError: when it is called, x is not of floats.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.LogSoftmax(dim=1)(xpnet.asarray([[1000.0, 0.0]]))
    array([[    0., -1000.]], dtype=float32)
    """

    def __init__(self, dim: int = -1, *, axis: int | None = None) -> None:
        self.dim = self.axis = checks.axis("LogSoftmax", "dim", dim if axis is None else axis)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.log_softmax(x, self.axis)
