"""Data-parallel training: the same model on every rank, each with its part of every batch."""

from importlib import import_module

from xpnet.parallel.batch_norm import all_reduce, synchronize_batch_norm
from xpnet.parallel.communicator import Communicator, MPICommunicator, NCCLCommunicator, connect
from xpnet.parallel.leaving import RanksDifferError, end_together
from xpnet.parallel.shards import shard_optimizer


def __getattr__(name: str) -> object:
    """What compares trained ranks loads on first use: the Trainer itself needs this package."""
    if name in ("RankDifference", "compare_ranks"):
        return getattr(import_module("xpnet.diagnostics.ranks"), name)
    raise AttributeError(f"module 'xpnet.parallel' has no attribute {name!r}")


__all__ = [
    "Communicator",
    "MPICommunicator",
    "NCCLCommunicator",
    "RankDifference",
    "RanksDifferError",
    "all_reduce",
    "compare_ranks",
    "connect",
    "end_together",
    "shard_optimizer",
    "synchronize_batch_norm",
]
