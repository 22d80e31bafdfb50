"""Mistakes are refused where they are made, in one line that says what, what was expected, and what to do."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.train import EarlyStopping, Trainer

pytestmark = pytest.mark.host


def trainer(**changes):
    model = nn.Linear(2, 2)
    parts = {"loss": F.cross_entropy, "optimizer": optim.SGD(model), **changes}
    return Trainer(model, parts.pop("loss"), parts.pop("optimizer"), **parts)


CASES = [
    (lambda: nn.Conv2d(1, 1, 3, stride=0), ValueError, "Conv2d: stride must be at least 1, got 0"),
    (lambda: nn.Conv2d(1, 1, 3, padding=-1), ValueError, "Conv2d: padding must be at least 0, got -1"),
    (lambda: nn.Conv2d(1, 1, 3, padding=(0, -1)), ValueError, "Conv2d: padding must be at least 0, got -1"),
    (lambda: nn.Conv2d(1, 1, 3, dilation=0), ValueError, "Conv2d: dilation must be at least 1, got 0"),
    (lambda: nn.Conv2d(1, 1, 0), ValueError, "Conv2d: kernel_size must be at least 1, got 0"),
    (lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "Conv2d: kernel_size must be one number or two"),
    (lambda: nn.Conv2d(1, 1, 2.5), TypeError, r"Conv2d: kernel_size must be a whole number, got 2\.5"),
    (lambda: nn.Conv2d(0, 1, 3), ValueError, "Conv2d: in_channels must be at least 1, got 0"),
    (lambda: nn.Conv2d(1, 1, 3, groups=0), ValueError, "Conv2d: groups must be at least 1, got 0"),
    (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: kernel_size must be at least 1, got 0"),
    (lambda: nn.AvgPool2d(2, stride=0), ValueError, "AvgPool2d: stride must be at least 1, got 0"),
    (lambda: nn.MaxPool2d("a"), TypeError, "MaxPool2d: kernel_size must be a whole number, got 'a'"),
    (lambda: nn.Linear(-1, 2), ValueError, "Linear: in_features must be at least 0, got -1"),
    (lambda: nn.Linear("a", 3), TypeError, "Linear: in_features must be a whole number, got 'a'"),
    (lambda: nn.Linear(2, 2.0), TypeError, r"Linear: out_features must be a whole number, got 2\.0"),
    (lambda: nn.Linear(True, 2), TypeError, "Linear: in_features must be a whole number, got True"),
    (lambda: nn.BatchNorm1d(3, eps=-1), ValueError, "BatchNorm1d: eps must be at least 0, got -1"),
    (lambda: nn.BatchNorm2d(0), ValueError, "BatchNorm2d: num_features must be at least 1, got 0"),
    (lambda: nn.LayerNorm(-3), ValueError, "LayerNorm: normalized_shape must be at least 1, got -3"),
    (lambda: nn.LayerNorm(3, eps=float("nan")), ValueError, "LayerNorm: eps must be at least 0, got nan"),
    (lambda: nn.GroupNorm(0, 4), ValueError, "GroupNorm: num_groups must be at least 1, got 0"),
    (lambda: nn.InstanceNorm2d("a"), TypeError, "InstanceNorm2d: num_features must be a whole number"),
    (lambda: xpnet.tensor(None), TypeError, "expected numbers or an array, got None"),
    (lambda: xpnet.set_backend("cuda"), ValueError, "unknown backend 'cuda'; .*did you mean 'cupy'?"),
    (lambda: xpnet.set_backend("nunpy"), ValueError, "did you mean 'numpy'?"),
    (
        lambda: trainer(loss="cross_entropy"),
        TypeError,
        r"loss must .*pass xpnet\.functional\.cross_entropy",
    ),
    (lambda: trainer(callbacks=[EarlyStopping]), TypeError, r"the class EarlyStopping; pass EarlyStopping\("),
    (
        lambda: trainer(callbacks=EarlyStopping()),
        TypeError,
        r"callbacks must be a list.*pass \[callback\]",
    ),
    (lambda: trainer(callbacks=EarlyStopping), TypeError, "callbacks must be a list"),
    (lambda: trainer(optimizer=optim.SGD(nn.Linear(2, 2))), ValueError, "parameters of another model"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_said_at_once_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_numpy_s_numbers_are_sizes():
    two = np.int64(2)
    assert nn.Linear(two, two).weight.shape == (2, 2)
    assert nn.Conv2d(two, two, two, stride=two, padding=np.int32(1)).kernel_size == (2, 2)
    assert type(nn.MaxPool2d(two).kernel_size) is int
    assert nn.BatchNorm1d(two).num_features == 2
    assert nn.LayerNorm((two, 3)).normalized_shape == (2, 3)
