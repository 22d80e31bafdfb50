"""NumPy's own files, .npy and .npz: no pickled objects, and no memory for what a header only claims."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from os import PathLike
from typing import IO

import numpy as np

from xpnet.core.reading import open_file, reading

_HEADER = 2**16  # NumPy's own are 128 bytes long


def read_npy(path: str | PathLike[str]) -> np.ndarray:
    """The array in a .npy file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged, of another format, or holds objects.
    """
    with reading(path, "an .npy file"), open_file(path) as file:
        return _read_array(file, os.fstat(file.fileno()).st_size)


def read_npz(path: str | PathLike[str], choose: Callable[[list[str]], Sequence[str]]) -> list[np.ndarray]:
    """Arrays that `numpy.savez` wrote.

    Args:
        path: the file.
        choose: from the names of all arrays, those to read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged, of another format, or holds objects; or what `choose` raises.
    """
    with reading(path, "an .npz file"), open_file(path) as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        found = []
        for name in choose(list(members)):
            info = members[name]
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"the array {name!r} is packed as NumPy packs none")
            with archive.open(info) as stream:
                found.append(_read_array(stream, info.file_size))
        return found


def _read_array(stream: IO[bytes], size: int) -> np.ndarray:
    """An array from a stream that is `size` bytes long."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
        raise ValueError("it does not begin as an array of NumPy does")
    width = 2 if magic[6] == 1 else 4
    start = stream.read(width)
    length = int.from_bytes(start, "little")
    if length > _HEADER:
        raise ValueError(f"its header is {length} bytes long")
    header = io.BytesIO(start + stream.read(length))
    parse = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = parse(header, max_header_size=_HEADER)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which can run code: save numbers")
    count = math.prod(shape)
    expected = 8 + width + length + count * dtype.itemsize
    if count < 0 or min(shape, default=0) < 0 or expected != size:
        raise ValueError(f"it has {size} bytes, expected {expected} for {dtype} of shape {shape}")
    array = np.empty(count, dtype)  # no memory is touched before it is filled
    rest = array.view(np.uint8).data if array.nbytes else memoryview(b"")
    while len(rest):
        filled = stream.readinto(rest[: 2**20])  # type: ignore[attr-defined]
        if not filled:
            raise EOFError(f"it ends {len(rest)} bytes too early")
        rest = rest[filled:]
    stream.read(1)  # at its end a zip file compares the checksum
    return array.reshape(shape, order="F" if by_columns else "C")
