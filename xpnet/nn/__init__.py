"""Layers. `from xpnet import nn`."""

from xpnet.nn.activation import (
    ELU,
    GELU,
    Hardtanh,
    LeakyReLU,
    LeCunTanh,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from xpnet.nn.container import Identity, ModuleDict, ModuleList, Residual, Sequential
from xpnet.nn.convolution import AvgPool2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Flatten, Linear, Maxout
from xpnet.nn.models import mlp, small_cnn, small_resnet
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from xpnet.nn.parameter import Buffer, Parameter

__all__ = [
    "ELU",
    "GELU",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Hardtanh",
    "Identity",
    "InstanceNorm2d",
    "LayerNorm",
    "LeCunTanh",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Maxout",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "mlp",
    "small_cnn",
    "small_resnet",
]
