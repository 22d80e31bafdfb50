"""Mini-batches in a random order that seed and epoch determine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.checks import size
from xpnet.data.arrays import Arrays
from xpnet.data.augment import Augmentation, Draw
from xpnet.data.collate import collate as stack_items
from xpnet.data.dataset import Dataset
from xpnet.data.epochs import Epochs
from xpnet.data.shards import Shards
from xpnet.data.source import Samples, check_samples, columns_of, items_of, rows_of


class Sampler(Protocol):
    """Which samples an epoch has, in which order; see `xpnet.data.samplers`."""

    def order(self, epoch: int) -> np.ndarray:
        """Their indices, integers on the host."""


class DataLoader(Epochs):
    """Iterate over a data set in mini-batches on the default backend; each iteration is one epoch.

    Args:
        dataset: a Dataset, in batches (x, y); `Arrays`, in batches of their structure; or anything with
            `__len__` and `__getitem__(index)`, such as a list of pairs or a map-style data set of PyTorch, in
            batches of the structure of its items: tuples, dicts, arrays or numbers. The first two are faster:
            their rows are taken by one call.
        batch_size: samples a batch.
        shuffle: a new random order each epoch (deck S4); otherwise the order of the data set.
        drop_last: leave out the last batch if it is smaller than the others.
        replacement: draw every sample independently, so that some come twice and some not at all (deck S1);
            an epoch still has as many draws as the data set has samples.
        seed: default: the seed given to `xpnet.manual_seed`, read when the loader is made.
        sampler: chooses samples and order instead of shuffle and replacement.
        augment: changes every batch at random (`xpnet.data.augment`), by seed, epoch and sample.
        transform: applied to x of every batch (x, y) after that, such as the `transform` of preprocessing.
        prefetch: how many batches a background thread prepares ahead; 0: none. The order stays the same. On
            CUDA they are copied from pinned memory, which does not wait for the device.
        collate: makes a batch from a list of items, of a data set of your own; default: arrays and numbers
            are stacked, in each place of tuples and dicts.

    Raises:
        ValueError: the batch size is below 1, there are no samples, or drop_last leaves no batch.
        TypeError: `dataset` has no samples by number.

    The order depends on the seed and the epoch alone, not on the backend. Labels go to the device with the
    samples: a loss that had to fetch them would wait. A data set that is on the device already (see
    `Dataset.to_backend`) is read there.

    >>> from xpnet.data import DataLoader, load_digits
    >>> loader = DataLoader(load_digits(), batch_size=256, seed=0)
    >>> [len(y) for x, y in loader]
    [256, 256, 256, 256, 256, 256, 256, 5]
    >>> pairs = [{"left": i, "right": i * 0.5, "label": i % 2} for i in range(6)]
    >>> next(iter(DataLoader(pairs, batch_size=3, shuffle=False)))["right"]
    array([0. , 0.5, 1. ], dtype=float32)
    """

    def __init__(
        self,
        dataset: Samples,
        batch_size: int = 32,
        shuffle: bool = True,
        drop_last: bool = False,
        replacement: bool = False,
        seed: int | None = None,
        sampler: Sampler | None = None,
        augment: Augmentation | None = None,
        transform: Callable[[Array], Array] | None = None,
        prefetch: int = 0,
        collate: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        check_samples(dataset)
        batch_size = size("DataLoader", "batch_size", batch_size)
        prefetch = size("DataLoader", "prefetch", prefetch, 0)
        if drop_last and batch_size > len(dataset):
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: {len(dataset)} samples, batch_size {batch_size}"
            )
        # whoever knows that it is a Dataset may ask it for more
        self.dataset: Any = dataset
        self.batch_size, self.drop_last, self.collate = batch_size, drop_last, collate
        self.shuffle, self.replacement = shuffle, replacement
        self.seed = random.generators[random.SHUFFLE].state[0] if seed is None else seed
        self.sampler, self.augment, self.transform, self.prefetch = sampler, augment, transform, prefetch
        self.rank, self.ranks = 0, 1

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

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        """The batches of an epoch from number `first` on."""
        size, order = self.batch_size, self.order(epoch)
        n = len(self.dataset) if order is None else len(order)
        gather = self._gather(order)
        for i in range(first, self._count(n)):
            part = slice(i * size + self.rank, min((i + 1) * size, n), self.ranks)
            samples = np.arange(part.start, part.stop, part.step) if order is None else order[part]
            batch = gather(part, samples)
            yield batch if self.augment is self.transform is None else self._changed(batch, epoch, samples)

    def _gather(self, order: np.ndarray | None) -> Any:
        if isinstance(self.dataset, Dataset):
            return rows_of(self.dataset, order, self.prefetch)
        if isinstance(self.dataset, Arrays):
            return columns_of(self.dataset, order)
        if isinstance(self.dataset, Shards):
            return self.dataset.gather
        return items_of(self.dataset, stack_items if self.collate is None else self.collate)

    def _changed(self, batch: Any, epoch: int, samples: np.ndarray) -> Any:
        """The batch (x, y) augmented and transformed."""
        if not isinstance(batch, tuple) or len(batch) != 2:
            kind = f"tuples of {len(batch)}" if isinstance(batch, tuple) else f"{type(batch).__name__}s"
            raise TypeError(
                f"DataLoader: augment and transform change x of batches (x, y), this data set gives {kind}; "
                "change the samples in its __getitem__, or in collate="
            )
        x, y = batch
        if self.augment is not None:
            x, y = self.augment(x, y, Draw(self.seed, epoch, samples))
        return (x if self.transform is None else self.transform(x)), y

    def first(self, samples: int = 1) -> Any:
        """The first samples of the data set as a batch, transformed but not augmented."""
        loader = self.in_order(min(samples, len(self.dataset)))
        return next(loader._batches(0, 0))

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
            collate=self.collate,
        )

    def settings(self) -> dict[str, Any]:
        """What the batches depend on beside seed and position, as JSON can hold it."""
        data = self.dataset
        return {
            "samples": len(data),
            "shape": list(data.x.shape[1:]) if isinstance(data, Dataset) else type(data).__name__,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "replacement": self.replacement,
            "sampler": None if self.sampler is None else type(self.sampler).__name__,
            "augment": None if self.augment is None else type(self.augment).__name__,
        }

    def state_dict(self) -> dict[str, Any]:
        """Seed and position (epoch, and batches of it that have been handed out); the sampler's state."""
        state = super().state_dict()
        save = getattr(self.sampler, "state_dict", None)
        if save is not None:
            state["sampler"] = save()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position that `state_dict` gave: the next iteration goes on with the batch after it."""
        super().load_state_dict(state)
        load = getattr(self.sampler, "load_state_dict", None)
        if load is not None and "sampler" in state:
            load(state["sampler"])
