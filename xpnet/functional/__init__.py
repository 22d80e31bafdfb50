"""Layers and losses as functions of Tensors or arrays. `import xpnet.functional as F`."""

from xpnet.core.operators import flatten
from xpnet.functional.activations import (
    lecun_tanh,
    log_softmax,
    maxout,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from xpnet.functional.dropout import dropout
from xpnet.functional.images import avg_pool2d, conv2d, global_avg_pool2d, max_pool2d
from xpnet.functional.linear import bias_activation, linear, linear_activation
from xpnet.functional.losses import (
    cross_entropy,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    perceptron_loss,
)
from xpnet.functional.normalization import batch_norm, batch_norm_relu, group_norm, instance_norm, layer_norm
from xpnet.functional.options import (
    binary_cross_entropy_with_logits,
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    relu,
)
from xpnet.functional.regularizers import l1, l2

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "bias_activation",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "group_norm",
    "hardtanh",
    "instance_norm",
    "l1",
    "l2",
    "layer_norm",
    "leaky_relu",
    "lecun_tanh",
    "linear",
    "linear_activation",
    "log_softmax",
    "max_pool2d",
    "maxout",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "perceptron_loss",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]
