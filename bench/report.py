"""The report as text: one table a case, the goals, comparisons and histories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench import load
from bench.columns import all_columns
from bench.goals import Everywhere, judge
from bench.limits import Limit
from bench.machine import device_name
from bench.measurement import Measurement, quartiles, ratios
from bench.results import Change, Run


def seconds(value: float) -> str:
    """A time with three digits and a unit.

    >>> seconds(0.00123)
    '1.23 ms'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{value * 1e9:.0f} ns"


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def amount(value: float, unit: str) -> str:
    """A number with a decimal prefix.

    >>> amount(32.8e6, "B")
    '32.8 MB'
    """
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{_digits(value / size)} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def head(run: Run) -> str:
    """Machine, versions, limits, and the columns that are missing."""
    lines = [
        f"{device_name(run.machine)}; load {run.machine['load']}; {run.date} UTC",
        ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        *[f"limit of {device}: {limit_text(limit)}" for device, limit in run.limits.items()],
        *[f"missing: {title} ({key}): {run.missing[key]}" for key, title in _titles() if key in run.missing],
    ]
    return "\n".join(lines)


def _titles() -> list[tuple[str, str]]:
    return [(c.key, c.title) for c in all_columns()]


def limit_text(limit: Limit) -> str:
    """Bandwidth and rate."""
    rates = [f"{name} {amount(rate, 'FLOP/s')}" for name, rate in limit.rates.items()]
    product = f"matrix product {amount(limit.rate, 'FLOP/s')}"
    return ", ".join([f"copy {amount(limit.bandwidth, 'B/s')}", product, *rates])


def case_table(run: Run, key: str, found: Iterable[Measurement]) -> str:
    """One case: bytes, operations and floor, then a row a column, slow and fast, absent and wrong."""
    case = run.cases[key]
    work = amount(case["bytes"], "B") + (f", {amount(case['flops'], 'FLOP')}" if case["flops"] else "")
    floors = [f"{device} {seconds(f)} ({case['bound'][device]})" for device, f in case["floor"].items()]
    lines = [f"\n{key}   at least {work}; floor {', '.join(floors)}"]
    idle = True
    for m in found:
        if m.load and idle:
            idle = False
            lines.append(f"  {load.name(m.load)}")
        if not m.seconds:
            lines.append(f"  {m.column:<20} {m.missing}")
            continue
        q1, middle, q3 = quartiles(m.seconds)
        row = f"  {m.column:<20} {seconds(middle):>9}  [{seconds(q1)} .. {seconds(q3)}]".ljust(58)
        base = run.baseline(key, m.column, m.load)
        if base is not None:
            r1, r2, r3 = quartiles(ratios(m, base))
            row += f"{r2:6.2f} x {base.column} [{r1:.2f} .. {r3:.2f}]".ljust(36)
        row += f"{run.floor(key, m.column) / middle:6.0%} of floor's speed"
        lines.append(row + (f", {m.launches} launches" if m.launches else ""))
    return "\n".join(lines)


def disturbance(run: Run) -> str:
    """A warning if other processes were in the way."""
    share = run.machine.get("others", 0.0)
    if share < 0.03:
        return ""
    return (
        f"\nBUSY MACHINE: other processes took {share:.0%} of the CPU time; threads that wait for each other "
        "suffer most. Measure again when it is idle."
    )


def goal_table(run: Run) -> str:
    """Each goal that the columns of this run can judge: what was measured, what is wanted, met or missed."""
    found = judge(run)
    if not found:
        return ""
    lines = []
    for processes in dict.fromkeys(j.load for j in found):
        lines.append(
            f"\ngoals, {load.name(processes)} (ratio of times, median and quartiles; below 1 is faster)"
        )
        for j in (j for j in found if j.load == processes):
            case, note = j.case, "met" if j.met else "MISSED"
            if isinstance(j.goal, Everywhere):
                case = f"every {j.goal.cases or 'case'}, worst {j.case}"
                note += "" if j.met else f" by {j.missed} of {j.of}"
            if j.goal.against and not j.met:
                note += f"; {j.floor:.2f} would be at the machine's limits"
            what = f"{j.goal.column} / {j.goal.against or 'floor'}"
            q1, middle, q3 = j.ratio
            lines.append(
                f"  {case:<50} {what:<26} {middle:5.2f} [{q1:.2f} .. {q3:.2f}]".ljust(102)
                + f" goal {j.goal.at_most:.2f}  {note}"
            )
    return "\n".join(lines)


def comparison(changes: Sequence[Change], tolerance: float) -> tuple[str, int]:
    """What changed beyond the noise, and how many regressions there are."""
    lines, slower = [], 0
    for c in changes:
        worse, better = c.is_regression(tolerance), c.is_gain(tolerance)
        slower += worse
        if worse or better:
            what = "ratio to the baseline" if c.relative else "time"
            old, new = (f"{x:.2f}" if c.relative else seconds(x) for x in (c.old[1], c.new[1]))
            lines.append(
                f"  {'REGRESSION' if worse else 'gain':<10} {c.case:<32} {c.column:<18} "
                f"{what} {old} -> {new} (x{c.factor:.2f})"
            )
    title = f"\ncompared: {len(changes)} times; {slower} slower by more than {tolerance:.0%} and the noise"
    return "\n".join([title, *lines]), slower


def history_table(device: str, runs: Sequence[Run], column: str = "xpnet") -> str:
    """One row a case and baseline: the ratio, or the time without a baseline, in every run."""
    lines = [f"\n{device}: {column}, time and ratio to the baseline"]
    lines.append(" " * 34 + "".join(f"{run.date:>24}" for run in runs))
    lines.append(" " * 34 + "".join(f"{run.versions.get('xpnet', '')[:22]:>24}" for run in runs))
    for case in dict.fromkeys(case for run in runs for case in run.cases):
        row = f"  {case:<32}"
        for run in runs:
            m = run.table().get((case, column))
            if m is None or not m.seconds:
                row += f"{'-':>24}"
                continue
            base = run.baseline(case, column)
            ratio = f" {quartiles(ratios(m, base))[1]:.2f}x" if base is not None else ""
            row += f"{seconds(quartiles(m.seconds)[1]) + ratio:>24}"
        lines.append(row)
    return "\n".join(lines)
