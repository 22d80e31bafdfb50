"""One run of the benchmark, from the options to the report."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time

from bench import machine, report, results
from bench.cases import cases
from bench.columns import all_columns, select
from bench.limits import measure_limits
from bench.measure import FAILURES, PATIENT, QUICK, Settings, measure
from bench.results import Run


def execute(options: argparse.Namespace) -> int:
    """Do what the options ask for; returns the exit code.

    Raises:
        ValueError: an option cannot be followed; the message says why.
    """
    if options.list:
        print("\n".join(["cases", *[f"  {case.key}" for case in cases(device=True)]]))
        print("\n".join(["columns", *[f"  {c.key:<20} {c.title}" for c in all_columns()]]))
        return 0
    if options.history:
        return _history()
    old = results.load(options.compare) if options.compare else None
    if options.new:
        run, wrong = results.load(options.new), False
        print(report.head(run))
        for key in run.cases:
            print(report.case_table(run, key, [m for m in run.measurements if m.case == key]))
    else:
        run, wrong = _measure(options)
    print(report.goal_table(run))
    print(report.disturbance(run))
    if options.json:
        results.save(run, options.json)
    if options.save:
        path = results.FOLDER / machine.file_name(run.machine, run.date)
        results.save(run, path)
        print(f"saved {path}")
    if options.plot:
        from bench.plot import plot

        print("drawn", *plot(run, options.plot))
    slower = 0
    if old is not None:
        text, slower = report.comparison(list(results.compare(old, run)), options.tolerance)
        print(text)
    return 1 if wrong or slower else 0


def _measure(options: argparse.Namespace) -> tuple[Run, bool]:
    """Measure, printing each case as it is done; the second result: whether a column failed or was wrong."""
    cases(options.only, options.quick, device=True)  # refuse words that match nothing before libraries load
    names = [name.strip() for name in options.columns.split(",")] if options.columns else None
    columns, missing = select(names, options.quick)
    if not columns:
        raise ValueError("no column can run: " + "; ".join(f"{k}: {why}" for k, why in missing.items()))
    for column in columns:
        column.prepare(options.threads)
    settings = QUICK if options.quick else Settings()
    if options.patient:
        settings = dataclasses.replace(settings, **PATIENT, budget=Settings.budget)  # type: ignore[arg-type]
    settings = dataclasses.replace(
        settings,
        rounds=options.rounds or settings.rounds,
        memory=int(0.7 * machine.available_memory()),
    )
    on_device = any(c.device == "cuda" for c in columns)
    chosen = cases(options.only, options.quick, on_device)
    run = Run(
        machine.now(),
        machine.describe(options.threads),
        machine.versions(),
        {"only": options.only, "quick": options.quick, **dataclasses.asdict(settings)},
        measure_limits(columns, options.threads, options.quick),
        missing,
    )
    run.add_columns(columns)
    print(report.head(run), flush=True)
    wrong, start, before = False, time.perf_counter(), machine.cpu_clock()
    for case in chosen:
        found = measure(case, columns, settings)
        run.add(case, found)
        wrong |= any((m.missing or "").startswith(FAILURES) for m in found)
        print(report.case_table(run, case.key, found), flush=True)
    seconds = time.perf_counter() - start
    run.machine["others"] = round(machine.others_share(before, machine.cpu_clock(), seconds), 3)
    return run, wrong


def _history() -> int:
    found = results.history()
    if not found:
        print(f"no results in {results.FOLDER} yet; make one with --save", file=sys.stderr)
    for device, runs in found.items():
        for column in ("xpnet", "xpnet-cupy"):
            if any(column in run.columns for run in runs):
                print(report.history_table(device, runs, column))
    return 0
