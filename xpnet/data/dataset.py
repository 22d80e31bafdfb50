"""A data set: one array of samples and one of targets; and the digits that ship with the package."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.incoming import gaps
from xpnet.core.places import namespace


class ReuseWarning(UserWarning):
    """A test set was used more than once: what was chosen in between has seen it."""


class ReuseGuard:
    """Counts the uses of a test set, and warns from the second one on."""

    def __init__(self) -> None:
        self.uses = 0

    def use(self, name: str) -> None:
        """Note one use of the data set called `name`."""
        self.uses += 1
        if self.uses > 1:
            warnings.warn(
                f"{name} is used for the {self.uses}. time in this run: a test set measures once, at the "
                "end; choose models and settings on a validation set",
                ReuseWarning,
                stacklevel=4,
            )


class Dataset:
    """Samples and their targets; both keep the backend they are on.

    Args:
        x: (n, ...) samples.
        y: (n, ...) targets; class labels are integers of shape (n,).
        name: used in messages.
        class_names: the name of each class, if it has one.
        guard: marks a test set, to be evaluated once (`xpnet.train.evaluate` and `predict` count): see
            `guarded`.

    Raises:
        ValueError: no samples, unequal lengths, or values that are not finite.
        TypeError: values that are not numbers, or several targets, which `Arrays` takes.

    >>> import numpy as np
    >>> from xpnet.data import Dataset
    >>> data = Dataset(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> len(data)
    3
    >>> x, y = data[1]
    >>> print(x, y)
    [0. 1. 0.] 1
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        name: str = "data",
        class_names: Sequence[str] | None = None,
        guard: ReuseGuard | None = None,
    ) -> None:
        for part, values in (("x", x), ("y", y)):
            if isinstance(values, Mapping):
                raise TypeError(
                    f"{name}: {part} is a dict, expected an array; columns become one by Columns()"
                )
        if _are_several(y, x):
            raise TypeError(
                f"{name}: y is {len(y)} arrays, expected one; several targets, or a target and weights, are "
                "Arrays((x, (y, weights))), which a DataLoader takes likewise"
            )
        self.x, self.y, self.name = as_array(x), as_array(y), name
        self.class_names = None if class_names is None else list(class_names)
        self.guard = guard
        for part, array in (("x", self.x), ("y", self.y)):
            if array.ndim == 0:
                raise ValueError(
                    f"{name}: {part} is a single number, expected an array with one row a sample"
                )
        if self.x.shape[0] != self.y.shape[0]:
            raise ValueError(
                f"{name}: x has {self.x.shape[0]} samples and y has {self.y.shape[0]}; they must pair up"
            )
        if math.prod(self.x.shape) == 0:
            raise ValueError(f"{name} is empty: x has shape {tuple(self.x.shape)}")
        check_finite(self.x, f"{name}: x")
        check_finite(self.y, f"{name}: y")

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def __getitem__(self, index: Any) -> tuple[Array, Array]:
        """The (x, y) pair of one sample, or the arrays of a slice."""
        return self.x[index, ...], self.y[index, ...]

    def subset(self, indices: Any, name: str | None = None) -> Dataset:
        """The samples at `indices`, in that order, as a data set of its own."""
        return self._like(take(self.x, indices), take(self.y, indices), name or self.name)

    def map(self, function: Callable[[Array], Array]) -> Dataset:
        """The data set with x replaced by `function(x)`: `data.map(Standardize().fit(data.x).transform)`."""
        return self._like(function(self.x), self.y)

    def to_backend(self) -> Dataset:
        """The data set on the default backend, so that loading a batch copies nothing from the host."""
        return self._like(asarray(self.x), asarray(self.y))

    def guarded(self) -> Dataset:
        """The same data as a test set: a second evaluation of it, or of a part of it, warns.

        >>> from xpnet.data import load_digits
        >>> test = load_digits().guarded()
        """
        return Dataset(self.x, self.y, self.name, self.class_names, ReuseGuard())

    def _like(self, x: Any, y: Any, name: str | None = None) -> Dataset:
        """Other arrays under the same name, class names and guard."""
        return Dataset(x, y, name or self.name, self.class_names, self.guard)

    @property
    def classes(self) -> int:
        """The number of classes: of their names, if there are any, else the largest label + 1.

        Raises:
            TypeError: the targets are not integers.
            ValueError: a label is negative.
        """
        labels = to_numpy(self.y)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{self.name}: class labels must be integers, got {labels.dtype}")
        if labels.min() < 0:
            raise ValueError(f"{self.name}: class labels count from 0, got {labels.min()}")
        return max(len(self.class_names or ()), int(labels.max()) + 1)

    def __repr__(self) -> str:
        x, y = (f"{tuple(array.shape)} {array.dtype}" for array in (self.x, self.y))
        return f"Dataset({self.name}: x {x}, y {y})"


def _are_several(y: Any, x: Any) -> bool:
    """Whether this is a tuple of targets, as in `fit((x, (y, w)))`, or a list that is not one of rows."""
    arrays = isinstance(y, tuple | list) and len(y) > 0 and all(getattr(part, "shape", ()) for part in y)
    return arrays and (isinstance(y, tuple) or not hasattr(x, "__len__") or len(y) != len(x))


def as_array(values: Any) -> Array:
    """Arrays of any backend as they are; others as NumPy arrays, their floats as float32."""
    array = array_like(values)
    given = isinstance(values, np.ndarray) or type(array) is not np.ndarray
    return array if given or array.dtype != np.float64 else array.astype(np.float32)


def take(array: Array, indices: Any) -> Array:
    """Rows of an array, in the order of `indices` (NumPy integers, or integers on the array's device)."""
    if type(array) is np.ndarray:
        return array.take(indices, axis=0)
    from xpnet.core.places import backend_of

    return namespace(array).take(array, asarray(indices, backend=backend_of(array)), axis=0)


def check_finite(array: Array, what: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        ValueError: naming `what`, the first bad value and its index.
        TypeError: the values are not numbers.
    """
    kind = str(array.dtype)
    if "float" not in kind:
        if "int" not in kind and "bool" not in kind:
            texts = "; of texts, np.unique(y, return_inverse=True) makes classes" if kind == "object" else ""
            raise TypeError(f"{what} holds {kind}, expected numbers{gaps(array) or texts}")
        return
    xp = namespace(array)
    # a NaN passes through min and max, and so does an infinity: no mask the size of the data
    if math.prod(array.shape) == 0 or (math.isfinite(xp.min(array)) and math.isfinite(xp.max(array))):
        return
    host = to_numpy(array)
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    raise ValueError(
        f"{what} holds {host[index]} at {list(index)}; every value must be finite: drop or fill it"
    )


def load_digits(flatten: bool = True) -> Dataset:
    """The 1797 handwritten digits of UCI and scikit-learn (Alpaydin & Kaynak, 1998): 8 by 8 pixels.

    Args:
        flatten: x of shape (1797, 64); otherwise pictures, (1797, 1, 8, 8).

    Returns:
        x float32, whole numbers 0 .. 16; y int64, 0 .. 9. Split it with `xpnet.data.split`.

    >>> from xpnet.data import load_digits
    >>> load_digits()
    Dataset(digits: x (1797, 64) float32, y (1797,) int64)
    """
    with (
        resources.files("xpnet.data").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        x, y = arrays["x"].astype(np.float32), arrays["y"].astype(np.int64)
    return Dataset(x if flatten else x.reshape(-1, 1, 8, 8), y, "digits")
