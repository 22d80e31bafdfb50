"""What a thing is, in terms of JSON: two descriptions tell whether two things mean the same.

Functions are known by name, code and what they refer to, objects by their attributes, arrays by a hash of
their bytes. Floats have a sketch beside it, sums that another order of additions leaves as they are, but
neither another order of samples nor a shift: what was computed on another machine is the same but for
rounding.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.core import arrays
from xpnet.core.backend import dtype_name
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_name, backend_of, namespace
from xpnet.core.tensor import Tensor

WHOLE = 1 << 23
"""Bytes up to which an array is hashed as a whole; of a larger one, rows spread over it."""

_PIECES = 16
"""Sums of a sketch."""

_ROUNDING = 1e-5
"""What rounding may change of a sum, relative to the sum of magnitudes."""

_LONG = 1 << 14
"""Characters of a description from which on a hash takes its place."""

_MANY = 64
"""Elements of a list or a dict up to which all are looked at; of a longer one, so many spread over it."""

_NODES = 2000
"""Objects looked into; those beyond are known by their names."""

Seen = dict[int, Any]
"""Objects by identity, which are looked into once; kept, so that no other takes the identity."""


def fingerprint(value: Any) -> Any:
    """The description of a value.

    Args:
        value: a function, an object, an array, numbers, or tuples, lists and dicts of them. What has a state
            of its own (`state_dict`), such as a Module, is known by its name and settings alone.

    Returns:
        What JSON can hold, for `compare` and `text`.

    >>> from functools import partial
    >>> from xpnet.core.fingerprint import compare, fingerprint, text
    >>> from xpnet.functional import cross_entropy
    >>> smooth = fingerprint(partial(cross_entropy, label_smoothing=0.1))
    >>> text(smooth), compare(smooth, fingerprint(cross_entropy))
    ('cross_entropy(label_smoothing=0.1)', 'other')
    """
    found: Any = _described(value, {})
    content = json.dumps(found)
    if len(content) <= _LONG or not isinstance(found, dict | list):
        return found
    return {"name": _name(value), "hash": hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}


def _described(value: Any, seen: Seen) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return _described(value.item(), seen)
    if isinstance(value, Tensor):
        value = value.data if not value.requires_grad else f"Tensor {list(value.shape)}"
        return _described(value, seen)
    if is_array(value):
        return array_fingerprint(value)
    if id(value) in seen or len(seen) >= _NODES:
        return {"name": _name(value)}
    seen[id(value)] = value
    if isinstance(value, Mapping):
        entries = dict(_some(list(value.items())))
        return {"entries": {str(key): _described(v, seen) for key, v in entries.items()}, "of": len(value)}
    if (
        isinstance(value, list | tuple)
        and len(value) > _MANY
        and all(isinstance(v, float | int) for v in value)
    ):
        return array_fingerprint(np.asarray(value))
    if isinstance(value, list | tuple):
        return [*(_described(v, seen) for v in _some(value)), *([len(value)] if len(value) > _MANY else [])]
    if isinstance(value, set | frozenset):
        return sorted(str(_described(v, seen)) for v in _some(sorted(value, key=repr)))
    try:
        return _of_object(value, seen)
    except Exception:  # what cannot be looked into is known by its name, and ends no run
        return {"name": _name(value)}


def _some(values: Sequence[Any]) -> list[Any]:
    """All of a few; of many, some spread over them."""
    n = len(values)
    return list(values) if n <= _MANY else [values[i * (n - 1) // (_MANY - 1)] for i in range(_MANY)]


def _of_object(value: Any, seen: Seen) -> Any:
    value = getattr(value, "uncaptured", value)
    if isinstance(value, functools.partial):
        found = _described(value.func, seen)
        found = found if isinstance(found, dict) else {"name": str(found)}
        given: dict[Any, Any] = {**dict(enumerate(value.args)), **value.keywords}
        return {**found, "with": {**found.get("with", {}), **_attributes(given, seen)}}
    if isinstance(value, types.MethodType):
        return {"name": value.__name__, "with": {"of": _described(value.__self__, seen)}}
    if isinstance(value, types.FunctionType):
        return _of_function(value, seen)
    if isinstance(value, type | types.ModuleType) or hasattr(value, "__name__"):  # an op, a builtin
        return {"name": _name(value)}
    fitted = callable(getattr(value, "fit", None)) and callable(getattr(value, "transform", None))
    if hasattr(value, "state_dict") and not fitted:  # a state that training changes
        settings = getattr(value, "settings", None)
        found = _described(settings(), seen) if callable(settings) else None
        if not found and hasattr(value, "forward"):
            return _of_module(value, seen)
        return {"name": _name(value), **({"with": {"settings": found}} if found else {})}
    own = type(value).__call__ if callable(value) else None
    code = _code(own) if isinstance(own, types.FunctionType) else None
    coded = {} if code is None else {"code": code}
    if hasattr(value, "__dict__"):
        return {"name": _name(value), "with": _attributes(vars(value), seen), **coded}
    shown = repr(value)
    if " at 0x" not in shown and len(shown) <= 200 and not coded:
        return shown
    held = _attributes(_slots(value), seen)
    return {"name": _name(value), **({"with": held} if held else {}), **coded}


def _slots(value: Any) -> dict[str, Any]:
    """What an object without a dict holds, but for what it keeps for itself."""
    slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
    names = [name for found in slots for name in ([found] if isinstance(found, str) else found)]
    return {name: getattr(value, name) for name in names if name[:1] != "_" and hasattr(value, name)}


def _of_module(value: Any, seen: Seen) -> dict[str, Any]:
    """By name, code and what is given to it: not its mode, nor its state, which training changes."""
    state = value.state_dict()
    given = {
        name: v
        for name, v in vars(value).items()
        if not name.startswith("_") and name != "training" and name not in state and _is_given(v)
    }
    found: dict[str, Any] = {"name": _name(value)}
    if given:
        found["with"] = _attributes(given, seen)
    forward = type(value).forward
    code = _code(forward) if isinstance(forward, types.FunctionType) else None
    return found if code is None else {**found, "code": code}


def _is_given(value: Any) -> bool:
    plain = isinstance(value, bool | int | float | str) or is_array(value)
    return plain or (hasattr(value, "forward") and hasattr(value, "state_dict"))


def _of_function(function: types.FunctionType, seen: Seen) -> dict[str, Any]:
    """By name, code, defaults, and the values of names that are not its own."""
    code = _code(function)
    if code is None:
        return {"name": _name(function)}
    outside = inspect.getclosurevars(function)
    used = {**outside.globals, **outside.nonlocals}
    used = {name: v for name, v in used.items() if not isinstance(v, types.ModuleType | type)}
    defaults: dict[Any, Any] = {
        **dict(enumerate(function.__defaults__ or ())),
        **(function.__kwdefaults__ or {}),
    }
    return {
        "name": _name(function),
        "code": code,
        "with": _attributes({**used, **defaults, **vars(function)}, seen),
    }


def _attributes(values: Mapping[Any, Any], seen: Seen) -> dict[str, Any]:
    return {str(name): _described(v, seen) for name, v in sorted(values.items(), key=lambda i: str(i[0]))}


def _code(function: types.FunctionType) -> str | None:
    """A hash of a function's code, with the version of Python that compiled it; None of what is ours."""
    if (function.__module__ or "").partition(".")[0] in ("xpnet", *sys.stdlib_module_names):
        return None
    digest = hashlib.blake2b(digest_size=6)

    def add(code: types.CodeType) -> None:
        digest.update(code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                add(constant)
            elif constant != function.__doc__:
                digest.update(repr(constant).encode())
        digest.update(repr(code.co_names).encode())

    add(function.__code__)
    return f"{sys.version_info[0]}.{sys.version_info[1]}:{digest.hexdigest()}"


def _name(value: Any) -> str:
    named = value if hasattr(value, "__name__") else type(value)
    return str(getattr(named, "__qualname__", named.__name__)).rpartition("<locals>.")[2]


# ---- arrays -----------------------------------------------------------------------------------------------


def is_array(value: Any) -> bool:
    """Whether a value is an array of a backend that there is."""
    if not arrays.is_array(value):
        return False
    try:
        return bool(backend_name(value))
    except TypeError:  # a Series, say
        return False


def array_fingerprint(array: Any, whole: int = WHOLE) -> dict[str, Any]:
    """Shape, dtype, a hash of the values, and a sketch of floats.

    Args:
        array: (n, ...) of any backend; if it is large, rows spread over it are fetched.
        whole: bytes up to which it is read as a whole.

    Returns:
        `{"array": ..., "hash": ..., "sketch": [...], "scale": [...]}`.
    """
    name = f"{dtype_name(array.dtype)} {list(array.shape)}"
    host = np.ascontiguousarray(to_numpy(_spread(array, whole)))
    content = host.reshape(-1).view(np.uint8).data  # bfloat16 gives no buffer of its own
    found: dict[str, Any] = {"array": name, "hash": hashlib.blake2b(content, digest_size=8).hexdigest()}
    if arrays.is_half(host):
        host = host.astype(np.float32)
    if host.dtype.kind in "fc" and host.size:
        flat = host.reshape(-1).view(host.real.dtype).astype(np.float64)
        with np.errstate(all="ignore"):
            starts = np.linspace(0, flat.size, min(_PIECES, flat.size), endpoint=False).astype(np.int64)
            # a weight a place, in [0.5, 1.5): what moves changes the sum
            weight = (np.arange(flat.size) * 0.6180339887498949 + 0.25) % 1 + 0.5
            found["sketch"] = np.add.reduceat(flat * weight, starts).tolist()
            found["scale"] = np.add.reduceat(np.abs(flat), starts).tolist()
    return found


def _spread(array: Any, whole: int) -> Any:
    """Rows of a large array, one of each of equal parts, at places that are no period of anything."""
    n = array.shape[0] if array.ndim else 1
    size = max(1, math.prod(array.shape)) * getattr(array.dtype, "itemsize", 4)
    if size <= whole or n < 2:
        return array
    rows = max(2, min(n, whole * n // size))
    place = (np.arange(rows) + (np.arange(rows) * 0.7548776662466927) % 1) * (n / rows)
    indices = np.minimum(place.astype(np.int64), n - 1)
    if type(array) is np.ndarray:
        return array[indices]
    return namespace(array).take(array, asarray(indices, backend=backend_of(array)), axis=0)


# ---- comparing --------------------------------------------------------------------------------------------


def compare(then: Any, now: Any) -> str:
    """How two descriptions differ: "same", "rounding" or "other".

    >>> import numpy as np
    >>> from xpnet.core.fingerprint import compare, fingerprint
    >>> x = np.linspace(0, 1, 100, dtype=np.float32)
    >>> nearly, shifted = x * np.float32(1 + 1e-7), x + np.float32(0.01)
    >>> [compare(fingerprint(x), fingerprint(other)) for other in (x.copy(), nearly, shifted, x[::-1])]
    ['same', 'rounding', 'other', 'other']
    """
    if then == now:
        return "same"
    if isinstance(then, float | int) and isinstance(now, float | int):
        return "rounding" if math.isclose(then, now, rel_tol=1e-6) and type(then) is type(now) else "other"
    if isinstance(then, dict) and isinstance(now, dict):
        if "array" in then and "array" in now:
            return _compare_arrays(then, now)
        if then.keys() != now.keys():
            return "other"
        return _worst(
            _compare_codes(v, now[k]) if k == "code" else compare(v, now[k]) for k, v in then.items()
        )
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return _worst(compare(a, b) for a, b in zip(then, now, strict=True))
    return "other"


def _worst(found: Any) -> str:
    found = set(found)
    return next(kind for kind in ("other", "rounding", "same") if kind in found)


def _compare_codes(then: str, now: str) -> str:
    """Codes of two versions of Python say nothing of each other."""
    return "other" if then != now and then.partition(":")[0] == now.partition(":")[0] else "same"


def _compare_arrays(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if then["array"] != now["array"] or "sketch" not in then or "sketch" not in now:
        return "other"
    scales = then["scale"] * 2
    pairs = zip(then["sketch"] + then["scale"], now["sketch"] + now["scale"], scales, strict=True)
    return "rounding" if all(abs(a - b) <= _ROUNDING * scale for a, b, scale in pairs) else "other"


def text(description: Any) -> str:
    """A description in a few words, for messages."""
    if isinstance(description, list):
        return f"[{', '.join(map(text, description))}]"
    if not isinstance(description, dict):
        return str(description)
    if "entries" in description:
        return "{" + ", ".join(f"{k}: {text(v)}" for k, v in description["entries"].items()) + "}"
    if "array" in description:
        return f"{description['array']} #{description['hash'][:6]}"
    if "hash" in description:
        return f"{description['name']} #{description['hash'][:6]}"
    inner = [v if k.isdecimal() else f"{k}={text(v)}" for k, v in description.get("with", {}).items()]
    code = description.get("code")
    mark = f" #{code.partition(':')[2][:6]}" if code else ""
    return (
        str(description.get("name", description))
        + (f"({', '.join(map(text, inner))})" if inner else "")
        + mark
    )
