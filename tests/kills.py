"""Kill a training process over and over, resume it each time, and compare with a run that was left alone.

    python -m tests.kills --kills 100
    python -m tests.kills --kills 100 two         # two processes that want to be the same run
    python -m tests.kills --kills 100 namespaces  # the same with pids of their own, as in containers
    python -m tests.kills --kills 100 threads     # two runs in threads of a process, with a file in common

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def limit(folder: Path) -> float:
    """The step beyond which no run in this folder goes for now."""
    for place in (folder, folder.parent):
        if (place / "limit").exists():
            return float((place / "limit").read_text())
    return float("inf")


def set_limit(folder: Path, step: float) -> None:
    (folder / "limit.new").write_text(str(step))
    (folder / "limit.new").replace(folder / "limit")


def prepared(folder: Path, epochs: int, seed: int, callbacks: list[Any], **options: Any) -> tuple[Any, ...]:
    """A training with everything whose state could be lost: the trainer, its loader, what it validates on."""
    import xpnet
    from xpnet import nn, optim
    from xpnet.data import DataLoader, load_digits, split
    from xpnet.data.augment import Augmentation
    from xpnet.functional import cross_entropy
    from xpnet.train import EMA, Callback, CSVLogger, EarlyStopping, LearningRate, Trainer

    class Hold(Callback):
        """Waits at the step that the file names, so that each kill finds a run that is not at its end."""

        def on_batch_end(self, run):
            while run.step >= limit(folder):
                time.sleep(0.001)

    class Jitter(Augmentation):
        """Noise that depends on seed, epoch and sample."""

        def __call__(self, x, y, draw):
            return x + draw.uniform(64) * 2, y

    xpnet.manual_seed(seed)
    training, validation, _ = split(load_digits())
    model = nn.Sequential(
        nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
    )
    optimizer = optim.Adam(model, lr=0.003)
    loader = DataLoader(training, 32, augment=Jitter(), prefetch=2)
    schedule = optim.CosineAnnealingLR(optimizer, epochs * len(loader))
    usual = [
        EarlyStopping(epochs),
        EMA(0.99),
        LearningRate(schedule, every="batch"),
        CSVLogger(folder / "log.csv"),
        Hold(),
    ]
    trainer = Trainer(model, cross_entropy, optimizer, [*usual, *callbacks], verbose=False, **options)
    return trainer, loader, validation


def keep(folder: Path, trainer: Any, history: Mapping[str, Any]) -> None:
    """Write what `final` compares."""
    from xpnet.train import save_arrays

    columns = {key: values for key, values in history.items() if key != "seconds"}
    metadata = {"history": columns, "steps": trainer.step}
    save_arrays(folder / "final.safetensors", trainer.model.state_dict(), metadata)


def train(folder: Path, epochs: int, seed: int = 0, common: Path | None = None) -> None:
    """One life: begin, or go on from the checkpoint if there is one, to the end if nothing happens."""
    from xpnet.io.locks import InUseError, claimed
    from xpnet.train import Callback, Checkpoint, save_arrays

    class Common(Callback):
        """A file that both runs write."""

        def on_epoch_end(self, run):
            if common is not None:
                save_arrays(common, run.model.state_dict())

    folder.mkdir(exist_ok=True)
    path = folder / "checkpoint.safetensors"
    checkpoint = Checkpoint(path, every_steps=5, keep=2, background=seed % 2 == 1)
    trainer, loader, validation = prepared(folder, epochs, seed, [Common(), checkpoint])
    print("ready", flush=True)
    while True:
        try:
            with claimed(path):  # before it is read
                history = trainer.fit(loader, validation, epochs, resume=path if path.exists() else None)
            break
        except InUseError:
            time.sleep(0.005)
    keep(folder, trainer, history)


def train_in_threads(folder: Path, epochs: int) -> None:
    """Two runs, each with random streams of its own."""
    from threading import Thread

    from xpnet import random as streams

    failed: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with np.errstate(all="ignore"), streams.forked():
                train(folder / str(seed), epochs, seed, folder / "common.safetensors")
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def start(folder: Path, epochs: int, mode: str) -> subprocess.Popen[str]:
    apart = ["unshare", "--pid", "--fork", "--kill-child"] if mode == "namespaces" else []
    command = [
        *apart,
        sys.executable,
        "-m",
        "tests.kills",
        mode,
        "--life",
        str(folder),
        "--epochs",
        str(epochs),
    ]
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


class Watch:
    """The checkpoints of a folder: whole after each kill, and never an earlier one than before."""

    def __init__(self, folder: Path) -> None:
        self.path, self.places, self.within, self.seen = folder / "checkpoint.safetensors", [0], 0, 0

    def stamp(self) -> int:
        return self.path.stat().st_mtime_ns if self.path.exists() else 0

    def wait_for_more(self, lives: list[subprocess.Popen[str]]) -> None:
        """Until one of them has written a checkpoint since the last look, or has ended."""
        while self.stamp() == self.seen and all(process.poll() is None for process in lives):
            time.sleep(0.001)

    def look(self) -> None:
        from xpnet.train import load_checkpoint

        self.seen = self.stamp()
        if self.path.exists():
            state = load_checkpoint(self.path)["state"]
            assert state["step"] >= self.places[-1], "a checkpoint went back"
            self.places.append(state["step"])
            self.within += state["batches"] > 0


def run(
    kills: int, epochs: int, seed: int, folder: Path, mode: str = "alone", say=print
) -> dict[str, object]:
    """Train once undisturbed and once with `kills` kills; the figures.

    Args:
        mode: "alone"; "two" processes that want to be the same run, or two in pid "namespaces" of their own;
            or two runs in two "threads".

    Raises:
        AssertionError: something was lost, or a checkpoint was damaged.
    """
    from xpnet.train import load_arrays

    chance = random.Random(seed)
    alone, killed = folder / "alone", folder / "killed"
    alone.mkdir()
    killed.mkdir()
    runs = ["0", "1"] if mode == "threads" else ["."]
    lengths = []
    for name in runs:  # one after the other, whatever the mode
        process = start(alone / name, epochs, f"seed-{name}" if mode == "threads" else "alone")
        process.stdout.readline()
        began = time.perf_counter()
        assert process.wait() == 0
        lengths.append(time.perf_counter() - began)
    length = sum(lengths)
    say(f"undisturbed: {length:.1f} s of training")

    updates = final(alone / runs[0])[1]["steps"]
    stretch = updates // (kills + 1)  # of training for each kill
    assert stretch > 5, f"{updates} updates with a checkpoint every 5 are too few for {kills} kills"
    set_limit(killed, stretch)
    watches = [Watch(killed / name) for name in runs]
    lives = [start(killed, epochs, mode) for _ in range(2 if mode in ("two", "namespaces") else 1)]
    done = cut = 0
    while True:
        if done < kills:
            victim = chance.randrange(len(lives))
            process = lives[victim]
            if chance.random() < 0.1:  # while it starts
                time.sleep(chance.uniform(0, 0.3))
            else:
                if len(lives) == 1:
                    process.stdout.readline()
                else:
                    watches[0].wait_for_more(lives)
                time.sleep(chance.uniform(0, 1.2 * length / kills))
            process.kill()
            code = process.wait()
            process.stdout.close()
            assert code == -signal.SIGKILL, f"a life ended with {code}"
            done += 1
            cut += len(list(killed.rglob(".checkpoint*.tmp")))
            for watch in watches:
                watch.look()
            if (killed / "common.safetensors").exists():
                load_arrays(killed / "common.safetensors")
            set_limit(killed, (done + 1) * stretch if done < kills else updates + 1)
            lives[victim] = start(killed, epochs, mode)
            continue
        for process in lives:
            process.communicate()
            assert process.returncode == 0, f"a life ended with {process.returncode}"
        break
    for name in runs:
        found, expected = final(killed / name), final(alone / name)
        assert found[0] == expected[0], "the weights differ"
        assert found[1] == expected[1], "the history differs"
        assert found[2] == expected[2], "the log differs"
    leftovers = [p.name for p in killed.rglob(".*.tmp")]
    # of the final file, which is written once
    assert len(leftovers) <= len(runs), f"left behind: {leftovers}"
    return {
        "kills": done,
        "updates": expected[1]["steps"],
        "resumed within an epoch": sum(watch.within for watch in watches),
        "in the middle of a write": cut,
        "different places": sum(len(set(watch.places)) for watch in watches),
        "identical": True,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", nargs="?", default="alone", help="alone, two, namespaces or threads")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--life", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.life:
        options.life.mkdir(exist_ok=True)
        with np.errstate(all="ignore"):
            if options.mode == "threads":
                train_in_threads(options.life, options.epochs)
            else:
                train(options.life, options.epochs, int(options.mode == "seed-1"))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        figures = run(options.kills, options.epochs, options.seed, Path(folder), options.mode)
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
