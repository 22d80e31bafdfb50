"""Training: the epoch loop, its callbacks and metrics, and saved models."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from xpnet.io.files import load_arrays, save_arrays
from xpnet.train.averaging import EMA, SWA, WeightAveraging
from xpnet.train.batch_norm import ExactBatchNorm, recompute_batch_norm
from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.classification import Confusion, f1, precision, precision_recall_f1, recall
from xpnet.train.cross_validation import CrossValidation, cross_validate
from xpnet.train.environment import EnvironmentWarning
from xpnet.train.evaluation import evaluate, predict
from xpnet.train.gradients import GradientClipping, GradientNoise
from xpnet.train.history import History
from xpnet.train.identity import AnotherRunError
from xpnet.train.learning_rate import LearningRate
from xpnet.train.live import Live
from xpnet.train.loggers import CSVLogger, TensorBoard
from xpnet.train.lr_finder import LRFinder
from xpnet.train.manual import ManualStep
from xpnet.train.metrics import accuracy, confusion_matrix, top_k_accuracy
from xpnet.train.model_checkpoint import Checkpoint, ModelCheckpoint
from xpnet.train.progress import Progress
from xpnet.train.resume import load_checkpoint
from xpnet.train.run import Run
from xpnet.train.sample_weights import sample_weighted
from xpnet.train.scaling import LossScaler
from xpnet.train.several import SeveralLosses
from xpnet.train.step import Step
from xpnet.train.stopping import EarlyStopping, MovingAverageStopping, StopOnDivergence
from xpnet.train.trainer import Trainer
from xpnet.train.whole import average_precision, mean_absolute_error, r2, roc_auc, whole

if TYPE_CHECKING:  # what `__getattr__` finds
    from xpnet.diagnostics import (
        Checkup,
        CheckupError,
        Diagnostics,
        Finding,
        LocateNonFinite,
        Observation,
        activation_scale,
        class_balance,
        class_order,
        constant_features,
        dead_units,
        first_non_finite,
        generalization_gap,
        gradient_check,
        gradient_scale,
        initial_loss,
        input_scale,
        leakage,
        learning_rate_check,
        overfit,
        same_sign_gradients,
        saturation,
        update_ratio,
        worst,
    )
    from xpnet.diagnostics.doctor import doctor as doctor
    from xpnet.diagnostics.observe import observe as observe
    from xpnet.report import Report as Report
    from xpnet.report import write_report as write_report
else:

    def __getattr__(name: str) -> object:
        """Diagnostics and reports look at training, which does not know them; they load on first use."""
        if name in ("Report", "write_report"):
            return getattr(_import_module("xpnet.report"), name)
        if name in __all__:
            return getattr(_import_module("xpnet.diagnostics"), name)
        raise AttributeError(f"module 'xpnet.train' has no attribute {name!r}")


__all__ = [
    "EMA",
    "SWA",
    "AnotherRunError",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Checkup",
    "CheckupError",
    "Confusion",
    "CrossValidation",
    "Diagnostics",
    "EarlyStopping",
    "EnvironmentWarning",
    "ExactBatchNorm",
    "Finding",
    "GradientClipping",
    "GradientNoise",
    "History",
    "LRFinder",
    "LearningRate",
    "Live",
    "LocateNonFinite",
    "LossScaler",
    "ManualStep",
    "ModelCheckpoint",
    "MovingAverageStopping",
    "Observation",
    "Progress",
    "Report",
    "Run",
    "SeveralLosses",
    "Step",
    "StopOnDivergence",
    "TensorBoard",
    "Trainer",
    "TrainingDivergedError",
    "WeightAveraging",
    "accuracy",
    "activation_scale",
    "average_precision",
    "class_balance",
    "class_order",
    "confusion_matrix",
    "constant_features",
    "cross_validate",
    "dead_units",
    "doctor",
    "evaluate",
    "f1",
    "first_non_finite",
    "generalization_gap",
    "gradient_check",
    "gradient_scale",
    "initial_loss",
    "input_scale",
    "leakage",
    "learning_rate_check",
    "load_arrays",
    "load_checkpoint",
    "mean_absolute_error",
    "observe",
    "overfit",
    "precision",
    "precision_recall_f1",
    "predict",
    "r2",
    "recall",
    "recompute_batch_norm",
    "roc_auc",
    "same_sign_gradients",
    "sample_weighted",
    "saturation",
    "save_arrays",
    "top_k_accuracy",
    "update_ratio",
    "whole",
    "worst",
    "write_report",
]
