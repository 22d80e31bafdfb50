"""What tests of the command line share."""

import pytest

import xpnet


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the default backend put back afterwards."""
    monkeypatch.chdir(tmp_path)
    with xpnet.use_backend("numpy"):
        yield tmp_path
