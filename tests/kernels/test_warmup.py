"""Compiling ahead, with a module class that only notes what it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

import xpnet
from xpnet import cuda
from xpnet.cuda import loader


class Noted:
    """Stands in for `cupy.RawModule`."""

    made: list[str]

    def __init__(self, *, name_expressions: tuple[str], enable_cooperative_groups: bool, **_: Any) -> None:
        self.made.append(name_expressions[0])
        self.cooperative = enable_cooperative_groups

    def get_function(self, name: str) -> Noted:
        self.max_dynamic_shared_size_bytes = 48 * 1024
        return self


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    Noted.made = []


def test_warmup_compiles_every_instance_of_the_dtypes() -> None:
    with loader.use(Noted, 80):
        count = xpnet.warmup(("float16",))
    expected = [n for names in cuda.instances(80).values() for n in names]
    assert count == len(Noted.made) == len(set(Noted.made))
    assert set(Noted.made) <= set(expected)
    assert {n for n in expected if "__half" in n} <= set(Noted.made)
    assert not any("double" in n or "__nv_bfloat16" in n for n in Noted.made)


def test_a_kernel_is_compiled_once_for_each_way_to_launch_it() -> None:
    with loader.use(Noted):
        plain = loader.kernel("gradients.cu", "add_parts<float, 1024>")
        assert loader.kernel("gradients.cu", "add_parts<float, 1024>") is plain
        more = loader.kernel("gradients.cu", "add_parts<float, 1024>", shared=100_000, cooperative=True)
    assert (more.max_dynamic_shared_size_bytes, more.cooperative) == (100_000, True)  # type: ignore[attr-defined]
    assert len(Noted.made) == 2


def test_warmup_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no kernels for 'int8'"):
        xpnet.warmup(("int8",))
    if "cupy" not in xpnet.available_backends():
        with pytest.raises(xpnet.BackendUnavailableError, match="cupy"):
            xpnet.warmup()
