"""Pictures sorted into one folder a class, in a folder or in a tar file."""

from __future__ import annotations

import errno
import io
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.reading import MissingFileError, printable, read_file, reading
from xpnet.data.cache import cached_arrays, walk
from xpnet.data.dataset import Dataset
from xpnet.data.tar import members, open_tar, read_member

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow knows others, some of them programs
_ANY, _RATIO = 2**24, 1032  # bytes that any picture may have, and how many come of one at most (deflate)


class ImageFolder(Dataset):
    """A data set of pictures in class folders: `PATH/cat/1.jpg`, or a tar file that holds the same.

    Args:
        path: a folder, or a .tar, .tar.gz, .tar.bz2 or .tar.xz file, which is never unpacked to disk. Folders
            in class folders belong to the class, links are followed, and a single folder around the class
            folders is entered. What is left out is counted in a warning.
        size: side of the pictures: the shorter side is scaled to it, then the centre is cut out, as in deck
            S4. Default: as they are; then all must have one size.
        mode: "RGB", or "L" for grey.
        dtype: "float32", whole numbers 0 .. 255; or "uint8", a quarter of the memory: the arrays then stay
            on disk and are read as they are used. A layer needs floats: give the DataLoader a `transform`.
        cache: keep the decoded pictures on disk for the next run: True, a folder, or False. See
            `xpnet.data.cache.cache_folder`.
        part: the folder to take, where there are some such as train and test, with class folders in them.

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
        *,
        part: str | None = None,
    ) -> None:
        if mode not in ("RGB", "L"):
            raise ValueError(f'ImageFolder: mode is "RGB" or "L", got {mode!r}')
        if dtype not in ("float32", "uint8"):
            raise ValueError(f'ImageFolder: dtype is "float32" or "uint8", got {dtype!r}')
        if size is not None and size < 1:
            raise ValueError(f"ImageFolder: size must be at least 1, got {size}")
        if not Path(path).exists():
            raise MissingFileError(f"{path}: no such file or folder")
        if find_spec("PIL") is None:
            raise ImportError('reading pictures needs Pillow: pip install "xpnet[images]"')
        options = {"size": size, "mode": mode, "part": part}
        with reading(path, "a folder or a tar file of pictures"):
            arrays = cached_arrays(
                path, options, lambda folder: _decode(Path(path), size, mode, part, folder), cache
            )
            x = np.asarray(arrays["x"]) if dtype == "uint8" else arrays["x"].astype(np.float32)
            names = [str(name) for name in arrays["classes"]]
            super().__init__(x, np.array(arrays["y"]), Path(path).name, class_names=names)


def _decode(path: Path, size: int | None, mode: str, part: str | None, folder: Path) -> None:
    """Write x.npy, y.npy and classes.npy. The first pass finds the order, the second decodes into it."""
    layout = layout_of(path, part)
    if layout.parts and part is None:
        raise ValueError(
            f"{path} holds the parts {', '.join(layout.parts.values())} of a data set, not classes; choose "
            f"one, as in ImageFolder(path, part={next(iter(layout.parts.values()))!r})"
        )
    names = sorted(layout.pictures)
    classes = sorted(set(layout.pictures.values()))
    place = {name: i for i, name in enumerate(names)}
    x: Any = None
    for name, content in _files(path, content=True):
        if name not in place:
            continue
        picture = decode(content, size, mode, f"{path}: {name}")
        if x is None:
            if (
                shutil.disk_usage(folder).free < len(names) * picture.nbytes
            ):  # a mapped file would end the process
                raise OSError(errno.ENOSPC, "no space left for the decoded pictures", str(folder))
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
    labels = np.array([classes.index(layout.pictures[name]) for name in names], dtype=np.int64)
    np.save(folder / "y.npy", labels)
    np.save(folder / "classes.npy", np.array(classes))


PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The names that folders of the parts of a data set have, in any case."""


class Layout(NamedTuple):
    """What a folder or a tar file holds.

    Attributes:
        pictures: the class of each picture, by its name.
        parts: the folders of train, validation and test, if there are two or more.
    """

    pictures: dict[PurePosixPath, str]
    parts: dict[str, str]


