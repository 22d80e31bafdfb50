"""Stage: `bench.device`: fractions of the copy bandwidth, ratios to PyTorch; the run goes into the tar."""

from __future__ import annotations

import sys
from typing import Any

from bench import device, report, results
from bench.goals import judge
from bench.results import Run
from tests.gpu.fragment import Fragment


def main() -> int:
    """Measure; 1 if a column failed or gave a wrong result."""
    found = Fragment()

    def done(run: Run, key: str, measured: list[Any]) -> None:
        print(report.case_table(run, key, measured), flush=True)
        if found.path is not None:  # as bench/results/ keeps it
            results.save(run, found.path.with_name("bench.json"))
        limit, table = run.limits["cuda"], device.table(run)
        found.keep(
            emulated=run.machine["emulated"],
            copy_bandwidth=limit.bandwidth,
            product_rate=limit.rate,
            missing_columns=run.missing,
            cases=table,
            goals=[
                {
                    "case": j.case,
                    "against": j.goal.against or "floor",
                    "at_most": j.goal.at_most,
                    "ratio": j.ratio[1],
                }
                for j in judge(run)
            ],
            summary=[report.limit_text(limit), *lines(table)],
        )

    _, wrong = device.measure_all(done=done)
    return found.done(not wrong)


def lines(table: dict[str, dict[str, Any]]) -> list[str]:
    """One line a case: xpnet's time, its fraction of the copy bandwidth, its ratio to PyTorch."""
    found = []
    for case, row in table.items():
        own = row["xpnet-cupy"]
        if "missing" in own:
            found.append(f"{case:<40} {own['missing']}")
            continue
        ratio = own["to_torch"]
        words = f"{ratio:.2f} x torch" if ratio is not None else "no torch"
        found.append(f"{case:<40} {report.seconds(own['seconds']):>9} {own['of_copy']:5.0%} of copy, {words}")
        others = [key for key in row if key not in ("xpnet-cupy", "torch-cuda")]
        words = [f"{key} {_short(row[key])}" for key in others]
        if words:
            found.append(f"    {'; '.join(words)}")
    return found


def _short(measured: dict[str, Any]) -> str:
    """Time and ratio, or why there is none."""
    if "missing" in measured:
        return str(measured["missing"])[:80]
    ratio = measured["to_torch"]
    return report.seconds(measured["seconds"]) + (f" ({ratio:.2f})" if ratio is not None else "")


if __name__ == "__main__":
    sys.exit(main())
