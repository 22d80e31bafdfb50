"""`python -m bench.estimator`: what the scikit-learn estimators cost above a Trainer by hand (goal: 5%).

Interleaved rounds: the same network, batches, epochs and rule, once through `fit` of the estimator and once
through `Trainer.fit`; likewise predictions. The times are the process's own (CPU) times, a ratio belongs to
a round: neither a busy machine nor one that slows down favours a side. For steadier ones: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

import xpnet
from bench.measurement import quartiles
from xpnet import functional as F
from xpnet import nn
from xpnet.data import DataLoader, Dataset
from xpnet.optim.by_name import make_optimizer
from xpnet.sklearn import XPNetClassifier, XPNetRegressor
from xpnet.train import Trainer

GOAL = 1.05

# samples, features, outputs (0: regression), hidden layers, batch size, epochs
SIZES = {
    "digits": (1797, 64, 10, (100,), 128, 20),
    "small": (300, 20, 3, (32,), 64, 40),
    "wide": (4000, 256, 10, (256, 128), 128, 4),
    "regression": (2000, 32, 0, (64,), 128, 20),
}


def pairs(size: str, seed: int = 0) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Each work as (by hand, by estimator)."""
    n, features, classes, hidden, batch, epochs = SIZES[size]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    y = rng.integers(0, classes, n) if classes else rng.normal(size=n)
    target = y if classes else y.astype(np.float32)[:, None]
    loss = F.cross_entropy if classes else F.mse_loss
    kind = XPNetClassifier if classes else XPNetRegressor
    estimator = kind(hidden, batch_size=batch, max_iter=epochs, tol=None, random_state=0)

    def by_hand() -> Trainer:
        xpnet.manual_seed(0)
        model = nn.mlp(features, hidden, classes or 1)
        trainer = Trainer(
            model, loss, make_optimizer("adam", model, weight_decay=estimator.alpha), verbose=False
        )
        trainer.fit(DataLoader(Dataset(x, target), batch), epochs=epochs)
        return trainer

    trained = by_hand()
    estimator.fit(x, y)
    return {
        "fit": (by_hand, lambda: estimator.fit(x, y)),
        "predict": (lambda: trained.predict(x), lambda: estimator.predict(x)),
    }


def measure(hand: Callable[[], object], estimator: Callable[[], object], rounds: int) -> list[float]:
    """The estimator's time over that by hand, round by round."""
    found = []
    for number in range(rounds):
        seconds = [0.0, 0.0]
        for side in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()
            (hand, estimator)[side]()
            seconds[side] = time.process_time() - start
        found.append(seconds[1] / seconds[0])
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the ratios; exit code 1 if the median of a `fit` is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimator", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="default 41")
    parser.add_argument("--only", choices=SIZES, help="one of the sizes")
    options = parser.parse_args(argv)
    missed = False
    print(f"{'size':<12}{'work':<10}{'estimator / Trainer: median':>30}{'quartiles':>18}")
    for size in [options.only] if options.only else SIZES:
        for work, (hand, estimator) in pairs(size).items():
            found = measure(hand, estimator, options.rounds)
            low, middle, high = quartiles(found)
            print(f"{size:<12}{work:<10}{middle:>30.3f}{low:>10.3f} {high:.3f}", flush=True)
            missed |= work == "fit" and middle > GOAL
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
