"""Optimizers, learning-rate schedules, gradient clipping and noise."""

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
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "GradientNoise",
    "InverseTimeLR",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "WarmupLR",
    "clip_grad_norm",
    "clip_grad_value",
]
