"""What the namespace says of itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from xpnet.array_api.values import standard
from xpnet.core.backend import get_backend

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip


def _theirs() -> Any:
    """What the default backend says of itself."""
    backend = get_backend()
    xp = import_module("array_api_compat.cupy") if backend.name == "cupy" else standard(backend)
    return xp.__array_namespace_info__()


class Info:
    """`__array_namespace_info__()`, of the default backend."""

    def capabilities(self) -> dict[str, Any]:
        """What depends on values: indices that are masks, and shapes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Any:
        """Where new Tensors are made."""
        return get_backend().device

    def devices(self) -> list[Any]:
        """The devices of the default backend."""
        backend = get_backend()
        found = [] if backend.name == "numpy" else _theirs().devices()
        return list(found) or [None]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """float32, complex64, and the backend's integers."""
        backend = get_backend()
        xp = standard(backend)
        return {**_theirs().default_dtypes(), "real floating": xp.float32, "complex floating": xp.complex64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """All dtypes, or those of a kind."""
        xp = standard(get_backend())
        found = {name: getattr(xp, name) for name in DTYPES if hasattr(xp, name)}
        return {n: d for n, d in found.items() if kind is None or xp.isdtype(d, kind)}
