"""Mini-batches in a random order that seed and epoch determine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array, asarray, backend_of, get_backend
from xpnet.data.augment import Augmentation, Draw
from xpnet.data.dataset import Dataset, take
from xpnet.data.prefetch import PinnedBuffers, prefetched


class Sampler(Protocol):
    """Which samples an epoch has, in which order; see `xpnet.data.samplers`."""

    def order(self, epoch: int) -> np.ndarray:
        """Their indices, integers on the host."""


class DataLoader:
    """Iterate over a data set in mini-batches (x, y) on the default backend; each iteration is one epoch.

    Args:
        dataset: a Dataset.
        batch_size: samples a batch.
        shuffle: a new random order each epoch (deck S4); otherwise the order of the data set.
        drop_last: leave out the last batch if it is smaller than the others.
        replacement: draw every sample independently, so that some come twice and some not at all (deck S1);
            an epoch still has as many draws as the data set has samples.
        seed: default: the seed given to `xpnet.manual_seed`, read when the loader is made.
        sampler: chooses samples and order instead of shuffle and replacement.
        augment: changes every batch at random (`xpnet.data.augment`), by seed, epoch and sample.
        transform: applied to x of every batch after that, such as the `transform` of preprocessing.
        prefetch: how many batches a background thread prepares ahead; 0: none. The order stays the same. On
            CUDA they are copied from pinned memory, which does not wait for the device.

    Raises:
        ValueError: the batch size is below 1, or drop_last leaves no batch.
        TypeError: `dataset` is not a Dataset.

    The order depends on the seed and the epoch alone, not on the backend. Labels go to the device with the
    samples: a loss that had to fetch them would wait. A data set that is on the device already (see
    `Dataset.to_backend`) is read there.

    >>> from xpnet.data import DataLoader, load_digits
    >>> loader = DataLoader(load_digits(), batch_size=256, seed=0)
    >>> [len(y) for x, y in loader]
    [256, 256, 256, 256, 256, 256, 256, 5]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 32,
        shuffle: bool = True,
        drop_last: bool = False,
        replacement: bool = False,
        seed: int | None = None,
        sampler: Sampler | None = None,
        augment: Augmentation | None = None,
        transform: Callable[[Array], Array] | None = None,
        prefetch: int = 0,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"DataLoader: expected a Dataset, got {type(dataset).__name__}; make one with Dataset(x, y)"
            )
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if prefetch < 0:
            raise ValueError(f"DataLoader: prefetch must be at least 0, got {prefetch}")
        if drop_last and batch_size > len(dataset):
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: {len(dataset)} samples, batch_size {batch_size}"
            )
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.shuffle, self.replacement = shuffle, replacement
        self.seed = random.generators[random.SHUFFLE].state[0] if seed is None else seed
        self.sampler, self.augment, self.transform, self.prefetch = sampler, augment, transform, prefetch
        self.rank, self.ranks = 0, 1
        self.epoch = self.batch = 0  # of the next batch
        self._resuming = False

    def __len__(self) -> int:
        """The number of batches in an epoch; with a sampler, in the next one."""
        order = self.order(self.epoch) if self.sampler is not None else None
        return self._count(len(self.dataset) if order is None else len(order))

    def _count(self, samples: int) -> int:
        full, rest = divmod(samples, self.batch_size)
        return full + (rest >= self.ranks and rest > 0 and not self.drop_last)

    def shard(self, rank: int, ranks: int) -> None:
        """Give this rank's part of every batch from now on: its samples `rank`, `rank + ranks`, ...

        The parts of all ranks together are the batches that one rank alone would see, in the same order, so
        the position of a checkpoint is good for any number of ranks. A last batch that has fewer samples than
        there are ranks is left out.

        Raises:
            ValueError: the rank is not below `ranks`, or a batch has fewer samples than there are ranks.
        """
        if not 0 <= rank < ranks:
            raise ValueError(f"DataLoader.shard: rank {rank} of {ranks} ranks")
        if self.batch_size < ranks:
            raise ValueError(
                f"DataLoader.shard: a batch of {self.batch_size} samples is too small for {ranks} ranks; "
                f"batch_size is that of all ranks together"
            )
        self.rank, self.ranks = rank, ranks

    def order(self, epoch: int) -> np.ndarray | None:
        """The indices of an epoch, (n,) int64; None: the order of the data set."""
        if self.sampler is not None:
            return self.sampler.order(epoch)
        n, key = len(self.dataset), random.Key(self.seed, random.SHUFFLE, epoch)
        if self.replacement:
            return random.integers(n, n, key)
        return random.permutation(n, key) if self.shuffle else None

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        if self.batch and not self._resuming:  # the last iteration was broken off: begin a new epoch
            self.epoch, self.batch = self.epoch + 1, 0
        self._resuming = False
        batches = self._batches(self.epoch, self.batch)
        if self.prefetch:
            batches = prefetched(batches, self.prefetch)
        for batch in batches:
            self.batch += 1
            yield batch
        self.epoch, self.batch = self.epoch + 1, 0

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Array, Array]]:
        """The batches of an epoch from number `first` on."""
        x, y, size = self.dataset.x, self.dataset.y, self.batch_size
        order = self.order(epoch)
        n = len(self.dataset) if order is None else len(order)
        # the whole order moves at once, to where each array is
        orders = [order if order is None else asarray(order, backend=backend_of(a)) for a in (x, y)]
        on_host = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
        stay = on_host and str(get_backend()) == "numpy"
        buffers = PinnedBuffers(self.prefetch + 2) if self.prefetch and PinnedBuffers.useful(x, y) else None
        for i in range(first, self._count(n)):
            part: Any = slice(i * size + self.rank, min((i + 1) * size, n), self.ranks)
            samples = np.arange(part.start, part.stop, part.step) if order is None else order[part]
            if buffers is not None:
                batch_x, batch_y = buffers.move(x, y, samples)
            else:
                batch_x, batch_y = (
                    a[part, ...] if indices is None else take(a, indices[part])
                    for a, indices in zip((x, y), orders, strict=True)
                )
                if not stay:
                    batch_x, batch_y = asarray(batch_x), asarray(batch_y)
            if self.augment is not None:
                batch_x, batch_y = self.augment(batch_x, batch_y, Draw(self.seed, epoch, samples))
            if self.transform is not None:
                batch_x = self.transform(batch_x)
            yield batch_x, batch_y

    def in_order(self, batch_size: int | None = None) -> DataLoader:
        """The same samples, each once and in the order of the data set, transformed but not augmented.

        For measuring: iterating over it does not move this loader on.
        """
        return DataLoader(
            self.dataset,
            batch_size or self.batch_size,
            shuffle=False,
            seed=self.seed,
            transform=self.transform,
        )

    def settings(self) -> dict[str, Any]:
        """What the batches depend on beside seed and position, as JSON can hold it."""
        return {
            "samples": len(self.dataset),
            "shape": list(self.dataset.x.shape[1:]),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "replacement": self.replacement,
            "sampler": None if self.sampler is None else type(self.sampler).__name__,
            "augment": None if self.augment is None else type(self.augment).__name__,
        }

    def state_dict(self) -> dict[str, Any]:
        """Seed and position (epoch, and batches of it that have been handed out); the sampler's state."""
        state: dict[str, Any] = {"seed": self.seed, "epoch": self.epoch, "batch": self.batch}
        save = getattr(self.sampler, "state_dict", None)
        if save is not None:
            state["sampler"] = save()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position that `state_dict` gave: the next iteration goes on with the batch after it."""
        self.seed, self.epoch, self.batch = (int(state[k]) for k in ("seed", "epoch", "batch"))
        self._resuming = True
        load = getattr(self.sampler, "load_state_dict", None)
        if load is not None and "sampler" in state:
            load(state["sampler"])
