"""The project's goals: what a run must show, and whether this one did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.measure import Measurement, quartiles, ratios


@dataclass(frozen=True)
class Goal:
    """At most `at_most` times the time of another column, or, without one, of the floor."""

    case: str
    column: str
    against: str | None
    at_most: float


_STEPS = ("tiny_mlp batch 32", "mnist_mlp batch 128", "bn_dropout_mlp batch 256", "cifar_mlp batch 256")
_COPY = 1 / 0.85  # 85% of the copy bandwidth

GOALS = [
    *[
        Goal(f"step {case}", "xpnet", "torch", ratio)
        for case, ratio in zip(_STEPS, (0.35, 0.7, 0.9, 1.1), strict=True)
    ],
    Goal("op cross_entropy 4096x1000", "xpnet", "torch", 0.7),
    Goal("op batch_norm 4096x512", "xpnet", "torch", 0.8),
    Goal("op batch_norm 32x64x28x28", "xpnet", "torch", 0.8),
    Goal("op adam 1M", "xpnet", "torch", 0.6),
    Goal("op adam 10M", "xpnet", "torch", 0.6),
    Goal("op dropout 4096x512", "xpnet", "torch", 0.8),
    # the yardstick: the same step written by hand
    Goal("step tiny_mlp batch 32", "xpnet", "numpy", 1.6),
    Goal("step mnist_mlp batch 128", "xpnet", "numpy", 1.15),
    # CUDA
    Goal("op cross_entropy 65536x1000", "xpnet-cupy", None, _COPY),
    Goal("op cross_entropy 65536x1000", "xpnet-cupy", "torch-cuda", 1 / 3),
    Goal("op cross_entropy 8192x32000", "xpnet-cupy", None, _COPY),
    Goal("op cross_entropy 8192x32000", "xpnet-cupy", "torch-cuda", 1 / 3),
    Goal("op batch_norm 65536x512", "xpnet-cupy", "torch-cuda", 1 / 1.5),
    Goal("op batch_norm 256x64x56x56", "xpnet-cupy", "torch-cuda", 1 / 1.5),
    Goal("op adam 100M", "xpnet-cupy", None, _COPY),
    Goal("op nesterov 100M", "xpnet-cupy", None, _COPY),
    *[Goal(f"step {case}", "xpnet-cupy", "torch-cuda", 1.0) for case in _STEPS],
    *[Goal(f"step {case}", "xpnet-cupy-captured", "torch-cuda", 0.3) for case in _STEPS[:3]],
    *[
        Goal(f"step {case}", "xpnet-cupy-captured", "compile-cuda-reduce-overhead", 0.7)
        for case in _STEPS[:2]
    ],
    Goal("step cnn batch 128", "xpnet-cupy-captured", "torch-cuda", 1.0),
    Goal("step resnet20 batch 128", "xpnet-cupy-captured", "torch-cuda", 1.0),
]


def judge(
    measured: Mapping[tuple[str, str], Measurement], floors: Mapping[tuple[str, str], float]
) -> list[tuple[Goal, float, float, float]]:
    """First quartile, median and third quartile of the ratio, for each goal whose columns ran.

    Args:
        measured: by case and column.
        floors: seconds, by case and column.
    """
    found = []
    for goal in GOALS:
        own = measured.get((goal.case, goal.column))
        if own is None or not own.seconds:
            continue
        if goal.against is None:
            values = [s / floors[goal.case, goal.column] for s in own.seconds]
        else:
            other = measured.get((goal.case, goal.against))
            if other is None or not other.seconds:
                continue
            values = ratios(own, other)
        found.append((goal, *quartiles(values)))
    return found
