"""Whether the ranks' models are still one: a checksum of the weights, every so many updates."""

from __future__ import annotations

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.nn.flat import spans
from xpnet.nn.module import Module
from xpnet.parallel.communicator import Communicator
from xpnet.parallel.leaving import RanksDifferError

EVERY = 100
"""Updates between two looks."""


class Replicas:
    """Compares the ranks' weights.

    Args:
        model: of this rank.
        communicator: of the ranks; all of them look after the same updates.
        every: updates between two looks.

    Each rank puts the sum of its weights in its place of a vector, which one all-reduce completes. On CUDA it
    is written to page-locked memory, where the host finds it later: nobody waits. Sums are made in float64:
    a change of one float32 by its last bit shows among millions, of a float64 one of 1e-12.
    """

    def __init__(self, model: Module, communicator: Communicator, every: int = EVERY) -> None:
        self.model, self.communicator, self.every = model, communicator, every
        self.agreed = 0  # the last update after which they did
        self._noted: int | None = None  # the update that the vector under way is of
        self._host: np.ndarray | None = None
        self._device: Array = None

    def look(self, step: int) -> None:
        """After an update: compare, if it is time.

        Raises:
            RanksDifferError: the weights differ, here or at an earlier look.
        """
        if step % self.every == 0:
            self.send(step)

    def check(self) -> None:
        """Compare what has arrived.

        Raises:
            RanksDifferError: naming the ranks and the updates between which they parted.
        """
        if self._noted is None or self._host is None or self._host[-1] != self._noted:
            return
        sums, step, self._noted = self._host[:-1], self._noted, None
        same = (sums == sums[0]) | (np.isnan(sums) & np.isnan(sums[0]))
        if not same.all():
            others = ", ".join(map(str, np.flatnonzero(~same)))
            raise RanksDifferError(
                f"the weights of rank {others} are not those of rank 0 after update {step} (after update "
                f"{self.agreed} they were): what changes weights, a callback, a step or a hook, must do the "
                "same on every rank"
            )
        self.agreed = step

    def send(self, step: int) -> None:
        """Send the sum of the weights on its way to all, and compare those that have arrived.

        Raises:
            RanksDifferError: as `look` does.
        """
        self.check()
        values = [span.values for span in spans(self.model)]
        place, xp = backend_of(values[0]), namespace(*values)
        total = sum(xp.sum(xp.astype(v, xp.float64, copy=False)) for v in values)
        mine = np.arange(self.communicator.size + 1) == self.communicator.rank
        vector = xp.where(asarray(mine, backend=place), total, xp.zeros_like(total))
        self.communicator.all_reduce(vector)
        self._noted = step
        if place.name == "cupy":
            if self._host is None:
                host, device = xp.page_locked(len(mine))
                self._host, self._device = host.view(np.float64), device.view(np.float64)
            self._device[...] = vector
            self._device[-1] = step  # after the sums: the device works in order
        else:
            self._host = np.append(to_numpy(vector)[:-1], step)
            self.check()
