"""Short experiments on copies: the first loss, a handful of samples by heart, and a few steps of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from xpnet import optim
from xpnet.core import random
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.op import no_grad
from xpnet.core.places import namespace
from xpnet.diagnostics.copies import (
    balanced,
    batches_of,
    copy_of,
    is_labels,
    without_dropout,
)
from xpnet.diagnostics.finding import Finding, judge
from xpnet.train.metrics import accuracy

Loss = Callable[[Any, Any], Any]

_FACTORS = (10, 100, 1000, 10_000)  # of a learning rate that may be too low


def initial_loss(model: Any, loss: Loss, x: Any, y: Any, classes: int | None = None) -> Finding:
    """The loss of a fresh network on K classes is about ln K: it knows nothing, and says so (deck S2, S4).

    Args:
        model: a Module, before training; it is left unchanged.
        loss: softmax cross-entropy, the mean over the batch.
        x: (n, ...) samples.
        y: (n,) labels.
        classes: K; default: the number of scores.

    Returns:
        The loss with batch statistics and without dropout. WARN if it is more than a third (or 0.5) away from
        ln K, FAIL if it is not finite or above twice ln K (or 1 above).

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import initial_loss
    >>> xpnet.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> initial_loss(model, cross_entropy, x, y).status
    'PASS'
    """
    with random.forked(), no_grad():
        scores = without_dropout(copy_of(model)[0])(asarray(x))
        value = float(loss(scores, asarray(y)))
        classes = classes or int(scores.shape[-1])
    expected = math.log(classes)
    near, far = max(0.5, expected / 3), max(1.0, expected)
    return judge(
        "initial loss",
        value,
        f"about {expected:.3g} = ln {classes}",
        warn=not abs(value - expected) <= near,
        fail=not value <= expected + far,
        advice="Below ln K before training: the model is trained already, the classes are unbalanced, or the "
        "loss is not the mean cross-entropy of the scores."
        if value < expected
        else "The network is sure of wrong answers: make the initial weights of the last layer smaller, use "
        "He or Xavier initialisation, standardise the inputs.",
    )


def overfit(
    model: Any,
    loss: Loss,
    x: Any,
    y: Any,
    samples: int = 20,
    steps: int = 400,
    rates: Sequence[float] = (0.01, 0.001),
) -> Finding:
    """Any sound network learns 20 samples by heart: accuracy 1 and a loss below 0.01 (decks S2, S4).

    Args:
        model: a Module; a copy is trained with Adam, without dropout and weight decay.
        loss: `loss(output, target)`.
        x: (n, ...) samples, of which `samples` are used, from all classes.
        y: their targets; class labels, or anything else, for which the loss alone must fall below 0.01 (or a
            hundredth of the first loss).
        samples: how many to learn.
        steps: updates at most for each learning rate.
        rates: learning rates to try.

    Returns:
        The smallest loss. FAIL if it stays above the bound.

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import overfit
    >>> xpnet.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> overfit(model, cross_entropy, x, y).status
    'PASS'
    """
    if steps < 1 or not rates:
        raise ValueError(f"overfit: needs steps and rates, got steps={steps}, rates={tuple(rates)}")
    x, y = balanced(asarray(x), asarray(y), samples)
    labels = is_labels(y)
    best, hits = math.inf, 0.0
    with random.forked(), np.errstate(all="ignore"):
        for rate in rates:
            copied = without_dropout(copy_of(model)[0])
            optimizer = optim.Adam(copied, lr=rate)
            bound = 0.01
            for step in range(steps):
                optimizer.zero_grad()
                output = copied(x)
                value = loss(output, y)
                if step % 10 == 0:
                    now = float(value)
                    right = float(accuracy(output, y)) if labels and output.ndim == 2 else 1.0
                    if step == 0 and not labels:
                        bound = max(bound, 0.01 * now)
                    if now < best:
                        best, hits = now, right
                    if (now < bound and right == 1.0) or not math.isfinite(now):
                        break
                value.backward()
                optimizer.step()
            if best < bound and hits == 1.0:
                break
    return judge(
        f"overfit {int(x.shape[0])} samples",
        best,
        f"below {bound:.2g}" + (" and accuracy 1" if labels else ""),
        fail=not (best < bound and hits == 1.0),
        advice="The network cannot even learn these by heart: look for labels that do not belong to their "
        "samples, a wrong gradient, a loss of the wrong output, or far too few units.",
        detail=f"accuracy {hits:.3g}" if labels else "",
    )


def learning_rate_check(model: Any, loss: Loss, train: Any, optimizer: Any, steps: int = 100) -> Finding:
    """Too low, the loss stays where it began, at ln K; too high, it explodes (deck S2).

    Args:
        model: a Module, before training; it is left unchanged.
        loss: `loss(output, target)`.
        train: training data, as `Trainer.fit` takes it.
        optimizer: over the model's parameters; it is left unchanged.
        steps: updates of a copy that are made.

    Returns:
        The mean loss of the last quarter of the batches over what the untrained model has on them. FAIL if it
        is not finite, above 3, or within 2% of 1 (then 10 to 10000 times the rate is tried, to tell a low one
        from other faults); WARN if the loss rose, or was above 3 on the way.

    Raises:
        ValueError: no batches or no steps, or the samples do not fit the model, or the targets its output.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import learning_rate_check
    >>> xpnet.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> for lr in (0.1, 1000.0):
    ...     learning_rate_check(model, cross_entropy, (x, y), optim.SGD(model, lr=lr)).status
    'PASS'
    'FAIL'
    """
    if steps < 1:
        raise ValueError(f"learning_rate_check: steps must be at least 1, got {steps}")
    ratio, peak = _fall(model, loss, train, optimizer, steps)
    name, rate = "learning rate", optimizer.param_groups[0]["lr"]
    expected, detail = "loss falls: below 0.98 of the first", f"lr {rate:g}, peak {peak:.3g}"
    if not (ratio <= 1.02 and peak <= 3):
        verb = "explodes" if not ratio <= 3 else "rises at first" if ratio < 0.98 else "rises"
        return judge(
            name,
            ratio,
            expected,
            warn=True,
            fail=not ratio <= 3,
            advice=f"Too high: the loss {verb}. Divide the learning rate by 10, or clip the gradients.",
            detail=detail,
        )
    if ratio < 0.98:
        return judge(name, ratio, expected, detail=detail)
    better = next((k for k in _FACTORS if _fall(model, loss, train, optimizer, steps, k)[0] < 0.98), None)
    advice = (
        f"Too low: the loss stays where it began. {better} times the learning rate makes it fall."
        if better
        else f"The loss stays where it began, at {_FACTORS[-1]} times the learning rate too: dead or "
        "saturated units, equal initial weights, or targets that do not fit the samples."
    )
    return judge(name, ratio, expected, fail=True, advice=advice, detail=detail)


def _fall(
    model: Any, loss: Loss, train: Any, optimizer: Any, steps: int, rate_factor: float = 1.0
) -> tuple[float, float]:
    """The mean and the largest loss of some updates, over the loss of the untrained model.

    The mean is over the last quarter, and the untrained model is measured on the same batches.
    """
    with random.forked(), np.errstate(all="ignore"):
        untrained, (copied, copied_optimizer) = copy_of(model)[0], copy_of(model, optimizer)
        for group in copied_optimizer.param_groups:
            group["lr"] *= rate_factor
        before, after = [], []
        for i, (x, y) in enumerate(First(batches_of(train), steps)):
            copied_optimizer.zero_grad()
            value = loss(copied(x), y)
            value.backward()
            copied_optimizer.step()
            after.append(value.data)
            if 4 * i >= 3 * steps:
                with no_grad():
                    before.append(loss(untrained(x), y).data)
        first, losses = (to_numpy(namespace(v[0]).stack(v)).astype(np.float64) for v in (before, after))
    if not np.isfinite(losses).all():
        return math.inf, math.inf
    scale = max(float(first.mean()), 1e-12)
    return float(losses[-len(first) :].mean()) / scale, float(losses.max()) / scale


class First:
    """The first n batches of the data, which is gone through again and again until there are n."""

    def __init__(self, batches: Any, n: int) -> None:
        self.batches, self.n = batches, n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Any:
        left = self.n
        while left > 0:
            before = left
            for batch in islice(self.batches, left):
                left -= 1
                yield batch
            if left == before:
                raise ValueError("the training data gave no batches; a generator can be used only once")


def generalization_gap(training: Mapping[str, float], validation: Mapping[str, float]) -> Finding:
    """How much better the network does on what it was trained with (deck S2: a large gap is overfitting).

    Args:
        training: `loss`, and `accuracy` for a classifier, as `xpnet.train.evaluate` gives them.
        validation: likewise.

    Returns:
        The difference of the accuracies, WARN above 0.1; without them that of the losses, WARN if that of
        validation is more than twice training's and they differ by more than 0.2.

    Raises:
        KeyError: neither `accuracy` nor `loss` is in both.

    >>> from xpnet.train import generalization_gap
    >>> generalization_gap({"loss": 0.1, "accuracy": 0.99}, {"loss": 0.8, "accuracy": 0.74}).status
    'WARN'
    """
    if "accuracy" in training and "accuracy" in validation:
        value = training["accuracy"] - validation["accuracy"]
        large, expected = value > 0.1, "accuracies within 0.1"
        detail = f"training {training['accuracy']:.3f}, validation {validation['accuracy']:.3f}"
    else:
        value = validation["loss"] - training["loss"]
        large = value > max(0.2, training["loss"])
        expected = "validation loss up to twice that of training, or 0.2 above"
        detail = f"training {training['loss']:.3g}, validation {validation['loss']:.3g}"
    return judge(
        "train/validation gap",
        value,
        expected,
        warn=large,
        fail=not math.isfinite(value),
        advice="Overfitting: more data or augmentation, weight decay, dropout, a smaller network, or stop "
        "earlier.",
        detail=detail,
    )
