"""Optimizers, learning-rate schedules, gradient clipping and noise."""

from typing import TYPE_CHECKING

from xpnet.core.lazy import lazily
from xpnet.optim.chain import Accumulate, ClipNorm, ClipValue, Decay, Noise, Transform, chain
from xpnet.optim.gradients import GradientNoise, clip_grad_norm, clip_grad_value
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.plateau import ReduceLROnPlateau
from xpnet.optim.rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop
from xpnet.optim.schedules import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseTimeLR,
    Schedule,
    StepLR,
)

__all__ = [
    "ASGD",
    "LAMB",
    "LBFGS",
    "SAM",
    "SGD",
    "Accumulate",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "ChainedScheduler",
    "ClipNorm",
    "ClipValue",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "Decay",
    "ExponentialLR",
    "GradientNoise",
    "InverseTimeLR",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "Lookahead",
    "MultiStepLR",
    "MultiplicativeLR",
    "Muon",
    "MuonWithAuxAdam",
    "NAdam",
    "Noise",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Rprop",
    "SGDScheduleFree",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "Transform",
    "WarmupLR",
    "WarmupStableDecayLR",
    "chain",
    "clip_grad_norm",
    "clip_grad_value",
    "groups_by_pattern",
    "layerwise_groups",
    "matrices_and_others",
]

if TYPE_CHECKING:  # what `__getattr__` finds, and nothing else
    from xpnet.optim.adafactor import Adafactor
    from xpnet.optim.adam_family import LAMB, Adamax, Lion, NAdam, RAdam
    from xpnet.optim.adan import Adan
    from xpnet.optim.around import SAM, Lookahead
    from xpnet.optim.asgd import ASGD
    from xpnet.optim.composed import ChainedScheduler, SequentialLR
    from xpnet.optim.cycles import CyclicLR, OneCycleLR
    from xpnet.optim.groups import groups_by_pattern, layerwise_groups, matrices_and_others
    from xpnet.optim.lbfgs import LBFGS
    from xpnet.optim.muon import Muon
    from xpnet.optim.muon_adam import MuonWithAuxAdam
    from xpnet.optim.plans import (
        ConstantLR,
        LambdaLR,
        LinearLR,
        MultiplicativeLR,
        MultiStepLR,
        PolynomialLR,
        WarmupLR,
        WarmupStableDecayLR,
    )
    from xpnet.optim.rprop import Rprop
    from xpnet.optim.schedule_free import AdamWScheduleFree, SGDScheduleFree
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "adafactor": "Adafactor",
            "adam_family": "Adamax LAMB Lion NAdam RAdam",
            "adan": "Adan",
            "around": "Lookahead SAM",
            "asgd": "ASGD",
            "composed": "ChainedScheduler SequentialLR",
            "cycles": "CyclicLR OneCycleLR",
            "groups": "groups_by_pattern layerwise_groups matrices_and_others",
            "lbfgs": "LBFGS",
            "muon": "Muon",
            "muon_adam": "MuonWithAuxAdam",
            "plans": (
                "ConstantLR LambdaLR LinearLR MultiStepLR MultiplicativeLR PolynomialLR WarmupLR "
                "WarmupStableDecayLR"
            ),
            "rprop": "Rprop",
            "schedule_free": "AdamWScheduleFree SGDScheduleFree",
        },
    )
