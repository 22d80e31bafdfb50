"""What the commands' options share: the types of values, groups of options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.cli.data import SOURCES
from xpnet.cli.model import INITS, MODELS
from xpnet.cli.settings import Interval
from xpnet.core.backend import BACKENDS
from xpnet.data.columns import POLICIES, TEXTS
from xpnet.data.target import TASKS
from xpnet.data.vocabulary import LEVELS
from xpnet.nn.models import ACTIVATIONS
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


def probabilities(text: str) -> float | tuple[float, ...]:
    """A probability, or several between commas."""
    found = tuple(probability(part) for part in text.split(","))
    return found if len(found) > 1 else float(found[0])


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
        raise argparse.ArgumentTypeError(
            f"expected two whole numbers, of the coarse and of the fine search, such as 60,30, got {text!r}"
        )
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
    group = parser.add_argument_group("machine")
    group.add_argument("--backend", choices=BACKENDS, help="where to compute (default: numpy)")
    group.add_argument("--device", help="a device of that backend, such as 0 for cupy")


def columns(text: str) -> tuple[str, ...]:
    """Names or numbers of columns between commas."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected names of columns such as age,city, got {text!r}")
    return found


def delimiter(text: str) -> str:
    """One character, or its name."""
    known = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
    mark = known.get(text, text)
    if len(mark) != 1 or mark == '"':
        raise argparse.ArgumentTypeError(f"expected one character, tab or space, got {text!r}")
    return mark


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How a table of text is read."""
    group = parser.add_argument_group(
        "reading", "how a table, or a text, is written; default: as it says itself"
    )
    group.add_argument("--delimiter", type=delimiter, metavar="MARK", help="one of , ; | tab space ...")
    group.add_argument("--decimal", choices=(".", ","), help="the decimal mark")
    group.add_argument("--encoding", metavar="NAME", help="utf-8, cp1252, ...")
    group.add_argument("--header", choices=("yes", "no"), help="whether the first line names the columns")


def add_table(parser: argparse.ArgumentParser) -> None:
    """What is learned from a table."""
    group = parser.add_argument_group("tables")
    group.add_argument("--target", metavar="COLUMN", help="the column to predict, by name or number")
    group.add_argument(
        "--task", choices=TASKS, help="what the target is (default: text is classes, fractions are amounts)"
    )
    group.add_argument("--missing", choices=POLICIES, help="what to do with missing values (default: refuse)")
    group.add_argument("--text", choices=TEXTS, help="columns of very many different texts (default: ask)")
    group.add_argument(
        "--categories", type=columns, metavar="COL,COL", help="columns whose numbers are only names"
    )
    group.add_argument("--drop", type=columns, metavar="COL,COL", help="columns to leave out")
    add_reading(parser)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which data, and where to compute."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", choices=SOURCES, help="the data, as an option")
    group.add_argument("--path", metavar="DIR", help="the file or folder with the data, for all but digits")
    add_backend(parser)


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The same, with the name of the data and their path as arguments, too."""
    parser.add_argument("dataset", nargs="?", choices=SOURCES, help="the data (default: digits)")
    parser.add_argument("file", nargs="?", metavar="PATH", help="where they are: the same as --path")
    parser.add_argument(
        "--config", metavar="FILE", help="options from a TOML file; those that are given prevail"
    )
    add_data(parser)
    add_table(parser)


def add_network(parser: argparse.ArgumentParser) -> Any:
    """The network and how it is trained; the group of the latter."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        choices=MODELS,
        help="of classes: perceptron, VGG-like CNN, ResNet-20, a shallow wide ResNet, vision transformer; of "
        "pictures given back: autoencoder, vae; of text: gpt, lstm (default: mlp for digits and mnist, gpt "
        "for text, else cnn)",
    )
    group.add_argument(
        "--layers", type=sizes, metavar="N,N", help="sizes of the mlp's, or an encoder's, hidden layers"
    )
    group.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        metavar="NAME",
        help=f"of the mlp's hidden layers: {', '.join(ACTIVATIONS)} (default: relu)",
    )
    group.add_argument("--no-batch-norm", action="store_true", help="in the mlp")
    group.add_argument(
        "--init",
        choices=INITS,
        metavar="RULE",
        help=f"how weights are drawn: {', '.join(INITS)}; small: deviation 0.01 (default: what suits the "
        "activation)",
    )
    group.add_argument(
        "--width",
        type=count,
        metavar="N",
        help="channels of the cnn's or resnet's first stage (default: 16; resnet9: 64); features of vit, "
        "gpt, lstm (default: 64, 128, 256)",
    )
    group.add_argument("--depth", type=count, metavar="N", help="layers of vit, gpt, lstm (default: 4, 4, 2)")
    group.add_argument("--heads", type=count, metavar="N", help="of the attention (default: 4)")
    group.add_argument(
        "--latent", type=count, metavar="N", help="numbers of an autoencoder's code (default: 8)"
    )
    group.add_argument("--context", type=count, metavar="N", help="tokens of a window of text (default: 128)")
    group.add_argument("--tokens", choices=LEVELS, help="of text (default: character)")
    group.add_argument(
        "--size",
        type=count,
        metavar="N",
        help="side that the pictures of images are scaled and cut to (default: 64, less if they are smaller)",
    )
    group.add_argument(
        "--skip-damaged", action="store_true", help="leave out pictures of images that cannot be read"
    )
    group = parser.add_argument_group("training")
    group.add_argument(
        "--optimizer", choices=OPTIMIZERS, metavar="NAME", help=f"{', '.join(OPTIMIZERS)} (default: adam)"
    )
    group.add_argument("--lr", type=rate, help="learning rate (default: by optimizer)")
    group.add_argument(
        "--batch-size", type=batch, metavar="N", help="(default: 32 for digits and images, else 128)"
    )
    group.add_argument(
        "--dropout",
        type=probabilities,
        metavar="P",
        help="of dropping a unit, not in resnets and autoencoders; in mlp also P,P, one a hidden layer "
        "(default: 0.2 in mlp and cnn, 0.1 for text, else 0)",
    )
    group.add_argument("--weight-decay", type=decay, metavar="X", help="of the weights (default: 0)")
    group.add_argument(
        "--label-smoothing",
        type=probability,
        metavar="X",
        help="the part of each target that all classes share; losses are of such targets (default: 0)",
    )
    group.add_argument(
        "--seed", type=int, help="of weights, shuffles, dropout, validation split (default: 0)"
    )
    return group
