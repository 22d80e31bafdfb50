"""`xpnet train`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
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
    Callback,
    EarlyStopping,
    LearningRate,
    Progress,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
)
from xpnet.train.checkpoint import check_writable, require_safetensors


def train(options: argparse.Namespace) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    name = choose(options, "digits")
    files = _files(options, name)
    with bad_input():
        choose_backend(options)
        manual_seed(options.seed)
        training, validation, test, scaler = _data(options, name)
        network = {
            "inputs": int(training.x.shape[1]),
            "layers": options.layers or list(SOURCES[name].layers),
            "classes": training.classes,
            "dropout": options.dropout,
        }
        model = mlp(**network)
        optimizer = make_optimizer(options.optimizer, model, options.lr, options.weight_decay)
    epochs = options.epochs or SOURCES[name].epochs
    batch_size = options.batch_size or SOURCES[name].batch_size
    if batch_size > len(training):
        raise BadInputError(f"--batch-size {batch_size}: there are only {len(training)} training samples")
    stopping = EarlyStopping(options.patience)
    callbacks: list[Callback] = [stopping, Progress()]
    if options.schedule == "cosine":
        callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
    trainer = Trainer(model, F.cross_entropy, optimizer, callbacks)

    lr = optimizer.param_groups[0]["lr"]
    sizes = "-".join(map(str, (network["inputs"], *network["layers"], network["classes"])))
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {options.optimizer}, "
        f"learning rate {lr:g}, batch {batch_size}, seed {options.seed}, on {get_backend()}"
    )
    start, code, failure = time.perf_counter(), OK, ""
    try:
        with np.errstate(all="ignore"):  # divergence is found, and said, once an epoch
            trainer.fit(DataLoader(training, batch_size, drop_last=True), validation, epochs)
    except KeyboardInterrupt:
        code, failure = INTERRUPTED, "interrupted"
    except TrainingDivergedError as error:
        code, failure = FAILED, str(error)
    seconds = time.perf_counter() - start
    if stopping.best_epoch is None:
        failure = failure or "the validation loss was never a finite number"
        print(f"xpnet train: error: {failure}; nothing was written", file=sys.stderr)
        return code or FAILED

    report: dict[str, Any] = {
        "model": network,
        "data": name,
        "training": {
            "optimizer": options.optimizer,
            "lr": lr,
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
    kept = f"kept the weights of epoch {stopping.best_epoch + 1} (validation loss {stopping.best:.4f})"
    if failure:
        print(f"xpnet train: error: {failure}; {kept}, not tested", file=sys.stderr)
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; {kept}")
        report["test"] = _test(trainer, test, network["classes"])
    with bad_input():
        _write(files, trainer, scaler, report, f"{name}, network {sizes}")
    return code


@dataclass(frozen=True)
class Files:
    """What is written at the end; None: not wanted."""

    model: str | None
    curves: str | None
    report: str | None
    hint: str  # about the format of the curves


def _files(options: argparse.Namespace, name: str) -> Files:
    """Every path and package that the end of the run needs, checked at its beginning."""
    model = None if options.save == "none" else options.save or f"{name}.safetensors"
    curves = output.plot_path(options.plot, name)
    with bad_input():
        if model is not None:
            require_safetensors()
        for path in (model, curves, options.json):
            if path is not None:
                check_writable(path)
    plain = options.plot is None and curves is not None and curves.endswith(".csv")
    return Files(model, curves, options.json, ' (for a picture: pip install "xpnet[plot]")' if plain else "")


def _data(options: argparse.Namespace, name: str) -> tuple[Dataset, Dataset, Dataset, Standardize]:
    """Training, validation and test set, standardised and on the backend, and the statistics used."""
    source = SOURCES[name]
    rest, test = source.load(options.path)
    training, validation = split(rest, (1 - source.validation, source.validation), seed=options.seed)
    # one mean and deviation for all pixels: the borders that are never inked stay small
    scaler = Standardize(per_feature=False).fit(training.x)
    training, validation, test = (d.map(scaler.transform).to_backend() for d in (training, validation, test))
    return training, validation, test, scaler


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


def _write(files: Files, trainer: Trainer, scaler: Standardize, report: dict[str, Any], title: str) -> None:
    """The model, the curves and the report."""
    if files.model is not None:
        save_model(files.model, trainer.model, scaler, report)
        print(f"saved the model in {files.model}: apply it with  xpnet predict {files.model}")
    if files.curves is not None:
        output.write_curves(files.curves, trainer.history, title)
        print(f"saved the curves in {files.curves}{files.hint}")
    if files.report is not None:
        output.write_json(files.report, {**report, "history": dict(trainer.history)})
        print(f"saved the report in {files.report}")
