"""Samples without numbers: a loader of whatever can be iterated over, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.checks import size
from xpnet.data.augment import Augmentation, Draw
from xpnet.data.collate import collate as stack_items
from xpnet.data.epochs import Epochs
from xpnet.data.stream_workers import in_workers, worker_info


@dataclass(frozen=True)
class Stream:
    """A source in parts, each read by one process: the order of its samples does not depend on how many.

    Args:
        read: `read(part)` gives the samples of one part, one by one; a function of a module, so that other
            processes find it.
        parts: whatever names them, such as file names.

    >>> from xpnet.data import Stream, StreamLoader
    >>> source = Stream(range, [2, 3])
    >>> [batch.tolist() for batch in StreamLoader(source, batch_size=4)]
    [[0, 1, 0, 1], [2]]
    """

    read: Callable[[Any], Iterable[Any]]
    parts: Sequence[Any]

    def samples(self, order: Sequence[int], worker: int, workers: int) -> Iterator[tuple[int, Any]]:
        """Those of the parts that are this worker's, with the place of the part in the order."""
        for place in range(worker, len(order), workers):
            for sample in self.read(self.parts[order[place]]):
                yield place, sample


class StreamLoader(Epochs):
    """Iterate over a source in mini-batches on the default backend; each iteration is one epoch.

    Args:
        source: a `Stream`; or anything that gives samples each time it is iterated over, such as an
            iterable data set of PyTorch: arrays, numbers, tuples or dicts of them.
        batch_size: samples a batch.
        shuffle: how many samples are held, of which the next one is drawn (PyTorch's and TensorFlow's shuffle
            buffer); the parts of a `Stream` come in random order, too. 0: in the order of the source.
        workers: processes that read; 0: this one. The source must be picklable, and a script needs
            `if __name__ == "__main__":`. More than one for a source that is no `Stream`: each iterates over
            its own copy, must ask `worker_info()` which samples are its own, and they take turns.
        drop_last: leave out the last batch if it is smaller than the others.
        seed: default: the seed given to `xpnet.manual_seed`, read when the loader is made.
        augment: changes every batch (x, y) at random, by seed, epoch and place of the sample.
        transform: applied to x of every batch (x, y) after that.
        prefetch: batches that a background thread makes ahead; 0: none.
        collate: makes a batch from a list of samples; default: they are stacked.

    Raises:
        TypeError: the source cannot be iterated over, or can only once.
        ValueError: sizes out of range.
        RuntimeError: in an iteration: a worker ended, or its copies all give all samples.

    The order depends on the seed and the epoch, with a `Stream` not on the number of workers. A resumed run
    goes on with the same bits: what came before in the epoch is read again, and passed over. With ranks, each
    takes its part of every batch.

    >>> from xpnet.data import StreamLoader
    >>> class Squares:
    ...     def __iter__(self):
    ...         return ((float(i), i * i) for i in range(5))
    >>> loader = StreamLoader(Squares(), batch_size=2, shuffle=4, seed=0)
    >>> sorted(int(v) for x, y in loader for v in y)
    [0, 1, 4, 9, 16]
    >>> loader.state_dict()
    {'seed': 0, 'epoch': 1, 'batch': 0}
    """

    def __init__(
        self,
        source: Stream | Iterable[Any],
        batch_size: int = 32,
        shuffle: int = 0,
        workers: int = 0,
        drop_last: bool = False,
        seed: int | None = None,
        augment: Augmentation | None = None,
        transform: Callable[[Any], Any] | None = None,
        prefetch: int = 0,
        collate: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        if not isinstance(source, Stream) and not isinstance(source, Iterable):
            raise TypeError(f"StreamLoader: expected a Stream or an iterable, got {type(source).__name__}")
        if isinstance(source, Iterator):
            raise TypeError(
                "StreamLoader: an iterator can be used only once; pass what makes it anew, with an __iter__"
            )
        if isinstance(shuffle, bool):
            raise TypeError("StreamLoader: shuffle is how many samples to hold, such as shuffle=1000")
        self.batch_size = size("StreamLoader", "batch_size", batch_size)
        self.shuffle = size("StreamLoader", "shuffle", shuffle, 0)
        self.workers = size("StreamLoader", "workers", workers, 0)
        self.prefetch = size("StreamLoader", "prefetch", prefetch, 0)
        self.source, self.drop_last = source, drop_last
        self.seed = random.generators[random.SHUFFLE].state[0] if seed is None else seed
        self.augment, self.transform, self.collate = augment, transform, collate
        self.rank, self.ranks = 0, 1

    def shard(self, rank: int, ranks: int) -> None:
        """Give this rank's part of every batch from now on: its samples `rank`, `rank + ranks`, ...

        Raises:
            ValueError: the rank is not below `ranks`, or a batch has fewer samples than there are ranks.
        """
        if not 0 <= rank < ranks <= self.batch_size:
            raise ValueError(
                f"StreamLoader.shard: rank {rank} of {ranks} ranks, and batches of {self.batch_size} samples"
            )
        self.rank, self.ranks = rank, ranks

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        samples = self._samples(epoch)
        try:
            for _ in islice(samples, first * self.batch_size):  # in an earlier part of the run
                pass
            number = first
            while True:
                items = list(islice(samples, self.batch_size))
                short = len(items) < self.batch_size
                if len(items) < self.ranks or not items or (short and self.drop_last):
                    return
                batch = (self.collate or stack_items)(items[self.rank :: self.ranks])
                start = number * self.batch_size
                places = np.arange(start + self.rank, start + len(items), self.ranks)
                yield self._changed(batch, epoch, places)
                number += 1
        finally:
            samples.close()

    def _samples(self, epoch: int) -> Any:
        """A generator of the samples of an epoch."""
        parts = len(self.source.parts) if isinstance(self.source, Stream) else 0
        order = list(range(parts))
        if self.shuffle and parts:
            order = random.permutation(parts, random.Key(self.seed, random.SHUFFLE, epoch)).tolist()
        samples = in_workers(self.source, order, self.workers) if self.workers else self._here(order)
        return _shuffled(samples, self.shuffle, self.seed, epoch) if self.shuffle else samples

    def _here(self, order: Sequence[int]) -> Iterator[Any]:
        if isinstance(self.source, Stream):
            yield from (sample for _, sample in self.source.samples(order, 0, 1))
        else:
            yield from self.source

    def _changed(self, batch: Any, epoch: int, places: np.ndarray) -> Any:
        if self.augment is self.transform is None:
            return batch
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise TypeError("StreamLoader: augment and transform change x of batches (x, y)")
        x, y = batch
        if self.augment is not None:
            x, y = self.augment(x, y, Draw(self.seed, epoch, places))
        return (x if self.transform is None else self.transform(x)), y

    def in_order(self, batch_size: int | None = None) -> StreamLoader:
        """The same samples in the order of the source, transformed but not augmented, from the first one."""
        return StreamLoader(
            self.source, batch_size or self.batch_size, workers=self.workers, seed=self.seed,
            transform=self.transform, collate=self.collate,
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """What the batches depend on beside seed and position, as JSON can hold it."""
        alike = isinstance(self.source, Stream) or self.workers < 2
        return {
            "source": type(self.source).__name__,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "workers": "any" if alike else self.workers,
            "augment": None if self.augment is None else type(self.augment).__name__,
        }


_DRAWS = 4096  # random numbers made at once


def _shuffled(samples: Any, held: int, seed: int, epoch: int) -> Iterator[Any]:
    """A window of samples, of which one at a time is drawn, and replaced by the next one that comes."""
    key = random.Key(seed, random.SHUFFLE, epoch)
    window: list[Any] = []
    draws, used = np.empty(0, dtype=np.int64), 0

    def draw() -> Any:
        nonlocal draws, used
        if used % _DRAWS == 0:  # beyond those of the order of the parts
            draws = random.bits(_DRAWS, key, random.HOST, 2**20 + used)
        i = int(draws[used % _DRAWS]) * len(window) >> 32
        used += 1
        window[i], window[-1] = window[-1], window[i]
        return window.pop()

    try:
        for sample in samples:
            if len(window) == held:
                yield draw()
            window.append(sample)
        while window:
            yield draw()
    finally:
        samples.close()


__all__ = ["Stream", "StreamLoader", "worker_info"]
