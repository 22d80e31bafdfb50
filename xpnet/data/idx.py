"""The idx format of MNIST (LeCun, Cortes & Burges, 1998): magic number, sizes, values, all big-endian."""

from __future__ import annotations

import gzip
import math
import os
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.core.reading import MissingFileError, open_file, read_exactly, reading
from xpnet.data.dataset import Dataset

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


def load_mnist(path: str | PathLike[str], flatten: bool = True) -> tuple[Dataset, Dataset]:
    """MNIST, or any data set in its four files (Fashion-MNIST, KMNIST): 28 by 28 pixels, 10 classes.

    Args:
        path: the folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each with or without .gz.
        flatten: x of shape (60000, 784); otherwise pictures, (60000, 1, 28, 28).

    Returns:
        The training and the test set: x float32, whole numbers 0 .. 255; y int64, 0 .. 9.

    Raises:
        FileNotFoundError: the folder or a file is missing.
        ValueError: a file is truncated, damaged or of another format, or images and labels do not pair up.

    >>> from xpnet.data import load_mnist
    >>> load_mnist("no/such/folder")
    Traceback (most recent call last):
    xpnet.core.reading.MissingFileError: no/such/folder: no such folder; expected ...
    """
    folder = Path(path)
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder; expected the folder with MNIST's four idx files")
    return _part(folder, "train", flatten), _part(folder, "t10k", flatten).guarded()


def _part(folder: Path, part: str, flatten: bool) -> Dataset:
    image_file, label_file = _find(folder, f"{part}-images", "idx3"), _find(folder, f"{part}-labels", "idx1")
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or labels.ndim != 1:
        raise ValueError(
            f"{folder}: expected images (n, height, width) and labels (n,), got {images.shape} in "
            f"{image_file.name} and {labels.shape} in {label_file.name}"
        )
    x = images.astype(np.float32)
    x = x.reshape(len(x), -1) if flatten else x[:, None]
    return Dataset(x, labels.astype(np.int64), "MNIST training set" if part == "train" else "MNIST test set")


def _find(folder: Path, stem: str, kind: str) -> Path:
    """The file under any of the names it is distributed by."""
    names = [f"{stem}{dash}{kind}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise MissingFileError(f"{folder}: there is no {names[0]} or {names[1]} in this folder")
