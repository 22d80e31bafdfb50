"""Every fused kernel moves the bytes that it must, and no more: each large array once.

Counted on the emulator, in optimized code (tests/emulator/traffic.py). `FLOORS` says for each op how often
its data go over the bus, forward and backward, in multiples of the bytes of x. What is small beside x
(weights, statistics, sums of blocks) comes from the caches and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.emulator import build
from tests.emulator.traffic import traffic
from xpnet.core.random import Key
from xpnet.cuda import (
    activations,
    batch_norm,
    cross_entropy,
    dropout,
    embedding,
    gates,
    gradients,
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
    """

    run: Callable[[np.ndarray], Any]
    shape: tuple[int, ...]
    forward: float
    backward: float | None = None
    why: str = ""


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


WIDE, ROWS, IMAGES, PLANES = (40, 1024), (8192, 64), (8, 16, 8, 8), (64, 8, 16, 16)
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
    "attention's weights": Floor(
        lambda x: (masked_softmax.attention_weights(x, 1.0), None), (2, 2, 16, 256), 2
    ),
}


@pytest.mark.parametrize("name", FLOORS)
def test_moves_its_floor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (reason := build.missing()) is not None:
        pytest.skip(reason)
    if build.SANITIZER:
        pytest.skip("a sanitizer's own calls take the place of those that count")
    floor = FLOORS[name]
    x = np.random.default_rng(0).standard_normal(floor.shape).astype(np.float32)
    small = x.nbytes // 8

    def moved() -> float:
        total = sum(m.loaded + m.stored for m in seen if m.size > small) / x.nbytes
        seen.clear()
        return total

    with traffic() as seen:
        made = floor.run(x)
        assert made is not NotImplemented
        assert moved() == pytest.approx(floor.forward, abs=1e-3), seen
        if floor.backward is None:
            return
        dy = np.ones_like(made[0])
        made[1](dy)
        assert moved() == pytest.approx(floor.backward, abs=1e-3)


def test_the_page_says_what_moves_more() -> None:
    page = (Path(__file__).parents[2] / "docs/pages/kernels.md").read_text()
    for name, floor in FLOORS.items():
        if floor.why:
            backward = "" if floor.backward is None else f"{floor.backward:g}"
            assert f"| {name} | {floor.forward:g} | {backward} | {floor.why} |" in page
