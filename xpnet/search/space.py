"""Search spaces: a dict of distributions, nested as you like, and settings drawn from it by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xpnet.core import random

Params = dict[str, Any]  # settings, nested as the space is
Limits = tuple[float | None, float | None]

EDGE = 0.05  # the outer fraction of a range that counts as its edge


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, evenly in x or in log x. Make one with `uniform` and the others.

    Attributes:
        low: the smallest value.
        high: the largest value, included.
        log: evenly distributed in log x.
        whole: whole numbers.
        limits: values that no range could pass, such as 0 for a dropout probability: lying there is no edge.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    limits: Limits = (None, None)

    def __post_init__(self) -> None:
        name = "integer" if self.whole else "loguniform" if self.log else "uniform"
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{name}: expected finite low <= high, got {self.low!r} and {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"{name}: a logarithmic range begins above 0, got {self.low!r}")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ValueError(f"{name}: expected whole numbers, got {self.low!r} and {self.high!r}")

    def _ends(self) -> tuple[float, float]:
        """The range that u in [0, 1) is spread over: each whole number owns the unit around it."""
        half = 0.5 if self.whole else 0.0
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def at(self, u: float) -> float | int:
        """The value at the fraction u, in [0, 1], of the range."""
        a, b = self._ends()
        x = a + u * (b - a)
        x = math.exp(x) if self.log else x
        if self.whole:
            x = math.floor(x + 0.5)
        x = min(max(x, self.low), self.high)
        return int(x) if self.whole else x

    def position(self, value: float) -> float:
        """The inverse of `at`: where in the range a value lies, 0 to 1."""
        a, b = self._ends()
        x = math.log(value) if self.log else value
        return (x - a) / (b - a) if b > a else 0.5

    def grid(self, points: int) -> list[float | int]:
        """Evenly spaced values, both ends among them; one point is the middle."""
        if points == 1:
            return [self.at(0.5)]
        whole = replace(self, whole=False)  # the ends themselves, not half a unit outside
        values = [whole.at(i / (points - 1)) for i in range(points)]
        return sorted({round(v) for v in values}) if self.whole else values

    def narrowed(self, values: Sequence[Any], margin: float) -> Interval:
        """The part of the range that the values span, and `margin` of its width more on either side."""
        a, b = self._ends()
        inside = [math.log(v) if self.log else v for v in values]
        pad = margin * (b - a)
        low, high = max(min(inside) - pad, a), min(max(inside) + pad, b)
        if self.log:
            low, high = math.exp(low), math.exp(high)
        if self.whole:
            low, high = round(low), round(high)
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def edge(self, value: float) -> str | None:
        """ "lower" or "upper" if the value lies at that edge, and the range could be wider there."""
        if self.low == self.high:
            return None
        position = self.position(value)
        if (position < EDGE or value == self.low) and not self._limited(self.limits[0], self.low):
            return "lower"
        if (position > 1 - EDGE or value == self.high) and not self._limited(self.limits[1], self.high):
            return "upper"
        return None

    @staticmethod
    def _limited(limit: float | None, end: float) -> bool:
        return limit is not None and limit == end

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON can hold it."""
        kind = "integer" if self.whole else "loguniform" if self.log else "uniform"
        return {"kind": kind, "low": self.low, "high": self.high} | ({"log": self.log} if self.whole else {})

    def __str__(self) -> str:
        return f"{self.low:.3g} .. {self.high:.3g}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """One of several values. Make one with `choice`."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("choice: expected at least one value")

    def at(self, u: float) -> Any:
        """The value at the fraction u of the list."""
        return self.values[min(math.floor(u * len(self.values)), len(self.values) - 1)]

    def position(self, value: Any) -> float:
        """Where in the list a value is, 0 to 1."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def grid(self, points: int) -> list[Any]:
        """All values."""
        return list(self.values)

    def narrowed(self, values: Sequence[Any], margin: float) -> Choice:
        """The values that occur."""
        return Choice(tuple(v for v in self.values if v in values))

    def edge(self, value: Any) -> str | None:
        """A list has no edge."""
        return None

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON can hold it."""
        return {"kind": "choice", "values": list(self.values)}

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Distribution = Interval | Choice


def uniform(low: float, high: float, limits: Limits = (None, None)) -> Interval:
    """A number from low to high.

    Args:
        low: smallest value.
        high: largest value.
        limits: natural ends, such as (0, None) for a dropout probability: a best value there gives no warning
            that the range should be wider.

    Returns:
        A distribution, to be put into a `Space`.

    Raises:
        ValueError: low > high, or not finite.

    >>> from xpnet import search
    >>> search.uniform(0.0, 0.5).at(0.5)
    0.25
    """
    return Interval(float(low), float(high), limits=limits)


