"""`python -m bench`: how fast xpnet is here, beside its peers and the limits of the machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    p.add_argument(
        "--only", metavar="WORDS", help="cases whose key contains one of these comma-separated words"
    )
    p.add_argument(
        "--columns", metavar="KEYS", help="comma-separated columns; default: all that can run here"
    )
    p.add_argument("--quick", action="store_true", help="the goals' sizes in few rounds, about two minutes")
    p.add_argument(
        "--threads", type=int, default=2, metavar="N", help="CPU threads for every library; default 2"
    )
    p.add_argument(
        "--avx2", action="store_true", help="tell every library to do without the instructions of AVX-512"
    )
    p.add_argument("--rounds", type=int, metavar="N", help="rounds a case; default 9, or 5 with --quick")
    p.add_argument(
        "--busy",
        type=int,
        metavar="N",
        help="measure each case idle and beside N load processes; default 0, or 1 with --save",
    )
    p.add_argument(
        "--patient", action="store_true", help="for a machine that others use: take interrupted turns again"
    )
    p.add_argument("--list", action="store_true", help="list cases and columns, and stop")
    p.add_argument("--json", type=Path, metavar="FILE", help="write machine, versions and raw rounds")
    p.add_argument(
        "--save", action="store_true", help="write them into bench/results/, named by device and date"
    )
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw FILE-ratios.png and FILE-cost.png")
    p.add_argument(
        "--compare", type=Path, metavar="OLD", help="flag regressions beyond the noise; exit code 1"
    )
    p.add_argument(
        "--with", dest="new", type=Path, metavar="NEW", help="compare or plot this file, measure nothing"
    )
    p.add_argument(
        "--tolerance", type=float, default=0.1, help="slower by this share is a regression; default 0.1"
    )
    p.add_argument(
        "--history", action="store_true", help="show the results in bench/results/ by device, and stop"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        The exit code: 0; 1 for a column that failed, a wrong result or a regression; 2 for a wrong option.
    """
    options = parser().parse_args(argv)
    if options.threads < 1 or (options.rounds is not None and options.rounds < 1):
        print("bench: --threads and --rounds must be at least 1", file=sys.stderr)
        return 2
    if options.busy is not None and options.busy < 0:
        print("bench: --busy must be at least 0", file=sys.stderr)
        return 2
    from bench.run import execute

    try:
        return execute(options)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
