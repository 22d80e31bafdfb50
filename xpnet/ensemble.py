"""Several models that decide together: bagging, snapshots, averaged weights, dropout at test time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from xpnet import functional as F
from xpnet.core import random
from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.places import following, namespace
from xpnet.core.tensor import array_of
from xpnet.data import Dataset
from xpnet.nn import Dropout, Module
from xpnet.nn.container import mean_of
from xpnet.nn.inference import evaluating
from xpnet.optim import CosineAnnealingWarmRestarts, Optimizer
from xpnet.train import Callback, predict, recompute_batch_norm

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Ensemble(Module):
    """Classifiers whose class probabilities are averaged.

    Args:
        models: modules that give scores (N, C). Their modes, devices and names are those of any submodules.

    Called like a model it gives the logarithm of the mean probabilities, (N, C): scores like any others, for
    `argmax`, `cross_entropy`, `evaluate` and `predict`. No gradients: members are trained one by one.

    Raises:
        ValueError: no models.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.ensemble import Ensemble
    >>> ensemble = Ensemble([nn.Linear(4, 3), nn.Linear(4, 3)])
    >>> p = ensemble.predict_proba(np.ones((2, 4), dtype=np.float32))
    >>> p.shape, bool(abs(float(p[0].sum()) - 1) < 1e-6)
    ((2, 3), True)
    """

    def __init__(self, models: Sequence[Module]) -> None:
        if not models:
            raise ValueError("Ensemble: no models")
        self.models = list(models)

    @following
    def forward(self, x: Any) -> Array:
        """The logarithm of the mean probabilities."""
        return mean_of([array_of(model(x)) for model in self.models], probabilities=True)

    @following
    def predict_proba(self, data: Any) -> Array:
        """Class probabilities, (n, C), of samples (n, ...), a Dataset or a DataLoader; in evaluation mode."""
        scores = predict(self, data)
        return namespace(scores).exp(scores)

    def __len__(self) -> int:
        return len(self.models)


def bagging(train: Callable[[Dataset, int], Module], data: Dataset, k: int = 10, seed: int = 0) -> Ensemble:
    """Models trained on bootstrap samples: as many as there are, drawn with replacement (Breiman, 1996).

    Args:
        train: `train(sample, i)` gives the trained model number i.
        data: the training set.
        k: number of models.
        seed: of the samples; the random streams are left alone, so the models differ in their weights, too.

    Returns:
        The models as one that averages their class probabilities.

    Raises:
        ValueError: k is below 1.

    The error of the mean falls as `ensemble_variance` says. About 1/e of the data are not in a sample.

    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.ensemble import bagging
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Trainer
    >>> def train(sample, i):
    ...     model = nn.Sequential(nn.Linear(64, 10))
    ...     Trainer(model, cross_entropy, optim.SGD(model, lr=0.001)).fit(sample, epochs=1)
    ...     return model
    >>> bagging(train, load_digits(), k=2)(load_digits().x[:5]).shape
    (5, 10)
    """
    if k < 1:
        raise ValueError(f"bagging: k must be at least 1, got {k}")
    return Ensemble([train(bootstrap(data, i, seed), i) for i in range(k)])


def bootstrap(data: Dataset, i: int, seed: int = 0) -> Dataset:
    """Bootstrap sample number i: a function of seed and i.

    Args:
        data: n samples.
        i: number of the sample.
        seed: of all of them.

    Returns:
        n samples, drawn with replacement.

    Raises:
        TypeError: seed or i is no integer.

    >>> from xpnet.data import load_digits
    >>> from xpnet.ensemble import bootstrap
    >>> bootstrap(load_digits(), 3)
    Dataset(digits bootstrap 3: x (1797, 64) float32, y (1797,) int64)
    """
    chosen = random.integers(len(data), len(data), random.Key(seed, random.BOOTSTRAP, i))
    return data.subset(chosen, f"{data.name} bootstrap {i}")


def ensemble_variance(variance: float, k: int, correlation: float = 0.0) -> float:
    """Mean squared error of the mean of k models, each with zero-mean errors of this variance.

    rho sigma^2 + (1 - rho) sigma^2 / k: uncorrelated errors average out as 1/k, common ones stay.

    Args:
        variance: sigma^2.
        k: number of models.
        correlation: rho, of the errors of two models.

    Returns:
        A number.

    Raises:
        ZeroDivisionError: k is 0.

    >>> from xpnet.ensemble import ensemble_variance
    >>> ensemble_variance(4.0, 10), ensemble_variance(4.0, 10, correlation=1.0)
    (0.4, 4.0)
    """
    return correlation * variance + (1 - correlation) * variance / k


class Snapshots(Callback):
    """Snapshot ensemble: one training run, a cosine learning rate that restarts, a copy at each minimum.

    Args:
        optimizer: whose rate is annealed from its present value to 0 in each cycle.
        cycle: epochs of a cycle.

    Huang et al., 2017, "Snapshot ensembles: train 1, get M for free". Use no other schedule with it.

    Attributes:
        models: the copies so far.

    Raises:
        ValueError: a cycle below 1.
    """

    def __init__(self, optimizer: Optimizer, cycle: int) -> None:
        self.cycle = cycle
        present = [group["lr"] for group in optimizer.param_groups]
        self.schedule = CosineAnnealingWarmRestarts(optimizer, cycle)
        self.schedule.rebase(present)  # whatever an earlier schedule began with
        self.schedule.take_over()
        self.models: list[Module] = []

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run; begin a cycle."""
        self.models = []
        self._model = trainer.model
        self.schedule.restart()

    def on_epoch_end(self, trainer: Run) -> None:
        """Keep a copy at the end of a cycle; move the rate on."""
        if (trainer.epoch + 1) % self.cycle == 0:
            self.models.append(copy.deepcopy(trainer.model))
        self.schedule.step()

    def ensemble(self, last: int | None = None) -> Ensemble:
        """The snapshots, or the last few of them.

        Raises:
            ValueError: no cycle has ended.
        """
        return Ensemble(self.models if last is None else self.models[-last:])

    def state_dict(self) -> dict[str, Any]:
        """The schedule and the weights of the snapshots."""
        models = {str(i): model.state_dict() for i, model in enumerate(self.models)}
        return {"schedule": self.schedule.state_dict(), "models": models}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.schedule.load_state_dict(state["schedule"])
        self.models = [copy.deepcopy(self._model) for _ in state["models"]]
        for i, model in enumerate(self.models):
            model.load_state_dict(state["models"][str(i)])


