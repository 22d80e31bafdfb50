"""The all-reduce of the gradient, begun while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xpnet.core.backend import Array, dtype_name, named_dtype
from xpnet.core.backward import on_complete
from xpnet.core.places import backend_of, namespace
from xpnet.core.recording import on_host, works_on_host
from xpnet.core.tensor import Tensor
from xpnet.nn.flat import Span, spans
from xpnet.parallel.communicator import CHUNK, Communicator
from xpnet.parallel.shards import Shards


class Reducer:
    """Sums the gradients of all ranks, a chunk of neighbouring parameters at a time.

    Where ranks share the moments of the optimizer, each needs the sums of its part only.

    Args:
        parameters: of the model, on every rank in the same order.
        communicator: of the ranks.
        chunk: elements from which a chunk is sent.
        shards: who needs which part; default: all need all.

    The backward pass reaches the last layer first. As soon as every parameter of a chunk has its gradient,
    the chunk is on its way, and the walk goes on with the layers below (Li et al., 2020, "PyTorch
    Distributed"). In a captured step (`xpnet.capture`) on CUDA that is a branch of the graph, joined to it
    where the block ends; on NumPy the chunks leave there, in the same order.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        communicator: Communicator,
        chunk: int = CHUNK,
        shards: Shards | None = None,
    ) -> None:
        self.parameters, self.communicator, self.chunk = list(parameters), communicator, chunk
        self.shards = shards
        self._rounded: list[tuple[Array, Array]] = []  # gradients, and what is on its way in their place

    @contextmanager
    def during_backward(self) -> Iterator[None]:
        """Reduce the gradients that `backward` makes inside the block; after it they are sums of all."""
        waiting, ready = self._chunks(), list[Span]()
        send = ready.append if works_on_host() else self._send
        chunk_of = {id(p): key for key, span in waiting.items() for p in span.parameters}
        missing = {key: len(span.parameters) for key, span in waiting.items()}

        def complete(leaf: Tensor) -> None:
            key = chunk_of.get(id(leaf))
            if key is not None:
                missing[key] -= 1
                if not missing[key]:
                    send(waiting.pop(key))

        with on_complete(complete):
            yield
        for span in waiting.values():  # with parameters that no gradient has reached
            send(span)
        self._finish(ready)

    @on_host
    def _finish(self, ready: list[Span]) -> None:
        """Send what has been left, and wait for all."""
        for span in ready:
            self._send(span)
        self._wait()

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
        if span.flat is not None and self.shards is not None:
            for rank, start, stop in self.shards.parts(span.flat, span.start, span.stop):
                self._start(span.flat.grads[start:stop], rank)
        elif span.flat is not None or span.parameters[0]._filled:
            self._start(span.grads)

    def _start(self, gradients: Array, root: int | None = None) -> None:
        to = () if root is None else (root,)  # a communicator of one's own may know no owners
        dtype = self.communicator.gradients
        if dtype is None or dtype_name(gradients.dtype) != "float32":
            self.communicator.start(gradients, *to)
            return
        low = namespace(gradients).astype(gradients, named_dtype(dtype, backend_of(gradients)))
        self._rounded.append((gradients, low))
        self.communicator.start(low, *to)

    def _wait(self) -> None:
        self.communicator.wait()
        for gradients, low in self._rounded:
            gradients[...] = namespace(low).astype(low, gradients.dtype)
        self._rounded = []
