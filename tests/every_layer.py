"""Every layer of xpnet.nn with unusual arguments, and the shape of a sample that it takes."""

import numpy as np

from xpnet import nn
from xpnet.nn.language import LanguageModel

LAYERS = {
    "Linear": (lambda: nn.Linear(5, 3), (5,)),
    "Linear without bias, of sequences": (lambda: nn.Linear(5, 3, bias=False), (4, 5)),
    "Linear with a length and a direction": (lambda: nn.weight_norm(nn.Linear(5, 3)), (5,)),
    "Linear with one length": (lambda: nn.weight_norm(nn.Linear(5, 3), "weight", None), (5,)),
    "Conv2d of spectral norm 1": (lambda: nn.spectral_norm(nn.Conv2d(2, 3, 2), "weight", 2, 1e-9), (2, 4, 5)),
    "Linear of sequences": (lambda: nn.Linear(5, 3), (4, 5)),
    "Maxout": (lambda: nn.Maxout(5, 3, pieces=4), (5,)),
    "Maxout of sequences": (lambda: nn.Maxout(5, 3), (4, 5)),
    "Flatten": (lambda: nn.Flatten(), (2, 3, 4)),
    "Flatten from 2": (lambda: nn.Flatten(2), (2, 3, 4)),
    "Flatten the last two": (lambda: nn.Flatten(-2), (2, 3, 4)),
    "Flatten the first": (lambda: nn.Flatten(1, 2), (2, 3, 4)),
    "Dropout": (lambda: nn.Dropout(0.4), (5,)),
    "ReLU": (lambda: nn.ReLU(), (5,)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.3), (5,)),
    "ELU": (lambda: nn.ELU(0.7), (5,)),
    "Hardtanh of a range": (lambda: nn.Hardtanh(-0.3, 2.5), (5,)),
    "Softplus, sharp": (lambda: nn.Softplus(3, 0.5), (5,)),
    "GELU with tanh": (lambda: nn.GELU("tanh"), (5,)),
    "Sigmoid": (lambda: nn.Sigmoid(), (5,)),
    "Tanh": (lambda: nn.Tanh(), (5,)),
    "LeCunTanh": (lambda: nn.LeCunTanh(), (5,)),
    "Hardtanh": (lambda: nn.Hardtanh(), (5,)),
    "Softplus": (lambda: nn.Softplus(), (5,)),
    "GELU": (lambda: nn.GELU(), (5,)),
    "SiLU": (lambda: nn.SiLU(), (5,)),
    "Mish": (lambda: nn.Mish(), (5,)),
    "Hardsigmoid": (lambda: nn.Hardsigmoid(), (5,)),
    "Hardswish": (lambda: nn.Hardswish(), (5,)),
    "LogSigmoid": (lambda: nn.LogSigmoid(), (5,)),
    "PReLU": (lambda: nn.PReLU(), (5,)),
    "PReLU of channels": (lambda: nn.PReLU(3, 0.1), (3, 4, 2)),
    "GLU": (lambda: nn.GLU(), (3, 6)),
    "GLU over axis 1": (lambda: nn.GLU(1), (4, 5)),
    "SwiGLU": (lambda: nn.SwiGLU(), (3, 6)),
    "LogSoftmax": (lambda: nn.LogSoftmax(), (3, 5)),
    "LogSoftmax over axis 1": (lambda: nn.LogSoftmax(1), (3, 5)),
    "Embedding": (lambda: nn.Embedding(4, 3, padding_idx=-1), (5,)),
    "Embedding, then a layer": (lambda: nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2)), (5,)),
    "CategoryEmbedding": (lambda: nn.CategoryEmbedding([1, 2], [4, 3], [2, 3]), (5,)),
    "CategoryEmbedding at the ends": (lambda: nn.CategoryEmbedding([0, 2], [4, 3], [2, 1]), (3,)),
    "Average": (lambda: nn.Average(nn.Linear(5, 3), nn.Linear(5, 3)), (5,)),
    "Average of probabilities": (
        lambda: nn.Average(*(nn.Linear(5, 3) for _ in range(3)), probabilities=True),
        (5,),
    ),
    "Mirrored": (lambda: nn.Mirrored(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))), (3, 2, 2)),
    "RMSNorm": (lambda: nn.RMSNorm((4, 5), eps=1e-3), (3, 4, 5)),
    "RMSNorm, plain": (lambda: nn.RMSNorm(5, elementwise_affine=False), (4, 5)),
    "SinusoidalEncoding": (lambda: nn.SinusoidalEncoding(4, 0.2, max_len=9), (5, 4)),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(100.0), (3, 5, 4)),
    "RotaryEmbedding of halves": (lambda: nn.RotaryEmbedding(interleaved=False), (5, 4)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.1, "gelu", batch_first=True, norm_first=True),
        (5, 6),
    ),
    "TransformerEncoderLayer, plain": (lambda: nn.TransformerEncoderLayer(6, 3, 8, bias=False), (5, 6)),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 2, 8, 0.1, "silu", 1e-3), 2, nn.LayerNorm(6)
        ),
        (5, 6),
    ),
    "GPT": (lambda: nn.GPT(7, context=9, depth=2, heads=2, width=6, dropout=0.1, bias=False), (5,)),
    "LSTMLanguageModel": (lambda: nn.LSTMLanguageModel(7, 4, 2, 0.1), (5,)),
    "ResNet": (lambda: nn.ResNet("basic", (1, 2, 1, 1), 3, channels=2), (2, 20, 17)),
    "ResNet of bottlenecks": (lambda: nn.ResNet("bottleneck", [1, 1, 1, 1], 3), (3, 16, 16)),
    "VGG": (lambda: nn.VGG((1, 2), 3, 2, width=4, hidden=6, dropout=0.1, batch_norm=True), (2, 28, 28)),
    "UNet": (lambda: nn.UNet(2, 3, width=2, depth=2), (2, 13, 8)),
    "ViT": (lambda: nn.ViT(8, 4, 2, 2, 6, 10, 0.1, 0.1, num_classes=3, channels=2), (2, 8, 8)),
    "MLPMixer": (lambda: nn.MLPMixer(6, 3, 2, 4, 5, 6, num_classes=3, channels=2), (2, 6, 6)),
    "Autoencoder": (lambda: nn.Autoencoder(12, (7, 5), 2, "tanh"), (3, 2, 2)),
    "Softmax": (lambda: nn.Softmax(), (3, 5)),
    "Softmax over axis 1": (lambda: nn.Softmax(axis=1), (3, 5)),
    "Conv2d": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (4, 8, 9),
    ),
    "Conv2d without bias": (lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False), (2, 6, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d((3, 2), stride=(2, 1), padding=1), (2, 7, 6)),
    "Conv2d of the same size": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same", dilation=2), (2, 6, 5)),
    "Conv2d, valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 6, 5)),
    "MaxPool2d, dilated": (lambda: nn.MaxPool2d(2, stride=1, dilation=(1, 2)), (2, 7, 6)),
    "MaxPool2d, cut off": (lambda: nn.MaxPool2d(2, ceil_mode=True), (2, 7, 7)),
    "AvgPool2d, cut off": (lambda: nn.AvgPool2d(2, ceil_mode=True), (2, 7, 7)),
    "AvgPool2d without the padding": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 7, 6)),
    "MaxPool2d, a window left out": (lambda: nn.MaxPool2d(2, 3, 1, ceil_mode=True), (2, 5, 4)),
    "MaxPool2d, dilated and cut off": (lambda: nn.MaxPool2d(2, 2, 1, 3, ceil_mode=True), (2, 6, 7)),
    "AvgPool2d, a window left out": (lambda: nn.AvgPool2d(2, 3, 1, True), (2, 5, 4)),
    "AvgPool2d, cut off without the padding": (lambda: nn.AvgPool2d(3, 2, 1, True, False), (2, 6, 7)),
    "AvgPool2d by a divisor": (lambda: nn.AvgPool2d(3, 2, 1, True, divisor_override=5), (2, 6, 7)),
    "MaxPool2d by its size": (lambda: nn.MaxPool2d(2), (2, 7, 6)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 7, 6)),
    "GlobalAvgPool2d": (lambda: nn.GlobalAvgPool2d(), (3, 4, 5)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, 2, 2), (4, 9)),
    "Conv1d of the same size": (lambda: nn.Conv1d(2, 3, (4,), padding="same", bias=False), (2, 6)),
    "Conv3d": (lambda: nn.Conv3d(2, 4, (2, 3, 2), (1, 2, 1), (1, 0, 1), groups=2), (2, 4, 5, 3)),
    "Conv3d of the same size": (lambda: nn.Conv3d(2, 3, 2, padding="same"), (2, 3, 4, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2), (4, 5)),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 0), 2, False, dilation=(1, 2)),
        (4, 5, 4),
    ),
    "ConvTranspose1d, padded by more than its stride": (
        lambda: nn.ConvTranspose1d(4, 6, 3, dilation=3, output_padding=2),
        (4, 5),
    ),
    "ConvTranspose2d, padded by its stride": (
        lambda: nn.ConvTranspose2d(4, 2, 3, (2, 1), 2, 1, bias=False, dilation=2),
        (4, 5, 4),
    ),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1, ceil_mode=True), (2, 8)),
    "MaxPool1d, a window left out": (lambda: nn.MaxPool1d(2, 3, 1, ceil_mode=True), (2, 5)),
    "AvgPool1d, a window left out": (lambda: nn.AvgPool1d(2, 3, 1, True), (2, 5)),
    "AvgPool1d, cut off": (lambda: nn.AvgPool1d(3, 2, 1, True), (2, 6)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), (2, 8)),
    "AvgPool1d without the padding": (lambda: nn.AvgPool1d(3, 2, 1, count_include_pad=False), (2, 7)),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(3), (2, 7)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 5, 4)),
    "AdaptiveAvgPool2d to one": (lambda: nn.AdaptiveAvgPool2d(1), (2, 5, 4)),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(3), (2, 7)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((3, 2)), (2, 5, 4)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), (2, 3, 4)),
    "Upsample to a size": (lambda: nn.Upsample((5, 3)), (2, 3, 4)),
    "Upsample, bilinear": (lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear"), (2, 3, 4)),
    "Upsample, aligned": (lambda: nn.Upsample(8, mode="linear", align_corners=True), (2, 4)),
    "Upsample, bicubic": (lambda: nn.Upsample(scale_factor=1.5, mode="bicubic"), (2, 4, 4)),
    "Upsample, trilinear": (lambda: nn.Upsample(scale_factor=2, mode="trilinear"), (2, 2, 3, 4)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (8, 3, 2)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), (2, 4, 6)),
    "Dropout1d": (lambda: nn.Dropout1d(0.4), (3, 5)),
    "Dropout2d": (lambda: nn.Dropout2d(0.4), (3, 5, 2)),
    "Dropout3d": (lambda: nn.Dropout3d(0.4), (3, 5, 2, 2)),
    "DropPath": (lambda: nn.DropPath(0.4, scale_by_keep=False), (5,)),
    **{
        f"{kind}Pad{n}d": (
            lambda kind=kind, n=n: getattr(nn, f"{kind}Pad{n}d")(
                tuple(1 + k % 2 for k in range(2 * n)), *([0.5] if kind == "Constant" else [])
            ),
            (2, *(4, 3, 5)[:n]),
        )
        for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    "CircularPad1d, less before": (lambda: nn.CircularPad1d((-1, 1)), (2, 5)),
    "CircularPad1d, less behind": (lambda: nn.CircularPad1d((1, -1)), (2, 5)),
    "CircularPad2d, less": (lambda: nn.CircularPad2d((-1, 2, 1, -2)), (2, 5, 6)),
    "ReflectionPad2d, less": (lambda: nn.ReflectionPad2d((-1, 2, 2, -1)), (2, 5, 6)),
    "ReplicationPad1d, less": (lambda: nn.ReplicationPad1d((-1, 2)), (2, 5)),
    "ZeroPad2d, less": (lambda: nn.ZeroPad2d((-1, 1, 0, 2)), (2, 4, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(5, eps=1e-2), (5,)),
    "BatchNorm1d of sequences": (lambda: nn.BatchNorm1d(3), (3, 5)),
    "BatchNorm1d, plain": (lambda: nn.BatchNorm1d(5, affine=False), (5,)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
    "BatchNorm2d without statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (3, 4, 5)),
    "LayerNorm": (lambda: nn.LayerNorm((4, 5), eps=1e-3), (3, 4, 5)),
    "BatchNorm1d without bias": (lambda: nn.BatchNorm1d(5, bias=False), (5,)),
    "BatchNorm2d, the average": (lambda: nn.BatchNorm2d(3, momentum=None), (3, 4, 5)),
    "LayerNorm without bias": (lambda: nn.LayerNorm(5, bias=False), (4, 5)),
    "GroupNorm without bias": (lambda: nn.GroupNorm(2, 6, bias=False), (6, 3, 4)),
    "LayerNorm, plain": (lambda: nn.LayerNorm(5, elementwise_affine=False), (4, 5)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 6), (6, 3, 4)),
    "GroupNorm of channels alone": (lambda: nn.GroupNorm(2, 6, affine=False), (6,)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3), (3, 4, 5)),
    "InstanceNorm2d, tracked": (
        lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        (3, 4, 5),
    ),
    "InstanceNorm2d, affine": (lambda: nn.InstanceNorm2d(3, affine=True), (3, 4, 5)),
    "Residual": (lambda: nn.Residual(nn.Sequential(nn.Linear(5, 5), nn.ReLU())), (5,)),
    "Residual with a shortcut": (lambda: nn.Residual(nn.Linear(5, 3), nn.Linear(5, 3)), (5,)),
    "Sequential": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 3))), (5,)),
    "Sequential with names": (
        lambda: nn.Sequential({"in": nn.Linear(5, 4), "act": nn.Tanh(), "same": nn.Identity(4, p=1)}),
        (5,),
    ),
    "Identity": (lambda: nn.Identity(), (5,)),
    "small_cnn": (lambda: nn.small_cnn(3, width=2), (3, 9, 8)),
    "small_resnet": (lambda: nn.small_resnet(3, width=2, blocks=1), (3, 8, 8)),
}

