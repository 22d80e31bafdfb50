"""`xpnet doctor`, as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.data.test_idx import write_mnist
from xpnet.cli import main

pytestmark = pytest.mark.host

QUICK = ["doctor", "--steps", "40"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with xpnet.use_backend("numpy"):
        yield tmp_path


def test_the_defaults_are_sound(capsys):
    assert main(["doctor", "--json", "found.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("digits, network 64-128-64-10, adam, learning rate 0.005, batch 32, seed 0")
    assert lines[-1] == "18 PASS, 0 WARN, 0 FAIL"
    report = json.loads(Path("found.json").read_text())
    assert (report["status"], len(report["findings"])) == ("PASS", 18)
    assert {"name", "status", "value", "expected", "advice", "detail"} == report["findings"][0].keys()
    for finding in report["findings"]:
        assert any(line.startswith(f"PASS  {finding['name']}") for line in lines)


@pytest.mark.parametrize(("rate", "advice"), [("1e-6", "Too low"), ("1e20", "Too high")])
def test_a_wrong_learning_rate_fails(rate, advice, capsys):
    assert main([*QUICK, "digits", "--optimizer", "sgd", "--lr", rate, "--json", "found.json"]) == 1
    printed = capsys.readouterr().out
    assert "\nFAIL  learning rate" in printed
    assert advice in printed
    report = json.loads(Path("found.json").read_text())
    assert report["status"] == "FAIL"


def test_it_is_the_same_each_time_and_writes_nothing_else(folder, capsys):
    assert main([*QUICK, "--layers", "16"]) == 0
    first = capsys.readouterr().out
    assert main([*QUICK, "--layers", "16"]) == 0
    assert capsys.readouterr().out == first
    assert list(folder.iterdir()) == []


def test_pictures_and_another_backend(capsys):
    assert main([*QUICK, "--model", "cnn", "--width", "4", "--dropout", "0"]) == 0
    pytest.importorskip("array_api_strict")
    assert main([*QUICK, "--layers", "16", "--backend", "array_api_strict"]) == 0
    assert "on array_api_strict" in capsys.readouterr().out


def test_leaking_data_fails(capsys):
    write_mnist(Path(), n=600)
    images, tests = (np.fromfile(f"{part}-images-idx3-ubyte", dtype=np.uint8) for part in ("train", "t10k"))
    some = slice(16, 16 + 30 * 28 * 28)  # pictures behind the header
    tests[some] = images[some]
    tests.tofile("t10k-images-idx3-ubyte")
    assert main([*QUICK, "mnist", "--path", "."]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  leakage: test" in printed
    assert "of 300: samples 0, 1, 2" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "3"], "expected a whole number of at least 10, got '3'"),
        (["--json", "no/such/folder.json"], "cannot write no/such/folder.json"),
        (["mnist"], "mnist needs --path"),
        (["--layers", "8", "--model", "cnn"], "--layers is for --model mlp"),
        (["--batch-size", "5000"], "there are only 1258 training samples"),
    ],
)
def test_bad_input(options, message, capsys):
    assert main(["doctor", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
