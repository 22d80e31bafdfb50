"""What a training step may ask of a CUDA device, by count: a change that adds one fails.

Counted on the device of tests/cupy_on_cpu, since a GPU does not tell.
"""

import gc
import os

import numpy as np
import pytest

import xpnet
from bench.cases.base import Inputs
from bench.cases.networks import CNNStep, ResNetStep
from bench.cases.steps import BatchNormDropoutMLP, CifarMLP, MnistMLP, TinyMLP
from bench.columns import XpnetColumn
from xpnet import functional as F
from xpnet import nn, optim

# kernels and products of one step
LAUNCHES = [
    (TinyMLP(32), 7),
    (MnistMLP(128), 10),  # eight products, the loss, Adam
    (BatchNormDropoutMLP(256), 16),
    (CifarMLP(256), 10),
    (CNNStep(8), 46),
    (CNNStep(32), 46),
    (ResNetStep(8, blocks=1), 63),
    pytest.param(
        CNNStep(128), 50, marks=pytest.mark.skipif("XP_LADDER" not in os.environ, reason="takes a minute")
    ),
]


@pytest.fixture(autouse=True)
def cpucuda(backend):
    if backend != "cupy":
        pytest.skip("counts what CuPy does")
    return pytest.importorskip("cpucuda", reason="a GPU does not count: run it in tests.cupy_on_cpu")


def nothing_waits(n) -> None:
    """No synchronisation, one copy to the device (the rates of the step), nothing from outside the pool."""
    assert n.synchronisations == 0, n
    assert n.device_to_host == 0, n
    assert n.host_to_device <= 1, n
    assert n.allocations == n.frees == n.host_allocations == 0, n


@pytest.mark.parametrize(("case", "launches"), LAUNCHES, ids=lambda c: getattr(c, "name", c))
def test_a_step_of_the_benchmark(case, launches, cpucuda):
    column, rng = XpnetColumn("cupy", fused=True), np.random.default_rng(0)
    with column.active():
        program = case.xpnet(Inputs(case.shared(rng), [case.inputs(rng)]), column)
        n = counted(lambda: program.run(0), cpucuda)
    nothing_waits(n)
    assert n.launches + n.products == launches, n


