"""A step length along a direction that fulfils the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from xpnet.core.backend import Array
from xpnet.core.places import namespace

ENOUGH, FLAT = 1e-4, 0.9
"""c1: the part of the promised descent that is asked for; c2: the part of the slope that may be left."""


class Point(NamedTuple):
    """A length, and the value, the gradient and the slope along the direction there."""

    t: float
    value: float
    gradient: Array
    slope: float


def strong_wolfe(
    along: Callable[[float], tuple[float, Array]],
    length: float,
    direction: Array,
    value: float,
    gradient: Array,
    slope: float,
    tolerance: float,
    most: int,
) -> tuple[float, Array, float, int]:
    """Nocedal & Wright, 2006, algorithms 3.5 and 3.6: a bracket, which is then made smaller.

    Args:
        along: value and gradient at a length.
        length: the first that is tried.
        direction: that the slopes are along.
        value: at length 0.
        gradient: likewise.
        slope: likewise, negative.
        tolerance: the smallest change of a parameter between the ends of the bracket.
        most: calls of `along`, but for one.

    Returns:
        Value, gradient, length and calls of `along`.
    """
    xp = namespace(direction)

    def at(t: float) -> Point:
        found, there = along(t)
        return Point(t, found, there, float(xp.sum(there * direction)))

    origin = Point(0.0, value, gradient, slope)
    before, now, calls = origin, at(length), 1
    high_enough = lambda p: p.value > value + ENOUGH * p.t * slope
    flat = lambda p: abs(p.slope) <= -FLAT * slope
    bracket = [origin, now]
    for tried in range(most):
        risen = high_enough(now) or (tried > 1 and now.value >= before.value)
        if not risen and flat(now):
            return now.value, now.gradient, now.t, calls
        if risen or now.slope >= 0:
            bracket = [before, now]
            break
        limits = now.t + 0.01 * (now.t - before.t), 10 * now.t
        before, now = now, at(lowest_of_cubic(before, now, limits))
        calls += 1
    else:
        bracket = [origin, now]
    return _smaller(bracket, at, high_enough, flat, calls, most, tolerance / float(xp.max(xp.abs(direction))))


def _smaller(
    bracket: list[Point],
    at: Callable[[float], Point],
    high_enough: Callable[[Point], bool],
    flat: Callable[[Point], bool],
    calls: int,
    most: int,
    width: float,
) -> tuple[float, Array, float, int]:
    """The bracket made smaller until the conditions hold at its lower end."""
    near_end = False
    low = 0 if bracket[0].value <= bracket[1].value else 1
    while calls <= most:
        a, b = (p.t for p in bracket)
        if abs(b - a) < width:
            break
        t, near_end = _off_the_ends(lowest_of_cubic(bracket[0], bracket[1]), min(a, b), max(a, b), near_end)
        new, calls = at(t), calls + 1
        if high_enough(new) or new.value >= bracket[low].value:
            bracket[1 - low] = new
            low = 0 if bracket[0].value <= bracket[1].value else 1
            continue
        done = flat(new)
        if not done and new.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = new
        if done:
            break
    best = bracket[low]
    return best.value, best.gradient, best.t, calls


def _off_the_ends(t: float, low: float, high: float, again: bool) -> tuple[float, bool]:
    """A tenth of the bracket away from an end that is met a second time; whether t is near one."""
    tenth = 0.1 * (high - low)
    if min(high - t, t - low) >= tenth:
        return t, False
    if again or t >= high or t <= low:
        return (high - tenth if abs(t - high) < abs(t - low) else low + tenth), False
    return t, True


def lowest_of_cubic(a: Point, b: Point, limits: tuple[float, float] | None = None) -> float:
    """Where the cubic through two values and slopes is lowest, within limits (equation 3.59)."""
    low, high = limits if limits is not None else (min(a.t, b.t), max(a.t, b.t))
    if a.t == b.t:
        return (low + high) / 2
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = square**0.5
    first, last = (a, b) if a.t <= b.t else (b, a)
    above, below = last.slope + d2 - d1, last.slope - first.slope + 2 * d2
    if not below:  # a line
        return low if above > 0 else high
    return min(max(last.t - (last.t - first.t) * (above / below), low), high)
