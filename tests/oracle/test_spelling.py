"""PyTorch's spelling: what options give, forward and backward."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn, optim  # noqa: E402

f = torch.nn.functional
RNG = np.random.default_rng(3)


def data(*shape):
    return RNG.normal(size=shape) * 2


IMAGES, ODD = data(2, 4, 7, 6), data(2, 4, 8, 9)
LOGITS, TARGETS = data(5, 4), RNG.uniform(size=(5, 4))
LABELS = np.array([0, 3, 1, 2, 3])
MAPS = np.array([[0, 3, 1], [2, -100, 1]])
W4 = np.array([0.5, 2.0, 1.0, 3.0])

# ours, PyTorch's, inputs that have a gradient; constants are turned into the same kind by `c`
FUNCTIONS = {
    "softmax dim": (lambda c, x: F.softmax(x, dim=0), lambda c, x: f.softmax(x, dim=0), [LOGITS]),
    "log_softmax dim": (lambda c, x: F.log_softmax(x, dim=0), lambda c, x: f.log_softmax(x, 0), [LOGITS]),
    "gelu tanh": (
        lambda c, x: F.gelu(x, approximate="tanh"),
        lambda c, x: f.gelu(x, approximate="tanh"),
        [LOGITS],
    ),
    "softplus beta": (lambda c, x: F.softplus(x, 3.0), lambda c, x: f.softplus(x, 3.0), [LOGITS]),
    "softplus threshold": (
        lambda c, x: F.softplus(x, beta=2, threshold=1.0),
        lambda c, x: f.softplus(x, beta=2, threshold=1.0),
        [LOGITS],
    ),
    "softplus, large": (lambda c, x: F.softplus(x), lambda c, x: f.softplus(x), [LOGITS * 20]),
    "hardtanh range": (
        lambda c, x: F.hardtanh(x, -0.5, 2.0),
        lambda c, x: f.hardtanh(x, -0.5, 2.0),
        [LOGITS],
    ),
    "relu inplace": (
        lambda c, x: F.relu(x * 1.0, inplace=True),
        lambda c, x: f.relu(x * 1.0, inplace=True),
        [LOGITS],
    ),
    "elu inplace": (lambda c, x: F.elu(x * 1.0, 0.5, True), lambda c, x: f.elu(x * 1.0, 0.5, True), [LOGITS]),
    "leaky inplace": (
        lambda c, x: F.leaky_relu(x * 1.0, 0.2, True),
        lambda c, x: f.leaky_relu(x * 1.0, 0.2, True),
        [LOGITS],
    ),
    "flatten": (lambda c, x: F.flatten(x, 1, 2), lambda c, x: torch.flatten(x, 1, 2), [IMAGES]),
    "flatten negative": (lambda c, x: F.flatten(x, -3, -2), lambda c, x: torch.flatten(x, -3, -2), [IMAGES]),
    "sum of a list": (lambda c, x: x.sum([0, 1]), lambda c, x: x.sum([0, 1]), [LOGITS]),
    "mean of a list": (lambda c, x: x.mean(dim=[0, -1]), lambda c, x: x.mean(dim=[0, -1]), [LOGITS]),
    "squeeze of all": (lambda c, x: x[:1].squeeze(), lambda c, x: x[:1].squeeze(), [LOGITS]),
    "argmax keepdim": (
        lambda c, x: x * x.argmax(dim=1, keepdim=True),
        lambda c, x: x * x.argmax(dim=1, keepdim=True),
        [LOGITS],
    ),
    "sum dim": (lambda c, x: x.sum(dim=1, keepdim=True), lambda c, x: x.sum(dim=1, keepdim=True), [LOGITS]),
    "mean dims": (lambda c, x: x.mean(dim=(0, 2)), lambda c, x: x.mean(dim=(0, 2)), [IMAGES]),
    "max dim": (lambda c, x: x.max(dim=1).values, lambda c, x: x.max(dim=1).values, [LOGITS]),
    "min dim": (
        lambda c, x: x.min(dim=0, keepdim=True)[0],
        lambda c, x: x.min(dim=0, keepdim=True)[0],
        [LOGITS],
    ),
    "max of equals": (lambda c, x: (x * 0).max(dim=1)[0], lambda c, x: (x * 0).max(dim=1)[0], [LOGITS]),
    "transpose": (lambda c, x: x.transpose(0, 2), lambda c, x: x.transpose(0, 2), [IMAGES]),
    "transpose, two axes": (lambda c, x: x.transpose(0, 1), lambda c, x: x.transpose(0, 1), [LOGITS]),
    "permute": (lambda c, x: x.permute(3, 0, 1, 2), lambda c, x: x.permute(3, 0, 1, 2), [IMAGES]),
    "view": (lambda c, x: x.view(-1, 10), lambda c, x: x.view(-1, 10), [LOGITS]),
    "unsqueeze": (lambda c, x: x.unsqueeze(-2), lambda c, x: x.unsqueeze(-2), [LOGITS]),
    "squeeze": (
        lambda c, x: x.unsqueeze(1).squeeze(1).squeeze(0),
        lambda c, x: x.unsqueeze(1).squeeze(1).squeeze(0),
        [LOGITS],
    ),
    "sum dtype": (
        lambda c, x: (x.sum(dim=1, dtype="float64") + x.mean(dtype="float64")).sum(dtype=x.dtype),
        lambda c, x: (x.sum(dim=1, dtype=torch.float64) + x.mean(dtype=torch.float64)).sum(dtype=x.dtype),
        [LOGITS],
    ),
    "softmax dtype": (
        lambda c, x: (F.softmax(x, 1, dtype="float64") * F.log_softmax(x, dtype="float64")).sum(
            dtype=x.dtype
        ),
        lambda c, x: (f.softmax(x, 1, dtype=torch.float64) * f.log_softmax(x, -1, dtype=torch.float64)).sum(
            dtype=x.dtype
        ),
        [LOGITS],
    ),
    "alpha": (lambda c, x, y: x.add(y, alpha=3).sub(y * x, alpha=0.5).mul(y),) * 2 + ([LOGITS, TARGETS],),
    **{
        f"div {mode}": (
            lambda c, x, y, m=mode: x * x.div(y, rounding_mode=m) + (x / 7).div(2, rounding_mode=m),
        )
        * 2
        + ([LOGITS, TARGETS - 0.5],)
        for mode in (None, "trunc", "floor")
    },
    "max_pool2d indices": (
        lambda c, x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        lambda c, x: f.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        [ODD],
    ),
    "instance_norm by running statistics": (
        lambda c, x, w: F.instance_norm(x, c(W4), c(W4 + 1), w, None, False),
        lambda c, x, w: f.instance_norm(x, c(W4), c(W4 + 1), w, None, False),
        [ODD, W4],
    ),
    "Tensor.flatten": (lambda c, x: x.flatten(), lambda c, x: x.flatten(), [LOGITS]),
    "clone": (lambda c, x: x.clone() * 2, lambda c, x: x.clone() * 2, [LOGITS]),
    "bce weight": (
        lambda c, z: F.binary_cross_entropy_with_logits(z, c(TARGETS), c(W4)),
        lambda c, z: f.binary_cross_entropy_with_logits(z, c(TARGETS), c(W4)),
        [LOGITS],
    ),
    "bce pos_weight": (
        lambda c, z: F.binary_cross_entropy_with_logits(z, c(TARGETS), pos_weight=c(W4), reduction="sum"),
        lambda c, z: f.binary_cross_entropy_with_logits(z, c(TARGETS), pos_weight=c(W4), reduction="sum"),
        [LOGITS],
    ),
    "bce everything": (
        lambda c, z, t: F.binary_cross_entropy_with_logits(
            z, t, c(TARGETS + 1), pos_weight=c(W4), reduction="none"
        ),
        lambda c, z, t: f.binary_cross_entropy_with_logits(
            z, t, c(TARGETS + 1), pos_weight=c(W4), reduction="none"
        ),
        [LOGITS * 30, TARGETS],
    ),
    "margin p": (
        lambda c, x: F.multi_margin_loss(x, LABELS, 2),
        lambda c, x: f.multi_margin_loss(x, torch.tensor(LABELS), 2),
        [LOGITS],
    ),
    "margin everything": (
        lambda c, x: F.multi_margin_loss(x, LABELS, 2, 0.7, c(W4), reduction="none"),
        lambda c, x: f.multi_margin_loss(x, torch.tensor(LABELS), 2, 0.7, c(W4), reduction="none"),
        [LOGITS],
    ),
    "margin weight": (
        lambda c, x: F.multi_margin_loss(x, LABELS, weight=c(W4)),
        lambda c, x: f.multi_margin_loss(x, torch.tensor(LABELS), weight=c(W4)),
        [LOGITS],
    ),
    **{
        f"nll of positions, {reduction}": (
            lambda c, x, r=reduction: F.nll_loss(x, MAPS, c(W4), reduction=r),
            lambda c, x, r=reduction: f.nll_loss(x, torch.tensor(MAPS), c(W4), reduction=r),
            [data(2, 4, 3)],
        )
        for reduction in ("mean", "sum", "none")
    },
    **{
        f"conv2d {padding}, {k}, {dilation}": (
            lambda c, x, w, b, p=padding, d=dilation: F.conv2d(x, w, b, padding=p, dilation=d, groups=2),
            lambda c, x, w, b, p=padding, d=dilation: f.conv2d(x, w, b, padding=p, dilation=d, groups=2),
            [IMAGES, data(6, 2, *k), data(6)],
        )
        for padding in ("same", "valid")
        for k in ((3, 3), (2, 4))
        for dilation in (1, (2, 1))
    },
    "conv2d of an image": (
        lambda c, x, w, b: F.conv2d(x, w, b, 2, 1),
        lambda c, x, w, b: f.conv2d(x, w, b, 2, 1),
        [IMAGES[0], data(6, 4, 3, 3), data(6)],
    ),
    **{
        f"max_pool2d {options} of {x.shape}": (
            lambda c, x, o=options: F.max_pool2d(x, **o),
            lambda c, x, o=options: f.max_pool2d(x, **o),
            [x],
        )
        for x in (IMAGES, ODD, ODD[1])
        for options in (
            {"kernel_size": 2},
            {"kernel_size": 2, "dilation": 2},
            {"kernel_size": (3, 2), "stride": 2, "padding": 1, "dilation": (1, 3)},
            {"kernel_size": 2, "ceil_mode": True},
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel_size": (2, 3), "stride": (3, 4), "padding": (1, 0), "dilation": 2, "ceil_mode": True},
            {"kernel_size": 1, "stride": 3, "ceil_mode": True},
        )
    },
    **{
        f"avg_pool2d {options} of {x.shape}": (
            lambda c, x, o=options: F.avg_pool2d(x, **o),
            lambda c, x, o=options: f.avg_pool2d(x, **o),
            [x],
        )
        for x in (IMAGES, ODD, ODD[1])
        for options in (
            {"kernel_size": 2, "ceil_mode": True},
            {"kernel_size": 3, "stride": 2, "padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
            {"kernel_size": (2, 3), "stride": (3, 4), "padding": (1, 0), "ceil_mode": True},
            {"kernel_size": 3, "padding": 1, "divisor_override": 5},
        )
    },
}
SOFT = [RNG.normal(size=(4, 3)), RNG.dirichlet(np.ones(3), 4)]
SOFT_IMAGES = [RNG.normal(size=(2, 3, 2, 2)), RNG.dirichlet(np.ones(3), (2, 2, 2)).transpose(0, 3, 1, 2)]
FUNCTIONS |= {  # with the gradient by the target, of Mixup or of a teacher
    f"cross_entropy with probabilities, {options} of {inputs[0].shape}": (
        lambda c, z, t, o=options: F.cross_entropy(
            z, t, **{k: c(v) if k == "weight" else v for k, v in o.items()}
        ),
        lambda c, z, t, o=options: f.cross_entropy(
            z, t, **{k: c(v) if k == "weight" else v for k, v in o.items()}
        ),
        inputs,
    )
    for inputs in (SOFT, SOFT_IMAGES, [SOFT[0][0], SOFT[1][0]])
    for options in (
        {},
        {"reduction": "sum", "label_smoothing": 0.2},
        {"reduction": "none", "weight": [1, 2, 3]},
    )
}
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def compare(ours, theirs, dtype, name):
    a, b = xpnet.to_numpy(ours), theirs.detach().numpy()
    assert a.shape == b.shape, name
    assert str(a.dtype) == dtype, name
    np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)


def both(ours, theirs, inputs, dtype):
    """Values and gradients of a function of ours and of theirs."""
    x = [xpnet.tensor(a, requires_grad=True, dtype=dtype) for a in inputs]
    t = [torch.tensor(a, requires_grad=True, dtype=getattr(torch, dtype)) for a in inputs]
    y, z = ours(*x), theirs(*t)
    compare(y, z, dtype, "value")
    dy = np.cos(np.arange(z.numel())).reshape(tuple(z.shape))
    y.backward(xpnet.asarray(dy, dtype))
    z.backward(torch.tensor(dy, dtype=z.dtype))
    for i, (a, b) in enumerate(zip(x, t, strict=True)):
        compare(a.grad, b.grad, dtype, f"gradient {i}")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("ours", "theirs", "inputs"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_options_of_functions(ours, theirs, inputs, dtype):
    both(
        lambda *x: ours(lambda a: xpnet.asarray(a, dtype), *x),
        lambda *x: theirs(lambda a: torch.tensor(a, dtype=getattr(torch, dtype)), *x),
        inputs,
        dtype,
    )


LAYERS = {
    "Softmax(dim=)": (lambda n, **d: n.Softmax(dim=1), ODD),
    "Softmax(0)": (lambda n, **d: n.Softmax(0), LOGITS),
    "Flatten(1, -1)": (lambda n, **d: n.Flatten(1, -1), ODD),
    "Flatten(2, 3)": (lambda n, **d: n.Flatten(2, 3), ODD),
    "ReLU": (lambda n, **d: n.Sequential(n.ReLU(inplace=False), n.Linear(4, 4, **d), n.ReLU(True)), LOGITS),
    "LeakyReLU": (lambda n, **d: n.Sequential(n.Linear(4, 4, **d), n.LeakyReLU(0.3, inplace=True)), LOGITS),
    "ELU": (lambda n, **d: n.Sequential(n.Linear(4, 4, **d), n.ELU(0.5, True)), LOGITS),
    "Hardtanh": (lambda n, **d: n.Hardtanh(-0.5, 1.5), LOGITS),
    "Softplus": (lambda n, **d: n.Softplus(2, 3), LOGITS),
    "GELU": (lambda n, **d: n.GELU(approximate="tanh"), LOGITS),
    "Dropout": (lambda n, **d: n.Dropout(0.0, inplace=False), LOGITS),
    "Conv2d same": (lambda n, **d: n.Conv2d(4, 3, (2, 3), padding="same", dilation=2, **d), ODD),
    "Conv2d of an image": (lambda n, **d: n.Conv2d(4, 3, 3, stride=2, **d), ODD[0]),
    "MaxPool2d": (lambda n, **d: n.MaxPool2d(2, 2, 1, 2, ceil_mode=True), ODD),
    "AvgPool2d": (lambda n, **d: n.AvgPool2d(3, 2, 1, True, False), ODD),
    "AvgPool2d of an image": (lambda n, **d: n.AvgPool2d(3, divisor_override=4), ODD[0]),
    "BatchNorm1d average": (lambda n, **d: n.BatchNorm1d(4, momentum=None, **d), LOGITS),
    "BatchNorm2d average": (lambda n, **d: n.BatchNorm2d(4, 1e-3, None, **d), ODD),
    "BatchNorm1d bias": (lambda n, **d: n.BatchNorm1d(4, bias=False, **d), LOGITS),
    "LayerNorm bias": (lambda n, **d: n.LayerNorm(4, bias=False, **d), LOGITS),
    "LayerNorm positions": (lambda n, **d: n.LayerNorm((8, 9), 1e-3, True, False, **d), ODD),
    "GroupNorm bias": (lambda n, **d: n.GroupNorm(2, 4, bias=False, **d), ODD),
    "InstanceNorm2d bias": (lambda n, **d: n.InstanceNorm2d(4, affine=True, bias=False, **d), ODD),
    "InstanceNorm2d tracked": (lambda n, **d: n.InstanceNorm2d(4, 1e-3, 0.2, True, True, **d), ODD),
    "InstanceNorm2d of an image": (lambda n, **d: n.InstanceNorm2d(4, affine=True, **d), ODD[0]),
    "named": (lambda n, **d: n.Sequential({"a": n.Linear(4, 3, **d), "b": n.Tanh()}), LOGITS),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "x"), LAYERS.values(), ids=LAYERS)
def test_options_of_layers(make, x, training, dtype):
    class Theirs:
        def __getattr__(self, name):
            if name == "Sequential":  # takes an OrderedDict only
                from collections import OrderedDict

                return lambda *a: torch.nn.Sequential(
                    *(OrderedDict(i) if isinstance(i, dict) else i for i in a)
                )
            return getattr(torch.nn, name)

    ours, theirs = make(nn, dtype=dtype), make(Theirs(), dtype=getattr(torch, dtype))
    state = theirs.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.copy_(torch.tensor(RNG.uniform(0.5, 1.5, size=tuple(value.shape))))
    ours.load_state_dict({k: v.numpy() for k, v in state.items()})
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    for step in range(3):
        ours.train(training or step == 2)
        theirs.train(training or step == 2)
        both(ours, theirs, [x * (step + 1)], dtype)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        compare(p.grad, q.grad, dtype, "gradient of a parameter")
    mine = ours.state_dict()
    for name, value in theirs.state_dict().items():
        if name in mine and value.is_floating_point():
            compare(mine[name], value, dtype, name)
        elif name in mine:
            assert int(xpnet.to_numpy(mine[name])) == int(value)


POOLS = {
    "max_pool1d": (lambda l, x: l.max_pool1d(x, 3, 2, 1, return_indices=True), IMAGES[0]),
    "adaptive_max_pool1d": (lambda l, x: l.adaptive_max_pool1d(x, 3, return_indices=True), IMAGES[0]),
    "adaptive_max_pool2d": (lambda l, x: l.adaptive_max_pool2d(x, (3, 2), return_indices=True), IMAGES),
    "adaptive_max_pool2d of one": (lambda l, x: l.adaptive_max_pool2d(x, 2, return_indices=True), IMAGES[0]),
}


@pytest.mark.parametrize(("pool", "x"), POOLS.values(), ids=POOLS)
def test_the_places_of_other_maxima_are_pytorchs(pool, x):
    for a, b in zip(pool(F, xpnet.asarray(x)), pool(f, torch.tensor(x)), strict=True):
        np.testing.assert_array_equal(xpnet.to_numpy(a), b)


@pytest.mark.parametrize("options", [{}, {"ceil_mode": True}, {"padding": 1, "dilation": 2, "stride": 1}])
@pytest.mark.parametrize(
    "x", [IMAGES, ODD[1], np.full((1, 1, 5, 6), -np.inf)], ids=["batch", "image", "-inf"]
)
def test_the_places_of_maxima_are_pytorchs(x, options):
    y, places = F.max_pool2d(xpnet.asarray(x), 3, **options, return_indices=True)
    z, expected = f.max_pool2d(torch.tensor(x), 3, **options, return_indices=True)
    np.testing.assert_array_equal(xpnet.to_numpy(y), z)
    np.testing.assert_array_equal(xpnet.to_numpy(places), expected)
    assert (
        xpnet.to_numpy(nn.MaxPool2d(3, return_indices=True, **options)(xpnet.asarray(x))[1]).dtype == np.int64
    )


# ---- refusals ----

REFUSED = {
    "axis and dim": (
        lambda: F.softmax(xpnet.asarray(LOGITS), 0, dim=1),
        TypeError,
        "axis and dim are one thing",
    ),
    "sum": (lambda: xpnet.tensor(LOGITS).sum(0, dim=1), TypeError, "axis and dim are one thing"),
    "max": (
        lambda: xpnet.tensor(LOGITS).max(1),
        TypeError,
        "max: say axis=1 for the values, as in NumPy, or",
    ),
    "min": (lambda: xpnet.tensor(LOGITS).min(-1), TypeError, "min: say axis=-1 for the values"),
    "gelu": (lambda: F.gelu(xpnet.asarray(LOGITS), "tan"), ValueError, 'must be "none" or "tanh", got'),
    "GELU": (lambda: nn.GELU("tan"), ValueError, 'GELU: approximate must be "none" or "tanh"'),
    "softplus": (lambda: nn.Softplus(0), ValueError, "Softplus: beta must not be 0"),
    "hardtanh": (lambda: nn.Hardtanh(1, -1), ValueError, "Hardtanh: min_val must be below max_val"),
    "same with a stride": (
        lambda: nn.Conv2d(1, 1, 3, 2, "same"),
        ValueError,
        'padding="same" needs stride 1',
    ),
    "a word": (lambda: nn.Conv2d(1, 1, 3, padding="full"), ValueError, '"same" or "valid", got'),
    "divisor": (lambda: F.avg_pool2d(xpnet.asarray(ODD), 2, divisor_override=0), ValueError, "must not be 0"),
    "margin": (lambda: F.multi_margin_loss(xpnet.asarray(LOGITS), LABELS, 3), ValueError, "p must be 1 or 2"),
    "weight": (
        lambda: F.binary_cross_entropy_with_logits(xpnet.asarray(LOGITS), TARGETS, pos_weight=np.ones(3)),
        ValueError,
        r"pos_weight of shape \(3,\) does not fit an input of shape \(5, 4\)",
    ),
    "flatten": (lambda: F.flatten(xpnet.asarray(ODD), 2, 1), ValueError, "not axes in order"),
    "inplace leaf": (
        lambda: F.relu(xpnet.tensor(LOGITS, requires_grad=True), inplace=True),
        RuntimeError,
        "inplace=True of a tensor that is trained",
    ),
    "clip": (
        lambda: optim.clip_grad_norm([xpnet.tensor(LOGITS)], -1),
        ValueError,
        "must be at least 0, got -1",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_inplace_writes_where_nothing_is_recorded():
    for op in (F.relu, F.leaky_relu, F.elu, F.hardtanh):
        for x in (xpnet.asarray(LOGITS + 0), xpnet.tensor(LOGITS)):
            expected = xpnet.to_numpy(op(x)).copy()
            assert op(x, inplace=True) is x
            np.testing.assert_array_equal(xpnet.to_numpy(x), expected)


def test_step_calls_a_closure():
    model, x, y = nn.Linear(4, 4), xpnet.asarray(np.float32(LOGITS)), LABELS
    for make in (lambda: optim.SGD(model, lr=0.1), lambda: optim.Adam(model)):
        optimizer = make()
        losses = []

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        for _ in range(5):
            losses.append(optimizer.step(closure).item())
        assert losses == sorted(losses, reverse=True)
        assert optimizer.step() is None


@pytest.mark.host
@pytest.mark.parametrize("arguments", [(3,), (3, 2), (4, 3, 0.01), (1, 2)])
def test_warm_restarts(arguments):
    ours = optim.SGD([xpnet.tensor([1.0], requires_grad=True)], lr=0.5)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
    schedule = optim.CosineAnnealingWarmRestarts(ours, *arguments)
    theirs.step()
    expected = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, *arguments)
    for _ in range(40):
        np.testing.assert_allclose(schedule.last_lr(), expected.get_last_lr(), rtol=1e-12)
        schedule.step()
        expected.step()
    with pytest.raises(ValueError, match="T_mult must be a whole number of at least 1, got 0"):
        optim.CosineAnnealingWarmRestarts(ours, 3, 0)
