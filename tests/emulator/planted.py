"""Runs planted.cu: `python -m tests.emulator.planted BUG ORDER`. It fails if the mistake was noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.emulator import EmuModule, check_guards, guarded, schedule


def run(bug: int, order: int) -> None:
    """Sum rows, and compare.

    Raises:
        EmuError: a rule of CUDA was broken.
        AssertionError: the sums are wrong, or something was written outside of an array.
    """
    code = (Path(__file__).parent / "planted.cu").read_text()
    module = EmuModule(code=code, name_expressions=["row_sum"], options=(f"-DBUG={bug}",))
    rng = np.random.default_rng(0)
    # the heap as it is for AddressSanitizer, which has its own zones
    place = np.array if "asan" in sys.argv else guarded
    x, out = place(rng.standard_normal((5, 1000)).astype(np.float32)), place(np.full(5, np.nan, np.float32))
    with schedule(order=order, seed=3):
        module.get_function("row_sum")((5,), (128,), (x, out, np.int32(1000)))
    np.testing.assert_allclose(out, x.astype(np.float64).sum(1), rtol=1e-4, atol=1e-3)
    check_guards()


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
