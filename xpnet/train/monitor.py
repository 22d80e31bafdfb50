"""Whether less or more of a measure is better: known by its name, or asked for."""

from __future__ import annotations

import re
from typing import Any

from xpnet.core.checks import nearest
from xpnet.train.metrics import names_of

# words of a name; "error" decides in top_5_error, since less of it is better whatever it is an error of
_LESS = (
    "loss error err mae mse rmse msle rmsle mape smape mad deviation deviance nll perplexity ppl "
    "crossentropy entropy divergence kl brier hinge ece penalty cost distance lr seconds time wer cer fid"
)
_MORE = (
    "accuracy acc f1 fbeta f2 precision recall top auc auroc auprc roc ap map r2 iou jaccard dice score "
    "kappa mcc bleu rouge specificity sensitivity similarity correlation pearson spearman likelihood psnr "
    "ssim explained"
)
LESS, MORE = frozenset(_LESS.split()), frozenset(_MORE.split())


def mode_of(monitor: str, mode: str | None = None) -> str:
    """ "min" or "max": `mode`, or what the name of the measure says.

    Raises:
        ValueError: the mode is neither, or it is not given and the name is not known.
    """
    if mode is not None:
        if mode not in ("min", "max"):
            raise ValueError(f'mode is "min" or "max", got {mode!r}')
        return mode
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", monitor).lower()
    words = re.findall(r"[a-z]+\d?", spaced)
    words += [word.rstrip("0123456789") for word in words]
    found = "min" if any(word in LESS for word in words) else None
    found = found or ("max" if any(word in MORE for word in words) else None)
    if found is None:
        raise ValueError(
            f'{monitor!r} is not a measure known here: pass mode="min" if less of it is better, mode="max" '
            "if more is"
        )
    if any(word in ("neg", "negative") for word in words):  # as scikit-learn turns errors into scores
        return "min" if found == "max" else "max"
    return found


def sign_of(monitor: str, mode: str | None = None) -> int:
    """1 if less of a measure is better, -1 if more is; see `mode_of`."""
    return 1 if mode_of(monitor, mode) == "min" else -1


def check_monitor(trainer: Any, monitor: str, name: str) -> None:
    """Refuse, before the first epoch, a measure that the history will not have.

    Raises:
        ValueError: naming the callback and the measure: one of the validation data where there are none, or
            a slip of the pen. What a step of the user's own measures is not known here.
    """
    if monitor.startswith("val_") and trainer.validation is None:
        raise ValueError(
            f"{name}: {monitor} needs validation data; pass fit(train, validation), or monitor train_loss"
        )
    metrics = ["accuracy"] if trainer.metrics is None else names_of(trainer.metrics)
    known = ["train_loss", "val_loss", "lr", "seconds", *(f"val_{name}" for name in metrics)]
    near = nearest(monitor, known, 0.85)
    if near not in (None, monitor) and trainer.train_step.name is None:
        raise ValueError(f"{name}: no measure is called {monitor!r}; did you mean {near!r}?")
