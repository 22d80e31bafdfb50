"""Arrays and metadata in one file, safetensors with JSON: no pickle, nothing half-written, damage noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.core.reading import open_file, read_file, reading
from xpnet.core.renamed import renamed
from xpnet.io.writing import atomic_write


class ForeignFileError(ValueError):
    """A safetensors file that another program wrote."""


_FORMAT = "xpnet 1"
METADATA = "facts"
"""The key of metadata in files."""


def require_safetensors() -> None:
    """Refuse early where the package is missing.

    Raises:
        ImportError: naming the extra.
    """
    if find_spec("safetensors") is None:
        raise ImportError('saving and loading need safetensors: pip install "xpnet[save]"')


@renamed(facts="metadata")
def save_arrays(
    path: str | PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write arrays of any backend, and metadata, to a file.

    Args:
        path: the file, replaced if it exists.
        arrays: name -> array or Tensor, such as `model.state_dict()`.
        metadata: anything JSON can hold; numbers and arrays of NumPy and paths become what it can.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.
        TypeError: metadata that JSON cannot hold, by name.

    >>> import os, tempfile, numpy as np
    >>> from xpnet.train import load_arrays, save_arrays
    >>> path = os.path.join(tempfile.mkdtemp(), "a.safetensors")
    >>> save_arrays(path, {"w": np.ones(2, dtype=np.float32)}, {"seed": 0})
    >>> load_arrays(path)
    ({'w': array([1., 1.], dtype=float32)}, {'seed': 0})
    """
    content = Content.of(arrays, metadata or {}).encode()
    with atomic_write(path) as file:
        file.write(content)


class Content(NamedTuple):
    """What a file is to hold, on the host: encoding and writing it is work for another thread, too.

    Attributes:
        arrays: C-contiguous arrays of NumPy by name.
        text: the metadata in JSON.
    """

    arrays: dict[str, np.ndarray]
    text: str

    @classmethod
    def of(cls, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> Content:
        """From arrays of any backend and metadata.

        Raises:
            ImportError: safetensors is missing.
            TypeError: metadata that JSON cannot hold, by name.
        """
        require_safetensors()
        host = {name: np.asarray(_exact(a), order="C") for name, a in arrays.items()}
        return cls(host, json.dumps(plain(metadata)))

    @classmethod
    def of_tree(cls, tree: Any) -> Content:
        """From nested dicts and lists with arrays in them: see `save_tree`."""
        arrays: dict[str, Any] = {}

        def strip(value: Any) -> Any:
            if hasattr(value, "dtype") and hasattr(value, "shape"):
                arrays[str(len(arrays))] = value
                return {_ARRAY: len(arrays) - 1}
            if isinstance(value, Mapping):
                return {str(key): strip(item) for key, item in value.items()}
            if isinstance(value, list | tuple):
                return [strip(item) for item in value]
            return value

        stripped = strip(tree)
        return cls.of(arrays, {"tree": stripped})

    def copy(self) -> Content:
        """Arrays of its own."""
        return Content({name: array.copy() for name, array in self.arrays.items()}, self.text)

    def encode(self) -> bytes:
        """The bytes of the file, with a checksum of arrays and metadata."""
        from safetensors.numpy import save

        header = {"format": _FORMAT, METADATA: self.text, "sha256": _digest(self.arrays, self.text)}
        return bytes(save(self.arrays, header))


def plain(value: Any, name: str = "metadata", keep: bool = False) -> Any:
    """Nested metadata as JSON holds it: numbers of NumPy become Python's, arrays lists, paths texts.

    Args:
        value: the metadata.
        name: what they are called in messages.
        keep: leave arrays as they are.

    Raises:
        TypeError: naming what JSON cannot hold.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}[{key!r}]", keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{name}[{i}]", keep) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return plain(value.item(), name)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return value if keep else plain(to_numpy(value).tolist(), name)
    if isinstance(value, PathLike):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: JSON cannot hold a {type(value).__name__}: {value!r}")


def _exact(array: Any) -> np.ndarray:
    """The values on the host; bfloat16, which safetensors' NumPy side lacks, as float32, which holds them."""
    host = to_numpy(array)
    return host.astype(np.float32) if str(host.dtype) == "bfloat16" else host


def _refuse_others(path: str | PathLike[str]) -> None:
    """Say of a file of PyTorch or Keras what to do with it.

    Raises:
        ValueError: it is one.
    """
    with open_file(path) as file:
        start = file.read(8)
    if start.startswith((b"PK\x03\x04", b"\x80\x02\x8a\n", b"\x89HDF")):
        raise ValueError(
            f"{path}: not a safetensors file, but one of PyTorch, Keras or another program: there, "
            "safetensors.torch.save_file(model.state_dict(), FILE) writes weights, and "
            "xpnet.load(FILE, model) takes them"
        )


def load_arrays(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, on the host, and the metadata that `save_arrays` wrote.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save_arrays`.
    """
    require_safetensors()
    from safetensors import safe_open

    with reading(path, "a safetensors file"):
        _refuse_others(path)
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise ForeignFileError(
                    f"{path}: a safetensors file, but not one that xpnet saved; its weights go into a "
                    "model of yours: xpnet.load(path, model)"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        if header.get("sha256") != _digest(arrays, header.get(METADATA, "")):
            raise ValueError(f"{path}: the file is damaged: its content does not match its checksum")
        metadata = json.loads(header[METADATA])
        if not isinstance(metadata, dict):
            raise ValueError(f"{path}: its metadata are a {type(metadata).__name__}, expected a dict")
        return arrays, metadata


_WIDTHS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip


def load_foreign(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file that any program wrote; bfloat16 becomes float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds a dtype that NumPy lacks.
    """
    with reading(path, "a safetensors file"):
        _refuse_others(path)
        content = memoryview(read_file(path))
        size = int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8 : 8 + size]))
        metadata = header.pop("__metadata__", {})
        arrays = {}
        for name, entry in header.items():
            if entry["dtype"] not in _WIDTHS:
                raise ValueError(f"{name} is {entry['dtype']}, expected one of {', '.join(_WIDTHS)}")
            begin, end = entry["data_offsets"]
            values = np.frombuffer(content[8 + size + begin : 8 + size + end], dtype=_WIDTHS[entry["dtype"]])
            if entry["dtype"] == "BF16":  # the upper half of a float32
                values = (values.astype(np.uint32) << 16).view(np.float32)
            arrays[name] = values.reshape(entry["shape"]).astype(values.dtype.newbyteorder("="))
        return arrays, {str(key): str(value) for key, value in metadata.items()}


_ARRAY = "__array__"  # the only key of a dict that stands for an array


def save_tree(path: str | PathLike[str], tree: Any) -> None:
    """Write nested dicts and lists with arrays of any backend in them, and what JSON can hold.

    Numbers come back exactly, NaN and infinity too; keys come back as strings and tuples as lists.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.
    """
    content = Content.of_tree(tree).encode()
    with atomic_write(path) as file:
        file.write(content)


def load_tree(path: str | PathLike[str]) -> Any:
    """What `save_tree` wrote, with NumPy arrays.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save_tree`.
    """
    arrays, metadata = load_arrays(path)
    if "tree" not in metadata:
        raise ValueError(f"{path}: a file of xpnet, but not a checkpoint")

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {_ARRAY}:
                return arrays[str(value[_ARRAY])]
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    with reading(path, "a checkpoint"):
        return fill(metadata["tree"])


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()
