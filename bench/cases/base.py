"""What a case is: its inputs, the work it must do, and one method for each library that can run it.

A method `numpy`, `xpnet`, `torch`, `jax`, `sklearn` or `thinc` of a case takes the inputs and the column, and
returns a `Program`. A library whose method is missing cannot express the case, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from bench.columns.base import Column

Arrays = dict[str, Any]


class NotExpressibleError(Exception):
    """A column cannot run a case; the message is the reason shown in the report."""


@dataclass
class Inputs:
    """Host arrays: `shared` by all calls (parameters), and `sets` that the calls rotate through (batches)."""

    shared: Arrays
    sets: list[Arrays]


@dataclass
class Program:
    """A case made ready on one column.

    Attributes:
        run: does the work once, on input set i; the call that is timed.
        results: does the work on input set 0 and gives named arrays to compare with the other columns.
        steps: how many times one `run` does the work.
    """

    run: Callable[[int], Any]
    results: Callable[[], Mapping[str, Any]]
    steps: int = 1


@dataclass
class Case:
    """One operation or training step at one size.

    Attributes:
        size: what varies over the sweep of sizes.
        goal: whether `--quick` includes it: the sizes that the project's goals name.
        device_only: too large for the CPU columns.
    """

    size: Any
    goal: bool = False
    device_only: bool = False
    name: ClassVar[str] = ""
    group: ClassVar[str] = ""
    images: ClassVar[bool] = False  # whether it is a network of images, whose order in memory may be chosen
    tolerance: ClassVar[dict[str, float]] = {}
    """Largest relative error ||out - reference|| / ||reference|| of each result; `""` for those not named."""

    @property
    def label(self) -> str:
        """The size in words."""
        return str(self.size)

    @property
    def key(self) -> str:
        """What `--only` looks in, and what names the case in a result file."""
        return f"{self.group} {self.name} {self.label}"

    @property
    def bytes(self) -> int:
        """The fewest bytes to move through memory: each input read once, each output written once."""
        raise NotImplementedError

    @property
    def flops(self) -> int:
        """Operations in matrix products."""
        return 0

    @property
    def footprint(self) -> int:
        """Bytes that one column keeps for one input set."""
        return self.bytes

    def shared(self, rng: np.random.Generator) -> Arrays:
        """Parameters."""
        return {}

    def inputs(self, rng: np.random.Generator) -> Arrays:
        """One input set, random: zeros would hide mistakes and can run faster than data."""
        raise NotImplementedError

    def checked(self) -> Case:
        """The case whose results are compared: itself, unless it is random."""
        return self

    def verify(self, results: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
        """The largest error of the results over its tolerance: at most 1 if they are right."""
        common = results.keys() & reference.keys()
        if not common:
            return float("inf")
        return max(
            relative_error(results[k], reference[k]) / self.tolerance.get(k, self.tolerance.get("", 0.0))
            for k in common
        )

    def reference(self, inputs: Inputs) -> Mapping[str, Any]:
        """The results of the hand-written NumPy program in float64."""
        from bench.columns.plain import NumpyColumn

        wide = lambda arrays: {k: widen(v) for k, v in arrays.items()}
        sets = [wide(s) for s in inputs.sets[:CHECKED_SETS]]
        program = self.build(NumpyColumn(), Inputs(wide(inputs.shared), sets))
        return {k: widen(v) for k, v in program.results().items()}

    def build(self, column: Column, inputs: Inputs) -> Program:
        """The case on a column.

        Raises:
            NotExpressibleError: the column's library cannot do this.
        """
        method = getattr(self, column.library, None)
        if method is None:
            raise NotExpressibleError(f"{column.library_title} has no such {NOUNS[self.group]}")
        if column.steps_only and self.group != "step":
            raise NotExpressibleError("only steps are captured")
        if column.channels_last and not self.images:
            raise NotExpressibleError("it is no network of images")
        return method(inputs, column)


NOUNS = {"op": "operation", "step": "network"}
CHECKED_SETS = 3  # training steps are compared after this many


def widen(value: Any) -> Any:
    """Floats as float64, in arrays of NumPy or CuPy, and lists of them."""
    if isinstance(value, list):
        return [widen(v) for v in value]
    return value if value.dtype.kind in "iub" else value.astype(np.float64)


def relative_error(out: Any, reference: np.ndarray) -> float:
    """||out - reference|| / ||reference||; infinite for NaN or another shape."""
    out = widen(out) if hasattr(out, "astype") else np.asarray(out, dtype=np.float64)
    if out.shape != reference.shape:
        return float("inf")
    error = np.linalg.norm(out - reference) / (np.linalg.norm(reference) or 1.0)
    return float(error) if np.isfinite(error) else float("inf")


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """float32 from N(0, 1)."""
    return rng.standard_normal(shape, dtype=np.float32)


@dataclass
class Sweep:
    """The sizes of one case: those with a goal, those beside them, and those for devices only."""

    case: type[Case]
    goals: list[Any]
    sizes: list[Any] = field(default_factory=list)
    device: list[Any] = field(default_factory=list)

    def cases(self) -> list[Case]:
        """One case a size, smallest first."""
        made = [self.case(s, goal=True) for s in self.goals]
        made += [self.case(s) for s in self.sizes]
        made += [self.case(s, device_only=True) for s in self.device]
        return sorted(made, key=lambda c: (c.bytes, c.flops))
