"""What a command's options say, as frozen records: hashable, picklable, each default written once."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How often something is done: one of the three is given."""

    epochs: int | None = None
    updates: int | None = None
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A command's options by their names; each command has its own."""

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The options that need not be given."""
        return {f.name: f.default for f in fields(cls) if f.default is not MISSING}

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """From what the parser found."""
        return cls(**{f.name: getattr(options, f.name) for f in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class BackendSettings(Settings):
    """Where to compute."""

    backend: str = "numpy"
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(BackendSettings):
    """How a table of text is written; None: as it says itself."""

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataSettings(ReadingSettings):
    """Which data."""

    data: str | None = None
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceSettings(DataSettings):
    """Which data, and what is learned from a table; `dataset` and `file` mean data and path.

    `given` are the names of the options that the command has.
    """

    dataset: str | None = None
    file: str | None = None
    config: str | None = None
    target: str | None = None
    task: str | None = None
    missing: str = "refuse"
    text: str = "ask"
    categories: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    given: tuple[str, ...] = field(default=(), compare=False)

    def asked(self, *names: str) -> list[str]:
        """Those of some options that were given, be it with the usual value, or have another one."""
        usual = self.defaults()
        return [name for name in names if name in self.given or getattr(self, name) != usual[name]]


# what only a table has
TABLE = (
    "target", "task", "missing", "text", "categories", "drop", "delimiter", "decimal", "encoding", "header"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(SourceSettings):
    """A network and its optimizer; None: what suits the data."""

    model: str | None = None
    layers: tuple[int, ...] | None = None
    activation: str = "relu"
    no_batch_norm: bool = False
    init: str | None = None
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    latent: int | None = None
    context: int | None = None
    tokens: str | None = None
    size: int | None = None
    skip_damaged: bool = False
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int | None = None
    dropout: float | tuple[float, ...] | None = None
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    seed: int = 0
    augment: str = "none"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(NetworkSettings):
    """A run of `xpnet train`; `argv` are the words that it was asked for with."""

    ensemble: int = 1
    mirrored: bool = False
    l1: float = 0.0
    schedule: str = "cosine"
    epochs: int | None = None
    patience: int = 15
    monitor: str = "loss"
    parallel: bool = False
    sync_batch_norm: bool = False
    capture: bool = False
    precision: str | None = None
    divergence: float | None = None
    checkpoint: str | None = None
    checkpoint_every: Interval | None = None
    keep: int = 2
    resume: str | None = None
    allow: tuple[str, ...] = ()
    save: str | None = None
    plot: str | None = None
    grid: str | None = None
    preview: str | None = None
    json: str | None = None
    report: str | None = None
    live: str | None = None
    run: str | None = None
    overwrite: bool = False
    argv: tuple[str, ...] = field(default=(), compare=False)

    @property
    def of_trainer(self) -> dict[str, Any]:
        """What a `Trainer` is given as it is."""
        return {"capture": self.capture, "precision": self.precision, "l1": self.l1}
