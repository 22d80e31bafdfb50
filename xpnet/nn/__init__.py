"""Layers. `from xpnet import nn`."""

from typing import TYPE_CHECKING

from xpnet.core.lazy import lazily
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
from xpnet.nn.container import Average, Identity, Mirrored, ModuleDict, ModuleList, Residual, Sequential
from xpnet.nn.convolution import AvgPool2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from xpnet.nn.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d, DropPath
from xpnet.nn.linear import Flatten, Linear, Maxout, Unflatten
from xpnet.nn.module import Module
from xpnet.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    RMSNorm,
)
from xpnet.nn.parameter import Buffer, Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GPT",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "VAE",
    "VGG",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "Autoencoder",
    "Average",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "Buffer",
    "CTCLoss",
    "CategoryEmbedding",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "FocalLoss",
    "GRUCell",
    "GaussianNLLLoss",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LSTMLanguageModel",
    "LayerNorm",
    "LeCunTanh",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MLPMixer",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Maxout",
    "Mirrored",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
    "PackedSequence",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ResNet",
    "Residual",
    "RotaryEmbedding",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalEncoding",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SwiGLU",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "UNet",
    "Unflatten",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ViT",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "freeze",
    "mlp",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "remove_parametrizations",
    "resnet9",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_cnn",
    "small_resnet",
    "spectral_norm",
    "unfreeze",
    "vgg11",
    "vgg16",
    "vit_tiny",
    "weight_norm",
]

