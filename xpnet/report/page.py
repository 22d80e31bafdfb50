"""The parts of a report's page, as HTML; whatever comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.diagnostics import Finding, Observation
from xpnet.functional import log_softmax
from xpnet.report.figures import (
    against_truth,
    by_layer,
    confusion,
    gradient_histograms,
    histograms,
    learning_curves,
    mistakes,
)
from xpnet.train.history import History
from xpnet.train.metrics import confusion_matrix

_MISTAKES = 24

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; display: block; overflow-x: auto } pre { overflow-x: auto }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; vertical-align: top; }
th { font-weight: 600; } .metadata th { white-space: nowrap; }
code { font-size: .9em; overflow-wrap: anywhere; }
.PASS { color: #1a7f37; } .WARN { color: #9a6700; } .FAIL { color: #cf222e; } .advice { color: #555; }
figure { margin: 1rem 0; overflow-x: auto; } figcaption { color: #555 }
svg { max-width: 100%; height: auto; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def summary_part(history: History) -> list[str]:
    """The last epoch and the best."""
    if not history.epochs:
        return ["<p>No epoch was completed.</p>"]
    last = history.last()
    numbers = ", ".join(
        f"{key.replace('_', ' ')} {value:.4g}" for key, value in last.items() if key != "seconds"
    )
    seconds = sum(history["seconds"]) if "seconds" in history else 0.0
    best = ""
    if "val_loss" in history and np.isfinite(history["val_loss"]).any():
        epoch = int(np.nanargmin(history["val_loss"]))
        best = f" Lowest validation loss: {history['val_loss'][epoch]:.4g} in epoch {epoch + 1}."
    epochs = "1 epoch" if history.epochs == 1 else f"{history.epochs} epochs"
    return [f"<p>{epochs} in {seconds:.1f} s; the last one: {escape(numbers)}.{best}</p>"]


def metadata_part(metadata: Mapping[str, Any], title: str = "The run") -> list[str]:
    """The table of names and values."""
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td><code>{escape(str(value))}</code></td></tr>"
        for name, value in metadata.items()
    )
    return [f"<h2>{escape(title)}</h2>", f'<table class="metadata">{rows}</table>']


def findings_part(findings: Iterable[Finding]) -> list[str]:
    """A row for each diagnostic."""
    rows = []
    for f in findings:
        detail = f"; {f.detail}" if f.detail else ""
        rows.append(
            f'<tr><td class="{f.status}">{f.status}</td><td>{escape(f.name)}</td><td>{f.value:.4g}</td>'
            f"<td>expected {escape(f.expected + detail)}"
            + (f'<br><span class="advice">{escape(f.advice)}</span>' if f.advice else "")
            + "</td></tr>"
        )
    return ["<h2>Diagnostics</h2>", f"<table>{''.join(rows)}</table>"] if rows else []


def curves_part(history: History) -> list[str]:
    """Losses, accuracies, learning rate."""
    if not history.epochs:
        return []
    return ["<h2>Learning curves</h2>", _figure(learning_curves(history), "")]


def _figure(svg: str, caption: str) -> str:
    note = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{note}</figure>"


def classification_part(
    scores: np.ndarray, targets: Any, pictures: Any, class_names: Sequence[str] | None
) -> list[str]:
    """The confusion matrix and the mistakes with the highest loss, as pictures or as a table."""
    if targets is None or len(to_numpy(targets)) != len(scores) or scores.ndim != 2:
        raise ValueError(f"write_report: scores are {scores.shape}; expected (n, K), with n targets")
    labels, predicted = to_numpy(targets).astype(np.int64), scores.argmax(axis=1)
    classes = scores.shape[1]
    names = [*map(str, class_names)] if class_names else [str(k) for k in range(classes)]
    logp = to_numpy(log_softmax(np.nan_to_num(scores.astype(np.float64))))
    losses = -logp[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    right = len(labels) - len(wrong)
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:_MISTAKES]
    parts = [
        "<h2>Confusion matrix</h2>",
        f"<p>{right} of {len(labels)} right: accuracy {right / len(labels):.2%}.</p>",
        _figure(confusion(confusion_matrix(labels, predicted, classes), names), ""),
    ]
    if not worst.size:
        return parts
    parts.append("<h2>Worst mistakes</h2>")
    if pictures is None:
        rows = "".join(
            f"<tr><td>{i}</td><td>{escape(names[labels[i]])}</td><td>{escape(names[predicted[i]])}</td>"
            f"<td>{np.exp(logp[i, predicted[i]]):.3f}</td><td>{losses[i]:.3g}</td></tr>"
            for i in worst
        )
        header = "".join(f"<th>{h}</th>" for h in ("sample", "true", "predicted", "probability", "loss"))
        return [*parts, f"<table><tr>{header}</tr>{rows}</table>"]
    titles = [
        f"{names[labels[i]]}, not {names[predicted[i]]}\n{np.exp(logp[i, predicted[i]]):.0%} sure"
        for i in worst
    ]
    caption = (
        "True class, not the predicted one, and how sure the network was of it; the highest losses first."
    )
    return [*parts, _figure(mistakes(to_numpy(pictures[worst]), titles), caption)]


def regression_part(scores: np.ndarray, targets: np.ndarray, intervals: str = "") -> list[str]:
    """Predicted numbers against the true ones, the largest errors, and what is to be said of intervals."""
    if scores.size != targets.size:
        raise ValueError(f"write_report: {scores.shape} predicted numbers for {targets.shape} targets")
    predicted, truth = scores.reshape(-1).astype(np.float64), targets.reshape(-1).astype(np.float64)
    error = predicted - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    r2 = f"R2 {1 - float((error**2).sum()) / spread:.4f}, " if spread else ""
    text = f"{r2}mean absolute error {np.abs(error).mean():.4g}, "
    text += f"root mean square {np.sqrt((error**2).mean()):.4g}"
    worst = np.argsort(-np.abs(error), kind="stable")[:_MISTAKES]
    rows = "".join(
        f"<tr><td>{i}</td><td>{truth[i]:.6g}</td><td>{predicted[i]:.6g}</td><td>{error[i]:+.4g}</td></tr>"
        for i in worst
    )
    header = "".join(f"<th>{h}</th>" for h in ("sample", "true", "predicted", "error"))
    return [
        "<h2>Predicted against true</h2>",
        f"<p>{len(truth)} samples: {text}.</p>",
        *([f"<p>{escape(intervals)}.</p>"] if intervals else []),
        _figure(against_truth(truth, predicted), "On the line, a prediction is right."),
        "<h2>Largest errors</h2>",
        f"<table><tr>{header}</tr>{rows}</table>",
    ]


def inside_part(observations: Sequence[Observation]) -> list[str]:
    """Activations, updates and gradients over the updates."""
    parts = []
    if observations[0].layers:
        caption = (
            "Each column is one update that was looked at; dark: many outputs of the layer have this value."
        )
        parts += ["<h2>Activations by layer</h2>", _figure(histograms(observations), caption)]
    if any(w.axes >= 2 for w in observations[0].weights):
        ratios = by_layer(observations, lambda w: w.ratio, "|update| / |weights|", "update-ratios")
        spread = by_layer(observations, lambda w: float(w.gradient.std()), "std of the gradient", "gradients")
        parts += [
            "<h2>Update ratios by layer</h2>",
            _figure(ratios, "About 1e-3 is usual; the band is 1e-4 to 3e-2."),
        ]
        caption = "Each column is one update; dark: many elements of the weight's gradient have this value."
        each = _figure(gradient_histograms(observations), caption)
        parts += ["<h2>Gradients by layer</h2>", _figure(spread, ""), each]
    return parts
