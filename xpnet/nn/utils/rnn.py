"""Sequences of several lengths in one array: padded to the longest, or packed, as PyTorch lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np  # of lengths and places, which the host counts

from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.core.recording import refuse
from xpnet.core.tensor import Tensor, array_of


class _Packed(NamedTuple):
    data: Any
    batch_sizes: np.ndarray
    sorted_indices: np.ndarray | None
    unsorted_indices: np.ndarray | None


class PackedSequence(_Packed):
    """Sequences step by step, longest first, without padding: what `RNN`, `GRU` and `LSTM` take and give.

    Attributes:
        data: (S, ...), the first steps of all sequences, then their second ones, and so on.
        batch_sizes: (L,) integers, how many sequences have a first, a second, ... step.
        sorted_indices: (N,), the number of the longest sequence, and so on; None if they come in that order.
        unsorted_indices: the inverse; default: that of `sorted_indices`.

    >>> import xpnet
    >>> from xpnet import nn
    >>> packed = nn.pack_sequence([xpnet.asarray([1.0, 2.0]), xpnet.asarray([3.0])])
    >>> packed.data, packed.batch_sizes
    (array([1., 3., 2.], dtype=float32), array([2, 1]))
    """

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> Self:
        """With the inverse of the order, if that is not given."""
        if sorted_indices is not None and unsorted_indices is None:
            unsorted_indices = np.argsort(sorted_indices)
        return super().__new__(cls, data, np.asarray(batch_sizes), sorted_indices, unsorted_indices)

    @property
    def lengths(self) -> np.ndarray:
        """(N,), the steps of each sequence, in the order in which they came."""
        longest_first = (self.batch_sizes[:, None] > np.arange(self.batch_sizes[0])).sum(axis=0)
        return longest_first if self.unsorted_indices is None else longest_first[self.unsorted_indices]

    def packs(self, padded: Array | Tensor, batch_first: bool = False) -> PackedSequence:
        """Other values of these sequences, from (L, N, ...) or (N, L, ...)."""
        xp, (steps, batch) = namespace(padded), _inside(self)
        if self.sorted_indices is not None:
            batch = self.sorted_indices[batch]
        shape = tuple(padded.shape)
        places = batch * shape[1] + steps if batch_first else steps * shape[1] + batch
        rows = xp.reshape(padded, (shape[0] * shape[1], *shape[2:]))
        data = xp.take(rows, asarray(places, backend=backend_of(array_of(padded))), axis=0)
        return PackedSequence(data, *self[1:])


def _inside(packed: PackedSequence) -> tuple[np.ndarray, np.ndarray]:
    """(S,) and (S,): the step and the sequence, the longest being 0, of each row of the data."""
    steps, batch = np.nonzero(np.arange(packed.batch_sizes[0]) < packed.batch_sizes[:, None])
    return steps, batch


def pack_padded_sequence(
    input: Array | Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """The steps of padded sequences without the padding.

    Args:
        input: (L, N, ...), or (N, L, ...) if `batch_first`.
        lengths: (N,) integers, the steps of each sequence.
        batch_first: the first axis is that of sequences.
        enforce_sorted: the longest sequence comes first, the shortest last; otherwise they are put in order.

    Returns:
        The packed sequences; layers give their outputs and last states in the order of `input`.

    Raises:
        ValueError: a length below 1 or above L, another number of them, or they are not sorted and should be.
        TypeError: they are no integers.

    >>> import xpnet
    >>> from xpnet import nn
    >>> x = xpnet.asarray([[1.0, 0.0], [2.0, 3.0]])
    >>> nn.pack_padded_sequence(x, [1, 2], batch_first=True, enforce_sorted=False).data
    array([2., 1., 3.], dtype=float32)
    """
    refuse("pack_padded_sequence: its size depends on lengths; give the layer lengths=lengths instead")
    counts = np.asarray(to_numpy(array_like(lengths)))
    if input.ndim < 2:
        raise ValueError(f"pack_padded_sequence: expected (L, N, ...), got an input {tuple(input.shape)}")
    batch, longest = tuple(input.shape[:2]) if batch_first else tuple(input.shape[1::-1])
    if counts.dtype.kind not in "iu":
        raise TypeError(f"pack_padded_sequence: lengths are {counts.dtype}, expected integers")
    if counts.shape != (batch,):
        raise ValueError(f"pack_padded_sequence: expected {batch} lengths, got {counts.shape}")
    if not batch or counts.min() < 1 or counts.max() > longest:
        raise ValueError(f"pack_padded_sequence: lengths must be from 1 to {longest}, got {counts.tolist()}")
    order = None
    if not enforce_sorted:
        order = np.argsort(-counts.astype(np.int64), kind="stable")
        counts = counts[order]
    elif (np.diff(counts.astype(np.int64)) > 0).any():
        raise ValueError(
            "pack_padded_sequence: the longest sequence must come first and the shortest last; pass "
            "enforce_sorted=False, or sort them"
        )
    sizes = (counts > np.arange(counts[0])[:, None]).sum(axis=1)
    return PackedSequence(None, sizes, order).packs(input, batch_first)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, np.ndarray]:
    """The sequences that were packed, in the order in which they came, padded to the longest.

    Args:
        sequence: as layers give it.
        batch_first: the first axis is to be that of sequences.
        padding_value: behind their ends.
        total_length: L; default: the steps of the longest.

    Returns:
        (L, N, ...), or (N, L, ...) if `batch_first`, and the lengths, (N,).

    Raises:
        ValueError: `total_length` is too short.

    >>> import xpnet
    >>> from xpnet import nn
    >>> packed = nn.pack_sequence([xpnet.asarray([1.0, 2.0]), xpnet.asarray([3.0])])
    >>> nn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0)
    (array([[ 1.,  2.],
           [ 3., -1.]], dtype=float32), array([2, 1]))
    """
    longest, lengths = len(sequence.batch_sizes), sequence.lengths
    total = longest if total_length is None else total_length
    if total < longest:
        raise ValueError(f"pad_packed_sequence: total_length={total} is below {longest} steps of the longest")
    steps, batch = _inside(sequence)
    places = np.full((total, len(lengths)), -1)
    places[steps, batch] = np.arange(len(steps))
    if sequence.unsorted_indices is not None:
        places = places[:, sequence.unsorted_indices]
    return _padded(sequence.data, places.T if batch_first else places, padding_value), lengths


def _padded(rows: Any, places: np.ndarray, value: float) -> Any:
    """The rows of these numbers, and `value` where a number is -1."""
    xp, on, rest = namespace(rows), backend_of(array_of(rows)), tuple(rows.shape[1:])
    taken = xp.take(rows, asarray(np.maximum(places, 0).reshape(-1), backend=on), axis=0)
    taken = xp.reshape(taken, (*places.shape, *rest))
    if (places >= 0).all():
        return taken
    inside = asarray((places >= 0).reshape(*places.shape, *(1,) * len(rest)), backend=on)
    return xp.where(inside, taken, xp.full_like(array_of(taken), value))


def pad_sequence(
    sequences: Sequence[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Sequences of several lengths in one array.

    Args:
        sequences: N arrays or Tensors (L_i, ...), whose other axes are equal.
        batch_first: the first axis is to be that of sequences.
        padding_value: where a sequence has no step.
        padding_side: "right", behind their ends, or "left", before their beginnings.

    Returns:
        (L, N, ...), or (N, L, ...) if `batch_first`, L the largest L_i.

    Raises:
        ValueError: there are none, other axes differ, or another side.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.pad_sequence([xpnet.asarray([1.0]), xpnet.asarray([2.0, 3.0])], batch_first=True)
    array([[1., 0.],
           [2., 3.]], dtype=float32)
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f'pad_sequence: padding_side must be "right" or "left", got {padding_side!r}')
    if not len(sequences):
        raise ValueError("pad_sequence: no sequences")
    if len({tuple(s.shape[1:]) for s in sequences}) > 1:
        shapes = ", ".join(str(tuple(s.shape)) for s in sequences)
        raise ValueError(f"pad_sequence: only the first axis may differ, got {shapes}")
    lengths = np.array([s.shape[0] for s in sequences])
    steps, longest = np.arange(lengths.max()), lengths.max()
    inside = steps < lengths[:, None] if padding_side == "right" else steps >= longest - lengths[:, None]
    places = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)
    rows = namespace(next((s for s in sequences if isinstance(s, Tensor)), sequences[0])).concat(
        list(sequences), axis=0
    )
    return _padded(rows, places if batch_first else places.T, padding_value)


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences of several lengths, packed.

    Args:
        sequences: N arrays or Tensors (L_i, ...), whose other axes are equal.
        enforce_sorted: the longest comes first, the shortest last; otherwise they are put in order.

    Returns:
        The packed sequences.

    Raises:
        ValueError: they do not fit together, one is empty, or they are to be sorted and are not.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.pack_sequence([xpnet.asarray([1.0]), xpnet.asarray([2.0, 3.0])], enforce_sorted=False).data
    array([2., 1., 3.], dtype=float32)
    """
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)
