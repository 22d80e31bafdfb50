"""`xpnet train`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import get_backend, optim, to_numpy
from xpnet.cli import output
from xpnet.cli.checkpoint import check_resume, run_checkpoint
from xpnet.cli.data import SOURCES, choose
from xpnet.cli.errors import FAILED, INTERRUPTED, OK, BadInputError, bad_input
from xpnet.cli.model import versions
from xpnet.cli.parallel import on_ranks
from xpnet.cli.pictures import write_preview, write_samples
from xpnet.cli.report import report_path, write_page
from xpnet.cli.setup import check_options, prepare
from xpnet.data import Dataset
from xpnet.io.files import check_writable, require_safetensors
from xpnet.io.model import save
from xpnet.parallel import Communicator, synchronize_batch_norm
from xpnet.train import (
    Callback,
    Diagnostics,
    EarlyStopping,
    LearningRate,
    Progress,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
)


def train(options: argparse.Namespace) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    return on_ranks(options, lambda group: _train(options, group))


def _train(options: argparse.Namespace, group: Communicator) -> int:
    name = choose(options, "digits")
    kind = options.model or SOURCES[name].model
    _check(options, name, kind)
    files = _files(options, name)
    setup = prepare(options, name)
    training, validation, scaler, model = setup.training, setup.validation, setup.scaler, setup.model
    with bad_input():
        write_samples(files.grid, setup.pictures, scaler)
        write_preview(files.preview, setup.pictures, scaler, setup.augment)
    if options.sync_batch_norm:
        synchronize_batch_norm(model, group)
    optimizer, loader = setup.optimizer, setup.loader
    epochs = options.epochs or SOURCES[name].epochs
    stopping = EarlyStopping(options.patience, monitor=f"val_{options.monitor}")
    callbacks: list[Callback] = [stopping, Progress()]
    if options.schedule == "cosine":
        callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
    checkpoint = run_checkpoint(options, setup, epochs)
    if checkpoint is not None:
        callbacks.append(checkpoint)
    diagnostics = Diagnostics()
    if files.page is not None:
        callbacks.append(diagnostics)
    trainer = Trainer(model, F.cross_entropy, optimizer, callbacks, communicator=group)
    if options.resume and checkpoint is not None:
        check_resume(options.resume, trainer, setup, checkpoint.command)

    lr = optimizer.param_groups[0]["lr"]
    sizes = setup.describe()
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(setup.test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {options.optimizer}, "
        f"learning rate {lr:g}, batch {loader.batch_size}, seed {options.seed}, on {get_backend()}"
        + (f", {group.size} ranks" if group.size > 1 else "")
    )
    start, code, failure, scores = time.perf_counter(), OK, "", None
    try:
        with np.errstate(all="ignore"):  # divergence is found, and said, once an epoch
            trainer.fit(loader, validation, epochs, options.resume)
    except KeyboardInterrupt:
        code, failure = INTERRUPTED, "interrupted"
    except TrainingDivergedError as error:
        code, failure = FAILED, str(error)
    seconds = time.perf_counter() - start
    if not group.is_main:
        return code
    if failure and checkpoint is not None and checkpoint.path.is_file():
        print(f"to go on: the same command with --resume {checkpoint.path}")
    if stopping.best_epoch is None:
        failure = failure or f"the validation {options.monitor} was never a finite number"
        written = "nothing" if files.page is None else f"only {files.page}"
        print(f"xpnet train: error: {failure}; {written} was written", file=sys.stderr)
        with bad_input():
            write_page(files.page, options, setup, trainer, diagnostics, None, failure)
        return code or FAILED

    report: dict[str, Any] = {
        "kind": kind,
        "model": setup.network,
        "shape": setup.shape,
        "picture": list(setup.pictures.x.shape[1:]),
        "data": name,
        "size": setup.size,
        "class_names": training.class_names,
        "training": {
            "optimizer": options.optimizer,
            "lr": lr,
            "schedule": options.schedule,
            "weight_decay": options.weight_decay,
            "batch_size": loader.batch_size,
            "epochs": trainer.history.epochs,
            "best_epoch": stopping.best_epoch + 1,
            "augment": options.augment,
            "seed": options.seed,
            "backend": str(get_backend()),
        },
        "versions": versions(),
    }
    measured = f"validation {options.monitor} {stopping.best:.4f}"
    kept = f"kept the weights of epoch {stopping.best_epoch + 1} ({measured})"
    if failure:
        print(f"xpnet train: error: {failure}; {kept}, not tested", file=sys.stderr)
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; {kept}")
        report["test"], scores = _test(trainer, setup.test, setup.network["classes"])
    with bad_input():
        if files.model is not None:  # before anything is printed: what was trained must not be lost
            save(trainer.model, files.model, scaler, report)
    if scores is not None:
        _print_test(report["test"], setup.test)
    with bad_input():
        _write(files, trainer, report, f"{name}, network {sizes}")
        write_page(files.page, options, setup, trainer, diagnostics, scores, failure)
    return code


@dataclass(frozen=True)
class Files:
    """What is written at the end; None: not wanted."""

    model: str | None
    curves: str | None
    report: str | None
    page: str | None
    grid: str | None  # pictures of the training data, written before training
    preview: str | None
    hint: str  # about the format of the curves


def _files(options: argparse.Namespace, name: str) -> Files:
    """Every path and package that the end of the run needs, checked at its beginning."""
    model = None if options.save == "none" else options.save or f"{name}.safetensors"
    curves = output.plot_path(options.plot, name)
    coloured = name in ("cifar10", "images")
    grid = output.picture_path(options.grid, f"{name}-samples.png", "--grid", coloured)
    augmented = options.augment != "none"
    preview = output.picture_path(options.preview, f"{name}-augmented.png", "--preview", augmented)
    with bad_input():
        page = report_path(options.report)
        if model is not None:
            require_safetensors()
        for path in (model, curves, options.json, grid, preview):
            if path is not None:
                check_writable(path)
    plain = options.plot is None and curves is not None and curves.endswith(".csv")
    hint = ' (for a picture: pip install "xpnet[plot]")' if plain else ""
    return Files(model, curves, options.json, page, grid, preview, hint)


def _check(options: argparse.Namespace, name: str, kind: str) -> None:
    """Options that do not go together."""
    check_options(options, name, kind)
    if options.sync_batch_norm and not options.parallel:
        raise BadInputError("--sync-batch-norm is for --parallel")
    if options.preview not in (None, "none") and options.augment == "none":
        raise BadInputError("--preview shows what --augment does; add --augment standard")


def _test(trainer: Trainer, test: Dataset, classes: int) -> tuple[dict[str, Any], np.ndarray]:
    """Use the test set, once; the results and the scores."""
    scores = to_numpy(trainer.predict(test))
    labels, predicted = to_numpy(test.y), scores.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes)
    result = {
        "accuracy": float(np.mean(labels == predicted)),
        "loss": float(F.cross_entropy(scores, labels)),
        "samples": len(test),
        "confusion": matrix.tolist(),
    }
    return result, scores


def _print_test(result: dict[str, Any], test: Dataset) -> None:
    print(f"\ntest accuracy {result['accuracy']:.2%} on {len(test)} samples, loss {result['loss']:.4f}")
    print("confusion matrix: true class by row, predicted class by column")
    if test.class_names:
        print(", ".join(f"{k} {name}" for k, name in enumerate(test.class_names)))
    print(output.confusion_table(np.array(result["confusion"])) + "\n")


def _write(files: Files, trainer: Trainer, report: dict[str, Any], title: str) -> None:
    """The curves and the report."""
    if files.model is not None:
        print(f"saved the model in {files.model}: apply it with  xpnet predict {files.model}")
    if files.curves is not None:
        output.write_curves(files.curves, trainer.history, title)
        print(f"saved the curves in {files.curves}{files.hint}")
    if files.report is not None:
        output.write_json(files.report, {**report, "history": dict(trainer.history)})
        print(f"saved the report in {files.report}")
    shown = [path for path in (files.grid, files.preview) if path is not None]
    if shown:
        print(f"pictures of the training data: {', '.join(shown)}")
