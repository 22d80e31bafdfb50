"""cuBLASLt's matrix product through ctypes: a stream of the call's own, an epilogue, and room in a capture.

CuPy's own products set the stream of a cuBLAS handle, which it refuses while a stream is captured.
nvmath-python binds the same functions, at 74 MB and 0.26 s of import; these are eleven.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import warnings
from ctypes import byref, c_int, c_int64, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any, NamedTuple

NONE, RELU, BIAS, GELU = 1, 2, 4, 32  # cublasLtEpilogue_t: the last three are bits; its GELU is that by tanh
AUX, DRELU = 128, 136
"""What is left for backward: of RELU a bit an element of C, which DRELU applies; of GELU its input."""
SUMS = 512  # BGRADB: the sum of each row of op(B)^T, written to where the bias lies
FLOAT32, TF32, BF16, FLOAT64 = 68, 77, 75, 70  # cublasComputeType_t
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
WORKSPACE = 32 << 20  # bytes at most, as NVIDIA recommends for Hopper

_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8  # of a product
_AUX_POINTER, _AUX_LD = 11, 12
_BATCH, _STRIDE = 5, 6  # of a matrix
_MOST_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)  # of a preference


class _Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("status", c_int),
        ("waves", ctypes.c_float),
        ("reserved", c_int * 4),
    )


class Matrix(NamedTuple):
    """A column-major matrix, or a batch of them `stride` elements apart."""

    rows: int
    columns: int
    ld: int
    stride: int = 0


@dataclass(frozen=True, eq=False)  # a key of plans in every launch: `described` makes one of each
class Product:
    """C = op(A) op(B), for each of a batch; then the epilogue, whose bias has an element a row of C.

    Of SUMS, what is written has one a column. With `adds`, C += op(A) op(B). ReLU's bits of a column of C
    fill whole 16 bytes (`mask_bytes`).
    """

    dtype: str
    compute: int
    transpose_a: bool
    transpose_b: bool
    a: Matrix
    b: Matrix
    c: Matrix
    batch: int
    epilogue: int
    adds: bool = False


def mask_bytes(rows: int) -> int:
    """The bytes of the mask of a column: its leading dimension is a multiple of 128 bits."""
    return (rows + 127) // 128 * 16


described = functools.cache(Product)
"""The product of such arguments, the same object each time."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library that CuPy's cuBLAS belongs to; None where there is none."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        lib = ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
        lib.cublasLtMatmul.argtypes = [c_void_p] * 14 + [c_size_t, c_void_p]
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return lib


def _call(name: str, *args: Any) -> None:
    status = getattr(library(), name)(*args)
    if status:
        raise RuntimeError(f"{name} gave status {status}")


