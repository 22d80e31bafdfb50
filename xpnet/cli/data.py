"""The data sets that the command line knows, and the settings that suit them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from xpnet import asarray, set_backend
from xpnet.cli.errors import BadInputError, bad_input
from xpnet.data import Dataset, load_digits, load_mnist, split


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, the share held out for validation, and default settings."""

    load: Callable[[str | None], tuple[Dataset, Dataset]]
    validation: float
    layers: tuple[int, ...]
    epochs: int
    batch_size: int


def _digits(path: str | None) -> tuple[Dataset, Dataset]:
    """The test set is the same fifth in every run, whatever the seed, so that no search can see it."""
    if path is not None:
        raise BadInputError("digits ships with xpnet; leave out --path, or name the data with --data mnist")
    rest, test = split(load_digits(), (0.8, 0.2), seed=0)
    return rest, test


def _mnist(path: str | None) -> tuple[Dataset, Dataset]:
    if path is None:
        raise BadInputError("mnist needs --path DIR, the folder with MNIST's four idx files")
    return load_mnist(path)


SOURCES = {
    "digits": Source(_digits, 1 / 8, (128, 64), epochs=50, batch_size=32),
    "mnist": Source(_mnist, 1 / 12, (256, 128), epochs=10, batch_size=128),
}


def choose(options: argparse.Namespace, default: str) -> str:
    """The name of the data, given as an argument, as an option, or not at all."""
    given = {name for name in (getattr(options, "dataset", None), options.data) if name is not None}
    if len(given) > 1:
        raise BadInputError(f"the data is given twice: {options.dataset} and --data {options.data}")
    return given.pop() if given else default


def choose_backend(options: argparse.Namespace) -> None:
    """Set the backend and make one array there, so that a missing device shows now."""
    device = options.device
    if device is not None and device.isdecimal():
        device = int(device)
    with bad_input():
        set_backend(options.backend, device)
    with bad_input(f"--backend {options.backend} --device {options.device}: "):
        asarray([0.0])
