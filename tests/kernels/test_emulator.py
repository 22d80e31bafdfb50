"""The emulator notices planted mistakes; a correct kernel passes every order of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import emulator
from tests.emulator import EmuError, EmuModule, planted
from tests.kernels import ladder
from xpnet.cuda import loader

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing())),
]

MISTAKES = {
    1: "missing barrier",
    2: "barrier in divergent code",
    3: "shared memory out of bounds",
    4: "shared memory that nobody wrote",
    5: "full-mask shuffle in a divergent branch",
    6: "misaligned vector load",
    7: "global memory out of bounds",
}
SANITIZER_ONLY = (3, 6)


@pytest.mark.parametrize("order", range(4))
def test_correct(order: int) -> None:
    planted.run(0, order)


@pytest.mark.parametrize("bug", [b for b in MISTAKES if b not in SANITIZER_ONLY], ids=lambda b: MISTAKES[b])
def test_noticed(bug: int) -> None:
    noticed = 0
    for order in range(4):
        try:
            planted.run(bug, order)
        except (EmuError, AssertionError):
            noticed += 1
    assert noticed


@pytest.mark.skipif(
    "XP_LADDER" not in os.environ, reason="slow; tests/kernels/ladder.py runs it when a kernel changed"
)
@pytest.mark.parametrize(("sanitizer", "bugs"), [("asan", (0, 3, 4, 6, 7)), ("tsan", (0, 1))])
def test_noticed_by_sanitizers(sanitizer: str, bugs: tuple[int, ...]) -> None:
    for bug in bugs:
        command = [sys.executable, "-m", "tests.emulator.planted", str(bug), "0", sanitizer]
        done = subprocess.run(
            command, env=ladder.environment(sanitizer), cwd=ladder.ROOT, capture_output=True, text=True
        )
        assert (done.returncode != 0) == (bug != 0), f"{MISTAKES.get(bug, 'correct')}: {done.stderr[-3000:]}"


CODE = """
__global__ void fill(float* out, int n, float value) {
    extern __shared__ float room[];
    room[threadIdx.x] = value;
    if (n < 0) __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = room[threadIdx.x];
}
__global__ void wait(float* out, int n) {
    if (threadIdx.x % 2) __syncthreads(); else __syncwarp(0x55555555u);
    if (threadIdx.x == 0 && n) __syncwarp(1u << 5 | 1u);
}
"""


def launch(*args: object, name: str = "fill", block: int = 32, shared_mem: int = 128) -> None:
    kernel = EmuModule(code=CODE, name_expressions=["fill", "wait"]).get_function(name)
    kernel((1,), (block,), args, shared_mem=shared_mem)


def test_arguments_are_checked() -> None:
    out = np.zeros(32, np.float32)
    launch(out, np.int32(32), np.float32(2))
    assert (out == 2).all()
    for wrong in (
        (out, 32, np.float32(2)),  # a Python int: CuPy would pass 8 bytes
        (out, np.int64(32), np.float32(2)),
        (out, np.int32(32), 2.0),
        (out, np.int32(32), np.float64(2)),
        (out.astype(np.float64), np.int32(32), np.float32(2)),
        (out.ctypes.data, np.int32(32), np.float32(2)),
        (out, np.int32(32)),
    ):
        with pytest.raises(TypeError):
            launch(*wrong)


def test_limits_are_checked() -> None:
    args = (np.zeros(32, np.float32), np.int32(32), np.float32(2))
    with pytest.raises(EmuError, match="block size"):
        launch(*args, block=1025)
    with pytest.raises(EmuError, match="max_dynamic_shared_size_bytes"):
        launch(*args, shared_mem=50 * 1024)


def test_waiting_for_ever_is_noticed() -> None:
    with pytest.raises(EmuError, match="exited while others wait at __syncthreads"):
        launch(np.zeros(1, np.float32), np.int32(0), name="wait", shared_mem=0)
    with pytest.raises(EmuError):
        launch(np.zeros(1, np.float32), np.int32(1), name="wait", shared_mem=0)


def test_sources_are_found_and_whole() -> None:
    assert (loader.folder() / "common.cuh").exists()
    for path in loader.folder().glob("*.cu"):
        text = loader.assemble(path.name)
        assert "namespace xp" in text
        assert '#include "' not in text


def test_guards() -> None:
    x = emulator.guarded(np.zeros(4, np.float32), offset=4)
    assert x.ctypes.data % 64 == 4
    np.lib.stride_tricks.as_strided(x, (5,))[4] = 0
    with pytest.raises(AssertionError, match="outside"):
        emulator.check_guards()


def test_record_is_fresh() -> None:
    """A kernel that changed has been through the slow checks since: `python -m tests.kernels.ladder`."""
    stale = ladder.stale()
    assert not stale, f"changed since its sanitizer and mutation runs: {', '.join(stale)}"
    assert Path(ladder.RECORD).exists()
