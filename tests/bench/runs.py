"""Runs that nobody measured."""

from __future__ import annotations

import numpy as np

from bench.cases import by_key
from bench.limits import Limit
from bench.measurement import Measurement
from bench.results import Run

CASE, OWN, BASE = "step tiny_mlp batch 32", "xpnet", "torch"


def made_up(own: float, noise: float = 0.01, base: float = 1e-3, cores: int = 2) -> Run:
    """A run with one case and two columns whose times vary by `noise`."""
    wave = 1 + noise * np.sin(np.arange(9.0))
    return run_of({CASE: {OWN: list(own * wave), BASE: list(base * wave[::-1])}}, cores=cores)


def run_of(seconds: dict[str, dict[str, list[float]]], load: int = 0, cores: int = 2) -> Run:
    """A run with these rounds, by case and column."""
    described = {"cpu": "test", "cores": cores, "threads": 2, "gpu": None, "load": None}
    run = Run("2026-01-01 00:00", described, {"xpnet": "0"}, {}, {"cpu": Limit(1e10, 1e11)}, {})
    for columns in seconds.values():
        run.columns |= {key: {"title": key, "device": "cpu"} for key in columns}
    for case, columns in seconds.items():
        found = [
            Measurement(case, key, times, [0] * len(times), 5, 0.1, load=load)
            for key, times in columns.items()
        ]
        run.add(by_key(case), found)
    return run
