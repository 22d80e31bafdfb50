"""Diagnostics: what is wrong with the data, the network, its gradients or its training, and what helps."""

from xpnet.diagnostics.anatomy import Summary, summary
from xpnet.diagnostics.data import class_balance, class_order, constant_features, input_scale, leakage
from xpnet.diagnostics.doctor import Checkup, CheckupError, doctor
from xpnet.diagnostics.finding import Finding, worst
from xpnet.diagnostics.gradients import gradient_check, same_sign_gradients
from xpnet.diagnostics.layers import (
    activation_scale,
    dead_units,
    gradient_scale,
    saturation,
    update_ratio,
)
from xpnet.diagnostics.observe import Observation, observe
from xpnet.diagnostics.probes import generalization_gap, initial_loss, learning_rate_check, overfit
from xpnet.diagnostics.watch import Diagnostics, LocateNonFinite, first_non_finite

__all__ = [
    "Checkup",
    "CheckupError",
    "Diagnostics",
    "Finding",
    "LocateNonFinite",
    "Observation",
    "Summary",
    "activation_scale",
    "class_balance",
    "class_order",
    "constant_features",
    "dead_units",
    "doctor",
    "first_non_finite",
    "generalization_gap",
    "gradient_check",
    "gradient_scale",
    "initial_loss",
    "input_scale",
    "leakage",
    "learning_rate_check",
    "observe",
    "overfit",
    "same_sign_gradients",
    "saturation",
    "summary",
    "update_ratio",
    "worst",
]
