"""What goes along with every training run of the command line: an end, and the learning rate's schedule."""

from __future__ import annotations

from xpnet import optim
from xpnet.cli.settings import TrainSettings as Settings
from xpnet.search.named import SCHEDULES
from xpnet.train import Callback, EarlyStopping, LearningRate, StopOnDivergence


def stopping_of(settings: Settings) -> EarlyStopping:
    """What ends a run early, and keeps its best weights."""
    return EarlyStopping(settings.patience, monitor=f"val_{settings.monitor}")


def usual_callbacks(
    settings: Settings, optimizer: optim.Optimizer, epochs: int, steps: int
) -> list[Callback]:
    """Of every network that is trained."""
    found: list[Callback] = []
    if settings.divergence is not None:
        found.append(StopOnDivergence(settings.divergence))
    if settings.schedule == "onecycle":
        rate = optimizer.param_groups[0]["lr"]
        cycle = optim.OneCycleLR(optimizer, rate, epochs * steps, pct_start=0.2, cycle_momentum=False)
        found.append(LearningRate(cycle, every="batch"))
    elif settings.schedule == "step":
        found.append(LearningRate(optim.StepLR(optimizer, max(1, epochs // 6), 0.5)))
    elif settings.schedule != "constant":
        found.append(LearningRate(SCHEDULES[settings.schedule](optimizer, epochs)))
    return found