def loguniform(low: float, high: float, limits: Limits = (None, None)) -> Interval:
    """A number from low to high, its logarithm evenly distributed: for learning rates and penalties (S2).

    Args:
        low: smallest value, above 0.
        high: largest value.
        limits: as for `uniform`.

    Returns:
        A distribution, to be put into a `Space`.

    Raises:
        ValueError: low <= 0, low > high, or not finite.

    >>> from xpnet import search
    >>> round(search.loguniform(1e-4, 1e-2).at(0.5), 9)
    0.001
    """
    return Interval(float(low), float(high), log=True, limits=limits)


def integer(low: int, high: int, log: bool = False, limits: Limits = (None, None)) -> Interval:
    """A whole number from low to high, both included. Also `xpnet.search.int`.

    Args:
        low: smallest value.
        high: largest value.
        log: whether its logarithm is evenly distributed.
        limits: as for `uniform`.

    Returns:
        A distribution, to be put into a `Space`.

    Raises:
        ValueError: as for `uniform` and, with `log`, `loguniform`; or a bound that is not whole.

    >>> from xpnet import search
    >>> width = search.integer(1, 4)
    >>> [width.at(u) for u in (0.1, 0.9)]
    [1, 4]
    """
    return Interval(low, high, log=log, whole=True, limits=limits)


def choice(values: Sequence[Any]) -> Choice:
    """One of the values, all as likely; JSON must be able to hold them (numbers, strings, lists, None).

    Raises:
        ValueError: no values.
    """
    return Choice(tuple(values))


class Space:
    """Names and distributions: a dict, nested as you like; anything that is no distribution is a constant.

    Args:
        tree: such as `{"lr": loguniform(1e-4, 1e-1), "net": {"width": integer(16, 256), "norm": True}}`.

    Raises:
        TypeError: a name is not a string, or has a dot.
        ValueError: nothing varies.

    >>> from xpnet.search import Space, choice, uniform
    >>> space = Space({"dropout": uniform(0, 0.5), "net": {"layers": choice([1, 2, 3])}})
    >>> space.names
    ['dropout', 'net.layers']
    >>> space.sample(seed=0, number=7) == space.sample(seed=0, number=7)
    True
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.tree = dict(tree)
        self._leaves = dict(flatten(tree))
        self.distributions: dict[str, Distribution] = {
            name: leaf for name, leaf in self._leaves.items() if isinstance(leaf, Interval | Choice)
        }
        if not self.distributions:
            raise ValueError(
                "Space: nothing varies; give at least one of uniform, loguniform, integer, choice"
            )

    @property
    def names(self) -> list[str]:
        """Names of what varies, `"net.width"` for a nested one, in order of definition."""
        return list(self.distributions)

    def at(self, fractions: Sequence[float]) -> Params:
        """The settings at these fractions, in [0, 1], of the ranges, in the order of `names`."""
        return self.params(
            {name: d.at(u) for (name, d), u in zip(self.distributions.items(), fractions, strict=True)}
        )

    def sample(self, seed: int, number: int) -> Params:
        """The settings of a trial: a function of seed and number alone (Philox counters)."""
        return self.at(random.doubles(len(self.names), random.Key(seed, random.SEARCH, number)).tolist())

    def params(self, values: Mapping[str, Any]) -> Params:
        """Settings nested as the space is, from flat ones; with the constants."""
        return _nested({**self._leaves, **values})

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The flat settings of what varies: the inverse of `params`."""
        flat = dict(flatten(params))
        return {name: flat[name] for name in self.distributions}

    def replaced(self, distributions: Mapping[str, Distribution]) -> Space:
        """The same space with other distributions for some names."""
        return Space(_nested({**self._leaves, **distributions}))

    def describe(self) -> dict[str, Any]:
        """Every leaf, as JSON can hold it: two spaces are the same if these are equal."""
        return {
            name: leaf.describe()
            if isinstance(leaf, Interval | Choice)
            else {"kind": "constant", "value": leaf}
            for name, leaf in self._leaves.items()
        }

    def edges(self, params: Mapping[str, Any]) -> list[str]:
        """A warning for each setting that lies at the edge of its range (S2: widen it)."""
        found = []
        for name, value in self.values(params).items():
            distribution = self.distributions[name]
            side = distribution.edge(value)
            if side is not None:
                found.append(
                    f"the best {name}, {value:.3g}, lies at the {side} edge of its range, {distribution}: "
                    "widen it"
                )
        return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, leaf) of a nested dict, names joined with dots."""
    for name, leaf in tree.items():
        if not isinstance(name, str) or "." in name or not name:
            raise TypeError(f"Space: names are strings without dots, got {name!r}")
        if isinstance(leaf, Mapping):
            yield from flatten(leaf, f"{prefix}{name}.")
        else:
            yield prefix + name, leaf


def _nested(leaves: Mapping[str, Any]) -> Params:
    tree: Params = {}
    for name, leaf in leaves.items():
        *path, last = name.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = leaf
    return tree
