"""JAX's columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.columns.base import Column, import_error


class JaxColumn(Column):
    """JAX, each program one `jit`; float32 products in full float32."""

    library, library_title = "jax", "JAX"

    def __init__(self, device: str) -> None:
        self.device = device
        self.key = "jax" + ("" if device == "cpu" else "-cuda")
        self.title = f"jax jit on {device}"

    def missing(self) -> str | None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory to the others
        reason = import_error("jax")
        if reason is None:
            import jax

            try:
                jax.devices(self.device)
            except RuntimeError:
                return f"jax has no {self.device} device"
        return reason

    def prepare(self) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    @contextmanager
    def active(self) -> Iterator[None]:
        import jax

        with jax.default_device(jax.devices(self.device)[0]):
            yield

    def array(self, host: np.ndarray) -> Any:
        import jax

        # a copy: donated buffers must not be the host's
        return jax.device_put(np.array(host), jax.devices(self.device)[0])

    def compile(self, function: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        import jax

        return jax.jit(function, donate_argnums=donate)

    def wait(self, out: Any) -> None:
        import jax

        jax.block_until_ready(out)

    def forget(self) -> None:
        import jax

        jax.clear_caches()
