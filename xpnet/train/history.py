"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xpnet.train.monitor import sign_of


class History(Mapping[str, list[float]]):
    """One list of numbers a quantity, one entry an epoch.

    Keys: `train_loss`, `lr`, `seconds`, and with validation data `val_loss` and `val_<metric>`.

    >>> from xpnet.train import History
    >>> history = History()
    >>> history.append({"train_loss": 2.3, "val_loss": 2.2})
    >>> history.append({"train_loss": 1.9, "val_loss": 2.0})
    >>> history["val_loss"]
    [2.2, 2.0]
    >>> history.epochs, history.best("val_loss")
    (2, 1)
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}

    def append(self, row: Mapping[str, float]) -> None:
        """Add the numbers of one epoch; every epoch has the same keys.

        Raises:
            ValueError: the keys are not those of the first epoch.
        """
        if self._columns and row.keys() != self._columns.keys():
            raise ValueError(f"History: an epoch with {sorted(row)} after epochs with {sorted(self)}")
        for key, value in row.items():
            self._columns.setdefault(key, []).append(value)

    def replace(self, columns: Mapping[str, list[float]]) -> None:
        """Forget everything and take over the columns of another history."""
        self._columns = {key: list(values) for key, values in columns.items()}

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(next(iter(self._columns.values()), []))

    def best(self, key: str, mode: str | None = None) -> int:
        """The epoch, counted from 0, in which `key` was smallest ("min") or largest ("max").

        Raises:
            ValueError: no mode is given, and the name does not say which is better.
        """
        values, sign = self[key], sign_of(key, mode)
        return min(range(len(values)), key=lambda epoch: sign * values[epoch])

    def last(self) -> dict[str, float]:
        """The numbers of the latest epoch."""
        return {key: values[-1] for key, values in self._columns.items()}

    def rows(self) -> list[dict[str, float]]:
        """One dict an epoch."""
        return [
            dict(zip(self._columns, values, strict=True))
            for values in zip(*self._columns.values(), strict=True)
        ]

    def plot(self, keys: Sequence[str] | None = None) -> Any:
        """The curves as a figure of matplotlib, which a notebook shows; `figure.savefig(path)` keeps it.

        Args:
            keys: what to draw, in one panel; default: losses, other measures and the learning rate, in a
                panel each.

        Raises:
            ImportError: matplotlib is missing.
            KeyError: there is no such key.
            ValueError: there are no epochs.

        >>> from xpnet.train import History
        >>> history = History()
        >>> history.append({"train_loss": 2.3, "lr": 0.1})
        >>> len(history.plot().axes)
        2
        """
        try:
            from xpnet.train.figure import Figure
        except ImportError:
            raise ImportError('History.plot needs matplotlib: pip install "xpnet[plot]"') from None
        if not self.epochs:
            raise ValueError("History.plot: no epoch was completed")
        losses = [key for key in self if key.endswith("loss")]
        others = [key for key in self if key not in (*losses, "lr", "seconds")]
        panels = [losses, others, [key for key in self if key == "lr"]] if keys is None else [list(keys)]
        panels = [panel for panel in panels if panel]
        figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
        for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for key in panel:
                axis.plot(range(1, self.epochs + 1), self[key], label=key.replace("_", " "))
            axis.set(xlabel="epoch")
            axis.legend(fontsize=8)
        return figure

    def _repr_html_(self) -> str:
        """What a notebook shows: the curves and the last epochs."""
        from xpnet.train.curves import curves, history_table

        return curves(self) + history_table(self) if self.epochs else "<p>no epochs yet</p>"

    def __getitem__(self, key: str) -> list[float]:
        try:
            return self._columns[key]
        except KeyError:
            raise KeyError(
                f"no {key!r} in this history; it has {', '.join(self._columns) or 'no epochs'}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"History({self.epochs} epochs: {', '.join(self._columns)})"
