"""The commands, each in a module of its own, and exit codes.

A module `xpnet.cli.NAME` has `add_options(parser)`, the record `Settings` that they fill, and
`run(settings)`, which gives the exit code. It is imported when its command is given.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from xpnet import __version__
from xpnet.cli.errors import BAD_INPUT, FAILED, BadInputError
from xpnet.cli.files import refuse_empty_names
from xpnet.cli.signals import said
from xpnet.core.reading import printable

COMMANDS = {
    "train": "train a network and save it",
    "search": "look for good settings",
    "predict": "apply a saved network",
    "doctor": "examine data, network and optimizer before training",
    "export": "write a saved network as an ONNX file",
    "parity": "compare two backends",
    "lab": "reproduce the decks' experiments",
    "info": "versions, backends, devices, kernels",
}


class _Parser(argparse.ArgumentParser):
    """An error is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class _CommandParser(_Parser):
    """Knows a command's options once it has to parse some."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = import_module(f"xpnet.cli.{self.prog.split()[-1]}")
        module.add_options(self)
        refuse_empty_names(self)
        self.set_defaults(**module.Settings.defaults())
        found = super().parse_known_args(args, namespace)
        earlier = module.earlier_options(found[0]) if hasattr(module, "earlier_options") else {}
        if not earlier:
            return found
        self.set_defaults(**earlier)  # what is not given is as it was in the run that is resumed
        return super().parse_known_args(args, namespace)


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = _Parser(prog="xpnet", description="Train neural networks on NumPy and CuPy.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"xpnet {__version__}")
    commands = top.add_subparsers(
        dest="command", required=True, parser_class=_CommandParser, metavar="COMMAND"
    )
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, allow_abbrev=False)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        0, 1 if training failed or backends differ, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the console cannot show must not end a run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # its remarks on damaged pictures
    words = list(sys.argv[1:] if argv is None else argv)
    several = words[:1] == ["train"] or "--ranks" in words
    group = import_module("xpnet.cli.parallel").joined() if several else None
    code = _run(words, group)
    if group is not None and code:
        group.abort(code)
    return code


def _run(words: list[str], group: Any) -> int:
    """Run a command, which several ranks may do together; the exit code."""
    before = warnings.formatwarning
    try:
        options = parser().parse_args(words)
        options.argv = tuple(words)
        warnings.formatwarning = lambda message, *_, **__: (
            f"xpnet {options.command}: warning: {printable(message)}\n"
        )
        command = import_module(f"xpnet.cli.{options.command}")
        return int(command.run(command.Settings.of(options)))
    except SystemExit as stop:  # argparse has printed its line
        return int(stop.code or 0)
    except BadInputError as error:
        if group is not None:
            group.let_rank_0_speak()
        return _fail(words[0], str(error), BAD_INPUT)
    except KeyboardInterrupt as stop:
        code, word = said(stop)
        return _fail(words[0], f"{word}; nothing was written", code)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    finally:
        warnings.formatwarning = before


def _fail(command: str, message: str, code: int) -> int:
    print(f"xpnet {command}: error: {printable(message)}", file=sys.stderr)
    return code
