"""Ready models."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import special

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.nn.language import _drawn


def count(model):
    return sum(p.size for p in model.parameters())


@pytest.mark.host
def test_parameters_are_those_of_the_papers_layout():
    # 3x3 convolutions 3-32-32-64-64-128-128 without biases, two numbers a channel for batch norm, 128x10 + 10
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    assert count(nn.small_cnn(10)) == convolutions + 2 * 2 * (32 + 64 + 128) + 128 * 10 + 10
    # ResNet-20: 0.27 million parameters (He et al., 2016, table 6); option B adds 1x1 shortcuts
    assert count(nn.small_resnet(10)) == 269722 + 32 * 16 + 64 * 32 + 2 * (32 + 64)
    depth = sum(
        isinstance(m, nn.Conv2d | nn.Linear) and getattr(m, "kernel_size", 3) != (1, 1)
        for m in nn.small_resnet(10).modules()
    )
    assert depth == 20


@pytest.mark.host
def test_the_shallow_residual_network_has_the_sources_layout():
    # Jordan, 2024: 2x2 patches to 24 channels, then 3x3 convolutions 24-64-64-256-256-256-256 without biases
    convolutions = 3 * 24 * 4 + 24 + 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert count(nn.resnet9(10)) == convolutions + 2 * 2 * (64 + 256 + 256) + 256 * 10 + 10


@pytest.mark.parametrize("make", [nn.small_cnn, partial(nn.small_resnet, blocks=1), nn.resnet9])
@pytest.mark.parametrize("size", [(16, 16), (17, 19)])
def test_models_learn_two_pictures_by_heart(make, size):
    model = make(2, channels=1, width=4)
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(4, 1, *size)).astype(np.float32))
    y = np.array([0, 1, 0, 1])
    optimizer = xpnet.optim.Adam(model, lr=0.01)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < 0.2 * losses[0]


LEARNERS = {  # a model, a batch, a loss
    "VGG": (lambda: nn.VGG((1, 1), 2, 1, 4, 8, 0.1, batch_norm=True), (4, 1, 28, 28), F.cross_entropy),
    "UNet": (lambda: nn.UNet(1, 2, 4, 2), (4, 1, 9, 8), F.cross_entropy),
    "ViT": (
        lambda: nn.ViT(8, 4, 1, 2, 8, 16, 0.05, num_classes=2, channels=1),
        (4, 1, 8, 8),
        F.cross_entropy,
    ),
    "MLPMixer": (lambda: nn.MLPMixer(8, 4, 1, 8, num_classes=2, channels=1), (4, 1, 8, 8), F.cross_entropy),
    "Autoencoder": (lambda: nn.Autoencoder(64, (16,), 4), (4, 1, 8, 8), F.mse_loss),
    "VAE": (lambda: nn.VAE(64, (16,), 4), (4, 1, 8, 8), F.elbo_loss),
}


@pytest.mark.parametrize(("make", "shape", "loss"), LEARNERS.values(), ids=LEARNERS)
def test_every_model_learns_a_batch(make, shape, loss):
    xpnet.manual_seed(0)
    model = make()
    rng = np.random.default_rng(0)
    x = xpnet.asarray(rng.normal(size=shape).astype(np.float32))
    y = x
    if loss is F.cross_entropy:
        y = np.array([0, 1, 0, 1])
        if isinstance(model, nn.UNet):
            y = rng.integers(0, 2, (shape[0], *shape[2:]))
    optimizer = xpnet.optim.Adam(model, lr=0.01)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        losses.append(float(value))
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.host
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tokens_are_drawn_as_often_as_the_temperature_says(temperature):
    xpnet.manual_seed(0)
    scores, n = np.array([1.0, 0.0, -1.0, 2.0]), 40_000
    drawn = np.bincount(_drawn(np.tile(scores, (n, 1)), temperature, None)[:, 0], minlength=4)
    expected = special.softmax(scores / temperature)
    assert np.abs(drawn / n - expected).max() < 5 * 0.5 / n**0.5  # five standard deviations


@pytest.mark.host
@pytest.mark.parametrize("depth", [1, 8])
def test_what_a_gpt_adds_to_the_way_around_begins_small(depth):
    """0.02 / sqrt(2 depth), as of GPT-2, and 0.02 elsewhere."""
    xpnet.manual_seed(0)
    for name, p in nn.GPT(50, context=8, depth=depth, heads=2, width=64).named_parameters():
        if name.startswith("blocks.") and p.ndim == 2:
            last = name.endswith(("out_proj.weight", "linear2.weight"))
            expected = 0.02 / (2 * depth) ** 0.5 if last else 0.02
            assert abs(p.numpy().std() / expected - 1) < 0.1, name


@pytest.mark.host
def test_mistakes_are_named():
    for make, message in {
        (lambda: nn.ViT(9, 4)): "patches of 4 pixels do not fill pictures of 9",
        (lambda: nn.VGG(())): "VGG: expected one stage or more",
        (lambda: nn.VAE(4, ())): "VAE: expected one hidden layer",
        (lambda: nn.MLPMixer(8, 4, 1, 4)(np.zeros((1, 3, 12, 8), np.float32))): (
            r"MLPMixer: expected pictures \(N, 3, 8, 8\), got \(1, 3, 12, 8\)"
        ),
        # as many patches as of a square picture, and a row that no patch takes
        (lambda: nn.ViT(32, 8, 1, 2, 8, 16)(np.zeros((1, 3, 16, 64), np.float32))): r"got \(1, 3, 16, 64\)",
        (lambda: nn.ViT(32, 8, 1, 2, 8, 16)(np.zeros((1, 3, 35, 32), np.float32))): r"got \(1, 3, 35, 32\)",
        (lambda: nn.ViT(32, 8, 1, 2, 8, 16)(np.zeros((3, 32, 32), np.float32))): r"got \(3, 32, 32\)",
        (lambda: nn.GPT(5, 4, 1, 2, 8).generate([[0]], 3, math.nan)): "temperature must be a number",
        (lambda: nn.GPT(5, 4, 1, 2, 8).generate([[0]], -1)): "GPT: count must be at least 0, got -1",
        (lambda: nn.UNet(1, 2, 2, 3)(np.zeros((1, 1, 9, 7), np.float32))): "of 8 pixels or more",
    }.items():
        with pytest.raises(ValueError, match=message):
            make()
