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
class DataSettings(BackendSettings):
    """Which data; `dataset` and `data` are two spellings of their name."""

    dataset: str | None = None
    data: str | None = None
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(DataSettings):
    """A network and its optimizer; None: what suits the data."""

    model: str | None = None
    layers: tuple[int, ...] | None = None
    width: int = 16
    size: int | None = None
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int | None = None
    dropout: float = 0.2
    weight_decay: float = 0.0
    seed: int = 0
    augment: str = "none"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(NetworkSettings):
    """A run of `xpnet train`; `argv` are the words that it was asked for with."""

    schedule: str = "cosine"
    epochs: int | None = None
    patience: int = 15
    monitor: str = "loss"
    parallel: bool = False
    sync_batch_norm: bool = False
    capture: bool = False
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
    argv: tuple[str, ...] = field(default=(), compare=False)
