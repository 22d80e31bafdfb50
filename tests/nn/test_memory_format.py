"""`model.to(memory_format="channels_last")`: the same model and numbers, whatever the order in memory."""

import numpy as np
import pytest

import xpnet
from xpnet import nn


def network():
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    body = nn.Sequential(*block.layers, nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Residual(body), nn.ReLU(), nn.SiLU()
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Conv2d(4, 5, 1), nn.GlobalAvgPool2d(), nn.Linear(5, 2))


def formats(model):
    return {m.memory_format for m in model.modules() if isinstance(m, nn.Conv2d)}


def test_it_is_a_property_of_the_model():
    model = network()
    names = list(model.state_dict())
    assert formats(model) == {"contiguous_format"}
    assert model.to(memory_format="channels_last") is model
    assert formats(model) == {"channels_last"}
    assert list(model.state_dict()) == names
    assert formats(model.eval()) == {"channels_last"}
    model.to(memory_format="contiguous_format")
    assert formats(model) == {"contiguous_format"}


def test_pytorch_s_names_are_understood():
    torch = pytest.importorskip("torch")
    model = network().to(memory_format=torch.channels_last)
    assert formats(model) == {"channels_last"}
    assert formats(model.to(memory_format=torch.contiguous_format)) == {"contiguous_format"}


def test_other_formats_are_refused():
    model = network()
    with pytest.raises(ValueError, match="one of contiguous_format, channels_last, got 'NHWC'"):
        model.to(memory_format="NHWC")
    assert formats(model) == {"contiguous_format"}


def step(model, x):
    """Output, gradients and statistics."""
    model.zero_grad()
    x = xpnet.tensor(x, requires_grad=True)
    y = model(x)
    (y * y).sum().backward()
    found = [y.data, x.grad, *(p.grad for p in model.parameters()), *model.state_dict().values()]
    return [np.asarray(xpnet.to_numpy(a)) for a in found]


def test_the_same_results(backend):
    model, other = network().to(backend), network().to(backend)
    other.load_state_dict(model.state_dict())
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((3, 3, 10, 9)), "float32", backend=backend)
    for _ in range(2):
        want, found = step(model, x), step(other.to(memory_format="channels_last"), x)
        for a, b in zip(found, want, strict=True):
            np.testing.assert_array_equal(a, b)  # without cuDNN nothing changes
