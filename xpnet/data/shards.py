"""A data set in several files, larger than memory: rows are read when a batch needs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, cast

import numpy as np

from xpnet.core import random
from xpnet.core.convert import asarray
from xpnet.core.reading import UnreadableFileError, open_file, printable, reading
from xpnet.data.column import listed
from xpnet.data.npy import read_npz
from xpnet.data.samplers import Seeded, own_seed
from xpnet.data.table import named_csv

Path = str | PathLike[str]
Rows = tuple[np.ndarray, ...]


class Shards:
    """Samples in files of one form, one after the other.

    Args:
        files: a shard each: `("x0.npy", "y0.npy")`, memory-mapped, so that only the rows of a batch are read;
            an .npz file with the arrays x and y; or a text table, its target as for `load_csv`.
        target: of tables: the column to predict, by number or name. Headers must name the same columns in the
            same order.
        classes: of tables: whether whole numbers are classes; as for `load_csv`.
        keep: how many .npz files and tables are held in memory, those used last.

    Batches are (x, y) as from a `Dataset`, float64 as float32; of .npy files that are not in pairs, (x,). A
    `DataLoader` reads them, with order, augmentation, ranks, checkpoints and resuming as for any data set;
    use `ShardShuffle` as its sampler to read each file once an epoch. Values that are not finite are found by
    training only. A Dataset of memory-mapped arrays, `Dataset(np.load("x.npy", mmap_mode="r"), y)`, needs no
    memory for them, either.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: no files, no samples, or files of several shapes, dtypes or columns.

    >>> import tempfile
    >>> import numpy as np
    >>> from xpnet.data import DataLoader, Shards, ShardShuffle
    >>> folder = tempfile.mkdtemp()
    >>> for k in range(3):
    ...     np.savez(f"{folder}/{k}.npz", x=np.full((4, 2), k, dtype=np.float32), y=np.arange(4))
    >>> data = Shards([f"{folder}/{k}.npz" for k in range(3)])
    >>> len(data), data.sizes
    (12, [4, 4, 4])
    >>> x, y = next(iter(DataLoader(data, 6, sampler=ShardShuffle(data, seed=0))))
    >>> x.shape, y.shape
    ((6, 2), (6,))
    """

    def __init__(
        self,
        files: Sequence[Path | tuple[Path, ...]],
        target: int | str = -1,
        classes: bool | None = None,
        keep: int = 2,
    ) -> None:
        if isinstance(files, str | PathLike) or not files:
            raise ValueError("Shards: expected a list of files, one a shard")
        if keep < 1:
            raise ValueError(f"Shards: keep must be at least 1, got {keep}")
        self.files = [
            tuple(fspath(part) for part in file) if isinstance(file, tuple | list) else fspath(file)
            for file in files
        ]
        self.target, self.classes, self.keep = target, classes, keep
        self._kept: OrderedDict[int, Rows] = OrderedDict()
        self.sizes: list[int] = []
        self._form: list[tuple[tuple[int, ...], str]] = []
        self._names: list[str] | None = None
        for k in range(len(self.files)):
            rows = self._read(k)
            form = _form_of(rows)
            self._form = self._form or form
            name = self._name(k)
            if form != self._form:
                raise UnreadableFileError(f"{name}: it has {form}, the files before it {self._form}")
            if len({len(array) for array in rows}) > 1 or not len(rows[0]):
                raise UnreadableFileError(f"{name}: its arrays have {[len(a) for a in rows]} rows")
            self.sizes.append(len(rows[0]))
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Any:
        """One sample."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"Shards: sample {index} of {n}")
        return tuple(array[0] for array in self.rows(np.array([index % n])))

    def rows(self, samples: np.ndarray) -> Rows:
        """Some samples, in the order of their numbers `samples`, (n,) integers: one array for each part."""
        shard = np.searchsorted(self.starts, samples, side="right") - 1
        found = [np.empty((len(samples), *shape), dtype) for shape, dtype in self._form]
        for k in sorted(np.unique(shard).tolist(), key=lambda k: k not in self._kept):  # none is read twice
            places = np.flatnonzero(shard == k)
            inside = samples[places] - self.starts[k]
            for whole, array in zip(found, self._shard(k), strict=True):
                whole[places] = array[inside]
        return tuple(found)

    def gather(self, part: slice, samples: np.ndarray) -> Any:
        """A batch on the default backend, for a `DataLoader`."""
        return tuple(asarray(array) for array in self.rows(samples))

    def _name(self, k: int) -> str:
        file = self.files[k]
        return printable(file if isinstance(file, str) else file[0])

    def _shard(self, k: int) -> Rows:
        if k in self._kept:
            self._kept.move_to_end(k)
            return self._kept[k]
        rows = self._read(k)
        form = _form_of(rows)
        if len(rows[0]) != self.sizes[k] or form != self._form:
            raise UnreadableFileError(f"{self._name(k)}: it is another file than at the beginning")
        self._kept[k] = rows
        while len(self._kept) > max(self.keep, self._mapped()):
            self._kept.popitem(last=False)
        return rows

    def _mapped(self) -> int:
        """Maps cost no memory, but each has a file open."""
        return 64 if all(isinstance(file, tuple) or file.endswith(".npy") for file in self.files) else 0

    def _read(self, k: int) -> Rows:
        file = self.files[k]
        if isinstance(file, tuple):
            return tuple(mapped(part) for part in file)
        if file.lower().endswith(".npy"):
            return (mapped(file),)
        if file.lower().endswith(".npz"):
            return tuple(read_npz(file, lambda names: _both(file, names)))
        data, names = named_csv(file, self.target, classes=self.classes)
        self._names = self._names or names
        if names is not None and names != self._names:
            raise UnreadableFileError(
                f"{self._name(k)}: it has the columns {listed(names)}, the files before it "
                f"{listed(self._names or [])} (the target last): write them alike"
            )
        if data.class_names is not None:
            raise UnreadableFileError(
                f"{self._name(k)}: its classes are texts, which other files may number otherwise: write "
                "numbers into the files"
            )
        return data.x, data.y

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": OrderedDict()}


