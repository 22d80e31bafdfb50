"""A call of every launcher, and kernels that do nothing: what is left is the host's part of a launch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from xpnet.core.random import Key
from xpnet.cuda import (
    activations,
    attention,
    batch_norm,
    convolution,
    cross_entropy,
    dropout,
    embedding,
    gates,
    gemm,
    gradients,
    labels,
    linear_activation,
    masked_softmax,
    optimizers,
    pooling,
    row_norm,
    softmax,
)
from xpnet.optim import scaled

RATES = SimpleNamespace(
    weight_decay=0.01, lr=0.1, momentum=0.9, dampening=0, nesterov=False, betas=(0.9, 0.999), eps=1e-8,
    alpha=0.99, eps_inside=False,
)  # fmt: skip
CONSTANTS = scaled.Constants(2.0, 0.5, 2000.0, 65536.0)
Case = tuple[Callable[[], Any], Any]
"""A call of a launcher, and the gradient of what it gives; None where there is no backward."""


def cases(put: Callable[[np.ndarray], Any]) -> dict[str, Case]:
    """Every launcher, on arrays that `put` brings to their device."""

    def array(*shape: int, dtype: Any = np.float32) -> Any:
        return put(np.ones(shape, dtype))

    x, w, images, theta = array(64, 256), array(256), array(8, 16, 8, 8), array(4096)
    scores, total, norm = array(2, 3, 40, 40), array(2, 3, 40, 1), array()
    heads, packed, many = array(2, 3, 40, 16), array(2, 40, 96), array(10_000, 40)
    last, few, half = array(8, 8, 8, 16).transpose(0, 3, 1, 2), array(16), array(8, 16, 4, 4)
    some, none = put(np.arange(64) % 64), put(np.zeros(10_000, np.int64))
    state, word, seen = array(5), array(1, dtype=np.int64), array(2, dtype=np.float64)
    key = Key(1 << 40, 2, 3)
    dense, alone = array(16, 16, 3, 3), array(16, 1, 3, 3)
    return {
        "relu": (lambda: activations.relu(x), x),
        "bias and gelu": (lambda: activations.bias_activation(x, w, "gelu"), x),
        "sum of rows": (lambda: activations.sum_rows(x), None),
        "silu": (lambda: gates.silu(x), x),
        "swiglu": (lambda: gates.swiglu(x), array(64, 128)),
        "softmax": (lambda: softmax.softmax(x), x),
        "cross entropy": (lambda: cross_entropy.cross_entropy(x, some, recorded=True), array()),
        "cross entropy of many rows": (lambda: cross_entropy.cross_entropy(many, none), array()),
        "labels": (lambda: labels.check_labels(some, np.float32, 64, -100, 1), None),
        "layer norm": (lambda: row_norm.layer_norm(x, (256,), w, w), x),
        "rms norm": (lambda: row_norm.rms_norm(x, (256,), w), x),
        "group norm": (lambda: row_norm.group_norm(images, 4, few, few), images),
        "batch norm": (lambda: batch_norm.batch_norm(images, *[few] * 4, True), images),
        "batch norm, channels last": (lambda: batch_norm.batch_norm_relu(last, *[few] * 4, True), last),
        "dropout": (lambda: dropout.philox_dropout(x, 0.5, key), x),
        "embedding": (lambda: embedding.take(x, some, None), x),
        "attention": (lambda: attention.attention(heads, heads, heads), heads),
        "packed attention": (lambda: attention.packed_attention(packed, 2), array(2, 40, 32)),
        "attention's weights": (lambda: masked_softmax.attention_weights(scores, 0.25), None),
        "gradient of scores": (lambda: masked_softmax.scores_gradient(scores, scores, total, 0.25), None),
        "max pooling": (lambda: pooling.max_pool2d(images, 2), half),
        "average pooling": (lambda: pooling.avg_pool2d(images, 2), half),
        "convolution": (lambda: convolution.conv2d(images, dense, few, 1, 1), images),
        "depthwise convolution": (lambda: convolution.conv2d(images, alone, few, 1, 1, 1, 16), images),
        "sgd": (lambda: optimizers.sgd_step(theta, theta, theta, RATES, 5), None),
        "rmsprop": (lambda: optimizers.rmsprop_step(theta, theta, theta, None, None, RATES, 5), None),
        "adam": (lambda: optimizers.adam_step(theta, theta, theta, theta, None, RATES, 5), None),
        "look of a loss scale": (lambda: optimizers.look(theta, state), None),
        "a loss scale's change": (lambda: optimizers.adapt(state, word, seen, CONSTANTS), None),
        "norm of gradients": (lambda: gradients.sum_of_squares(theta), None),
        "clipping": (lambda: gradients.clip_to_norm(theta, norm, 1.0), None),
    }


def products(put: Callable[[np.ndarray], Any]) -> dict[str, Case]:
    """What cuBLASLt takes a part in, which no emulator of kernels has."""
    x, weight, bias = (put(np.ones(shape, np.float32)) for shape in ((64, 256), (256, 256), (256,)))
    return {
        "product": (lambda: gemm.matmul(x, weight), None),
        "linear": (lambda: gemm.linear(x, weight, bias), x),
        "linear and relu": (lambda: linear_activation.linear_activation(x, weight, bias, "relu"), x),
        "linear and gelu": (lambda: linear_activation.linear_activation(x, weight, bias, "gelu"), x),
    }


def forward(case: Case) -> Any:
    """The call, and what makes the gradients: None without a backward."""
    made = case[0]()
    assert made is not NotImplemented
    return None if case[1] is None else made[1]


def backward(pullback: Any, dy: Any) -> None:
    """Every gradient."""
    found = pullback(dy)
    for gradient in found if isinstance(found, tuple) else ():
        if callable(gradient):
            gradient(None)


class Idle:
    """A kernel that does nothing; it stands in for `cupy.RawModule`, too."""

    max_dynamic_shared_size_bytes = 0
    launches = 0

    def __init__(self, **_: Any) -> None:
        pass

    def get_function(self, name: str) -> Idle:
        return self

    def __call__(self, *_: Any, **__: Any) -> None:
        Idle.launches += 1
