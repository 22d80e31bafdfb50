"""Every kernel instance that a launcher uses compiles for every architecture, without spills.

What takes pieces of 16 bytes has loads and stores of 16 bytes in its code.

Every run compiles float32 and float16 for one architecture; all others are compiled when a kernel or its
instances changed (ladder.py).
"""

from __future__ import annotations

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


def piece(name: str) -> int:
    """The bytes that a thread of an instance takes at once: its first dtype and the number after."""
    found = re.search(rf"[<, ]({'|'.join(BYTES)}),(?: [a-z_]\w*,)* ([1248])\b", name)
    return BYTES[found[1]] * int(found[2]) if found else 0


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
            if piece(name) == 16 and "small" not in name:
                assert u.loads, f"{name} on sm_{arch}: no load of 16 bytes"
                assert u.stores or name.startswith(SUMS), f"{name} on sm_{arch}: no store of 16 bytes"
            assert u.shared <= SHARED, f"{name} on sm_{arch}: {u.shared} bytes of static shared memory"
            if "double" in name:  # for checking, never for speed
                continue
            assert u.frame == 0, f"{name} on sm_{arch}: {u.frame} bytes a thread in local memory: it spills"
            assert u.registers <= REGISTERS, f"{name} on sm_{arch}: {u.registers} registers"
