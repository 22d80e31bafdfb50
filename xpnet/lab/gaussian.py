"""What the theory of wide random networks needs: expectations over a Gaussian."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_G = np.linspace(-10, 10, 40001)
_WEIGHT = np.exp(-_G * _G / 2) * (_G[1] - _G[0]) / np.sqrt(2 * np.pi)


def expectation(f: Callable[[np.ndarray], np.ndarray]) -> float:
    """E[f(g)] for g from N(0, 1), in float64.

    An evenly spaced sum is exact to rounding for functions as smooth as tanh(20 g), for which Gauss-Hermite
    quadrature would need thousands of nodes.

    >>> round(expectation(lambda g: g**4), 6)
    3.0
    """
    return float((f(_G) * _WEIGHT).sum())


def tanh_moments(gain: float, layers: int) -> list[float]:
    """E[h^2] after each tanh layer of a wide network: q' = E[tanh^2(sqrt(gain q) g)], from unit inputs.

    Args:
        gain: n s^2, fan-in times the variance of the weights.
        layers: how many.
    """
    moments = [1.0]
    for _ in range(layers):
        scale = (gain * moments[-1]) ** 0.5
        moments.append(expectation(lambda g, scale=scale: np.tanh(scale * g) ** 2))  # type: ignore[misc]
    return moments[1:]
