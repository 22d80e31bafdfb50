"""Real kills of ranks: SIGKILL for one or both, and again from the checkpoint until done; nothing is lost."""

import pytest

from tests.mpi import needs_mpi

pytest.importorskip("safetensors")


@needs_mpi
@pytest.mark.host
def test_three_kills_of_ranks(tmp_path):
    from tests.kills_ranks import run

    figures = run(3, epochs=6, seed=2, folder=tmp_path)
    assert figures["kills"] == 3
