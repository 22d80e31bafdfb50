"""What callbacks cost: the time of an epoch with each of them over that without, in interleaved rounds.

    python -m bench.callbacks

Trains the perceptron of `xpnet train mnist`, 784-256-128-10 in batches of 128, on random pictures, with 469
updates an epoch and validation on 5000. Every callback works at its default frequency. A ratio belongs to one
round, in which all take a turn, in changing order. Time on the clock includes waiting for the disk; time of
the CPU does not, and is the one to look at on a machine that others use too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from bench import machine
from bench.measurement import quartiles
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy
from xpnet.train import (
    EMA,
    SWA,
    Callback,
    Checkpoint,
    CSVLogger,
    Diagnostics,
    EarlyStopping,
    GradientClipping,
    LearningRate,
    ModelCheckpoint,
    MovingAverageStopping,
    Progress,
    StopOnDivergence,
    TensorBoard,
    Trainer,
)

Make = Callable[[Any, Path], list[Callback]]

CALLBACKS: dict[str, Make] = {
    "EarlyStopping": lambda optimizer, folder: [EarlyStopping()],
    "MovingAverageStopping": lambda optimizer, folder: [MovingAverageStopping()],
    "StopOnDivergence": lambda optimizer, folder: [StopOnDivergence()],
    "LearningRate by batch": lambda optimizer, folder: [
        LearningRate(optim.CosineAnnealingLR(optimizer, 1000), every="batch")
    ],
    "Progress, with the bar": lambda optimizer, folder: [Progress(bar=True)],
    "CSVLogger": lambda optimizer, folder: [CSVLogger(folder / "log.csv")],
    "TensorBoard": lambda optimizer, folder: [TensorBoard(folder / "board")],
    "Checkpoint": lambda optimizer, folder: [Checkpoint(folder / "c.safetensors")],
    "ModelCheckpoint": lambda optimizer, folder: [ModelCheckpoint(folder)],
    "GradientClipping by norm": lambda optimizer, folder: [GradientClipping(norm=1.0)],
    "EMA": lambda optimizer, folder: [EMA()],
    "SWA": lambda optimizer, folder: [SWA(0)],
    "Diagnostics": lambda optimizer, folder: [Diagnostics()],
}
USUAL = (
    "EarlyStopping",
    "StopOnDivergence",
    "LearningRate by batch",
    "Progress, with the bar",
    "CSVLogger",
    "ModelCheckpoint",
)
CALLBACKS["the usual ones together"] = lambda optimizer, folder: [
    callback for name in USUAL for callback in CALLBACKS[name](optimizer, folder)
]


CLOCKS = {"clock": time.perf_counter, "CPU": time.process_time}


def epoch(make: Make | None, train: Dataset, validation: Dataset) -> dict[str, float]:
    """Seconds of one epoch by each clock, without the beginning and the end of `fit`."""
    xpnet.manual_seed(0)
    model = nn.mlp(784, [256, 128], 10)
    optimizer = optim.Adam(model)

    class Clock(Callback):
        last = True

        def on_epoch_begin(self, trainer: Trainer) -> None:
            if trainer.epoch == 1:  # the first one makes arrays and files
                self.began = {name: now() for name, now in CLOCKS.items()}

        def on_epoch_end(self, trainer: Trainer) -> None:
            if trainer.epoch == 1:
                self.seconds = {name: now() - self.began[name] for name, now in CLOCKS.items()}

    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        callbacks = [] if make is None else make(optimizer, Path(folder))
        trainer = Trainer(model, cross_entropy, optimizer, [*callbacks, clock], verbose=False)
        trainer.fit(DataLoader(train, 128), validation, epochs=2)
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--only", nargs="*", default=list(CALLBACKS), metavar="NAME")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    data = [
        Dataset(rng.random((n, 784), dtype=np.float32), rng.integers(0, 10, n))
        for n in (options.samples, 5000)
    ]
    runs: dict[str, Make | None] = {"without": None, **{name: CALLBACKS[name] for name in options.only}}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(options.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(epoch(runs[name], *data))
    steps = options.samples / 128
    for clock in CLOCKS:
        middle = quartiles([s[clock] for s in seconds["without"]])[1]
        print(f"without, {clock}: {middle:.3f} s an epoch, {1e3 * middle / steps:.3f} ms for each update")
    print(f"time with over time without, median and quartiles of {options.rounds} rounds")
    print(" " * 28 + "".join(f"{clock:26}" for clock in CLOCKS))
    result: dict[str, Any] = {}
    for name in options.only:
        line = f"{name:28}"
        for clock in CLOCKS:
            ratios = [a[clock] / b[clock] for a, b in zip(seconds[name], seconds["without"], strict=True)]
            low, ratio, high = quartiles(ratios)
            result.setdefault(name, {})[clock] = {"ratio": ratio, "quartiles": [low, high]}
            line += f"{ratio:.3f} ({low:.3f} to {high:.3f})   "
        print(line.rstrip())
    if options.json:
        facts = {"machine": machine.describe(1), "when": machine.now(), "ratios": result}
        Path(options.json).write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
