"""Runs the CUDA kernels on the CPU, one fiber per CUDA thread, so that they are tested without a GPU.

`EmuModule` stands in for `cupy.RawModule`; the launchers then work on NumPy arrays::

    with loader.use(EmuModule, arch=90):
        value, pullback = cross_entropy(logits, target)

What it checks beyond the results: argument count and types (also what each pointer points to), launch
limits, barriers in divergent code, exited or missing lanes in warp operations, deadlocks; shared memory
starts as NaN, the order of threads and blocks is set by `schedule`, and under a sanitizer
(`XP_SANITIZER=asan|tsan`) memory errors and data races are judged by CUDA's rules. `guarded` puts arrays
between poisoned zones.
"""

from .build import missing
from .guard import check_guards, guarded, poisoned_empty
from .module import EmuError, EmuModule, schedule

__all__ = ["EmuError", "EmuModule", "check_guards", "guarded", "missing", "poisoned_empty", "schedule"]