if TYPE_CHECKING:  # what `__getattr__` finds, and nothing else
    from xpnet.nn.attention import MultiheadAttention
    from xpnet.nn.autoencoder import VAE, Autoencoder
    from xpnet.nn.distances import CosineSimilarity, PairwiseDistance
    from xpnet.nn.embedding import (
        CategoryEmbedding,
        Embedding,
        EmbeddingBag,
        RotaryEmbedding,
        SinusoidalEncoding,
    )
    from xpnet.nn.gates import GLU, Hardsigmoid, Hardswish, LogSigmoid, LogSoftmax, Mish, PReLU, SiLU, SwiGLU
    from xpnet.nn.gpt import GPT
    from xpnet.nn.losses import (
        BCELoss,
        BCEWithLogitsLoss,
        CrossEntropyLoss,
        HuberLoss,
        KLDivLoss,
        L1Loss,
        MSELoss,
        MultiLabelSoftMarginLoss,
        MultiMarginLoss,
        NLLLoss,
        SmoothL1Loss,
    )
    from xpnet.nn.lstm_language import LSTMLanguageModel
    from xpnet.nn.margins import (
        CosineEmbeddingLoss,
        CTCLoss,
        FocalLoss,
        GaussianNLLLoss,
        HingeEmbeddingLoss,
        MarginRankingLoss,
        PoissonNLLLoss,
        SoftMarginLoss,
        TripletMarginLoss,
    )
    from xpnet.nn.mixer import MLPMixer
    from xpnet.nn.models import small_cnn, small_resnet
    from xpnet.nn.more_activations import (
        CELU,
        SELU,
        Hardshrink,
        ReLU6,
        Softmin,
        Softshrink,
        Softsign,
        Tanhshrink,
        Threshold,
    )
    from xpnet.nn.padding import (
        CircularPad1d,
        CircularPad2d,
        CircularPad3d,
        ConstantPad1d,
        ConstantPad2d,
        ConstantPad3d,
        ReflectionPad1d,
        ReflectionPad2d,
        ReflectionPad3d,
        ReplicationPad1d,
        ReplicationPad2d,
        ReplicationPad3d,
        ZeroPad1d,
        ZeroPad2d,
        ZeroPad3d,
    )
    from xpnet.nn.parameters import ParameterDict, ParameterList
    from xpnet.nn.parametrizations import remove_parametrizations, spectral_norm, weight_norm
    from xpnet.nn.patterns import freeze, unfreeze
    from xpnet.nn.perceptron import mlp
    from xpnet.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
    from xpnet.nn.resizing import (
        AdaptiveAvgPool1d,
        AdaptiveAvgPool2d,
        AdaptiveAvgPool3d,
        AdaptiveMaxPool1d,
        AdaptiveMaxPool2d,
        AdaptiveMaxPool3d,
        PixelShuffle,
        PixelUnshuffle,
        Upsample,
        UpsamplingBilinear2d,
        UpsamplingNearest2d,
    )
    from xpnet.nn.resnet import ResNet, resnet18, resnet34, resnet50
    from xpnet.nn.shallow import resnet9
    from xpnet.nn.spatial import AvgPool1d, Bilinear, Conv1d, ConvTranspose1d, ConvTranspose2d, MaxPool1d
    from xpnet.nn.transformer import (
        TransformerDecoder,
        TransformerDecoderLayer,
        TransformerEncoder,
        TransformerEncoderLayer,
    )
    from xpnet.nn.unet import UNet
    from xpnet.nn.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d
    from xpnet.nn.utils.rnn import (
        PackedSequence,
        pack_padded_sequence,
        pack_sequence,
        pad_packed_sequence,
        pad_sequence,
    )
    from xpnet.nn.vgg import VGG, vgg11, vgg16
    from xpnet.nn.vit import ViT, vit_tiny
    from xpnet.nn.volumes import AvgPool3d, Conv3d, ConvTranspose3d, MaxPool3d
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "attention": "MultiheadAttention",
            "autoencoder": "Autoencoder VAE",
            "distances": "CosineSimilarity PairwiseDistance",
            "embedding": "CategoryEmbedding Embedding EmbeddingBag RotaryEmbedding SinusoidalEncoding",
            "gates": "GLU Hardsigmoid Hardswish LogSigmoid LogSoftmax Mish PReLU SiLU SwiGLU",
            "gpt": "GPT",
            "losses": (
                "BCELoss BCEWithLogitsLoss CrossEntropyLoss HuberLoss KLDivLoss L1Loss MSELoss "
                "MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss SmoothL1Loss"
            ),
            "lstm_language": "LSTMLanguageModel",
            "margins": (
                "CTCLoss CosineEmbeddingLoss FocalLoss GaussianNLLLoss HingeEmbeddingLoss "
                "MarginRankingLoss PoissonNLLLoss SoftMarginLoss TripletMarginLoss"
            ),
            "mixer": "MLPMixer",
            "models": "small_cnn small_resnet",
            "more_activations": "CELU Hardshrink ReLU6 SELU Softmin Softshrink Softsign Tanhshrink Threshold",
            "padding": (
                "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d "
                "ConstantPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d "
                "ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d"
            ),
            "parameters": "ParameterDict ParameterList",
            "parametrizations": "remove_parametrizations spectral_norm weight_norm",
            "patterns": "freeze unfreeze",
            "perceptron": "mlp",
            "recurrent": "GRU GRUCell LSTM LSTMCell RNN RNNCell",
            "resizing": (
                "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
                "AdaptiveMaxPool3d PixelShuffle PixelUnshuffle Upsample UpsamplingBilinear2d "
                "UpsamplingNearest2d"
            ),
            "resnet": "ResNet resnet18 resnet34 resnet50",
            "shallow": "resnet9",
            "spatial": "AvgPool1d Bilinear Conv1d ConvTranspose1d ConvTranspose2d MaxPool1d",
            "transformer": (
                "TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer"
            ),
            "unet": "UNet",
            "utils": "",
            "xpnet.nn.utils.rnn": (
                "PackedSequence pack_padded_sequence pack_sequence pad_packed_sequence pad_sequence"
            ),
            "unpooling": "MaxUnpool1d MaxUnpool2d MaxUnpool3d",
            "vgg": "VGG vgg11 vgg16",
            "vit": "ViT vit_tiny",
            "volumes": "AvgPool3d Conv3d ConvTranspose3d MaxPool3d",
        },
    )
