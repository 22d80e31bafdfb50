"""Plain deep networks of 3x3 convolutions, with the names that published weights have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import init
from xpnet.core.checks import probability, size
from xpnet.core.operators import flatten
from xpnet.nn.activation import ReLU
from xpnet.nn.container import Sequential
from xpnet.nn.convolution import Conv2d, MaxPool2d
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer, Module
from xpnet.nn.normalization import BatchNorm2d
from xpnet.nn.resizing import AdaptiveAvgPool2d
from xpnet.nn.resnet import fan_out


class VGG(Layer):
    """The networks of Simonyan & Zisserman, 2015; parameters have torchvision's names.

    Args:
        stages: 3x3 convolutions of each stage; a maximum over 2x2 ends it.
        num_classes: scores to give.
        channels: of the pictures.
        width: channels of the first stage; each has twice those of the one before, up to 8 times these.
        hidden: units of the two layers before the scores.
        dropout: the probability of dropping one of them.
        batch_norm: after each convolution.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or there are no stages.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> nn.VGG((1, 1), 5, width=4, hidden=8)(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 5)
    """

    def __init__(
        self,
        stages: Sequence[int] = (2, 2, 3, 3, 3),
        num_classes: int = 1000,
        channels: int = 3,
        width: int = 64,
        hidden: int = 4096,
        dropout: float = 0.5,
        batch_norm: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if not stages:
            raise ValueError("VGG: expected one stage or more, got none")
        self.stages = tuple(size("VGG", "stages", n) for n in stages)
        self.num_classes, self.channels = (
            size("VGG", "num_classes", num_classes),
            size("VGG", "channels", channels),
        )
        self.width, self.hidden = size("VGG", "width", width), size("VGG", "hidden", hidden)
        self.dropout, self.batch_norm = probability("VGG", "dropout", dropout), batch_norm
        layers: list[Module] = []
        inputs = self.channels
        for stage, count in enumerate(self.stages):
            outputs = self.width << min(stage, 3)
            for _ in range(count):
                layers.append(
                    Conv2d(inputs, outputs, 3, 1, 1, weight_init=fan_out, bias_init=init.zeros, dtype=dtype)
                )
                if batch_norm:
                    layers.append(BatchNorm2d(outputs, dtype=dtype))
                layers.append(ReLU())
                inputs = outputs
            layers.append(MaxPool2d(2))
        self.features, self.avgpool = Sequential(*layers), AdaptiveAvgPool2d(7)
        affine = lambda a, b: Linear(a, b, weight_init=init.normal, bias_init=init.zeros, dtype=dtype)
        self.classifier = Sequential(
            *(affine(49 * inputs, self.hidden), ReLU(), Dropout(self.dropout)),
            *(affine(self.hidden, self.hidden), ReLU(), Dropout(self.dropout)),
            affine(self.hidden, self.num_classes),
        )

    def forward(self, x: Any) -> Any:
        """(N, channels, H, W) -> (N, num_classes)."""
        return self.classifier(flatten(self.avgpool(self.features(x))))

    def extra_repr(self) -> str:
        """Stages and classes."""
        return f"{self.stages}, {self.num_classes}"


def vgg11(
    num_classes: int = 1000,
    channels: int = 3,
    hidden: int = 4096,
    batch_norm: bool = False,
    *,
    dtype: str = "float32",
) -> VGG:
    """VGG-11: 133 million parameters for 1000 classes.

    Args:
        num_classes: scores to give.
        channels: of the pictures.
        hidden: units of the two layers before the scores.
        batch_norm: after each convolution.
        dtype: default float32.

    Returns:
        A model of (N, channels, H, W) -> (N, num_classes), which loads torchvision's state dict.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> from xpnet import nn
    >>> nn.vgg11(10, hidden=64)
    VGG((1, 1, 2, 2, 2), 10
    ...
    """
    return VGG((1, 1, 2, 2, 2), num_classes, channels, hidden=hidden, batch_norm=batch_norm, dtype=dtype)


def vgg16(
    num_classes: int = 1000,
    channels: int = 3,
    hidden: int = 4096,
    batch_norm: bool = False,
    *,
    dtype: str = "float32",
) -> VGG:
    """VGG-16: 138 million parameters for 1000 classes.

    Args:
        num_classes: scores to give.
        channels: of the pictures.
        hidden: units of the two layers before the scores.
        batch_norm: after each convolution.
        dtype: default float32.

    Returns:
        A model of (N, channels, H, W) -> (N, num_classes), which loads torchvision's state dict.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> from xpnet import nn
    >>> nn.vgg16(10, hidden=64)
    VGG((2, 2, 3, 3, 3), 10
    ...
    """
    return VGG((2, 2, 3, 3, 3), num_classes, channels, hidden=hidden, batch_norm=batch_norm, dtype=dtype)
