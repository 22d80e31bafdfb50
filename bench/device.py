"""The CUDA device in two minutes: the goals' sizes and the kernels' variants beside PyTorch eager.

    python -m bench.device [--only WORDS] [--json FILE]

Data are made on the device, and results are checked there against float64, so that most of the time goes into
timing. On CuPy on the CPU (tests/cupy_on_cpu) the sizes are tiny: it shows that everything runs, no more.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import limits, machine, report, results
from bench.cases.base import Case
from bench.cases.batch_norm import BatchNorm, BatchNormVariant
from bench.cases.bias_relu import BiasReLU, FusedBiasReLU
from bench.cases.convolution import Convolution, ConvolutionBfloat16
from bench.cases.cross_entropy import CrossEntropy, CrossEntropyBfloat16
from bench.cases.dropout import Dropout
from bench.cases.networks import CNNStep, ResNetStep
from bench.cases.optimizers import AdamStep, NesterovStep
from bench.cases.steps import BatchNormDropoutMLP, CifarMLP, MnistMLP, TinyMLP
from bench.columns import Column, TorchColumn, XpnetColumn
from bench.columns.device import DeviceRandom, TorchOnDevice, XpnetOnDevice
from bench.measure import measure
from bench.measurement import Measurement, described, quartiles, ratios
from bench.results import Run
from bench.rounds import Settings

# a turn of 20 ms holds the launches of many calls; nothing on the host has to calm down between turns
SETTINGS = Settings(rounds=7, turn=0.02, rotate=256 << 20, noisy=0.1, budget=2.0, most_sets=8)
THREADS = 8  # of the host

OPERATIONS: list[tuple[type[Case], list[Any], Any]] = [
    (CrossEntropy, [(65536, 1000), (8192, 32000), (4096, 128256)], (64, 10)),
    (CrossEntropyBfloat16, [(65536, 1000), (8192, 32000), (4096, 128256)], (64, 10)),
    (BatchNorm, [(4096, 512), (65536, 512), (32, 64, 28, 28), (256, 64, 56, 56)], (4, 8, 6, 6)),
    (BiasReLU, [(4096, 512), (65536, 1024)], (32, 64)),
    (FusedBiasReLU, [(4096, 512), (65536, 1024)], (32, 64)),
    (Dropout, [(4096, 512), (65536, 1024)], (64, 256)),
    (Convolution, [(128, 64, 28, 28, 64), (128, 16, 32, 32, 16), (64, 256, 14, 14, 256)], (2, 4, 6, 6, 5)),
    (ConvolutionBfloat16, [(128, 64, 28, 28, 64), (64, 256, 14, 14, 256)], (2, 4, 6, 6, 5)),
    (AdamStep, [1_000_000, 100_000_000], 1000),
    (NesterovStep, [100_000_000], 1000),
]
"""Case, sizes, and the tiny size of the emulated device."""

STEPS: list[tuple[type[Case], list[Any], Any]] = [
    (TinyMLP, [32], 8),
    (MnistMLP, [128, 4096], 8),
    (BatchNormDropoutMLP, [256], 8),
    (CifarMLP, [256, 4096], 2),
    (CNNStep, [32, 128, 512], 1),
    (ResNetStep, [128], 1),
]
"""Their batches are small and made on the host, where the reference is."""


def cases(tiny: bool) -> list[Case]:
    """Operations, steps, and each variant of batch norm at its shapes: the goals first."""
    from xpnet.cuda.batch_norm import VARIANTS

    made = [case(n) for case, sizes, small in OPERATIONS + STEPS for n in ([small] if tiny else sizes)]
    shapes = [(64, 16)] if tiny else [case.size for case in made if type(case) is BatchNorm]
    return made + [BatchNormVariant(shape, variant=name) for shape in shapes for name in VARIANTS]


SMALL = (TinyMLP, MnistMLP)
"""Steps that the emulated device makes with rounded products, too: of the others each costs it seconds."""

COMPILED = (TinyMLP(32), MnistMLP(128))
"""Steps that `torch.compile` is tried on, too: it takes half a minute each."""


def step_columns() -> list[Column]:
    """The columns that only whole steps have: captured, with rounded products, other images, compiled."""
    return [
        XpnetColumn("cupy", fused=True, captured=True),
        XpnetColumn("cupy", fused=True, captured=True, precision="tf32"),
        XpnetColumn("cupy", fused=True, captured=True, precision="bf16"),
        XpnetColumn("cupy", fused=True, captured=True, precision="bf16", channels_last=True),
        TorchColumn("cuda", captured=True),
        TorchColumn("cuda", captured=True, precision="tf32"),
        TorchColumn("cuda", captured=True, precision="bf16"),
        TorchColumn("cuda", precision="bf16", channels_last=True),
        TorchColumn("cuda", compiled=True, mode="reduce-overhead"),
    ]


def columns(every: list[Column]) -> tuple[list[Column], dict[str, str]]:
    """Those that can run, and why the others cannot."""
    missing = {c.key: reason for c in every if (reason := c.missing()) is not None}
    return [c for c in every if c.key not in missing], missing


def measure_all(
    only: str | None = None, done: Callable[[Run, str, list[Measurement]], None] | None = None
) -> tuple[Run, bool]:
    """Limits, then every case; `done` sees the run after each. The second result: a failure or wrong result.

    Raises:
        ValueError: xpnet cannot run on CuPy here, or `only` leaves nothing.
    """
    on_device, missing = columns([XpnetOnDevice("cupy", fused=True), TorchOnDevice("cuda")])
    steps, rest = columns([XpnetColumn("cupy", fused=True), TorchColumn("cuda"), *step_columns()])
    ordinary = [c for c in steps if c.key in ("xpnet-cupy", "torch-cuda")]
    missing |= rest
    if "xpnet-cupy" in missing:
        raise ValueError(missing["xpnet-cupy"])
    words = [word.strip() for word in only.split(",")] if only else [""]
    chosen = [case for case in cases(machine.emulated()) if any(word in case.key for word in words)]
    if not chosen:
        raise ValueError(f"--only {only!r} matches no case")
    for column in ordinary:
        column.prepare()
    if "torch-cuda" not in missing:
        import torch

        torch.set_num_threads(THREADS)
    import cupy

    settings = dataclasses.replace(SETTINGS, memory=int(0.9 * cupy.cuda.runtime.memGetInfo()[0]))
    if machine.emulated():  # where no time means anything
        settings = dataclasses.replace(settings, rounds=2, budget=0.1)
    run = Run(
        machine.now(),
        machine.describe(THREADS),
        {**machine.versions(), "sources": machine.sources()},
        {"device": True, "only": only, **dataclasses.asdict(settings)},
        limits.best(
            (c.device, limits.of_column(c, THREADS))
            for c in [*ordinary, *(s for s in steps if s.precision != "float32")]
        ),
        missing,
    )
    run.add_columns(steps)
    compiled = {case.key for case in COMPILED}
    wrong = False
    for case in chosen:
        made, rng = on_device, None if case.group == "step" else DeviceRandom()
        if case.group == "step":
            made = [c for c in steps if not c.key.startswith("compile") or case.key in compiled]
            if machine.emulated() and not isinstance(case, SMALL):
                made = [c for c in made if c.precision == "float32"]
        try:
            found = measure(case, made, settings, rng)
        except Exception as error:  # memory, above all: the other cases are still worth their time
            found = [Measurement(case.key, c.key, missing=f"FAILED: {described(error)}") for c in made]
        run.add(case, found)
        wrong |= any(m.failed for m in found)
        if done is not None:
            done(run, case.key, found)
    return run, wrong


def table(run: Run) -> dict[str, dict[str, Any]]:
    """Per case and column: seconds, the share of the copy bandwidth its bytes reach, the ratio to PyTorch."""
    measured, found = run.table(), {}
    for case in run.cases:
        row: dict[str, Any] = {}
        for column in run.columns:
            m, peer = measured.get((case, column)), measured.get((case, "torch-cuda"))
            if m is None:  # of another kind of case
                continue
            if not m.seconds:
                row[column] = {"missing": m.missing}
                continue
            q1, middle, q3 = quartiles(m.seconds)
            share = run.cases[case]["bytes"] / middle / run.limits["cuda"].bandwidth
            of = ratios(m, peer) if peer is not None and peer.seconds and peer is not m else None
            row[column] = {
                "seconds": middle,
                "quartiles": [q1, q3],
                "of_copy": share,
                "of_floor": run.floor(case, column) / middle,
                "to_torch": quartiles(of)[1] if of else None,
                "launches": m.launches,
            }
        found[case] = row
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if a column failed or was wrong, 2 for what cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bench.device", description=__doc__)
    parser.add_argument("--only", metavar="WORDS", help="cases whose key contains one of these words")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run, after every case")
    parser.add_argument("--save", action="store_true", help="write it into bench/results/")
    options = parser.parse_args(argv)
    start = time.perf_counter()

    def done(run: Run, key: str, found: list[Measurement]) -> None:
        if len(run.cases) == 1:
            print(report.head(run))
        print(report.case_table(run, key, found), flush=True)
        if options.json:
            results.save(run, options.json)

    try:
        run, wrong = measure_all(options.only, done)
    except ValueError as error:
        print(f"bench.device: {error}", file=sys.stderr)
        return 2
    print(report.goal_table(run))
    print(f"{time.perf_counter() - start:.0f} s")
    if options.save:
        if machine.emulated():
            print("bench.device: --save keeps a GPU's times, this device is emulated", file=sys.stderr)
            return 2
        path = results.FOLDER / machine.file_name(run.machine, run.date)
        results.save(run, path)
        print(f"saved {path}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