def _form_of(rows: Rows) -> list[tuple[tuple[int, ...], str]]:
    """Shape of a sample and dtype of each part, as batches have them: float32 for float64."""
    kinds = (array.dtype.newbyteorder("=").name for array in rows)
    names = ["float32" if kind == "float64" else kind for kind in kinds]
    return [(array.shape[1:], name) for array, name in zip(rows, names, strict=True)]


def mapped(path: Path) -> np.ndarray:
    """The array in a .npy file, of which what is used is read then.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged, of another format, or holds objects.

    >>> import tempfile
    >>> import numpy as np
    >>> from xpnet.data.shards import mapped
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> np.save(path, np.arange(3))
    >>> mapped(path)[1:].tolist()
    [1, 2]
    """
    with reading(path, "an .npy file"):
        open_file(path).close()
        array = cast(np.ndarray, np.load(path, mmap_mode="r", allow_pickle=False))
        if array.ndim == 0:
            raise ValueError("it holds a single number, expected one row a sample")
        return array.view(np.ndarray)


def _both(path: str, names: list[str]) -> list[str]:
    if not {"x", "y"} <= {*names}:
        raise ValueError(f"{printable(path)}: it has the arrays {', '.join(names)}, expected x and y")
    return ["x", "y"]


class ShardShuffle(Seeded):
    """The samples of `Shards` in random order, a few files at a time.

    Args:
        data: the shards, or the number of samples in each.
        together: how many files are shuffled together, which should be at most `Shards.keep`.
        seed: default: that of `xpnet.manual_seed`.

    The files come in random order, and the samples of `together` of them are mixed: every file is read once
    an epoch. The order is a function of the seed and the epoch, so a run goes on in the middle of an epoch
    without reading what came before.
    """

    def __init__(self, data: Shards | Sequence[int], together: int = 2, seed: int | None = None) -> None:
        if together < 1:
            raise ValueError(f"ShardShuffle: together must be at least 1, got {together}")
        self.sizes = list(data.sizes if isinstance(data, Shards) else data)
        self.together, self.seed = together, own_seed(seed)

    def order(self, epoch: int) -> np.ndarray:
        """The indices of an epoch."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        key = random.Key(self.seed, random.SHUFFLE, epoch)
        shards = random.permutation(len(self.sizes), key)
        rank = random.permutation(int(starts[-1]), key)  # what is sorted by it is shuffled
        found = []
        for i in range(0, len(shards), self.together):
            group = [np.arange(starts[k], starts[k + 1]) for k in shards[i : i + self.together]]
            samples = np.concatenate(group)
            found.append(samples[np.argsort(rank[samples], kind="stable")])
        return np.concatenate(found)
