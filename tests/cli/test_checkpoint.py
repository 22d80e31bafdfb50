"""`xpnet train --checkpoint` and `--resume`, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.data.test_idx import write_mnist
from xpnet.cli import main
from xpnet.cli.model import load_model
from xpnet.cli.settings import TrainSettings
from xpnet.train import load_checkpoint

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]

RUN = ["train", "digits", "--plot", "none", "--layers", "16", "--epochs", "6"]


def theta(path):
    return load_model(path)[0].theta


def measured(path):
    report = json.loads(Path(path).read_text())
    return {k: v for k, v in report["history"].items() if k != "seconds"}, report["test"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal for one process")
def test_ctrl_c_and_resume_are_one_run(capsys):
    assert main([*RUN, "--save", "whole.st", "--json", "whole.json"]) == 0
    command = [sys.executable, "-m", "xpnet", *RUN, "--save", "part.st", "--checkpoint", "c"]
    environment = {**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if line.startswith("epoch   2"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to go on: xpnet train --resume c" in out
    assert err.startswith("xpnet train: error: interrupted; kept the weights of epoch ")
    assert err.count("\n") == 1
    step = load_checkpoint("c")["state"]["step"]
    capsys.readouterr()
    assert main([*RUN, "--save", "part.st", "--json", "part.json", "--resume", "c"]) == 0
    assert f"resumed c after 2 epochs, {step} updates" in capsys.readouterr().out
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")
    assert load_checkpoint("c")["state"]["step"] == 6 * 39  # kept up to date


@pytest.mark.parametrize(
    ("options", "there", "here", "advice"),
    [
        (["--layers", "16,8"], "--layers 16", "--layers 16,8", "to go on with it\n"),
        (["--model", "cnn"], "--model mlp --layers 16", "--model cnn --width 16", "to go on with it\n"),
        (["--dropout", "0.3"], "--dropout 0.2", "--dropout 0.3", "to go on with it\n"),
        (["--lr", "0.25"], "--lr 0.005", "--lr 0.25", "or --allow optimizer\n"),
        (
            ["--optimizer", "sgd", "--lr", "0.005"],
            "--optimizer adam",
            "--optimizer sgd",
            "or --allow optimizer\n",
        ),
        (["--batch-size", "50"], "--batch-size 32", "--batch-size 50", "or --allow data\n"),
        (["--seed", "3"], "--seed 0", "--seed 3", "or --allow data\n"),
        (["--augment", "standard"], "--augment none", "--augment standard", "or --allow augmentation\n"),
        (["--monitor", "accuracy"], "--monitor loss", "--monitor accuracy", "or --allow callbacks\n"),
        (
            ["--schedule", "constant", "--lr", "1"],
            "--lr 0.005 --schedule cosine --epochs 1",
            "--lr 1",
            "callbacks,opt",
        ),
    ],
)
def test_what_differs_is_named_by_its_option(options, there, here, advice, capsys):
    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "c"]) == 0
    content = Path("c").read_bytes()
    assert main(["train", *options, "--preview", "none", "--resume", "c"]) == 2
    error = capsys.readouterr().err
    assert f"that run has {there}" in error
    assert f", this one {here}" in error
    assert advice in error
    assert error.count("\n") == 1
    assert Path("c").read_bytes() == content
    assert sorted(p.name for p in Path().iterdir()) == ["c"]


# ---- the file alone is enough -----------------------------------------------------------------------------

OTHERS = {
    "optimizer": ["--optimizer", "rmsprop", "--lr", "0.002", "--weight-decay", "1e-4"],
    "network": ["--model", "cnn", "--width", "4", "--dropout", "0.1", "--batch-size", "100"],
    "layers": ["--layers", "24,12", "--dropout", "0.4", "--seed", "3"],
    "augmentation": ["--model", "cnn", "--width", "4", "--augment", "standard", "--batch-size", "64"],
    "smoothing": ["--model", "cnn", "--width", "4", "--augment", "strong", "--label-smoothing", "0.1"],
    "stopping": ["--layers", "16", "--patience", "1", "--monitor", "accuracy", "--schedule", "constant"],
}
OTHERS["decks"] = [
    "--layers",
    "20",
    "--activation",
    "tanh",
    "--no-batch-norm",
    "--init",
    "small",
    "--l1",
    "1e-4",
]
OTHERS["decks"] += ["--schedule", "step", "--weight-decay", "2e-4"]
FILES = ["--plot", "none", "--preview", "none"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_checkpoint_alone_restores_every_option(name, capsys):
    options = ["train", "digits", *OTHERS[name], *FILES, "--epochs", "3"]
    assert main([*options, "--save", "whole.st", "--json", "whole.json"]) == 0
    assert main([*options, "--save", "part.st", "--json", "part.json", "--checkpoint", "c"]) == 0
    _cut("c", 1)
    Path("part.st").unlink()
    Path("part.json").unlink()
    assert main(["train", "--resume", "c"]) == 0
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")
    both = [json.loads(Path(f"{file}.json").read_text()) for file in ("part", "whole")]
    assert both[0]["training"] == both[1]["training"]


@pytest.mark.parametrize("patience", [1, 9])
def test_another_patience_counts_from_where_the_run_is(patience, capsys):
    words = ["train", "digits", "--layers", "8", "--schedule", "constant", "--lr", "0.1", *FILES]
    assert main([*words, "--epochs", "3", "--save", "none", "--checkpoint", "c"]) == 0
    more = ["--epochs", "8", "--patience", str(patience)]
    assert main([*words, *more, "--save", "whole.st", "--json", "whole.json"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "c", *more, "--save", "part.st", "--json", "part.json"]) == 0
    said = f"note: it stops after {patience} epochs without a better one; before, after 15"
    assert said in capsys.readouterr().out
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")


def test_a_run_that_patience_ended_goes_on_with_more(capsys):
    words = ["train", "digits", "--layers", "8", "--schedule", "constant", "--lr", "0.1", *FILES]
    words += ["--epochs", "12", "--patience"]
    assert main([*words, "1", "--save", "none", "--checkpoint", "c"]) == 0
    epochs = len(load_checkpoint("c")["state"]["history"]["val_loss"])
    assert epochs < 9
    capsys.readouterr()
    assert main(["train", "--resume", "c", "--save", "none"]) == 0
    out = capsys.readouterr().out
    assert "after 1 epochs without a better one, and stays so; --patience 2 or more goes on\n" in out
    assert f"{epochs} epochs in" in out
    assert (
        main(["train", "--resume", "c", "--patience", "3", "--save", "part.st", "--json", "part.json"]) == 0
    )
    assert "after 1 epochs without a better one; it goes on, until these are 3\n" in capsys.readouterr().out
    assert main([*words, "3", "--save", "whole.st", "--json", "whole.json"]) == 0
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")
    assert len(json.loads(Path("part.json").read_text())["history"]["val_loss"]) > epochs


def _cut(path, epochs):
    """Make the checkpoint one of an earlier epoch, by running the same command again for so long."""
    command = load_checkpoint(path)["metadata"]["options"]
    assert command["epochs"] == 3
    words = [w for k, v in command.items() for w in _words(k, v)]

    class Broken(Exception):
        pass

    from xpnet.train import Trainer

    usual = Trainer._fit_epoch

    def fit_epoch(self):
        if self.history.epochs == epochs:
            raise Broken
        usual(self)

    Trainer._fit_epoch = fit_epoch
    try:
        with pytest.raises(Broken):
            main(["train", *words, "--checkpoint", path])
    finally:
        Trainer._fit_epoch = usual


def _words(name, value):
    if value is None or value is False or name == "dataset" or value == TrainSettings.defaults()[name]:
        return []
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"--{name.replace('_', '-')}", *([] if value is True else [text])]


def test_a_finished_run_is_extended(capsys):
    every = ["--checkpoint-every", "5e"]
    constant = [*RUN[:-1], "2", "--schedule", "constant", "--json", "short.json", *every, "--checkpoint", "c"]
    assert main([*constant, "--save", "none"]) == 0
    assert main(["train", "--resume", "c", "--epochs", "4", "--json", "long.json", "--save", "long.st"]) == 0
    assert "note" not in capsys.readouterr().out
    whole = [*RUN[:-1], "4", "--schedule", "constant", "--json", "whole.json", "--save", "whole.st"]
    assert main(whole) == 0
    assert np.array_equal(theta("long.st"), theta("whole.st"))
    assert measured("long.json") == measured("whole.json")


def test_a_finished_cosine_is_extended_and_says_what_that_is(capsys):
    assert main([*RUN[:-1], "2", "--save", "none", "--checkpoint", "c"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "c", "--epochs", "4", "--save", "none", "--json", "long.json"]) == 0
    out = capsys.readouterr().out
    assert (
        "note: the learning rate goes on along a cosine of 4 epochs, not of 2: the result is not that" in out
    )
    assert measured("long.json")[0]["lr"] == pytest.approx([0.005, 0.0025, 0.0025, 0.005 * 0.1464], rel=1e-3)


def test_what_is_allowed_takes_effect(capsys):
    assert main([*RUN[:-1], "2", "--schedule", "constant", "--save", "none", "--checkpoint", "c"]) == 0
    more = ["--epochs", "3", "--lr", "0.001", "--allow", "optimizer", "--save", "none", "--json", "l.json"]
    assert main(["train", "--resume", "c", *more]) == 0
    assert measured("l.json")[0]["lr"] == [0.005, 0.005, 0.001]
    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "d"]) == 0  # a cosine becomes longer, too
    capsys.readouterr()
    assert main(["train", "--resume", "d", "--epochs", "2", "--lr", "0.001", "--allow", "optimizer"]) == 0
    assert "a cosine of 2 epochs, not of 1" in capsys.readouterr().out
    assert main(["train", "--resume", "d", "--schedule", "constant", "--allow", "optimizer"]) == 2
    assert "this one --schedule constant; give the same" in capsys.readouterr().err  # not: --epochs None
    assert main(["train", "digits", "--allow", "optimizer"]) == 2
    assert main(["train", "--resume", "c", "--allow", "model"]) == 2
    assert "expected some of optimizer, data, augmentation, callbacks, got 'model'" in capsys.readouterr().err


def test_other_data_of_the_same_name_are_refused(capsys, monkeypatch):
    from xpnet.cli import data
    from xpnet.data import Dataset

    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "c"]) == 0
    usual = data.load_digits

    def shuffled(**options):
        digits = usual(**options)
        return Dataset(digits.x, np.roll(digits.y, 1), "digits")

    monkeypatch.setattr(data, "load_digits", shuffled)
    assert main(["train", "--resume", "c"]) == 2
    error = capsys.readouterr().err
    assert "training data.y is int64 [1258] #" in error
    assert "Nothing was changed; to go on all the same: --allow data\n" in error
    assert error.count("\n") == 1


def test_another_environment_is_one_line(capsys):
    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "c"]) == 0
    capsys.readouterr()
    with xpnet.fused(False):
        assert main(["train", "--resume", "c", "--epochs", "2", "--schedule", "cosine"]) == 0
    found = capsys.readouterr()
    assert "note: fused kernels was on, is off: the result is equal up to rounding" in found.out
    assert found.err == ""


def test_another_data_set_is_refused_by_name(capsys):
    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "c"]) == 0
    write_mnist(Path(), n=600)
    assert main(["train", "mnist", "--path", ".", "--resume", "c"]) == 2
    assert "that run has --data digits" in capsys.readouterr().err


def test_the_data_are_found_from_another_folder(folder, monkeypatch):
    write_mnist(Path(), n=600)
    words = ["--epochs", "1", "--batch-size", "50", "--layers", "8", "--plot", "none", "--save", "none"]
    assert main(["train", "mnist", "--path", ".", *words, "--checkpoint", "c"]) == 0
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["train", "--resume", "../c", "--epochs", "2"]) == 0


def test_a_checkpoint_of_before_needs_the_options():
    from xpnet.io.generations import write_generation
    from xpnet.train.resume import checkpoint_content

    assert main([*RUN[:-1], "2", "--save", "whole.st", "--checkpoint", "c"]) == 0
    saved = load_checkpoint("c")
    settings = {k: v for k, v in saved["settings"].items() if k not in ("meaning", "environment", "stateful")}
    command = {k: v for k, v in saved["metadata"]["command"].items() if k != "monitor"}
    old = checkpoint_content(settings, saved["state"], {"command": command})
    write_generation(Path("c"), old.encode(), keep=1)
    assert main(["train", "--resume", "c"]) == 2
    assert main([*RUN[:-1], "2", "--save", "part.st", "--resume", "c"]) == 0
    assert np.array_equal(theta("part.st"), theta("whole.st"))


def test_a_run_at_a_constant_rate_can_be_made_longer(capsys):
    constant = [*RUN[:-2], "--schedule", "constant", "--save"]
    assert main([*constant, "none", "--epochs", "2", "--checkpoint", "c", "--checkpoint-every", "5e"]) == 0
    assert main([*constant, "long.st", "--epochs", "4", "--resume", "c", "--checkpoint", "d"]) == 0
    assert main([*constant, "whole.st", "--epochs", "4"]) == 0
    assert np.array_equal(theta("long.st"), theta("whole.st"))
    assert [len(load_checkpoint(f)["state"]["history"]["lr"]) for f in "cd"] == [2, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint-every", "2"], "--checkpoint-every needs --checkpoint FILE"),
        (["--resume", "none"], "none: no such file"),
        (["--checkpoint", "no/such/c"], "cannot write no/such/c"),
        (["--resume", "model.st"], "a file of xpnet, but not a checkpoint"),
        (["--resume", "text"], "not a safetensors file, or a truncated or damaged one"),
    ],
)
def test_bad_files_end_with_one_line(options, message, capsys):
    if "model.st" in options:
        assert main([*RUN[:-1], "1", "--save", "model.st"]) == 0
    Path("text").write_text("hello")
    capsys.readouterr()
    assert main(["train", "--save", "none", "--plot", "none", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_another_runs_file_of_the_library_is_refused(capsys):
    from xpnet import nn, optim
    from xpnet.functional import cross_entropy
    from xpnet.train import Trainer

    model = nn.Linear(2, 2)
    trainer = Trainer(model, cross_entropy, optim.SGD(model))
    trainer.fit((np.ones((4, 2), dtype=np.float32), np.zeros(4, dtype=np.int64)), epochs=1)
    trainer.save_checkpoint("c")
    assert main(["train", "--resume", "c"]) == 2
    assert "not a checkpoint of `xpnet train`" in capsys.readouterr().err


# ---- SIGTERM, intervals, one run a file, bad disks ----


def started(*options, limit=None, ready="epoch   2"):
    """A run in a process of its own, as far as a line that begins so."""

    def prepare():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1]), "PYTHONUNBUFFERED": "1"},
        preexec_fn=prepare,
    )
    for line in process.stdout:
        if line.startswith(ready):
            break
    return process


posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a signal for one process")
LONG = [*RUN[:-1], "400"]


@posix
def test_sigterm_writes_checkpoint_and_model(capsys):
    assert main([*RUN, "--save", "whole.st", "--json", "whole.json"]) == 0
    process = started(*RUN, "--save", "part.st", "--checkpoint", "c", "--checkpoint-every", "1000")
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "to go on: xpnet train --resume c" in out
    assert err.startswith("xpnet train: error: terminated; kept the weights of epoch ")
    assert err.count("\n") == 1
    assert load_model("part.st")
    assert main([*RUN, "--save", "part.st", "--json", "part.json", "--resume", "c"]) == 0
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")
    assert not [name for name in os.listdir() if name.startswith(".")]


@posix
def test_sigterm_without_a_checkpoint_writes_the_model():
    process = started(*LONG, "--patience", "400", "--save", "m.st")
    process.terminate()
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert err.startswith("xpnet train: error: terminated; kept the weights of epoch ")
    assert load_model("m.st")
    assert os.listdir() == ["m.st"]


@posix
@pytest.mark.parametrize(
    "shared", [["--save", "m.st"], ["--checkpoint", "c", "--save", "none"], ["--json", "j", "--save", "none"]]
)
def test_a_second_run_of_one_name_is_told_at_its_start(shared, capsys):
    first = started(*LONG, "--patience", "400", *shared)
    try:
        assert main([*RUN, *shared]) == 2
        captured = capsys.readouterr()
        assert f"is being written by process {first.pid} on " in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        assert all(shared[1] in name for name in os.listdir())  # of the first
    finally:
        first.terminate()
        assert first.wait() == 143
    assert main([*RUN[:-1], "1", *shared]) == 0


@pytest.mark.parametrize(("text", "step"), [("50", 200), ("0.0001m", 39), ("4e", 156), ("100000", 234)])
def test_how_often(text, step, monkeypatch):
    """What is there after a crash in epoch 6, and the state at the end."""
    from xpnet.cli.checkpoint import RunCheckpoint

    def crash(self, trainer):
        if trainer.step == 210:
            raise MemoryError

    options = [*RUN, "--save", "none", "--checkpoint", "c", "--checkpoint-every", text]
    assert main(options) == 0
    assert load_checkpoint("c")["state"]["step"] == 234
    Path("c").unlink()
    stop = RunCheckpoint._stop
    monkeypatch.setattr(RunCheckpoint, "_stop", lambda *a: (stop(*a), crash(*a)))
    with pytest.raises(MemoryError):
        main(options)
    if text == "100000":
        assert not Path("c").exists()
    else:
        assert (load_checkpoint("c")["state"]["step"] == step) or text == "0.0001m"


@pytest.mark.parametrize("text", ["0", "m", "1.5", "-3", "1h", "0m", "0e", "1.5e", ""])
def test_intervals_that_are_none(text, capsys):
    assert main(["train", "--checkpoint", "c", f"--checkpoint-every={text}"]) == 2
    assert "expected 500 (updates), 10m (minutes) or 2e (epochs)" in capsys.readouterr().err


def test_the_newest_checkpoint_is_damaged(capsys):
    assert main([*RUN, "--save", "whole.st", "--checkpoint", "c"]) == 0
    Path("c").write_bytes(Path("c").read_bytes()[:-100])
    with pytest.warns(
        UserWarning, match=r"c: not a safetensors file, or a truncated or damaged one .* read c\.1 instead"
    ):
        assert main([*RUN, "--save", "part.st", "--resume", "c"]) == 0
    assert "resumed c after 5 epochs, 195 updates" in capsys.readouterr().out
    assert np.array_equal(theta("part.st"), theta("whole.st"))


def test_divergence_ends_a_run_when_asked(capsys):
    options = [*RUN, "--optimizer", "sgd", "--lr", "1000", "--save", "none"]
    assert main([*options, "--divergence", "3"]) == 1
    assert "the cost is" in capsys.readouterr().err
    assert main([*options, "--divergence", "1"]) == 2
    assert "expected a number above 1" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("limit", [2000, 20_000])
def test_a_disk_that_takes_no_more(limit):
    """Larger files cannot be written; training goes on, and the end says what is missing."""
    process = started(*RUN, "--save", "m.st", "--json", "j", "--checkpoint", "c", limit=limit)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "\nxpnet train: warning: cannot write c: File too large; training goes on" in "\n" + err
    assert err.count("UserWarning") == 0
    assert "xpnet train: error: cannot write c: File too large; what it holds is an older state" in err
    assert ("xpnet train: error: cannot write m.st: File too large" in err) == (limit == 2000)
    assert ("saved the model in m.st" in out) == (limit > 2000)
    assert "test accuracy" in out
    assert not [name for name in os.listdir() if name.startswith(".")]


@pytest.mark.parametrize("option", ["--checkpoint", "--save", "--resume", "--json", "--path"])
def test_an_empty_name_is_refused(option, capsys):
    """It comes of a variable that is not set, and would be taken for no file."""
    assert main(["train", "digits", option, ""]) == 2
    assert f"argument {option}: expected the name of a file, got an empty one" in capsys.readouterr().err


def test_older_states_are_the_runs_own_files(tmp_path, capsys):
    name = str(tmp_path / "c")
    assert main(["train", "digits", "--epochs", "1", "--checkpoint", name, "--save", f"{name}.1"]) == 2
    assert "is to be written twice" in capsys.readouterr().err
