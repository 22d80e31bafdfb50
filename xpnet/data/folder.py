"""Pictures sorted into one folder a class, in a folder or in an archive."""

from __future__ import annotations

import errno
import re
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.reading import MissingFileError, UnreadableFileError, printable, read_file, reading
from xpnet.data.cache import cached_arrays, walk
from xpnet.data.column import listed
from xpnet.data.dataset import Dataset
from xpnet.data.picture import SUFFIXES, Doubts, decode, shorter_side
from xpnet.data.tar import members, open_tar, read_member
from xpnet.data.text import alike
from xpnet.data.zip import is_zip, zip_members


class ImageFolder(Dataset):
    """A data set of pictures in class folders: `PATH/cat/1.jpg`, or an archive that holds the same.

    Args:
        path: a folder, or a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip file, which is never unpacked to disk.
            Folders in class folders belong to the class, links are followed, and a single folder around the
            class folders is entered. What is left out is counted in a warning.
        size: side of the pictures: the shorter side is scaled to it, then the centre is cut out, as in deck
            S4. Default: as they are; then all must have one size.
        mode: "RGB", or "L" for grey.
        dtype: "float32", whole numbers 0 .. 255; or "uint8", a quarter of the memory: the arrays then stay
            on disk and are read as they are used. A layer needs floats: give the DataLoader a `transform`.
        cache: keep the decoded pictures on disk for the next run: True, a folder, or False. See
            `xpnet.data.cache.cache_folder`.
        part: the folder to take, where there are some such as train and test, with class folders in them.
        skip_damaged: leave out pictures that cannot be read, with a warning that names them.

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
        skip_damaged: bool = False,
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
        options = {"size": size, "mode": mode, "part": part} | ({"skip": True} if skip_damaged else {})
        with reading(path, "a folder or an archive of pictures"):
            arrays = cached_arrays(
                path,
                options,
                lambda folder: _decode(Path(path), size, mode, part, folder, skip_damaged),
                cache,
            )
            if "left" in arrays:  # said in every run, whether they were decoded now or before
                for said in np.atleast_1d(arrays["left"]):
                    warnings.warn(str(said), stacklevel=2)
            damaged = [str(text) for text in arrays.get("damaged", ())]
            if damaged:
                more = f", and {len(damaged) - 3} more" if len(damaged) > 3 else ""
                warnings.warn(
                    f"{path}: {len(damaged)} damaged pictures are left out: {'; '.join(damaged[:3])}{more}",
                    stacklevel=2,
                )
            x = np.asarray(arrays["x"]) if dtype == "uint8" else arrays["x"].astype(np.float32)
            names = [str(name) for name in arrays["classes"]]
            super().__init__(x, np.array(arrays["y"]), Path(path).name, class_names=names)


def _decode(
    path: Path, size: int | None, mode: str, part: str | None, folder: Path, skip_damaged: bool = False
) -> None:
    """Write x.npy, y.npy and classes.npy. The first pass finds the order, the second decodes into it.

    What was left out is in left.npy and damaged.npy.
    """
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
    damaged: dict[int, str] = {}
    said, doubts = [layout.left] if layout.left else [], Doubts()
    for name, content in _files(path, content=True):
        if name not in place:
            continue
        try:
            picture = decode(content, size, mode, f"{path}: {name}", doubts)
        except ValueError as error:
            if not skip_damaged:
                raise UnreadableFileError(
                    f"{error}; --skip-damaged (skip_damaged=True) leaves such out"
                ) from error
            damaged[place[name]] = printable(name) if len(str(error)) > 300 else str(error)
            continue
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
    if x is None:
        raise ValueError(f"{path}: no picture in it can be read: {next(iter(damaged.values()))}")
    x.flush()
    said += doubts.notes()
    said += [f"{path}: classes {a!r} and {b!r} are called alike, and count as two" for a, b in alike(classes)]
    if said:
        np.save(folder / "left.npy", np.array(said))
    if damaged:
        names = _without(x, names, damaged, folder)
    labels = np.array([classes.index(layout.pictures[name]) for name in names], dtype=np.int64)
    np.save(folder / "y.npy", labels)
    np.save(folder / "classes.npy", np.array(classes))


def _without(x: Any, names: list[Any], damaged: dict[int, str], folder: Path) -> list[Any]:
    """Write the pictures again without those that are damaged, and which those are; the names that stay."""
    kept = [i for i in range(len(names)) if i not in damaged]
    shorter = np.lib.format.open_memmap(
        folder / "kept.npy", "w+", dtype=np.uint8, shape=(len(kept), *x.shape[1:])
    )
    for row, i in enumerate(kept):
        shorter[row] = x[i]
    shorter.flush()
    (folder / "kept.npy").replace(folder / "x.npy")
    np.save(folder / "damaged.npy", np.array([damaged[i] for i in sorted(damaged)]))
    return [names[i] for i in kept]


PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
"""The names that folders of the parts of a data set have, in any case."""


def _kind_of(folder: str) -> str | None:
    """The part of a data set that a folder is called as, with nothing else in its name."""
    return next((kind for kind, names in PARTS.items() if folder.lower() in names), None)


def _parts_among(folders: set[str]) -> dict[str, list[str]]:
    """Those of train, validation and test: by their names, or by names that differ in nothing else.

    >>> from xpnet.data.folder import _parts_among
    >>> _parts_among({"seg_train", "seg_test", "notes"})
    {'train': ['seg_train'], 'test': ['seg_test']}
    """
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for folder in sorted(folders):
        words = [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+|[0-9]+", folder)]
        words = [folder.lower()] if _kind_of(folder) else words  # such as tRain
        kinds = [kind for kind, names in PARTS.items() if {*words} & {*names}]
        if len(kinds) == 1:
            rest = tuple(word for word in words if word not in PARTS[kinds[0]])
            groups.setdefault(rest, {}).setdefault(kinds[0], []).append(folder)
    pairs = [group for rest, group in groups.items() if rest and len(group) > 1]
    found = groups.get((), pairs[0] if pairs else {})
    return {kind: found[kind] for kind in PARTS if kind in found}


class Layout(NamedTuple):
    """What a folder or an archive holds.

    Attributes:
        pictures: the class of each picture, by its name.
        parts: the folders of train, validation and test, if they are parts and no classes.
        left: how many files are left out, in words; "" if none.
    """

    pictures: dict[PurePosixPath, str]
    parts: dict[str, str]
    left: str = ""


def layout_of(path: Path, part: str | None = None) -> Layout:
    """Find the class folders.

    Args:
        path: a folder or an archive.
        part: a folder in it that has them, below any folder that everything is in.

    A folder that all pictures are in is entered, if there are folders in it; the folders there are the
    classes, with all that is below them.

    Raises:
        ValueError: no pictures in class folders; or folders of train and test, and no part chosen.
    """
    files = [name for name, _ in _files(path, content=False, others=True)]
    pictures = [name.parts for name in files if _is_picture(name) and len(name.parts) > 1]
    depth = _descend(pictures, 0)
    doubt = ""
    if part is None:
        found = _parts_in(
            path, {p[depth] for p in pictures}, {p[depth] for p in pictures if len(p) > depth + 2}
        )
        if found.parts:
            return found
        doubt = found.left
    else:
        pictures = [p for p in pictures if len(p) > depth + 1 and p[depth] == part]
        depth = _descend(pictures, depth + 1)
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
    said = [doubt] if doubt else []
    if left:
        said.append(f"{len(left)} files are left out, such as {printable(left[0])}")
        said.append(f"pictures are {', '.join(SUFFIXES)} in class folders")
    around = next(iter(classes))[:depth]
    beside = {
        name.parts[depth] for name in files if name.parts[:depth] == around and len(name.parts) > depth + 1
    }
    if path.is_dir():
        inside = path.joinpath(*around)
        beside |= {f.name for f in inside.iterdir() if f.is_dir() and not _is_hidden(PurePosixPath(f.name))}
    empty = sorted(beside - set(found_in.values()))
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        said.append(f"no pictures are in {', '.join(map(printable, empty[:3]))}{more}: no class")
    return Layout(found_in, {}, f"{path}: {'; '.join(said)}" if said else "")


def _parts_in(path: Path, folders: set[str], deep: set[str]) -> Layout:
    """The parts among folders, of which `deep` ones have folders in them; what is doubtful or left out.

    Raises:
        ValueError: folders of parts, in which there are no classes, or beside which there are some.
    """
    found = _parts_among(deep)
    named = sorted(folder for folder in folders if _kind_of(folder))
    parts = {kind: names[0] for kind, names in found.items()}
    others = sorted(folders - {*named, *parts.values()})
    if len(parts) > 1 or (parts and (len(named) > 1 or not others)):
        twice = next((names for names in found.values() if len(names) > 1), None)
        if twice is not None:
            raise ValueError(
                f"{path}: {' and '.join(twice)} are called as the same part of a data set: leave one of them"
            )
        out = sorted(folders - {*parts.values()})
        said = f"{path}: parts of a data set are {', '.join(parts.values())}; left out: {listed(out)}"
        return Layout({}, parts, said if out else "")
    if len(named) > 1 and not others:
        raise ValueError(
            f"{path}: {', '.join(named)} are called as parts of a data set, and have no class folders; "
            f"expected such as {named[0]}/cat/1.jpg"
        )
    if parts and deep == {*named}:
        raise ValueError(
            f"{path}: {named[0]} is called as a part of a data set and has folders in it, {listed(others)} "
            f"beside it none: train on {named[0]} alone, or give it another name, if it is a class"
        )
    if named and others:
        said = f"{', '.join(named)} count as classes, as {listed(others)}, and not as parts of a data set"
        return Layout({}, {}, said)
    return Layout({}, {})


def _descend(pictures: list[tuple[str, ...]], depth: int) -> int:
    """How many folders to enter: as long as there is one only, with folders in it."""
    while pictures and len({p[depth] for p in pictures}) == 1 and all(len(p) > depth + 2 for p in pictures):
        depth += 1
    return depth


def _files(path: Path, content: bool, others: bool = False) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every picture below a folder or in an archive: its name from there, and its bytes if wanted.

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
    if is_zip(path):
        for inside, read in zip_members(path):
            name = PurePosixPath(inside.removeprefix("./"))
            if wanted(name):
                yield name, read() if content else b""
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


def shorter_sides(path: Path, most: int = 200) -> list[int]:
    """Pixels of the shorter side of the first pictures below a folder or in an archive, by their headers."""
    sides = [shorter_side(content) for _, content in islice(_files(path, content=True), most)]
    return [side for side in sides if side is not None]


class Pictures(NamedTuple):
    """Pictures of no class, (n, channels, height, width) uint8, their names, and what is left out."""

    x: np.ndarray
    names: list[str]
    notes: list[str]


def is_archive(path: Path) -> bool:
    """Whether a file is called as the archives are that pictures can be in."""
    endings = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip")
    return path.is_file() and path.name.lower().endswith(endings)


def pictures_in(path: Path, size: int | None, mode: str, skip_damaged: bool = False) -> Pictures:
    """Every picture below a folder or in an archive, sorted by name.

    Args:
        path: the folder or the archive.
        size: side that all are scaled and cut to; None: all must have one size.
        mode: "RGB" or "L".
        skip_damaged: leave out those that cannot be read.

    Raises:
        ValueError: no pictures, a damaged one, or pictures of several sizes.
    """
    found: dict[str, np.ndarray] = {}
    damaged, others, doubts = [], [], Doubts()
    with reading(path, "a folder or an archive of pictures"):
        for name, content in _files(path, content=True, others=True):
            if not _is_picture(name):
                others.append(printable(name))
                continue
            try:
                found[str(name)] = decode(content, size, mode, f"{path}: {name}", doubts)
            except ValueError as error:
                if not skip_damaged:
                    raise UnreadableFileError(f"{error}; --skip-damaged leaves such out") from error
                damaged.append(str(error))
        if not found:
            raise ValueError(f"{path}: no pictures ({', '.join(SUFFIXES)})")
        names = sorted(found)
        odd = next((name for name in names if found[name].shape != found[names[0]].shape), None)
        if odd is not None:
            raise ValueError(f"{path}: {odd} has another size than {names[0]}")
    notes = [f"{len(others)} other files are left out, such as {others[0]}"] if others else []
    notes += [f"{len(damaged)} damaged pictures are left out: {'; '.join(damaged[:3])}"] if damaged else []
    notes += [*doubts.notes(), *doubts.of_size(size, len(names))]
    return Pictures(np.stack([found[name] for name in names]), names, notes)
