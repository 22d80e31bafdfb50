"""Every kernel instance that a launcher uses compiles for every architecture, without spills.

What takes pieces of 16 bytes has loads and stores of 16 bytes in its code.

Every run compiles float32 and float16 for one architecture; all others are compiled when a kernel or its
instances changed (ladder.py).
"""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from tests.kernels import ladder, nvrtc
from xpnet import cuda
from xpnet.cuda.element import ELEMENTS

pytestmark = pytest.mark.host
ALL = "XP_LADDER" in os.environ
ARCHS = ladder.ARCHS if ALL else (90,)
REGISTERS = 128  # more would leave a multiprocessor with a quarter of its threads
SHARED = 48 * 1024
SUMS = ("squares", "bn_statistics", "look")  # they write a few numbers
BYTES = {e.ctype: 16 // e.vector for e in ELEMENTS.values()}
ARRAYS = {"attention_forward": 3, "attention_queries": 4, "attention_keys": 5}  # keys reads q twice
NARROW = {  # no instance moves 16 bytes at once
    "one element a thread, of images": (
        "depthwise depthwise_weight max_pool max_pool_gradient average_pool average_pool_gradient "
        "channel_sums"
    ),
    "one element a thread, of one axis": "check_labels philox",
    "windows begin anywhere, and tiles lie across the order of memory": "weight_gradient",
    "rows of a few classes, not aligned": "xent_small",
    "few numbers": "add_parts adapt bn_combine_statistics bn_combine_sums xent_sum xent_totals order_tokens",
}


def piece(name: str) -> int:
    """The bytes that a thread of an instance takes at once: its first dtype and the number after."""
    found = re.search(rf"[<, ]({'|'.join(BYTES)}),(?: [a-z_]\w*,)* ([1248])\b", name)
    return BYTES[found[1]] * int(found[2]) if found else 0


def kernel(name: str) -> str:
    """Without its template arguments."""
    return name.partition("<")[0]


def wide(name: str) -> tuple[int, int]:
    """How many loads and stores of 16 bytes an instance has at least."""
    if kernel(name) in ARRAYS:  # a lane has up to four numbers of a row of the result, stored one by one
        return ARRAYS[kernel(name)], 0
    if name.startswith("correlate<float, float,"):  # tensor cores hand out two neighbours
        return 0, 1
    whole = piece(name) == 16 and kernel(name) != "xent_small"
    return whole, whole and not name.startswith(SUMS)


def test_what_does_not_take_16_bytes_is_said_so() -> None:
    """A kernel whose instances the gate below passes by is named above, with a reason."""
    gated: dict[str, bool] = {}
    for arch in ladder.ARCHS:
        for name in itertools.chain(*cuda.instances(arch).values()):
            gated[kernel(name)] = gated.get(kernel(name), False) or any(wide(name))
    assert {k for k, found in gated.items() if not found} == set(" ".join(NARROW.values()).split())


@pytest.mark.parametrize("arch", ARCHS, ids=lambda a: f"sm_{a}")
@pytest.mark.parametrize("launcher", cuda.launchers(), ids=lambda m: m.__name__.rpartition(".")[2])
def test_instances(launcher: object, arch: int) -> None:
    if (reason := nvrtc.missing()) is not None:
        pytest.skip(reason)
    for file, names in launcher.instances(arch).items():  # type: ignore[attr-defined]
        if not ALL:
            names = [name for name in names if "bfloat16" not in name and "double" not in name]
        used = nvrtc.compile(file, tuple(names), arch)
        if folder := os.environ.get("XP_USAGE"):  # keep the figures, to look at
            table = {name: vars(u) for name, u in used.items()}
            Path(folder, f"{file}.sm_{arch}.json").write_text(json.dumps(table, indent=1))
        for name, u in used.items():
            loads, stores = wide(name)
            assert u.loads >= loads, f"{name} on sm_{arch}: {u.loads} of {loads} loads of 16 bytes"
            assert u.stores >= stores, f"{name} on sm_{arch}: {u.stores} of {stores} stores of 16 bytes"
            assert u.shared <= SHARED, f"{name} on sm_{arch}: {u.shared} bytes of static shared memory"
            if "double" in name:  # for checking, never for speed
                continue
            assert u.frame == 0, f"{name} on sm_{arch}: {u.frame} bytes a thread in local memory: it spills"
            assert u.registers <= REGISTERS, f"{name} on sm_{arch}: {u.registers} registers"
