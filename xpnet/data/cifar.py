"""CIFAR-10 (Krizhevsky, 2009): 60000 colour pictures of 32 by 32 pixels in 10 classes."""

from __future__ import annotations

import io
import pickle
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from xpnet.data.dataset import Dataset
from xpnet.data.folder import ImageFolder, open_tar, read_member

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_SHAPE = (3, 32, 32)
_TRAIN, _TEST = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")


def load_cifar10(
    path: str | PathLike[str], flatten: bool = False, dtype: str = "float32"
) -> tuple[Dataset, Dataset]:
    """CIFAR-10, in any of the forms it is distributed in.

    Args:
        path: the folder or the tar file of the Python version (data_batch_1 ...) or the binary version
            (data_batch_1.bin ...); or a folder with train and test, each a folder or .tar.gz of class
            folders of pictures (needs Pillow, the extra `images`).
        flatten: x of shape (n, 3072); otherwise pictures, (n, 3, 32, 32).
        dtype: "float32", or "uint8", a quarter of the memory.

    Returns:
        The training and the test set: x whole numbers 0 .. 255; y int64, 0 .. 9.

    The Python version is a pickle, and a pickle can run any code. This reader builds nothing but dicts,
    lists, strings, numbers and arrays of bytes; everything else in the file is an error.

    Raises:
        FileNotFoundError: there is no such path, or a file of the set is missing.
        ValueError: a file is truncated, damaged, of another format, or not to be trusted.

    >>> from xpnet.data import load_cifar10
    >>> load_cifar10("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: no/such/folder: no such file or folder; expected the files of CIFAR-10
    """
    if dtype not in ("float32", "uint8"):
        raise ValueError(f'load_cifar10: dtype is "float32" or "uint8", got {dtype!r}')
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder; expected the files of CIFAR-10")
    pictures = None if source.is_file() else _pictures(source)
    if pictures is not None:
        parts = [(np.asarray(part.x), part.y) for part in pictures]
    else:
        files = _read(source)
        parts = [_join(source, files, names) for names in (_TRAIN, _TEST)]
    found = []
    for (x, y), name in zip(parts, ("CIFAR-10 training set", "CIFAR-10 test set"), strict=True):
        x = x.reshape(len(x), -1) if flatten else x
        found.append(Dataset(x.astype(dtype, copy=False), y, name, class_names=CLASSES))
    return found[0], found[1].guarded()


def _pictures(folder: Path) -> list[ImageFolder] | None:
    """The two parts as class folders of pictures, if that is what the folder holds."""
    found: list[ImageFolder] = []
    for part in ("train", "test"):
        place = next((p for end in ("", ".tar.gz", ".tar") if (p := folder / (part + end)).exists()), None)
        if place is None:
            return None
        data = ImageFolder(place, dtype="uint8")
        if tuple(data.class_names or ()) != CLASSES or tuple(data.x.shape[1:]) != _SHAPE:
            raise ValueError(
                f"{place}: expected the 10 class folders {', '.join(CLASSES)} with pictures of 32 by 32, got "
                f"{', '.join(data.class_names or ())} with pictures of {tuple(data.x.shape[2:])}"
            )
        found.append(data)
    return found


def _read(source: Path) -> dict[str, bytes]:
    """The contents of the batch files by name, from a folder, a folder in it, or a tar file."""
    if source.is_file():
        with open_tar(source) as archive:
            return {PurePosixPath(m.name).name: read_member(archive, m) for m in archive if _wanted(m.name)}
    for folder in (source, source / "cifar-10-batches-py", source / "cifar-10-batches-bin"):
        found = {p.name: p.read_bytes() for p in folder.glob("*_batch*") if p.is_file()}
        if found:
            return found
    for name in _ARCHIVES:
        if (source / name).is_file():
            return _read(source / name)
    raise FileNotFoundError(
        f"{source}: no CIFAR-10 here: expected data_batch_1 to 5 and test_batch (or the same with .bin), "
        f"{' or '.join(_ARCHIVES)}, or train and test as folders or .tar.gz of class folders"
    )


