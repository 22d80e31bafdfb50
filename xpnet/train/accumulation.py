"""Gradients of several batches and ranks added up, so that the sum is that of one large batch.

Batches weigh differently: by their samples, or by what their losses say (`xpnet.functional.weighing`). Each
gradient is added in units of the first batch of the update, and the sum is divided when the last is there.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.places import backend_name, backend_of, device, namespace
from xpnet.core.recording import on_host
from xpnet.core.tensor import Tensor
from xpnet.functional.weighing import Weight, added_up, ratio, times
from xpnet.optim.gradients import gradients_of
from xpnet.parallel.communicator import Communicator
from xpnet.parallel.reducer import Reducer
from xpnet.train.run import Run


class Accumulation:
    """The batches that the next update is made of.

    Args:
        run: whose model, `accumulate` and communicator.
        read: whether something reads the gradients between `backward` and the step.
    """

    def __init__(self, run: Run, read: bool = False) -> None:
        self.weights: list[Weight] = []  # of all ranks, of each batch
        self.single = run.accumulate == 1
        # one batch is one update: its mean is right
        self.alone = self.single and run.communicator.size == 1
        self.reducer = None
        if run.communicator.size > 1:
            shards = None if read else getattr(run.optimizer, "shards", None)
            self.reducer = Reducer(run.model.parameters(), run.communicator, shards=shards)

    def add(self, run: Run, loss: Tensor, mine: Weight) -> tuple[Array, Any]:
        """Add the gradient of a batch's loss; the mean of that loss over all ranks, and its weight."""
        weights = self.weights
        if self.alone:
            loss.backward(None if run.scaler is None else run.scaler.seed(loss.data))
            weights.append(mine)
            run.loss_value, run.loss_weight = loss.data, mine.total
            return loss.data, mine.total
        mine, weight = of_all_ranks(run.communicator, mine, loss.data)
        unit = weights[0].losses if weights else weight.losses
        if self.single:  # in units of the sum itself there is nothing to divide in the end
            unit = _one_for_none(weight.total, unit)
        part = mine.total / unit
        seed = _seed(loss, part) if run.scaler is None else run.scaler.seed(loss.data, part)
        last = len(weights) + 1 == run.accumulate
        with self.reducer.during_backward() if self.reducer and last else nullcontext():
            loss.backward(seed)
        value = loss.data
        if run.communicator.size > 1:
            value = run.communicator.mean(times(value, ratio(mine.total, weight.total)), 1.0)
        term = times(value, weight.total / unit)
        run.loss_value = run.loss_value + term if weights else term
        run.loss_weight = run.loss_weight + weight.total if weights else weight.total
        weights.append(weight)
        return value, weight.total

    def reduce(self, run: Run) -> None:
        """Add up over the ranks what `add` has not: an epoch ended before the update was full."""
        if self.reducer is not None and len(self.weights) < run.accumulate:
            for gradient in gradients_of(run.model):
                run.communicator.all_reduce(gradient)

    def average(self, run: Run) -> None:
        """Make means of the gradients and the loss; the next batch begins another update."""
        first, *_ = self.weights
        self.weights = []
        if self.single:
            return
        factor = ratio(first.losses, run.loss_weight)
        if isinstance(factor, float) and factor == 1:
            return
        run.loss_value = times(run.loss_value, factor)
        _multiply(run.model, factor)


@on_host  # in a step on NumPy: the vector of the gradients is not among the arrays that it is written down by
def _multiply(model: Any, factor: Any) -> None:
    for gradient in gradients_of(model):
        gradient *= factor if isinstance(factor, float) else namespace(factor).astype(factor, gradient.dtype)


def _seed(loss: Tensor, factor: Any) -> Array | None:
    """The gradient of `factor` times the loss with respect to the loss; None, which is quicker, for 1."""
    if not hasattr(factor, "dtype") and factor == 1:
        return None
    return times(namespace(loss.data).ones_like(loss.data), factor)


def _one_for_none(total: Any, otherwise: Any) -> Any:
    """The total; where it is 0, something else that is not."""
    if not hasattr(total, "dtype"):
        return total or otherwise
    xp = namespace(total)
    return xp.where(total == 0, xp.astype(xp.asarray(otherwise), total.dtype), total)


def of_all_ranks(group: Communicator, mine: Weight, loss: Array) -> tuple[Weight, Weight]:
    """This rank's weight of a batch, and that of all ranks together.

    Arrays where a captured step may read them: the other ranks' numbers change without this rank's.
    """
    mine, place = Weight(added_up(mine.total), mine.losses), backend_name(loss)
    if group.size == 1:
        return mine, mine
    if place == "cupy" and group.capturable:
        both = _on_device(mine, loss)
        group.all_reduce(both)
        return mine, Weight(both[0], both[1])
    # on the host: ranks may differ in who has arrays
    own, both = _on_host(mine.total, mine.losses, group)
    if place == "numpy":
        return Weight(own[0], mine.losses), Weight(both[0], both[1])
    return Weight(own[0].item(), mine.losses), Weight(both[0].item(), int(both[1]))


@on_host
def _on_host(total: Any, losses: Any, group: Communicator) -> tuple[np.ndarray, np.ndarray]:
    own = np.asarray([float(total), losses])
    return own, np.asarray(group.total(own))


def _on_device(weight: Weight, loss: Array) -> Array:
    """(2,) total and number of losses, in float64, without a copy from the host."""
    xp = namespace(loss)
    fill = lambda n: xp.full((), n, dtype=xp.float64, device=device(loss))
    place = lambda n: asarray(n, backend=backend_of(loss)) if hasattr(n, "dtype") else fill(n)
    return xp.stack([xp.astype(place(n), xp.float64) for n in weight])
