"""Layers and losses as functions of Tensors or arrays. `import xpnet.functional as F`."""

from typing import TYPE_CHECKING

from xpnet.core.lazy import lazily
from xpnet.core.operators import flatten
from xpnet.functional.activations import lecun_tanh, log_softmax, maxout, sigmoid, softmax, softplus, tanh
from xpnet.functional.dropout import dropout
from xpnet.functional.embedding import embedding, rotary_embedding, sinusoidal_encoding
from xpnet.functional.images import avg_pool2d, conv2d, global_avg_pool2d, max_pool2d
from xpnet.functional.linear import bias_activation, linear, linear_activation
from xpnet.functional.losses import cross_entropy, mse_loss, multi_margin_loss, nll_loss, perceptron_loss
from xpnet.functional.normalization import batch_norm, batch_norm_relu, group_norm, instance_norm, layer_norm
from xpnet.functional.options import binary_cross_entropy_with_logits, elu, gelu, hardtanh, leaky_relu, relu

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "batch_norm_relu",
    "bias_activation",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "drop_path",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elbo_loss",
    "elu",
    "embedding",
    "embedding_bag",
    "flatten",
    "gaussian_kl",
    "gaussian_nll_loss",
    "gelu",
    "global_avg_pool2d",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1",
    "l1_loss",
    "l2",
    "layer_norm",
    "leaky_relu",
    "lecun_tanh",
    "linear",
    "linear_activation",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "pad",
    "pairwise_distance",
    "perceptron_loss",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "sinusoidal_encoding",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "unflatten",
]

if TYPE_CHECKING:  # what `__getattr__` finds, and nothing else
    from xpnet.functional.attention import scaled_dot_product_attention
    from xpnet.functional.bags import embedding_bag
    from xpnet.functional.ctc import ctc_loss
    from xpnet.functional.distances import (
        cosine_embedding_loss,
        cosine_similarity,
        margin_ranking_loss,
        multilabel_soft_margin_loss,
        pairwise_distance,
        triplet_margin_loss,
    )
    from xpnet.functional.dropping import drop_path, dropout1d, dropout2d, dropout3d
    from xpnet.functional.gates import (
        glu,
        hardsigmoid,
        hardswish,
        logsigmoid,
        mish,
        prelu,
        silu,
        softmin,
        swiglu,
    )
    from xpnet.functional.gumbel import gumbel_softmax
    from xpnet.functional.more_activations import (
        celu,
        hardshrink,
        relu6,
        selu,
        softshrink,
        softsign,
        tanhshrink,
        threshold,
    )
    from xpnet.functional.padding import pad
    from xpnet.functional.pairs import (
        binary_cross_entropy,
        gaussian_nll_loss,
        hinge_embedding_loss,
        huber_loss,
        kl_div,
        l1_loss,
        poisson_nll_loss,
        sigmoid_focal_loss,
        smooth_l1_loss,
        soft_margin_loss,
    )
    from xpnet.functional.regularizers import l1, l2
    from xpnet.functional.resampling import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_avg_pool3d,
        adaptive_max_pool1d,
        adaptive_max_pool2d,
        adaptive_max_pool3d,
        interpolate,
    )
    from xpnet.functional.rms import rms_norm
    from xpnet.functional.shuffling import pixel_shuffle, pixel_unshuffle
    from xpnet.functional.spatial import (
        avg_pool1d,
        bilinear,
        conv1d,
        conv_transpose1d,
        conv_transpose2d,
        max_pool1d,
    )
    from xpnet.functional.unflattening import unflatten
    from xpnet.functional.unpooling import max_unpool1d, max_unpool2d, max_unpool3d
    from xpnet.functional.variational import elbo_loss, gaussian_kl
    from xpnet.functional.volumes import avg_pool3d, conv3d, conv_transpose3d, max_pool3d
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "attention": "scaled_dot_product_attention",
            "bags": "embedding_bag",
            "ctc": "ctc_loss",
            "distances": (
                "cosine_embedding_loss cosine_similarity margin_ranking_loss "
                "multilabel_soft_margin_loss pairwise_distance triplet_margin_loss"
            ),
            "dropping": "drop_path dropout1d dropout2d dropout3d",
            "gates": "glu hardsigmoid hardswish logsigmoid mish prelu silu softmin swiglu",
            "gumbel": "gumbel_softmax",
            "more_activations": "celu hardshrink relu6 selu softshrink softsign tanhshrink threshold",
            "padding": "pad",
            "pairs": (
                "binary_cross_entropy gaussian_nll_loss hinge_embedding_loss huber_loss kl_div "
                "l1_loss poisson_nll_loss sigmoid_focal_loss smooth_l1_loss soft_margin_loss"
            ),
            "regularizers": "l1 l2",
            "resampling": (
                "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
                "adaptive_max_pool2d adaptive_max_pool3d interpolate pixel_shuffle pixel_unshuffle"
            ),
            "rms": "rms_norm",
            "shuffling": "pixel_shuffle pixel_unshuffle",
            "spatial": "avg_pool1d bilinear conv1d conv_transpose1d conv_transpose2d max_pool1d",
            "unflattening": "unflatten",
            "unpooling": "max_unpool1d max_unpool2d max_unpool3d",
            "variational": "elbo_loss gaussian_kl",
            "volumes": "avg_pool3d conv3d conv_transpose3d max_pool3d",
        },
    )
