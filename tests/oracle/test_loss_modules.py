"""Loss modules are PyTorch's: arguments, values, gradients, weights in the state."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import nn, optim  # noqa: E402
from xpnet.train import Trainer  # noqa: E402

RNG = np.random.default_rng(2)
X, Y, Z = (RNG.normal(size=(6, 4)) for _ in range(3))
P, T = 1 / (1 + np.exp(-X)), RNG.uniform(size=(6, 4))
SIGNS, SIGN = np.where(Y > 0, 1.0, -1.0), np.where(Y[:, 0] > 0, 1.0, -1.0)
LABELS = np.array([0, 3, 1, -100, 2, 2])
W = np.array([0.5, 2.0, 1.0, 3.0])
LOSSES = {
    "L1Loss": ({}, [X, Y]),
    "MSELoss": ({}, [X, Y]),
    "SmoothL1Loss": ({"beta": 0.4}, [X, Y]),
    "HuberLoss": ({"delta": 0.4}, [X, Y]),
    "KLDivLoss": ({"log_target": True, "reduction": "batchmean"}, [X, Y]),
    "BCELoss": ({"weight": W}, [P, T]),
    "BCEWithLogitsLoss": ({"weight": W, "pos_weight": W[::-1].copy()}, [X, T]),
    "CrossEntropyLoss": ({"weight": W, "label_smoothing": 0.1}, [X, LABELS]),
    "NLLLoss": ({"weight": W, "reduction": "sum"}, [X, LABELS]),
    "MultiMarginLoss": ({"p": 2, "margin": 0.7, "weight": W}, [X, np.maximum(LABELS, 0)]),
    "MultiLabelSoftMarginLoss": ({"weight": W}, [X, T.round()]),
    "SoftMarginLoss": ({"reduction": "none"}, [X, SIGNS]),
    "HingeEmbeddingLoss": ({"margin": 0.4}, [X, SIGNS]),
    "MarginRankingLoss": ({"margin": 0.4}, [X, Y, SIGNS]),
    "CosineEmbeddingLoss": ({"margin": 0.1}, [X, Y, SIGN]),
    "TripletMarginLoss": ({"margin": 0.5, "p": 3.0, "swap": True}, [X, Y, Z]),
    "PoissonNLLLoss": ({"full": True}, [X, np.arange(24.0).reshape(6, 4) % 5]),
    "GaussianNLLLoss": ({"full": True}, [X, Y, np.exp(Z)]),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def of(value, library):
    if not isinstance(value, np.ndarray):
        return value
    if library is torch:
        return torch.tensor(value)
    return xpnet.asarray(value)


@each_loss
def test_values_and_gradients(name):
    options, inputs = LOSSES[name]
    ours = getattr(nn, name)(**{k: of(v, xpnet) for k, v in options.items()})
    theirs = getattr(torch.nn, name)(**{k: of(v, torch) for k, v in options.items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    a = xpnet.tensor(inputs[0], requires_grad=True)
    b = torch.tensor(inputs[0], requires_grad=True)
    y, z = ours(a, *(of(v, xpnet) for v in inputs[1:])), theirs(b, *(of(v, torch) for v in inputs[1:]))
    np.testing.assert_allclose(xpnet.to_numpy(y), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(a.grad), b.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_the_table_has_every_loss():
    own = {name for name in nn.__all__ if name.endswith("Loss")}
    assert own - set(LOSSES) == {"FocalLoss", "CTCLoss"}


@each_loss
def test_another_reduction_is_refused(name):
    with pytest.raises(
        ValueError, match=f"{name}: reduction must be one of 'mean', 'sum', 'none'.* got 'men'"
    ):
        getattr(nn, name)(reduction="men")


def test_a_trainer_takes_one_and_weighs_as_the_function():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, 20)
    found = []
    for loss in (nn.CrossEntropyLoss(xpnet.asarray(np.float32([1, 2, 3]))), None):
        xpnet.manual_seed(0)
        model = nn.Linear(4, 3)
        if loss is None:
            weight = xpnet.asarray(np.float32([1, 2, 3]))
            loss = lambda z, y, w=weight: xpnet.functional.cross_entropy(z, y, w)
        found.append(Trainer(model, loss, optim.SGD(model, lr=0.1)).fit(data, data, epochs=2)["val_loss"])
    assert found[0] == found[1]
