"""Mistakes are refused where they are made, in one line that says what, what was expected, and what to do."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.train import EarlyStopping, Trainer, learning_rate_check, overfit

pytestmark = pytest.mark.host


def trainer(**changes):
    model = nn.Linear(2, 2)
    parts = {"loss": F.cross_entropy, "optimizer": optim.SGD(model), **changes}
    return Trainer(model, parts.pop("loss"), parts.pop("optimizer"), **parts)


def sgd():
    return optim.SGD(nn.Linear(1, 1))


DATA = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
TENSOR = xpnet.tensor([[1.0, 2.0]])
IMAGE = np.zeros((1, 1, 4, 4), np.float32)

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
    (
        lambda: nn.MaxPool2d(2, padding=2),
        ValueError,
        "MaxPool2d: padding 2 must be at most half",
    ),
    (
        lambda: nn.AvgPool2d(2, padding=(0, 3)),
        ValueError,
        r"AvgPool2d: padding .* must be at most half",
    ),
    (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "divisor_override must be at least 1, got 0"),
    (lambda: nn.Linear(1, 1).to("float12"), TypeError, "no dtype 'float12'; one of"),
    (lambda: F.instance_norm(np.ones((1, 1, 4), int)), TypeError, "instance_norm: x is int64"),
    (
        lambda: learning_rate_check(nn.Linear(2, 2), F.cross_entropy, DATA, sgd(), steps=0),
        ValueError,
        "learning_rate_check: steps must be at least 1, got 0",
    ),
    (
        lambda: overfit(nn.Linear(2, 2), F.cross_entropy, *DATA, rates=()),
        ValueError,
        r"overfit: needs steps and rates, got steps=\d+, rates=\(\)",
    ),
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
    (lambda: trainer(callbacks=None), TypeError, "callbacks must be a list"),
    (lambda: trainer(callbacks=["a"]), TypeError, "callbacks must be Callbacks, got 'a'"),
    (lambda: trainer(loss="crossentropy"), TypeError, r"pass xpnet\.functional\.cross_entropy"),
    (lambda: trainer(loss=nn.Linear), TypeError, r"loss is the class Linear; pass Linear\("),
    (lambda: trainer(optimizer="adam"), TypeError, "expected an optimizer, .*got 'adam'"),
    (lambda: trainer(optimizer=optim.Adam), TypeError, "expected an optimizer"),
    (lambda: trainer(optimizer=3), TypeError, "expected an optimizer, .*got 3"),
    (lambda: trainer(optimizer=None).fit(DATA), TypeError, "the optimizer is None; pass one"),
    (lambda: trainer(accumulate=1.5), TypeError, r"Trainer: accumulate must be a whole number, got 1\.5"),
    (lambda: trainer(l2="a"), TypeError, "Trainer: l2 must be a number, got 'a'"),
    (lambda: trainer(metrics=["acuracy"]), TypeError, r"pass xpnet\.train\.accuracy"),
    (lambda: trainer().fit(DATA, epochs=1.5), TypeError, r"epochs must be a whole number, got 1\.5"),
    (lambda: trainer().fit(DATA, epochs="3"), TypeError, "epochs must be a whole number, got '3'"),
    (lambda: trainer().fit(None), TypeError, "expected a data set or batches, got None"),
    (lambda: Trainer(nn.Linear, F.mse_loss, None), TypeError, r"model is the class Linear; pass Linear\("),
    (lambda: DataLoader(Dataset(*DATA), "a"), TypeError, "batch_size must be a whole number, got 'a'"),
    (lambda: DataLoader(Dataset(*DATA), 2.5), TypeError, r"batch_size must be a whole number, got 2\.5"),
    (lambda: optim.Adam(None), TypeError, "params: expected a Module or .*got None"),
    (lambda: optim.Adam(nn.Linear), TypeError, "params: expected a Module or .*got <class"),
    (lambda: optim.StepLR(nn.Linear(1, 1), 3), TypeError, "StepLR: expected an optimizer, got Linear"),
    (lambda: optim.StepLR(sgd(), 3, "a"), TypeError, "StepLR: gamma must be a number, got 'a'"),
    (lambda: optim.StepLR(sgd(), 1.5), TypeError, r"StepLR: step_size must be a whole number, got 1\.5"),
    (lambda: optim.ExponentialLR(sgd(), None), TypeError, "ExponentialLR: gamma must be a number"),
    (
        lambda: optim.CosineAnnealingWarmRestarts(sgd(), 0),
        ValueError,
        "CosineAnnealingWarmRestarts: T_0 must be at least 1, got 0",
    ),
    (lambda: optim.clip_grad_norm(nn.Linear(1, 1), "a"), TypeError, "max_norm must be a number, got 'a'"),
    (lambda: nn.BatchNorm1d(3, momentum="a"), TypeError, "BatchNorm1d: momentum must be a number, got 'a'"),
    (lambda: nn.Dropout("a"), TypeError, "Dropout: p must be a number, got 'a'"),
    (lambda: nn.ELU("a"), TypeError, "ELU: alpha must be a number, got 'a'"),
    (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope must be a number, got 'a'"),
    (lambda: nn.Softmax(1.5), TypeError, r"Softmax: dim must be a whole number, got 1\.5"),
    (lambda: nn.Flatten("a"), TypeError, "Flatten: start_dim must be a whole number, got 'a'"),
    (lambda: nn.Residual(3), TypeError, "Residual: body is int, expected a Module"),
    (lambda: nn.Maxout(2, 2, 0), ValueError, "Maxout: pieces must be at least 1, got 0"),
    (lambda: nn.Linear(2, 2, weight_init="he"), TypeError, "Linear: weight_init must be a function"),
    (lambda: nn.Linear(2, 2, dtype="flot32"), TypeError, "no dtype 'flot32'; did you mean 'float32'"),
    (lambda: nn.Linear(2, 2, dtype="int32"), TypeError, "only floating-point numbers have a gradient"),
    (lambda: nn.Parameter(np.arange(3)), TypeError, "Parameter: only floating-point .*got int64"),
    (lambda: xpnet.tensor([1, 2], True), TypeError, "only floating-point numbers have a gradient, got int64"),
    (lambda: xpnet.tensor([1j], True), TypeError, "only floating-point numbers .*got complex128"),
    (lambda: xpnet.tensor([1]).requires_grad_(), TypeError, "only floating-point numbers have a gradient"),
    (lambda: F.softmax(inputs=TENSOR), TypeError, "missing a required argument: 'x'"),
    (lambda: F.linear(weight=TENSOR), TypeError, "missing a required argument: 'x'"),
    (lambda: F.relu(TENSOR, y=TENSOR), TypeError, "unexpected keyword argument 'y'"),
    (lambda: F.max_pool2d(IMAGE, 2.0), ValueError, r"kernel_size must be an integer .*got 2\.0"),
    (lambda: F.avg_pool2d(IMAGE, 2, 1.5), ValueError, r"stride must be an integer .*got 1\.5"),
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
    assert F.avg_pool2d(IMAGE, two, two, np.int64(1)).shape == (1, 1, 3, 3)
    assert F.max_pool2d(IMAGE, two, two, np.int64(1), np.int64(1)).shape == (1, 1, 3, 3)
    assert F.conv2d(IMAGE, IMAGE, None, two, (np.int64(1), 1), np.int64(1), np.int64(1)).shape[2:] == (2, 2)
    assert nn.LayerNorm((two, 3)).normalized_shape == (2, 3)
