"""Gradients of several batches and ranks added up, so that the sum is that of one large batch.

Batches weigh differently: by their samples, or by what their losses say (`xpnet.functional.weighing`). Each
gradient is added in units of the first batch of the update, and the sum is divided when the last is there.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.recording import on_host
from xpnet.core.tensor import Tensor
from xpnet.functional.weighing import Weight, added_up, ratio, times
from xpnet.optim.gradients import gradients_of
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
        # one batch is one update: its mean is right
        self.alone = run.accumulate == run.communicator.size == 1
        self.reducer = None
        if run.communicator.size > 1:
            shards = None if read else getattr(run.optimizer, "shards", None)
            self.reducer = Reducer(run.model.parameters(), run.communicator, shards=shards)
        self.reduced = False  # whether the gradients are sums over all ranks already

    def add(self, run: Run, loss: Tensor, mine: Weight) -> tuple[Array, Any]:
        """Add the gradient of a batch's loss; the mean of that loss over all ranks, and its weight."""
        weights = self.weights
        if self.alone:
            loss.backward(None if run.scaler is None else run.scaler.seed(loss.data))
            weights.append(mine)
            run.loss_value, run.loss_weight = loss.data, mine.total
            return loss.data, mine.total
        mine, weight = _of_all_ranks(run, mine)
        unit = weights[0].losses if weights else weight.losses
        part = mine.total / unit
        seed = _seed(loss, part) if run.scaler is None else run.scaler.seed(loss.data, part)
        self.reduced = self.reducer is not None and len(weights) + 1 == run.accumulate
        with self.reducer.during_backward() if self.reducer and self.reduced else nullcontext():
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
        if self.reducer is not None and not self.reduced:
            for gradient in gradients_of(run.model):
                run.communicator.all_reduce(gradient)

    def average(self, run: Run) -> None:
        """Make means of the gradients and the loss; the next batch begins another update."""
        first, *_ = self.weights
        self.weights = []
        if self.alone:
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


def _of_all_ranks(run: Run, mine: Weight) -> tuple[Weight, Weight]:
    """This rank's weight of a batch, and that of all ranks together."""
    mine = Weight(added_up(mine.total), mine.losses)
    if run.communicator.size == 1:
        return mine, mine
    host = np.asarray([float(mine.total), mine.losses])  # on the host: ranks may differ in who has arrays
    total, count = run.communicator.total(host).tolist()
    return Weight(host[0].item(), mine.losses), Weight(total, int(count))
