"""`xpnet parity`."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xpnet import manual_seed, nn, parallel, to_numpy, use_backend
from xpnet.cli import output
from xpnet.cli.colour import painted
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.model import mlp
from xpnet.cli.options import batch, steps
from xpnet.cli.settings import Settings as Base
from xpnet.core.backend import BACKENDS
from xpnet.data import load_digits
from xpnet.diagnostics.parity import compare, second_backend
from xpnet.diagnostics.ranks import compare_ranks
from xpnet.io.writing import check_writable


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet parity`."""

    model: str = "mlp"
    backends: str | None = None
    steps: int = 200
    batch_size: int = 64
    seed: int = 0
    ranks: bool = False
    json: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet parity`."""
    parser.description = (
        "Run a network's layers, the random draws and a training run on two backends; "
        "exit code 1 if something differs by more than the order of additions explains."
    )
    parser.add_argument("--model", choices=("mlp", "cnn"), help="(default: mlp)")
    parser.add_argument(
        "--backends", metavar="A,B", help="the two (default: numpy and the best other one that works here)"
    )
    parser.add_argument("--steps", type=steps, metavar="N", help="of the training run (default: 200)")
    parser.add_argument("--batch-size", type=batch, metavar="N", help="(default: 64)")
    parser.add_argument("--seed", type=int, help="of weights, batches, dropout (default: 0)")
    parser.add_argument(
        "--ranks",
        action="store_true",
        help="instead, compare the ranks of this mpiexec with one process: mpiexec -n 2 xpnet parity --ranks",
    )
    parser.add_argument("--json", metavar="FILE", help="every difference")


def run(settings: Settings) -> int:
    """Print the comparison of two backends, or of ranks; the exit code, 1 if they differ."""
    with bad_input():
        if settings.json is not None:
            check_writable(settings.json)
    if settings.ranks:
        return _ranks(settings)
    with bad_input():
        pair = _pair(settings.backends)
        for name in pair:
            with use_backend(name):
                pass
    with use_backend("numpy"):
        manual_seed(settings.seed)
        digits = load_digits()
        x, y = to_numpy(digits.x), to_numpy(digits.y)
        x = ((x - x.mean()) / x.std()).reshape(len(x), -1)
        if settings.model == "cnn":
            x, model = x.reshape(len(x), 1, 8, 8), nn.small_cnn(10, channels=1, width=16)
        else:
            model = mlp(64, [128, 64], 10, dropout=0.2)
    rng = np.random.default_rng(settings.seed)
    rows = [rng.integers(0, len(x), settings.batch_size) for _ in range(1 + settings.steps)]
    first, *others = [(x[i], y[i]) for i in rows]
    report = compare(model, *first, pair, batches=others, seed=settings.seed)
    print(painted(report.table()))
    if settings.json is not None:
        with bad_input():
            output.write_json(settings.json, _plain({"ok": report.ok, **asdict(report)}))
    return OK if report.ok else FAILED


def _ranks(settings: Settings) -> int:
    """Several ranks against one process."""
    with bad_input():
        group = parallel.connect()
    found = compare_ranks(group, seed=settings.seed)
    ok = all(difference.ok for difference in found)
    if group.is_main:
        print(f"{group.size} ranks against one process: parameters after an epoch of training on digits")
        for d in found:
            verdict = "agrees" if d.ok else "DIFFERS"
            print(f"  {d.network:<34}{d.dtype:<9}{d.error:9.1e}  at most {d.limit:.0e}  {painted(verdict)}")
        if group.size == 1:
            print("there is one rank only; start several: mpiexec -n 2 xpnet parity --ranks")
        if settings.json is not None:
            with bad_input():
                rows = [{**asdict(d), "limit": d.limit, "ok": d.ok} for d in found]
                output.write_json(settings.json, _plain({"ok": ok, "ranks": group.size, "differences": rows}))
    return OK if ok else FAILED


def _pair(text: str | None) -> tuple[str, str]:
    if text is None:
        second = second_backend()
        if second == "numpy":
            raise BadInputError(
                "there is nothing to compare: NumPy is the only backend here; install another one, as in "
                'pip install "xpnet[cuda13]" or "xpnet[torch]" or array-api-strict'
            )
        return "numpy", second
    names = [part.strip() for part in text.split(",")]
    if len(names) != 2 or any(name not in BACKENDS for name in names):
        raise BadInputError(f"--backends {text}: expected two of {', '.join(BACKENDS)}, as in numpy,cupy")
    if names[0] == names[1]:
        raise BadInputError(f"--backends {text}: there is nothing to compare: name two different ones")
    return names[0], names[1]


def _plain(value: Any) -> Any:
    """As JSON can hold it: null for infinite."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
