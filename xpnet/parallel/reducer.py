"""The all-reduce of the gradient, begun while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xpnet.core.autograd import Tensor, on_complete
from xpnet.core.backend import Array
from xpnet.nn.parameter import gather, runs
from xpnet.parallel.communicator import CHUNK, Communicator


class Reducer:
    """Sums the gradients of all ranks, a chunk of neighbouring parameters at a time.

    Args:
        parameters: of the model, on every rank in the same order.
        communicator: of the ranks.
        chunk: elements from which a chunk is sent.

    The backward pass reaches the last layer first. As soon as every parameter of a chunk has its gradient,
    the chunk is on its way, and the walk goes on with the layers below (Li et al., 2020, "PyTorch
    Distributed").
    """

    def __init__(self, parameters: Sequence[Tensor], communicator: Communicator, chunk: int = CHUNK) -> None:
        self.parameters, self.communicator, self.chunk = list(parameters), communicator, chunk

    @contextmanager
    def during_backward(self) -> Iterator[None]:
        """Reduce the gradients that `backward` makes inside the block; after it they are sums of all."""
        waiting = self._chunks()
        chunk_of = {id(p): key for key, members in waiting.items() for p in members}
        missing = {key: len(members) for key, members in waiting.items()}

        def complete(leaf: Tensor) -> None:
            key = chunk_of.get(id(leaf))
            if key is not None:
                missing[key] -= 1
                if not missing[key]:
                    self._send(waiting.pop(key))

        with on_complete(complete):
            yield
        for members in waiting.values():  # with parameters that no gradient has reached
            self._send(members)
        self.communicator.wait()

    def _chunks(self) -> dict[int, list[Tensor]]:
        """Neighbours in an arena, together at least `chunk` elements; a parameter without one alone."""
        gather(self.parameters)
        found: dict[int, list[Tensor]] = {}
        for run in runs(self.parameters):
            size = self.chunk
            for p in run.parameters:
                if size >= self.chunk:
                    found[len(found)], size = [], 0
                found[len(found) - 1].append(p)
                size += p.size
        return found

    def _send(self, members: list[Tensor]) -> None:
        for array in _gradient(members):
            self.communicator.start(array)


def _gradient(members: list[Tensor]) -> list[Array]:
    """The gradient of neighbours as one vector; of a parameter without an arena, its own if there is one."""
    first, last = members[0], members[-1]
    if first._arena is not None:
        return [first._arena.grad[first._offset : last._offset + last.size]]
    return [first._grad] if first._filled and first._grad is not None else []