def _wanted(name: str) -> bool:
    return PurePosixPath(name).name.removesuffix(".bin") in _TRAIN + _TEST


def _join(source: Path, files: dict[str, bytes], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and labels of some batch files, one after the other."""
    parts = []
    for name in names:
        if name in files:
            parts.append(read_python_batch(files[name], f"{source}: {name}"))
        elif f"{name}.bin" in files:
            parts.append(read_binary_batch(files[f"{name}.bin"], f"{source}: {name}.bin"))
        else:
            raise FileNotFoundError(
                f"{source}: {name} is missing; found {', '.join(sorted(files)) or 'none'}"
            )
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def read_binary_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3072 colour bytes: x (n, 3, 32, 32) uint8, y (n,) int64.

    Raises:
        ValueError: the length is no multiple of 3073, or a label is above 9.
    """
    if not content or len(content) % 3073:
        raise ValueError(
            f"{name}: {len(content)} bytes, expected a multiple of 3073 (a label and 3072 colour values); "
            "the file is truncated or of another format"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, *_SHAPE), _labels(records[:, 0].astype(np.int64), name)


def read_python_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The pickled dict of one batch: x (n, 3, 32, 32) uint8, y (n,) int64.

    Raises:
        ValueError: the file is truncated, holds anything but data, or not the data of CIFAR-10.
    """
    try:
        batch = _DataUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _UntrustedError as error:
        raise ValueError(f"{name}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(
            f"{name}: not a pickle, or a truncated or damaged one ({type(error).__name__})"
        ) from None
    if not isinstance(batch, dict):
        raise ValueError(f"{name}: holds {type(batch).__name__}, expected the dict of a CIFAR-10 batch")
    values = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
    x, labels = values.get("data"), values.get("labels")
    if isinstance(x, _PickledArray):
        x = x.array(name)
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != 3072 or not isinstance(labels, list):
        raise ValueError(
            f"{name}: expected 'data' (n, 3072) and a list 'labels', got the keys "
            f"{', '.join(map(str, values))}; CIFAR-100 is another data set"
        )
    if len(x) != len(labels) or not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{name}: {len(x)} pictures and {len(labels)} labels; they must pair up")
    return x.reshape(-1, *_SHAPE), _labels(np.array(labels, dtype=np.int64), name)


def _labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.size and not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise ValueError(f"{name}: labels go from {labels.min()} to {labels.max()}, expected 0 to 9")
    return labels


# ---- pickles that hold data only --------------------------------------------------------------------------


class _UntrustedError(pickle.UnpicklingError):
    """The pickle wants to call something."""


class _PickledDtype:
    """What a pickle says about a dtype; only bytes are understood."""

    def __init__(self, *args: Any) -> None:
        self.name = args[0] if args else None

    def __setstate__(self, state: Any) -> None:
        """The byte order, which bytes do not have."""


class _PickledArray:
    """What a pickle says about an array, kept as it is: NumPy's own classes are never called."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self, name: str) -> np.ndarray:
        """The array, if it is one of bytes."""
        try:
            _, shape, dtype, fortran, content = self.state
            kind = dtype.name.decode() if isinstance(dtype.name, bytes) else dtype.name
            content = content.encode("latin1") if isinstance(content, str) else content
            values = np.frombuffer(content, np.uint8)
            if kind != "u1":
                raise TypeError(f"its dtype is {kind}")
            return values.reshape(shape, order="F" if fortran else "C")
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{name}: 'data' is not an array of bytes ({error})") from None


class _DataUnpickler(pickle.Unpickler):
    """Admits what describes an array, as inert stand-ins, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name that the pickle asks for."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda *args: _PickledArray()
        if module == "numpy" and name == "dtype":
            return _PickledDtype
        if module == "numpy" and name == "ndarray":
            return _PickledArray
        if module == "_codecs" and name == "encode":  # how newer pickles write bytes for Python 2
            return lambda text, encoding="latin1": text.encode("latin1")
        raise _UntrustedError(
            f"the pickle asks for {module}.{name}, which CIFAR-10 does not need; it may run code, so do not "
            "trust this file"
        )
