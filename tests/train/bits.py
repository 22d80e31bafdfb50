"""One small run, whole or in two parts, and the bits it ends with: `python -m tests.train.bits OPTIONS`.

Its batch norm is large enough for the CPU kernels to share it out among threads.
"""

from __future__ import annotations

import argparse
import hashlib

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, parallel
from xpnet.data import DataLoader, Dataset
from xpnet.data.augment import Augmentation
from xpnet.train import Checkpoint, LearningRate, Trainer


class Jitter(Augmentation):
    """Noise that depends on seed, epoch and sample."""

    def __call__(self, x, y, draw):
        return x + xpnet.asarray(draw.uniform(1)) * 0.1, y


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--prefetch", type=int, default=0)
    parser.add_argument("--capture", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--checkpoint")
    parser.add_argument("--resume")
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--samples", type=int, default=4000)
    options = parser.parse_args()
    xpnet.set_backend(options.backend)
    group = parallel.connect()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(options.samples, 16)).astype(np.float32), rng.integers(0, 3, options.samples)
    xpnet.manual_seed(0)
    w = options.width
    model = nn.Sequential(
        nn.Linear(16, w),
        nn.BatchNorm1d(w),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(w, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )
    optimizer = optim.Adam(model, lr=0.01)
    callbacks = [LearningRate(optim.CosineAnnealingLR(optimizer, 5))]
    if options.checkpoint:
        callbacks.append(Checkpoint(options.checkpoint))
    trainer = Trainer(
        model, F.cross_entropy, optimizer, callbacks, communicator=group, capture=options.capture
    )
    loader = DataLoader(Dataset(x, y), options.samples // 2, augment=Jitter(), prefetch=options.prefetch)
    trainer.fit(loader, Dataset(x[:200], y[:200]), options.epochs, resume=options.resume)
    if group.is_main:
        state = [np.ascontiguousarray(xpnet.to_numpy(a)).tobytes() for a in model.state_dict().values()]
        print(hashlib.sha256(b"".join(state)).hexdigest()[:16])


if __name__ == "__main__":
    main()
