"""`python -m bench.images EXPERIMENT --path DIR`: what networks learn from pictures, with seed and figure.

two-layer     50 hidden units on CIFAR-10: validation accuracy (deck S2's target: 53%)
hog           an MLP on CIFAR-10, from raw pixels and from HOG features (deck S1's exercise)
augmentation  the small CNN on part of CIFAR-10, without and with random crops and flips (deck S4)
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import init, nn, optim
from xpnet.data import (
    Augmentation,
    ChannelMean,
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomFlip,
    Standardize,
    hog,
    load_cifar10,
    split,
)
from xpnet.train import LearningRate, Trainer

# experiment: epochs, learning rate, weight decay, training samples (0: all)
DEFAULTS = {
    "two-layer": (40, 0.02, 1e-3, 0),
    "hog": (15, 0.002, 0.0, 0),
    "augmentation": (30, 0.003, 0.0, 5000),
}


def fit(
    model: nn.Module,
    rule: Any,
    training: Dataset,
    validation: Dataset,
    options: argparse.Namespace,
    augment: Augmentation | None = None,
) -> Trainer:
    """Train with a cosine schedule, and print a line an epoch."""
    loader = DataLoader(training, options.batch_size, drop_last=True, seed=options.seed, augment=augment)
    schedule = LearningRate(optim.CosineAnnealingLR(rule, options.epochs))
    trainer = Trainer(model, F.cross_entropy, rule, [schedule], verbose=False)
    history = trainer.fit(loader, validation, options.epochs)
    for key, values in history.items():
        print(f"  {key:<14}" + " ".join(f"{v:.4g}" for v in values), flush=True)
    return trainer


def parts(data: Dataset, scaler: Any, options: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """Training and validation set, preprocessed with the statistics of the training set."""
    training, validation = split(data, (0.9, 0.1), seed=options.seed)
    if options.samples:
        training = training.subset(np.arange(options.samples))
    scaler.fit(training.x)
    return training.map(scaler.transform).to_backend(), validation.map(scaler.transform).to_backend()


def two_layer(options: argparse.Namespace) -> dict[str, float]:
    """Linear 3072-50, batch norm, ReLU, linear 50-10; pictures are mirrored at random in training."""
    rest, _ = load_cifar10(options.path, dtype="uint8")
    training, validation = parts(rest, Standardize(), options)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(3072, 50, bias=False, weight_init=init.he_normal),
        nn.BatchNorm1d(50),
        nn.ReLU(),
        nn.Linear(50, 10, weight_init=init.lecun_normal, bias_init=init.zeros),
    )
    rule = optim.SGD(model, options.lr, momentum=0.9, nesterov=True, weight_decay=options.weight_decay)
    trainer = fit(model, rule, training, validation, options, RandomFlip())
    return {"validation accuracy": trainer.history["val_accuracy"][-1]}


def hog_or_pixels(options: argparse.Namespace) -> dict[str, float]:
    """The same network and settings on two inputs."""
    rest, _ = load_cifar10(options.path, dtype="uint8")
    training, validation = split(rest, (0.9, 0.1), seed=options.seed)
    training = training.subset(np.arange(options.samples or len(training)))
    inputs = {
        "raw pixels": lambda x: x.reshape(len(x), -1).astype(np.float32),
        "HOG": lambda x: hog(x, orientations=9, pixels_per_cell=4, cells_per_block=2),
    }
    found = {}
    for name, features in inputs.items():
        xpnet.manual_seed(options.seed)
        first, second = training.map(features), validation.map(features)
        scaler = Standardize().fit(first.x)
        first, second = (d.map(scaler.transform).to_backend() for d in (first, second))
        model = nn.Sequential(
            nn.Linear(first.x.shape[1], 256, bias=False, weight_init=init.he_normal),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, 10, weight_init=init.lecun_normal, bias_init=init.zeros),
        )
        print(f"{name}: {first.x.shape[1]} features")
        trainer = fit(model, optim.Adam(model, options.lr), first, second, options)
        found[f"{name}: validation accuracy"] = trainer.history["val_accuracy"][-1]
    return found


def augmentation(options: argparse.Namespace) -> dict[str, float]:
    """The same network, weights, order of samples and settings, without and with augmentation."""
    rest, _ = load_cifar10(options.path, dtype="uint8")
    training, validation = parts(rest, ChannelMean(), options)
    found = {}
    for name, augment in (("without", None), ("with", Compose([RandomCrop(32, padding=4), RandomFlip()]))):
        xpnet.manual_seed(options.seed)
        model = nn.small_cnn(10, width=options.width)
        print(f"{name} augmentation")
        trainer = fit(model, optim.Adam(model, options.lr), training, validation, options, augment)
        found[f"{name} augmentation: validation accuracy"] = trainer.history["val_accuracy"][-1]
    return found


EXPERIMENTS = {"two-layer": two_layer, "hog": hog_or_pixels, "augmentation": augmentation}


def main() -> None:
    """Run an experiment and print what it found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("experiment", choices=EXPERIMENTS)
    p.add_argument("--path", required=True, help="the folder with the data set")
    p.add_argument("--epochs", type=int, help="default: by experiment")
    p.add_argument("--lr", type=float, help="default: by experiment")
    p.add_argument("--weight-decay", type=float, help="default: by experiment")
    p.add_argument("--samples", type=int, help="training samples, 0: all; default: by experiment")
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--width", type=int, default=12, help="channels of the CNN's first stage on CIFAR-10")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--backend", default="numpy")
    p.add_argument("--json", type=Path, metavar="FILE", help="write options and figures")
    options = p.parse_args()
    epochs, lr, decay, samples = DEFAULTS[options.experiment]
    options.epochs = options.epochs or epochs
    options.lr = lr if options.lr is None else options.lr
    options.weight_decay = decay if options.weight_decay is None else options.weight_decay
    options.samples = samples if options.samples is None else options.samples
    xpnet.set_backend(options.backend)
    xpnet.manual_seed(options.seed)
    start = time.perf_counter()
    found = EXPERIMENTS[options.experiment](options)
    facts = {k: v for k, v in vars(options).items() if k not in ("json", "path")}
    print(", ".join(f"{k} {v}" for k, v in facts.items()))
    for name, value in found.items():
        print(f"{name} {value:.2%}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"options": facts, "found": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
