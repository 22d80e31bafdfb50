"""Real kills: a training process is killed with SIGKILL and resumed until done; nothing is lost."""

import sys

import pytest

from tests.io.test_writing import may_unshare
from tests.kills import run

pytest.importorskip("safetensors")


@pytest.mark.host
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("mode", ["alone", "two", "namespaces", "threads"])
def test_some_kills(tmp_path, mode):
    if mode == "namespaces" and not may_unshare():
        pytest.skip("no namespaces here")
    figures = run(6, epochs=8, seed=1, folder=tmp_path, mode=mode)
    assert figures["kills"] == 6
