"""Training: the epoch loop, its callbacks and metrics, and saved models."""

from xpnet.train.callbacks import Callback, EarlyStopping, LearningRate
from xpnet.train.checkpoint import load_arrays, save_arrays
from xpnet.train.evaluation import evaluate, predict
from xpnet.train.history import History
from xpnet.train.metrics import accuracy, confusion_matrix
from xpnet.train.progress import Progress
from xpnet.train.trainer import Trainer, TrainingDivergedError

__all__ = [
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRate",
    "Progress",
    "Trainer",
    "TrainingDivergedError",
    "accuracy",
    "confusion_matrix",
    "evaluate",
    "load_arrays",
    "predict",
    "save_arrays",
]
