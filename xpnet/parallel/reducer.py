"""The all-reduce of the gradient, begun while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xpnet.core.backward import on_complete
from xpnet.core.tensor import Tensor
from xpnet.nn.flat import Span, spans
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
        chunk_of = {id(p): key for key, span in waiting.items() for p in span.parameters}
        missing = {key: len(span.parameters) for key, span in waiting.items()}

        def complete(leaf: Tensor) -> None:
            key = chunk_of.get(id(leaf))
            if key is not None:
                missing[key] -= 1
                if not missing[key]:
                    self._send(waiting.pop(key))

        with on_complete(complete):
            yield
        for span in waiting.values():  # with parameters that no gradient has reached
            self._send(span)
        self.communicator.wait()

    def _chunks(self) -> dict[int, Span]:
        """Spans of together at least `chunk` elements; a parameter on a backend without views alone."""
        number, size, last = -1, self.chunk, None

        def together(p: Tensor) -> int:
            nonlocal number, size, last
            if size >= self.chunk or p._flat is not last:
                number, size, last = number + 1, 0, p._flat
            size += p.size
            return number

        return dict(enumerate(spans(self.parameters, together)))

    def _send(self, span: Span) -> None:
        if span.flat is not None or span.parameters[0]._filled:
            self.communicator.start(span.grads)
