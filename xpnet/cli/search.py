"""`xpnet search`: coarse-to-fine random search over the settings of `xpnet train`'s perceptron."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from functools import lru_cache

import numpy as np

from xpnet import functional as F
from xpnet import get_backend, optim
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.executors import make_executor
from xpnet.cli.model import versions
from xpnet.cli.setup import Data, prepare, read_data
from xpnet.io.files import check_writable
from xpnet.search import (
    CoarseToFine,
    Outcome,
    SearchResult,
    Space,
    Trial,
    TrialError,
    WorkerDiedError,
    choice,
    integer,
    loguniform,
    plot,
    uniform,
)
from xpnet.search import search as run_search
from xpnet.search.objective import Report
from xpnet.search.space import Params
from xpnet.search.strategies import Round, ranked
from xpnet.train import Callback, EarlyStopping, LearningRate, StopOnDivergence, Trainer

SPACE = Space(
    {
        "lr": loguniform(1e-4, 1e-1),
        "weight_decay": loguniform(1e-6, 1e-2),
        "dropout": uniform(0.0, 0.5, limits=(0, None)),
        "width": integer(64, 1024, log=True),
        "batch_size": choice([64, 128]),
        "optimizer": choice(["adam", "adamw"]),
    }
)


def search(options: argparse.Namespace) -> int:
    """Check everything, search, say what was found and how to train it; the exit code."""
    name = choose(options, "digits")
    if options.resume and not options.journal:
        raise BadInputError("--resume goes on with a journal: add --journal FILE")
    picture = output.picture_path(options.plot, "", "--plot", False)
    with bad_input():
        choose_backend(options)
        for path in (options.json, picture):
            if path is not None:
                check_writable(path)
    objective = TrainCommand(name, _common(options, name))
    objective.check()
    print(
        f"{name}: random search, {options.trials[0]} trials of {options.epochs[0]} epochs, then "
        f"{options.trials[1]} of {options.epochs[1]}; seed {options.seed}, "
        f"{_workers(options)}, on {get_backend()}"
    )
    start = time.perf_counter()
    with bad_input():
        strategy = CoarseToFine(options.trials, options.epochs, keep=0.1)
    try:
        with make_executor(options.executor) as executor:
            result = run_search(
                objective,
                SPACE,
                strategy,
                seed=options.seed,
                workers=0 if executor is not None else options.workers,
                executor=executor,
                journal=options.journal,
                resume=options.resume,
                facts={"data": name, "path": options.path, "device": options.device, **versions()},
                on_round=_show_round,
            )
    except (FileExistsError, ValueError, OSError) as error:
        hint = "; go on with it: --resume" if isinstance(error, FileExistsError) else ""
        raise BadInputError(f"{error}{hint}") from error
    except (TrialError, WorkerDiedError) as error:
        kept = f"; finished trials are in {options.journal}, go on with --resume" if options.journal else ""
        raise BadInputError(f"{error}{kept}") from error
    seconds = time.perf_counter() - start
    return _finish(options, objective, result, seconds, picture)


def _workers(options: argparse.Namespace) -> str:
    if options.executor:
        return f"on {options.executor}'s workers"
    return f"{options.workers} worker{'s' * (options.workers > 1)}"


class TrainCommand:
    """The objective: what `xpnet train` does with the same settings, so that it can repeat any trial.

    Args:
        name: of the data.
        common: options that all trials share, as words of the command line.
    """

    def __init__(self, name: str, common: list[str]) -> None:
        self.name, self.common = name, common

    def words(self, params: Params, epochs: int) -> list[str]:
        """The arguments of `xpnet train` for these settings. Three digits: what is printed is what is run."""
        return [
            "train", self.name, *self.common,
            "--layers", str(params["width"]),
            "--optimizer", params["optimizer"],
            "--lr", f"{params['lr']:.3g}",
            "--weight-decay", f"{params['weight_decay']:.3g}",
            "--dropout", f"{params['dropout']:.3g}",
            "--batch-size", str(params["batch_size"]),
            "--epochs", str(epochs),
            "--patience", str(epochs),
            "--monitor", "accuracy",
        ]  # fmt: skip

    def check(self) -> None:
        """Read the data here first: what is wrong with them should be said before workers start."""
        with bad_input():
            _data(("train", self.name, *self.common))

    def __call__(self, params: Params, trial: Trial) -> float:
        """Train; the validation accuracy of the weights that `xpnet train` would keep."""
        from xpnet.cli.command import parser

        options = parser().parse_args(self.words(params, trial.budget or 1))
        epochs = options.epochs
        setup = prepare(options, self.name, _data(("train", self.name, *self.common)))
        stopping = EarlyStopping(options.patience, monitor=f"val_{options.monitor}")
        schedule = LearningRate(optim.CosineAnnealingLR(setup.optimizer, epochs))
        callbacks: list[Callback] = [StopOnDivergence(), stopping, schedule, Report(trial)]
        trainer = Trainer(setup.model, F.cross_entropy, setup.optimizer, callbacks)
        with np.errstate(all="ignore"):
            history = trainer.fit(setup.loader, setup.validation, epochs)
        best = stopping.best_epoch
        if best is None:
            return float("nan")
        trial.info |= {"val_loss": history["val_loss"][best], "epoch": best + 1}
        return history["val_accuracy"][best]


@lru_cache(maxsize=1)
def _data(words: tuple[str, ...]) -> Data:
    """Read once in a process, not once a trial: all trials have the same split."""
    from xpnet.cli.command import parser

    options = parser().parse_args(words)
    source = SOURCES[options.dataset]
    choose_backend(options)
    return read_data(options, options.dataset, options.model or source.model, source.size)


def _common(options: argparse.Namespace, name: str) -> list[str]:
    words = ["--seed", str(options.seed)]
    if SOURCES[name].model != "mlp":
        words += ["--model", "mlp"]
    for option in ("path", "device"):
        value = getattr(options, option)
        words += [f"--{option}", value] if value is not None else []
    return words + (["--backend", options.backend] if options.backend != "numpy" else [])


_COLUMNS = ("lr", "weight_decay", "dropout", "width", "batch_size", "optimizer")


def _show_round(current: Round, before: list[Outcome]) -> None:
    """Before the fine round: how the coarse one went, and what its best trials say."""
    if not before:
        return
    _table(before, "coarse", 5)
    _edges(before, SPACE)
    print("\nranges that the best tenth spans, for the fine search:")
    for name, distribution in current.space.distributions.items():
        print(f"  {name:12s}  {distribution}")


def _table(trials: list[Outcome], title: str, rows: int) -> None:
    best = ranked(trials, "max")
    failed = sum(o.status == "failed" for o in trials)
    print(
        f"\n{title}: the best {min(rows, len(best))} of {len(trials)} trials"
        + (f"; {failed} exploded and were broken off" if failed else "")
    )
    print("  trial  accuracy  val loss" + "".join(f"{name:>13s}" for name in _COLUMNS))
    for o in best[:rows]:
        cells = "".join(
            f"{value:13.3g}" if isinstance(value, float) else f"{value:>13}"
            for value in (o.params[name] for name in _COLUMNS)
        )
        print(f"  {o.number:5d}  {o.score:8.2%}  {o.info['val_loss']:8.4f}{cells}", flush=True)


def _edges(trials: list[Outcome], space: Space) -> None:
    for outcome in ranked(trials, "max")[:1]:
        for warning in space.edges(outcome.params):
            print(f"  note: {warning}")


def _finish(
    options: argparse.Namespace,
    objective: TrainCommand,
    result: SearchResult,
    seconds: float,
    picture: str | None,
) -> int:
    """The fine round, the best settings, the files."""
    last = result.rounds[-1]
    _table(result.of(last.name), last.name, 5)
    if not result.top(1):
        print("xpnet search: error: every trial exploded; the ranges begin too high", file=sys.stderr)
        return FAILED
    best = result.best
    _edges([best], next(r.space for r in result.rounds if r.name == best.round))
    words = ["xpnet", *objective.words(best.params, best.budget or 1)]
    print(f"\n{len(result.trials)} trials in {seconds:.1f} s")
    print(f"best: {best.score:.2%} validation accuracy, trial {best.number} ({best.round}); repeat it with")
    print(f"  {shlex.join(words)}")
    print(
        "The test set was not used; the command above uses it, once. The best of many validation accuracies "
        "is an optimistic one."
    )
    with bad_input():
        if picture is not None:
            plot.save(result, picture, f"{objective.name}: {len(result.trials)} trials")
            print(f"saved the plots in {picture}")
        if options.json is not None:
            facts = {"data": objective.name, "command": shlex.join(words), "versions": versions()}
            output.write_json(options.json, {**facts, **result.to_dict()})
            print(f"saved the trials in {options.json}")
    return OK
