"""Functions of two variables to descend on, the descent, and its contour plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import Tensor, tensor, to_numpy

Surface = Callable[[Any], Any]


def descend(
    f: Surface,
    start: Any,
    optimizer: Callable[[list[Tensor]], Any],
    steps: int,
    before_step: Callable[[Tensor, int], None] | None = None,
) -> np.ndarray:
    """The points that an optimizer visits from `start`.

    Args:
        f: of a vector; of every x[0], x[1], ... alike, so that arrays draw it too.
        start: (d,) numbers.
        optimizer: makes one from a list of parameters, such as `lambda p: optim.SGD(p, lr=0.1)`.
        steps: how many.
        before_step: called with the parameter, its gradient filled, and the number of the step.

    Returns:
        (steps + 1, d) on the host, in double precision.
    """
    x = tensor(np.array(start, dtype=np.float64), requires_grad=True)
    rule, path = optimizer([x]), [to_numpy(x.data).copy()]
    for k in range(steps):
        rule.zero_grad()
        f(x).sum().backward()
        if before_step is not None:
            before_step(x, k)
        rule.step()
        path.append(to_numpy(x.data).copy())
    return np.array(path)


def contours(axis: Any, f: Surface, x: tuple[float, float], y: tuple[float, float], levels: Any = 20) -> None:
    """Draw the level lines of f over a rectangle."""
    grid = np.stack(np.meshgrid(np.linspace(*x, 120), np.linspace(*y, 120)))
    axis.contour(*grid, f(grid), levels=levels, colors="0.7", linewidths=0.7)
    axis.set(xlim=x, ylim=y)
