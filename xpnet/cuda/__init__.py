"""The fused CUDA kernels: importing this registers their launchers. CuPy is imported when the first one runs.

To add a kernel: the source goes to `kernels/name.cu` (helpers are in `kernels/common.cuh`), the launcher to
`xpnet/cuda/name.py`, with the signature and result of the op's Array API body, registered by
`@op.kernel("cupy")`, and an `instances(arch)` that lists what it launches; its module's name goes
into LAUNCHERS here. Tests call the launcher on NumPy arrays through the emulator (tests/kernels/conftest.py),
and test_nvrtc.py compiles every instance for every architecture.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from types import ModuleType

from xpnet.core.backend import use_backend
from xpnet.core.notes import check_errors
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS

__all__ = ["check_errors", "instances", "launchers", "warmup"]

LAUNCHERS = (
    *("activations", "attention", "batch_norm", "convolution", "cross_entropy", "dropout", "embedding"),
    *("gates", "gemm", "gradients", "labels", "linear_activation", "masked_softmax", "optimizers", "pooling"),
    *("row_norm", "softmax"),
)


def launchers() -> list[ModuleType]:
    """The launcher modules."""
    return [importlib.import_module(f"xpnet.cuda.{name}") for name in LAUNCHERS]


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel instance that is launched on an architecture (90 for sm_90), by source file."""
    found: dict[str, list[str]] = {}
    for launcher in launchers():
        for file, names in launcher.instances(arch).items():
            found.setdefault(file, []).extend(names)
    return found


def warmup(dtypes: tuple[str, ...] = ("float32",)) -> int:
    """Compile the kernels for these dtypes now, so that training never stops to do it; returns how many.

    Public as `xpnet.warmup`. CuPy keeps the results on disk: the second time takes milliseconds each. What is
    compiled is logged, at level DEBUG of the logger `xpnet.cuda`.

    Args:
        dtypes: names of the dtypes that models will have; with a 16-bit one name float32 too, for its sums.

    Raises:
        ValueError: there are no kernels for a dtype.
        BackendUnavailableError: CuPy or a CUDA device is missing.

    >>> import xpnet
    >>> count = xpnet.warmup(("float32", "bfloat16"))  # doctest: +SKIP
    >>> xpnet.warmup(("complex64",))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: warmup: no kernels for 'complex64'; dtypes are float32, ...
    """
    for dtype in dtypes:
        if dtype not in ELEMENTS:
            raise ValueError(f"warmup: no kernels for {dtype!r}; dtypes are {', '.join(ELEMENTS)}")
    if not loader.is_replaced():
        with use_backend("cupy"):  # says what is missing
            pass
    ctypes = {ELEMENTS[dtype].ctype for dtype in dtypes}
    others = {t.ctype for t in ELEMENTS.values()} - ctypes
    count = 0
    for file, names in instances(loader.target().arch).items():
        for name in names:
            types = {t.strip() for t in name.partition("<")[2].rstrip(">").split(",")}
            if types & ctypes or not types & others:
                loader.kernel(file, name)
                count += 1
    logging.getLogger("xpnet.cuda").debug("%d kernels are ready", count)
    return count


launchers()
