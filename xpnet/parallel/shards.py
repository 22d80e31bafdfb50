"""One optimizer for several ranks: each has the moments of a part of the parameters, and updates that part.

All parameters are one vector, so the part is a slice (Rajbhandari et al., 2020, "ZeRO", stage 1). The
gradient of each part is summed where it is needed, and the new weights go from there to all: together these
are the bytes of one all-reduce.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xpnet.core.backend import Array
from xpnet.core.places import backend_of
from xpnet.nn.flat import ALIGNMENT, FlatParameters, has_views
from xpnet.optim.moments import common, members_of
from xpnet.parallel.communicator import Communicator

if TYPE_CHECKING:
    from xpnet.optim import Optimizer


class Shards:
    """The slices of a vector, one a rank, and how they come together.

    Args:
        communicator: of the ranks.
    """

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self._waited_for = False  # whether the others wait to be asked

    def ask(self) -> None:
        """Before the state of all ranks comes together: call those that wait for this."""
        if self._waited_for:
            self.communicator.broadcast_object(True)

    @contextmanager
    def serving(self, optimizer: Optimizer) -> Iterator[None]:
        """What rank 0 does inside may ask for the optimizer's state; the others wait after the block."""
        if self.communicator.is_main:
            self._waited_for = True
            try:
                yield
            finally:
                self._waited_for = False
                self.communicator.broadcast_object(False)
            return
        yield
        while self.communicator.broadcast_object(None):
            optimizer.state_dict()

    def part(self, flat: FlatParameters) -> tuple[int, int]:
        """This rank's (start, stop): all are of one length but the last, and begin at aligned elements."""
        return self._part(flat, self.communicator.rank)

    def _part(self, flat: FlatParameters, rank: int) -> tuple[int, int]:
        n = int(flat.values.shape[0])
        each = -(-n // self.communicator.size)
        each = -(-each // ALIGNMENT) * ALIGNMENT
        return min(rank * each, n), min((rank + 1) * each, n)

    def parts(self, flat: FlatParameters, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Who updates what of a piece: (rank, start, stop)."""
        for rank in range(self.communicator.size):
            a, b = common((start, stop), self._part(flat, rank))
            if a < b:
                yield rank, a, b

    def complete(self, flat: FlatParameters, array: Array, start: int = 0) -> None:
        """Give every rank the parts that the others have.

        Args:
            flat: the vector.
            array: like it, or like a piece of it.
            start: where the piece begins.
        """
        with self.communicator.grouped():
            for rank, a, b in self.parts(flat, start, start + int(array.shape[0])):
                self.communicator.broadcast(array[a - start : b - start], rank)


def shard_optimizer(optimizer: Optimizer, communicator: Communicator) -> Optimizer:
    """Let each rank keep the moments of a part of the parameters, and update that part (ZeRO, stage 1).

    n ranks then need 1/n of the memory for moments (and for the float32 copies of 16-bit parameters), and
    each makes 1/n of the update. The weights are those of an optimizer that is not shared: to the bit with
    two ranks, else up to the order in which the ranks' gradients are added.

    Args:
        optimizer: changed in place, and returned; its rule updates each element by itself, as all but LAMB,
            Muon, Adafactor, LBFGS, the schedule-free rules, Lookahead and SAM do. A rule of your own says so
            by `elementwise = True`.
        communicator: of the ranks. `step`, `state_dict`, `load_state_dict` and copies are for all of them
            together; in a `Trainer`, whose checkpoints are as without it, that is seen to.

    Raises:
        TypeError: it is no optimizer, or the rule needs whole parameters.
        ValueError: it has transforms (`optim.chain`), which need whole gradients; or the parameters are on a
            backend without views.

    >>> from xpnet import nn, optim, parallel
    >>> group, model = parallel.connect(), nn.Linear(8, 4)
    >>> optimizer = parallel.shard_optimizer(optim.Adam(model), group)
    """
    kind = type(optimizer).__name__
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(f"shard_optimizer: expected an optimizer, such as optim.Adam(model), got {kind}")
    if not getattr(optimizer, "elementwise", False):
        raise TypeError(
            f"shard_optimizer: {kind} needs whole parameters, or does not say that it updates each element "
            "by itself (elementwise = True in the class); take optim.AdamW, say"
        )
    if optimizer.transforms:
        name = type(optimizer.transforms[0]).__name__
        raise ValueError(
            f"shard_optimizer: {name} of chain(...) needs whole gradients, a rank has the sum of its part; "
            "pass a callback to the Trainer, such as GradientClipping"
        )
    first: Any = members_of(optimizer.param_groups)[0].data
    if not has_views(backend_of(first)):
        raise ValueError(f"shard_optimizer: the parameters are on {backend_of(first)}, which has no views")
    if communicator.size > 1:
        optimizer.divide_among(Shards(communicator))
    return optimizer
