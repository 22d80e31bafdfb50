"""Result files: what they hold, comparison with an older one, and the history of a device."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.cases.base import Case
from bench.columns import Column
from bench.limits import Limit
from bench.machine import device_name
from bench.measurement import Measurement, quartiles, ratios

FORMAT = 2
READABLE = (1, 2)
"""1: all columns shared a process, and nothing was measured beside a load."""
FOLDER = Path(__file__).resolve().parent / "results"
BASELINES = {"cpu": ("torch", "numpy"), "cuda": ("torch-cuda", "xpnet-cupy-unfused")}
"""What a column is compared with: the first of these that ran on its device."""


@dataclass
class Run:
    """Everything one run of the benchmark found.

    Attributes:
        date: UTC.
        machine, versions: see bench.machine.
        settings: what was asked for; `apart`: every column had a process of its own.
        limits: by device.
        missing: columns that cannot run here, and why.
        cases: bytes, flops, name and label, by case.
        columns: title and device, by column.
        measurements: one a case and column.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    limits: dict[str, Limit]
    missing: dict[str, str]
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def add_columns(self, columns: Iterable[Column]) -> None:
        """Note the columns that run."""
        self.columns = {
            c.key: {"title": c.title, "device": c.device, "precision": c.precision} for c in columns
        }

    def add(self, case: Case, found: list[Measurement]) -> None:
        """Note one case, with a floor a device."""
        floors = {device: limit.floor(case.bytes, case.flops) for device, limit in self.limits.items()}
        self.cases[case.key] = {
            "name": f"{case.group} {case.name}",
            "label": case.label,
            "bytes": case.bytes,
            "flops": case.flops,
            "floor": {device: seconds for device, (seconds, _) in floors.items()},
            "bound": {device: bound for device, (_, bound) in floors.items()},
        }
        self.measurements += found

    def table(self, load: int = 0) -> dict[tuple[str, str], Measurement]:
        """Measurements by case and column: idle, or beside load processes."""
        return {(m.case, m.column): m for m in self.measurements if m.load == load}

    @property
    def loads(self) -> list[int]:
        """The numbers of load processes that were measured beside."""
        return sorted({m.load for m in self.measurements if m.seconds})

    def floor(self, case: str, column: str) -> float:
        """The least time of a case on a column's device, with products of its precision."""
        found, precision = self.cases[case], self.columns[column].get("precision", "float32")
        device = self.columns[column]["device"]
        if precision == "float32":
            return found["floor"][device]
        return self.limits[device].floor(found["bytes"], found["flops"], precision)[0]

    def baseline(self, case: str, column: str, load: int = 0) -> Measurement | None:
        """What a column's time is divided by in this case."""
        table = self.table(load)
        for key in BASELINES[self.columns[column]["device"]]:
            found = table.get((case, key))
            if found is not None and found.seconds:
                return found
        return None


# ---- files -------------------------------------------------------------------------------------------------


def save(run: Run, path: Path) -> None:
    """Write a run as JSON, all of it or nothing."""
    data = {"format": FORMAT, **asdict(run)}
    for m in data["measurements"]:
        m["error"] = None if m["error"] is None else float(f"{m['error']:.3g}")
    text = json.dumps(data, indent=1)
    # one line a measurement: rounds side by side
    for m in data["measurements"]:
        text = text.replace(_indented(m), json.dumps(m))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text + "\n")
    os.replace(temporary, path)


def _indented(value: Any) -> str:
    """The text of a value two levels down in `json.dumps(..., indent=1)`."""
    return json.dumps(value, indent=1).replace("\n", "\n  ")


def load(path: Path) -> Run:
    """Read a run.

    Raises:
        ValueError: the file is not a result of this benchmark.
    """
    try:
        data = json.loads(path.read_text())
        if data.pop("format") not in READABLE:
            raise KeyError("format")
        run = Run(**data)
        run.limits = {device: Limit(**limit) for device, limit in data["limits"].items()}
        run.measurements = [Measurement(**m) for m in data["measurements"]]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise ValueError(
            f"{path} is not a result file of this benchmark (format {FORMAT}); make one with --json"
        ) from None
    return run


# ---- comparison --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A time, or a ratio to the baseline, in an old and a new run."""

    case: str
    column: str
    old: tuple[float, float, float]
    new: tuple[float, float, float]
    relative: bool
    load: int = 0

    @property
    def factor(self) -> float:
        """New over old median."""
        return self.new[1] / self.old[1]

    def is_regression(self, tolerance: float) -> bool:
        """Slower by more than `tolerance` and the noise: the interquartile ranges do not meet."""
        return self.factor > 1 + tolerance and self.new[0] > self.old[2]

    def is_gain(self, tolerance: float) -> bool:
        """Faster, likewise."""
        return self.factor < 1 / (1 + tolerance) and self.new[2] < self.old[0]


def compare(old: Run, new: Run) -> Iterator[Change]:
    """What both runs measured.

    Ratios to the baseline are compared where both runs have one, since another load on the machine moves both
    sides; the baselines themselves, and columns without one, by time, if the device is the same.
    """
    before = {(m.case, m.column, m.load): m for m in old.measurements}
    same_device = device_name(old.machine) == device_name(new.machine)
    for m in new.measurements:
        earlier = before.get((m.case, m.column, m.load))
        if earlier is None or not earlier.seconds or not m.seconds:
            continue
        bases = old.baseline(m.case, m.column, m.load), new.baseline(m.case, m.column, m.load)
        relative = all(b is not None and b.column != m.column for b in bases) and (
            bases[0].column == bases[1].column  # type: ignore[union-attr]
        )
        if relative:
            values = ratios(earlier, bases[0]), ratios(m, bases[1])  # type: ignore[arg-type]
        elif same_device:
            values = earlier.seconds, m.seconds
        else:
            continue
        yield Change(m.case, m.column, quartiles(values[0]), quartiles(values[1]), relative, m.load)


# ---- history -----------------------------------------------------------------------------------------------


def history(folder: Path | None = None) -> dict[str, list[Run]]:
    """The runs in a folder (default: the committed ones), oldest first, by device."""
    found: dict[str, list[Run]] = {}
    for run in sorted(
        (load(path) for path in sorted((folder or FOLDER).glob("*.json"))), key=lambda r: r.date
    ):
        found.setdefault(device_name(run.machine), []).append(run)
    return found


def merged(runs: list[Run]) -> Run:
    """The latest measurement of each case, of runs on one machine, oldest first.

    Where columns had processes of their own in one of them, the runs in which they shared one do not count.
    """
    apart = [run for run in runs if run.settings.get("apart")]
    *older, latest = apart or runs
    found = replace(latest, cases={}, columns={}, measurements=[])
    for run in [*older, latest]:
        found.measurements = [m for m in found.measurements if m.case not in run.cases] + run.measurements
        found.cases |= run.cases
        found.columns |= run.columns
    return found
