"""A network trained with every kernel at once, against the same training without any."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from xpnet import cuda, nn
from xpnet import functional as F
from xpnet.nn import fuse


def train(steps: int = 5) -> tuple[list[float], np.ndarray]:
    """Losses, and theta at the end."""
    xpnet.manual_seed(1)
    # no bias before batch norm: its gradient is all rounding, which Adam would blow up
    model = nn.Sequential(
        nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25),
        nn.Linear(16, 12), nn.ELU(), nn.Linear(12, 5),
    )  # fmt: skip
    optimizer = xpnet.optim.AdamW(model, lr=0.01)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        x, y = rng.standard_normal((24, 20)).astype(np.float32), rng.integers(0, 5, 24)
        loss = F.cross_entropy(model(xpnet.tensor(x)), xpnet.asarray(y))
        loss.backward()
        xpnet.optim.clip_grad_norm(model, 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses, np.concatenate([xpnet.to_numpy(p.data).ravel() for p in model.parameters()])


def test_five_steps_with_every_kernel(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fuse, "ndarray", type(None)
    )  # the emulator's arrays are NumPy's, where no pair is sought
    with xpnet.fused(False):
        losses, theta = train()
    with launch.on(order=3), registered(launch, *cuda.launchers()) as counted:
        found, trained = train()
    products = {name: counted.pop(name, 0) for name in ("linear", "matmul")}
    # by cuBLAS, where it is: 2 a step of the first layer, which has no bias; the others' ops make their own
    assert products == ({"linear": 5, "matmul": 10} if launch.gpu else {"linear": 0, "matmul": 0}), products
    assert counted == Counter({
        "batch_norm_relu": 5, "philox_dropout": 5, "linear_activation": 5, "cross_entropy": 5,
        "sum_rows": 0 if launch.gpu else 5, "sum_of_squares": 5, "clip_to_norm": 5, "adam_step": 5,
        "philox": counted["philox"],
    })  # fmt: skip
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    np.testing.assert_allclose(trained, theta, rtol=1e-4, atol=2e-6)