# layers that take several arrays, or give several: their shapes, or what is not of random numbers
SEVERAL = {
    "MaxUnpool1d": (lambda: nn.MaxUnpool1d(3, 2, 1), ((1, 2, 3), np.array([[[0, 2, 3], [1, 1, 4]]]))),
    "MaxUnpool2d": (lambda: nn.MaxUnpool2d((2, 1)), ((1, 1, 2), np.array([[[3, 2]]]))),
    "VAE": (lambda: nn.VAE(12, (7, 5), 2, "elu"), ((4, 3, 4),)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), ((2, 3), (2, 4))),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(6, 2, 0.1, bias=False, kdim=4, vdim=3),
        ((5, 2, 6), (4, 2, 4), (4, 2, 3)),
    ),
    "MultiheadAttention with more keys": (
        lambda: nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True),
        ((2, 5, 6), (2, 4, 6), (2, 4, 6)),
    ),
    "LSTM": (lambda: nn.LSTM(3, 4, 2, dropout=0.2, bidirectional=True, batch_first=True), ((2, 5, 3),)),
    "GRU": (lambda: nn.GRU(3, 4, bias=False), ((5, 2, 3), (1, 2, 4))),
    "RNN": (lambda: nn.RNN(3, 4, 2, "relu"), ((5, 2, 3),)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), ((2, 3),)),
    "GRUCell": (lambda: nn.GRUCell(3, 4), ((2, 3), (2, 4))),
    "RNNCell": (lambda: nn.RNNCell(3, 4, False, "relu"), ((2, 3),)),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(6, 2, 8, 0.2, "gelu", norm_first=True),
        ((5, 2, 6), (4, 2, 6)),
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 3, 8, batch_first=True), 2),
        ((2, 5, 6), (2, 4, 6)),
    ),
}


def sample(model, shape, n=4, seed=0):
    """n random samples for a layer: numbers of rows for an Embedding."""
    rng, first = np.random.default_rng(seed), model
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    if isinstance(first, nn.Embedding | LanguageModel):
        rows = first.num_embeddings if isinstance(first, nn.Embedding) else first.vocab_size
        return rng.integers(0, rows, (n, *shape))
    return rng.normal(size=(n, *shape)).astype(np.float32)
