"""Data-parallel training: the same model on every rank, each with its share of every batch."""

from xpnet.parallel.batch_norm import all_reduce, synchronize_batch_norm
from xpnet.parallel.communicator import Communicator, MPICommunicator, NCCLCommunicator, connect


def __getattr__(name: str) -> object:
    """What trains loads on first use: the Trainer itself needs this package."""
    if name in ("RankDifference", "compare_ranks"):
        from xpnet.diagnostics import ranks as parity

        return getattr(parity, name)
    raise AttributeError(f"module 'xpnet.parallel' has no attribute {name!r}")


__all__ = [
    "Communicator",
    "MPICommunicator",
    "NCCLCommunicator",
    "RankDifference",
    "all_reduce",
    "compare_ranks",
    "connect",
    "synchronize_batch_norm",
]
