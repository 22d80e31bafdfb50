"""A page about a saved model: what it is, how it was made, and how good it is on labelled samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from os import PathLike
from typing import Any

import numpy as np

from xpnet.io.writing import atomic_write
from xpnet.nn.module import Module
from xpnet.report.page import classification_part, metadata_part, page, regression_part


def write_model_page(
    path: str | PathLike[str],
    model: Module,
    metadata: Mapping[str, Any],
    *,
    title: str,
    shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    preprocessing: Any = None,
    source: str | None = None,
    scores: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    pictures: np.ndarray | None = None,
    intervals: str = "",
) -> None:
    """Write a model as one HTML page that needs no other file, no network and no script.

    Args:
        path: the file, replaced if it exists.
        model: the network.
        metadata: what was saved beside it.
        title: the heading.
        shape: of a sample.
        class_names: of the classes.
        features: of a table.
        preprocessing: what is done to samples first.
        source: where `scores` come from.
        scores: (n, classes), or (n, 1) predicted numbers.
        targets: (n,) class numbers, or floats.
        pictures: (n, C, H, W), values from 0 to 1, to show the worst mistakes.
        intervals: how many of the true numbers are in their intervals, in words.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    rows: dict[str, Any] = {
        "parameters": sum(p.size for p in model.parameters()),
        "sample": "" if shape is None else " x ".join(map(str, shape)),
        "preprocessing": "none" if preprocessing is None else type(preprocessing).__name__,
        "classes": ", ".join(class_names or ()),
        "features": ", ".join(features or ()),
    }
    for name in ("task", "target", "data", "training", "test", "versions"):
        value = metadata.get(name)
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(item, list | Mapping):
                    rows[f"{name}: {key}"] = f"{item:.6g}" if isinstance(item, float) else item
        elif value is not None:
            rows[name] = value
    parts = metadata_part({key: value for key, value in rows.items() if value != ""}, "The model")
    parts += ["<h2>The network</h2>", f"<pre>{escape(repr(model))}</pre>"]
    if scores is not None and targets is not None:
        parts.append(f"<p>{len(targets)} samples of {escape(str(source))}:</p>")
        if targets.dtype.kind == "f":
            parts += regression_part(scores, targets, intervals)
        else:
            parts += classification_part(scores, targets, pictures, class_names)
    with atomic_write(path) as file:
        file.write(page(title, parts).encode())
