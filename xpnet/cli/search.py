"""`xpnet search`: coarse-to-fine random search over the settings of `xpnet train`'s perceptron."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from xpnet import get_backend, optim, to_numpy
from xpnet.cli import output
from xpnet.cli.colour import strong
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.executors import make_executor
from xpnet.cli.model import versions
from xpnet.cli.options import add_dataset, count, names_of, pair
from xpnet.cli.settings import TABLE, SourceSettings, TrainSettings
from xpnet.cli.setup import Data, check_options, prepare, read_data, say_notes
from xpnet.cli.signals import handling, raising, said
from xpnet.io.locks import check_apart, claimed
from xpnet.io.writing import check_writable
from xpnet.optim.by_name import OPTIMIZERS
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
    search,
    uniform,
)
from xpnet.search.objective import ReportScore
from xpnet.search.space import Params
from xpnet.search.strategies import Round, ranked
from xpnet.train import Callback, EarlyStopping, LearningRate, StopOnDivergence, Trainer

BATCH_SIZES = [64, 128]
SPACE = Space(
    {
        "lr": loguniform(1e-4, 1e-1),
        "weight_decay": loguniform(1e-6, 1e-2),
        "dropout": uniform(0.0, 0.5, limits=(0, None)),
        "width": integer(64, 1024, log=True),
        "batch_size": choice(BATCH_SIZES),
        "optimizer": choice(["adam", "adamw"]),
    }
)


@dataclass(frozen=True, kw_only=True)
class Settings(SourceSettings):
    """The options of `xpnet search`."""

    trials: tuple[int, int] = (60, 30)
    epochs: tuple[int, int] = (5, 20)
    workers: int = 2
    seed: int = 0
    optimizers: tuple[str, ...] = ("adam", "adamw")
    executor: str | None = None
    journal: str | None = None
    resume: bool = False
    plot: str | None = None
    json: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet search`."""
    parser.description = (
        "Random search for the settings of a perceptron: many short trials, then longer ones in "
        "the ranges of the best; prints the `xpnet train` command of the winner. The test set is not used."
    )
    add_dataset(parser)
    parser.add_argument("--trials", type=pair, metavar="N,N", help="coarse and fine (default: 60,30)")
    parser.add_argument("--epochs", type=pair, metavar="N,N", help="of each of them (default: 5,20)")
    parser.add_argument(
        "--optimizers",
        type=names_of(tuple(OPTIMIZERS)),
        metavar="NAME,NAME",
        help=f"to choose from, of {', '.join(OPTIMIZERS)} (default: adam,adamw)",
    )
    parser.add_argument("--workers", type=count, metavar="N", help="processes; same results (default: 2)")
    parser.add_argument(
        "--seed", type=int, help="of the settings, and of every trial's training (default: 0)"
    )
    parser.add_argument(
        "--executor",
        metavar="NAME",
        help="instead of processes here: mpi (in mpiexec), dask, or dask:ADDRESS of a scheduler",
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="keep finished trials here, at once (default: DATA-search.jsonl; none: do not keep)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the trials in the journal")
    parser.add_argument("--plot", metavar="FILE", help="parallel coordinates and scatter plots, a picture")
    parser.add_argument("--json", metavar="FILE", help="all trials, ranges and the best settings")


def run(settings: Settings) -> int:
    """Check everything, search, say what was found and how to train it; the exit code."""
    name = choose(settings, "digits")
    if name == "text":
        raise BadInputError("xpnet search looks for a perceptron's settings; a text has none")
    usual = settings.journal is None
    settings = replace(settings, journal=_journal(settings, name))
    picture = output.picture_path(settings.plot, "", "--plot", False)
    with bad_input():
        choose_backend(settings)
        own = [path for path in (settings.json, picture) if path is not None]
        journal = [settings.journal] if settings.journal else []
        check_apart([*own, *journal], [settings.path] if settings.path else [])
        for path in own:
            check_writable(path)
    objective = TrainCommand(_common(settings, name))
    objective.check()
    say_notes(_data(objective.common).table)
    if usual and not settings.resume and settings.journal and Path(settings.journal).is_file():
        with bad_input():  # an earlier search: it can go on later, from there
            Path(settings.journal).replace(f"{settings.journal}.1")
        print(f"note: the trials of an earlier search are now in {settings.journal}.1")
    print(
        f"{name}: random search, {settings.trials[0]} trials of {settings.epochs[0]} epochs, then "
        f"{settings.trials[1]} of {settings.epochs[1]}; seed {settings.seed}, "
        f"{_workers(settings)}, on {get_backend()}"
    )
    with ExitStack() as stack:
        with bad_input():  # no other run writes them from here on
            stack.enter_context(claimed(*own))
        if settings.executor is None:  # several processes are ended by whatever has started them
            stack.enter_context(handling((signal.SIGTERM,), raising))
        try:
            return _search(settings, name, objective, picture)
        except KeyboardInterrupt as stop:
            if settings.journal is None:
                raise
            code, word = said(stop)
            kept = f"finished trials are in {settings.journal}, go on with --resume"
            print(f"xpnet search: error: {word}; {kept}", file=sys.stderr)
            return code


