"""The command line: `xpnet train`, `xpnet predict`, `xpnet info`."""

from xpnet.cli.command import main

__all__ = ["main"]
