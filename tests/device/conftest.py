"""Every test begins with an empty pool of CuPy's, also where CPUCUDA_GUARD=1 would do without one."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def pool() -> Iterator[None]:
    cupy = pytest.importorskip("cupy")
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        yield
