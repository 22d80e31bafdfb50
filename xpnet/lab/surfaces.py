"""Descent on functions of a few variables, with every optimizer of the decks, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import Tensor, capture, optim, tensor, to_numpy
from xpnet.lab.experiment import Picture

Surface = Callable[[Any], Any]

RULES: dict[str, Callable[[list[Tensor], float], Any]] = {
    "SGD": lambda p, lr: optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9),
    "Nesterov": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    "AdaGrad": lambda p, lr: optim.Adagrad(p, lr=lr),
    "AdaDelta": lambda p, lr: optim.Adadelta(p, lr=lr, eps=1e-3),
    "RMSProp": lambda p, lr: optim.RMSprop(p, lr=lr, alpha=0.9),
    "Adam": lambda p, lr: optim.Adam(p, lr=lr),
}


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

    def gradient() -> None:
        rule.zero_grad()
        f(x).sum().backward()

    def step() -> None:
        gradient()
        rule.step()

    captured = capture(step)
    for k in range(steps):
        if before_step is None:
            captured()
        else:
            gradient()
            before_step(x, k)
            rule.step()
        path.append(to_numpy(x.data).copy())
    return np.array(path)


def contours(axis: Any, f: Surface, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Draw level lines of f over a rectangle, more of them in its lower parts."""
    grid = np.stack(np.meshgrid(np.linspace(*x, 80), np.linspace(*y, 80)))
    z = f(grid)
    levels = np.unique(np.quantile(z, np.linspace(0, 1, 15) ** 2))
    axis.contour(*grid, z, levels=levels, colors="0.7", linewidths=0.7, linestyles="solid")
    axis.set(xlim=x, ylim=y, xlabel="x1", ylabel="x2")


def race(
    title: str,
    f: Surface,
    paths: dict[str, np.ndarray],
    x: tuple[float, float],
    y: tuple[float, float],
    legend: str = "lower right",
) -> Picture:
    """An animation: every path up to the same step, on one contour plot."""

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        contours(axis, f, x, y)
        for color, name in enumerate(paths):
            axis.plot([], [], "o", color=f"C{color}", label=name)
        axis.legend(loc=legend, fontsize="small")

    steps = max(len(path) for path in paths.values()) - 1
    return Picture(f"{title}, {steps} steps", draw, (6, 4), paths)


def progress(axis: Any, curves: dict[str, np.ndarray], ylabel: str) -> None:
    """Draw a quantity against the step, on a logarithmic axis, a line for each optimizer."""
    for name, values in curves.items():
        axis.semilogy(np.maximum(values, 1e-16), label=name)
    axis.set(xlabel="step", ylabel=ylabel)
    axis.legend(fontsize="small")
