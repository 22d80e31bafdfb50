"""The command line: `xpnet --help` lists the commands."""

from xpnet.cli.command import main

__all__ = ["main"]
