"""CuPy beyond what every backend does: devices, arrays of other libraries, the first kernel, capture."""

import subprocess
import sys

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.core.places import namespace

pytestmark = pytest.mark.usefixtures("cupy")


def data(n=24, classes=5, features=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, features)).astype(np.float32), rng.integers(0, classes, n)


FIRST = """
import xpnet, numpy as np, cupy
from xpnet import functional as F
x = cupy.asarray(np.random.default_rng(3).standard_normal((64, 10)).astype("f4"))
y = cupy.asarray(np.arange(64) % 10)
import cpucuda
with cpucuda.count() as n:
    first = F.cross_entropy(x, y)
print(sum(name.startswith("xent") for name in n.kernels), float(first) == float(F.cross_entropy(x, y)))
"""


def test_the_first_op_of_a_process_runs_fused():
    pytest.importorskip("cpucuda")
    run = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=300)
    assert run.stdout.split()[-2:] == ["1", "True"], run.stdout + run.stderr


OPS = {
    "batch_norm": lambda x, other: F.batch_norm(x, other, other, training=True),
    "linear": lambda x, other: F.linear(x, namespace(other).reshape(other, (1, 3))),
    "add": lambda x, other: xpnet.tensor(x) + other,
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_an_array_of_another_library_is_refused(op, fused, library):
    x = xpnet.asarray(np.ones((4, 3), np.float32))
    with xpnet.use_backend(library):
        other = xpnet.asarray(np.ones(3, np.float32))
    with (
        xpnet.fused(fused),
        pytest.raises(xpnet.DeviceError, match=rf"cupy \(0\).*{library}|{library}.*cupy \(0\)"),
    ):
        OPS[op](x, other)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("fused", [True, False])
def test_class_weights_come_from_the_host_and_from_nowhere_else(loss, fused):
    x, y = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32), np.arange(4) % 3
    weight = np.array([0.5, 2.0, 1.0])
    with xpnet.use_backend("numpy"), xpnet.fused(False):
        expected = loss(xpnet.tensor(x), y, weight=weight).item()
    with xpnet.fused(fused):
        for given in (weight, weight.tolist(), weight.astype(np.float32), xpnet.asarray(weight)):
            assert loss(xpnet.tensor(x), y, weight=given).item() == pytest.approx(expected, rel=1e-6)
        with xpnet.use_backend("array_api_strict"):
            foreign = xpnet.asarray(weight)
        with pytest.raises(xpnet.DeviceError, match="array_api_strict"):
            loss(xpnet.tensor(x), y, weight=foreign)


@pytest.mark.parametrize("fused", [True, False])
def test_a_class_weight_of_one_element_on_the_host(fused):
    """By value its bits would be an address."""
    with xpnet.fused(fused):
        x, y = xpnet.asarray(np.ones((2, 1), np.float32)), np.array([0, 0])
        assert F.cross_entropy(x, y, weight=np.ones(1, np.float32)).item() == 0.0


# ---- a device other than the current one ------------------------------------------------------------------


def train(steps=3, x=None, y=None):
    xpnet.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Hardtanh(), nn.Linear(16, 5)
    )
    optimizer = optim.Adam(model, lr=0.01)
    noise = optim.GradientNoise(model, eta=1e-4)
    losses = []
    for i in range(steps):
        a, b = data(seed=i)
        optimizer.zero_grad()
        loss = F.cross_entropy(
            model(xpnet.tensor(a)), xpnet.asarray(b), weight=xpnet.asarray(np.ones(5, "f4"))
        )
        loss.backward()
        optim.clip_grad_norm(model, 0.5)
        noise()
        optimizer.step()
        losses.append(loss.item())
    return model, optimizer, losses


@pytest.mark.parametrize("fused", [True, False])
def test_everything_follows_set_backend_to_the_second_device(second, fused, cupy):
    with xpnet.fused(fused):
        _, _, expected = train()
        with xpnet.use_backend("cupy", second):
            model, optimizer, losses = train()
            assert cupy.cuda.runtime.getDevice() == second
        assert cupy.cuda.runtime.getDevice() == 0
    assert losses == expected
    arrays = [t.data for t in (*model.parameters(), *(b for _, b in model.named_buffers()))]
    arrays += [
        v for s in optimizer.state_dict()["state"].values() for v in s.values() if hasattr(v, "device")
    ]
    assert {a.device.id for a in arrays} == {second}


@pytest.mark.parametrize("fused", [True, False])
def test_a_computation_follows_its_arrays_when_another_device_is_current(second, fused):
    with xpnet.fused(fused):
        with xpnet.use_backend("cupy", second):
            model, optimizer, _ = train()
            x, y = (xpnet.asarray(a) for a in data(seed=9))
        # from here on device 0 is current, and numpy the default
        with xpnet.use_backend("numpy"):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optim.clip_grad_value(model, 0.1)
            optim.clip_grad_norm(model, 0.1)
            optimizer.step()
            assert loss.data.device.id == second
            assert {p.grad.device.id for p in model.parameters()} == {second}
            state = {k: to_numpy(v) for k, v in model.state_dict().items()}
            model.to("cupy", 0)
            assert {p.data.device.id for p in model.parameters()} == {0}
            for k, v in model.state_dict().items():
                np.testing.assert_array_equal(to_numpy(v), state[k])


def test_arrays_of_two_devices_are_refused(second, cupy):
    x = xpnet.asarray(np.ones((4, 3), np.float32))
    with xpnet.use_backend("cupy", second):
        other = xpnet.asarray(np.ones(3, np.float32))
    for op in OPS.values():
        with pytest.raises(xpnet.DeviceError, match=r"cupy \([01]\).*cupy \([01]\)"):
            op(x, other)


def test_creation_follows_device(second, cupy):
    xp = xpnet.get_backend().xp
    there = cupy.cuda.Device(second)
    made = [f(3, device=there) for f in (xp.zeros, xp.ones, xp.empty, xp.arange, xp.eye)]
    made += [xp.full(3, 2, device=there), xp.linspace(0, 1, 3, device=there), xp.asarray([1.0], device=there)]
    made += [xp.zeros_like(xp.ones(3), device=there)]
    made += [f(made[0]) for f in (xp.zeros_like, xp.ones_like, xp.empty_like)]
    assert {a.device.id for a in made} == {second}
    assert xp.zeros(3).device.id == 0
    for bad in (2, -1, "1", 0.5):
        with pytest.raises(ValueError, match="has the devices 0 to 1"):
            xpnet.set_backend("cupy", bad)
