"""The report as pictures: ratio bars, and cost against size with the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.measurement import quartiles, ratios
from bench.results import Run


def plot(run: Run, path: Path) -> list[Path]:
    """Draw both pictures next to `path`: `NAME-ratios.png` and `NAME-cost.png`.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError('--plot needs matplotlib: pip install "xpnet[plot]"') from None
    matplotlib.use("Agg")
    suffix = path.suffix or ".png"
    made = []
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, draw in (("ratios", ratio_bars), ("cost", cost_curves)):
        figure = draw(run)
        made.append(path.with_name(f"{path.stem}-{name}{suffix}"))
        figure.savefig(made[-1], dpi=130)
    return made


def _colors(run: Run) -> dict[str, Any]:
    import matplotlib.pyplot as plt

    palette = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    return {column: palette[i % len(palette)] for i, column in enumerate(run.columns)}


def ratio_bars(run: Run) -> Any:
    """For each case, the time of every column over its baseline's, on a log axis; whiskers are quartiles."""
    from matplotlib.figure import Figure

    table, colors = run.table(), _colors(run)
    rows = []
    for case in run.cases:
        for column in run.columns:
            m, base = table.get((case, column)), run.baseline(case, column)
            if m is not None and m.seconds and base is not None and base.column != column:
                rows.append((case, column, quartiles(ratios(m, base))))
    figure = Figure(figsize=(8, 1.6 + 0.2 * (len(rows) + len(run.cases))), layout="constrained")
    axes = figure.subplots()
    position, ticks, shown = 0.0, [], set()
    for case in run.cases:
        own = [(column, q) for c, column, q in rows if c == case]
        start = position
        for column, (q1, middle, q3) in own:
            label = None if column in shown else run.columns[column]["title"]
            spread = [[middle - q1], [q3 - middle]]
            axes.barh(position, middle - 1, left=1, color=colors[column], label=label)
            axes.errorbar(middle, position, xerr=spread, color="black", lw=0.8)
            shown.add(column)
            position += 1
        if own:
            ticks.append(((start + position - 1) / 2, case))
            position += 1
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([t for t, _ in ticks], [name for _, name in ticks])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time / time of torch eager on the same device (left is faster)")
    if shown:
        figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def cost_curves(run: Run) -> Any:
    """For each operation or network, time against work over its sizes, and the floor of each device."""
    from matplotlib.figure import Figure

    table, colors = run.table(), _colors(run)
    families: dict[str, list[str]] = {}
    for key, case in run.cases.items():
        families.setdefault(case["name"], []).append(key)
    across = min(3, max(1, len(families)))
    down = -(-max(1, len(families)) // across)
    figure = Figure(figsize=(4.4 * across, 3.2 * down + 0.8), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    labels: dict[str, Any] = {}
    for axes in grid.flat[len(families) :]:
        axes.set_axis_off()
    for axes, (name, keys) in zip(grid.flat, families.items(), strict=False):
        work = "flops" if all(run.cases[k]["flops"] for k in keys) else "bytes"
        keys.sort(key=lambda k: run.cases[k][work])
        for column, about in run.columns.items():
            points = [
                (run.cases[k][work], quartiles(m.seconds))
                for k in keys
                if (m := table.get((k, column))) is not None and m.seconds
            ]
            if points:
                (line,) = axes.plot(
                    [x for x, _ in points],
                    [q[1] for _, q in points],
                    "o-",
                    ms=3,
                    lw=1.2,
                    color=colors[column],
                )
                axes.fill_between(
                    [x for x, _ in points], [q[0] for _, q in points], [q[2] for _, q in points],
                    color=colors[column], alpha=0.2, lw=0,
                )  # fmt: skip
                labels.setdefault(about["title"], line)
        for device, style in zip(run.limits, ("--", ":"), strict=False):
            xs = [run.cases[k][work] for k in keys]
            (line,) = axes.plot(
                xs, [run.cases[k]["floor"][device] for k in keys], style, color="black", marker="_"
            )
            labels.setdefault(f"floor of {device}", line)
        axes.set(xscale="log", yscale="log", title=name, ylabel="seconds")
        axes.set_xlabel("operations in products" if work == "flops" else "bytes to move")
        axes.grid(True, which="major", alpha=0.3)
    if labels:
        figure.legend(list(labels.values()), list(labels), loc="outside upper center", ncols=5, fontsize=8)
    return figure
