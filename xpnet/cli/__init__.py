"""The command line: `xpnet train`, `xpnet predict`, `xpnet parity`, `xpnet info`."""

from xpnet.cli.command import main

__all__ = ["main"]
