"""The augmentation that the command line offers, and pictures of the training data."""

from __future__ import annotations

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.cli.output import write_pictures
from xpnet.data import Augmentation, Compose, Cutout, Dataset, Draw, RandomCrop, RandomFlip
from xpnet.data.preprocessing import Preprocessing

_COLUMNS, _ROWS = 8, 5


def augmentation(training: Dataset, mirrored: bool, strong: bool) -> Augmentation:
    """Random crops of pictures padded by an eighth (He et al., 2016), and mirroring.

    Args:
        training: standardised pictures; those that may not be mirrored are of ink on an empty ground, which
            goes on beyond their edge.
        mirrored: whether a mirrored picture is of the same class.
        strong: a square of half a side is set to the ground, too (DeVries & Taylor, 2017: 16 of 32 pixels).
    """
    height, width = training.x.shape[2:]
    ground = 0.0 if mirrored else float(to_numpy(training.x[:1000, ...]).min())
    crop = RandomCrop((height, width), padding=max(1, min(height, width) // 8), value=ground)
    steps: list[Augmentation] = [crop, RandomFlip()] if mirrored else [crop]
    return Compose([*steps, Cutout(max(1, min(height, width) // 2), ground)] if strong else steps)


def write_samples(path: str | None, training: Dataset, scaler: Preprocessing) -> None:
    """A grid with the first samples of each class, a class a row, up to ten classes."""
    if path is None:
        return
    labels = to_numpy(training.y)
    rows: list[np.ndarray] = []
    titles: list[list[str]] = []
    for k in range(min(training.classes, 10)):
        chosen = np.flatnonzero(labels == k)[:_COLUMNS]
        if chosen.size:
            rows.append(visible(training.subset(chosen).x, scaler))
            titles.append([_class(training, k)] * chosen.size)
    write_pictures(path, rows, titles)


def write_preview(
    path: str | None, training: Dataset, scaler: Preprocessing, augment: Augmentation | None
) -> None:
    """A grid of samples as they are, in the first column, and as the first epochs may show them."""
    if path is None or augment is None:
        return
    chosen = np.arange(min(_ROWS, len(training)))
    part = training.subset(chosen)
    x, y = asarray(part.x), asarray(part.y)
    columns = [visible(x, scaler)]
    for epoch in range(_COLUMNS - 1):
        columns.append(visible(augment(x, y, Draw(0, epoch, chosen))[0], scaler))
    titles = [
        [_class(training, int(k)), *(f"epoch {e + 1}" for e in range(_COLUMNS - 1))] for k in to_numpy(part.y)
    ]
    write_pictures(path, list(zip(*columns, strict=True)), titles)


def visible(x: object, scaler: Preprocessing) -> np.ndarray:
    """Standardised pictures with values from 0 to 1."""
    pictures = to_numpy(scaler.inverse(to_numpy(x)))
    return pictures / max(float(pictures.max()), 1.0)


def _class(data: Dataset, k: int) -> str:
    return data.class_names[k] if data.class_names else str(k)
