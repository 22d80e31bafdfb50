"""New Tensors, on the default backend or where `device` is; and what is known about dtypes.

Python's floats become float32, here as everywhere in xpnet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet.array_api.function import Function, derived, public
from xpnet.array_api.manipulation import broadcast_to
from xpnet.array_api.values import (
    any_tensor,
    backend_for,
    differentiating,
    flat,
    is_dtype,
    on,
    owner,
    raw,
    standard,
    unwrapped,
    value_of,
    wrapped,
)
from xpnet.core import operators
from xpnet.core.arrays import carries_gradients, keep
from xpnet.core.backend import Backend, dtype_name
from xpnet.core.convert import asarray as move
from xpnet.core.operators import reshape
from xpnet.core.places import on_device

CHAPTER = "creation"


def _default(value: Any) -> str | None:
    """The dtype of new elements like these Python numbers."""
    numbers = list(flat([value])) if isinstance(value, list | tuple) else [value]
    if any(isinstance(v, complex) for v in numbers):
        return "complex64"
    return "float32" if not numbers or any(isinstance(v, float) for v in numbers) else None


def make(name: str, args: tuple[Any, ...], dtype: Any, device: Any, **named: Any) -> Any:
    """What a creation function of the backend makes, a Tensor."""
    backend = backend_for((), dtype, device)
    if device in (None, "cpu") and backend.device is not None:
        device = backend.device
    elif backend.name == "numpy":
        device = None
    named = {k: v for k, v in named.items() if v is not None}
    with backend.xp.on(device) if backend.name == "cupy" else _nothing():
        return wrapped(
            _find(_creator(backend), name)(*args, dtype=on(backend, dtype), device=device, **named)
        )


def _find(xp: Any, name: str) -> Any:
    return getattr(xp.fft, name) if name.endswith("freq") else getattr(xp, name)


def _creator(backend: Backend) -> Any:
    return backend.xp if backend.name == "cupy" else standard(backend)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
    """start, start + step, ..., below stop."""
    for name, value in (("start", start), ("stop", stop), ("step", step)):
        if differentiating(value):
            raise TypeError(
                f"arange: {name} requires a gradient, and the length of the result depends on it; pass "
                "float(x), or use linspace"
            )
    start, stop, step = (v.item() if carries_gradients(v) else v for v in (start, stop, step))
    if stop is None:
        start, stop = 0, start
    dtype = dtype or _default([v for v in (start, stop, step) if v is not None])
    return make("arange", (start, stop, step), dtype, device)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Whatever is in memory."""
    return make("empty", (shape,), dtype or "float32", device)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Zeros."""
    return make("zeros", (shape,), dtype or "float32", device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Ones."""
    return make("ones", (shape,), dtype or "float32", device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """One value everywhere; a Tensor of it has its gradient, the sum."""
    if carries_gradients(fill_value):
        value = fill_value if dtype is None else operators.astype(fill_value, dtype)
        return broadcast_to(value, (shape,) if isinstance(shape, int) else tuple(shape))
    return make("full", (shape, fill_value), dtype or _default(fill_value), device)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Any:
    """Ones on the diagonal `k`, zeros elsewhere."""
    return make("eye", (n_rows, n_cols), dtype or "float32", device, k=k)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Any:
    """num numbers from start to stop, evenly."""
    like = start if carries_gradients(start) else stop if carries_gradients(stop) else None
    if like is not None:
        dtype, device = dtype or like.dtype, like.device if device is None else device
    if differentiating(start, stop):
        steps = linspace(0, 1, num, dtype=dtype, device=device, endpoint=endpoint)
        return start * (1 - steps) + stop * steps
    start, stop = (v.item() if carries_gradients(v) else v for v in (start, stop))
    dtype = dtype or _default([start, stop]) or "float32"
    return make("linspace", (start, stop, num), dtype, device, endpoint=endpoint)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """A Tensor of an array, of nested numbers, or of another Tensor, through which gradients flow."""
    if carries_gradients(obj):
        wanted = dtype is not None and on(backend_for((obj,)), dtype) != obj.dtype
        if wanted:
            if copy is False:
                raise ValueError(f"asarray: {dtype_name(obj.dtype)} does not become {dtype} without a copy")
            return operators.astype(obj, dtype)
        return operators.clone(obj) if copy else obj
    if isinstance(obj, list | tuple) and any(carries_gradients(v) for v in flat(obj)):
        return _nested(obj, dtype)
    backend = backend_for((), dtype, device)
    if owner(obj) is None:
        dtype = dtype or (_default(obj) if isinstance(obj, int | float | complex | list | tuple) else None)
        device = backend.device if device in (None, "cpu") else device
        device = None if backend.name == "numpy" else device
        with on_device_of(backend, device):
            made = _creator(backend).asarray(obj, dtype=on(backend, dtype), device=device, copy=copy)
        return wrapped(made)
    array = move(obj, on(backend, dtype), backend=backend)
    if copy and array is obj:
        array = standard(backend).asarray(obj, copy=True)
    if copy is False and array is not obj:
        raise ValueError(f"asarray: {dtype_name(obj.dtype)} does not become {dtype} without a copy")
    return wrapped(array)


def on_device_of(backend: Backend, device: Any) -> Any:
    """The device made current on CuPy; nothing elsewhere."""
    return backend.xp.on(device) if backend.name == "cupy" else _nothing()


def _nested(obj: Any, dtype: Any) -> Any:
    from xpnet.array_api.manipulation import stack

    like = next(v for v in flat(obj) if carries_gradients(v))
    parts = [_nested(v, dtype) if isinstance(v, list | tuple) else v for v in obj]
    parts = [v if carries_gradients(v) else full_like(like.detach(), v) for v in parts]
    made = stack(parts)
    return made if dtype is None else operators.astype(made, dtype)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """A Tensor on the memory of another library's array."""
    if carries_gradients(x):
        return asarray(x, copy=copy)
    named: dict[str, Any] = {} if device is None and copy is None else {"device": device, "copy": copy}
    return wrapped(standard(backend_for(())).from_dlpack(x, **named))


def _like(name: str) -> Function:
    def like(x: Any, values: tuple[Any, ...], dtype: Any, device: Any) -> Any:
        backend = backend_for((x,))
        array = unwrapped(x)
        device = None if backend.name == "numpy" else array.device if device is None else device
        with on_device(array):
            made = getattr(_creator(backend), name)(
                array, *(unwrapped(v) for v in values), dtype=on(backend, dtype), device=device
            )
        return made if raw(x) else wrapped(made)

    if name == "full_like":
        return lambda x, /, fill_value, *, dtype=None, device=None: like(x, (fill_value,), dtype, device)
    return lambda x, /, *, dtype=None, device=None: like(x, (), dtype, device)


LIKE = {
    "empty_like": "Whatever is in memory, in the shape and dtype of x.",
    "full_like": "One value everywhere, in the shape and dtype of x.",
    "ones_like": "Ones in the shape and dtype of x.",
    "zeros_like": "Zeros in the shape and dtype of x.",
}
LIKES = {
    name: public(_like(name), name, CHAPTER, text, "none; new numbers are constants")
    for name, text in LIKE.items()
}
full_like = LIKES["full_like"]


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid, from one vector for each axis."""
    if not any_tensor(arrays):
        return list(value_of("meshgrid", arrays, {"indexing": indexing}))
    n = len(arrays)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[0], order[1] = 1, 0
    arrays = tuple(reshape(a, (1,)) if not a.ndim else a for a in arrays)
    sizes = [a.shape[0] for a in arrays]
    shape = tuple(sizes[order[k]] for k in range(n))
    return [
        broadcast_to(reshape(a, tuple(sizes[i] if order[k] == i else 1 for k in range(n))), shape)
        for i, a in enumerate(arrays)
    ]


def _triangle(name: str, text: str) -> Function:
    @derived(name, CHAPTER, text, "dy in that triangle, 0 outside")
    def function(x: Any, /, *, k: int = 0) -> Any:
        mask = value_of(name, (value_of("ones_like", (x.data,), {}),), {"k": k}) != 0
        return _keep(x, mask)

    return function


def _keep(x: Any, mask: Any) -> Any:
    return keep(x, mask)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """x in another dtype, or that of a name."""
    dtype = on(backend_for((x,)), dtype)
    if not copy and dtype == x.dtype:
        return x
    if differentiating(x):
        return operators.astype(x, dtype)
    return value_of(
        "astype", (x, dtype), {"copy": copy} if device is None else {"copy": copy, "device": device}
    )


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind, such as "real floating", or one of several."""
    backend = backend_of_dtype(dtype)
    kinds = tuple(on(backend, k) if is_dtype(k) else k for k in kind) if isinstance(kind, tuple) else kind
    return standard(backend).isdtype(dtype, kinds if not is_dtype(kinds) else on(backend, kinds))


def backend_of_dtype(dtype: Any) -> Backend:
    """A backend that a dtype belongs to."""
    name = (dtype if isinstance(dtype, type) else type(dtype)).__module__.split(".")[0]
    from xpnet.core.backend import HOST, load

    return load(name) if name in ("torch", "array_api_strict") else HOST


class FloatInfo(NamedTuple):
    """The limits of a floating-point type, as Python's numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point type."""
    dtype = type if is_dtype(type) else type.dtype
    found = standard(backend_of_dtype(dtype)).finfo(dtype)
    eps, most, least, normal = (float(v) for v in (found.eps, found.max, found.min, found.smallest_normal))
    return FloatInfo(int(found.bits), eps, most, least, normal, found.dtype)


def iinfo(type: Any, /) -> Any:
    """The limits of an integer type."""
    dtype = type if is_dtype(type) else type.dtype
    return standard(backend_of_dtype(dtype)).iinfo(dtype)


def _of_dtypes(name: str, args: tuple[Any, ...]) -> Any:
    dtype = next((a for a in flat(args) if is_dtype(a)), None)
    backend = backend_for(args) if any(owner(a) for a in args) or dtype is None else backend_of_dtype(dtype)
    return getattr(standard(backend), name)(*(on(backend, a) if is_dtype(a) else unwrapped(a) for a in args))


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether one dtype becomes another by promotion."""
    return _of_dtypes("can_cast", (from_, to))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that arrays and dtypes are promoted to."""
    return _of_dtypes("result_type", arrays_and_dtypes)


FUNCTIONS: dict[str, Function] = {
    **{f.__name__: public(f, f.__name__, CHAPTER, str(f.__doc__), "none; new numbers are constants")
       for f in (arange, empty, zeros, ones, eye, from_dlpack)},
    "linspace": public(linspace, "linspace", CHAPTER, str(linspace.__doc__), "1 - t and t, t from 0 to 1"),
    **{f.__name__: public(f, f.__name__, CHAPTER, str(f.__doc__), "1") for f in (full, asarray, meshgrid)},
    **LIKES,
    "tril": _triangle("tril", "x on and below the diagonal `k`, zeros above."),
    "triu": _triangle("triu", "x on and above the diagonal `k`, zeros below."),
    "astype": public(astype, "astype", "data types", str(astype.__doc__), "dy in the dtype of x"),
    **{f.__name__: public(f, f.__name__, "data types", str(f.__doc__), "none")
       for f in (isdtype, finfo, iinfo, can_cast, result_type)},
}  # fmt: skip
