"""bfloat16 by its name on every backend that has it: forward, backward, step, checkpoint."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.core.backend import dtype_name


@pytest.fixture(autouse=True)
def bfloat16(backend):
    if backend == "array_api_strict":
        pytest.skip("has no bfloat16")
    if backend != "torch":
        pytest.importorskip("ml_dtypes")


def host(x):
    return np.asarray(to_numpy(x), np.float32)


def rounded(x):
    import ml_dtypes

    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def data(n=16):
    rng = np.random.default_rng(0)
    return rounded(rng.standard_normal((n, 6)).astype(np.float32)), rng.integers(0, 3, n)


def made(dtype):
    xpnet.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8, dtype=dtype), nn.BatchNorm1d(8, dtype=dtype), nn.ReLU(), nn.Linear(8, 3, dtype=dtype)
    )


def test_by_name():
    x = xpnet.asarray([1.0, 1.00390625, 3.14159], "bfloat16")
    assert dtype_name(x.dtype) == "bfloat16"
    np.testing.assert_array_equal(host(x), np.float32([1.0, 1.0, 3.140625]))
    assert dtype_name(xpnet.tensor([1], dtype="bfloat16").dtype) == "bfloat16"
    with pytest.raises(TypeError, match="no dtype 'bfloat17'"):
        xpnet.asarray([1.0], "bfloat17")


@pytest.mark.parametrize("fused", [True, False])
def test_forward_backward_and_steps_follow_float32(fused):
    x, y = data()
    found = {}
    for dtype in ("float32", "bfloat16"):
        model = made(dtype)
        if dtype == "float32":
            for p in model.parameters():
                p.data[...] = xpnet.asarray(rounded(host(p.data)))
        optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
        losses = []
        with xpnet.fused(fused):
            for _ in range(5):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(xpnet.tensor(x, dtype=dtype)), xpnet.asarray(y))
                loss.backward()
                losses.append(float(loss.item()))
                assert {dtype_name(p.grad.dtype) for p in model.parameters()} == {dtype}
                optimizer.step()
        assert {dtype_name(p.data.dtype) for p in model.parameters()} == {dtype}
        found[dtype] = losses, [host(p.data) for p in model.parameters()]
    np.testing.assert_allclose(found["bfloat16"][0], found["float32"][0], rtol=0.03)
    for a, b in zip(found["bfloat16"][1], found["float32"][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=0.05, atol=0.05)


def test_a_file_keeps_the_bits(tmp_path):
    model = made("bfloat16")
    xpnet.save(model, tmp_path / "m.safetensors")
    again = xpnet.load(tmp_path / "m.safetensors").model
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert dtype_name(b.data.dtype) == "bfloat16"
        np.testing.assert_array_equal(host(a.data), host(b.data))


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    from xpnet.data import DataLoader, Dataset
    from xpnet.train import Checkpoint, Trainer

    x, y = data(64)
    dataset = Dataset(xpnet.asarray(x, "bfloat16"), y)

    def fit(epochs, resume=None):
        model = made("bfloat16")
        xpnet.manual_seed(1)
        path = tmp_path / "run.safetensors"
        trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.01), [Checkpoint(path)])
        trainer.fit(DataLoader(dataset, 16, shuffle=True), epochs=epochs, resume=resume)
        return [host(p.data) for p in model.parameters()]

    whole = fit(4)
    fit(2)
    for a, b in zip(whole, fit(4, resume=tmp_path / "run.safetensors"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_transforms():
    x = xpnet.tensor(xpnet.asarray(np.asarray([1.0, 2.0], np.float32), "bfloat16"))
    gradient = xpnet.grad(lambda x: (x * x * x).sum())(x)
    assert dtype_name(gradient.dtype) == "bfloat16"
    assert host(gradient).tolist() == [3.0, 12.0]
    assert host(xpnet.hvp(lambda x: (x * x).sum(), x, x)).tolist() == [2.0, 4.0]
