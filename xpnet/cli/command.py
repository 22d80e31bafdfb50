"""Options and exit codes."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from xpnet import __version__
from xpnet.cli.data import SOURCES
from xpnet.cli.errors import BAD_INPUT, FAILED, INTERRUPTED, BadInputError
from xpnet.cli.model import MODELS
from xpnet.core.backend import BACKENDS
from xpnet.optim.by_name import OPTIMIZERS


class _Parser(argparse.ArgumentParser):
    """An error is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


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


_count = _number(int, "a whole number of at least 1", lambda n: n >= 1)
_batch = _number(int, "a whole number of at least 2, since batch norm needs two samples", lambda n: n >= 2)
_updates = _number(int, "a whole number of at least 10", lambda n: n >= 10)
_steps = _number(int, "a whole number of at least 0", lambda n: n >= 0)
_rate = _number(float, "a number above 0", lambda x: x > 0)
_decay = _number(float, "a number of at least 0", lambda x: x >= 0)
_probability = _number(float, "a probability of at least 0 and below 1", lambda p: 0 <= p < 1)


def _layers(text: str) -> list[int]:
    sizes = [part.strip() for part in text.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected sizes such as 64,32, got {text!r}")
    return [int(size) for size in sizes]


def _pair(text: str) -> list[int]:
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(n.isdecimal() and int(n) > 0 for n in numbers):
        raise argparse.ArgumentTypeError(f"expected two whole numbers such as 60,30, got {text!r}")
    return [int(n) for n in numbers]


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = _Parser(prog="xpnet", description="Train neural networks on NumPy and CuPy.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"xpnet {__version__}")
    commands = top.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a network and save it",
        allow_abbrev=False,
        description="Train a network with batch norm on pictures, and print its test accuracy.",
    )
    train.add_argument("dataset", nargs="?", choices=SOURCES, help="the data (default: digits)")
    _data_options(train)
    _network_options(train)
    train.add_argument(
        "--augment",
        choices=("none", "standard"),
        default="none",
        help="standard: random crops of padded pictures, mirrored except for digits (default: none)",
    )
    train.add_argument(
        "--schedule", choices=("cosine", "constant"), default="cosine", help="(default: cosine)"
    )
    train.add_argument(
        "--epochs", type=_count, help="epochs at most (default: 50 for digits, 10 for mnist, else 30)"
    )
    train.add_argument(
        "--patience",
        type=_count,
        default=15,
        metavar="N",
        help="stop after N epochs without a better validation loss or accuracy (default: 15)",
    )
    train.add_argument(
        "--monitor",
        choices=("loss", "accuracy"),
        default="loss",
        help="which of the two; the weights of its best epoch are kept (default: loss)",
    )
    train.add_argument(
        "--parallel",
        action="store_true",
        help="train on all ranks: mpiexec -n 2 python -m xpnet train digits --parallel",
    )
    train.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="with --parallel: batch norm over the batches of all ranks, not of each",
    )
    train.add_argument(
        "--checkpoint", metavar="FILE", help="keep the state of the run here, to resume it after a crash"
    )
    train.add_argument(
        "--checkpoint-every", type=_count, metavar="N", help="epochs between two checkpoints (default: 1)"
    )
    train.add_argument(
        "--resume",
        metavar="FILE",
        help="go on from a checkpoint of the same options; kept up to date unless --checkpoint is given",
    )
    train.add_argument(
        "--save", metavar="FILE", help="the model (default: DATA.safetensors; none: do not save)"
    )
    train.add_argument(
        "--plot", metavar="FILE", help="curves, .png .svg .pdf or .csv (default: DATA.png; none: do not plot)"
    )
    train.add_argument(
        "--grid",
        metavar="FILE",
        help="picture of some training samples (default: DATA-samples.png for cifar10 and images)",
    )
    train.add_argument(
        "--preview",
        metavar="FILE",
        help="picture of what --augment does (default: DATA-augmented.png, with --augment)",
    )
    train.add_argument("--json", metavar="FILE", help="settings, history, test accuracy, confusion matrix")
    train.add_argument(
        "--report",
        metavar="FILE.html",
        help="a page about the run: curves, confusion matrix, worst mistakes, activations, diagnostics",
    )

    search = commands.add_parser(
        "search",
        help="look for good settings",
        allow_abbrev=False,
        description="Random search for the settings of a perceptron: many short trials, then longer ones in "
        "the ranges of the best; prints the `xpnet train` command of the winner. The test set is not used.",
    )
    search.add_argument("dataset", nargs="?", choices=SOURCES, help="the data (default: digits)")
    _data_options(search)
    search.add_argument(
        "--trials", type=_pair, default=[60, 30], metavar="N,N", help="coarse and fine (default: 60,30)"
    )
    search.add_argument(
        "--epochs", type=_pair, default=[5, 20], metavar="N,N", help="of each of them (default: 5,20)"
    )
    search.add_argument(
        "--workers", type=_count, default=2, metavar="N", help="processes; same results (default: 2)"
    )
    search.add_argument(
        "--seed", type=int, default=0, help="of the settings, and of every trial's training (default: 0)"
    )
    search.add_argument(
        "--executor",
        metavar="NAME",
        help="instead of processes here: mpi (in mpiexec), dask, or dask:ADDRESS of a scheduler",
    )
    search.add_argument("--journal", metavar="FILE", help="keep finished trials here, at once")
    search.add_argument("--resume", action="store_true", help="go on with the trials in the journal")
    search.add_argument("--plot", metavar="FILE", help="parallel coordinates and scatter plots, a picture")
    search.add_argument("--json", metavar="FILE", help="all trials, ranges and the best settings")

    predict = commands.add_parser(
        "predict",
        help="apply a saved network",
        allow_abbrev=False,
        description="Apply a saved network to new samples, or to the test set of the data it was trained on.",
    )
    predict.add_argument("model", metavar="FILE", help="a model that `xpnet train` saved")
    _data_options(predict)
    predict.add_argument(
        "--input",
        metavar="FILE",
        help="samples as the training data are scaled: .npy, .npz, or .csv, one a line; or a picture",
    )
    predict.add_argument("--output", metavar="FILE", help="write every prediction as CSV")

    doctor = commands.add_parser(
        "doctor",
        help="examine data, network and optimizer before training",
        allow_abbrev=False,
        description="Examine data, network and optimizer: a line for each diagnostic, and advice; "
        "exit code 1 if one fails.",
    )
    doctor.set_defaults(augment="none")
    doctor.add_argument("dataset", nargs="?", choices=SOURCES, help="the data (default: digits)")
    _data_options(doctor)
    _network_options(doctor)
    doctor.add_argument(
        "--steps",
        type=_updates,
        default=200,
        metavar="N",
        help="updates of the short training run (default: 200)",
    )
    doctor.add_argument("--json", metavar="FILE", help="the findings")

    export = commands.add_parser(
        "export",
        help="write a saved network as an ONNX file",
        allow_abbrev=False,
        description="Write a saved network, its preprocessing included, as an ONNX file, for onnxruntime and "
        "others; it takes samples as the training data are scaled.",
    )
    export.add_argument("model", metavar="FILE", help="a model that `xpnet train` or xpnet.save saved")
    export.add_argument("output", metavar="ONNX", help="the file to write")
    export.add_argument(
        "--probabilities", action="store_true", help="end with a softmax (default: the scores)"
    )
    export.add_argument(
        "--shape", type=_layers, metavar="N,N", help="of a sample (default: as the file says)"
    )

    parity = commands.add_parser(
        "parity",
        help="compare two backends",
        allow_abbrev=False,
        description="Run a network's layers, the random draws and a training run on two backends; "
        "exit code 1 if something differs by more than the order of additions explains.",
    )
    parity.add_argument("--model", choices=("mlp", "cnn"), default="mlp", help="(default: mlp)")
    parity.add_argument(
        "--backends", metavar="A,B", help="the two (default: numpy and the best other one that works here)"
    )
    parity.add_argument(
        "--steps", type=_steps, default=200, metavar="N", help="of the training run (default: 200)"
    )
    parity.add_argument("--batch-size", type=_batch, default=64, metavar="N", help="(default: 64)")
    parity.add_argument("--seed", type=int, default=0, help="of weights, batches, dropout (default: 0)")
    parity.add_argument(
        "--ranks",
        action="store_true",
        help="instead, compare the ranks of this mpiexec with one process: mpiexec -n 2 xpnet parity --ranks",
    )
    parity.add_argument("--json", metavar="FILE", help="every difference")

    lab = commands.add_parser(
        "lab",
        help="reproduce the decks' experiments",
        allow_abbrev=False,
        description="List the experiments, or run one of them, or all: the deck's figures, ours and the "
        "exact ones; exit code 1 if one differs.",
    )
    lab.add_argument("name", nargs="?", metavar="NAME", help="an experiment, or all (default: list them)")
    lab.add_argument("--out", metavar="DIR", help="write a page with every picture and table")
    _backend_options(lab)

    info = commands.add_parser("info", help="versions, backends, devices, kernels", allow_abbrev=False)
    info.add_argument("--json", action="store_true", help="print JSON")
    return top


