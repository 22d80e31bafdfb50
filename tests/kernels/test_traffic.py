"""Every fused kernel moves the bytes that it must, and no more: each large array once.

Counted on the emulator, in optimized code (tests/emulator/traffic.py). `FLOORS` says for each op how often
its data go over the bus, forward and backward, in multiples of the bytes of x, of float32 and float16. What
is small beside x (weights, statistics, sums of blocks) comes from the caches and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.emulator import build
from tests.emulator.traffic import traffic
from xpnet import cuda
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
    labels,
    masked_softmax,
    optimizers,
    pooling,
    row_norm,
    softmax,
)

pytestmark = pytest.mark.host


class Floor(NamedTuple):
    """What an op must move, in multiples of the bytes of x.

    Attributes:
        run: of x; what forward gives.
        shape: of x.
        forward: read and written.
        backward: likewise; None if there is none.
        why: what more it moves than each array once, and why.
        half: forward in float16, where labels and sums of 32 bits and more are larger beside x.
    """

    run: Callable[[np.ndarray], Any]
    shape: tuple[int, ...]
    forward: float
    backward: float | None = None
    why: str = ""
    half: float | None = None


def ones(n: int, like: np.ndarray) -> np.ndarray:
    return np.ones(n, like.dtype)


def rates(**more: Any) -> SimpleNamespace:
    given = {"weight_decay": 0.01, "lr": 0.1, "momentum": 0.9, "dampening": 0, "nesterov": False, "eps": 1e-8}
    return SimpleNamespace(
        **given, betas=(0.9, 0.999), eps_inside=False, alpha=0.9, rho=0.9, lr_decay=0.0, **more
    )


def rule(step: Callable[..., Any], moments: int) -> Callable[[np.ndarray], Any]:
    def run(x: np.ndarray) -> tuple[None, None]:
        state = [np.zeros_like(x) for _ in range(moments)]
        none = [None] * {"sgd_step": 1 - moments, "rmsprop_step": 3 - moments, "adam_step": 3 - moments}.get(
            step.__name__, 0
        )
        assert step(x, x.copy(), *state, *none, rates(), 3) is None
        return None, None

    return run


def normalized(variant: str, channels_last: bool = False, **more: Any) -> Callable[[np.ndarray], Any]:
    def run(x: np.ndarray) -> Any:
        c = x.shape[-1 if channels_last else 1]
        per_channel = [ones(c, x) for _ in range(4)]
        residual = x.copy() if more.get("residual") else None
        options = {**more, "residual": residual, "channels_last": channels_last, "variant": variant}
        return batch_norm.normalize(x, *per_channel, True, **options)

    return run


def losses(x: np.ndarray, **options: Any) -> Any:
    target = np.arange(x.shape[0]) % x.shape[1]
    value, _ = cross_entropy.cross_entropy(x, target, recorded=True, **options)
    return value, None


def slopes(x: np.ndarray) -> tuple[np.ndarray, None]:
    """Of scores, which are float32."""
    w = x.astype(np.float32)
    return masked_softmax.scores_gradient(w, w.copy(), w[:, :1].copy()), None


def words(x: np.ndarray) -> tuple[Any, None]:
    """Four of 64 bits for each counter of as many."""
    return dropout.philox(np.arange(x.size), Key(1, 2, 3)), None


def convolved(taps: int, groups: int = 1) -> Callable[[np.ndarray], Any]:
    """As many channels out as in."""

    def run(x: np.ndarray) -> Any:
        weight = np.ones((x.shape[1], x.shape[1] // groups, taps, taps), x.dtype)
        y, pullback = convolution.conv2d(x, weight, None, 1, taps // 2, 1, groups)
        return y, lambda dy: [each(None) for each in pullback(dy)[:2]]

    return run


WIDE, ROWS, IMAGES, PLANES = (40, 1024), (16384, 64), (8, 16, 8, 8), (64, 8, 16, 16)
TWO_PRODUCTS = "dy twice: for dx and for the gradient of the weight"
FLOORS: dict[str, Floor] = {
    "relu": Floor(activations.relu, WIDE, 2, 3),
    "gelu": Floor(activations.gelu, WIDE, 2, 3),
    "silu": Floor(gates.silu, WIDE, 2, 3),
    "mish": Floor(gates.mish, WIDE, 2, 3),
    "glu": Floor(gates.glu, WIDE, 1.5, 2.5),
    "swiglu": Floor(gates.swiglu, WIDE, 1.5, 2.5),
    "bias and relu": Floor(lambda x: activations.bias_activation(x, ones(x.shape[1], x)), WIDE, 2, 3),
    "bias and gelu": Floor(lambda x: activations.bias_activation(x, ones(x.shape[1], x), "gelu"), WIDE, 2, 3),
    "sum of rows": Floor(lambda x: (activations.sum_rows(x), None), WIDE, 1),
    "dropout": Floor(lambda x: dropout.philox_dropout(x, 0.5, Key(1, 2, 3)), WIDE, 2, 2),
    "softmax": Floor(softmax.softmax, WIDE, 2, 3),
    "log softmax": Floor(softmax.log_softmax, WIDE, 2, 3),
    "layer norm": Floor(
        lambda x: row_norm.layer_norm(x, x.shape[1:], *[ones(x.shape[1], x)] * 2), ROWS, 2, 3
    ),
    "rms norm": Floor(lambda x: row_norm.rms_norm(x, x.shape[1:], ones(x.shape[1], x)), ROWS, 2, 3),
    "group norm": Floor(
        lambda x: row_norm.group_norm(x, 4, *[ones(x.shape[1], x)] * 2),
        IMAGES,
        2,
        5,
        "x and dy once more for the sums over all samples: a row is of one",
    ),
    "batch norm in a block": Floor(normalized("block"), IMAGES, 2, 3),
    "batch norm in a cluster": Floor(normalized("cluster"), IMAGES, 2, 3),
    "batch norm in a grid": Floor(normalized("grid"), PLANES, 2, 3),
    "batch norm, channels last": Floor(normalized("block", True), (512, 16), 2, 3),
    "batch norm and relu": Floor(normalized("block", relu=True), IMAGES, 2, 3),
    "batch norm, residual and relu": Floor(normalized("block", relu=True, residual=True), IMAGES, 3, 5),
    "batch norm, two reads": Floor(
        normalized("two reads"), PLANES, 3, 5, "x, and backward dy, twice: the data do not fit on the chip"
    ),
    "cross entropy with its gradient": Floor(losses, WIDE, 2 + 1 / 1024),  # the label's logit for the loss
    "cross entropy, smoothed": Floor(lambda x: losses(x, label_smoothing=0.1), WIDE, 2 + 2 / 1024),
    "cross entropy of ten classes": Floor(
        losses,
        (4096, 10),
        2.5,
        why="labels (0.2) twice, as the mean must know how many count; the label's logit (0.1)",
        half=3.3,  # labels twice the share, and the losses, which are written and added up
    ),
    "cross entropy of long rows": Floor(losses, (4, 16384), 2),
    "cross entropy of very long rows": Floor(losses, (2, 1 << 19), 3, why="x twice: no row fits on the chip"),
    "cross entropy of few logits": Floor(
        losses,
        (256, 32),
        4,
        why="one block keeps no row and reads it three times, of a cache after the first",
    ),
    "sum of squares": Floor(lambda x: (gradients.sum_of_squares(x), None), WIDE, 1),
    "clipping": Floor(lambda x: (gradients.clip_to_norm(x, np.array(100.0, np.float32), 1.0), None), WIDE, 2),
    "clipping of a short one": Floor(
        lambda x: (gradients.clip_to_norm(x, np.array(0.5, np.float32), 1.0), None), WIDE, 0
    ),
    "sgd": Floor(rule(optimizers.sgd_step, 0), WIDE, 3),
    "sgd with momentum": Floor(rule(optimizers.sgd_step, 1), WIDE, 5),
    "adagrad": Floor(rule(optimizers.adagrad_step, 1), WIDE, 5),
    "adadelta": Floor(rule(optimizers.adadelta_step, 2), WIDE, 7),
    "rmsprop": Floor(rule(optimizers.rmsprop_step, 1), WIDE, 5),
    "rmsprop with momentum, centred": Floor(rule(optimizers.rmsprop_step, 3), WIDE, 9),
    "adam": Floor(rule(optimizers.adam_step, 2), WIDE, 7),
    "amsgrad": Floor(rule(optimizers.adam_step, 3), WIDE, 9),
    "embedding": Floor(lambda x: embedding.take(x, np.arange(len(x)), None), WIDE, 2, 2),
    "max pooling": Floor(lambda x: pooling.max_pool2d(x, 2), PLANES, 1 + 1 / 4, 1 + 1 / 4),
    "average pooling": Floor(lambda x: pooling.avg_pool2d(x, 2), PLANES, 1 + 1 / 4, 1 + 1 / 4),
    "global average pooling": Floor(pooling.global_avg_pool2d, PLANES, 1, 1),
    "attention's weights": Floor(
        lambda x: (masked_softmax.attention_weights(x, 1.0), None), (2, 2, 16, 256), 2, half=3
    ),
    "its gradient": Floor(slopes, WIDE, 3, half=6),
    "attention": Floor(
        lambda x: attention.attention(x, x.copy(), x.copy()),
        (1, 2, 32, 64),
        4,
        13,
        "q, k, v and dy by both kernels, q by one twice; all once more for each 32 rows of the other side",
    ),
    "convolution, 1x1": Floor(convolved(1), PLANES, 2, 4, TWO_PRODUCTS),
    "convolution, a channel each": Floor(convolved(3, PLANES[1]), PLANES, 2, 4, TWO_PRODUCTS),
    "look for what is not finite": Floor(
        lambda x: (optimizers.look(x, np.zeros(8, np.float32)), None), WIDE, 1
    ),
    "random words": Floor(words, WIDE, 10, half=20),
    "labels": Floor(
        lambda x: labels.check_labels(np.arange(x.size), x.dtype, 9000, None, 0), (8192,), 5, half=9
    ),
}


UNCOUNTED = {"adapt": "ten numbers of a loss scaler"}
WITHOUT = {  # launchers
    "gemm": "products are cuBLASLt's",
    "linear_activation": "a product, and what bias and activation launch",
}


@cache
def counted(name: str, dtype: str) -> tuple[list[float], set[str]]:
    """What an op moves forward and backward, in multiples of the bytes of x, and the kernels that do."""
    floor = FLOORS[name]
    x = np.random.default_rng(0).standard_normal(floor.shape).astype(dtype)
    moved, kernels = [], set()
    with traffic() as seen:

        def add() -> None:
            moved.append(sum(m.loaded + m.stored for m in seen if m.size > x.nbytes // 8) / x.nbytes)
            kernels.update(m.kernel.partition("<")[0] for m in seen)
            seen.clear()

        made = floor.run(x)
        assert made is not NotImplemented
        add()
        if floor.backward is not None:
            made[1](np.ones_like(made[0]))
            add()
    return moved, kernels


@pytest.fixture
def counts() -> None:
    if (reason := build.missing()) is not None:
        pytest.skip(reason)
    if build.SANITIZER:
        pytest.skip("a sanitizer's own calls take the place of those that count")


@pytest.mark.usefixtures("counts")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", FLOORS)
def test_moves_its_floor(name: str, dtype: str) -> None:
    floor = FLOORS[name]
    forward = floor.half if dtype == "float16" and floor.half is not None else floor.forward
    want = [forward] if floor.backward is None else [forward, floor.backward]
    assert counted(name, dtype)[0] == pytest.approx(want, abs=1e-3)


@pytest.mark.usefixtures("counts")
def test_every_kernel_has_a_floor_or_a_reason() -> None:
    names = {name.partition("<")[0] for names in cuda.instances(90).values() for name in names}
    seen = set().union(*(counted(name, "float32")[1] for name in FLOORS))
    assert names - seen == set(UNCOUNTED)
    without = {m.__name__.rpartition(".")[2] for m in cuda.launchers() if not m.instances(90)}
    assert without == set(WITHOUT)


def test_the_page_says_what_moves_more() -> None:
    page = (Path(__file__).parents[2] / "docs/pages/kernels.md").read_text()
    for name, floor in FLOORS.items():
        if floor.why:
            backward = "" if floor.backward is None else f"{floor.backward:g}"
            assert f"| {name} | {floor.forward:g} | {backward} | {floor.why} |" in page
