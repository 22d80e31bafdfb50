"""Data-parallel training: the same model on every rank, each with its share of every batch."""

from xpnet.parallel.batch_norm import all_reduce, synchronize_batch_norm
from xpnet.parallel.communicator import Communicator, MPICommunicator, NCCLCommunicator, connect

__all__ = [
    "Communicator",
    "MPICommunicator",
    "NCCLCommunicator",
    "all_reduce",
    "connect",
    "synchronize_batch_norm",
]
