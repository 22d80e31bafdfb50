"""Optimizers, learning-rate schedules, gradient clipping and noise."""

from xpnet.optim.chain import Accumulate, ClipNorm, ClipValue, Decay, Noise, Transform, chain
from xpnet.optim.gradients import GradientNoise, clip_grad_norm, clip_grad_value
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop
from xpnet.optim.schedules import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseTimeLR,
    ReduceLROnPlateau,
    Schedule,
    StepLR,
    WarmupLR,
)

__all__ = [
    "SGD",
    "Accumulate",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "Decay",
    "ExponentialLR",
    "GradientNoise",
    "InverseTimeLR",
    "Noise",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "Transform",
    "WarmupLR",
    "chain",
    "clip_grad_norm",
    "clip_grad_value",
]
