"""Ready models: a perceptron, and two for small pictures such as CIFAR-10's. The last layer gives scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import init
from xpnet.nn.activation import ELU, GELU, Hardtanh, LeakyReLU, LeCunTanh, ReLU, Sigmoid, Softplus, Tanh
from xpnet.nn.container import Residual, Sequential
from xpnet.nn.convolution import Conv2d, GlobalAvgPool2d, MaxPool2d
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm1d, BatchNorm2d

# name: (layer, initial weights that keep the variance through it)
ACTIVATIONS: dict[str, tuple[type[Module], init.Initializer]] = {
    "relu": (ReLU, init.he_normal),
    "leaky_relu": (LeakyReLU, init.he_normal),
    "elu": (ELU, init.he_normal),
    "gelu": (GELU, init.he_normal),
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
    dropout: float = 0.0,
    batch_norm: bool = False,
    dtype: str = "float32",
) -> Sequential:
    """A perceptron: Linear, batch norm, activation, dropout for each hidden layer, and a last Linear.

    Args:
        inputs: features.
        hidden: units of each hidden layer; none make a linear model.
        outputs: scores.
        activation: a key of `ACTIVATIONS`, which sets the initial weights, too.
        dropout: after each activation.
        batch_norm: before each activation; the Linear before it has no bias, which would cancel.
        dtype: of the parameters.

    Returns:
        A model of (N, inputs) -> (N, outputs).

    Raises:
        ValueError: an unknown activation.

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
    stack: list[Module] = []
    for size in hidden:
        stack.append(Linear(inputs, size, not batch_norm, weight_init=weight_init, **options))
        if batch_norm:
            stack.append(BatchNorm1d(size, dtype=dtype))
        stack.append(layer())
        if dropout:
            stack.append(Dropout(dropout))
        inputs = size
    return Sequential(*stack, Linear(inputs, outputs, weight_init=init.lecun_normal, **options))


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[Module]:
    """A convolution that keeps the size (or halves it), and batch norm, which makes a bias useless."""
    padding = kernel // 2
    conv = Conv2d(inputs, outputs, kernel, stride, padding, bias=False, weight_init=init.he_normal)
    return [conv, BatchNorm2d(outputs)]


def small_cnn(classes: int, channels: int = 3, width: int = 32, dropout: float = 0.2) -> Sequential:
    """Three stages of two 3x3 convolutions, each with twice the channels (Simonyan & Zisserman, 2015: VGG).

    Args:
        classes: scores to give.
        channels: of the pictures; their height and width are free, from 4 pixels on.
        width: channels of the first stage.
        dropout: before the last layer.

    Returns:
        A model of (N, channels, H, W) -> (N, classes).

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    Batch norm after every convolution and a global mean instead of VGG's wide linear layers: 290 thousand
    parameters at width 32.

    >>> import numpy as np
    >>> from xpnet.nn import small_cnn
    >>> small_cnn(10, width=4)(np.zeros((2, 3, 32, 32), dtype=np.float32)).shape
    (2, 10)
    """
    layers: list[Module] = []
    inputs = channels
    for stage in range(3):
        if stage:
            layers.append(MaxPool2d(2))
        outputs = width << stage
        layers += [*_conv(inputs, outputs), ReLU(), *_conv(outputs, outputs), ReLU()]
        inputs = outputs
    layers.append(GlobalAvgPool2d())
    if dropout:
        layers.append(Dropout(dropout))
    return Sequential(*layers, Linear(inputs, classes, weight_init=init.lecun_normal, bias_init=init.zeros))


def small_resnet(classes: int, channels: int = 3, width: int = 16, blocks: int = 3) -> Sequential:
    """The residual network for CIFAR-10 of He et al., 2016, section 4.2: 6 blocks + 2 layers; ResNet-20.

    Args:
        classes: scores to give.
        channels: of the pictures; their height and width are free, from 4 pixels on.
        width: channels of the first stage; each of the three has twice those of the one before.
        blocks: residual blocks a stage: 3 gives 20 layers, 9 gives 56.

    Returns:
        A model of (N, channels, H, W) -> (N, classes).

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    A block that halves the size has a 1x1 convolution as its shortcut (their option B).

    >>> import numpy as np
    >>> from xpnet.nn import small_resnet
    >>> small_resnet(10, width=4, blocks=1)(np.zeros((2, 3, 32, 32), dtype=np.float32)).shape
    (2, 10)
    """
    layers: list[Module] = [*_conv(channels, width), ReLU()]
    inputs = width
    for stage in range(3):
        outputs = width << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = Sequential(*_conv(inputs, outputs, 3, stride), ReLU(), *_conv(outputs, outputs))
            shortcut = None if inputs == outputs else Sequential(*_conv(inputs, outputs, 1, stride))
            layers += [Residual(body, shortcut), ReLU()]
            inputs = outputs
    head = Linear(inputs, classes, weight_init=init.lecun_normal, bias_init=init.zeros)
    return Sequential(*layers, GlobalAvgPool2d(), head)
