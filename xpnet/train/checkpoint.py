"""Arrays and facts in one file, safetensors with JSON: no pickle, nothing half-written, damage is noticed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from xpnet.backend import to_numpy

_FORMAT = "xpnet 1"


def require_safetensors() -> None:
    """Refuse early where the package is missing.

    Raises:
        ImportError: naming the extra.
    """
    if find_spec("safetensors") is None:
        raise ImportError('saving and loading need safetensors: pip install "xpnet[save]"')


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends without an error, and vanishes otherwise.

    A temporary file in the same folder is renamed, so readers see the old content or the new, never half.

    Raises:
        OSError: the folder cannot be written to.
    """
    file, temporary = _open_beside(Path(path))
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | PathLike[str]) -> None:
    """Refuse early what `atomic_write` would refuse after the work.

    Raises:
        OSError: naming the path and the reason.
    """
    file, temporary = _open_beside(Path(path))
    file.close()
    temporary.unlink()


def _open_beside(target: Path) -> tuple[IO[bytes], Path]:
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        return temporary.open("wb"), temporary
    except OSError as error:
        raise type(error)(f"cannot write {target}: {error.strerror}") from None


def save_arrays(
    path: str | PathLike[str], arrays: Mapping[str, Any], facts: Mapping[str, Any] | None = None
) -> None:
    """Write arrays of any backend, and facts about them, to a file.

    Args:
        path: the file, replaced if it exists.
        arrays: name -> array or Tensor, such as `model.state_dict()`.
        facts: anything JSON can hold.

    Raises:
        ImportError: safetensors is missing.
        OSError: the file cannot be written.

    >>> import os, tempfile, numpy as np
    >>> from xpnet.train import load_arrays, save_arrays
    >>> path = os.path.join(tempfile.mkdtemp(), "a.safetensors")
    >>> save_arrays(path, {"w": np.ones(2, dtype=np.float32)}, {"seed": 0})
    >>> load_arrays(path)
    ({'w': array([1., 1.], dtype=float32)}, {'seed': 0})
    """
    require_safetensors()
    from safetensors.numpy import save

    host = {name: np.asarray(to_numpy(a), order="C") for name, a in arrays.items()}
    text = json.dumps(dict(facts or {}))
    with atomic_write(path) as file:
        file.write(save(host, {"format": _FORMAT, "facts": text, "sha256": _digest(host, text)}))


def load_arrays(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, on the host, and the facts that `save_arrays` wrote.

    Raises:
        ImportError: safetensors is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save_arrays`.
    """
    require_safetensors()
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from None
    if header.get("format") != _FORMAT:
        raise ValueError(f"{path}: a safetensors file, but not one that xpnet saved")
    if header.get("sha256") != _digest(arrays, header.get("facts", "")):
        raise ValueError(f"{path}: the file is damaged: its content does not match its checksum")
    return arrays, json.loads(header["facts"])


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
