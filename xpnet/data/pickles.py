"""Pickles that hold data only: dicts, lists, strings, numbers and arrays of bytes.

`pickle` would call whatever a file names, and takes memory and time for what it only claims. This reads the
instructions (`pickletools.genops`) and knows those that describe data; a call is one of the four by which
NumPy describes an array, and even these are never made.
"""

from __future__ import annotations

import pickletools
from typing import Any

import numpy as np

_LIMIT = 4_000_000  # instructions: a batch of CIFAR-10 has 40,000
_MARK = object()
_CALLS = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",  # how newer pickles write bytes for Python 2
}
_VALUES = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "UNICODE"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_OF_PYTHON_2 = ("STRING", "BINSTRING", "SHORT_BINSTRING")


class UntrustedError(ValueError):
    """The pickle wants to call something."""


class _Described:
    """An array or a dtype, as the pickle describes it."""

    def __init__(self, kind: str, arguments: Any) -> None:
        self.kind, self.arguments, self.state = kind, arguments, None

    def array(self) -> np.ndarray:
        if self.kind != "array" or not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("it is described as no array is")
        _, shape, dtype, by_columns, content = self.state
        if not isinstance(dtype, _Described) or dtype.kind != "dtype" or not dtype.arguments:
            raise ValueError("it has no dtype")
        name = dtype.arguments[0]
        name = name.decode() if isinstance(name, bytes) else name
        if name != "u1":
            raise ValueError(f"its dtype is {name}")
        values = np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, np.uint8)
        return values.reshape(shape, order="F" if by_columns else "C")


def load_data(content: bytes) -> Any:
    """What a pickle of data holds; strings of Python 2 are bytes.

    Raises:
        UntrustedError: it asks for a class or a function that data do not need.
        Exception: whatever else is wrong with it; the caller reads within `xpnet.core.reading.reading`.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = max(i for i, item in enumerate(stack) if item is _MARK)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def fill(target: Any, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes):
                raise ValueError(f"a dict has a {type(key).__name__} as a key, expected text")
            target[key] = value

    argument: Any
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if number > _LIMIT:
            raise ValueError(f"it has more than {_LIMIT} instructions")
        name = operation.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _OF_PYTHON_2:
            stack.append(argument.encode("latin1"))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
        elif name in ("LIST", "TUPLE"):
            stack.append({"LIST": list, "TUPLE": tuple}[name](since_mark()))
        elif name == "DICT":
            items = since_mark()
            stack.append({})
            fill(stack[-1], items)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("APPEND", "APPENDS"):
            items = since_mark() if name == "APPENDS" else [stack.pop()]
            if not isinstance(stack[-1], list):
                raise ValueError("it appends to what is no list")
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if not isinstance(stack[-1], dict):
                raise ValueError("it sets items of what is no dict")
            fill(stack[-1], items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                second, first = stack.pop(), stack.pop()
                argument = f"{first} {second}"
            if argument not in _CALLS:
                asked = str(argument).replace(" ", ".")
                raise UntrustedError(
                    f"the pickle asks for {asked}, which CIFAR-10 does not need; it may run code, so do not "
                    "trust this file"
                )
            stack.append(_CALLS[argument])
        elif name == "REDUCE":
            arguments, kind = stack.pop(), stack.pop()
            if kind == "encode":
                stack.append(arguments[0].encode("latin1"))
            else:
                stack.append(_Described(kind, arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Described):
                raise ValueError("it gives a state to what is no array")
            stack[-1].state = state
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise UntrustedError(
                f"the pickle has the instruction {name}, which CIFAR-10 does not need; do not trust this file"
            )
    raise EOFError("it has no end")


def array_in(value: Any, name: str) -> Any:
    """An array that `load_data` found; anything else as it is.

    Raises:
        ValueError: naming the place `name`: it is not an array of bytes.
    """
    if not isinstance(value, _Described):
        return value
    try:
        return value.array()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: 'data' is not an array of bytes ({error})") from None
