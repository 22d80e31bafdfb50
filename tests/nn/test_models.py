"""Ready models."""

from functools import partial

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn


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


@pytest.mark.parametrize("make", [nn.small_cnn, partial(nn.small_resnet, blocks=1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
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
