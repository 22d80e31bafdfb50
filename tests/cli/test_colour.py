"""Colours, completion, and a comparison with nothing to compare."""

import sys

import pytest

from xpnet.cli import main, parity
from xpnet.cli.colour import painted, strong

pytestmark = pytest.mark.host


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_verdicts_are_coloured_on_a_terminal(terminal):
    assert painted("PASS  loss") == "\x1b[32mPASS\x1b[0m  loss"
    assert painted("FAIL, DIFFERS") == "\x1b[31mFAIL\x1b[0m, \x1b[31mDIFFERS\x1b[0m"
    assert painted("SURPASSED") == "SURPASSED"
    assert strong("best") == "\x1b[1mbest\x1b[0m"
    terminal.setenv("NO_COLOR", "1")
    assert painted("PASS") == "PASS"
    terminal.delenv("NO_COLOR")
    terminal.setenv("TERM", "dumb")
    assert strong("best") == "best"


def test_files_and_pipes_have_no_colours(capsys):
    assert main(["parity", "--backends", "numpy,array_api_strict", "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert "bit for bit" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("words", [[], ["--backends", "numpy,numpy"]])
def test_parity_says_when_there_is_nothing_to_compare(words, monkeypatch, capsys):
    monkeypatch.setattr(parity, "second_backend", lambda: "numpy")
    assert main(["parity", *words]) == 2
    error = capsys.readouterr().err
    assert "there is nothing to compare" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command_and_its_options(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["complete", shell]) == 0
    out = capsys.readouterr().out
    for word in ("train", "serve", "optimizer", "patience", "executor", "adamw"):
        assert word in out


def test_completion_names_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["complete"]) == 2
    assert 'pip install "xpnet[completion]"' in capsys.readouterr().err
