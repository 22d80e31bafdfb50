"""`xpnet train`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import get_backend, optim, to_numpy
from xpnet.cli import output
from xpnet.cli.checkpoint import ALLOWED, check_resume, run_checkpoint
from xpnet.cli.checkpoint import earlier_options as earlier_options  # which the parser asks for
from xpnet.cli.data import SOURCES, choose
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.model import versions
from xpnet.cli.options import add_dataset, add_network, count, factor, interval, names_of
from xpnet.cli.parallel import on_ranks
from xpnet.cli.pictures import write_preview, write_samples
from xpnet.cli.report import report_path, write_page
from xpnet.cli.settings import TrainSettings as Settings
from xpnet.cli.setup import check_options, prepare
from xpnet.cli.signals import handling, raising, said
from xpnet.core.reading import printable
from xpnet.data import Dataset
from xpnet.io.files import require_safetensors
from xpnet.io.generations import names
from xpnet.io.locks import check_apart, claimed
from xpnet.io.model import save
from xpnet.io.writing import check_writable
from xpnet.parallel import Communicator, RanksDifferError, synchronize_batch_norm
from xpnet.train import (
    Callback,
    Diagnostics,
    EarlyStopping,
    EnvironmentWarning,
    LearningRate,
    Progress,
    StopOnDivergence,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet train`."""
    parser.description = "Train a network with batch norm on pictures, and print its test accuracy."
    add_dataset(parser)
    add_network(parser)
    parser.add_argument(
        "--augment",
        choices=("none", "standard"),
        help="standard: random crops of padded pictures, mirrored except for digits (default: none)",
    )
    parser.add_argument("--schedule", choices=("cosine", "constant"), help="(default: cosine)")
    parser.add_argument(
        "--epochs", type=count, help="epochs at most (default: 50 for digits, 10 for mnist, else 30)"
    )
    parser.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after N epochs without a better validation loss or accuracy (default: 15)",
    )
    parser.add_argument(
        "--monitor",
        choices=("loss", "accuracy"),
        help="which of the two; the weights of its best epoch are kept (default: loss)",
    )
    parser.add_argument(
        "--parallel",
        action="store_true",
        help="train on all ranks: mpiexec -n 2 python -m xpnet train digits --parallel",
    )
    parser.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="with --parallel: batch norm over the batches of all ranks, not of each",
    )
    parser.add_argument(
        "--capture", action="store_true", help="on a GPU, one launch a step, with the same bits"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="keep the state of the run here, to resume it after a crash"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=interval,
        metavar="STEPS|MINUTES",
        help="how often: 500 (updates), 10m (minutes) or 2e (epochs); the end is always kept (default: 1e)",
    )
    parser.add_argument(
        "--keep",
        type=count,
        metavar="N",
        help="checkpoints that are kept: FILE, the one before it in FILE.1, ... (default: 2)",
    )
    parser.add_argument(
        "--divergence",
        type=factor,
        metavar="X",
        help="end the run when the cost is X times the first one, such as 3 (default: when it is not finite)",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="go on from a checkpoint, with the options of its run; others may be given where that changes "
        "nothing of what it has learned, such as --epochs; kept up to date unless --checkpoint is given",
    )
    parser.add_argument(
        "--allow",
        type=names_of(ALLOWED),
        metavar="PART,PART",
        help=f"with --resume: go on although this is otherwise now, of {', '.join(ALLOWED)}",
    )
    parser.add_argument(
        "--save", metavar="FILE", help="the model (default: DATA.safetensors; none: do not save)"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="curves, .png .svg .pdf or .csv (default: DATA.png; none: do not plot)"
    )
    parser.add_argument(
        "--grid",
        metavar="FILE",
        help="picture of some training samples (default: DATA-samples.png for cifar10 and images)",
    )
    parser.add_argument(
        "--preview",
        metavar="FILE",
        help="picture of what --augment does (default: DATA-augmented.png, with --augment)",
    )
    parser.add_argument("--json", metavar="FILE", help="settings, history, test accuracy, confusion matrix")
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="a page about the run: curves, confusion matrix, worst mistakes, activations, diagnostics",
    )


