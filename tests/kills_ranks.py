"""Kill one or both of two ranks over and over, resume them each time, and compare with ranks left alone.

    python -m tests.kills_ranks --kills 100

As `tests.kills`, with rank 0 writing the checkpoint: weights, history and log must agree bit for bit, and
no rank may outlive the other.
"""

from __future__ import annotations

import argparse
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

from tests.kills import final, keep, prepared, set_limit
from tests.mpi import MPIEXEC, ROOT


def train(folder: Path, epochs: int) -> None:
    """One life of a rank: begin, or go on from the checkpoint if there is one."""
    from xpnet import parallel
    from xpnet.train import Checkpoint

    group = parallel.connect()
    path = folder / "checkpoint.safetensors"
    checkpoint = Checkpoint(path, every_steps=5)
    trainer, loader, validation = prepared(folder, epochs, 0, [checkpoint], communicator=group)
    (folder / f"rank-{group.rank}").write_text(str(os.getpid()))
    history = trainer.fit(loader, validation, epochs, resume=path if path.exists() else None)
    if group.is_main:
        keep(folder, trainer, history)


def start(folder: Path, epochs: int) -> tuple[subprocess.Popen[str], list[int]]:
    """Both ranks, and their process numbers once they are about to train."""
    life = [sys.executable, "-m", "tests.kills_ranks", "--life", str(folder), "--epochs", str(epochs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(MPIEXEC), "-n", "2", *life],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    ready = [folder / f"rank-{rank}" for rank in (0, 1)]
    while process.poll() is None and not all(path.exists() and path.read_text() for path in ready):
        time.sleep(0.005)
    pids = [int(path.read_text()) for path in ready]
    for path in ready:
        path.unlink()
    return process, pids


def ended(pids: list[int], within: float = 5.0) -> bool:
    """Whether these processes are gone."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.01)
    return False


def run(kills: int, epochs: int, seed: int, folder: Path) -> dict[str, object]:
    """Two ranks once undisturbed and once with `kills` kills; the figures.

    Raises:
        AssertionError: something was lost, a checkpoint was damaged, or a rank went on alone.
    """
    from xpnet.train import load_checkpoint

    chance = random.Random(seed)
    alone, killed = folder / "alone", folder / "killed"
    alone.mkdir()
    killed.mkdir()
    process, _ = start(alone, epochs)
    began = time.perf_counter()
    _, said = process.communicate()
    assert process.returncode == 0, said
    length = time.perf_counter() - began

    done, places, victims = 0, [], {"rank 0": 0, "rank 1": 0, "both": 0}
    path = killed / "checkpoint.safetensors"
    updates = final(alone)[1]["steps"]
    set_limit(killed, updates // (kills + 1))  # each kill finds a run that is not at its end
    while not (killed / "final.safetensors").exists():
        process, pids = start(killed, epochs)
        if done < kills:
            time.sleep(chance.uniform(0, 1.6 * length / kills))
            victim = chance.choice(list(victims))
            for pid in {"rank 0": pids[:1], "rank 1": pids[1:], "both": pids}[victim]:
                os.kill(pid, signal.SIGKILL)
            process.communicate()
            assert process.returncode, "the ranks go on without one that was killed"
            assert ended(pids), "a rank outlives the other"
            done, victims[victim] = done + 1, victims[victim] + 1
            set_limit(killed, (done + 1) * (updates // (kills + 1)) if done < kills else updates + 1)
            if path.exists():
                places.append(load_checkpoint(path)["state"]["step"])  # whole, whatever was going on
                assert places == sorted(places), "a checkpoint went back"
        else:
            _, said = process.communicate()
            assert process.returncode == 0, said
    found, expected = final(killed), final(alone)
    assert found[0] == expected[0], "the weights differ"
    assert found[1] == expected[1], "the history differs"
    assert found[2] == expected[2], "the log differs"
    return {
        "kills": done,
        **victims,
        "updates": expected[1]["steps"],
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
