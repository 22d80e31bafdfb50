"""The idx format of MNIST (LeCun, Cortes & Burges, 1998): magic number, sizes, values, all big-endian."""

from __future__ import annotations

import gzip
import math
import os
from os import PathLike
from typing import Any

import numpy as np

from xpnet.core.reading import open_file, read_exactly, reading

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """The array in an idx file, gzipped or not.

    Args:
        path: the file; gzip is recognised by its content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, too long, damaged, or of another format.
    """
    with reading(path, "an idx file"), open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.open(file) as stream:
                return _read_array(stream, None, path)
        return _read_array(file, os.fstat(file.fileno()).st_size, path)


def _read_array(stream: Any, size: int | None, path: str | PathLike[str]) -> np.ndarray:
    """From a stream of `size` bytes; None: nobody knows before its end."""
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
        raise ValueError(
            f"{path}: not an idx file: it starts with {head.hex(' ') or 'nothing'}, "
            "expected 00 00, a type code and the number of axes"
        )
    dtype, axes = np.dtype(_DTYPES[head[2]]), head[3]
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise ValueError(f"{path}: the idx file is truncated inside its header; download it again")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    expected = math.prod(shape) * dtype.itemsize
    whole = 4 + 4 * axes + expected
    if size is not None and size != whole:
        problem = "truncated" if size < whole else "too long"
        raise ValueError(
            f"{path}: the idx file is {problem}: {size} bytes, expected {whole} for an array of "
            f"shape {shape}; download it again"
        )
    try:
        content = read_exactly(stream, expected)
    except EOFError as error:
        raise ValueError(
            f"{path}: the idx file is truncated: {error} for an array of shape {shape}; download it again"
        ) from None
    if stream.read(1):
        raise ValueError(f"{path}: the idx file is too long for an array of shape {shape}; download it again")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