def run(settings: Settings) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    if settings.parallel:  # SIGTERM is the launcher's
        return on_ranks(settings, _train)
    with handling((signal.SIGTERM,), raising):
        return on_ranks(settings, _train)


def _train(settings: Settings, group: Communicator) -> int:
    name = choose(settings, "digits")
    _check(settings, name, settings.model or SOURCES[name].model)
    files = _files(settings, name)
    checkpoint = settings.checkpoint or settings.resume
    states = names(checkpoint, settings.keep) if checkpoint and group.is_main else []
    own = [*files.paths(), *map(str, states)]
    with ExitStack() as stack:
        with bad_input():  # no other run writes them from here on
            check_apart(own, [path for path in (settings.resume, settings.path) if path and path not in own])
            stack.enter_context(claimed(*own))
        return _train_into(files, name, settings, group)


def _train_into(files: Files, name: str, settings: Settings, group: Communicator) -> int:
    kind = settings.model or SOURCES[name].model
    setup = prepare(settings, name)
    training, validation, scaler, model = setup.training, setup.validation, setup.scaler, setup.model
    with bad_input():
        write_samples(files.grid, setup.pictures, scaler)
        write_preview(files.preview, setup.pictures, scaler, setup.augment)
    if settings.sync_batch_norm:
        synchronize_batch_norm(model, group)
    optimizer, loader = setup.optimizer, setup.loader
    epochs = settings.epochs or SOURCES[name].epochs
    stopping = EarlyStopping(settings.patience, monitor=f"val_{settings.monitor}")
    callbacks: list[Callback] = [stopping, Progress()]
    if settings.divergence is not None:
        callbacks.append(StopOnDivergence(settings.divergence))
    if settings.schedule == "cosine":
        callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
    checkpoint = run_checkpoint(settings, setup, epochs)
    if checkpoint is not None:
        callbacks.append(checkpoint)
    diagnostics = Diagnostics()
    if files.page is not None:
        callbacks.append(diagnostics)
    trainer = Trainer(
        model, F.cross_entropy, optimizer, callbacks, communicator=group, capture=settings.capture
    )
    allow: tuple[str, ...] = ()
    if settings.resume and checkpoint is not None:
        allow = check_resume(settings, trainer, setup, checkpoint.command)

    lr = optimizer.param_groups[0]["lr"]
    sizes = setup.describe()
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(setup.test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {settings.optimizer}, "
        f"learning rate {lr:g}, batch {loader.batch_size}, seed {settings.seed}, on {get_backend()}"
        + (f", {group.size} ranks" if group.size > 1 else "")
    )
    start, code, failure, scores = time.perf_counter(), OK, "", None
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():  # what they say is said once, in a line
            warnings.simplefilter("ignore", EnvironmentWarning)
            trainer.fit(loader, validation, epochs, settings.resume, allow)
    except KeyboardInterrupt as stop:
        code, failure = said(stop)
    except TrainingDivergedError as error:
        code, failure = FAILED, str(error)
    except RanksDifferError as error:
        raise BadInputError(str(error)) from error
    seconds = time.perf_counter() - start
    if not group.is_main:
        return code
    writes = output.Writes()
    if checkpoint is not None and checkpoint.missing is not None:
        writes.missing.append(f"{checkpoint.missing}; what it holds is an older state, if it is there")
    if failure and checkpoint is not None and checkpoint.path.is_file():
        print(f"to go on: xpnet train --resume {checkpoint.path}")
    if stopping.best_epoch is None:
        failure = failure or f"the validation {settings.monitor} was never a finite number"
        written = "nothing" if files.page is None else f"only {files.page}"
        print(f"xpnet train: error: {failure}; {written} was written", file=sys.stderr)
        with bad_input():
            page = (files.page, settings, setup, trainer, diagnostics, None, failure)
            writes.attempt(lambda: write_page(*page))
        return writes.finish("train", code or FAILED)

    report: dict[str, Any] = {
        "kind": kind,
        "model": setup.network,
        "shape": setup.shape,
        "picture": list(setup.pictures.x.shape[1:]),
        "data": name,
        "size": setup.size,
        "class_names": training.class_names,
        "training": {
            "optimizer": settings.optimizer,
            "lr": lr,
            "schedule": settings.schedule,
            "weight_decay": settings.weight_decay,
            "batch_size": loader.batch_size,
            "epochs": trainer.history.epochs,
            "best_epoch": stopping.best_epoch + 1,
            "augment": settings.augment,
            "seed": settings.seed,
            "backend": str(get_backend()),
        },
        "versions": versions(),
    }
    measured = f"validation {settings.monitor} {stopping.best:.4f}"
    kept = f"kept the weights of epoch {stopping.best_epoch + 1} ({measured})"
    if failure:
        print(f"xpnet train: error: {failure}; {kept}, not tested", file=sys.stderr)
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; {kept}")
        report["test"], scores = _test(trainer, setup.test, setup.network["classes"])
    with bad_input():
        saved = files.model is not None and writes.attempt(  # first: what was trained must not be lost
            lambda: save(trainer.model, str(files.model), scaler, report)
        )
    if scores is not None:
        _print_test(report["test"], setup.test)
    if saved:
        print(f"saved the model in {files.model}: apply it with  xpnet predict {files.model}")
    with bad_input():
        _write(files, trainer, report, f"{name}, network {sizes}", writes)
        writes.attempt(lambda: write_page(files.page, settings, setup, trainer, diagnostics, scores, failure))
    return writes.finish("train", code)


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

    def paths(self) -> list[str]:
        """Those that are wanted."""
        found = (self.model, self.curves, self.report, self.page, self.grid, self.preview)
        return [path for path in found if path is not None]


