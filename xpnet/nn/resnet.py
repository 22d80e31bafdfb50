"""Residual networks for pictures of any size, with the names that published weights have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import size
from xpnet.core.operators import add
from xpnet.nn.container import Sequential
from xpnet.nn.convolution import Conv2d, MaxPool2d
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer, Module
from xpnet.nn.normalization import BatchNorm2d


def fan_out(shape: tuple[int, ...], dtype: Any = "float32") -> Any:
    """He's normal weights, which keep the variance of gradients."""
    return init.normal(shape, math.sqrt(2 / init.fans(shape)[1]), dtype=dtype)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dtype: str = "float32") -> Conv2d:
    padding = kernel // 2
    return Conv2d(inputs, outputs, kernel, stride, padding, bias=False, weight_init=fan_out, dtype=dtype)


class BasicBlock(Layer):
    """Two 3x3 convolutions, and a way around them."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dtype: str) -> None:
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride, dtype), BatchNorm2d(width, dtype=dtype)
        self.conv2, self.bn2 = _conv(width, width, 3, 1, dtype), BatchNorm2d(width, dtype=dtype)
        self.downsample = _shortcut(inputs, width, stride, dtype)

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) -> (N, width, H', W')."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(add(self.bn2(self.conv2(y)), x if self.downsample is None else self.downsample(x)))


class Bottleneck(Layer):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, and a way around them."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dtype: str) -> None:
        outputs = width * self.expansion
        self.conv1, self.bn1 = _conv(inputs, width, 1, 1, dtype), BatchNorm2d(width, dtype=dtype)
        self.conv2, self.bn2 = _conv(width, width, 3, stride, dtype), BatchNorm2d(width, dtype=dtype)
        self.conv3, self.bn3 = _conv(width, outputs, 1, 1, dtype), BatchNorm2d(outputs, dtype=dtype)
        self.downsample = _shortcut(inputs, outputs, stride, dtype)

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) -> (N, 4 width, H', W')."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(add(y, x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int, dtype: str) -> Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return Sequential(_conv(inputs, outputs, 1, stride, dtype), BatchNorm2d(outputs, dtype=dtype))


BLOCKS: dict[str, Any] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(Layer):
    """The residual networks of He et al., 2016, section 4.1; parameters have torchvision's names.

    Args:
        block: "basic", of two convolutions, or "bottleneck", of three.
        stages: blocks of each of the four.
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: another block, or not four stages.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> nn.ResNet("basic", (1, 1, 1, 1), 5)(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 5)
    """

    def __init__(
        self,
        block: str,
        stages: Sequence[int],
        num_classes: int = 1000,
        channels: int = 3,
        *,
        dtype: str = "float32",
    ) -> None:
        if block not in BLOCKS or len(stages) != 4:
            words = ", ".join(BLOCKS)
            raise ValueError(
                f"ResNet: expected a block of {words} and four stages, got {block!r}, {stages!r}"
            )
        self.block, self.stages = block, tuple(size("ResNet", "stages", n) for n in stages)
        self.num_classes = size("ResNet", "num_classes", num_classes)
        self.channels = size("ResNet", "channels", channels)
        kind = BLOCKS[block]
        self.conv1, self.bn1 = _conv(self.channels, 64, 7, 2, dtype), BatchNorm2d(64, dtype=dtype)
        self.maxpool = MaxPool2d(3, 2, 1)
        inputs = 64
        for i, count in enumerate(self.stages):
            stage: list[Module] = []
            for number in range(count):
                stage.append(kind(inputs, 64 << i, 2 if i and not number else 1, dtype))
                inputs = (64 << i) * kind.expansion
            setattr(self, f"layer{i + 1}", Sequential(*stage))
        self.fc = Linear(inputs, self.num_classes, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """(N, channels, H, W) -> (N, num_classes)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(F.global_avg_pool2d(x))

    def extra_repr(self) -> str:
        """Blocks and classes."""
        return f"{self.block!r}, {self.stages}, {self.num_classes}"


def resnet18(num_classes: int = 1000, channels: int = 3, *, dtype: str = "float32") -> ResNet:
    """ResNet-18: 11.7 million parameters for 1000 classes.

    Args:
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Returns:
        A model of (N, channels, H, W) -> (N, num_classes), which loads torchvision's state dict.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> from xpnet import nn
    >>> sum(p.size for p in nn.resnet18().parameters())
    11689512
    """
    return ResNet("basic", (2, 2, 2, 2), num_classes, channels, dtype=dtype)


def resnet34(num_classes: int = 1000, channels: int = 3, *, dtype: str = "float32") -> ResNet:
    """ResNet-34: 21.8 million parameters for 1000 classes.

    Args:
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Returns:
        A model of (N, channels, H, W) -> (N, num_classes), which loads torchvision's state dict.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> from xpnet import nn
    >>> len(nn.resnet34(10).layer3)
    6
    """
    return ResNet("basic", (3, 4, 6, 3), num_classes, channels, dtype=dtype)


def resnet50(num_classes: int = 1000, channels: int = 3, *, dtype: str = "float32") -> ResNet:
    """ResNet-50: 25.6 million parameters for 1000 classes.

    Args:
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Returns:
        A model of (N, channels, H, W) -> (N, num_classes), which loads torchvision's state dict.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> from xpnet import nn
    >>> nn.resnet50(10).fc
    Linear(2048, 10)
    """
    return ResNet("bottleneck", (3, 4, 6, 3), num_classes, channels, dtype=dtype)
