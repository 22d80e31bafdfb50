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
    assert main([*constant, "none", "--epochs", "2", "--checkpoint", "c", "--checkpoint-every", "5"]) == 0
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