def _files(settings: Settings, name: str) -> Files:
    """Every path and package that the end of the run needs, checked at its beginning."""
    model = None if settings.save == "none" else settings.save or f"{name}.safetensors"
    curves = output.plot_path(settings.plot, name)
    coloured = name in ("cifar10", "images")
    grid = output.picture_path(settings.grid, f"{name}-samples.png", "--grid", coloured)
    augmented = settings.augment != "none"
    preview = output.picture_path(settings.preview, f"{name}-augmented.png", "--preview", augmented)
    with bad_input():
        page = report_path(settings.report)
        if model is not None:
            require_safetensors()
        for path in (model, curves, settings.json, grid, preview):
            if path is not None:
                check_writable(path)
    plain = settings.plot is None and curves is not None and curves.endswith(".csv")
    hint = ' (for a picture: pip install "xpnet[plot]")' if plain else ""
    return Files(model, curves, settings.json, page, grid, preview, hint)


def _check(settings: Settings, name: str, kind: str) -> None:
    """Options that do not go together."""
    check_options(settings, name, kind)
    if settings.sync_batch_norm and not settings.parallel:
        raise BadInputError("--sync-batch-norm is for --parallel")
    if settings.allow and not settings.resume:
        raise BadInputError("--allow is for --resume")
    if settings.preview not in (None, "none") and settings.augment == "none":
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
        print(", ".join(f"{k} {printable(name)}" for k, name in enumerate(test.class_names)))
    print(output.confusion_table(np.array(result["confusion"])) + "\n")


def _write(files: Files, trainer: Trainer, report: dict[str, Any], title: str, writes: output.Writes) -> None:
    """The curves and the report."""
    curves, path = files.curves, files.report
    if curves and writes.attempt(lambda: output.write_curves(curves, trainer.history, title)):
        print(f"saved the curves in {curves}{files.hint}")
    content = {**report, "history": dict(trainer.history)}
    if path and writes.attempt(lambda: output.write_json(path, content)):
        print(f"saved the report in {path}")
    shown = [picture for picture in (files.grid, files.preview) if picture is not None]
    if shown:
        print(f"pictures of the training data: {', '.join(shown)}")
