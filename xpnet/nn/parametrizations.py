"""Parameters that are made of others: `weight_norm` and `spectral_norm`, as torch.nn.utils.parametrizations.

A module keeps what its weight is made of in `module.parametrizations.weight`, under PyTorch's names, and
makes it each time that it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet import init
from xpnet.core.checks import axis, number, size
from xpnet.core.op import no_grad
from xpnet.core.places import namespace
from xpnet.core.recording import depends_on
from xpnet.core.tensor import array_of
from xpnet.core.tracing import traced
from xpnet.functional.weights import as_matrix, of_length, of_norm_1
from xpnet.nn.container import ModuleDict
from xpnet.nn.module import Module
from xpnet.nn.parameter import Buffer, Parameter


class WeightNorm(Module):
    """g v / |v|: `original0` is g, `original1` v."""

    kind = "weight_norm"

    def __init__(self, weight: Parameter, dim: int | None) -> None:
        self.dim = dim
        v = array_of(weight)
        xp = namespace(v)
        axes = tuple(i for i in range(v.ndim) if dim is None or i != dim % v.ndim)
        length = xp.sqrt(xp.sum(v * v, axis=axes, keepdims=dim is not None)) if axes else xp.abs(v)
        self.original0, self.original1 = Parameter(length), Parameter(v)

    def forward(self) -> Any:
        """The weight."""
        return of_length(self.original1, self.original0, self.dim)

    def settings(self) -> dict[str, Any]:
        """What makes another one."""
        return {"dim": self.dim}


class _Vectors(Module):
    """The first singular vectors, nearly."""

    def __init__(self, u: Any, v: Any) -> None:
        self._u, self._v = Buffer(u), Buffer(v)


class SpectralNorm(Module):
    """`original` / sigma, sigma nearly its largest singular value (Miyato et al., 2018)."""

    kind = "spectral_norm"

    def __init__(self, weight: Parameter, n_power_iterations: int, eps: float, dim: int) -> None:
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim
        self.original = weight
        if weight.ndim > 1:
            n, m = as_matrix(array_of(weight), dim).shape
            dtype = str(weight.dtype).rpartition(".")[2]
            u, v = (init.normal((k,), 1.0, dtype=dtype) for k in (n, m))
            vectors = _Vectors(self._unit(u), self._unit(v))
            setattr(self, "0", vectors)
            self._iterate(15)

    def _unit(self, x: Any) -> Any:
        xp = namespace(x)
        length = xp.sqrt(xp.sum(x * x))
        return x / xp.maximum(length, xp.full_like(length, self.eps))

    def _arrays(self) -> list[Any]:
        """The weight and its singular vectors; in a captured step, as arrays that are followed."""
        at = vars(self)["0"]
        return traced([array_of(self.original), at._u.data, at._v.data])

    def _iterate(self, times: int) -> None:
        with no_grad():
            weight, u, v = self._arrays()
            matrix, xp = as_matrix(weight, self.dim), namespace(weight)
            for _ in range(times):
                u[...] = self._unit(xp.matmul(matrix, v[:, None])[:, 0])
                v[...] = self._unit(xp.matmul(matrix.T, u[:, None])[:, 0])

    def forward(self) -> Any:
        """The weight; in training after `n_power_iterations` more."""
        if self.original.ndim == 1:
            raise ValueError("spectral_norm: a parameter of one axis has no spectral norm")
        depends_on(self, "training")
        if self.training:
            self._iterate(self.n_power_iterations)
        _, u, v = self._arrays()
        return of_norm_1(self.original, u + 0, v + 0, self.dim)  # copies: the next call changes u and v

    def settings(self) -> dict[str, Any]:
        """What makes another one."""
        return {"n_power_iterations": self.n_power_iterations, "eps": self.eps, "dim": self.dim}


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train a parameter's length and direction apart (Salimans & Kingma, 2016).

    Args:
        module: that has the parameter.
        name: of the parameter.
        dim: the axis along which each part has a length of its own; None, or -1 as in PyTorch: the whole has
            one.

    Returns:
        The module, whose `parametrizations.weight` has `original0`, the lengths, and `original1`.

    Raises:
        AttributeError: there is no such parameter, or it is made of others already.
        IndexError: it has no such axis.

    Make the optimizer afterwards: the parameters are others.

    >>> from xpnet import nn
    >>> layer = nn.weight_norm(nn.Linear(3, 2))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    weight = _parameter("weight_norm", module, name)
    whole = None if dim is None or _axis("weight_norm", name, weight, dim) == -1 else dim
    return _register(module, name, WeightNorm(weight, whole))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value: the map is no steeper than 1 (Miyato et al., 2018).

    Args:
        module: that has the parameter.
        name: of the parameter.
        n_power_iterations: of von Mises' method, at each use in training.
        eps: the smallest length that a vector is divided by.
        dim: the axis of the outputs; default: 1 of transposed convolutions, else 0.

    Returns:
        The module, whose `parametrizations.weight` has `original`, and the vectors in buffers.

    Raises:
        AttributeError: there is no such parameter, or it is made of others already.
        ValueError: no iterations, or a parameter of fewer than two axes.
        IndexError: it has no such axis.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> layer = nn.spectral_norm(nn.Linear(3, 2)).eval()
    >>> bool(abs(np.linalg.norm(layer.weight.numpy(), 2) - 1) < 1e-3)
    True
    """
    weight = _parameter("spectral_norm", module, name)
    if weight.ndim < 2:
        raise ValueError(f"spectral_norm: {name} has shape {tuple(weight.shape)}, expected two axes or more")
    times, least = (
        size("spectral_norm", "n_power_iterations", n_power_iterations),
        number("spectral_norm", "eps", eps),
    )
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return _register(
        module,
        name,
        SpectralNorm(weight, times, least, _axis("spectral_norm", name, weight, dim) % weight.ndim),
    )