def _network_options(command: argparse.ArgumentParser) -> None:
    """The network and how it is trained."""
    command.add_argument(
        "--model",
        choices=MODELS,
        help="perceptron, VGG-like CNN, or ResNet-20 (default: mlp for digits and mnist, else cnn)",
    )
    command.add_argument("--layers", type=_layers, metavar="N,N", help="sizes of the mlp's hidden layers")
    command.add_argument(
        "--width",
        type=_count,
        default=16,
        metavar="N",
        help="channels of the cnn's or resnet's first stage (default: 16)",
    )
    command.add_argument(
        "--size",
        type=_count,
        metavar="N",
        help="side that the pictures of images are scaled and cut to (default: 64)",
    )
    command.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="(default: adam)")
    command.add_argument("--lr", type=_rate, help="learning rate (default: by optimizer)")
    command.add_argument(
        "--batch-size", type=_batch, metavar="N", help="(default: 32 for digits and images, else 128)"
    )
    command.add_argument(
        "--dropout",
        type=_probability,
        default=0.2,
        metavar="P",
        help="probability of dropping a unit, not in the resnet (default: 0.2)",
    )
    command.add_argument(
        "--weight-decay", type=_decay, default=0.0, metavar="X", help="of the weights (default: 0)"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of weights, shuffles, dropout, validation split (default: 0)"
    )


