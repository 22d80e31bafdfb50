"""Weights, optimizer states and memory shared with PyTorch and JAX."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.io.torch import torch_state_dict  # noqa: E402

RNG = np.random.default_rng(0)
FLAT = RNG.normal(size=(16, 6)).astype(np.float32)
PICTURES = RNG.normal(size=(16, 2, 8, 8)).astype(np.float32)
LABELS = RNG.integers(0, 3, 16)


def perceptrons():
    # no bias before batch norm: its gradient is rounding noise, which adaptive rules blow up to full steps
    ours = nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
    t = torch.nn
    theirs = t.Sequential(
        t.Linear(6, 8, bias=False), t.BatchNorm1d(8), t.ReLU(), t.Dropout(0.3), t.Linear(8, 3)
    )
    return ours, theirs, FLAT


def cnns():
    class Ours(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
            self.norm, self.pool = nn.BatchNorm2d(4), nn.MaxPool2d(2)
            self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 3))

        def forward(self, x):
            return self.head(self.pool(F.relu(self.norm(self.conv(x)))))

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            t = torch.nn
            self.conv = t.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
            self.norm, self.pool = t.BatchNorm2d(4), t.MaxPool2d(2)
            self.head = t.Sequential(t.Flatten(), t.LayerNorm(16), t.Linear(16, 3))

        def forward(self, x):
            return self.head(self.pool(torch.relu(self.norm(self.conv(x)))))

    return Ours(), Theirs(), PICTURES


def outputs(ours, theirs, x):
    """Both models' outputs in evaluation mode, where running statistics count."""
    with torch.no_grad():
        return xpnet.to_numpy(ours.eval()(xpnet.asarray(x))), theirs.eval()(torch.asarray(x)).numpy()


def train_ours(model, optimizer, x, steps=3):
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(xpnet.asarray(x)), LABELS).backward()
        optimizer.step()


def train_theirs(model, optimizer, x, steps=3):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.asarray(x)), torch.asarray(LABELS)).backward()
        optimizer.step()


@pytest.mark.parametrize("pair", [perceptrons, cnns])
def test_a_torch_model_s_weights_give_its_outputs(pair):
    ours, theirs, x = pair()
    train_theirs(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), x)  # running statistics of its own
    ours.load_state_dict(theirs.state_dict())
    found, expected = outputs(ours, theirs, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pair", [perceptrons, cnns])
def test_our_weights_give_our_outputs_in_torch(pair):
    ours, theirs, x = pair()
    train_ours(ours, optim.SGD(ours, lr=0.1), x)
    assert theirs.load_state_dict(torch_state_dict(ours), strict=True)
    found, expected = outputs(ours, theirs, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("momentum", [None, 0.2])
def test_the_average_of_all_batches_goes_on_in_the_other_library(momentum):
    theirs, again = (torch.nn.BatchNorm1d(6, momentum=momentum) for _ in range(2))
    ours = nn.BatchNorm1d(6, momentum=momentum)
    for k in range(4):
        theirs(torch.asarray(FLAT * (k + 1)))
    ours.load_state_dict(theirs.state_dict())
    again.load_state_dict(torch_state_dict(ours), strict=True)
    for norm in (theirs, again):
        norm(torch.asarray(FLAT - 3))
    ours(xpnet.asarray(FLAT - 3))
    for found in (again.running_mean, torch.asarray(xpnet.to_numpy(ours.running_mean.data))):
        torch.testing.assert_close(found, theirs.running_mean)
    assert momentum or int(again.num_batches_tracked) == int(ours.num_batches_tracked.data) == 5


RULES = [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {}),
    ("Adagrad", {}),
    ("Adadelta", {"lr": 1.0}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {"weight_decay": 0.01}),
    ("AdamW", {}),
]


@pytest.mark.parametrize("back", [False, True], ids=["to torch", "from torch"])
@pytest.mark.parametrize(("rule", "options"), RULES, ids=str)
def test_a_run_goes_on_in_the_other_library(rule, options, back):
    options = {"lr": 0.02, **options}
    ours, theirs, x = perceptrons()
    mine, other = (
        getattr(optim, rule)(ours, **options),
        getattr(torch.optim, rule)(theirs.parameters(), **options),
    )
    if back:
        train_theirs(theirs, other, x)
        ours.load_state_dict(theirs.state_dict())
        mine.load_state_dict(other.state_dict())
    else:
        train_ours(ours, mine, x)
        theirs.load_state_dict(torch_state_dict(ours))
        other.load_state_dict(torch_state_dict(mine))
    train_ours(ours, mine, x)
    train_theirs(theirs, other, x)
    found, expected = outputs(ours, theirs, x)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


# ---- shared memory ----


@pytest.mark.host
def test_a_torch_tensor_becomes_an_array_on_the_same_memory():
    theirs = torch.arange(6.0).reshape(2, 3)
    ours = xpnet.asarray(theirs)
    theirs[1, 2] = 70.0
    ours[0, 0] = 30.0
    assert (ours[1, 2], theirs[0, 0]) == (70.0, 30.0)
    tensor = xpnet.tensor(theirs)  # a copy, as torch.tensor makes one: `tensor += 1` leaves `theirs` alone
    theirs[0, 1] = 5.0
    assert tensor.data[0, 1] == 1.0
    with xpnet.use_backend("torch"):
        parameter = torch.nn.Parameter(theirs)
        assert xpnet.asarray(parameter).data_ptr() == theirs.data_ptr()


@pytest.mark.host
@pytest.mark.parametrize("backend_name", ["numpy", "torch"])
def test_tensors_are_read_by_other_libraries_without_copies(backend_name):
    with xpnet.use_backend(backend_name):
        ours = xpnet.tensor(np.zeros((2, 3), np.float32))
    for read in (torch.from_dlpack, np.from_dlpack):
        theirs = read(ours)
        ours.data[1, 1] += 4.0
        assert theirs[1, 1] == ours.data[1, 1]
    theirs = torch.from_dlpack(ours)
    theirs[0, 2] = 9.0
    assert ours.data[0, 2] == 9.0
    weight = nn.Linear(2, 2).weight
    with pytest.raises(BufferError, match=r"pass x.detach\(\) or x.data"):
        torch.from_dlpack(weight)
    assert torch.from_dlpack(weight.detach()).shape == (2, 2)


@pytest.mark.host
def test_batches_are_read_by_torch_without_copies():
    from xpnet.data import DataLoader, Dataset

    for x, y in DataLoader(Dataset(FLAT, LABELS), batch_size=8):
        theirs, labels = torch.from_dlpack(x), torch.from_dlpack(y)
        x[0, 0], y[0] = 123.0, 2
        assert (theirs[0, 0], labels[0]) == (123.0, 2)


@pytest.mark.host
@pytest.mark.parametrize("backend_name", ["numpy", "torch"])
def test_jax_arrays(backend_name, monkeypatch):
    jax = pytest.importorskip("jax")
    theirs = jax.numpy.arange(4.0)  # no write is possible there: compare the addresses
    with xpnet.use_backend(backend_name), monkeypatch.context() as patched:
        if backend_name == "torch":  # on a device, the way over the host would be a copy
            patched.setattr("xpnet.core.convert.to_numpy", None)
        ours = xpnet.asarray(theirs)
    address = ours.ctypes.data if backend_name == "numpy" else ours.data_ptr()
    assert address == theirs.unsafe_buffer_pointer()
    mine = xpnet.tensor(np.arange(16, dtype=np.float32))
    read = jax.numpy.from_dlpack(mine)  # shared or copied, as JAX likes: it writes nowhere
    assert np.asarray(read).tolist() == mine.data.tolist()
