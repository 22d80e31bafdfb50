"""The project's goals: what a run must show, and whether this one did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.measurement import quartiles, ratios
from bench.results import Run


@dataclass(frozen=True)
class Goal:
    """At most `at_most` times the time of another column, or, without one, of the floor."""

    case: str
    column: str
    against: str | None
    at_most: float


@dataclass(frozen=True)
class Everywhere:
    """The same of every case whose key begins so; its worst case is what counts."""

    cases: str
    column: str
    against: str
    at_most: float


_STEPS = ("tiny_mlp batch 32", "mnist_mlp batch 128", "bn_dropout_mlp batch 256", "cifar_mlp batch 256")
_COPY = 1 / 0.9  # 90% of the copy bandwidth
_IMAGES = "xpnet-cupy-captured-bf16-channels_last", "torch-cuda-bf16-channels_last"
_TO_TORCH = {
    "step tiny_mlp batch 32": 0.2,
    "step mnist_mlp batch 128": 0.55,
    "step bn_dropout_mlp batch 256": 0.5,
    "step cifar_mlp batch 256": 0.95,
    "step cnn batch 32": 0.8,
    "step resnet20 batch 32": 0.85,
    "op cross_entropy 4096x1000": 0.25,
    "op batch_norm 4096x512": 0.6,
    "op batch_norm 32x64x28x28": 0.6,
    "op bias_relu 4096x512": 0.6,
    "op bias_activation 4096x512": 0.6,
    "op layer_norm 4096x512": 0.7,
    "op group_norm 32x64x28x28": 0.7,
    "op adam 1M": 0.4,
    "op adam 10M": 0.4,
    "op adamw 1M": 0.4,
    "op adamw 10M": 0.4,
    "op max_pool2d 32x64x28x28": 0.5,
}

GOALS: list[Goal | Everywhere] = [
    *[Goal(case, "xpnet", "torch", ratio) for case, ratio in _TO_TORCH.items()],
    Everywhere("", "xpnet", "torch", 1.0),
    Everywhere("step", "xpnet", "compile", 1.0),
    Everywhere("step", "xpnet", "jax", 1.0),
    Everywhere("step", "xpnet", "numpy", 1.1),
    *[Goal(c, "xpnet-captured", "torch", ratio) for c, ratio in _TO_TORCH.items() if c.startswith("step")],
    *[Everywhere("step", "xpnet-captured", peer, 1.0) for peer in ("compile", "jax")],
    Everywhere("step", "xpnet-captured", "numpy", 1.1),
    # CUDA
    Goal("op cross_entropy 65536x1000", "xpnet-cupy", None, _COPY),
    Goal("op cross_entropy 65536x1000", "xpnet-cupy", "torch-cuda", 1 / 3),
    Goal("op cross_entropy 8192x32000", "xpnet-cupy", None, _COPY),
    Goal("op cross_entropy 8192x32000", "xpnet-cupy", "torch-cuda", 1 / 3),
    Goal("op batch_norm 65536x512", "xpnet-cupy", None, 1 / 0.8),
    Goal("op batch_norm 65536x512", "xpnet-cupy", "torch-cuda", 1 / 1.5),
    Goal("op batch_norm 256x64x56x56", "xpnet-cupy", None, 1 / 0.8),
    Goal("op batch_norm 256x64x56x56", "xpnet-cupy", "torch-cuda", 1 / 1.5),
    Goal("op adam 100M", "xpnet-cupy", None, _COPY),
    Goal("op nesterov 100M", "xpnet-cupy", None, _COPY),
    *[Goal(f"step {case}", "xpnet-cupy", "torch-cuda", 1.0) for case in _STEPS],
    *[Goal(f"step {case}", "xpnet-cupy-captured", "torch-cuda", 0.3) for case in _STEPS[:3]],
    *[
        Goal(f"step {case}", "xpnet-cupy-captured", "compile-cuda-reduce-overhead", 0.7)
        for case in _STEPS[:2]
    ],
    *[Goal(f"step {case} batch 128", *_IMAGES, 1.0) for case in ("cnn", "resnet20")],
]


@dataclass(frozen=True)
class Judgement:
    """A goal, and what a run measured.

    Attributes:
        case: of the goal; of those of `Everywhere` the worst.
        ratio: first quartile, median and third quartile over rounds.
        load: processes beside it.
        missed, of: how many cases miss the goal, of how many.
        floor: the ratio of a case that takes no longer than the limits of the machine let it.
    """

    goal: Goal | Everywhere
    case: str
    ratio: tuple[float, float, float]
    load: int
    missed: int
    of: int
    floor: float

    @property
    def met(self) -> bool:
        """Whether no case missed it."""
        return not self.missed


def judge(run: Run) -> list[Judgement]:
    """Every goal whose columns ran, idle and beside each load."""
    return [found for load in run.loads for goal in GOALS if (found := _judge(run, goal, load)) is not None]


def _judge(run: Run, goal: Goal | Everywhere, load: int) -> Judgement | None:
    measured = {case: q for case in _cases(run, goal) if (q := _ratio(run, case, goal, load)) is not None}
    if not measured:
        return None
    worst = max(measured, key=lambda case: measured[case][1])
    missed = sum(q[1] > goal.at_most for q in measured.values())
    own = run.table(load)[worst, goal.column].seconds
    floor = measured[worst][1] * run.floor(worst, goal.column) / quartiles(own)[1]
    return Judgement(goal, worst, measured[worst], load, missed, len(measured), floor)


def _cases(run: Run, goal: Goal | Everywhere) -> Iterator[str]:
    whole = isinstance(goal, Goal)
    return (c for c in run.cases if (c == goal.case if whole else c.startswith(goal.cases)))  # type: ignore[union-attr]


def _ratio(run: Run, case: str, goal: Goal | Everywhere, load: int) -> tuple[float, float, float] | None:
    table = run.table(load)
    own = table.get((case, goal.column))
    if own is None or not own.seconds:
        return None
    if goal.against is None:
        return quartiles([s / run.floor(case, goal.column) for s in own.seconds])
    other = table.get((case, goal.against))
    return quartiles(ratios(own, other)) if other is not None and other.seconds else None
