"""CIFAR-10 (Krizhevsky, 2009): 60000 colour pictures of 32 by 32 pixels in 10 classes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path, PurePosixPath

import numpy as np

from xpnet.core.reading import SMALL, MissingFileError, check_file, read_file, reading
from xpnet.data.dataset import Dataset
from xpnet.data.folder import ImageFolder
from xpnet.data.pickles import array_in, load_data
from xpnet.data.tar import members, open_tar, read_member

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
    xpnet.core.reading.MissingFileError: no/such/folder: no such file or folder; expected ...
    """
    if dtype not in ("float32", "uint8"):
        raise ValueError(f'load_cifar10: dtype is "float32" or "uint8", got {dtype!r}')
    source = Path(path)
    if not source.exists():
        raise MissingFileError(f"{source}: no such file or folder; expected the files of CIFAR-10")
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
            return {
                PurePosixPath(m.name).name: read_member(archive, m, SMALL)
                for m in members(archive)
                if _wanted(m.name)
            }
    for folder in (source, source / "cifar-10-batches-py", source / "cifar-10-batches-bin"):
        batches = [p for p in folder.glob("*_batch*") if p.is_file()]
        for path in batches:
            with reading(path, "a batch of CIFAR-10"):
                if check_file(path) > SMALL:
                    raise ValueError(
                        f"{path}: more than {SMALL >> 20} MiB, expected 10000 pictures of 32 by 32"
                    )
        if batches:
            return {p.name: read_file(p) for p in batches}
    for name in _ARCHIVES:
        if (source / name).is_file():
            return _read(source / name)
    raise MissingFileError(
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
            raise MissingFileError(f"{source}: {name} is missing; found {', '.join(sorted(files)) or 'none'}")
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
    return records[:, 1:].reshape(-1, *_SHAPE), _labels(records[:, 0], name)


def read_python_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The pickled dict of one batch: x (n, 3, 32, 32) uint8, y (n,) int64.

    Raises:
        ValueError: the file is truncated, holds anything but data, or not the data of CIFAR-10.
    """
    with reading(name, "a pickle of a CIFAR-10 batch"):
        batch = load_data(content)
        if not isinstance(batch, dict):
            raise ValueError(f"{name}: holds {type(batch).__name__}, expected the dict of a CIFAR-10 batch")
        values = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        x, labels = array_in(values.get("data"), name), values.get("labels")
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != 3072 or not isinstance(labels, list):
            raise ValueError(
                f"{name}: expected 'data' (n, 3072) and a list 'labels', got the keys "
                f"{', '.join(values)}; CIFAR-100 is another data set"
            )
        if len(x) != len(labels) or not all(isinstance(label, int) for label in labels):
            raise ValueError(f"{name}: {len(x)} pictures and {len(labels)} labels; they must pair up")
        return x.reshape(-1, *_SHAPE), _labels(np.array(labels), name)


def _labels(labels: np.ndarray, name: str) -> np.ndarray:
    if not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise ValueError(f"{name}: labels go from {labels.min()} to {labels.max()}, expected 0 to 9")
    return labels.astype(np.int64)
