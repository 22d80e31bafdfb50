"""`python -m bench.scaling`: what training with several ranks costs here, and a model of it elsewhere.

Each number of ranks is a run of its own under mpiexec, one CPU thread a rank. Strong scaling shares a batch
among the ranks; weak scaling gives each rank a batch of that size. The all-reduce of the gradient is timed
alone, over vectors of several sizes, and a line is fitted: time = latency + bytes / bandwidth.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

LAYERS = {"mnist_mlp": (784, 256, 128, 10), "cifar_mlp": (3072, 1024, 1024, 10)}
SIZES = [1, 1_000, 10_000, 100_000, 1_000_000, 4_000_000]  # elements of the vectors that are reduced


# ---- one rank ---------------------------------------------------------------------------------------------


def measure_rank(batch: int, rounds: int) -> dict[str, Any]:
    """Seconds of a step and of its parts, with the ranks there are; called on each of them."""
    from xpnet import parallel

    group = parallel.connect()
    found: dict[str, Any] = {"ranks": group.size, "all_reduce": {}, "steps": {}}
    for size in SIZES:
        vector = np.ones(size, np.float32)
        found["all_reduce"][size] = _time(group, lambda v=vector: group.all_reduce(v), rounds)  # type: ignore[misc]
    for name, layers in LAYERS.items():
        for kind, share in (("strong", batch // group.size), ("weak", batch)):
            found["steps"][f"{name} {kind}"] = _time(group, _step(group, layers, share), rounds)
    return found


def _step(group: Any, layers: tuple[int, ...], batch: int) -> Any:
    """A training step as the Trainer makes it."""
    import xpnet
    from xpnet import functional as F
    from xpnet import nn, optim
    from xpnet.parallel.reducer import Reducer

    xpnet.manual_seed(0)
    parts: list[nn.Module] = []
    for a, b in pairwise(layers):
        parts += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    optimizer = optim.Adam(model, lr=1e-3)
    reducer = Reducer(model.parameters(), group) if group.size > 1 else None
    rng = np.random.default_rng(group.rank)
    x, y = rng.standard_normal((batch, layers[0]), dtype=np.float32), rng.integers(0, layers[-1], batch)

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if reducer is None:
            loss.backward()
        else:
            with reducer.during_backward():
                loss.backward()
        optimizer.step()

    return step


def _time(group: Any, run: Any, rounds: int) -> list[float]:
    """Seconds of each round: the slowest rank's, the ranks starting together."""
    run()
    seconds = []
    for _ in range(rounds):
        group.barrier()
        start = perf_counter()
        run()
        seconds.append(group.largest(perf_counter() - start))
    return seconds


