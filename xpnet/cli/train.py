"""`xpnet train`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import get_backend, manual_seed, optim, to_numpy
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import FAILED, INTERRUPTED, OK, BadInputError, bad_input
from xpnet.cli.model import make_optimizer, mlp, save_model, versions
from xpnet.data import DataLoader, Dataset, Standardize, split
from xpnet.train import (
    EarlyStopping,
    LearningRate,
    Progress,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
)
from xpnet.train.checkpoint import require_safetensors


def train(options: argparse.Namespace) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    name = choose(options, "digits")
    source = SOURCES[name]
    model_file = None if options.save == "none" else options.save or f"{name}.safetensors"
    curve_file = output.plot_path(options.plot, name)
    for path in (model_file, curve_file, options.json):
        output.check_writable(path)
    with bad_input():
        if model_file is not None:
            require_safetensors()
        choose_backend(options)
        rest, test = source.load(options.path)
        manual_seed(options.seed)
        training, validation = split(rest, (1 - source.validation, source.validation), seed=options.seed)
        classes = rest.classes
    # one mean and deviation for all pixels: the borders that are never inked stay small
    scaler = Standardize(per_feature=False).fit(training.x)
    training, validation, test = (d.map(scaler.transform).to_backend() for d in (training, validation, test))

    settings = {
        "inputs": int(training.x.shape[1]),
        "layers": options.layers or list(source.layers),
        "classes": classes,
        "dropout": options.dropout,
    }
    epochs, batch_size = options.epochs or source.epochs, options.batch_size or source.batch_size
    if batch_size > len(training):
        raise BadInputError(f"--batch-size {batch_size}: there are only {len(training)} training samples")
    model = mlp(**settings)
    with bad_input():
        optimizer = make_optimizer(options.optimizer, model, options.lr, options.weight_decay)
    stopping = EarlyStopping(options.patience)
    callbacks = [stopping, Progress()]
    if options.schedule == "cosine":
        callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
    trainer = Trainer(model, F.cross_entropy, optimizer, callbacks)

    sizes = "-".join(map(str, (settings["inputs"], *settings["layers"], classes)))
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {options.optimizer}, "
        f"learning rate {optimizer.param_groups[0]['lr']:g}, batch {batch_size}, seed {options.seed}, "
        f"on {get_backend()}"
    )
    start, interrupted, failure = time.perf_counter(), False, ""
    try:
        with np.errstate(all="ignore"):  # divergence is found, and said, once an epoch
            trainer.fit(DataLoader(training, batch_size, drop_last=True), validation, epochs)
    except KeyboardInterrupt:
        interrupted = True
    except TrainingDivergedError as error:
        failure = str(error)
    seconds = time.perf_counter() - start
    if stopping.best_epoch is None:
        print(
            f"xpnet train: {failure or 'interrupted'}; no epoch was completed, nothing was written",
            file=sys.stderr,
        )
        return INTERRUPTED if interrupted else FAILED

    facts: dict[str, Any] = {
        "model": settings,
        "data": name,
        "training": {
            "optimizer": options.optimizer,
            "lr": trainer.history["lr"][0],
            "schedule": options.schedule,
            "weight_decay": options.weight_decay,
            "batch_size": batch_size,
            "epochs": trainer.history.epochs,
            "best_epoch": stopping.best_epoch + 1,
            "seed": options.seed,
            "backend": str(get_backend()),
        },
        "versions": versions(),
    }
    best = f"epoch {stopping.best_epoch + 1} (validation loss {stopping.best:.4f})"
    if interrupted or failure:
        print(
            f"xpnet train: {failure or 'interrupted'}; kept the weights of {best}, not tested",
            file=sys.stderr,
        )
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; kept the weights of {best}")
        facts["test"] = _test(trainer, test, classes)
    _write(options, (model_file, curve_file), trainer, scaler, facts, f"{name}, network {sizes}")
    return INTERRUPTED if interrupted else FAILED if failure else OK


def _test(trainer: Trainer, test: Dataset, classes: int) -> dict[str, Any]:
    """Use the test set, once."""
    scores = to_numpy(trainer.predict(test))
    labels, predicted = to_numpy(test.y), scores.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes)
    result = {
        "accuracy": float(np.mean(labels == predicted)),
        "loss": float(F.cross_entropy(scores, labels)),
        "samples": len(test),
        "confusion": matrix.tolist(),
    }
    print(f"\ntest accuracy {result['accuracy']:.2%} on {len(test)} samples, loss {result['loss']:.4f}")
    print("confusion matrix: true class by row, predicted class by column")
    print(output.confusion_table(matrix) + "\n")
    return result


def _write(
    options: argparse.Namespace,
    files: tuple[str | None, str | None],
    trainer: Trainer,
    scaler: Standardize,
    facts: dict[str, Any],
    title: str,
) -> None:
    """The model, the curves and the report."""
    model_file, curve_file = files
    with bad_input():
        if model_file is not None:
            save_model(model_file, trainer.model, scaler, facts)
            print(f"saved the model in {model_file}: try  xpnet predict {model_file}")
        if curve_file is not None:
            output.write_curves(curve_file, trainer.history, title)
            without = curve_file.endswith(".csv") and options.plot is None
            print(
                f"saved the curves in {curve_file}"
                + (' (a picture needs pip install "xpnet[plot]")' * without)
            )
        if options.json is not None:
            output.write_json(options.json, {**facts, "history": dict(trainer.history)})
            print(f"saved the report in {options.json}")