@following
def average_weights(models: Sequence[Module], data: Any = None) -> Module:
    """One model with the mean weights of several of the same build; costs no more than one of them.

    Args:
        models: from one training run, such as snapshots: runs of their own lie in different valleys, and the
            mean of those is on a hill. `xpnet.train.SWA` averages during training.
        data: the training data, for batch norm: the mean weights need statistics of their own.

    Returns:
        A new model, on the device of the first. The models stay as they are.

    Raises:
        ValueError: no models, or of different builds.

    >>> import xpnet
    >>> from xpnet import nn
    >>> from xpnet.ensemble import average_weights
    >>> models = [nn.Linear(1, 1), nn.Linear(1, 1)]
    >>> for model, value in zip(models, (1.0, 3.0)):
    ...     model.theta[...] = value
    >>> average_weights(models).theta
    array([2., 2.], dtype=float32)
    """
    if not models:
        raise ValueError("average_weights: no models")
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {k: tuple(v.shape) for k, v in state.items()} != {k: tuple(v.shape) for k, v in states[0].items()}:
            raise ValueError("average_weights: the models have different parameters")
    mean = {}
    for name, value in states[0].items():
        xp = namespace(value)
        if "float" in str(value.dtype):
            total = sum(widen(state[name]) for state in states[1:]) + widen(value)
            value = xp.astype(total / len(states), value.dtype)
        mean[name] = value
    averaged = copy.deepcopy(models[0])
    averaged.load_state_dict(mean)
    if data is not None:
        recompute_batch_norm(averaged, data)
    return averaged


def monte_carlo_dropout(
    model: Module, x: Any, samples: int = 100, activation: Callable[[Array], Array] | None = F.softmax
) -> tuple[Array, Array]:
    """Mean and standard deviation of a network's output over random dropout masks (Gal & Ghahramani, 2016).

    Args:
        model: with `Dropout` layers; everything else is in evaluation mode.
        x: (n, ...) samples, moved to the default backend.
        samples: number of masks.
        activation: applied to each output before averaging; None: average the output itself.

    Returns:
        Two arrays of the shape of the output. Scaled weights, dropout's usual test-time rule, approximate the
        mean; the deviation is large where the network is unsure.

    Raises:
        ValueError: no dropout layers, or fewer than 1 sample.

    >>> import xpnet
    >>> from xpnet import nn
    >>> from xpnet.ensemble import monte_carlo_dropout
    >>> model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    >>> mean, deviation = monte_carlo_dropout(model, xpnet.asarray([[1.0, 2.0, 3.0, 4.0]]), samples=10)
    >>> mean.shape, deviation.shape
    ((1, 3), (1, 3))
    """
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    if not dropouts or samples < 1:
        raise ValueError(
            f"monte_carlo_dropout: expected Dropout layers and at least 1 sample, got {len(dropouts)} and "
            f"{samples}"
        )
    x = asarray(x)
    mean: Any = 0.0
    squares: Any = 0.0  # sum of squared deviations, by Welford's update: no difference of large sums
    with evaluating(model):
        for dropout in dropouts:
            dropout.training = True
        for i in range(1, samples + 1):
            y = array_of(model(x))
            y = y if activation is None else activation(y)
            difference = y - mean
            mean = mean + difference / i
            squares = squares + difference * (y - mean)
    return mean, namespace(mean).sqrt(squares / samples)
