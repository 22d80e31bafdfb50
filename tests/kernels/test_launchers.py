"""What a launch costs on the host, by count: what repeats from step to step is looked up, not made again.

With a module class whose kernels do nothing, on NumPy arrays.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.kernels.launches import Case, Idle, backward, cases, forward
from xpnet.cuda import loader

pytestmark = pytest.mark.host


CALLS = 18  # for one launch; views of channels last take three more
OPS = cases(np.asarray)
PACKAGE = str(Path(xpnet.__file__).parent)


def both(case: Case) -> None:
    """Forward and, where there is one, backward."""
    pullback = forward(case)
    if pullback is not None:
        backward(pullback, case[1])


@pytest.mark.parametrize("name", OPS)
def test_a_second_launch_makes_nothing_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scalars = loader.int32, loader.int64, loader.uint32
    seen: Counter[str] = Counter()

    def look(frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            seen[frame.f_code.co_name] += 1
            seen["ours"] += frame.f_code.co_filename.startswith(PACKAGE)
        if event == "return" and isinstance(result, str) and "<" in result:
            seen["name of a kernel"] += 1

    monkeypatch.setattr(Idle, "launches", 0)
    with loader.use(Idle, 90, 132) as here:
        both(OPS[name])
        launches, kernels, misses = Idle.launches, len(here.kernels), [s.cache_info().misses for s in scalars]
        before = sys.getprofile()
        sys.setprofile(look)
        try:
            both(OPS[name])
        finally:
            sys.setprofile(before)
    assert Idle.launches == 2 * launches > 0
    assert seen["ours"] <= (CALLS + 3 * ("last" in name)) * launches  # functions, 0.2 us each
    assert seen["_name_get"] == 0  # NumPy's, of a dtype: two microseconds
    assert seen["build"] == 0
    assert len(here.kernels) == kernels
    assert [s.cache_info().misses for s in scalars] == misses
    assert seen["name of a kernel"] == 0, "it is put together once"


def test_the_name_of_a_dtype_is_seen_by_these_counts() -> None:
    seen: Counter[str] = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda frame, *_: seen.update([frame.f_code.co_name]))
    try:
        _ = np.dtype("float32").name
    finally:
        sys.setprofile(before)
    assert seen["_name_get"]
