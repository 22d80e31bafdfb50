"""Help that fits a screen, and what was meant by a word that is none."""

import re
import shutil

import pytest

from xpnet.cli import main
from xpnet.cli.command import COMMANDS

pytestmark = pytest.mark.host


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_fits_a_screen(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert shutil.get_terminal_size().columns == columns
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 0 < len(lines) < 40
    assert max(map(len, lines)) <= max(columns, 60)


def test_every_option_is_in_the_short_help_and_explained_in_its_group(capsys):
    assert main(["train", "--help", "all"]) == 0
    whole = capsys.readouterr().out
    assert main(["train", "--help"]) == 0
    short = capsys.readouterr().out
    options = set(re.findall(r"^  (?:-h.*)?(--[a-z-]+)", whole, re.MULTILINE))
    assert len(options) > 40
    assert {option for option in options if option not in short} == set()
    assert main(["train", "--help", "checkpoints"]) == 0
    part = capsys.readouterr().out
    assert "how often: 500 (updates), 10m (minutes) or 2e" in part
    assert "--optimizer" not in part


def test_without_a_command_the_commands_are_listed(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", "digit"], "did you mean 'digits'?"),
        (["train", "--layer", "3"], "unrecognized arguments: --layer; did you mean '--layers'?"),
        (["train", "--batchsize=3"], "unrecognized arguments: --batchsize=3; did you mean '--batch-size'?"),
        (["train", "digits", "--optimizer", "adm"], "did you mean 'adam'?"),
        (["train", "my.csv"], "a table is trained on by: xpnet train table my.csv"),
        (["train", "."], "pictures are trained on by: xpnet train images ."),
        (["train", "--help", "check"], "no group 'check'; did you mean 'checkpoints'?"),
        (["lab", "dropuot-training"], "did you mean 'dropout-training'?"),
        (["lab", "nothing like it"], "`xpnet lab` lists them"),
    ],
)
def test_a_near_miss_is_answered_by_what_was_meant(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
