"""Gradients of several batches and ranks added up, so that the sum is that of one large batch.

Batches weigh differently: by their samples, or by what their losses say (`xpnet.functional.weighing`). Each
gradient is added in units of the first batch of the update, and the sum is divided when the last is there.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.core.autograd import Tensor
from xpnet.core.backend import Array, namespace
from xpnet.functional.weighing import Weight, added_up, ratio, times
from xpnet.optim.gradients import gradients_of
from xpnet.parallel.reducer import Reducer

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Accumulation:
    """The batches that the next update is made of.

    Args:
        run: whose model, `accumulate` and communicator.
    """

    def __init__(self, run: Run) -> None:
        self.weights: list[Weight] = []  # of all ranks, of each batch
        self.alone = (
            run.accumulate == run.communicator.size == 1
        )  # one batch is one update: its mean is right
        self.reducer = None
        if run.communicator.size > 1:
            self.reducer = Reducer(run.model.parameters(), run.communicator)
        self.reduced = False  # whether the gradients are sums over all ranks already

    def add(self, run: Run, loss: Tensor, mine: Weight) -> tuple[Array, Any]:
        """Add the gradient of a batch's loss; the mean of that loss over all ranks, and its weight."""
        weights = self.weights
        mine, weight = (mine, mine) if self.alone else _of_all_ranks(run, mine)
        unit = weights[0].losses if weights else weight.losses
        part = 1 if self.alone else mine.total / unit
        seed = part if run.scaler is None else part * run.scaler.scale
        plain = not hasattr(seed, "dtype") and seed == 1
        gradient = None if plain else times(namespace(loss.data).ones_like(loss.data), seed)
        last = len(weights) + 1 == run.accumulate
        self.reduced = self.reducer is not None and last
        with self.reducer.during_backward() if self.reducer is not None and last else nullcontext():
            loss.backward(gradient)
        value = loss.data
        if run.communicator.size > 1:
            value = run.communicator.mean(times(value, ratio(mine.total, weight.total)), 1.0)
        term = value if self.alone else times(value, weight.total / unit)
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
        for gradient in gradients_of(run.model):
            gradient *= (
                factor if isinstance(factor, float) else namespace(factor).astype(factor, gradient.dtype)
            )


def _of_all_ranks(run: Run, mine: Weight) -> tuple[Weight, Weight]:
    """This rank's weight of a batch, and that of all ranks together."""
    mine = Weight(added_up(mine.total), mine.losses)
    if run.communicator.size == 1:
        return mine, mine
    host = np.asarray([float(mine.total), mine.losses])  # on the host: ranks may differ in who has arrays
    total, count = run.communicator.total(host).tolist()
    return Weight(host[0].item(), mine.losses), Weight(total, int(count))