# ---- the model --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """Links between ranks: `local` of them share a machine.

    Attributes:
        name: what it is.
        latency: seconds a message between two ranks takes besides its bytes.
        bandwidth: bytes a second that a rank sends within a machine.
        outside: bytes a second that a rank sends to another machine.
        local: ranks a machine.
    """

    name: str
    latency: float
    bandwidth: float
    outside: float
    local: int

    def all_reduce(self, nbytes: float, ranks: int) -> float:
        """Seconds of a ring all-reduce, each rank sending 2 (n - 1) / n of the vector in 2 (n - 1) messages.

        Within machines first, then between them, where each rank carries its part of the vector (the
        hierarchical form that NCCL uses; Patarasuk & Yuan, 2009, for the ring).
        """
        inside, machines = min(ranks, self.local), -(-ranks // self.local)
        near = _ring(nbytes, inside, self.latency, self.bandwidth)
        return near + _ring(nbytes / inside, machines, self.latency, self.outside)


def _ring(nbytes: float, ranks: int, latency: float, bandwidth: float) -> float:
    if ranks == 1:
        return 0.0
    return 2 * (ranks - 1) * latency + 2 * (ranks - 1) / ranks * nbytes / bandwidth


# data sheets, one direction; the latencies are what NCCL's small messages are known to take
NODES_OF_H100 = Network("8 H100 a node, NVLink 450 GB/s, InfiniBand 50 GB/s a GPU", 5e-6, 450e9, 50e9, 8)


def simulate(step: float, nbytes: float, network: Network, ranks: int, overlap: float = 0.0) -> float:
    """The efficiency of weak scaling: step / (step + all-reduce that is not hidden behind the backward pass).

    Args:
        step: seconds one rank takes for its batch.
        nbytes: of the gradient.
        network: between the ranks.
        ranks: how many.
        overlap: share of the step behind which the all-reduce can hide; 0: none.

    No rank is slower than the others, and the input data are there in time.
    """
    return step / (step + max(0.0, network.all_reduce(nbytes, ranks) - overlap * step))


def fit(all_reduce: dict[str, list[float]]) -> tuple[float, float]:
    """(latency in seconds, bandwidth in bytes a second) of time = latency + bytes / bandwidth."""
    sizes = np.array([4.0 * int(size) for size in all_reduce])
    times = np.array([median(seconds) for seconds in all_reduce.values()])
    # relative errors count: the small vectors say what the latency is
    slope, latency = np.polyfit(sizes, times, 1, w=1 / times)
    return max(float(latency), 0.0), 1 / max(float(slope), 1e-15)


# ---- the program ------------------------------------------------------------------------------------------


def find_mpiexec() -> str | None:
    """The mpiexec beside this Python (of the wheel `mpich`), else the one on the path."""
    return shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run_ranks(ranks: int, batch: int, rounds: int) -> dict[str, Any]:
    """Measure with this many ranks.

    Raises:
        RuntimeError: mpiexec is missing, or the ranks failed.
    """
    mpiexec = find_mpiexec()
    if mpiexec is None:
        raise RuntimeError('mpiexec is missing: pip install "xpnet[mpi]"')
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    options = ["--rank", "--batch", str(batch), "--rounds", str(rounds)]
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "bench.scaling", *options]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{ranks} ranks failed:\n{done.stderr}")
    return json.loads(done.stdout)


def report(found: dict[int, dict[str, Any]], batch: int, rounds: int) -> str:
    """Tables of what was measured and what follows from it."""
    spread = lambda seconds: (
        f"{1e3 * median(seconds):8.2f} ms [{1e3 * min(seconds):.2f} .. {1e3 * max(seconds):.2f}]"
    )
    lines = [f"batch {batch}, one CPU thread a rank; median [smallest .. largest] of {rounds} rounds"]
    alone = found[min(found)]
    for key in alone["steps"]:
        for ranks, row in found.items():
            once, many = median(alone["steps"][key]), median(row["steps"][key])
            speed = once / many * (1 if key.endswith("strong") else ranks)
            lines.append(
                f"  {key:<18} {ranks} ranks {spread(row['steps'][key]):<34}"
                f" {speed:5.2f} x the work of 1, efficiency {speed / ranks:.0%}"
            )
    most = found[max(found)]
    if most["ranks"] == 1:
        return "\n".join(lines)
    latency, bandwidth = fit(most["all_reduce"])
    lines.append(
        f"all-reduce over {most['ranks']} ranks: {1e6 * latency:.1f} us + bytes / {bandwidth / 1e9:.2f} GB/s"
    )
    for size, seconds in most["all_reduce"].items():
        lines.append(f"  {4 * int(size):>12,} bytes {spread(seconds)}")
    # fit() has seen 2 (n - 1) messages and 2 (n - 1) / n of the bytes
    n = most["ranks"]
    here = Network(
        "the link measured here",
        latency / (2 * (n - 1)),
        bandwidth * 2 * (n - 1) / n,
        bandwidth * 2 * (n - 1) / n,
        1,
    )
    lines.append("\nsimulated efficiency of weak scaling (nothing below was measured)")
    for network, factor, what in (
        (here, 1.0, "steps as measured here"),
        (NODES_OF_H100, 0.01, "a step 100 times as fast"),
    ):
        lines.append(f" {network.name}; {what}; no overlap | with half of the step to hide behind")
        for name, layers in LAYERS.items():
            nbytes = 4.0 * sum((a + 1) * b for a, b in pairwise(layers))
            step = factor * median(alone["steps"][f"{name} weak"])
            cells = ""
            for ranks in (8, 64, 512):
                plain, hidden = (simulate(step, nbytes, network, ranks, overlap) for overlap in (0.0, 0.5))
                cells += f"  {ranks:>4} GPUs {plain:4.0%} | {hidden:4.0%}"
            lines.append(f"  {name:<12}{cells}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--ranks", default="1,2", metavar="N,N", help="default: 1,2")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="default: 256")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="default: 15")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)  # inside mpiexec
    options = parser.parse_args(argv)
    if options.rank:
        found = measure_rank(options.batch, options.rounds)
        from xpnet import parallel

        if parallel.connect().is_main:
            print(json.dumps(found))
        return 0
    try:
        counts = sorted({int(n) for n in options.ranks.split(",")})
        measured = {n: run_ranks(n, options.batch, options.rounds) for n in counts}
    except (ValueError, RuntimeError) as error:
        print(f"bench.scaling: {error}", file=sys.stderr)
        return 2
    print(report(measured, options.batch, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
