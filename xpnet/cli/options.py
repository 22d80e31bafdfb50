"""What the commands' options share: the types of values, groups of options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.cli.data import SOURCES
from xpnet.cli.model import MODELS
from xpnet.cli.settings import Interval
from xpnet.core.backend import BACKENDS
from xpnet.optim.by_name import OPTIMIZERS


def _number(kind: type, text: str, accept: Callable[[Any], bool]) -> Callable[[str], Any]:
    """A converter for argparse that says what it expects."""

    def convert(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not math.isfinite(number) or not accept(number):
            raise argparse.ArgumentTypeError(f"expected {text}, got {value!r}")
        return number

    return convert


count = _number(int, "a whole number of at least 1", lambda n: n >= 1)
batch = _number(int, "a whole number of at least 2, since batch norm needs two samples", lambda n: n >= 2)
updates = _number(int, "a whole number of at least 10", lambda n: n >= 10)
steps = _number(int, "a whole number of at least 0", lambda n: n >= 0)
rate = _number(float, "a number above 0", lambda x: x > 0)
decay = _number(float, "a number of at least 0", lambda x: x >= 0)
probability = _number(float, "a probability of at least 0 and below 1", lambda p: 0 <= p < 1)


def sizes(text: str) -> tuple[int, ...]:
    """Positive numbers between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected sizes such as 64,32, got {text!r}")
    return tuple(map(int, parts))


def names_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A converter of names between commas."""

    def convert(text: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in text.split(","))
        if not set(found) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {text!r}")
        return found

    return convert


def pair(text: str) -> tuple[int, int]:
    """Two positive numbers with a comma between them."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected two whole numbers such as 60,30, got {text!r}")
    return int(parts[0]), int(parts[1])


def interval(text: str) -> Interval:
    """Updates, minutes or epochs between two checkpoints: 500, 10m or 2e."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("m", "e") else (text, "")
    if unit == "m" and number.replace(".", "", 1).isdecimal() and float(number) > 0:
        return Interval(minutes=float(number))
    if unit != "m" and number.isdecimal() and int(number) > 0:
        return Interval(epochs=int(number)) if unit else Interval(updates=int(number))
    raise argparse.ArgumentTypeError(f"expected 500 (updates), 10m (minutes) or 2e (epochs), got {text!r}")


def factor(text: str) -> float:
    """A number above 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 1, got {text!r}")
    return value


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument("--backend", choices=BACKENDS, help="where to compute (default: numpy)")
    parser.add_argument("--device", help="a device of that backend, such as 0 for cupy")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which data, and where to compute."""
    parser.add_argument("--data", choices=SOURCES, help="the data, as an option")
    parser.add_argument(
        "--path", metavar="DIR", help="the folder or the tar file with the data, for all but digits"
    )
    add_backend(parser)


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The same, with the name of the data as an argument, too."""
    parser.add_argument("dataset", nargs="?", choices=SOURCES, help="the data (default: digits)")
    add_data(parser)


def add_network(parser: argparse.ArgumentParser) -> None:
    """The network and how it is trained."""
    parser.add_argument(
        "--model",
        choices=MODELS,
        help="perceptron, VGG-like CNN, or ResNet-20 (default: mlp for digits and mnist, else cnn)",
    )
    parser.add_argument("--layers", type=sizes, metavar="N,N", help="sizes of the mlp's hidden layers")
    parser.add_argument(
        "--width",
        type=count,
        metavar="N",
        help="channels of the cnn's or resnet's first stage (default: 16)",
    )
    parser.add_argument(
        "--size",
        type=count,
        metavar="N",
        help="side that the pictures of images are scaled and cut to (default: 64)",
    )
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="(default: adam)")
    parser.add_argument("--lr", type=rate, help="learning rate (default: by optimizer)")
    parser.add_argument(
        "--batch-size", type=batch, metavar="N", help="(default: 32 for digits and images, else 128)"
    )
    parser.add_argument(
        "--dropout",
        type=probability,
        metavar="P",
        help="probability of dropping a unit, not in the resnet (default: 0.2)",
    )
    parser.add_argument("--weight-decay", type=decay, metavar="X", help="of the weights (default: 0)")
    parser.add_argument(
        "--seed", type=int, help="of weights, shuffles, dropout, validation split (default: 0)"
    )