def remove_parametrizations(module: Module, name: str = "weight", leave_parametrized: bool = True) -> Module:
    """Make a parameter one again.

    Args:
        module: that has it.
        name: of the parameter.
        leave_parametrized: it keeps its value; False: of `spectral_norm`, it is what it was made of.

    Returns:
        The module.

    Raises:
        AttributeError: it is not made of others.

    >>> from xpnet import nn
    >>> layer = nn.remove_parametrizations(nn.weight_norm(nn.Linear(3, 2)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    made = vars(module).get("parametrizations")
    if made is None or name not in made:
        raise AttributeError(
            f"remove_parametrizations: {name} of {type(module).__name__} is not made of others"
        )
    part = made[name]
    with no_grad():
        if leave_parametrized or isinstance(part, WeightNorm):
            part.eval()
            value = namespace(array_of(part())).asarray(array_of(part()), copy=True)
        else:
            value = array_of(part.original)
    made.pop(name)
    if not len(made):
        delattr(module, "parametrizations")
    setattr(module, name, Parameter(value))
    return module


def _parameter(function: str, module: Module, name: str) -> Parameter:
    found = vars(module).get(name)
    if not isinstance(found, Parameter):
        raise AttributeError(f"{function}: {type(module).__name__} has no parameter {name!r}")
    return found


def _axis(function: str, name: str, weight: Parameter, dim: int) -> int:
    if not -weight.ndim <= axis(function, "dim", dim) < weight.ndim:
        raise IndexError(f"{function}: dim={dim} is no axis of {name}, whose shape is {tuple(weight.shape)}")
    return dim


def _register(module: Module, name: str, part: Module) -> Module:
    made = vars(module).get("parametrizations")
    delattr(module, name)
    if made is None:
        module.parametrizations = ModuleDict({name: part})
    else:
        made[name] = part
    part.train(module.training)
    return module


KINDS: dict[str, Callable[..., Module]] = {"weight_norm": weight_norm, "spectral_norm": spectral_norm}
