"""Options as records: what a command reads, what a search makes of them for its trials."""

import argparse
import ast
import inspect
import pickle
import sys
from dataclasses import FrozenInstanceError, fields
from importlib import import_module

import pytest

from tests.mpi import run
from xpnet.cli.command import COMMANDS, parser
from xpnet.cli.search import SPACE, TrainCommand, command_of
from xpnet.cli.settings import TrainSettings

pytestmark = pytest.mark.host

REQUIRED = {"predict": ["m"], "generate": ["m"], "export": ["m", "o"], "report": ["m"], "serve": ["m"]}
UNASKED = {
    "train": {"argv", "given"},
    "doctor": {"augment", "given"},
    "search": {"given"},
}  # fields without an option


def read(words):
    return import_module(f"xpnet.cli.{words[0]}").Settings.of(parser().parse_args(words))


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_given_is_the_records_default(command):
    settings = read([command, *REQUIRED.get(command, ())])
    found = {f.name: getattr(settings, f.name) for f in fields(settings)}
    assert settings.defaults().items() <= found.items()
    assert pickle.loads(pickle.dumps(settings)) == settings
    hash(settings)
    with pytest.raises(FrozenInstanceError):
        settings.backend = "cupy"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_field_and_every_field_its_option(command):
    module, options = import_module(f"xpnet.cli.{command}"), argparse.ArgumentParser(add_help=False)
    module.add_options(options)
    named = {f.name for f in fields(module.Settings)}
    assert {action.dest for action in options._actions} == named - UNASKED.get(command, set())


@pytest.mark.parametrize(
    "common",
    [
        TrainSettings(dataset="digits", seed=3),
        TrainSettings(dataset="cifar10", model="mlp", path="a b", backend="torch", device="cpu", seed=-1),
    ],
)
def test_the_printed_command_is_the_trial(common):
    objective = TrainCommand(common)
    for number in range(50):
        settings = objective.settings(SPACE.sample(0, number), 1 + number)
        assert read(command_of(settings)[1:]) == settings


def test_the_list_of_commands_imports_none_of_them():
    script = "import sys; from xpnet.cli import main; main(['--help']); print(*sys.modules)"
    loaded = run(sys.executable, "-c", script).stdout.splitlines()[-1].split()
    assert "xpnet.cli.command" in loaded
    assert not {f"xpnet.cli.{name}" for name in COMMANDS} & set(loaded)
    assert not {"xpnet.train", "xpnet.data", "xpnet.lab"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_know_not_one_another(command):
    source = inspect.getsource(import_module(f"xpnet.cli.{command}"))
    imported = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert not {f"xpnet.cli.{name}" for name in ("command", *COMMANDS)} & imported
