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
from xpnet import get_backend, nn, to_numpy
from xpnet.cli import output
from xpnet.cli.advice import doctor_command
from xpnet.cli.callbacks import stopping_of, usual_callbacks
from xpnet.cli.checkpoint import ALLOWED, check_resume, run_checkpoint
from xpnet.cli.checkpoint import earlier_options as earlier_options  # which the parser asks for
from xpnet.cli.data import SOURCES, choose
from xpnet.cli.ensemble import intervals_of, train_others
from xpnet.cli.errors import FAILED, INTERRUPTED, OK, TERMINATED, BadInputError, bad_input
from xpnet.cli.measures import coverage_line, coverages, measures_line, regression_measures
from xpnet.cli.model import CODES, FLAT, use_of, versions
from xpnet.cli.options import add_dataset, add_network, count, decay, factor, interval, names_of
from xpnet.cli.parallel import on_ranks
from xpnet.cli.pictures import write_preview, write_samples
from xpnet.cli.reconstruction import code_line, test_code, write_made
from xpnet.cli.run_folder import checkpoint_of, run_folder
from xpnet.cli.run_page import LIVE, live_samples, report_path, show, write_page
from xpnet.cli.settings import TrainSettings as Settings
from xpnet.cli.setup import Setup, check_options, make_network, prepare, say_notes
from xpnet.cli.signals import handling, raising, said
from xpnet.cli.table import stem_of
from xpnet.cli.text import test_text, text_line
from xpnet.core.reading import printable
from xpnet.io.files import require_safetensors
from xpnet.io.generations import names
from xpnet.io.intervals import usual_level
from xpnet.io.locks import check_apart, claimed
from xpnet.io.model import members_of, save
from xpnet.io.writing import check_writable
from xpnet.parallel import Communicator, RanksDifferError, synchronize_batch_norm
from xpnet.train import (
    Callback,
    Diagnostics,
    EarlyStopping,
    EnvironmentWarning,
    Live,
    Progress,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
    predict,
)
from xpnet.train.rounding import PRECISIONS

