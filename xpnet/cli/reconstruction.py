"""What autoencoders of the command line are measured by, and the pictures they make."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import manual_seed, to_numpy
from xpnet.cli.output import write_pictures
from xpnet.cli.pictures import visible
from xpnet.nn import VAE
from xpnet.nn.inference import in_batches, outputs

_COLUMNS = 10


def made_of(model: Any, x: Any) -> np.ndarray:
    """What a model gives back for samples (n, inputs)."""
    found = outputs(model, in_batches(x))
    return to_numpy(found[0] if isinstance(found, tuple) else found)


def test_code(trainer: Any, setup: Any) -> dict[str, Any]:
    """How much of the test samples' variance comes back."""
    x, made = to_numpy(setup.test.x).astype(np.float64), made_of(trainer.model, setup.test.x)
    error, spread = float(((made - x) ** 2).sum()), float(((x - x.mean(axis=0)) ** 2).sum())
    return {
        **trainer.evaluate(setup.test),
        "mse": error / x.size,
        "r2": 1 - error / spread if spread else None,
        "samples": len(x),
    }


def code_line(result: dict[str, Any]) -> str:
    """In words."""
    share = "" if result["r2"] is None else f", {result['r2']:.2%} of the variance comes back"
    return f"loss {result['loss']:.4f}, mean squared error {result['mse']:.4f}{share}"


def write_made(path: str | None, model: Any, setup: Any) -> None:
    """A grid: samples of the validation set, what the model makes of them, and of a VAE what it draws."""
    if path is None:
        return
    shape = setup.pictures.x.shape[1:]
    x = setup.validation.x[:_COLUMNS, ...]
    rows = {"samples": to_numpy(x), "given back": made_of(model, x)}
    if isinstance(model, VAE):
        manual_seed(0)
        rows["drawn"] = to_numpy(model.sample(2 * _COLUMNS))
    grid, titles = [], []
    for name, values in rows.items():
        pictures = visible(values.reshape(-1, *shape), setup.scaler)
        for i in range(0, len(pictures), _COLUMNS):
            grid.append(pictures[i : i + _COLUMNS])
            titles.append([name if not i and not k else "" for k in range(len(grid[-1]))])
    write_pictures(path, grid, titles)
