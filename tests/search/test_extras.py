"""Optuna, plots, training objectives, and the command."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.search import helpers
from xpnet import nn
from xpnet.cli import main
from xpnet.data import load_digits, split
from xpnet.search import (
    CoarseToFine,
    OptunaSearch,
    RandomSearch,
    TrainingObjective,
    integer,
    loguniform,
    search,
    uniform,
)

pytestmark = pytest.mark.host

SMALL = ["search", "digits", "--trials", "6,3", "--epochs", "1,2", "--workers", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with xpnet.use_backend("numpy"):
        yield tmp_path


# ---- Optuna ----


def test_optuna_samples_the_same_for_any_workers_and_after_a_cut():
    optuna = pytest.importorskip("optuna")

    def strategy():
        return OptunaSearch(optuna.samplers.TPESampler(seed=0, n_startup_trials=5), trials=20, batch=4)

    alone = search(helpers.noisy, helpers.SPACE, strategy(), journal="j.jsonl")
    assert len(alone.trials) == 20
    assert search(helpers.slow, helpers.SPACE, strategy(), workers=2).to_json() == alone.to_json()
    content = Path("j.jsonl").read_bytes()
    Path("j.jsonl").write_bytes(content[: len(content) // 2])
    again = search(helpers.noisy, helpers.SPACE, strategy(), journal="j.jsonl", resume=True)
    assert again.to_json() == alone.to_json()


def test_optuna_looks_where_the_scores_are_good():
    optuna = pytest.importorskip("optuna")
    strategy = OptunaSearch(optuna.samplers.TPESampler(seed=0), trials=60, batch=5)
    result = search(helpers.smooth, helpers.SPACE, strategy)
    first, last = ([o.score for o in result.trials[part]] for part in (slice(15), slice(-15, None)))
    assert np.median(last) > np.median(first)


def test_an_optuna_pruner_breaks_off_bad_trials():
    optuna = pytest.importorskip("optuna")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)

    def run(workers):
        strategy = OptunaSearch(optuna.samplers.RandomSampler(seed=1), trials=24, batch=4, pruner=pruner)
        return search(helpers.climbing, {"x": uniform(0, 1)}, strategy, workers=workers)

    result = run(0)
    pruned = [o for o in result.trials if o.status == "pruned"]
    complete = [o for o in result.trials if o.status == "complete"]
    assert pruned
    assert all(len(o.values) < 10 for o in pruned)
    assert np.mean([o.params["x"] for o in pruned]) < np.mean([o.params["x"] for o in complete])
    assert result.best.params["x"] == max(o.params["x"] for o in result.trials)
    assert run(2).to_json() == result.to_json()


def test_without_optuna_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[optuna\]"'):
        OptunaSearch()


# ---- training ----


def make_model(params):
    return nn.Sequential(nn.Linear(64, params["width"]), nn.ReLU(), nn.Linear(params["width"], 10))


def test_training_is_the_same_on_workers_and_explosions_are_failed_trials():
    train, validation, _ = split(load_digits(), seed=0)
    objective = TrainingObjective(make_model, train.subset(np.arange(300)), validation)
    space = {"lr": loguniform(1e-4, 1e2), "width": integer(4, 32)}
    strategy = CoarseToFine((8, 3), (2, 3))
    alone = search(objective, space, strategy, seed=1)
    assert search(objective, space, strategy, seed=1, workers=2).to_json() == alone.to_json()
    failed = [o for o in alone.trials if o.status == "failed"]
    assert failed
    assert all("lower the learning rate" in o.reason for o in failed)
    assert alone.best.params["lr"] < min(o.params["lr"] for o in failed)
    assert len(alone.best.values) == alone.best.budget


# ---- plots ----


def test_the_plots_show_every_trial():
    pytest.importorskip("matplotlib")
    from xpnet.search import plot

    result = search(helpers.smooth, helpers.SPACE, CoarseToFine((12, 6), (1, 2)))
    axis = plot.parallel_coordinates(result).axes[0]
    lines = [line for line in axis.lines if len(line.get_ydata()) == 5]  # four parameters and the score
    assert len(lines) == 18
    heights = np.array([line.get_ydata() for line in lines])
    assert heights.min() >= 0
    assert heights.max() <= 1
    np.testing.assert_array_equal(np.argsort(heights[:, -1]), np.arange(18))  # the best is drawn last
    assert plot.scatter(result)._repr_png_().startswith(b"\x89PNG")  # in a notebook
    axes = plot.scatter(result).axes
    assert sum(len(points.get_offsets()) for points in axes[0].collections) == 18
    assert axes[0].get_xscale() == "log"
    plot.save(result, "plot.svg", "title")
    assert Path("plot.svg").read_text().count("<path") > 50


def test_no_scores_no_plot():
    from xpnet.search import plot

    result = search(lambda p, t: float("nan"), {"x": uniform(0, 1)}, RandomSearch(2))
    with pytest.raises(ValueError, match="nothing to plot"):
        plot.parallel_coordinates(result)


# ---- the command ----


def test_the_command_repeats_the_best_trial(capsys):
    pytest.importorskip("safetensors")
    assert main([*SMALL, "--seed", "1", "--json", "s.json", "--plot", "s.png", "--journal", "j"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(Path("s.json").read_text())
    best = found["trials"][found["best"]]
    assert found["command"] in printed
    assert "coarse: the best 5 of 6 trials" in printed
    assert "The test set was not used" in printed
    assert Path("s.png").stat().st_size > 10_000
    words = shlex.split(found["command"])
    given = dict(zip(words[3::2], words[4::2], strict=True))
    for option in ("lr", "weight-decay", "dropout"):
        assert float(given[f"--{option}"]) == pytest.approx(
            best["params"][option.replace("-", "_")], rel=5e-3
        )
    for option, name in (("layers", "width"), ("batch-size", "batch_size"), ("optimizer", "optimizer")):
        assert given[f"--{option}"] == str(best["params"][name])
    assert main([*words[1:], "--json", "t.json", "--save", "none", "--plot", "none"]) == 0
    report = json.loads(Path("t.json").read_text())
    assert report["history"]["val_accuracy"] == [value for _, value in best["values"]]
    assert report["training"]["best_epoch"] == best["info"]["epoch"]
    assert max(report["history"]["val_accuracy"]) == best["score"]

    assert (
        main([*SMALL, "--seed", "1", "--json", "again.json", "--journal", "j", "--resume", "--workers", "2"])
        == 0
    )
    assert Path("again.json").read_text() == Path("s.json").read_text()
    capsys.readouterr()
    assert main([*SMALL, "--seed", "1", "--journal", "j"]) == 2
    assert "exists; resume" in capsys.readouterr().err
    assert main([*SMALL, "--seed", "2", "--journal", "j", "--resume"]) == 2
    assert "its seed is 1, here it is 2" in capsys.readouterr().err


def test_a_search_keeps_a_journal_and_goes_on(capsys):
    assert main([*SMALL, "--seed", "1"]) == 0
    first = capsys.readouterr().out
    assert Path("digits-search.jsonl").is_file()
    assert main([*SMALL, "--seed", "1", "--resume"]) == 0
    winner = lambda out: next(line for line in out.splitlines() if "best:" in line)
    assert winner(capsys.readouterr().out) == winner(first)
    kept = Path("digits-search.jsonl").read_bytes()
    assert main([*SMALL, "--seed", "2"]) == 0
    assert "the trials of an earlier search are now in digits-search.jsonl.1" in capsys.readouterr().out
    assert Path("digits-search.jsonl.1").read_bytes() == kept
    Path("digits-search.jsonl").unlink()
    assert main([*SMALL, "--seed", "2", "--journal", "none"]) == 0
    assert not Path("digits-search.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--trials", "60"],
            "expected two whole numbers, of the coarse and of the fine search, such as 60,30",
        ),
        (["--resume"], "digits-search.jsonl: no such journal to go on with: add --journal FILE"),
        (["--resume", "--journal", "none"], "add --journal FILE"),
        (["--plot", "x.csv"], "ends in .png, .svg or .pdf"),
        (["--workers", "0"], "at least 1"),
        (["--path", "nowhere"], "digits ships with xpnet"),
    ],
)
def test_bad_options(words, message, capsys):
    assert main(["search", "digits", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())
