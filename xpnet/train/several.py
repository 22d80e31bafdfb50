"""Losses of several outputs, and of samples that weigh differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpnet.core.checks import number
from xpnet.data.batch import parts_of, size_of
from xpnet.functional.weighing import weighed
from xpnet.train.measures import Term, added
from xpnet.train.measuring import by_name
from xpnet.train.run import Run

Loss = Callable[[Any, Any], Any]


class SeveralLosses:
    """A step of a model of several outputs: the weighted sum of a loss of each, which are recorded, too.

    Args:
        losses: `loss(output, target)` by name: of the outputs and targets of that name where the model gives
            a dict, else of those at that place, in this order.
        weights: by name; default 1.

    Raises:
        ValueError: a weight for no loss, or a negative one; when it runs, another number of outputs.
        TypeError: a loss is no function.

    The Trainer gets it as its step, and no loss. Each loss becomes `train_<name>` and `val_<name>`, its mean
    over all data by what it weighs in each batch: labels that it ignores count for nothing, and where all are
    ignored it adds nothing. `train_loss` and `val_loss` are the weighted sums of these. The gradients of
    several ranks are those of the whole batch; of batches that `accumulate` adds up, each counts by its
    samples, which a warning says where labels are ignored or weigh differently.

    >>> import numpy as np
    >>> from xpnet import nn, optim
    >>> from xpnet.functional import cross_entropy, mse_loss
    >>> from xpnet.train import SeveralLosses, Trainer
    >>> class Two(nn.Module):
    ...     def __init__(self):
    ...         self.kind, self.size = nn.Linear(4, 3), nn.Linear(4, 1)
    ...     def forward(self, x):
    ...         return {"kind": self.kind(x), "size": self.size(x)}
    >>> model, x = Two(), np.ones((8, 4), np.float32)
    >>> targets = {"kind": np.arange(8) % 3, "size": np.ones((8, 1), np.float32)}
    >>> step = SeveralLosses({"kind": cross_entropy, "size": mse_loss}, {"size": 0.5})
    >>> history = Trainer(model, None, optim.Adam(model), step=step).fit((x, targets), epochs=1)
    >>> sorted(history)
    ['lr', 'seconds', 'train_kind', 'train_loss', 'train_size']
    """

    is_step = True

    def __init__(self, losses: Mapping[str, Loss], weights: Mapping[str, float] | None = None) -> None:
        for name, loss in losses.items():
            if not callable(loss):
                raise TypeError(f"SeveralLosses: {name} is {loss!r}, expected a function of (output, target)")
        unknown = set(weights or {}) - set(losses)
        if unknown or not losses:
            raise ValueError(f"SeveralLosses: there is no loss {min(unknown, default='at all')!r}")
        self.losses = dict(losses)
        check = lambda name, w: number("SeveralLosses", f"the weight of {name}", w, 0)
        self.weights = {name: check(name, (weights or {}).get(name, 1.0)) for name in losses}
        self.__name__ = "several losses " + ", ".join(f"{name} {w:g}" for name, w in self.weights.items())

    def __call__(self, run: Run, batch: Any) -> dict[str, Any]:
        """The sum under "loss", and each of them."""
        inputs, named, target = parts_of(batch)
        run.output = output = run.model(*inputs, **named)
        outputs, targets = self._by_name(output, target)
        for name in outputs:
            if name in targets and name not in self.losses:
                raise ValueError(
                    f"SeveralLosses: output and target {name!r} have no loss; give them one, or no target"
                )
        n = size_of(batch)
        terms = {
            name: Term(*weighed(loss, outputs[name], targets[name], n), self.weights[name])
            for name, loss in self.losses.items()
        }
        return {**terms, "loss": added(terms.values())}

    def named(self, output: Any, target: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Outputs and targets by name, for metrics: without the weights of samples."""
        outputs, targets = self._by_name(output, target)
        alone = lambda name, y: y[0] if hasattr(self.losses.get(name), "pair") else y
        return outputs, {name: alone(name, y) for name, y in targets.items()}

    def _by_name(self, output: Any, target: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        of = lambda what, values: by_name("SeveralLosses", "losses", self.losses, what, values)
        return of("outputs", output), of("targets", target)
