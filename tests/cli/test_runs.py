"""Runs in folders of their own, options from TOML files, and the table that compares runs."""

import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet.cli import main

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]

QUICK = ["train", "digits", "--epochs", "2"]


def names(path="."):
    return sorted(p.name for p in Path(path).iterdir())


def theta(path):
    return xpnet.to_numpy(xpnet.load(path).model.theta)


def test_a_run_has_a_folder_of_its_own(capsys):
    words = ["--run", "a", "--seed", "3", "--layers", "16,8", "--keep", "3", "--checkpoint", "c"]
    assert main([*QUICK, *words, "--checkpoint-every", "5m"]) == 0
    assert {"c", "runs"} <= set(names())
    assert not [name for name in names() if name.startswith("digits")]
    curves = "curves.png" if Path("runs/a/curves.png").exists() else "curves.csv"
    assert {"config.toml", curves, "model.safetensors", "report.json"} <= set(names("runs/a"))
    assert tomllib.loads(Path("runs/a/config.toml").read_text()) == {
        "data": "digits", "epochs": 2, "seed": 3, "layers": [16, 8], "keep": 3, "checkpoint": "c",
        "checkpoint-every": "5m",
    }  # fmt: skip
    capsys.readouterr()
    assert main([*QUICK, "--run", "a"]) == 2
    assert "holds an earlier run: choose another name, or add --overwrite" in capsys.readouterr().err
    assert main([*QUICK, "--run", "a", "--overwrite"]) == 0
    assert tomllib.loads(Path("runs/a/config.toml").read_text()) == {"data": "digits", "epochs": 2}
    assert main([*QUICK, "--run", "b", "--save", "own.safetensors"]) == 0
    assert "model.safetensors" not in names("runs/b")
    assert "own.safetensors" in names()


def test_a_run_goes_on_by_its_name(capsys):
    words = ["train", "digits", "--schedule", "constant", "--layers", "16"]
    assert main([*words, "--epochs", "3", "--run", "whole"]) == 0
    assert main([*words, "--epochs", "1", "--run", "a"]) == 0
    assert main(["train", "--resume", "a", "--epochs", "3"]) == 0
    assert "resumed runs/a/checkpoint.safetensors after 1 epochs" in capsys.readouterr().out
    assert np.array_equal(theta("runs/a/model.safetensors"), theta("runs/whole/model.safetensors"))
    reports = (json.loads(Path(f"runs/{name}/report.json").read_text()) for name in ("a", "whole"))
    one, other = (report["history"]["val_loss"] for report in reports)
    assert one == other
    assert Path("runs/a/config.toml").read_text() == Path("runs/whole/config.toml").read_text()
    assert names() == ["runs"]
    assert main(["train", "--resume", "nobody"]) == 2
    assert "nobody: no such file" in capsys.readouterr().err
    Path("runs/empty").mkdir()
    assert main(["train", "--resume", "empty"]) == 2
    assert "runs/empty holds no checkpoint.safetensors" in capsys.readouterr().err


def test_a_run_that_learned_nothing_names_the_doctor(capsys):
    options = ["--optimizer", "sgd", "--lr", "100"]
    assert main(["train", "digits", *options, "--epochs", "3", "--save", "none", "--plot", "none"]) == 0
    out = capsys.readouterr().out
    assert "no better than one answer for all" in out
    assert "why: xpnet doctor digits --optimizer sgd --lr 100.0" in out
    assert main(["doctor", "digits", *options]) == 1
    assert "Too high: the loss explodes" in capsys.readouterr().out
    assert main([*QUICK, "--save", "none", "--plot", "none"]) == 0
    assert "doctor" not in capsys.readouterr().out


def test_a_refused_run_leaves_the_earlier_one_whole(capsys):
    assert main([*QUICK, "--run", "a"]) == 0
    before = {path: path.read_bytes() for path in Path("runs/a").iterdir()}
    assert main(["train", "digits", "--run", "a", "--overwrite", "--batch-size", "9999"]) == 2
    assert {path: path.read_bytes() for path in Path("runs/a").iterdir()} == before


def test_a_config_repeats_a_run_and_options_prevail():
    assert main([*QUICK, "--seed", "3", "--layers", "16", "--run", "a"]) == 0
    assert main(["train", "--config", "runs/a/config.toml", "--run", "b"]) == 0
    assert main(["train", "--config=runs/a/config.toml", "--seed", "4", "--run", "c"]) == 0
    first, same, other = (theta(f"runs/{name}/model.safetensors") for name in "abc")
    assert np.array_equal(first, same)
    assert first.shape == other.shape
    assert not np.array_equal(first, other)


