"""Everything that a search may choose by its name, and what makes it of the name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from xpnet import init, nn, optim
from xpnet.core.checks import nearest
from xpnet.nn.perceptron import ACTIVATIONS
from xpnet.optim.by_name import OPTIMIZERS, decayed_weights, make_optimizer
from xpnet.search.losses import LOSSES
from xpnet.search.space import Choice, choice

SCHEDULES: dict[str, Callable[[Any, int], Any]] = {
    "constant": lambda rule, epochs: optim.ConstantLR(rule, 1.0, 1),
    "cosine": lambda rule, epochs: optim.CosineAnnealingLR(rule, epochs),
    "linear": lambda rule, epochs: optim.LinearLR(rule, 1.0, 0.0, epochs),
    "polynomial": lambda rule, epochs: optim.PolynomialLR(rule, epochs, 2.0),
    "exponential": lambda rule, epochs: optim.ExponentialLR(rule, 0.01 ** (1 / epochs)),
    "step": lambda rule, epochs: optim.StepLR(rule, max(1, epochs // 3), 0.1),
    "multistep": lambda rule, epochs: optim.MultiStepLR(
        rule, [max(1, epochs // 2), max(1, epochs * 3 // 4)], 0.1
    ),
    "restarts": lambda rule, epochs: optim.CosineAnnealingWarmRestarts(rule, -(-epochs // 3), 2),
    # one step more than there are epochs: the last of a cycle has hardly a rate
    "onecycle": lambda rule, epochs: optim.OneCycleLR(
        rule, [group["lr"] for group in rule.param_groups], epochs + 1, cycle_momentum=False
    ),
    "inverse time": lambda rule, epochs: optim.InverseTimeLR(rule, 1.0),
    "warmup, stable, decay": lambda rule, epochs: optim.WarmupStableDecayLR(
        rule,
        epochs // 10,
        epochs // 2,
        max(1, epochs - epochs // 10 - epochs // 2),
        start_factor=1 / (1 + epochs // 10),  # a rate of 0 would waste an epoch
    ),
}
"""(optimizer, epochs) -> a schedule that is stepped once an epoch."""

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": lambda shape, classes: nn.Sequential(
        nn.Flatten(), *nn.mlp(_size(shape), (128, 64), classes, batch_norm=True)
    ),
    "cnn": lambda shape, classes: nn.small_cnn(classes, shape[0], 16),
    "resnet": lambda shape, classes: nn.small_resnet(classes, shape[0]),
    "resnet9": lambda shape, classes: nn.resnet9(classes, shape[0]),
    "resnet18": lambda shape, classes: nn.resnet18(classes, shape[0]),
    "resnet34": lambda shape, classes: nn.resnet34(classes, shape[0]),
    "resnet50": lambda shape, classes: nn.resnet50(classes, shape[0]),
    "vgg": lambda shape, classes: nn.VGG((1, 1, 2), classes, shape[0], 16, 64, batch_norm=True),
    "vit": lambda shape, classes: _of_patches(
        shape,
        lambda side, patch: nn.ViT(side, patch, 4, 4, 64, 256, num_classes=classes, channels=shape[0]),
    ),
    "mixer": lambda shape, classes: _of_patches(
        shape, lambda side, patch: nn.MLPMixer(side, patch, 4, 64, num_classes=classes, channels=shape[0])
    ),
}
"""(shape of a picture, classes) -> a model; resnet9 is for pictures of 9 pixels a side and more."""


def _of_patches(shape: tuple[int, ...], make: Callable[[int, int], Any]) -> Any:
    """`make(side, patch)` of at most 8 patches a side, behind zeros that make a picture a square of them."""
    _, height, width = shape
    longest = max(height, width)
    patch = -(-longest // 8)
    side = patch * -(-longest // patch)
    model = make(side, patch)
    if height == width == side:
        return model
    return nn.Sequential(nn.ZeroPad2d((0, side - width, 0, side - height)), model)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _groups(model: nn.Module, weight_decay: float) -> Any:
    return decayed_weights(model, weight_decay) if weight_decay else model


def _adamw_schedule_free(model: nn.Module, lr: float | None = None, weight_decay: float = 0.0) -> Any:
    return optim.AdamWScheduleFree(_groups(model, weight_decay), lr=0.01 if lr is None else lr)


def _sgd_schedule_free(model: nn.Module, lr: float | None = None, weight_decay: float = 0.0) -> Any:
    return optim.SGDScheduleFree(_groups(model, weight_decay), lr=0.1 if lr is None else lr)


def _rprop(model: nn.Module, lr: float | None = None, weight_decay: float = 0.0) -> Any:
    _without_decay("rprop", weight_decay)
    return optim.Rprop(model, lr=0.001 if lr is None else lr)


def _lbfgs(model: nn.Module, lr: float | None = None, weight_decay: float = 0.0) -> Any:
    _without_decay("lbfgs", weight_decay)
    return optim.LBFGS(model, lr=1.0 if lr is None else lr, max_iter=4, line_search_fn="strong_wolfe")


def _without_decay(name: str, weight_decay: float) -> None:
    if weight_decay:
        raise ValueError(f"{name}: this rule has no weight decay, got {weight_decay}; add F.l2 to the loss")


RULES: dict[str, Callable[..., Any]] = {
    **{name: lambda *args, n=name, **kw: make_optimizer(n, *args, **kw) for name in OPTIMIZERS},
    "schedule-free": _adamw_schedule_free,
    "schedule-free sgd": _sgd_schedule_free,
    "rprop": _rprop,
    "lbfgs": _lbfgs,
    "lookahead": lambda *args, **kw: optim.Lookahead(make_optimizer("adam", *args, **kw)),
    "sam": lambda *args, **kw: optim.SAM(make_optimizer("momentum", *args, **kw)),
}
"""(model, lr=None, weight_decay=0.0) -> an optimizer, for a Trainer: some of them ask more than `step()`.
"rprop" and "lbfgs" suit large batches, and have no weight decay."""


KINDS: dict[str, dict[str, Callable[..., Any]]] = {
    "optimizer": RULES,
    "activation": {name: kind for name, (kind, _) in ACTIVATIONS.items()},
    "schedule": SCHEDULES,
    "model": MODELS,
    "loss": LOSSES,
    "init": {
        name: getattr(init, name)
        for name in (
            *("lecun_normal", "xavier_fan_in", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform"),
            *("torch_default", "orthogonal"),
        )
    },
}


def named(kind: str, only: Iterable[str] | None = None) -> Choice:
    """One of the names of a kind, for a `Space`; `make` makes it.

    Args:
        kind: "optimizer", "activation", "schedule", "model", "loss" or "init".
        only: some of the names; default: all.

    Returns:
        A distribution.

    Raises:
        ValueError: no such kind or name.

    >>> from xpnet.search import Space, make, named
    >>> space = Space({"rule": named("optimizer", ["adam", "lion"]), "act": named("activation")})
    >>> params = space.sample(seed=0, number=0)
    >>> type(make("activation", params["act"])()).__name__ in dir(__import__("xpnet").nn)
    True
    """
    known = _known(kind)
    chosen = list(known if only is None else only)
    for name in chosen:
        _check(kind, name, known)
    return choice(chosen)


def make(kind: str, name: str) -> Callable[..., Any]:
    """What makes the thing of a name.

    Args:
        kind: as for `named`.
        name: one of its names.

    Returns:
        Of an optimizer: `f(model, lr=None, weight_decay=0.0)`; of a schedule: `f(optimizer, epochs)`; of a
        model: `f(shape, classes)` for pictures; of an activation: the layer; of a loss: `f(scores, labels)`;
        of initial weights: the function.

    Raises:
        ValueError: no such kind or name.

    >>> from xpnet.search import make
    >>> model = make("model", "vit")((1, 8, 8), 10)
    >>> make("optimizer", "lion")(model).param_groups[0]["lr"]
    0.0005
    """
    known = _known(kind)
    _check(kind, name, known)
    return known[name]


def _known(kind: str) -> dict[str, Callable[..., Any]]:
    if kind not in KINDS:
        raise ValueError(f"search: a kind is one of {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind]


def _check(kind: str, name: str, known: dict[str, Callable[..., Any]]) -> None:
    if name not in known:
        near = nearest(name, known)
        hint = f", did you mean {near!r}?" if near else f"; one of {', '.join(known)}"
        raise ValueError(f"search: no {kind} is called {name!r}{hint}")
