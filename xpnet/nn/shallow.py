"""A shallow and wide residual network: good accuracy on CIFAR-10 in a few epochs."""

from __future__ import annotations

from xpnet import init
from xpnet.nn.activation import ReLU
from xpnet.nn.container import Residual, Sequential
from xpnet.nn.convolution import Conv2d, GlobalAvgPool2d, MaxPool2d
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm2d


def _conv(inputs: int, outputs: int) -> Conv2d:
    return Conv2d(inputs, outputs, 3, padding=1, bias=False, weight_init=init.he_normal)


def resnet9(classes: int, channels: int = 3, width: int = 64) -> Sequential:
    """Eight convolutions and a linear layer, three times as wide as deep (Page, 2018; Jordan, 2024).

    Args:
        classes: scores to give.
        channels: of the pictures; their height and width are free, from 9 pixels on.
        width: channels of the first stage; the other two have four times those.

    Returns:
        A model of (N, channels, H, W) -> (N, classes).

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    Each stage halves the height and width, by pooling before batch norm, and ends with a residual block of
    one convolution. 2 million parameters at width 64. The first layer is made for weights that whiten patches
    of 2x2 pixels, `xpnet.data.patch_whitening`, which are then frozen; drawn ones do, too.

    Sources: D. Page, "How to train your ResNet" (2018); K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a
    single GPU" (arXiv:2404.00498), whose widths and whitening these are.

    >>> import numpy as np
    >>> from xpnet.nn import resnet9
    >>> resnet9(10, width=4)(np.zeros((2, 3, 32, 32), dtype=np.float32)).shape
    (2, 10)
    """
    patches = 2 * channels * 2 * 2
    layers: list[Module] = [Conv2d(channels, patches, 2, weight_init=init.he_normal), ReLU()]
    inputs = patches
    for outputs in (width, 4 * width, 4 * width):
        body = Sequential(_conv(outputs, outputs), BatchNorm2d(outputs))
        layers += [_conv(inputs, outputs), MaxPool2d(2), BatchNorm2d(outputs), ReLU(), Residual(body), ReLU()]
        inputs = outputs
    head = Linear(inputs, classes, weight_init=init.lecun_normal, bias_init=init.zeros)
    return Sequential(*layers, GlobalAvgPool2d(), head)