# what is measured of networks that predict neither classes nor numbers, and how it is said
OTHERS: dict[str, tuple[Any, Any]] = {
    "text": (test_text, text_line),
    "reconstruction": (test_code, code_line),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet train`."""
    parser.description = "Train a network, save it, and say how good it is."
    add_dataset(parser)
    training = add_network(parser)
    ranks = parser.add_argument_group("ranks")
    checkpoints = parser.add_argument_group("checkpoints")
    files = parser.add_argument_group("files")
    training.add_argument(
        "--augment",
        choices=("none", "standard", "strong"),
        metavar="NAME",
        help="standard: random crops, mirrored except for digits; strong: a square cut out (default: none)",
    )
    training.add_argument(
        "--ensemble",
        type=count,
        metavar="N",
        help="networks that decide together; predicted numbers get intervals, for which a tenth of the rows "
        "is kept (default: 1)",
    )
    training.add_argument(
        "--mirrored",
        action="store_true",
        help="predict from each picture and its mirror image together, once trained",
    )
    training.add_argument(
        "--schedule",
        choices=("cosine", "linear", "exponential", "restarts", "onecycle", "step", "constant"),
        metavar="NAME",
        help="cosine, linear, exponential, restarts (two cosines), onecycle (a fifth of the steps up to the "
        "rate, then down), step (halved five times, in equal steps) or constant (default: cosine)",
    )
    training.add_argument(
        "--l1", type=decay, metavar="X", help="penalty X times the sum of the weights' sizes (default: 0)"
    )
    epochs = "epochs at most (default: 50 for digits, 10 for mnist, else 30)"
    training.add_argument("--epochs", type=count, metavar="N", help=epochs)
    training.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after N epochs without a better validation loss or accuracy (default: 15)",
    )
    training.add_argument(
        "--monitor",
        choices=("loss", "accuracy"),
        metavar="NAME",
        help="loss or accuracy; the weights of its best epoch are kept (default: loss)",
    )
    ranks.add_argument(
        "--parallel",
        action="store_true",
        help="train on all ranks: mpiexec -n 2 python -m xpnet train digits --parallel",
    )
    ranks.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="with --parallel: batch norm over the batches of all ranks, not of each",
    )
    ranks.add_argument(
        "--capture", action="store_true", help="one launch a step on a GPU, no tape on NumPy: the same bits"
    )
    types = f"of products: {', '.join(PRECISIONS)} (default: float32); weights stay float32"
    ranks.add_argument("--precision", choices=PRECISIONS, metavar="TYPE", help=types)
    checkpoints.add_argument(
        "--checkpoint", metavar="FILE", help="keep the state of the run here, to resume it after a crash"
    )
    checkpoints.add_argument(
        "--checkpoint-every",
        type=interval,
        metavar="STEPS|MINUTES",
        help="how often: 500 (updates), 10m (minutes) or 2e (epochs); the end is always kept (default: 1e)",
    )
    checkpoints.add_argument(
        "--keep",
        type=count,
        metavar="N",
        help="checkpoints that are kept: FILE, the one before it in FILE.1, ... (default: 2)",
    )
    training.add_argument(
        "--divergence",
        type=factor,
        metavar="X",
        help="end the run when the cost is X times the first one, such as 3 (default: when it is not finite)",
    )
    checkpoints.add_argument(
        "--resume",
        type=checkpoint_of,
        metavar="RUN|FILE",
        help="go on with a run of --run NAME, or from a checkpoint, with the options of its run; others may "
        "be given where that changes nothing of what it has learned, such as --epochs; kept up to date "
        "unless --checkpoint is given",
    )
    checkpoints.add_argument(
        "--allow",
        type=names_of(ALLOWED),
        metavar="PART,PART",
        help=f"with --resume: go on although this is otherwise now, of {', '.join(ALLOWED)}",
    )
    files.add_argument(
        "--run", metavar="NAME", help="all files of the run in runs/NAME, its config.toml and log.txt, too"
    )
    files.add_argument("--overwrite", action="store_true", help="with --run: replace an earlier one")
    files.add_argument(
        "--save", metavar="FILE", help="the model (default: DATA.safetensors; none: do not save)"
    )
    files.add_argument(
        "--plot", metavar="FILE", help="curves, .png .svg .pdf or .csv (default: DATA.png; none: do not plot)"
    )
    files.add_argument(
        "--grid",
        metavar="FILE",
        help="picture of some training samples (default: DATA-samples.png for cifar10 and images)",
    )
    files.add_argument(
        "--preview",
        metavar="FILE",
        help="picture of what --augment does (default: DATA-augmented.png, with --augment)",
    )
    files.add_argument("--json", metavar="FILE", help="settings, history, test accuracy, confusion matrix")
    files.add_argument(
        "--live",
        metavar="HTML",
        nargs="?",
        const=LIVE,
        help="a page that shows the run while it trains, opened if there is a terminal (default: live.html)",
    )
    page = "a page: curves, confusion matrix, mistakes, activations, diagnostics"
    files.add_argument("--report", metavar="HTML", help=page)


def run(settings: Settings) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    if settings.parallel:  # SIGTERM is the launcher's
        return on_ranks(settings, _train)
    with handling((signal.SIGTERM,), raising):
        return on_ranks(settings, _train)


def _train(settings: Settings, group: Communicator) -> int:
    name = choose(settings, "digits")
    _check(settings, name, settings.model or SOURCES[name].model)
    with run_folder(settings, name, group.is_main) as settings:
        return _train_in(settings, name, group)


def _train_in(settings: Settings, name: str, group: Communicator) -> int:
    by_file = name in ("table", "text") and settings.path is not None
    files = _files(settings, stem_of(str(settings.path)) if by_file else name)
    checkpoint = settings.checkpoint or settings.resume
    states = names(checkpoint, settings.keep) if checkpoint and group.is_main else []
    own, live = [*files.paths(), *map(str, states)], [settings.live] if settings.live else []
    resumed = settings.resume if settings.resume not in own else None  # a checkpoint is written again
    with ExitStack() as stack:
        with bad_input():  # no other run writes them from here on
            check_apart([*own, *live], [p for p in (settings.path, settings.config, resumed) if p])
            stack.enter_context(claimed(*own))
        return _train_into(files, name, settings, group)


def _train_into(files: Files, name: str, settings: Settings, group: Communicator) -> int:
    kind = settings.model or SOURCES[name].model
    setup = prepare(settings, name, intervals=settings.ensemble > 1)
    if settings.ensemble > 1 and setup.task not in ("classification", "regression"):
        raise BadInputError(f"--ensemble is for classes and numbers; the model is {kind}")
    if setup.task in ("regression", "reconstruction") and settings.monitor == "accuracy":
        raise BadInputError("--monitor accuracy is for classes; the target is a number")
    say_notes(setup.table)
    training, validation, scaler, model = setup.training, setup.validation, setup.scaler, setup.model
    with bad_input():
        if setup.task != "reconstruction":
            write_samples(files.grid, setup.pictures, scaler)
        write_preview(files.preview, setup.pictures, scaler, setup.augment)
    if settings.sync_batch_norm:
        synchronize_batch_norm(model, group)
    optimizer, loader = setup.optimizer, setup.loader
    lr = optimizer.param_groups[0]["lr"]  # before a schedule sets its first one
    epochs = settings.epochs or SOURCES[name].epochs
    stopping = stopping_of(settings)
    callbacks: list[Callback] = [
        stopping,
        Progress(),
        *usual_callbacks(settings, optimizer, epochs, len(loader)),
    ]
    checkpoint = run_checkpoint(settings, setup, epochs)
    if checkpoint is not None:
        callbacks.append(checkpoint)
    diagnostics = Diagnostics()
    if files.page is not None or settings.live is not None:
        callbacks.append(diagnostics)
    if settings.live is not None and group.is_main:
        with bad_input():
            title = f"{name}, network {setup.describe()}"
            callbacks.append(Live(settings.live, title, diagnostics, **live_samples(setup)))
        show(settings.live)
    options: dict[str, Any] = {"communicator": group, **settings.of_trainer}
    trainer = Trainer(model, setup.loss, optimizer, callbacks, setup.metrics, **options)
    allow: tuple[str, ...] = ()
    if settings.resume and checkpoint is not None:
        allow = check_resume(settings, trainer, setup, checkpoint.command)

    sizes = setup.describe()
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(setup.test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {settings.optimizer}, "
        f"learning rate {lr:g}, batch {loader.batch_size}, seed {settings.seed}, on {get_backend()}"
        + (f", {group.size} ranks" if group.size > 1 else "")
    )
    start, code, failure, scores = time.perf_counter(), OK, "", None
    members: list[nn.Module] = [trainer.model]

    def another() -> tuple[Trainer, EarlyStopping]:
        network, optimizer = make_network(settings, kind, setup.network, setup.pictures)
        stopping = stopping_of(settings)
        callbacks = [stopping, *usual_callbacks(settings, optimizer, epochs, len(loader))]
        options: dict[str, Any] = {**settings.of_trainer, "verbose": False}
        return Trainer(network, setup.loss, optimizer, callbacks, setup.metrics, **options), stopping

    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():  # what they say is said once, in a line
            warnings.simplefilter("ignore", EnvironmentWarning)
            trainer.fit(loader, validation, epochs, settings.resume, allow)
            members += train_others(settings.ensemble, another, setup, epochs)
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
        if code not in (INTERRUPTED, TERMINATED):
            print(f"why: {doctor_command(settings)}")
        with bad_input():
            page = (files.page, settings, setup, trainer, diagnostics, None, failure)
            writes.attempt(lambda: write_page(*page))
        return writes.finish("train", code or FAILED)

    for member in members:
        setup.in_units(member)
    decided = members[0]
    if len(members) > 1:
        decided = nn.Average(*members, probabilities=not setup.regression).eval()
    if settings.mirrored:
        decided = nn.Mirrored(decided).eval()
    report: dict[str, Any] = {
        "kind": kind,
        "task": setup.task,
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
            "l1": settings.l1,
            "label_smoothing": settings.label_smoothing,
            "batch_size": loader.batch_size,
            "epochs": trainer.history.epochs,
            "best_epoch": stopping.best_epoch + 1,
            "augment": settings.augment,
            "seed": settings.seed,
            "backend": str(get_backend()),
        },
        "versions": versions(),
    }
    if setup.table is not None:
        target = setup.table.target
        report |= {"target": target.name or str(target.index), "features": setup.table.columns.features}
    measured = f"validation {settings.monitor} {stopping.best:.4f}"
    kept = f"kept the weights of epoch {stopping.best_epoch + 1} ({measured})"
    if failure:
        print(f"xpnet train: error: {failure}; {kept}, not tested", file=sys.stderr)
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; {kept}")
        if len(members) > 1 and setup.regression:
            report["intervals"] = intervals_of(decided, setup)
        report["test"], scores = _test(trainer, decided, setup, report.get("intervals"))
    with bad_input():
        saved = files.model is not None and writes.attempt(  # first: what was trained must not be lost
            lambda: save(decided, str(files.model), scaler, report)
        )
    if "test" in report:
        _print_test(report["test"], setup, settings, report.get("intervals"))
    if saved:
        print(f"saved the model in {files.model}: {use_of(setup.task, str(files.model))}")
    with bad_input():
        if setup.task == "reconstruction":
            writes.attempt(lambda: write_made(files.grid, trainer.model, setup))
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
    grid: str | None  # pictures of the training data, written before training; or what it makes of samples
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
    coloured = name in ("cifar10", "images") or settings.model in CODES
    grid = output.picture_path(settings.grid, f"{name}-samples.png", "--grid", coloured)
    augmented = settings.augment != "none"
    preview = output.picture_path(settings.preview, f"{name}-augmented.png", "--preview", augmented)
    with bad_input():
        page = report_path(settings.report)
        report_path(settings.live, "--live", check=False)
        if model is not None:
            require_safetensors()
        for path in (model, curves, settings.json, grid, preview):
            if path is not None:
                check_writable(path)
    plain = settings.plot is None and (curves or "").endswith(".csv")
    hint = ' (for a picture: pip install "xpnet[plot]")' if plain else ""
    return Files(model, curves, settings.json, page, grid, preview, hint)


def _check(settings: Settings, name: str, kind: str) -> None:
    """Options that do not go together."""
    check_options(settings, name, kind)
    if settings.sync_batch_norm and not settings.parallel:
        raise BadInputError("--sync-batch-norm is for --parallel")
    if name in ("table", "text") and settings.grid not in (None, "none"):
        raise BadInputError("--grid is for pictures")
    if settings.ensemble > 1 and settings.parallel:
        raise BadInputError("--ensemble is for one process: leave out --parallel")
    if settings.mirrored and (not SOURCES[name].mirrored or kind in FLAT):
        raise BadInputError(
            f"--mirrored is for pictures of things and a network of pictures; the data are {name}, the model "
            f"{kind}"
        )
    if settings.allow and not settings.resume:
        raise BadInputError("--allow is for --resume")
    if settings.preview not in (None, "none") and settings.augment == "none":
        raise BadInputError("--preview shows what --augment does; add --augment standard")


def _test(
    trainer: Trainer, model: nn.Module, setup: Setup, intervals: Any
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Use the test set, once; the results and the scores."""
    if setup.task in OTHERS:
        return OTHERS[setup.task][0](trainer, setup), None
    test, classes = setup.test, setup.network["classes"]
    scores = to_numpy(predict(model, test))
    if setup.regression:
        truth = setup.targets(test)
        result = regression_measures(truth, scores[:, 0])
        if intervals:
            result["intervals"] = coverages(truth, members_of(model, test.x), intervals)
        return result, scores
    labels, predicted = to_numpy(test.y), scores.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes)
    result = {
        "accuracy": float(np.mean(labels == predicted)),
        "loss": float(F.cross_entropy(scores, labels)),
        "samples": len(test),
        "confusion": matrix.tolist(),
    }
    return result, scores


def _print_test(result: dict[str, Any], setup: Setup, settings: Settings, intervals: Any) -> None:
    test = setup.test
    if setup.task in OTHERS:
        print(f"\ntest {OTHERS[setup.task][1](result)}, on {len(test)} samples\n")
        return
    if setup.regression:
        print(f"\ntest {measures_line(result)} on {len(test)} samples")
        for found in result.get("intervals", ()):
            if found["level"] == usual_level(intervals):
                print(coverage_line(found, intervals))
        print()
        if result["r2"] <= 0:
            print(f"that is no better than the mean as the answer for all; why: {doctor_command(settings)}")
        return
    print(f"\ntest accuracy {result['accuracy']:.2%} on {len(test)} samples, loss {result['loss']:.4f}")
    print("confusion matrix: true class by row, predicted class by column")
    if test.class_names:
        print(", ".join(f"{k} {printable(name)}" for k, name in enumerate(test.class_names)))
    matrix = np.array(result["confusion"])
    print(output.confusion_table(matrix) + "\n")
    usual = matrix.sum(axis=1).max() / matrix.sum()  # the accuracy of always saying the most frequent class
    if result["accuracy"] <= usual + 1e-9:
        print(f"that is no better than one answer for all ({usual:.2%}); why: {doctor_command(settings)}")


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
        given_back = report["task"] == "reconstruction"
        what = "samples, and what is made of them" if given_back else "pictures of the training data"
        print(f"{what}: {', '.join(shown)}")
