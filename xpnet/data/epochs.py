"""What every loader of mini-batches does: epoch after epoch, from a position that can be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xpnet.data.prefetch import prefetched


class Epochs:
    """Batches by `_batches(epoch, first)`, which a loader has; each iteration is one epoch.

    Attributes:
        seed: of the order and of augmentation.
        prefetch: batches that a background thread makes ahead; 0: none.
        epoch: of the next batch.
        batch: number of the next batch in it.
    """

    seed: int
    prefetch: int
    epoch = 0
    batch = 0
    _resuming = False

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        """The batches of an epoch from number `first` on."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        if self.batch and not self._resuming:  # the last iteration was broken off: begin a new epoch
            self.epoch, self.batch = self.epoch + 1, 0
        self._resuming = False
        batches = self._batches(self.epoch, self.batch)
        if self.prefetch:
            batches = prefetched(batches, self.prefetch, self)
        for batch in batches:
            self.batch += 1
            yield batch
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Seed and position: the epoch, and how many batches of it have been handed out."""
        return {"seed": self.seed, "epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position that `state_dict` gave: the next iteration goes on with the batch after it."""
        self.seed, self.epoch, self.batch = (int(state[k]) for k in ("seed", "epoch", "batch"))
        self._resuming = True
