"""Training: the epoch loop, its callbacks and metrics, and saved models."""

from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.checkpoint import load_arrays, save_arrays
from xpnet.train.classification import Confusion, f1, precision, precision_recall_f1, recall
from xpnet.train.evaluation import evaluate, predict
from xpnet.train.history import History
from xpnet.train.learning_rate import LearningRate
from xpnet.train.metrics import accuracy, confusion_matrix, top_k_accuracy
from xpnet.train.model_checkpoint import Checkpoint, ModelCheckpoint
from xpnet.train.progress import Progress
from xpnet.train.resume import load_checkpoint
from xpnet.train.scaling import LossScaler
from xpnet.train.stopping import EarlyStopping, MovingAverageStopping, StopOnDivergence
from xpnet.train.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "Confusion",
    "EarlyStopping",
    "History",
    "LearningRate",
    "LossScaler",
    "ModelCheckpoint",
    "MovingAverageStopping",
    "Progress",
    "StopOnDivergence",
    "Trainer",
    "TrainingDivergedError",
    "accuracy",
    "confusion_matrix",
    "evaluate",
    "f1",
    "load_arrays",
    "load_checkpoint",
    "precision",
    "precision_recall_f1",
    "predict",
    "recall",
    "save_arrays",
    "top_k_accuracy",
]
