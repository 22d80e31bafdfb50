"""All diagnostics, in the order in which faults hide each other: data, gradients, a handful, a short run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet import nn, optim
from xpnet.core import random
from xpnet.core.convert import to_numpy
from xpnet.diagnostics.copies import (
    batches_of,
    copy_of,
    dataset_of,
    first_samples,
    is_labels,
)
from xpnet.diagnostics.data import class_balance, class_order, constant_features, input_scale, leakage
from xpnet.diagnostics.finding import Finding, judge
from xpnet.diagnostics.gradients import gradient_check, same_sign_gradients
from xpnet.diagnostics.probes import (
    First,
    Loss,
    generalization_gap,
    initial_loss,
    learning_rate_check,
    overfit,
)
from xpnet.diagnostics.watch import Diagnostics, LocateNonFinite
from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.evaluation import evaluate
from xpnet.train.run import Run
from xpnet.train.trainer import Trainer

_SAMPLES = 1000  # training samples that scale, first loss and accuracy are judged by


def doctor(
    model: Any,
    loss: Loss,
    train: Any,
    validation: Any = None,
    test: Any = None,
    optimizer: Any = None,
    steps: int = 200,
) -> list[Finding]:
    """Examine a model, its data and its optimizer before training; everything happens on copies.

    Args:
        model: a Module, freshly initialised; it is left unchanged, and so is the random state.
        loss: `loss(output, target)`, a Tensor of one element, the mean over the batch.
        train: training data, as `Trainer.fit` takes it.
        validation: a Dataset or a pair of arrays; default: no comparison of training and validation.
        test: a Dataset or a pair of arrays, which is only searched for training samples; default: none.
        optimizer: over the model's parameters; default: Adam with its usual learning rate.
        steps: updates of the short training run.

    Returns:
        One finding a diagnostic. `worst(findings)` is "FAIL" if training this makes no sense.

    Raises:
        ValueError: no data.

    >>> import xpnet
    >>> from xpnet import nn
    >>> from xpnet.data import load_digits, split
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import doctor
    >>> xpnet.manual_seed(0)
    >>> train, validation, test = split(load_digits())
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> findings = doctor(model, cross_entropy, train, validation, test)
    >>> print(findings[0])
    WARN  input scale           6.015      expected mean near 0, std near 1; mean 4.87, std 6.01
          Standardise with the training set's mean and deviation: xpnet.data.Standardize, ChannelMean.
    """
    return list(examine(model, loss, train, validation, test, optimizer, steps))


def examine(
    model: Any,
    loss: Loss,
    train: Any,
    validation: Any = None,
    test: Any = None,
    optimizer: Any = None,
    steps: int = 200,
) -> Iterator[Finding]:
    """The findings of `doctor` one by one, as they are made."""
    with random.forked():
        x, y = first_samples(train, _SAMPLES)
    rest = _scaled_part(model, x)
    if rest.shape[-1]:
        yield input_scale(rest)
    yield from _data(x, y, train, validation, test)
    if is_labels(y):
        yield initial_loss(model, loss, x, y)
    yield gradient_check(model, loss, x, y)
    yield same_sign_gradients(model, loss, x, y)
    yield overfit(model, loss, x, y)
    optimizer = optim.Adam(model) if optimizer is None else optimizer
    yield learning_rate_check(model, loss, train, optimizer, max(4, steps // 2))
    yield from _short_training(model, loss, (x, y), train, validation, optimizer, steps)


def _scaled_part(model: Any, x: Any) -> Any:
    """The samples without the columns that hold numbers of categories, which have no scale."""
    numbers = {place for m in model.modules() if isinstance(m, nn.CategoryEmbedding) for place in m.places}
    return to_numpy(x)[..., [j for j in range(x.shape[-1]) if j not in numbers]] if numbers else x


def _data(x: Any, y: Any, train: Any, validation: Any, test: Any) -> Iterator[Finding]:
    """Of the samples as training sees them, and of whole data sets where they are at hand."""
    whole = dataset_of(train)
    yield constant_features(x if whole is None else whole.x)
    if is_labels(y):
        yield class_balance(y if whole is None else whole.y, None if whole is None else whole.classes)
        loader = batches_of(train)
        yield class_order(loader if hasattr(loader, "order") else y)
    for name, other in (("validation", validation), ("test", test)):
        part = None if other is None else dataset_of(other)
        if part is not None and whole is not None and part.x.shape[1:] == whole.x.shape[1:]:
            yield leakage(whole, part, name)


def _short_training(
    model: Any, loss: Loss, seen: tuple[Any, Any], train: Any, validation: Any, optimizer: Any, steps: int
) -> Iterator[Finding]:
    """Some updates of a copy, observed."""
    watch, failure = Diagnostics(every=max(1, steps // 10)), ""
    with random.forked(), np.errstate(all="ignore"):
        copied, copied_optimizer = copy_of(model, optimizer)
        trainer = Trainer(copied, loss, copied_optimizer, [watch, LocateNonFinite()], verbose=False)
        try:
            trainer.fit(First(batches_of(train), steps), epochs=1)
        except TrainingDivergedError as error:
            failure = str(error)
        findings = watch.findings()
        if validation is not None and not failure:
            findings.append(
                generalization_gap(evaluate(copied, seen, loss), evaluate(copied, validation, loss))
            )
    yield judge(
        "finite numbers",
        trainer.step,
        f"no NaN or infinity in {steps} updates",
        fail=bool(failure),
        advice=failure[:1].upper() + failure[1:] + ".",
    )
    yield from findings


class Checkup(Callback):
    """Run `doctor` before the first epoch, print what is not in order, and do not train what fails.

    Args:
        strict: refuse to train if a diagnostic fails; otherwise only print.
        steps: updates of the short training run.

    Attributes:
        findings: what `doctor` found.

    Raises:
        CheckupError: when training begins.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Checkup, Trainer
    >>> xpnet.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(64, 10))
    >>> trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=1e-9), [Checkup()])
    >>> trainer.fit(load_digits(), epochs=1)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    xpnet.diagnostics.doctor.CheckupError: ...
    """

    def __init__(self, strict: bool = True, steps: int = 200) -> None:
        self.strict, self.steps = strict, steps
        self.findings: list[Finding] = []

    def on_fit_begin(self, trainer: Run) -> None:
        """Examine."""
        if trainer.loss is None:
            raise TypeError("Checkup: it looks at loss(output, target); pass the Trainer a loss")
        self.findings = doctor(
            trainer.model,
            trainer.loss,
            trainer.data,
            trainer.validation,
            optimizer=trainer.optimizer,
            steps=self.steps,
        )
        for finding in self.findings:
            if finding.status != "PASS":
                print(finding)
        failed = [finding for finding in self.findings if finding.status == "FAIL"]
        if failed and self.strict:
            names = ", ".join(finding.name for finding in failed)
            raise CheckupError(f"not trained: {names} failed; {failed[0].advice}")


class CheckupError(RuntimeError):
    """A diagnostic before training failed."""
