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
from pathlib import Path
from typing import Any, NoReturn

from xpnet import __version__
from xpnet.cli.config import expanded
from xpnet.cli.errors import BAD_INPUT, FAILED, OK, BadInputError, holding_warnings
from xpnet.cli.files import refuse_empty_names
from xpnet.cli.help import Help, nearest
from xpnet.cli.signals import said
from xpnet.core.reading import printable

COMMANDS = {
    "train": "train a network and save it",
    "search": "look for good settings",
    "predict": "apply a saved network",
    "generate": "go on with a text",
    "runs": "compare the runs of train --run NAME",
    "report": "write a page about a saved network",
    "serve": "try a saved network in the browser",
    "doctor": "examine data, network and optimizer before training",
    "export": "write a saved network as an ONNX file",
    "parity": "compare two backends",
    "lab": "reproduce the decks' experiments",
    "info": "versions, backends, devices, kernels",
    "complete": "make a shell complete commands and options",
}


class _Parser(argparse.ArgumentParser):
    """An error is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            words = () if action.option_strings else ("--help",)
            hint = nearest(str(value), [*(action.choices or ()), *words])
            if action.dest == "dataset" and Path(str(value)).is_dir():
                hint = f"; pictures are trained on by: xpnet train images {value}"
            elif action.dest == "dataset" and (Path(str(value)).is_file() or "." in str(value)):
                hint = f"; a table is trained on by: xpnet train table {value}"
            raise argparse.ArgumentError(action, error.message + hint) from None


class _CommandParser(_Parser):
    """Knows a command's options once it has to parse some."""

    def filled(self) -> Any:
        """Add the command's options; its module."""
        module = import_module(f"xpnet.cli.{self.prog.split()[-1]}")
        self.add_argument("-h", "--help", action=Help, help="this, or what the options of a group do")
        module.add_options(self)
        refuse_empty_names(self)
        return module

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = self.filled()
        self.set_defaults(**module.Settings.defaults())
        args = expanded(args, self)
        self._refuse_unknown(args)
        options = (self._option_string_actions.get(word.split("=")[0]) for word in args)
        self.set_defaults(given=tuple({option.dest: None for option in options if option is not None}))
        found = super().parse_known_args(args, namespace)
        if found[1]:
            self._refuse_extra(args, found[1][0])
        earlier = module.earlier_options(found[0]) if hasattr(module, "earlier_options") else {}
        if not earlier:
            return found
        self.set_defaults(**earlier)  # what is not given is as it was in the run that is resumed
        return super().parse_known_args(args, namespace)

    def _refuse_extra(self, args: Sequence[str], word: str) -> NoReturn:
        """A word too many, which may be meant as the value of the option before it."""
        before = args[args.index(word) - 1] if word in args[1:] else ""
        action = self._option_string_actions.get(before)
        taken = action is not None and action.nargs == 0
        self.error(f"{word!r} is a word too many{f': {before} takes no value' if taken else ''}")

    def _refuse_unknown(self, args: Sequence[str]) -> None:
        """Before their values are taken for something else."""
        known = self._option_string_actions
        for word in args:
            option = word.split("=")[0]
            if option == "--":
                return
            if option.startswith("--") and option not in known:
                self.error(f"unrecognized arguments: {word}{nearest(option, known)}")


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = _Parser(prog="xpnet", description="Train neural networks on NumPy and CuPy.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"xpnet {__version__}")
    commands = top.add_subparsers(
        dest="command", required=True, parser_class=_CommandParser, metavar="COMMAND"
    )
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, allow_abbrev=False, add_help=False)
    return top


def whole_parser() -> argparse.ArgumentParser:
    """All commands with their options, which each of them adds otherwise once it is given."""
    top = parser()
    for action in top._actions:
        for command in getattr(action, "choices", None) or ():
            action.choices[command].filled()  # type: ignore[index]
            for option in action.choices[command]._actions:  # type: ignore[index]
                option.choices = None if option.choices is None else list(option.choices)
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
    if not words:
        parser().print_help()
        return OK
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
        file = getattr(options, "file", None)
        if file is not None:
            if any(word == "--path" or word.startswith("--path=") for word in words):
                raise BadInputError(f"the path is given twice: {file} and --path {options.path}")
            options.path, options.file = file, None
        for word in words:
            if word.startswith(("http://", "https://")):
                raise BadInputError(f"{word}: files are read from this machine: download it first")
        warnings.formatwarning = lambda message, *_, **__: (
            f"xpnet {options.command}: warning: {printable(message)}\n"
        )
        command = import_module(f"xpnet.cli.{options.command}")
        with holding_warnings():
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
