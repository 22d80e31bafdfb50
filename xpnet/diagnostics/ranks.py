"""Whether several ranks give the result of one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import nn, optim
from xpnet.core.convert import to_numpy
from xpnet.core.random import forked
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.functional import cross_entropy
from xpnet.parallel.batch_norm import synchronize_batch_norm
from xpnet.parallel.communicator import Communicator
from xpnet.train.trainer import Trainer

LIMITS = {"float64": 1e-12, "float32": 1e-5}
"""What another order of additions explains, relative to the largest parameter of each array."""


@dataclass(frozen=True)
class RankDifference:
    """The largest difference of the trained parameters and buffers, over the largest of each array."""

    network: str
    dtype: str
    error: float

    @property
    def limit(self) -> float:
        """How large it may be."""
        return LIMITS[self.dtype]

    @property
    def ok(self) -> bool:
        """Whether the ranks agree with one process."""
        return self.error <= self.limit


def compare_ranks(
    communicator: Communicator, epochs: int = 1, batch_size: int = 60, seed: int = 0
) -> list[RankDifference]:
    """Train on digits with all ranks and with this process alone, and compare the two models.

    Args:
        communicator: of the ranks; each calls this.
        epochs: of 1797 samples.
        batch_size: of all ranks together.
        seed: of weights and batches.

    Returns:
        The same on every rank: networks with synchronised batch norm and without, in float64 and float32.

    Raises:
        ValueError: a batch has fewer samples than there are ranks.

    >>> from xpnet.parallel import Communicator, compare_ranks
    >>> [d.error for d in compare_ranks(Communicator())]
    [0.0, 0.0, 0.0, 0.0]
    """
    found = []
    for norm in (False, True):
        for dtype in LIMITS:
            ours, alone = (
                _train(group, dtype, norm, epochs, batch_size, seed)
                for group in (communicator, Communicator())
            )
            error = max(float(np.abs(ours[k] - alone[k]).max() / np.abs(alone[k]).max()) for k in alone)
            name = "linear, batch norm, ReLU, linear" if norm else "linear, ReLU, linear"
            found.append(RankDifference(name, dtype, communicator.largest(error)))
    return found


def _train(
    communicator: Communicator, dtype: str, norm: bool, epochs: int, batch_size: int, seed: int
) -> dict[str, Any]:
    with forked(seed):
        return _trained(communicator, dtype, norm, epochs, batch_size, seed)


def _trained(
    communicator: Communicator, dtype: str, norm: bool, epochs: int, batch_size: int, seed: int
) -> dict[str, Any]:
    digits = load_digits()
    data = Dataset((to_numpy(digits.x) / 16).astype(dtype), digits.y)
    layers: list[nn.Module] = [nn.Linear(64, 32, dtype=dtype)]
    if norm:
        layers.append(nn.BatchNorm1d(32, dtype=dtype))
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, 10, dtype=dtype))
    if norm:
        synchronize_batch_norm(model, communicator)
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    trainer = Trainer(model, cross_entropy, optimizer, communicator=communicator, verbose=False)
    trainer.fit(DataLoader(data, batch_size, seed=seed), epochs=epochs)
    return {name: to_numpy(a) for name, a in model.state_dict().items()}
