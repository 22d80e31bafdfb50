"""Pictures of a search: parallel coordinates, each parameter against the score (extra `plot`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.io.writing import atomic_write
from xpnet.search.result import SearchResult
from xpnet.search.space import Choice


def parallel_coordinates(result: SearchResult, figure: Any = None) -> Any:
    """One axis a parameter and one for the score, one line a trial; good ones are bright and in front.

    Args:
        result: of a search.
        figure: a Matplotlib Figure or SubFigure to draw on; default: a new Figure.

    Returns:
        The figure.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no trial has a score.
    """
    trials = _scored(result)
    space = result.rounds[0].space
    figure = figure if figure is not None else _figure((1.6 * (len(space.names) + 1) + 1, 4))
    axis = figure.subplots()
    scores = np.array([o.score for o in trials])
    low, high = float(scores.min()), float(scores.max())
    brightness = _brightness(result, scores)
    for outcome, bright in sorted(zip(trials, brightness, strict=True), key=lambda pair: pair[1]):
        values = space.values(outcome.params)
        heights = [d.position(values[name]) for name, d in space.distributions.items()]
        heights.append((outcome.score - low) / (high - low) if high > low else 0.5)
        axis.plot(heights, color=_colour(bright), linewidth=0.6 + 1.4 * bright, alpha=0.8)
    ends = [_ends(d) for d in space.distributions.values()] + [(f"{low:.4g}", f"{high:.4g}")]
    for i, (bottom, top) in enumerate(ends):
        axis.axvline(i, color="0.6", linewidth=0.8)
        axis.text(i, -0.02, bottom, ha="center", va="top", fontsize=8)
        axis.text(i, 1.02, top, ha="center", va="bottom", fontsize=8)
    axis.set(yticks=[], xlim=(-0.2, len(ends) - 0.8), ylim=(-0.08, 1.08))
    axis.set_xticks(range(len(ends)), [*space.names, "score"])
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def scatter(result: SearchResult, figure: Any = None) -> Any:
    """Each parameter against the score, one colour a round: where scores are good, and whether at an edge.

    Args and errors as for `parallel_coordinates`.
    """
    trials = _scored(result)
    space = result.rounds[0].space
    columns = min(4, len(space.names))
    rows = -(-len(space.names) // columns)
    figure = figure if figure is not None else _figure((3.2 * columns, 2.8 * rows))
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    names = list(dict.fromkeys(o.round for o in trials))
    # batches of a sampler, say, are too many for a legend
    groups = names if len(names) <= 4 else [None]
    for axis, (name, distribution) in zip(axes.flat, space.distributions.items(), strict=False):
        for group in groups:
            chosen = [o for o in trials if group is None or o.round == group]
            values = [space.values(o.params)[name] for o in chosen]
            x = [distribution.values.index(v) for v in values] if isinstance(distribution, Choice) else values
            axis.scatter(x, [o.score for o in chosen], s=14, alpha=0.7, label=group)
        if isinstance(distribution, Choice):
            axis.set_xticks(range(len(distribution.values)), [str(v) for v in distribution.values])
        elif distribution.log:
            axis.set_xscale("log")
        axis.set_xlabel(name)
    for axis in list(axes.flat)[len(space.names) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel("score")
    if len(groups) > 1:
        axes[0, 0].legend(fontsize=8)
    return figure


def save(result: SearchResult, path: str | os.PathLike[str], title: str = "") -> None:
    """Both plots in one picture.

    Args:
        result: of a search.
        path: ends in .png, .svg or .pdf.
        title: above the plots.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
        ValueError: no trial has a score.
    """
    rows = -(-len(result.rounds[0].space.names) // 4)
    figure = _figure((12, 4 + 2.8 * rows))
    upper, lower = figure.subfigures(2, 1, height_ratios=[4, 2.8 * rows])
    parallel_coordinates(result, upper)
    scatter(result, lower)
    if title:
        figure.suptitle(title)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120)


def _scored(result: SearchResult) -> list[Any]:
    trials = [o for o in result.trials if o.score is not None]
    if not trials:
        raise ValueError("nothing to plot: no trial has a score")
    return trials


def _brightness(result: SearchResult, scores: np.ndarray) -> np.ndarray:
    """0 to 1 by rank, so that a few bad scores do not make all others look alike."""
    order = scores if result.mode == "max" else -scores
    return np.searchsorted(np.sort(order), order) / max(1, len(order) - 1)


def _ends(distribution: Any) -> tuple[str, str]:
    if isinstance(distribution, Choice):
        return str(distribution.values[0]), str(distribution.values[-1])
    return f"{distribution.low:.3g}", f"{distribution.high:.3g}"


def _colour(bright: float) -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis"](bright)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from xpnet.train.figure import Figure
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "xpnet[plot]"') from None
    return Figure(figsize=size, layout="constrained")