def test_a_config_names_no_files_of_its_run_and_its_data_from_anywhere(tmp_path, monkeypatch):
    Path("t.csv").write_text("a,y\n" + "1.5,u\n2.5,v\n3.5,u\n0.5,v\n" * 9)
    table = ["train", "table", "t.csv", "--target", "y", "--epochs", "1"]
    assert main([*table, "--run", "a", "--report", "page.html", "--plot", "none"]) == 0
    before = Path("page.html").read_bytes()
    config = Path("runs/a/config.toml").resolve()
    assert "page.html" not in config.read_text()
    assert 'plot = "none"' in config.read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--config", str(config), "--run", "b"]) == 0
    assert Path("runs/b/report.html").exists()
    assert config.parents[2].joinpath("page.html").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "'epoch' is no option of xpnet train; did you mean '--epochs'?"),
        ("lr = 'fast'", "argument --lr: expected a number above 0, got 'fast'"),
        ("epochs = true", "epochs = True: expected a text, a number or a list"),
        ("parallel = 1", "parallel is true or false, got 1"),
        ("epochs = ", "c.toml: not a TOML file of options"),
        ("run = 'x'", "'run' is no option"),
    ],
)
def test_bad_configs_are_one_line(text, message, capsys):
    Path("c.toml").write_text(text)
    assert main(["train", "digits", "--config", "c.toml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "a/b"], "expected the name of a folder in runs"),
        (["--run", ".."], "expected the name of a folder in runs"),
        (["--overwrite"], "--overwrite is for --run NAME"),
        (["--run", "a", "--plot", "x.gif"], "ends in .png, .svg, .pdf or .csv"),
        (["--run", "a", "--batch-size", "9999"], "there are only 1258 training samples"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing(words, message, capsys):
    assert main(["train", "digits", *words]) == 2
    assert message in capsys.readouterr().err
    assert names() == []


def test_a_resumed_run_needs_no_folder(capsys):
    words = ["train", "digits", "--schedule", "constant", "--epochs", "2", "--checkpoint", "c"]
    assert main([*words, "--run", "a"]) == 0
    assert main(["train", "--resume", "c", "--epochs", "3", "--save", "m.st"]) == 0
    assert Path("m.st").exists()


def test_runs_are_compared(capsys):
    for name, seed in (("a", "0"), ("b$", "1")):
        assert main([*QUICK, "--run", name, "--seed", seed]) == 0
    path = Path("runs/b$/report.json")
    report = json.loads(path.read_text())
    report["test"]["accuracy"] = 1.0  # the better one is not the first by name
    report["training"]["best_epoch"], report["history"]["val_loss"] = (
        1,
        [0.125, 0.75],
    )  # nor the best epoch the last
    path.write_text(json.dumps(report))
    reports = {name: json.loads(Path("runs", name, "report.json").read_text()) for name in ("a", "b$")}
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "run",
        "data",
        "network",
        "optimizer",
        "lr",
        "epochs",
        "best",
        "val",
        "loss",
        "test",
    ]
    best = max(reports, key=lambda name: reports[name]["test"]["accuracy"])
    assert [line.split()[0] for line in lines[1:]] == [best, *(name for name in reports if name != best)]
    assert lines[1].split()[-4:-1] == ["1", "0.125", "accuracy"]
    assert lines[1].split()[-1] == f"{reports[best]['test']['accuracy']:.4g}"
    assert main(["runs", "a"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    pytest.importorskip("matplotlib")
    assert main(["runs", "--plot", "r.svg"]) == 0
    assert Path("r.svg").read_text().startswith("<?xml")


def test_runs_are_compared_within_a_task_and_data(capsys):
    Path("t.csv").write_text("x,y\n" + "".join(f"{i % 17},{2.5 * (i % 17) + i % 3}\n" for i in range(60)))
    more = ["--epochs", "2", "--target", "y", "--task", "regression", "--plot", "none"]
    assert main(["train", "table", "t.csv", *more, "--lr", "0.01", "--run", "low"]) == 0
    assert main(["train", "table", "t.csv", *more, "--lr", "0.05", "--epochs", "9", "--run", "high"]) == 0
    assert main([*QUICK, "--run", "digits"]) == 0
    reports = {name: Path("runs", name, "report.json") for name in ("low", "high", "digits")}
    accuracy = json.loads(reports["digits"].read_text())["test"]["accuracy"]
    for name, r2 in (("low", accuracy - 0.1), ("high", accuracy + 0.1)):  # the digits would be between them
        report = json.loads(reports[name].read_text())
        report["test"]["r2"] = r2
        reports[name].write_text(json.dumps(report))
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    found = [(line[0], line[-2], line[-1]) for line in lines]
    assert found == [
        ("digits", "accuracy", f"{accuracy:.4g}"),
        ("high", "r2", f"{accuracy + 0.1:.4g}"),
        ("low", "r2", f"{accuracy - 0.1:.4g}"),
    ]


def test_a_run_that_was_killed_is_listed_as_unfinished(capsys):
    assert main([*QUICK, "--run", "done"]) == 0
    assert main([*QUICK, "--run", "killed", "--lr", "0.002"]) == 0
    losses = json.loads(Path("runs/killed/report.json").read_text())["history"]["val_loss"]
    Path("runs/killed/report.json").unlink()
    Path("runs/early").mkdir()  # killed before its first checkpoint
    Path("runs/early/config.toml").write_text(Path("runs/killed/config.toml").read_text())
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(line[0], line[-2] if line[0] == "done" else line[-1]) for line in lines] == [
        ("done", "accuracy"),
        ("early", "unfinished"),
        ("killed", "unfinished"),
    ]
    best = losses.index(min(losses)) + 1
    assert lines[2][-5:] == ["0.002", str(len(losses)), str(best), f"{min(losses):.4g}", "unfinished"]
    assert lines[1][-3:] == ["0.002", "0", "unfinished"]


def test_runs_refuses_in_one_line(capsys):
    assert main(["runs"]) == 2
    assert "runs: no runs; xpnet train digits --run NAME makes one" in capsys.readouterr().err
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/report.json").write_text("{}")
    for words, message in ((["b"], "no run 'b'; there are a"), ([], "not the report of a run")):
        assert main(["runs", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


# ---- the log --------------------------------------------------------------------------------------------


def log(name="a"):
    return Path("runs", name, "log.txt").read_text()


def test_the_log_is_what_was_printed(capsys):
    assert main([*QUICK, "--run", "a"]) == 0
    printed = capsys.readouterr().out
    assert log() == printed
    assert [line[:10] for line in log().splitlines() if line.startswith("epoch")] == [
        "epoch   1/",
        "epoch   2/",
    ]
    assert (
        main(["train", "--resume", "a", "--epochs", "3", "--schedule", "constant", "--allow", "callbacks"])
        == 0
    )
    assert log() == printed + capsys.readouterr().out
    assert main([*QUICK, "--run", "a", "--overwrite", "--epochs", "1"]) == 0
    assert log() == capsys.readouterr().out


def test_the_log_holds_errors_and_no_bars(capsys, monkeypatch):
    words = [*QUICK, "--run", "a", "--lr", "1e30", "--optimizer", "sgd"]
    monkeypatch.setattr("xpnet.train.progress._on_a_terminal", lambda: True)
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "xpnet train: error: " in log()
    assert "batch" in captured.err  # the bar, which was there
    assert "\r" not in log()
    assert "batch/s" not in log()


def test_a_refused_command_leaves_the_log_as_it_was(capsys):
    assert main([*QUICK, "--run", "a"]) == 0
    before = log()
    for words in (["--lr", "0.5"], ["--batch-size", "5000"]):
        assert main(["train", "--resume", "a", *words]) == 2
        assert log() == before
    assert main([*QUICK, "--run", "a", "--overwrite", "--batch-size", "5000"]) == 2
    assert log() == before
    assert main([*QUICK, "--run", "b", "--batch-size", "5000"]) == 2
    assert not Path("runs/b").exists()


def test_a_full_disk_ends_the_log_and_not_the_run(capsys, monkeypatch):
    from xpnet.cli import log as module

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    usual = module._Log.__init__
    monkeypatch.setattr(module._Log, "__init__", lambda self, file, path: usual(self, Full(), path))
    assert main([*QUICK, "--run", "a"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("nothing more is written to runs/a/log.txt: [Errno 28]") == 1
    assert "epoch   2/2" in captured.out
    assert Path("runs/a/model.safetensors").exists()


def test_a_crash_is_in_the_log(capsys, monkeypatch):
    def broken(*args):
        raise AttributeError("of the program")

    monkeypatch.setattr("xpnet.cli.train._test", broken)
    with pytest.raises(AttributeError):
        main([*QUICK, "--run", "a"])
    assert log().endswith("AttributeError: of the program\n")
    assert "Traceback" in log()
