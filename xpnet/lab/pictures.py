"""A picture to show what augmentation does: made here, so that no photograph has to ship with the package."""

from __future__ import annotations

from typing import Any

import numpy as np


def landscape(height: int = 256, width: int = 340) -> np.ndarray:
    """A house on a hill under a sun: (1, 3, height, width) float32 in [0, 1], left and right not alike."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    hill = y > 0.75 + 0.1 * np.sin(5 * x)
    sun = (x - 0.8) ** 2 * (width / height) ** 2 + (y - 0.2) ** 2 < 0.012
    wall = (abs(x - 0.33) < 0.13) & (y > 0.5) & (y < 0.8)
    roof = (y > 0.3) & (y < 0.5) & (abs(x - 0.33) < 0.85 * (y - 0.3))
    door = (abs(x - 0.38) < 0.03) & (y > 0.62) & (y < 0.8)
    picture = np.stack([0.45 + 0.3 * y, 0.65 + 0.2 * y, 0.95 - 0.1 * y])
    for where, colour in (
        (hill, (0.3, 0.55, 0.25)),
        (sun, (1.0, 0.85, 0.3)),
        (wall, (0.85, 0.8, 0.7)),
        (roof, (0.65, 0.25, 0.2)),
        (door, (0.35, 0.25, 0.2)),
    ):
        picture[:, where] = np.array(colour)[:, None]
    return picture[None].astype(np.float32)


def show(axis: Any, picture: np.ndarray, title: str = "") -> None:
    """A (3, H, W) or (1, H, W) picture without ticks."""
    channels = picture.transpose(1, 2, 0)
    axis.imshow(np.clip(channels if channels.shape[2] == 3 else channels[:, :, 0], 0, 1), cmap="gray")
    axis.set_title(title, fontsize="small")
    axis.axis("off")
