"""Stage: do an MLP, a CNN and a float16 MLP train as on NumPy, fused and unfused? Five steps each.

The weights, batches and dropout masks are the same bits everywhere, so the losses follow NumPy's: to the
rounding of sums, which five steps magnify little. A loss that does not fall has not trained anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.gpu.fragment import Fragment, first_lines

STEPS = 5


class Run(NamedTuple):
    """A training run: model and optimizer, the shape of the data, how far losses may be from NumPy's."""

    model: Callable[[], Any]
    optimizer: Callable[[Any], Any]
    shape: tuple[int, ...]
    dtype: str
    tolerance: float


def runs() -> dict[str, Run]:
    """The three networks."""
    from xpnet import nn, optim

    return {
        "mlp": Run(
            lambda: nn.mlp(20, [32, 16], 5, batch_norm=True, dropout=0.2),
            lambda model: optim.Adam(model, lr=0.01),
            (32, 20),
            "float32",
            2e-5,
        ),
        "cnn": Run(
            lambda: nn.small_cnn(5, width=4),
            lambda model: optim.SGD(model, lr=0.05, momentum=0.9, nesterov=True),
            (8, 3, 8, 8),
            "float32",
            2e-5,
        ),
        "float16": Run(
            lambda: nn.mlp(20, [32, 16], 5, dtype="float16"),
            lambda model: optim.SGD(model, lr=0.1, momentum=0.9),
            (32, 20),
            "float16",
            2e-2,
        ),
    }


def train(run: Run, backend: str, fused: bool) -> list[float]:
    """The losses of five steps on one batch."""
    import xpnet
    from xpnet import functional as F

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(run.shape).astype(run.dtype), rng.integers(0, 5, run.shape[0])
    losses = []
    with xpnet.use_backend(backend), xpnet.fused(fused):
        xpnet.manual_seed(1)
        model = run.model()
        optimizer = run.optimizer(model)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xpnet.asarray(x)), xpnet.asarray(y))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main() -> int:
    """Compare every run with NumPy's; 1 if one differs or raises."""
    found, red = Fragment(), []
    for name, run in runs().items():
        want = train(run, "numpy", False)
        for fused in (True, False):
            key = f"{name} {'fused' if fused else 'unfused'}"
            try:
                got = train(run, "cupy", fused)
                error = float(np.max(np.abs(np.divide(got, want) - 1)))
                ok = error <= run.tolerance and want[-1] < want[0]  # a NaN is no smaller
                found.keep(**{key: {"ok": ok, "error": error, "losses": got, "numpy": want}})
                words = f"losses differ from NumPy's by {error:.1e}, at most {run.tolerance:.0e}"
            except Exception as error:  # the others are still worth knowing
                ok, words = False, first_lines(error)
                found.keep(**{key: {"ok": ok, "error": words}})
            if not ok:
                red.append(f"{key}: {words}")
    return found.done(not red, summary=red or [f"{len(found)} runs of {STEPS} steps follow NumPy"])


if __name__ == "__main__":
    sys.exit(main())