def _journal(settings: Settings, name: str) -> str | None:
    """Where finished trials are kept; an earlier search's file of the default name moves aside.

    Raises:
        BadInputError: a search is to go on that is not there.
    """
    if settings.journal == "none":
        if settings.resume:
            raise BadInputError("--resume goes on with a journal: add --journal FILE")
        return None
    path = settings.journal or f"{name}-search.jsonl"
    if settings.resume and not Path(path).is_file():
        raise BadInputError(f"{path}: no such journal to go on with: add --journal FILE")
    return path


def _search(settings: Settings, name: str, objective: TrainCommand, picture: str | None) -> int:
    start = time.perf_counter()
    with bad_input():
        strategy = CoarseToFine(settings.trials, settings.epochs, keep=0.1)
    try:
        with make_executor(settings.executor) as executor:
            result = search(
                objective,
                _space(settings, len(_data(objective.common).training)),
                strategy,
                seed=settings.seed,
                workers=0 if executor is not None else settings.workers,
                executor=executor,
                journal=settings.journal,
                resume=settings.resume,
                metadata={"data": name, "path": settings.path, "device": settings.device, **versions()},
                on_round=lambda current, before: _show_round(objective, current, before),
                on_trial=Counted(objective, sum(settings.trials)),
            )
    except (FileExistsError, ValueError, OSError) as error:
        hint = "; go on with it: --resume" if isinstance(error, FileExistsError) else ""
        raise BadInputError(f"{error}{hint}") from error
    except (TrialError, WorkerDiedError) as error:
        kept = f"; finished trials are in {settings.journal}, go on with --resume" if settings.journal else ""
        raise BadInputError(f"{error}{kept}") from error
    seconds = time.perf_counter() - start
    return _finish(settings, objective, result, seconds, picture)


def _space(settings: Settings, samples: int) -> Space:
    """With the rules that are asked for, and no batch of more samples than there are."""
    sizes = choice([size for size in BATCH_SIZES if size <= samples] or [samples])
    return Space({**SPACE.distributions, "optimizer": choice(settings.optimizers), "batch_size": sizes})


class Counted:
    """A line on a terminal that counts trials, and says the best score so far."""

    def __init__(self, objective: TrainCommand, trials: int) -> None:
        self.objective, self.trials, self.done = objective, trials, 0
        self.best: float | None = None

    def __call__(self, outcome: Outcome) -> None:
        """One more."""
        self.done += 1
        if outcome.score is not None:
            self.best = outcome.score if self.best is None else max(self.best, outcome.score)
        if sys.stderr.isatty():
            text = f"{self.done} of {self.trials} trials, best {self.objective.shown(self.best)}"
            end = "\n" if self.done == self.trials else ""
            print(f"\r{text:40}", end=end, file=sys.stderr, flush=True)


def _workers(settings: Settings) -> str:
    if settings.executor:
        return f"on {settings.executor}'s workers"
    return f"{settings.workers} worker{'s' * (settings.workers > 1)}"


class TrainCommand:
    """The objective: what `xpnet train` does with the same settings, so that it can repeat any trial.

    Args:
        common: what all trials share, the name of the data included.
    """

    def __init__(self, common: TrainSettings) -> None:
        self.common = common

    def settings(self, params: Params, epochs: int) -> TrainSettings:
        """A trial as a run of `xpnet train`. Three digits: what is printed is what is run."""
        return replace(
            self.common,
            layers=(params["width"],),
            optimizer=params["optimizer"],
            lr=_rounded(params["lr"]),
            weight_decay=_rounded(params["weight_decay"]),
            dropout=_rounded(params["dropout"]),
            batch_size=params["batch_size"],
            epochs=epochs,
            patience=epochs,
            monitor="loss" if self.regression else "accuracy",
        )

    @property
    def regression(self) -> bool:
        """Whether a number is predicted; the score is R2 then, else the accuracy, on the validation set."""
        table = _data(self.common).table if choose(self.common, "digits") == "table" else None
        return table is not None and table.target.class_names is None

    def check(self) -> None:
        """Read the data here first: what is wrong with them should be said before workers start."""
        check_options(self.common, choose(self.common, "digits"), "mlp")
        with bad_input():
            _data(self.common)

    def shown(self, score: float | None) -> str:
        """A score in a table."""
        if score is None:
            return "none"
        return f"{score:.4f}" if self.regression else f"{score:.2%}"

    def __call__(self, params: Params, trial: Trial) -> float:
        """Train; the validation accuracy, or R2, of the weights that `xpnet train` would keep."""
        epochs = trial.budget or 1
        settings = self.settings(params, epochs)
        setup = prepare(settings, choose(settings, "digits"), _data(self.common))
        stopping = EarlyStopping(settings.patience, monitor=f"val_{settings.monitor}")
        schedule = LearningRate(optim.CosineAnnealingLR(setup.optimizer, epochs))
        callbacks: list[Callback] = [StopOnDivergence(), stopping, schedule]
        if not setup.regression:
            callbacks.append(ReportScore(trial))
        trainer = Trainer(setup.model, setup.loss, setup.optimizer, callbacks, verbose=False)
        with np.errstate(all="ignore"):
            history = trainer.fit(setup.loader, setup.validation, epochs)
        best = stopping.best_epoch
        if best is None:
            return float("nan")
        trial.info |= {"val_loss": history["val_loss"][best], "epoch": best + 1}
        if setup.regression:  # R2: the share of the target's variance that is explained
            return 1 - history["val_loss"][best] / float(np.var(to_numpy(setup.validation.y)))
        return history["val_accuracy"][best]


