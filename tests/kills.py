"""Kill a training process over and over, resume it each time, and compare with a run that was left alone.

    python -m tests.kills --kills 100

The run has everything whose state could be lost: batch norm, dropout, augmentation, prefetching, Adam, a
schedule, early stopping, an averaged model, a log. Weights, history and log must agree bit for bit.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def train(folder: Path, epochs: int) -> None:
    """One life: begin, or go on from the checkpoint if there is one, to the end if nothing happens."""
    import xpnet
    from xpnet import nn, optim
    from xpnet.data import DataLoader, load_digits, split
    from xpnet.data.augment import Augmentation
    from xpnet.functional import cross_entropy
    from xpnet.train import EMA, Checkpoint, CSVLogger, EarlyStopping, LearningRate, Trainer, save_arrays

    class Jitter(Augmentation):
        """Noise that depends on seed, epoch and sample."""

        def __call__(self, x, y, draw):
            return x + draw.uniform(64) * 2, y

    xpnet.manual_seed(0)
    training, validation, _ = split(load_digits())
    model = nn.Sequential(
        nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
    )
    optimizer = optim.Adam(model, lr=0.003)
    loader = DataLoader(training, 32, augment=Jitter(), prefetch=2)
    path = folder / "checkpoint.safetensors"
    trainer = Trainer(
        model,
        cross_entropy,
        optimizer,
        [
            EarlyStopping(epochs),
            EMA(0.99),
            LearningRate(optim.CosineAnnealingLR(optimizer, epochs * len(loader)), every="batch"),
            CSVLogger(folder / "log.csv"),
            Checkpoint(path, every_steps=5),
        ],
    )
    print("ready", flush=True)
    history = trainer.fit(loader, validation, epochs, resume=path if path.exists() else None)
    columns = {key: values for key, values in history.items() if key != "seconds"}
    save_arrays(folder / "final.safetensors", model.state_dict(), {"history": columns, "steps": trainer.step})


def start(folder: Path, epochs: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.kills", "--life", str(folder), "--epochs", str(epochs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def final(folder: Path) -> tuple[dict[str, bytes], dict[str, object], list[list[str]]]:
    """Weights and metadata of a finished run, and the rows of its log without the seconds."""
    from xpnet.train import load_arrays

    arrays, metadata = load_arrays(folder / "final.safetensors")
    with (folder / "log.csv").open() as file:
        header, *rows = csv.reader(file)
    seconds = header.index("seconds")
    return (
        {name: a.tobytes() for name, a in arrays.items()},
        metadata,
        [row[:seconds] + row[seconds + 1 :] for row in rows],
    )


def run(kills: int, epochs: int, seed: int, folder: Path, say=print) -> dict[str, object]:
    """Train once undisturbed and once with `kills` kills; the figures.

    Raises:
        AssertionError: something was lost, or a checkpoint was damaged.
    """
    from xpnet.train import load_checkpoint

    chance = random.Random(seed)
    alone, killed = folder / "alone", folder / "killed"
    alone.mkdir()
    killed.mkdir()
    process = start(alone, epochs)
    process.stdout.readline()
    began = time.perf_counter()
    assert process.wait() == 0
    length = time.perf_counter() - began
    say(f"undisturbed: {length:.1f} s of training")

    done, within, cut, places, path = 0, 0, 0, [], killed / "checkpoint.safetensors"
    while not (killed / "final.safetensors").exists():
        process = start(killed, epochs)
        if done < kills:
            if chance.random() < 0.1:  # while it starts
                time.sleep(chance.uniform(0, 0.3))
            else:
                process.stdout.readline()
                time.sleep(chance.uniform(0, 1.2 * length / kills))
            os.kill(process.pid, signal.SIGKILL)
        code = process.wait()
        process.stdout.close()
        if code == -signal.SIGKILL:
            done += 1
            if path.exists():
                state = load_checkpoint(path)["state"]  # whole, whatever was going on
                places.append(state["step"])
                within += state["batches"] > 0
                cut += len(list(killed.glob(".checkpoint*.tmp")))
                assert places == sorted(places), "a checkpoint went back"
        else:
            assert code == 0, f"a life ended with {code}"
    found, expected = final(killed), final(alone)
    assert found[0] == expected[0], "the weights differ"
    assert found[1] == expected[1], "the history differs"
    assert found[2] == expected[2], "the log differs"
    leftovers = [p.name for p in killed.iterdir() if p.name.endswith(".tmp")]
    assert len(leftovers) <= 2, f"left behind: {leftovers}"
    return {
        "kills": done,
        "updates": expected[1]["steps"],
        "resumed within an epoch": within,
        "in the middle of a write": cut,
        "different places": len(set(places)),
        "identical": True,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--life", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.life:
        with np.errstate(all="ignore"):
            train(options.life, options.epochs)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(options.kills, options.epochs, options.seed, Path(folder)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
