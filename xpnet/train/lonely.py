"""A batch of one sample and batch norm do not go together; said before an epoch is trained in vain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xpnet.core import random
from xpnet.core.op import no_grad
from xpnet.data import DataLoader
from xpnet.data.batch import call
from xpnet.nn.inference import keeping_modes
from xpnet.nn.normalization import BatchNorm
from xpnet.train.modes import train_but


def check_last_batch(model: Any, data: Any, asleep: Iterable[Any] = ()) -> None:
    """Refuse batches that leave one sample for the last, where batch norm cannot use it.

    One sample is enough for a layer that has many positions, so one is passed through the model to find out;
    nothing else about the model changes. The modules of `asleep` stay in evaluation mode, as in training.

    Raises:
        ValueError: saying how many samples there are and what to do.
    """
    if not isinstance(data, DataLoader) or data.drop_last or data.sampler is not None or data.ranks > 1:
        return
    samples, size = len(data.dataset), data.batch_size
    if samples % size != 1 % size or not any(isinstance(layer, BatchNorm) for layer in model.modules()):
        return
    if _refuses(model, data, asleep):
        remedy = f"DataLoader(train, {size}, drop_last=True)" if samples > size > 1 else "a larger batch size"
        raise ValueError(
            f"Trainer.fit: {samples} samples in batches of {size} leave one for the last batch, and batch "
            f"norm needs two or more values a channel; pass {remedy}, or another batch size"
        )


def _refuses(model: Any, data: DataLoader, asleep: Iterable[Any]) -> bool:
    """Whether batch norm refuses one sample in training; other errors are for training to show."""
    state = model.state_dict()
    try:
        with keeping_modes(model), no_grad(), random.forked():
            train_but(model, asleep)
            call(model, data.first())
    except Exception as error:  # whatever a user's layers raise
        return str(error).startswith("batch_norm: training needs")
    finally:
        model.load_state_dict(state)
    return False
