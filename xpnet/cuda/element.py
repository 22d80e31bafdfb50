"""How the kernels see a dtype: the names and sizes that every launcher needs, written once."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np


class Element(NamedTuple):
    """A dtype as C++ sees it.

    Attributes:
        dtype: its name.
        ctype: its C++ name.
        vector: elements in 16 bytes, the widest access; `vec_of` in common.cuh.
        accumulator: the C++ name of the type of sums, statistics and scalars; `Acc<T>` of common.cuh.
        scalar: the NumPy type of that: a scalar argument of a kernel must be of exactly its parameter's type.
    """

    dtype: str
    ctype: str
    vector: int
    accumulator: str
    scalar: Any

    @property
    def wide(self) -> Element:
        """The accumulator as an element."""
        return ELEMENTS["float64" if self.scalar is np.float64 else "float32"]  # a dtype's name takes 2 us


ELEMENTS = {
    e.dtype: e
    for e in (
        Element("float32", "float", 4, "float", np.float32),
        Element("float16", "__half", 8, "float", np.float32),
        Element("bfloat16", "__nv_bfloat16", 8, "float", np.float32),
        Element("float64", "double", 2, "double", np.float64),
    )
}
"""Every dtype that kernels take, by name."""


@cache
def element(dtype: Any) -> Element | None:
    """The element of an array's dtype; None if no kernel takes it.

    >>> import numpy as np
    >>> from xpnet.cuda.element import element
    >>> element(np.dtype("float16")).ctype
    '__half'
    """
    return ELEMENTS.get(dtype.name)
