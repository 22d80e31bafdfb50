"""What an experiment is: a function that returns figures with their checks, pictures, and what they show."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.core.tensor import Tensor

KINDS = {"slide": "slide wrong", "text": "text wrong", "reading": "read two ways"}
VERDICTS = ("DIFFERS", *KINDS.values(), "agrees")  # the worst first


@dataclass(frozen=True)
class Check:
    """One figure: ours beside the deck's and the exact one. The verdict follows from the numbers alone.

    Args:
        what: what is measured, in words.
        ours: what xpnet computes, a number or list of numbers; anything that `xpnet.to_numpy` takes.
        deck: what the slide says. A string holds numbers as printed, "0.25 1e-3", good to half a unit of
            their last digits; other numbers are meant exactly. None if it says nothing. Judged by `exact`;
            a rule of thumb, of kind "reading", by the limits that ours keeps.
        exact: the truth, from a formula and not from xpnet; None if there is none.
        atol: how far ours may lie from `exact`.
        rtol: likewise, as a share of that value; an array for each number its own.
        noise: how far a right figure of the deck may lie from `exact`, as a share of it: for what the
            lecturer drew at random.
        at_least: for what must not be smaller, such as an accuracy.
        at_most: for what must not be larger.
        kind: whose mistake it is if the deck is not right: "slide" (the lecture's), "text" (our text of the
            slide lost or changed digits), or "reading" (the words can be read in two ways, or are a rule of
            thumb).
        slip: the mistake, in words.

    Raises:
        ValueError: there is nothing to compare with, a deck's figure without the exact one, or no such kind.
        TypeError: `exact` comes from xpnet.
    """

    what: str
    ours: Any
    deck: Any = None
    exact: Any = None
    atol: float = 1e-9
    rtol: Any = 0.0
    noise: Any = 0.0
    at_least: float | None = None
    at_most: float | None = None
    kind: str = "slide"
    slip: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ours", to_numpy(self.ours))
        if self.deck is not None and self.exact is None and self.kind != "reading":
            raise ValueError(f"Check {self.what!r}: deck is judged by exact; give it, from a formula")
        if all(value is None for value in (self.exact, self.at_least, self.at_most)):
            raise ValueError(f"Check {self.what!r}: give exact, at_least or at_most")
        if self.kind not in KINDS:
            raise ValueError(f"Check {self.what!r}: kind is one of {', '.join(KINDS)}, not {self.kind!r}")
        if isinstance(self.exact, Tensor):
            raise TypeError(f"Check {self.what!r}: exact must be independent of xpnet, but is a Tensor")

    @property
    def ok(self) -> bool:
        """Whether ours is right: close to the exact value, and within the limits."""
        right = self.exact is None or _close(self.ours, self.exact, self.rtol, self.atol)
        return right and self._within(self.ours)

    def _within(self, values: Any) -> bool:
        """The limits."""
        return (self.at_least is None or bool(np.all(values >= self.at_least))) and (
            self.at_most is None or bool(np.all(values <= self.at_most))
        )

    @property
    def deck_ok(self) -> bool:
        """Whether the deck's figure is the exact one, to the digits that it prints."""
        if self.deck is None:
            return True
        values, precision = printed(self.deck)
        if self.exact is None:
            return self._within(values)
        return _close(values, self.exact, self.noise, precision, nan=True)

    @property
    def verdict(self) -> str:
        """`agrees`; `slide wrong`, `text wrong` or `read two ways` by kind; `DIFFERS` if ours is wrong.

        A deck's figure that is wrong without a slip to explain it DIFFERS, too.
        """
        if not self.ok:
            return "DIFFERS"
        if self.deck_ok:
            return "agrees"
        return KINDS[self.kind] if self.slip else "DIFFERS"

    def record(self) -> dict[str, Any]:
        """Everything, for JSON: numbers, lists of them, words, or None; what is not finite as a word."""
        numbers = {
            name: _plain(getattr(self, name))
            for name in ("deck", "exact", "ours", "rtol", "atol", "noise", "at_least", "at_most")
        }
        return {"what": self.what, **numbers, "verdict": self.verdict, "kind": self.kind, "slip": self.slip}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_plain(v) for v in value]
    value = to_numpy(value).tolist()
    if isinstance(value, list):
        return _plain(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def printed(deck: Any) -> tuple[np.ndarray, Any]:
    """The numbers of a deck and how far each may be off: half a unit of the last digit in a string.

    >>> [array.tolist() for array in printed("0.25 3e-2")]
    [[0.25, 0.03], [0.005, 0.005]]
    """
    if not isinstance(deck, str):
        return np.asarray(to_numpy(deck)), 1e-9
    numbers = [Decimal(word) for word in deck.split()]
    unit = [n.as_tuple().exponent if n.is_finite() else 0 for n in numbers]
    precision = [
        0.5 * 10.0 ** int(e) if "." in w or "e" in w else 1e-9
        for w, e in zip(deck.split(), unit, strict=True)
    ]
    values = np.array([float(n) for n in numbers])
    return (values[0], precision[0]) if len(numbers) == 1 else (values, np.array(precision))


def _close(a: Any, b: Any, rtol: Any, atol: Any, nan: bool = False) -> bool:
    """|a - b| <= atol + rtol |b| everywhere, and equal shapes."""
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = (np.abs(a - b) <= atol + rtol * np.abs(b)) | (a == b)
    return bool(np.all(near | (nan & np.isnan(a) & np.isnan(b))))


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
        moves: for an animation: (steps + 1, 2) points of the first axes by name, in the order of
            matplotlib's colours; lines grow along them, all at the same step.
    """

    title: str
    draw: Callable[..., Any]
    size: tuple[float, float] = (8.0, 3.5)
    moves: Mapping[str, np.ndarray] = field(default_factory=dict)


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
        return next(v for v in VERDICTS if v in found)


@dataclass(frozen=True)
class Experiment:
    """A named experiment; call it to run it.

    Attributes:
        name: as on the command line.
        deck: where it is from, such as "S1" or "S2, S5".
        item: what the deck has: a figure, a table, an exercise, a claim.
        run: does it.
        on_cifar10: whether `run` takes CIFAR-10 (`xpnet.lab.cifar.Pictures`).
    """

    name: str
    deck: str
    item: str
    run: Callable[..., Result] = field(repr=False)
    on_cifar10: bool = False

    def __call__(self, folder: str | None = None) -> Result:
        """Run with seed 0 on the default backend; the random streams of the caller are put back.

        Args:
            folder: where CIFAR-10 is, for an experiment `on_cifar10`.

        Raises:
            ValueError: it needs the folder.
        """
        from xpnet.core.random import forked
        from xpnet.lab.cifar import pictures
        from xpnet.train.progress import quiet

        if self.on_cifar10 and folder is None:
            raise ValueError(
                f"{self.name} needs CIFAR-10: give the folder that has it, on the command line --data DIR"
            )
        with forked(0), quiet():
            return self.run(pictures(folder)) if self.on_cifar10 and folder is not None else self.run()


_found: dict[str, Experiment] = {}


def experiment(
    deck: str, item: str, on_cifar10: bool = False
) -> Callable[[Callable[..., Result]], Experiment]:
    """Register a function as the experiment of its file; the file's name is its name.

    It takes no arguments, or CIFAR-10 if it says so.
    """

    def register(run: Callable[..., Result]) -> Experiment:
        name = run.__module__.rpartition(".")[2].replace("_", "-")
        if name in _found and _found[name].run.__module__ != run.__module__:
            raise ValueError(f"two experiments are called {name}")
        _found[name] = Experiment(name, deck, item, run, on_cifar10)
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


def report(what: str, value: Any) -> None:
    """Print a number, or several, as the page writes them; code that is copied from the page ends with this.

    >>> report("2 / lambda_max", 0.2402082)
    2 / lambda_max: 0.2402
    """
    print(f"{what}: {text(to_numpy(value))}")
