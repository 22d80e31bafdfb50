"""Pictures sorted into one folder a class, in a folder or in a tar file."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from xpnet.data.cache import cached_arrays
from xpnet.data.dataset import Dataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


class ImageFolder(Dataset):
    """A data set of pictures in class folders: `PATH/cat/1.jpg`, or a tar file that holds the same.

    Args:
        path: a folder, or a .tar, .tar.gz, .tar.bz2 or .tar.xz file, which is never unpacked to disk.
        size: side of the pictures: the shorter side is scaled to it, then the centre is cut out, as in deck
            S4. Default: as they are; then all must have one size.
        mode: "RGB", or "L" for grey.
        dtype: "float32", whole numbers 0 .. 255; or "uint8", a quarter of the memory: the arrays then stay
            on disk and are read as they are used. A layer needs floats: give the DataLoader a `transform`.
        cache: keep the decoded pictures on disk for the next run: True, a folder, or False. See
            `xpnet.data.cache.cache_folder`.

    Attributes:
        class_names: the names of the class folders, sorted; class k is the k-th.

    Samples are sorted by class and file name. x is (n, channels, height, width), y int64.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: no class folders, no pictures, a truncated or damaged file (named in the message), or
            pictures of several sizes.
        ImportError: Pillow is missing.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        size: int | None = None,
        mode: str = "RGB",
        dtype: str = "float32",
        cache: bool | str | PathLike[str] = True,
    ) -> None:
        if mode not in ("RGB", "L"):
            raise ValueError(f'ImageFolder: mode is "RGB" or "L", got {mode!r}')
        if dtype not in ("float32", "uint8"):
            raise ValueError(f'ImageFolder: dtype is "float32" or "uint8", got {dtype!r}')
        if size is not None and size < 1:
            raise ValueError(f"ImageFolder: size must be at least 1, got {size}")
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if find_spec("PIL") is None:
            raise ImportError('reading pictures needs Pillow: pip install "xpnet[images]"')
        options = {"size": size, "mode": mode}
        arrays = cached_arrays(path, options, lambda folder: _decode(Path(path), size, mode, folder), cache)
        x = np.asarray(arrays["x"]) if dtype == "uint8" else arrays["x"].astype(np.float32)
        names = [str(name) for name in arrays["classes"]]
        super().__init__(x, np.array(arrays["y"]), Path(path).name, class_names=names)


def _decode(path: Path, size: int | None, mode: str, folder: Path) -> None:
    """Write x.npy, y.npy and classes.npy. The first pass finds the order, the second decodes into it."""
    names = sorted(name for name, _ in _files(path, content=False) if len(name.parts) == 2)
    if not names:
        raise ValueError(
            f"{path}: no pictures in class folders; expected such as cat/1.jpg ({', '.join(SUFFIXES)})"
        )
    classes = sorted({name.parts[0] for name in names})
    place = {name: i for i, name in enumerate(names)}
    x: Any = None
    for name, content in _files(path, content=True):
        if name not in place:
            continue
        picture = decode(content, size, mode, f"{path}: {name}")
        if x is None:
            x = np.lib.format.open_memmap(
                folder / "x.npy", "w+", dtype=np.uint8, shape=(len(names), *picture.shape)
            )
        if picture.shape != x.shape[1:]:
            raise ValueError(
                f"{path}: {name} has height and width {picture.shape[1:]}, others {x.shape[2:]}; "
                "pass size=... to scale and cut all to one size"
            )
        x[place[name]] = picture
    x.flush()
    np.save(folder / "y.npy", np.array([classes.index(name.parts[0]) for name in names], dtype=np.int64))
    np.save(folder / "classes.npy", np.array(classes))


def _files(path: Path, content: bool) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every picture below a folder or in a tar file: its name from there, and its bytes if wanted."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = PurePosixPath(file.relative_to(path).as_posix())
            if _is_picture(name) and file.is_file():
                yield name, file.read_bytes() if content else b""
        return
    with open_tar(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name.removeprefix("./"))
            if member.isfile() and _is_picture(name):
                yield name, read_member(archive, member) if content else b""


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of a regular file in a tar file."""
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _is_picture(name: PurePosixPath) -> bool:
    """By the ending; hidden files, such as those that macOS adds, are none."""
    return name.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in name.parts)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar file; whatever is wrong with it is one ValueError."""
    try:
        with tarfile.open(path, "r:*") as archive:
            yield archive
    except _DAMAGED as error:
        raise ValueError(
            f"{path}: not a tar file, or a truncated or damaged one ({error}); expected a folder or a tar "
            "file of class folders"
        ) from None


def decode(content: bytes, size: int | None, mode: str, name: str) -> np.ndarray:
    """One encoded picture as (channels, height, width) uint8.

    Raises:
        ValueError: the picture is truncated, damaged or no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as file:
            picture: Any = ImageOps.exif_transpose(file).convert(mode)  # cameras store the rotation apart
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a picture, or a truncated or damaged one ({error})") from None
    if size is not None:
        scale = size / min(picture.size)
        width, height = (max(size, round(n * scale)) for n in picture.size)
        left, top = (width - size) // 2, (height - size) // 2
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        picture = picture.crop((left, top, left + size, top + size))
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