def layout_of(path: Path, part: str | None = None) -> Layout:
    """Find the class folders.

    Args:
        path: a folder or a tar file.
        part: a folder in it that has them, below any folder that everything is in.

    A folder that all pictures are in is entered, if there are folders in it; the folders there are the
    classes, with all that is below them.

    Raises:
        ValueError: no pictures in class folders; or folders of train and test, and no part chosen.

    Warns:
        UserWarning: files are left out: of another kind, or in no class folder.
    """
    files = [name for name, _ in _files(path, content=False, others=True)]
    pictures = [name.parts for name in files if _is_picture(name) and len(name.parts) > 1]
    depth = _descend(pictures, 0)
    parts: dict[str, str] = {}
    for kind, names in PARTS.items():
        found = sorted({p[depth] for p in pictures if len(p) > depth + 2 and p[depth].lower() in names})
        parts |= {kind: found[0]} if found else {}
    if part is not None:
        pictures = [p for p in pictures if len(p) > depth + 1 and p[depth] == part]
        depth = _descend(pictures, depth + 1)
    elif len(parts) > 1:
        return Layout({}, parts)
    found_in = {PurePosixPath(*p): p[depth] for p in pictures if len(p) > depth + 1}
    if not found_in:
        inside = path if part is None else f"{path}: {part}"
        raise ValueError(
            f"{inside}: no pictures in class folders; expected such as cat/1.jpg ({', '.join(SUFFIXES)})"
        )
    classes = {name.parts[: depth + 1] for name in found_in}
    in_part = lambda name: part is None or part in name.parts
    left = [
        name
        for name in files
        if name not in found_in
        and in_part(name)
        and (_is_picture(name) or name.parts[: depth + 1] in classes)
    ]
    if left:
        warnings.warn(
            f"{path}: {len(left)} files are left out, such as {printable(left[0])}; pictures are "
            f"{', '.join(SUFFIXES)} in class folders",
            stacklevel=2,
        )
    return Layout(found_in, {})


def _descend(pictures: list[tuple[str, ...]], depth: int) -> int:
    """How many folders to enter: as long as there is one only, with folders in it."""
    while pictures and len({p[depth] for p in pictures}) == 1 and all(len(p) > depth + 2 for p in pictures):
        depth += 1
    return depth


def _files(path: Path, content: bool, others: bool = False) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every picture below a folder or in a tar file: its name from there, and its bytes if wanted.

    `others`: files of other kinds, too, but not hidden ones.
    """

    def wanted(name: PurePosixPath) -> bool:
        return _is_picture(name) or (others and not _is_hidden(name))

    if path.is_dir():
        for file in walk(path):
            name = PurePosixPath(file.relative_to(path).as_posix())
            if wanted(name) and file.is_file():
                yield name, _content(file) if content else b""
        return
    with open_tar(path) as archive:
        for member in members(archive):
            name = PurePosixPath(member.name.removeprefix("./"))
            if wanted(name):
                yield name, read_member(archive, member) if content else b""


def _content(file: Path) -> bytes:
    with reading(file, "a picture"):
        return read_file(file)


def _is_hidden(name: PurePosixPath) -> bool:
    """Such as the files that macOS and Windows add."""
    return any(part.startswith((".", "__MACOSX")) or part.lower() == "thumbs.db" for part in name.parts)


def _is_picture(name: PurePosixPath) -> bool:
    """By the ending."""
    return name.suffix.lower() in SUFFIXES and not _is_hidden(name)


def decode(content: bytes, size: int | None, mode: str, name: str) -> np.ndarray:
    """One encoded picture as (channels, height, width) uint8.

    Raises:
        ValueError: the picture is truncated, damaged or no picture.
    """
    from PIL import Image, ImageOps

    with reading(name, "a picture"):
        with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
            _check_size(file, len(content))
            upright: Any = ImageOps.exif_transpose(file)  # cameras store the rotation apart
            picture = _eight_bits(upright, file.format, name).convert(mode)
        array = np.asarray(picture if size is None else _centre(picture, size))
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _check_size(picture: Any, size: int) -> None:
    """Refuse what its file of `size` bytes cannot hold, before memory is taken for the pixels."""
    width, height = picture.size
    pixel = {"1": 1 / 8, "L": 1, "P": 1, "LA": 2}.get(picture.mode, 3)
    if width * height * pixel > _ANY + _RATIO * size:
        raise ValueError(f"it says that it has {width} by {height} pixels, in a file of {size} bytes")


def _centre(picture: Any, size: int) -> Any:
    """The shorter side scaled to `size`, and the centre cut out: nothing outside of it is computed."""
    from PIL import Image

    scale = size / min(picture.size)
    scaled = [max(size, round(n * scale)) for n in picture.size]
    starts = [(n - size) // 2 for n in scaled]
    places = list(zip(starts, scaled, picture.size, strict=True))
    left, top = (start * n / wide for start, wide, n in places)
    right, bottom = ((start + size) * n / wide for start, wide, n in places)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _eight_bits(picture: Any, format: str | None, name: str) -> Any:
    """A picture with 8 bits a value: `convert` would cut off what is above 255.

    Raises:
        ValueError: 32-bit or float values, of which nobody knows what is white.
    """
    from PIL import Image

    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and format == "PNG")
    if sixteen:
        values = np.asarray(picture).astype(np.int64)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(
            f"{name}: values of {'32 bits' if picture.mode == 'I' else 'floats'}, whose white is not known; "
            "save it with 8 or 16 bits"
        )
    return picture
