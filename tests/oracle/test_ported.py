"""Words of PyTorch's scripts that change little or nothing: they are taken, or one line says more."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402

f = torch.nn.functional
RNG = np.random.default_rng(11)
TABLE, ROWS, DY = RNG.normal(size=(7, 3)), RNG.integers(0, 7, (4, 5)), RNG.normal(size=(4, 3))


def close(a, b):
    np.testing.assert_allclose(xpnet.to_numpy(a), b.detach().numpy(), rtol=1e-10, atol=1e-12)


# ---- tables ----


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_from_pretrained(name, freeze):
    mine = getattr(nn, name).from_pretrained(xpnet.asarray(TABLE), freeze, padding_idx=2, max_norm=1.0)
    theirs = getattr(torch.nn, name).from_pretrained(torch.tensor(TABLE), freeze, padding_idx=2, max_norm=1.0)
    close(mine.weight, theirs.weight)  # the row of the padding is what it was
    y, z = mine(xpnet.asarray(ROWS)), theirs(torch.tensor(ROWS))
    close(y, z)
    close(mine.weight, theirs.weight)
    assert mine.weight.requires_grad == theirs.weight.requires_grad == (not freeze)
    if not freeze:
        (y * y).sum().backward()
        (z * z).sum().backward()
        close(mine.weight.grad, theirs.weight.grad)
    assert mine.state_dict().keys() == theirs.state_dict().keys()


def test_from_pretrained_copies():
    table = TABLE.copy()
    nn.Embedding.from_pretrained(table, freeze=False).weight.data[...] = 0.0
    np.testing.assert_array_equal(table, TABLE)
    assert nn.Embedding.from_pretrained([[1, 2], [3, 4]]).weight.numpy().dtype == np.float32
    with pytest.raises(ValueError, match=r"expected embeddings of shape \(n, d\), got \(7,\)"):
        nn.Embedding.from_pretrained(TABLE[:, 0])


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_by_frequency(mode):
    """As PyTorch documents it, and its Embedding does; its bags divide by the counts of other rows."""
    w = xpnet.tensor(TABLE, requires_grad=True)
    t = torch.tensor(TABLE, requires_grad=True)
    y = F.embedding_bag(ROWS, w, mode=mode, scale_grad_by_freq=True)
    z = getattr(f.embedding(torch.tensor(ROWS), t, scale_grad_by_freq=True), mode)(1)
    close(y, z)
    y.backward(xpnet.asarray(DY))
    z.backward(torch.tensor(DY))
    close(w.grad, t.grad)


def test_a_captured_step_shortens_rows_each_time():
    layer = nn.Embedding(7, 3, max_norm=0.5)
    step = xpnet.capture(lambda x: layer(x).sum())
    for k in range(6):
        layer.weight.data[...] = xpnet.asarray(TABLE * (k + 1), "float32")
        x = xpnet.asarray((ROWS + k) % 7)
        expected = f.embedding(torch.tensor((ROWS + k) % 7), torch.tensor(TABLE * (k + 1)), max_norm=0.5)
        assert float(step(x)) == pytest.approx(float(expected.sum()), rel=1e-5)


# ---- optimizers ----


def test_parameters_with_names():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    mine = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    theirs = torch.optim.Adam(model.named_parameters(), lr=0.1)
    ours = optim.Adam(mine.named_parameters(), lr=0.1)
    names = theirs.param_groups[0]["param_names"]
    assert ours.param_groups[0]["param_names"] == ours.state_dict()["param_groups"][0]["param_names"] == names
    ours.load_state_dict(theirs.state_dict())
    ours.load_state_dict(ours.state_dict())
    assert "param_names" not in str(ours.settings())
    assert "param_names" not in ours._repr_html_()
    groups = [{"params": mine[0].named_parameters(), "lr": 1.0}, {"params": mine[1].named_parameters()}]
    assert [g["param_names"] for g in optim.SGD(groups, lr=0.1).param_groups] == [["weight", "bias"]] * 2
    with pytest.raises(ValueError, match="some have names and others not"):
        optim.Adam([("weight", mine[0].weight), mine[0].bias])


@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("amsgrad", [True, False])
def test_decoupled_weight_decay(decoupled, amsgrad):
    options = {"lr": 0.1, "weight_decay": 0.3, "amsgrad": amsgrad, "decoupled_weight_decay": decoupled}
    x, t = xpnet.tensor(TABLE, requires_grad=True), torch.tensor(TABLE, requires_grad=True)
    ours, theirs = optim.Adam([x], **options), torch.optim.Adam([t], **options)
    for k in range(4):
        x.grad, t.grad = xpnet.asarray(TABLE * k - 1), torch.tensor(TABLE * k - 1)
        ours.step()
        theirs.step()
        close(x, t)
    assert optim.AdamW([x]).param_groups[0]["decoupled_weight_decay"] is True


# ---- what is said in another way ----


def test_no_device_is_taken():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers = [
            nn.Linear(3, 4, device=None),
            nn.LSTM(3, 4, device=None, dtype="float64"),
            nn.Conv2d(1, 2, 3, device=None),
            nn.Embedding.from_pretrained(TABLE),
        ]
    assert {p.numpy().dtype.name for p in layers[1].parameters()} == {"float64"}
    with pytest.warns(UserWarning, match="drops between layers") as seen:
        nn.LSTM(3, 4, dropout=0.5)
    assert seen[0].filename == __file__


OPTIMIZER = optim.SGD([xpnet.tensor([1.0], requires_grad=True)], lr=0.1)
REFUSED = {
    "device": (
        lambda: nn.Linear(3, 4, device="cuda"),
        TypeError,
        r"Linear: device='cuda' is not there: xpnet\.set_backend",
    ),
    "word": (lambda: nn.ReLU(device="cuda"), TypeError, "unexpected keyword argument 'device'"),
    "sparse layer": (lambda: nn.Embedding(3, 4, sparse=True), ValueError, "Embedding: sparse=True"),
    "sparse bag": (lambda: nn.EmbeddingBag(3, 4, sparse=True), ValueError, "EmbeddingBag: sparse=True"),
    "sparse": (lambda: F.embedding(ROWS, TABLE, sparse=True), ValueError, "embedding: sparse=True"),
    "max by frequency": (
        lambda: F.embedding_bag(ROWS, TABLE, mode="max", scale_grad_by_freq=True),
        ValueError,
        "scale_grad_by_freq goes with",
    ),
    "padding mode": (
        lambda: nn.ConvTranspose2d(1, 2, 3, padding_mode="reflect"),
        ValueError,
        'ConvTranspose2d: padding_mode must be "zeros", got',
    ),
    "last epoch": (
        lambda: optim.StepLR(OPTIMIZER, 2, last_epoch=3),
        ValueError,
        r"StepLR: last_epoch=3 is not there: .*load_state_dict\(state\)",
    ),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message) as found:
        call()
    assert "\n" not in str(found.value)


@pytest.mark.host
def test_schedules_from_the_start():
    for make in (
        lambda: optim.StepLR(OPTIMIZER, 2, 0.5, -1),
        lambda: optim.CosineAnnealingWarmRestarts(OPTIMIZER, 2, last_epoch=-1),
        lambda: optim.LambdaLR(OPTIMIZER, lambda t: 1.0, -1),
    ):
        assert make().last_epoch == 0
