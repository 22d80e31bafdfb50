"""What an experiment is: a function that returns figures with their checks, pictures, and what they show."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy


@dataclass(frozen=True)
class Check:
    """One figure: ours beside the deck's and the analytic one.

    Args:
        what: what is measured, in words.
        ours: our number, or list of numbers; anything that `xpnet.to_numpy` takes.
        deck: what the slide prints; None if it prints nothing.
        exact: the analytic value, or another library's; None if there is none.
        atol: how far ours may lie from `exact` (from `deck` where there is no exact value).
        rtol: likewise, as a share of that value.
        at_least: for what must not be smaller, such as an accuracy.
        at_most: for what must not be larger.
        slip: what is wrong with the slide, if its figure is.

    Raises:
        ValueError: there is nothing to compare with.
    """

    what: str
    ours: Any
    deck: Any = None
    exact: Any = None
    atol: float = 1e-9
    rtol: float = 0.0
    at_least: float | None = None
    at_most: float | None = None
    slip: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ours", to_numpy(self.ours))
        if all(value is None for value in (self.deck, self.exact, self.at_least, self.at_most)):
            raise ValueError(f"Check {self.what!r}: give deck, exact, at_least or at_most")

    @property
    def ok(self) -> bool:
        """Whether ours is right: close to the exact value or else the deck's, and within the limits."""
        oracle = self.deck if self.exact is None and not self.slip else self.exact
        return (
            (oracle is None or self._near(oracle))
            and (self.at_least is None or bool(np.all(self.ours >= self.at_least)))
            and (self.at_most is None or bool(np.all(self.ours <= self.at_most)))
        )

    def _near(self, value: Any) -> bool:
        value = to_numpy(value)
        return self.ours.shape == value.shape and bool(
            np.allclose(self.ours, value, rtol=self.rtol, atol=self.atol, equal_nan=False)
        )

    @property
    def verdict(self) -> str:
        """`agrees`, `slide wrong` (ours is right, the slide is not), or `DIFFERS`."""
        if not self.ok:
            return "DIFFERS"
        return "slide wrong" if self.slip else "agrees"


@dataclass(frozen=True)
class Table:
    """Numbers in rows under a header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Picture:
    """A picture that is drawn only when asked for.

    Args:
        title: the caption.
        draw: gets an empty matplotlib Figure and draws on it.
        size: inches.
        frames: for an animation: `draw(figure, k)` for k = 0 .. frames-1, each time on an empty Figure.
    """

    title: str
    draw: Callable[..., None]
    size: tuple[float, float] = (8.0, 3.5)
    frames: int = 0


@dataclass(frozen=True)
class Result:
    """What came out of an experiment.

    Args:
        says: two sentences: what it shows, and where a slide is wrong.
        checks: the figures, each with its verdict.
        tables: what to print besides.
        pictures: what to draw.
    """

    says: str
    checks: Sequence[Check]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)

    @property
    def verdict(self) -> str:
        """The worst of the checks' verdicts."""
        found = {check.verdict for check in self.checks}
        return next(v for v in ("DIFFERS", "slide wrong", "agrees") if v in found)


@dataclass(frozen=True)
class Experiment:
    """A named experiment; call it to run it.

    Attributes:
        name: as on the command line.
        deck: where it is from, such as "S1" or "S2, S5".
        item: what the deck has: a figure, a table, an exercise, a claim.
        run: does it.
    """

    name: str
    deck: str
    item: str
    run: Callable[[], Result] = field(repr=False)

    def __call__(self) -> Result:
        """Run with seed 0 on the default backend; the random streams of the caller are put back."""
        from xpnet.core.random import forked

        with forked(0):
            return self.run()


_found: dict[str, Experiment] = {}


def experiment(deck: str, item: str) -> Callable[[Callable[[], Result]], Experiment]:
    """Register a function without arguments as the experiment of its file; the file's name is its name."""

    def register(run: Callable[[], Result]) -> Experiment:
        name = run.__module__.rpartition(".")[2].replace("_", "-")
        if name in _found and _found[name].run.__module__ != run.__module__:
            raise ValueError(f"two experiments are called {name}")
        _found[name] = Experiment(name, deck, item, run)
        return _found[name]

    return register


def catalogue() -> dict[str, Experiment]:
    """All experiments by name, in the order of the decks.

    >>> from xpnet.lab import catalogue
    >>> catalogue()["initial-loss"].deck
    'S1, S2, S5'
    """
    from xpnet.lab import experiments as folder

    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    return dict(sorted(_found.items(), key=lambda entry: (entry[1].deck, entry[0])))


def text(value: Any) -> str:
    """A number, or several, for people: four significant digits, and the ends of a long list.

    >>> text([1.0, 0.333333])
    '1, 0.3333'
    >>> text(range(100))
    '0, 1, 2, 3, ..., 98, 99'
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    numbers = [
        str(v) if not isinstance(v, float) else f"{v:.4g}" if math.isfinite(v) else str(v)
        for v in to_numpy(value).reshape(-1).tolist()
    ]
    return ", ".join(numbers if len(numbers) <= 12 else [*numbers[:4], "...", *numbers[-2:]])
