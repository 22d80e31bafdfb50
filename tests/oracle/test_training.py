"""Whole training runs follow PyTorch's: an MLP with batch norm on separable and noisy classes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402

STEPS, BATCH = 200, 32


def problem(seed=0):
    """Ten inputs, three classes with a curved boundary, some labels wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(512, 10))
    y = np.digitize(x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]), [-0.5, 0.5])
    wrong = rng.random(len(y)) < 0.1
    return x, np.where(wrong, rng.integers(0, 3, len(y)), y)


def ours(dtype):
    # no bias before batch norm: its gradient is rounding noise, which Adam would blow up to full steps
    return nn.Sequential(
        nn.Linear(10, 16, bias=False, dtype=dtype),
        nn.BatchNorm1d(16, dtype=dtype),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Linear(16, 8, bias=False, dtype=dtype),
        nn.BatchNorm1d(8, dtype=dtype),
        nn.Tanh(),
        nn.Linear(8, 3, dtype=dtype),
    )


def theirs(dtype):
    t = torch.nn
    model = t.Sequential(
        t.Linear(10, 16, bias=False),
        t.BatchNorm1d(16),
        t.ReLU(),
        t.Dropout(0.0),
        t.Linear(16, 8, bias=False),
        t.BatchNorm1d(8),
        t.Tanh(),
        t.Linear(8, 3),
    )
    return model.to(getattr(torch, dtype))


def decayed_groups(named):
    """Weights of linear layers decay, biases and norms do not."""
    named = list(named)
    matrices = [p for _, p in named if len(p.shape) == 2]
    vectors = [p for _, p in named if len(p.shape) == 1]
    return [{"params": matrices, "weight_decay": 1e-2}, {"params": vectors, "weight_decay": 0.0}]


RUNS = {
    "SGD": {"lr": 0.1},
    "Nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "RMSprop": {"lr": 5e-3},
    "Adam": {"lr": 1e-2},
    "AdamW": {"lr": 1e-2},
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", RUNS)
def test_a_run_of_200_steps(rule, dtype):
    x, y = problem()
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    a, b = ours(dtype), theirs(dtype)
    a.load_state_dict({k: v.numpy() for k, v in b.state_dict().items() if not k.endswith("tracked")})
    name = "SGD" if rule == "Nesterov" else rule
    one = getattr(optim, name)(decayed_groups(a.named_parameters()), **RUNS[rule])
    two = getattr(torch.optim, name)(decayed_groups(b.named_parameters()), **RUNS[rule])
    schedules = optim.CosineAnnealingLR(one, STEPS), torch.optim.lr_scheduler.CosineAnnealingLR(two, STEPS)
    losses = []
    for _ in range(STEPS):
        rows = rng.integers(0, len(x), BATCH)
        one.zero_grad()
        loss = F.cross_entropy(a(xpnet.asarray(x[rows], dtype)), y[rows], label_smoothing=0.05)
        loss.backward()
        optim.clip_grad_norm(a, 1.0)
        one.step()
        two.zero_grad()
        inputs, labels = torch.tensor(x[rows], dtype=getattr(torch, dtype)), torch.tensor(y[rows])
        expected = torch.nn.functional.cross_entropy(b(inputs), labels, label_smoothing=0.05)
        expected.backward()
        torch.nn.utils.clip_grad_norm_(b.parameters(), 1.0)
        two.step()
        for schedule in schedules:
            schedule.step()
        losses.append((loss.item(), expected.item()))

    losses = np.array(losses)
    assert losses[-20:].mean() < losses[:20].mean() - 0.1  # it learns
    # rounding grows along the path, from 1e-7 a step in float32
    tolerance = {"float64": 1e-8, "float32": 1e-4}[dtype]
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=tolerance)
    state = b.state_dict()
    for key, value in a.state_dict().items():
        q = state[key].numpy()
        np.testing.assert_allclose(xpnet.to_numpy(value), q, rtol=tolerance, atol=tolerance * np.abs(q).max())
    a.eval()
    b.eval()
    with torch.no_grad():
        outputs = b(torch.tensor(x, dtype=getattr(torch, dtype))).numpy()
    predicted = a(xpnet.asarray(x, dtype)).numpy()
    np.testing.assert_allclose(predicted, outputs, rtol=tolerance, atol=tolerance * np.abs(outputs).max())
