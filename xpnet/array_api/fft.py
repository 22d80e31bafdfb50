"""Fourier transforms: all are made of one op, the transform along one axis, and of its transpose."""

from __future__ import annotations

from typing import Any

from xpnet.array_api.creation import make
from xpnet.array_api.function import Function, derived, public
from xpnet.core import elementwise, operators
from xpnet.core.arrays import COMPLEX, kind
from xpnet.core.factorizations import dft
from xpnet.core.operators import getitem
from xpnet.core.structure import concat, flip, pad, roll

CHAPTER = "Fourier transforms"
LINEAR = "the transposed transform of dy"
_SWAP = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _complex(x: Any) -> Any:
    if kind(x) == COMPLEX:
        return x
    return operators.astype(x, "complex128" if "64" in str(x.dtype) else "complex64")


def _sized(x: Any, n: int | None, axis: int) -> Any:
    """x cut to n elements along an axis, or filled up with zeros."""
    if n is None or n == x.shape[axis]:
        return x
    a = axis % x.ndim
    if n < x.shape[a]:
        return getitem(x, (*(slice(None),) * a, slice(0, n), ...))
    return pad(x, [(0, n - x.shape[a]) if i == a else (0, 0) for i in range(x.ndim)])


def _conj(x: Any) -> Any:
    return elementwise.conjugate(x)


@derived("fft.fft", CHAPTER, "The discrete Fourier transform along `axis`.", LINEAR)
def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform."""
    return dft(_sized(_complex(x), n, axis), False, axis, norm)


@derived("fft.ifft", CHAPTER, "The inverse of `fft`.", LINEAR)
def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse."""
    return dft(_sized(_complex(x), n, axis), True, axis, norm)


@derived("fft.rfft", CHAPTER, "The first half of the transform of real numbers.", LINEAR)
def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Half a transform."""
    size = x.shape[axis] if n is None else n
    return _sized(fft(_sized(x, n, axis), axis=axis, norm=norm), size // 2 + 1, axis)


@derived("fft.irfft", CHAPTER, "The inverse of `rfft`, real.", LINEAR)
def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The other half is the mirrored conjugate."""
    a = axis % x.ndim
    size = 2 * (x.shape[a] - 1) if n is None else n
    half = _sized(_complex(x), size // 2 + 1, a)
    mirrored = getitem(half, (*(slice(None),) * a, slice(1, (size + 1) // 2), ...))
    whole = concat(half, flip(_conj(mirrored), a), axis=a)
    return elementwise.real(dft(whole, True, a, norm))


@derived("fft.hfft", CHAPTER, "The real transform of half a signal that is its mirrored conjugate.", LINEAR)
def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Of a Hermitian signal."""
    return irfft(_conj(_complex(x)), n=n, axis=axis, norm=_SWAP[norm])


@derived("fft.ihfft", CHAPTER, "The inverse of `hfft`.", LINEAR)
def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse."""
    return _conj(rfft(x, n=n, axis=axis, norm=_SWAP[norm]))


def _axes(x: Any, s: Any, axes: Any) -> tuple[tuple[int, ...], Any]:
    if axes is None:
        axes = tuple(range(x.ndim)) if s is None else tuple(range(x.ndim - len(s), x.ndim))
    return tuple(axes), (None,) * len(axes) if s is None else tuple(s)


@derived("fft.fftn", CHAPTER, "The transform along several axes.", LINEAR)
def fftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """One after the other."""
    for a, n in zip(*_axes(x, s, axes), strict=True):
        x = fft(x, n=n, axis=a, norm=norm)
    return x


@derived("fft.ifftn", CHAPTER, "The inverse of `fftn`.", LINEAR)
def ifftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """One after the other."""
    for a, n in zip(*_axes(x, s, axes), strict=True):
        x = ifft(x, n=n, axis=a, norm=norm)
    return x


@derived(
    "fft.rfftn", CHAPTER, "The transform of real numbers along several axes, half of it on the last.", LINEAR
)
def rfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """The last axis first."""
    axes, s = _axes(x, s, axes)
    x = rfft(x, n=s[-1], axis=axes[-1], norm=norm)
    for a, n in zip(axes[:-1], s[:-1], strict=True):
        x = fft(x, n=n, axis=a, norm=norm)
    return x


@derived("fft.irfftn", CHAPTER, "The inverse of `rfftn`, real.", LINEAR)
def irfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """The last axis last."""
    axes, s = _axes(x, s, axes)
    for a, n in zip(axes[:-1], s[:-1], strict=True):
        x = ifft(x, n=n, axis=a, norm=norm)
    return irfft(x, n=s[-1], axis=axes[-1], norm=norm)


def _shift(x: Any, axes: Any, sign: int) -> Any:
    axes = tuple(range(x.ndim)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    places = tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in axes)
    return roll(x, places, axes)


@derived("fft.fftshift", CHAPTER, "Frequency 0 moved to the middle.", "dy, moved back")
def fftshift(x: Any, /, *, axes: Any = None) -> Any:
    """To the middle."""
    return _shift(x, axes, 1)


@derived("fft.ifftshift", CHAPTER, "The inverse of `fftshift`.", "dy, moved back")
def ifftshift(x: Any, /, *, axes: Any = None) -> Any:
    """Back."""
    return _shift(x, axes, -1)


def _frequencies(name: str, text: str) -> Function:
    def function(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        return make(name, (n,), dtype or "float32", device, d=d)

    return public(function, name, CHAPTER, text, "none; new numbers are constants")


FUNCTIONS: dict[str, Function] = {
    **{
        f.__name__: f
        for f in (
            fft, ifft, rfft, irfft, hfft, ihfft, fftn, ifftn, rfftn, irfftn, fftshift, ifftshift,
        )
    },
    "fftfreq": _frequencies("fftfreq", "The frequencies of `fft`."),
    "rfftfreq": _frequencies("rfftfreq", "The frequencies of `rfft`."),
}  # fmt: skip
