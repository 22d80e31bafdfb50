"""Averages of weights, gradient clipping, accumulation and scores against PyTorch and scikit-learn."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.data import DataLoader, Dataset  # noqa: E402
from xpnet.functional import cross_entropy  # noqa: E402
from xpnet.train import (  # noqa: E402
    EMA,
    SWA,
    GradientClipping,
    LossScaler,
    Trainer,
    confusion_matrix,
    f1,
    precision,
    precision_recall_f1,
    recall,
    top_k_accuracy,
)

EPOCHS, BATCH = 4, 16


def problem(n=80, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return Dataset(x, np.digitize(x[:, 0] + 0.5 * x[:, 1] ** 2, [-0.3, 0.7]))


def pair():
    """The same network here and in PyTorch; no bias before batch norm, whose gradient is rounding noise."""
    ours = nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 8, bias=False), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    )
    state = {k: torch.tensor(xpnet.to_numpy(v)) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=False)
    return ours, theirs


def close(ours, theirs, rtol=1e-4):
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        if "running" not in name:
            q = state[name].numpy()
            np.testing.assert_allclose(
                xpnet.to_numpy(value), q, rtol=rtol, atol=rtol * np.abs(q).max(), err_msg=name
            )


def batches(data):
    for i in range(0, len(data), BATCH):
        yield torch.tensor(data.x[i : i + BATCH]), torch.tensor(data.y[i : i + BATCH])


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def test_ema_is_swa_utils():
    ours, theirs = pair()
    average = torch.optim.swa_utils.AveragedModel(
        theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.2)
    data = problem()
    for _ in range(EPOCHS):
        for x, y in batches(data):
            step(theirs, optimizer, x, y)
            average.update_parameters(theirs)
    trainer = Trainer(ours, cross_entropy, optim.SGD(ours, lr=0.2), [EMA(0.9)])
    trainer.fit(DataLoader(data, BATCH, shuffle=False), epochs=EPOCHS)
    close(ours, average.module)


def test_swa_is_swa_utils_with_its_batch_norm():
    ours, theirs = pair()
    average = torch.optim.swa_utils.AveragedModel(theirs)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.2, momentum=0.9)
    data = problem()
    for epoch in range(EPOCHS):
        for x, y in batches(data):
            step(theirs, optimizer, x, y)
        if epoch >= 1:
            average.update_parameters(theirs)
    whole = [(torch.tensor(data.x), torch.tensor(data.y))]
    torch.optim.swa_utils.update_bn(whole, average)  # of one batch: its averages are exact
    trainer = Trainer(ours, cross_entropy, optim.SGD(ours, lr=0.2, momentum=0.9), [SWA(1)])
    trainer.fit(DataLoader(data, BATCH, shuffle=False), epochs=EPOCHS)
    close(ours, average.module)
    n = len(data)
    found, expected = ours.state_dict(), average.module.state_dict()
    mean, var = (xpnet.to_numpy(found[f"1.running_{what}"]) for what in ("mean", "var"))
    np.testing.assert_allclose(mean, expected["1.running_mean"].numpy(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(var * n / (n - 1), expected["1.running_var"].numpy(), rtol=1e-3)


@pytest.mark.parametrize("options", [{"norm": 0.1}, {"value": 0.02}, {"norm": 0.1, "value": 0.02}])
def test_clipping(options):
    ours, theirs = pair()
    data = problem()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    for x, y in batches(data):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(x), y).backward()
        if "value" in options:
            torch.nn.utils.clip_grad_value_(theirs.parameters(), options["value"])
        if "norm" in options:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), options["norm"])
        optimizer.step()
    trainer = Trainer(ours, cross_entropy, optim.SGD(ours, lr=0.5), [GradientClipping(**options)])
    trainer.fit(DataLoader(data, BATCH, shuffle=False), epochs=1)
    close(ours, theirs)


def test_a_scaler_does_not_change_a_float32_run_and_adapts_as_pytorch_s():
    ours, theirs = pair()
    data = problem()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.2)
    scaler = LossScaler(2.0**10, growth_interval=3)
    reference = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for i, (x, y) in enumerate(batches(data)):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(x), y)
        reference.scale(loss * (float("inf") if i == 1 else 1.0)).backward()
        reference.step(optimizer)
        reference.update()
    calls = iter(range(100))
    loss = lambda z, y: cross_entropy(z, y) * (float("inf") if next(calls) == 1 else 1.0)
    trainer = Trainer(ours, loss, optim.SGD(ours, lr=0.2), scaler=scaler)
    with np.errstate(all="ignore"), pytest.raises(RuntimeError, match="the training loss is inf"):
        trainer.fit(DataLoader(data, BATCH, shuffle=False), epochs=1)
    scaler.settle()  # on a device the scale follows at the next update
    assert scaler.scale == reference.get_scale()
    assert scaler.skipped == 1
    close(ours, theirs)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
def test_scores_are_scikit_learn_s(average):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    true = rng.choice([0, 1, 3, 4], size=300, p=[0.6, 0.2, 0.15, 0.05])  # 2 is only predicted, 5 nowhere
    predicted = np.where(rng.random(300) < 0.6, true, rng.integers(0, 5, 300))
    matrix = confusion_matrix(true, predicted, 6)
    labels = {"labels": range(6)} if average is None else {}
    expected = metrics.precision_recall_fscore_support(
        true, predicted, average=average, zero_division=0, **labels
    )[:3]
    for found, wanted in zip(precision_recall_f1(matrix, average), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    logits = xpnet.asarray(np.eye(6, dtype=np.float32)[predicted])
    for score, wanted in zip((precision, recall, f1), expected, strict=True):
        np.testing.assert_allclose(score(average)(logits, true), wanted, rtol=1e-12)


def test_top_k_is_scikit_learn_s():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 7)).astype(np.float32), rng.integers(0, 7, 200)
    for k in (1, 2, 5):
        expected = metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(7))
        assert float(top_k_accuracy(k)(xpnet.asarray(scores), labels)) == pytest.approx(expected)