class Plan:
    """A product that is described once and launched often, by one thread."""

    def __init__(self, handle: c_void_p, product: Product, alignment: int, bias: int, aux: int) -> None:
        p = self.product = product
        double = p.dtype == "float64"
        number = ctypes.c_double if double else ctypes.c_float
        self._numbers = number(1), number(p.adds)
        self._bias = self._aux = 0
        code = TYPES[p.dtype]
        self._product = c_void_p()
        _call("cublasLtMatmulDescCreate", byref(self._product), p.compute, int(double))
        for attribute, value in (
            (_TRANSPOSE_A, p.transpose_a),
            (_TRANSPOSE_B, p.transpose_b),
            (_EPILOGUE, p.epilogue),
        ):
            self._set(attribute, c_int(value))
        if aux:
            self._set(_AUX_LD, c_int64(p.c.rows if p.epilogue & GELU else 8 * mask_bytes(p.c.rows)))
        self._point(bias, aux)
        a, b, c = (self._matrix(m, code, p.batch) for m in (p.a, p.b, p.c))
        found, count, preference = _Found(), c_int(), c_void_p()
        _call("cublasLtMatmulPreferenceCreate", byref(preference))
        most = c_uint64(WORKSPACE)
        _call("cublasLtMatmulPreferenceSetAttribute", preference, _MOST_WORKSPACE, byref(most), c_size_t(8))
        for which in _ALIGNMENTS:
            value32 = ctypes.c_uint32(alignment)
            _call("cublasLtMatmulPreferenceSetAttribute", preference, which, byref(value32), c_size_t(4))
        matrices = (a, b, c, c)
        _call(
            "cublasLtMatmulAlgoGetHeuristic",
            *(handle, self._product, *matrices, preference, 1, byref(found), byref(count)),
        )
        _call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value or found.status:
            raise RuntimeError(f"cuBLASLt has no algorithm for {product}")
        self.workspace: int = found.workspace
        self._found = found
        alpha, beta = (ctypes.addressof(n) for n in self._numbers)
        self._head = handle.value, self._product.value, alpha
        self._layouts = a.value, b.value, c.value
        self._beta, self._algorithm = beta, ctypes.addressof(found)

    def _set(self, attribute: int, value: Any) -> None:
        size = c_size_t(ctypes.sizeof(value))
        _call("cublasLtMatmulDescSetAttribute", self._product, attribute, byref(value), size)

    def _point(self, bias: int, aux: int) -> None:
        if bias != self._bias:
            self._set(_BIAS_POINTER, c_void_p(bias))
        if aux != self._aux:
            self._set(_AUX_POINTER, c_void_p(aux))
        self._bias, self._aux = bias, aux

    def _matrix(self, m: Matrix, code: int, batch: int) -> c_void_p:
        layout = c_void_p()
        sizes = c_uint64(m.rows), c_uint64(m.columns), c_int64(m.ld)
        _call("cublasLtMatrixLayoutCreate", byref(layout), code, *sizes)
        if batch > 1:
            for which, value in ((_BATCH, c_int(batch)), (_STRIDE, c_int64(m.stride))):
                size = c_size_t(ctypes.sizeof(value))
                _call("cublasLtMatrixLayoutSetAttribute", layout, which, byref(value), size)
        return layout

    def launch(self, a: int, b: int, c: int, bias: int, aux: int, workspace: int, stream: int) -> None:
        """Queue the product of what lies at these addresses."""
        if bias != self._bias or aux != self._aux:
            self._point(bias, aux)
        la, lb, lc = self._layouts
        operands = (a, la, b, lb, self._beta, c, lc, c, lc)
        scratch = (self._algorithm, workspace, self.workspace)
        status = self._library_matmul(*self._head, *operands, *scratch, stream)
        if status:
            raise RuntimeError(f"cublasLtMatmul gave status {status}")

    @functools.cached_property
    def _library_matmul(self) -> Any:
        lib = library()
        assert lib is not None
        return lib.cublasLtMatmul


_of_thread = threading.local()


def plan(device: int, product: Product, alignment: int, bias: int, aux: int = 0) -> Plan | None:
    """The plan of a product on the current device, made at its first use in a thread.

    Args:
        device: the number of the current device.
        product: what is computed.
        alignment: bytes that divide the address of every array, a power of two up to 256.
        bias: the address of a bias, or 0.
        aux: that of what an activation leaves for backward, or 0.

    Returns:
        The plan; None if cuBLASLt refuses it, with a warning the first time if that costs more than a launch.
    """
    try:
        plans: dict[tuple[int, Product, int], Plan | None] = _of_thread.plans
    except AttributeError:
        plans = _of_thread.plans = {}
    key = device, product, alignment
    if key not in plans:
        handles = _of_thread.__dict__.setdefault("handles", {})
        if device not in handles:
            handles[device] = c_void_p()
            _call("cublasLtCreate", byref(handles[device]))
        try:
            plans[key] = Plan(handles[device], product, alignment, bias, aux)
        except RuntimeError as error:
            plans[key] = None
            if not product.epilogue & (SUMS | AUX):  # without, the same product follows
                warnings.warn(f"{error}; CuPy's product is used instead", RuntimeWarning, stacklevel=2)
    return plans[key]