def _data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", choices=SOURCES, help="the data, as an option")
    command.add_argument(
        "--path", metavar="DIR", help="the folder or the tar file with the data, for all but digits"
    )
    _backend_options(command)


def _backend_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--backend", choices=BACKENDS, default="numpy", help="where to compute (default: numpy)"
    )
    command.add_argument("--device", help="a device of that backend, such as 0 for cupy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        0, 1 if training failed or backends differ, 2 for bad input, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the console cannot show must not end a run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parser().parse_args(argv)
        options.argv = list(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse has printed its line
        return int(stop.code or 0)
    try:
        return _run(options)
    except BadInputError as error:
        return _fail(options, str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _fail(options, "interrupted; nothing was written", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(options: argparse.Namespace) -> int:
    if options.command == "train":
        from xpnet.cli.train import train

        return train(options)
    if options.command == "search":
        from xpnet.cli.search import search

        return search(options)
    if options.command == "predict":
        from xpnet.cli.predict import predict

        return predict(options)
    if options.command == "doctor":
        from xpnet.cli.doctor import doctor

        return doctor(options)
    if options.command == "export":
        from xpnet.cli.export import export

        return export(options)
    if options.command == "parity":
        from xpnet.cli.parity import parity

        return parity(options)
    if options.command == "lab":
        from xpnet.cli.lab import lab

        return lab(options)
    from xpnet.cli.info import info

    return info(options)


def _fail(options: argparse.Namespace, message: str, code: int) -> int:
    print(f"xpnet {options.command}: error: {message}", file=sys.stderr)
    return code
