"""Ready models. Two for small pictures such as CIFAR-10's are here; the others load when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import init
from xpnet.core.lazy import lazily
from xpnet.nn.activation import ReLU
from xpnet.nn.container import Residual, Sequential
from xpnet.nn.convolution import Conv2d, GlobalAvgPool2d, MaxPool2d
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm2d
from xpnet.nn.perceptron import ACTIVATIONS, mlp

__all__ = ["ACTIVATIONS", "GPT", "VAE", "VGG", "Autoencoder", "LSTMLanguageModel", "MLPMixer", "ResNet"]
__all__ += ["UNet", "ViT", "mlp", "resnet9", "resnet18", "resnet34", "resnet50", "small_cnn"]
__all__ += ["small_resnet", "vgg11", "vgg16", "vit_tiny"]

if TYPE_CHECKING:  # what `__getattr__` finds: all ready models are names of this module, too
    from xpnet.nn.autoencoder import VAE, Autoencoder
    from xpnet.nn.gpt import GPT
    from xpnet.nn.lstm_language import LSTMLanguageModel
    from xpnet.nn.mixer import MLPMixer
    from xpnet.nn.resnet import ResNet, resnet18, resnet34, resnet50
    from xpnet.nn.shallow import resnet9
    from xpnet.nn.unet import UNet
    from xpnet.nn.vgg import VGG, vgg11, vgg16
    from xpnet.nn.vit import ViT, vit_tiny
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "xpnet.nn.autoencoder": "Autoencoder VAE",
            "xpnet.nn.gpt": "GPT",
            "xpnet.nn.lstm_language": "LSTMLanguageModel",
            "xpnet.nn.mixer": "MLPMixer",
            "xpnet.nn.resnet": "ResNet resnet18 resnet34 resnet50",
            "xpnet.nn.shallow": "resnet9",
            "xpnet.nn.unet": "UNet",
            "xpnet.nn.vgg": "VGG vgg11 vgg16",
            "xpnet.nn.vit": "ViT vit_tiny",
        },
    )


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
