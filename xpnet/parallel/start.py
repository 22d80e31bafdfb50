"""How ranks begin: with the same model, and with dropout masks of their own."""

from __future__ import annotations

from xpnet.core import random
from xpnet.nn.flat import spans
from xpnet.nn.module import Module
from xpnet.parallel.communicator import Communicator


def same_start(model: Module, communicator: Communicator) -> None:
    """Give every rank rank 0's parameters and buffers."""
    if communicator.size == 1:
        return
    for span in spans(model):
        communicator.broadcast(span.values)
    same_buffers(model, communicator)
    random.split_by_rank(communicator.rank)


def same_buffers(model: Module, communicator: Communicator) -> None:
    """Give every rank rank 0's buffers, such as the running statistics of batch norm."""
    if communicator.size > 1:
        for _, buffer in model.named_buffers():
            communicator.broadcast(buffer.data)
