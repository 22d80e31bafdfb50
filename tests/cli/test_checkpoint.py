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
from xpnet.cli import main
from xpnet.cli.model import load_model
from xpnet.train import load_checkpoint

pytest.importorskip("safetensors")
pytestmark = pytest.mark.host

RUN = ["train", "digits", "--plot", "none", "--layers", "16", "--epochs", "6"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with xpnet.use_backend("numpy"):
        yield tmp_path


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
    assert "to go on: the same command with --resume c" in out
    assert err.startswith("xpnet train: error: interrupted; kept the weights of epoch ")
    assert err.count("\n") == 1
    step = load_checkpoint("c")["state"]["step"]
    capsys.readouterr()
    assert main([*RUN, "--save", "part.st", "--json", "part.json", "--resume", "c"]) == 0
    assert f"resumed c after 2 epochs, {step} updates" in capsys.readouterr().out
    assert np.array_equal(theta("part.st"), theta("whole.st"))
    assert measured("part.json") == measured("whole.json")
    assert load_checkpoint("c")["state"]["step"] == 6 * 39  # kept up to date


def test_what_differs_is_named_by_its_option(capsys):
    assert main([*RUN[:-1], "1", "--save", "none", "--checkpoint", "c"]) == 0
    content = Path("c").read_bytes()
    options = ["--epochs", "2", "--layers", "16,8", "--lr", "0.25", "--seed", "3"]
    assert main(["train", *options, "--resume", "c"]) == 2
    error = capsys.readouterr().err
    assert (
        "that run has --layers 16 --lr 0.005 --epochs 1 --seed 0, this one --layers 16,8 --lr 0.25" in error
    )
    assert "give the same options" in error
    assert error.count("\n") == 1
    assert Path("c").read_bytes() == content
    assert sorted(p.name for p in Path().iterdir()) == ["c"]


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
    assert "to go on: the same command with --resume c" in out
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