@lru_cache(maxsize=1)
def _data(common: TrainSettings) -> Data:
    """Read once in a process, not once a trial: all trials have the same split."""
    name = choose(common, "digits")
    source = SOURCES[name]
    choose_backend(common)
    return read_data(common, name, common.model or source.model)


def _common(settings: Settings, name: str) -> TrainSettings:
    return TrainSettings(
        dataset=name,
        path=settings.path,
        **{key: getattr(settings, key) for key in (*TABLE, "given")},
        backend=settings.backend,
        device=settings.device,
        seed=settings.seed,
        model="mlp" if SOURCES[name].model != "mlp" else None,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


_SHOWN = (
    "seed", "model", "path", *TABLE, "device", "backend", "layers", "optimizer", "lr", "weight_decay",
    "dropout", "batch_size", "epochs", "patience", "monitor",
)  # fmt: skip


_USUAL = (("backend", "numpy"), ("missing", "refuse"), ("text", "ask"))


def command_of(settings: TrainSettings) -> list[str]:
    """The words that run these settings of a trial."""
    words = ["xpnet", "train", str(settings.dataset)]
    for name in _SHOWN:
        value = getattr(settings, name)
        if value is not None and (name, value) not in _USUAL:
            words += ["--" + name.replace("_", "-"), _word(value)]
    return words


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


_COLUMNS = ("lr", "weight_decay", "dropout", "width", "batch_size", "optimizer")


def _show_round(objective: TrainCommand, current: Round, before: list[Outcome]) -> None:
    """Before the fine round: how the coarse one went, and what its best trials say."""
    if not before:
        return
    _table(objective, before, "coarse", 5)
    _edges(before, SPACE)
    print("\nranges that the best tenth spans, for the fine search:")
    for name, distribution in current.space.distributions.items():
        print(f"  {name:12s}  {distribution}")


def _table(objective: TrainCommand, trials: list[Outcome], title: str, rows: int) -> None:
    best = ranked(trials, "max")
    failed = sum(o.status == "failed" for o in trials)
    print(
        f"\n{title}: the best {min(rows, len(best))} of {len(trials)} trials"
        + (f"; {failed} exploded and were broken off" if failed else "")
    )
    measure = "R2" if objective.regression else "accuracy"
    print(f"  trial  {measure:>8}  val loss" + "".join(f"{name:>13s}" for name in _COLUMNS))
    for o in best[:rows]:
        cells = "".join(
            f"{value:13.3g}" if isinstance(value, float) else f"{value:>13}"
            for value in (o.params[name] for name in _COLUMNS)
        )
        print(f"  {o.number:5d}  {objective.shown(o.score):>8}  {o.info['val_loss']:8.4f}{cells}", flush=True)


def _edges(trials: list[Outcome], space: Space) -> None:
    for outcome in ranked(trials, "max")[:1]:
        for warning in space.edges(outcome.params):
            print(f"  note: {warning}")


def _finish(
    settings: Settings,
    objective: TrainCommand,
    result: SearchResult,
    seconds: float,
    picture: str | None,
) -> int:
    """The fine round, the best settings, the files."""
    last = result.rounds[-1]
    _table(objective, result.of(last.name), last.name, 5)
    if not result.top(1):
        print("xpnet search: error: every trial exploded; the ranges begin too high", file=sys.stderr)
        return FAILED
    best = result.best
    _edges([best], next(r.space for r in result.rounds if r.name == best.round))
    words = command_of(objective.settings(best.params, best.budget or 1))
    print(f"\n{len(result.trials)} trials in {seconds:.1f} s")
    measure = "R2 on the validation set" if objective.regression else "validation accuracy"
    print(
        f"{strong('best')}: {objective.shown(best.score)} {measure}, trial {best.number} ({best.round}); "
        "repeat it with"
    )
    print(f"  {shlex.join(words)}")
    print(
        "The test set was not used; the command above uses it, once. The best of many validation scores "
        "is an optimistic one."
    )
    writes = output.Writes()
    if result.missing is not None:
        writes.missing.append(f"{result.missing}; the last trials are not in it")
    with bad_input():
        title = f"{objective.common.dataset}: {len(result.trials)} trials"
        if picture is not None and writes.attempt(lambda: plot.save(result, picture, title)):
            print(f"saved the plots in {picture}")
        metadata = {
            "data": objective.common.dataset,
            "command": shlex.join(words),
            "versions": versions(),
        }
        path, content = settings.json, {**metadata, **result.to_dict()}
        if path is not None and writes.attempt(lambda: output.write_json(path, content)):
            print(f"saved the trials in {path}")
    return writes.finish("search", OK)
