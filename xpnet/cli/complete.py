"""`xpnet complete`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module

from xpnet.cli.errors import OK, BadInputError
from xpnet.cli.settings import Settings as Base

SHELLS = ("bash", "zsh", "tcsh")


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet complete`."""

    shell: str = "bash"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet complete`."""
    parser.description = (
        "Print what a shell needs to complete commands and options; in ~/.bashrc: "
        'eval "$(xpnet complete bash)".'
    )
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="(default: bash)")


def run(settings: Settings) -> int:
    """Print it; the exit code."""
    try:
        import shtab
    except ImportError:
        raise BadInputError('completion needs shtab: pip install "xpnet[completion]"') from None
    whole = import_module("xpnet.cli.command").whole_parser()
    print(shtab.complete(whole, settings.shell))
    return OK
