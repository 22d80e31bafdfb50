"""The sizes of every operation."""

from __future__ import annotations

from bench.cases.attention import Attention
from bench.cases.base import Sweep
from bench.cases.batch_norm import BatchNorm
from bench.cases.bias_relu import BiasReLU, FusedBiasReLU
from bench.cases.convolution import (
    Convolution,
    GroupedConvolution,
    PointwiseConvolution,
    StridedConvolution,
    StridedPointwiseConvolution,
)
from bench.cases.cross_entropy import CrossEntropy
from bench.cases.dropout import Dropout
from bench.cases.embedding import Embedding
from bench.cases.linear import Linear
from bench.cases.norms import GroupNorm, LayerNorm, RMSNorm
from bench.cases.optimizers import AdamStep, AdamWStep, NesterovStep
from bench.cases.pooling import MaxPool
from bench.cases.recurrent import RNNCell

OPERATIONS = [
    Sweep(
        CrossEntropy, [(4096, 1000)], [(128, 10), (1024, 100), (16384, 1000)], [(65536, 1000), (8192, 32000)]
    ),
    Sweep(BatchNorm, [(4096, 512)], [(128, 128), (1024, 256), (16384, 512)], [(65536, 512)]),
    Sweep(BatchNorm, [(32, 64, 28, 28)], [(8, 16, 14, 14), (32, 64, 56, 56)], [(256, 64, 56, 56)]),
    Sweep(LayerNorm, [(4096, 512)], [(128, 128), (1024, 256), (16384, 512)], [(65536, 1024)]),
    Sweep(RMSNorm, [(4096, 512)], [(128, 128), (1024, 256), (16384, 512)], [(65536, 1024)]),
    Sweep(GroupNorm, [(32, 64, 28, 28)], [(8, 16, 14, 14), (32, 64, 56, 56)], [(256, 64, 56, 56)]),
    Sweep(BiasReLU, [(4096, 512)], [(128, 128), (1024, 256), (16384, 1024)], [(65536, 1024)]),
    Sweep(FusedBiasReLU, [(4096, 512)], [(128, 128), (1024, 256), (16384, 1024)], [(65536, 1024)]),
    Sweep(Dropout, [(4096, 512)], [(128, 128), (1024, 256), (16384, 1024)], [(65536, 1024)]),
    Sweep(MaxPool, [(32, 64, 28, 28)], [(8, 16, 14, 14), (32, 16, 32, 32)], [(256, 64, 56, 56)]),
    Sweep(
        Linear, [(256, 1024, 1024)], [(32, 64, 32), (128, 784, 256), (256, 3072, 1024)], [(4096, 4096, 4096)]
    ),
    Sweep(RNNCell, [(64, 128, 256)], [(32, 64, 64), (256, 512, 512)]),
    Sweep(
        Attention,
        [(8, 8, 128, 64)],
        [(1, 4, 64, 32), (2, 8, 512, 64)],
        [(8, 16, 2048, 64), (8, 16, 1024, 128)],
    ),
    Sweep(Embedding, [(1000, 256, 4096)], [(65, 192, 4096)], [(50257, 768, 16384)]),
    Sweep(
        Convolution,
        [(32, 16, 32, 32, 16)],
        [
            (8, 8, 14, 14, 8),
            (32, 3, 32, 32, 16),
            (32, 32, 16, 16, 32),
            (32, 64, 8, 8, 64),
            (32, 64, 28, 28, 64),
        ],
        [(128, 64, 28, 28, 64)],
    ),
    Sweep(StridedConvolution, [(32, 16, 32, 32, 32)], [(32, 32, 16, 16, 64), (32, 64, 28, 28, 128)]),
    Sweep(PointwiseConvolution, [(32, 64, 28, 28, 64)], [(32, 16, 32, 32, 64), (32, 256, 14, 14, 64)]),
    Sweep(StridedPointwiseConvolution, [], [(32, 16, 32, 32, 32), (32, 32, 16, 16, 64)]),
    Sweep(GroupedConvolution, [(32, 64, 28, 28, 64)], [(32, 32, 16, 16, 32)]),
    Sweep(AdamStep, [1_000_000, 10_000_000], [10_000, 100_000, 100_000_000]),
    Sweep(AdamWStep, [1_000_000, 10_000_000], [10_000, 100_000]),
    Sweep(NesterovStep, [10_000_000], [10_000, 100_000, 1_000_000, 100_000_000]),
]