def counted(step, cpucuda):
    """The counts of a step when kernels are compiled and the pool is filled, by no earlier test."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    for _ in range(5):
        step()
    with cpucuda.count(places=True) as n:
        step()
    return n


def step_of(model, optimizer, between=lambda: None, loss=F.cross_entropy):
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((32, 20)).astype(np.float32))
    y = xpnet.asarray(np.arange(32) % 4)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        between()
        optimizer.step()

    return step


def network(*activations):
    return nn.Sequential(
        nn.Linear(20, 16), nn.BatchNorm1d(16), *activations, nn.Dropout(0.5), nn.Linear(16, 4)
    )


RULES = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta")


@pytest.mark.parametrize("name", RULES)
def test_a_step_of_every_rule(name, cpucuda):
    model = network(nn.ReLU())
    step = step_of(model, getattr(optim, name)(model, lr=0.01, weight_decay=1e-3))
    n = counted(step, cpucuda)
    nothing_waits(n)
    assert n.launches + n.products <= 23, n


@pytest.mark.parametrize("name", RULES)
def test_a_step_is_one_launch_a_span(name, cpucuda):
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(10)])
    optimizer = getattr(optim, name)(model, lr=0.01)
    x = xpnet.asarray(np.ones((2, 8), np.float32))
    model(x).sum().backward()
    assert counted(optimizer.step, cpucuda).launches == 1
    optimizer.zero_grad()
    model[5].weight.requires_grad = False
    model(x).sum().backward()
    n = counted(optimizer.step, cpucuda)
    assert n.launches == 2, n
    assert n.synchronisations == n.device_to_host == 0, n
    assert n.host_to_device <= 2, n  # the rates of both spans


def test_clipping_is_one_pass_over_one_vector(cpucuda):
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(10)])
    model(xpnet.asarray(np.ones((2, 8), np.float32))).sum().backward()
    n = counted(lambda: optim.clip_grad_norm(model, 1.0), cpucuda)
    nothing_waits(n)
    assert n.launches <= 4, n
    assert counted(lambda: (model.theta, model.zero_grad()), cpucuda).launches == 0


@pytest.mark.parametrize(
    "kind", ["ReLU", "LeakyReLU", "ELU", "GELU", "Sigmoid", "Tanh", "Hardtanh", "Softplus"]
)
@pytest.mark.parametrize("fused", [True, False])
def test_activations_do_not_wait(kind, fused, cpucuda):
    model = network(getattr(nn, kind)())
    step = step_of(model, optim.SGD(model, lr=0.01))
    with xpnet.fused(fused):
        n = counted(step, cpucuda)
    nothing_waits(n)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
@pytest.mark.parametrize("fused", [True, False])
def test_losses_do_not_wait(name, fused, cpucuda):
    model = network(nn.ReLU())
    step = step_of(model, optim.SGD(model, lr=0.01), loss=getattr(F, name))
    with xpnet.fused(fused):
        n = counted(step, cpucuda)
    nothing_waits(n)


def test_clipping_and_noise_do_not_wait(cpucuda):
    model = network(nn.ReLU())
    noise = optim.GradientNoise(model)

    def between() -> None:
        optim.clip_grad_norm(model, 1.0)
        optim.clip_grad_value(model, 0.1)
        noise()

    step = step_of(model, optim.Adam(model), between)
    n = counted(step, cpucuda)
    nothing_waits(n)


def test_a_mask_waits_once(cpucuda):
    x = xpnet.tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4), requires_grad=True)
    mask = x.data > 5
    x[mask].sum().backward()
    with cpucuda.count(places=True) as n:
        x[mask].sum().backward()
    assert n.synchronisations == 1, n  # how many elements are there?


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("finite", [True, False])
def test_a_loss_scaler_does_not_wait(rule, finite, cpucuda):
    from xpnet.optim.gradients import gradients_of
    from xpnet.train import LossScaler

    model = nn.Linear(8, 4, dtype="float16")
    optimizer, scaler = getattr(optim, rule)(model, lr=0.01), LossScaler()
    x = xpnet.asarray(np.full((3, 8), 1.0 if finite else np.inf), "float16")

    def step() -> None:
        optimizer.zero_grad()
        model(x).sum().backward(xpnet.asarray(scaler.scale, "float16"))
        assert scaler.unscale(gradients_of(model), optimizer=optimizer)
        optimizer.step()

    nothing_waits(counted(step, cpucuda))


def test_the_goal_of_batch_norm_and_dropout_with_clipping(cpucuda):
    layers = [layer for a in (20, 16) for layer in (nn.Linear(a, 16), nn.BatchNorm1d(16), nn.ReLU())]
    model = nn.Sequential(*layers[:3], nn.Dropout(0.5), *layers[3:], nn.Linear(16, 4))
    optimizer = optim.SGD(model, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    n = counted(step_of(model, optimizer, lambda: optim.clip_grad_norm(model, 1.0)), cpucuda)
    nothing_waits(n)
    assert n.launches + n.products <= 32, n


def launches_of(step, cpucuda):
    """Forward and backward of one op, whose results are taken as they are."""
    n = counted(step, cpucuda)
    nothing_waits(n)
    return n.launches + n.products + n.memsets + n.device_to_device


HEADS, TABLE, ROWS = (2, 3, 40, 16), (30, 8), (6, 64)
# op, shapes of its arguments, the launches of forward and of both
OPS = {
    "rms_norm": (lambda x, w: F.rms_norm(x, 64, w), (ROWS, (64,)), 1, 3),
    "embedding": (lambda w: F.embedding(NUMBERS, w), (TABLE,), 1, 3),
    "embedding, a row without a gradient": (lambda w: F.embedding(NUMBERS, w, 3), (TABLE,), 1, 3),
    "silu": (lambda x: F.silu(x), (ROWS,), 1, 2),
    "gelu": (lambda x: F.gelu(x), (ROWS,), 1, 2),
    "gelu, the tanh form": (lambda x: F.gelu(x, "tanh"), (ROWS,), 1, 2),
    "swiglu": (lambda x: F.swiglu(x), (ROWS,), 1, 2),
    "glu of channels": (lambda x: F.glu(x, 0), (ROWS,), 1, 2),
    "attention": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v), (HEADS,) * 3, 1, 3),
    "causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, None, 0.1, True),
        (HEADS,) * 3,
        1,
        3,
    ),
}
NUMBERS = np.arange(20).reshape(4, 5) % 30


@pytest.mark.parametrize("name", OPS)
def test_launches_of_an_op(name, cpucuda, monkeypatch):
    op, shapes, forward, both = OPS[name]
    rng = np.random.default_rng(0)
    monkeypatch.setitem(globals(), "NUMBERS", xpnet.asarray(NUMBERS))
    leaves = [xpnet.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in shapes]
    dy = xpnet.asarray(np.ones(op(*leaves).shape, np.float32))

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        op(*leaves).backward(dy)

    assert launches_of(lambda: op(*leaves), cpucuda) == forward
    assert launches_of(step, cpucuda) == both


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_a_transformer_layer(activation, norm_first, cpucuda):
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, activation, batch_first=True, norm_first=norm_first)
    x = xpnet.tensor(np.ones((3, 10, 16), np.float32), requires_grad=True)
    dy = xpnet.asarray(np.ones((3, 10, 16), np.float32))

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x, is_causal=True).backward(dy)

    assert launches_of(step, cpucuda) <= 40


def test_attention_needs_memory_that_is_linear_in_the_length(cpucuda):
    """Less than a matrix of scores, forward and backward together."""
    import cupy

    n, pool = 768, cupy.get_default_memory_pool()
    x = xpnet.tensor(np.ones((1, 1, n, 8), np.float32), requires_grad=True)
    F.scaled_dot_product_attention(x, x, x, None, 0.0, True).sum().backward()
    gc.collect()
    pool.free_all_blocks()
    before = pool.total_bytes()
    F.scaled_dot_product_attention(x, x, x, None, 0.0, True).sum().backward()
    assert pool.total_bytes() - before < 4 * n * n / 4


def test_the_body_of_a_convolution_is_not_cut_for_a_cpu_s_caches(cpucuda, monkeypatch):
    from xpnet.core import cupy_namespace

    monkeypatch.setattr(cupy_namespace, "memory", lambda device: 80 << 30)
    x = xpnet.asarray(np.ones((64, 16, 16, 16), np.float32))
    weight = xpnet.asarray(np.ones((4, 16, 3, 3), np.float32))
    with xpnet.fused(False):
        n = counted(lambda: F.conv2d(x, weight, padding=1), cpucuda)
    assert n.products == 1, n
    monkeypatch.setattr(cupy_namespace, "memory", lambda device: 1 << 20)
    with xpnet.fused(False):
        assert counted(lambda: F.conv2d(x, weight, padding=1), cpucuda).products == 2


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(3, 6, 3, stride=2, groups=3, dtype="float16"),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.GlobalAvgPool2d(),
    ],
    ids=str,
)
def test_images_are_captured(layer, cpucuda):
    import cupy

    layer.to("cupy")
    dtype = getattr(getattr(layer, "weight", None), "dtype", np.float32)
    x = xpnet.tensor(cupy.asarray(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), dtype), True)

    def step():
        x.grad = None
        y = layer(x)
        (y * y).sum().backward()
        return x.grad

    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        want = [step() for _ in range(2)][1].get()
        stream.begin_capture()
        found = step()
        graph = stream.end_capture()
        found[...] = -1
        graph.launch(stream)
        stream.synchronize()
        np.testing.assert_array_equal(found.get(), want)
