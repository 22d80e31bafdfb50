"""The figures of a training report, as SVG to stand within a page; without pyplot and its global state."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet.diagnostics.layers import BAND
from xpnet.diagnostics.observe import Observation
from xpnet.train.history import History

_SHOWN = 16  # layers at most, evenly chosen from deeper networks
_BINS = 32
_PASSING = ("Dropout", "Flatten")  # layers whose outputs are their inputs


def svg(figure: Any, name: str) -> str:
    """The figure as an <svg> element whose ids begin with its name, so that many can stand in one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\g<1>", text)  # equal pictures have equal ids
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{name.replace("-", " ")}" ', 1)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Any]:
    """A figure with text as text, and the same bytes for the same content."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "xpnet", "font.size": 9.0}):
        yield Figure(figsize=(width, height), layout="constrained")


def learning_curves(history: History) -> str:
    """Losses, accuracies and other measures, and the learning rate, by epoch."""
    losses = [key for key in history if key.endswith("_loss")]
    others = [key for key in history if key not in (*losses, "lr", "seconds")]
    panels: list[tuple[str, list[str]]] = [("loss", losses), ("learning rate", ["lr"])]
    if others:
        panels.insert(1, ("validation", others))
    epochs = np.arange(1, history.epochs + 1)
    with _figure(3.3 * len(panels), 2.6) as figure:
        for axis, (label, keys) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            for key in keys:
                if key in history:
                    axis.plot(
                        epochs,
                        history[key],
                        label=key.replace("_", " "),
                        marker="." if len(epochs) < 3 else "",
                    )
            axis.set(xlabel="epoch", ylabel=label)
            if label == "learning rate":
                axis.set_ylim(0, None)
            elif keys:
                axis.legend(fontsize=8)
        return svg(figure, "learning-curves")


def confusion(matrix: np.ndarray, names: Sequence[str]) -> str:
    """Counts of (true, predicted), shaded by the fraction of the true class; numbers up to 20 classes."""
    k = len(matrix)
    fraction = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(7.0, 1.6 + 0.4 * k)
    with _figure(side, side) as figure:
        axis = figure.subplots()
        axis.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
        axis.set(xlabel="predicted", ylabel="true")
        if k <= 20:
            longest = max(map(len, names))
            # a name may hold dollar signs that are no formula
            axis.set_xticks(range(k), names, rotation=90 if longest > 2 else 0, parse_math=False)
            axis.set_yticks(range(k), names, parse_math=False)
            for (i, j), count in np.ndenumerate(matrix):
                if count:
                    colour = "white" if fraction[i, j] > 0.5 else "black"
                    axis.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
        return svg(figure, "confusion-matrix")


def against_truth(truth: np.ndarray, predicted: np.ndarray) -> str:
    """A point a sample, up to 2000 of them, and the line where both are equal; beside it, the errors."""
    shown = np.linspace(0, len(truth) - 1, min(len(truth), 2000)).round().astype(int)
    with _figure(8.0, 3.4) as figure:
        points, errors = figure.subplots(1, 2)
        points.scatter(truth[shown], predicted[shown], s=8, alpha=0.5, linewidths=0)
        ends = [float(truth.min()), float(truth.max())]
        points.plot(ends, ends, color="0.3", linewidth=0.8)
        points.set(xlabel="true", ylabel="predicted")
        errors.hist(predicted - truth, bins=_BINS)
        errors.set(xlabel="predicted - true", ylabel="samples")
        return svg(figure, "predicted-against-true")


def mistakes(pictures: np.ndarray, titles: Sequence[str]) -> str:
    """A grid of pictures (n, C, H, W) or (n, H, W) with values from 0 to 1, each with its title."""
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    with _figure(1.25 * columns, 1.6 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, picture, title in zip(axes, pictures, titles, strict=False):
            shown = picture if picture.ndim == 2 else picture.transpose(1, 2, 0)
            shown = shown[..., 0] if shown.ndim == 3 and shown.shape[2] == 1 else shown
            axis.imshow(np.clip(shown, 0, 1), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=7, parse_math=False)
        return svg(figure, "worst-mistakes")


def histograms(seen: Sequence[Observation]) -> str:
    """For each layer, how its outputs are distributed (dark: many) at each step that was looked at."""
    names = _some([layer.name for layer in seen[0].layers if layer.kind not in _PASSING])
    found = {name: [layer for o in seen for layer in o.layers if layer.name == name] for name in names}
    samples = {f"{name} {layers[0].kind}": [x.sample for x in layers] for name, layers in found.items()}
    return _distributions(samples, [o.step for o in seen], "output", "activation-histograms")


def gradient_histograms(seen: Sequence[Observation]) -> str:
    """Likewise of each weight, how the elements of its gradient are."""
    names = _some([w.name for w in seen[0].weights if w.axes >= 2])
    samples = {name: [w.gradient for o in seen for w in o.weights if w.name == name] for name in names}
    return _distributions(samples, [o.step for o in seen], "gradient", "gradient-histograms")


def _distributions(found: dict[str, list[np.ndarray]], steps: list[int], what: str, title: str) -> str:
    """A picture for each name: a column for each step, its samples from the bottom to the top."""
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    with _figure(2.5 * columns, 1.9 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[len(found) :]:
            axis.axis("off")
        for axis, (name, each) in zip(axes, found.items(), strict=False):
            samples = [sample[np.isfinite(sample)] for sample in each]
            everything = np.concatenate(samples)
            low, high = np.percentile(everything, [0.5, 99.5]) if everything.size else (0.0, 1.0)
            low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
            counts = [np.histogram(np.clip(s, low, high), _BINS, (low, high))[0] for s in samples]
            image = np.sqrt(np.array(counts, dtype=np.float64).T)  # so that tails show
            axis.imshow(
                image, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest",
                extent=(0, len(samples), low, high), vmin=0, vmax=max(1.0, float(np.percentile(image, 98))),
            )  # fmt: skip
            places = sorted({0, len(steps) // 2, len(steps) - 1})
            axis.set_xticks([p + 0.5 for p in places], [str(steps[p]) for p in places])
            axis.set_title(name, fontsize=8)
        figure.supxlabel("update", fontsize=9)
        figure.supylabel(what, fontsize=9)
        return svg(figure, title)


def by_layer(
    seen: Sequence[Observation], weights_only: Callable[[Any], float | None], title: str, name: str
) -> str:
    """A line over the updates for each weight: of its update ratio, or of its gradient's deviation."""
    weights = _some([w.name for w in seen[0].weights if w.axes >= 2])
    with _figure(6.6, 2.8) as figure:
        axis = figure.subplots()
        for number, weight in enumerate(weights):
            points = [(o.step, weights_only(w)) for o in seen for w in o.weights if w.name == weight]
            points = [(s, v) for s, v in points if v is not None and math.isfinite(v) and v > 0]
            if points:
                style = ("-", "--", ":")[number // 8 % 3]
                axis.plot(*zip(*points, strict=True), style, color=f"C{number % 8}", marker=".", label=weight)
        if name == "update-ratios":
            axis.axhspan(*BAND, color="0.92", zorder=0)
        axis.set(xlabel="update", ylabel=title, yscale="log")
        if weights:
            figure.legend(fontsize=7, loc="outside right center")
        return svg(figure, name)


def _some(names: list[str]) -> list[str]:
    if len(names) <= _SHOWN:
        return names
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, _SHOWN).round().astype(int))]
