"""cuFFT: Fourier transforms by NumPy, which keeps single precision."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

_c = ctypes
LAUNCH_FAILED = 719
C2C, R2C, C2R, DOUBLE = 0x29, 0x2A, 0x2C, 0x40  # of cufftType; Z2Z is C2C | DOUBLE


class Layout(ctypes.Structure):
    """As in device/fft.h."""

    _fields_ = [("embed", _c.c_int64 * 3), ("stride", _c.c_int64), ("distance", _c.c_int64)]


class Transform(ctypes.Structure):
    """As in device/fft.h."""

    _fields_ = (
        [(n, _c.c_int) for n in ("rank", "type", "batch")]
        + [("size", _c.c_int64 * 3)]
        + [("input", Layout), ("output", Layout)]
    )


def _view(address: int, t: Transform, side: Layout, half: bool, dtype: np.dtype) -> np.ndarray:
    """One side in memory, as an array (batch, *sizes); of the last size only half is there if `half`."""
    shape = [t.batch, *t.size[: t.rank]]
    if half:
        shape[-1] = shape[-1] // 2 + 1
    strides = [side.stride]
    for embed in side.embed[t.rank - 1 : 0 : -1]:
        strides.insert(0, strides[0] * embed)
    strides.insert(0, side.distance)
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    raw = (_c.c_char * ((last + 1) * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, raw, strides=[s * dtype.itemsize for s in strides])


def transform(t: Transform, source: int, target: int, direction: int) -> None:
    """The sums without a factor, forwards (-1) or backwards (1)."""
    kind = t.type & ~DOUBLE
    real, complex_ = (np.dtype(d) for d in (("f8", "c16") if t.type & DOUBLE else ("f4", "c8")))
    x = _view(source, t, t.input, kind == C2R, real if kind == R2C else complex_)
    y = _view(target, t, t.output, kind == R2C, real if kind == C2R else complex_)
    axes, sizes = tuple(range(1, t.rank + 1)), t.size[: t.rank]
    if kind == R2C:
        value = np.fft.rfftn(x, axes=axes)
    elif kind == C2R:
        value = np.fft.irfftn(x, s=sizes, axes=axes, norm="forward")
    else:
        value = np.fft.fftn(x, axes=axes) if direction < 0 else np.fft.ifftn(x, axes=axes, norm="forward")
    if kind == C2R:
        x[...] = np.nan  # cuFFT may use it as scratch
    y[...] = value


def install(library: ctypes.CDLL) -> None:
    """Let the library's cuFFT call `transform`."""

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Transform), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    def callback(t: Any, source: int, target: int, direction: int) -> int:
        try:
            with np.errstate(all="ignore"):
                transform(t.contents, source, target, direction)
            return 0
        except Exception as error:
            print(f"cpucuda: cuFFT: {error!r}", file=sys.stderr)
            return LAUNCH_FAILED

    install.keep = callback
    library.cpucuda_set_fft(callback)
