"""The same search on MPI's and Dask's workers, each in processes of its own."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.mpi import MPIEXEC, ROOT, needs_mpi, run
from tests.search import helpers
from xpnet.cli import main
from xpnet.search import RandomSearch, search

pytestmark = pytest.mark.host

SEARCH = ["search", "digits", "--trials", "6,3", "--epochs", "1,1"]


def trials(path):
    """What a search found, without the times."""
    found = json.loads(Path(path).read_text())
    return found["trials"], found["best"]


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*SEARCH, "--workers", "1", "--json", "alone.json"]) == 0
    return trials("alone.json")


@needs_mpi
def test_two_mpi_workers(alone, tmp_path):
    futures = [MPIEXEC, "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m", "xpnet"]
    done = run(*futures, *SEARCH, "--executor", "mpi", "--json", "mpi.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert trials(tmp_path / "mpi.json") == alone


def test_two_dask_workers(tmp_path):
    distributed = pytest.importorskip("distributed")
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    expected = search(helpers.noisy, helpers.SPACE, RandomSearch(12)).to_json()
    # workers import the objective's module from here
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with distributed.Client(**local, local_directory=str(tmp_path)) as client:
            found = search(helpers.slow, helpers.SPACE, RandomSearch(12), executor=client.get_executor())
    assert found.to_json() == expected


def test_what_is_missing_is_said(monkeypatch, capsys):
    assert main([*SEARCH, "--executor", "slurm"]) == 2
    assert "expected mpi, dask" in capsys.readouterr().err
    if find_spec("mpi4py") is not None:
        assert main([*SEARCH, "--executor", "mpi"]) == 2
        assert "mpiexec -n 3" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "mpi4py.futures", None)
    assert main([*SEARCH, "--executor", "mpi"]) == 2
    assert "xpnet[mpi]" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*SEARCH, "--executor", "dask"]) == 2
    assert "xpnet[dask]" in capsys.readouterr().err
