"""Ready perceptrons, and the activations they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import init
from xpnet.nn.activation import ELU, GELU, Hardtanh, LeakyReLU, LeCunTanh, ReLU, Sigmoid, Softplus, Tanh
from xpnet.nn.container import Sequential
from xpnet.nn.dropout import Dropout
from xpnet.nn.gates import Hardswish, Mish, SiLU
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm1d

# name: (layer, initial weights that keep the variance through it)
ACTIVATIONS: dict[str, tuple[type[Module], init.Initializer]] = {
    "relu": (ReLU, init.he_normal),
    "leaky_relu": (LeakyReLU, init.he_normal),
    "elu": (ELU, init.he_normal),
    "gelu": (GELU, init.he_normal),
    "silu": (SiLU, init.he_normal),
    "mish": (Mish, init.he_normal),
    "hardswish": (Hardswish, init.he_normal),
    "softplus": (Softplus, init.he_normal),
    "tanh": (Tanh, init.glorot_normal),
    "lecun_tanh": (LeCunTanh, init.lecun_normal),
    "hardtanh": (Hardtanh, init.glorot_normal),
    "sigmoid": (Sigmoid, init.glorot_normal),
}


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str = "relu",
    dropout: float | Sequence[float] = 0.0,
    batch_norm: bool = False,
    dtype: str = "float32",
) -> Sequential:
    """A perceptron: Linear, batch norm, activation, dropout for each hidden layer, and a last Linear.

    Args:
        inputs: features.
        hidden: units of each hidden layer; none make a linear model.
        outputs: scores.
        activation: a key of `ACTIVATIONS`, which sets the initial weights, too.
        dropout: after each activation; one probability for all hidden layers, or one each.
        batch_norm: before each activation; the Linear before it has no bias, which would cancel.
        dtype: of the parameters.

    Returns:
        A model of (N, inputs) -> (N, outputs).

    Raises:
        ValueError: an unknown activation, or not one dropout for each hidden layer.

    >>> from xpnet.nn import mlp
    >>> mlp(4, [8], 3, "tanh")
    Sequential(
      (0): Linear(4, 8)
      (1): Tanh()
      (2): Linear(8, 3)
    )
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
    layer, weight_init = ACTIVATIONS[activation]
    options: Any = {"bias_init": init.zeros, "dtype": dtype}
    each = dropout if isinstance(dropout, Sequence) else [dropout] * len(hidden)
    if len(each) != len(hidden):
        raise ValueError(f"mlp: {len(each)} dropouts for {len(hidden)} hidden layers; give one, or one each")
    stack: list[Module] = []
    for size, p in zip(hidden, each, strict=True):
        stack.append(Linear(inputs, size, not batch_norm, weight_init=weight_init, **options))
        if batch_norm:
            stack.append(BatchNorm1d(size, dtype=dtype))
        stack.append(layer())
        if p:
            stack.append(Dropout(p))
        inputs = size
    return Sequential(*stack, Linear(inputs, outputs, weight_init=init.lecun_normal, **options))
