"""What a launch costs on the host, by count: what repeats from step to step is looked up, not made again.

With a module class whose kernels do nothing, on NumPy arrays.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.core.node import Joint
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
    gradients,
    loader,
    optimizers,
    pooling,
    row_norm,
    softmax,
)

pytestmark = pytest.mark.host


class Idle:
    """Stands in for `cupy.RawModule` and its kernels."""

    max_dynamic_shared_size_bytes = 0
    launches = 0

    def __init__(self, **_: Any) -> None:
        pass

    def get_function(self, name: str) -> Idle:
        return self

    def __call__(self, *_: Any, **__: Any) -> None:
        Idle.launches += 1


def array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


X, W, IMAGES, HEADS, THETA = array(64, 256), array(256), array(8, 16, 8, 8), array(2, 3, 40, 16), array(4096)
LABELS = np.arange(64) % 64
RATES = SimpleNamespace(
    weight_decay=0.01, lr=0.1, momentum=0.9, dampening=0, nesterov=False, betas=(0.9, 0.999), eps=1e-8
)
CALLS = 18  # for one launch
PACKAGE = str(Path(xpnet.__file__).parent)
OPS: dict[str, tuple[Callable[[], Any], Any]] = {
    "relu": (lambda: activations.relu(X), X),
    "bias and gelu": (lambda: activations.bias_activation(X, W, "gelu"), X),
    "sum of rows": (lambda: activations.sum_rows(X), None),
    "swiglu": (lambda: gates.swiglu(X), array(64, 128)),
    "softmax": (lambda: softmax.softmax(X), X),
    "cross entropy": (lambda: cross_entropy.cross_entropy(X, LABELS, recorded=True), array()),
    "cross entropy of many rows": (
        lambda: cross_entropy.cross_entropy(array(10_000, 40), np.zeros(10_000, np.int64)),
        array(),
    ),
    "layer norm": (lambda: row_norm.layer_norm(X, (256,), W, W), X),
    "rms norm": (lambda: row_norm.rms_norm(X, (256,), W), X),
    "group norm": (lambda: row_norm.group_norm(IMAGES, 4, W[:16], W[:16]), IMAGES),
    "batch norm": (lambda: batch_norm.batch_norm(IMAGES, *[W[:16]] * 4, True), IMAGES),
    "dropout": (lambda: dropout.philox_dropout(X, 0.5, Key(1 << 40, 2, 3)), X),
    "embedding": (lambda: embedding.take(X, LABELS, None), X),
    "attention": (lambda: attention.attention(HEADS, HEADS, HEADS), HEADS),
    "max pooling": (lambda: pooling.max_pool2d(IMAGES, 2), array(8, 16, 4, 4)),
    "average pooling": (lambda: pooling.avg_pool2d(IMAGES, 2), array(8, 16, 4, 4)),
    "convolution": (lambda: convolution.conv2d(IMAGES, array(16, 16, 3, 3), W[:16], 1, 1), IMAGES),
    "sgd": (lambda: optimizers.sgd_step(THETA, THETA, THETA, RATES, 5), None),
    "adam": (lambda: optimizers.adam_step(THETA, THETA, THETA, THETA, None, RATES, 5), None),
    "norm of gradients": (lambda: gradients.sum_of_squares(THETA), None),
}


def both(call: Callable[[], Any], dy: Any) -> None:
    """Forward and, where there is one, backward."""
    made = call()
    assert made is not NotImplemented
    if dy is None:
        return
    if isinstance(made[1], Joint):
        made[1](dy)
        return
    gradients = made[1](dy)
    for gradient in gradients if isinstance(gradients, tuple) else ():
        if callable(gradient):
            gradient(None)


@pytest.mark.parametrize("name", OPS)
def test_a_second_launch_makes_nothing_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scalars = loader.int32, loader.int64, loader.uint32
    seen: Counter[str] = Counter()

    def look(frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            seen[frame.f_code.co_name] += 1
            seen["ours"] += frame.f_code.co_filename.startswith(PACKAGE)
        if event == "return" and isinstance(result, str) and "<" in result:
            seen["name of a kernel"] += 1

    monkeypatch.setattr(Idle, "launches", 0)
    with loader.use(Idle, 90, 132) as here:
        both(*OPS[name])
        launches, kernels, misses = Idle.launches, len(here.kernels), [s.cache_info().misses for s in scalars]
        before = sys.getprofile()
        sys.setprofile(look)
        try:
            both(*OPS[name])
        finally:
            sys.setprofile(before)
    assert Idle.launches == 2 * launches > 0
    assert seen["ours"] <= CALLS * launches  # of functions, at a fifth of a microsecond each
    assert seen["_name_get"] == 0  # NumPy's, of a dtype: two microseconds
    assert seen["build"] == 0
    assert len(here.kernels) == kernels
    assert [s.cache_info().misses for s in scalars] == misses
    assert seen["name of a kernel"] == 0, "it is put together once"


def test_the_name_of_a_dtype_is_seen_by_these_counts() -> None:
    seen: Counter[str] = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda frame, *_: seen.update([frame.f_code.co_name]))
    try:
        _ = np.dtype("float32").name
    finally:
        sys.setprofile(before)
    assert seen["_name_get"]
