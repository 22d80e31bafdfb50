"""One run of the benchmark, from the options to the report."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bench import limits, load, machine, report, results, summary
from bench.apart import Apart
from bench.cases import cases
from bench.columns import Column, NumpyColumn, all_columns, select
from bench.environment import environment
from bench.measurement import FAILURES, ColumnError
from bench.process import Process
from bench.results import Run
from bench.rounds import PATIENT, QUICK, Settings


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
    print(summary.text(run))
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
        if bool(old.settings.get("apart")) != bool(run.settings.get("apart")):
            print("  of one run all columns shared a process, of the other none: ratios differ by that, too")
    return 1 if wrong or slower else 0


def _measure(options: argparse.Namespace) -> tuple[Run, bool]:
    """Measure, printing each case as it is done; the second result: whether a column failed or was wrong."""
    cases(options.only, options.quick, device=True)  # refuse words that match nothing before libraries load
    names = [name.strip() for name in options.columns.split(",")] if options.columns else None
    columns, missing = select(names, options.quick)
    busy = options.busy if options.busy is not None else int(options.save)
    loads = [0, busy] if busy else [0]
    settings, variables = _settings(options), environment(options.threads, options.avx2)
    start, before = time.perf_counter(), machine.cpu_clock()
    with _processes(columns, missing, variables, settings.answer) as (processes, helper, about):
        present = [p.column for p in processes]
        chosen = cases(options.only, options.quick, any(c.device == "cuda" for c in present))
        reached = [(p.column.device, p.ask("limits", quick=options.quick)) for p in [helper, *processes]]
        run = Run(
            machine.now(),
            {**about["machine"], **({"instructions": "avx2"} if options.avx2 else {})},
            about["versions"],
            {
                "only": options.only,
                "quick": options.quick,
                "apart": True,
                "loads": loads,
                **({"load": load.WHAT} if busy else {}),
                **dataclasses.asdict(settings),
            },
            limits.best(reached),
            missing,
        )
        run.add_columns(present)
        print(report.head(run), flush=True)
        apart = Apart(processes, helper, settings, loads)
        wrong = any(reason.startswith(FAILURES) for reason in missing.values())
        for case in chosen:
            found = apart.measure(case)
            run.add(case, found)
            wrong |= any(m.failed for m in found)
            print(report.case_table(run, case.key, found), flush=True)
        run.settings["restless"] = apart.restless
    seconds = time.perf_counter() - start  # the processes have ended: their time can be told from others'
    run.machine["others"] = round(machine.others_share(before, machine.cpu_clock(), seconds), 3)
    run.settings["seconds"] = round(seconds)
    return run, wrong


def _settings(options: argparse.Namespace) -> Settings:
    settings = QUICK if options.quick else Settings()
    if options.patient:
        settings = dataclasses.replace(settings, **PATIENT, budget=Settings.budget)  # type: ignore[arg-type]
    return dataclasses.replace(
        settings,
        rounds=options.rounds or settings.rounds,
        memory=int(0.7 * machine.available_memory()),
    )


@contextmanager
def _processes(
    columns: list[Column], missing: dict[str, str], variables: Mapping[str, str], answer: float
) -> Iterator[tuple[list[Process], Process, dict[str, Any]]]:
    """A process for each column that can run, the helper, and what it says of the machine.

    Those that cannot run are added to `missing`. One process looks for all CUDA columns whether they can.

    Raises:
        ValueError: no column can run.
    """
    helper = Process(NumpyColumn(), variables, answer)
    started = [helper, *(Process(c, variables, answer) for c in columns if c.device == "cpu")]
    try:
        helper.receive()
        about = helper.ask("probe", keys=[c.key for c in columns if c.device == "cuda"])
        missing |= {key: why for key, why in about["missing"].items() if why is not None}
        started += [
            Process(c, variables, answer) for c in columns if c.device == "cuda" and c.key not in missing
        ]
        processes = []
        for process in started[1:]:
            try:
                reason = process.receive()["missing"]
            except ColumnError as error:
                reason = f"FAILED: {error}"
            if reason is None:
                processes.append(process)
            else:
                missing[process.column.key] = reason
                process.end()
        if not processes:
            asked = [f"{c.key}: {missing[c.key]}" for c in columns]
            raise ValueError("no column can run: " + "; ".join(asked))
        yield processes, helper, about
    finally:
        for process in started:
            process.end()


def _history() -> int:
    found = results.history()
    if not found:
        print(f"no results in {results.FOLDER} yet; make one with --save", file=sys.stderr)
    for device, runs in found.items():
        for column in ("xpnet", "xpnet-cupy"):
            if any(column in run.columns for run in runs):
                print(report.history_table(device, runs, column))
    return 0
