"""Schedule-free rules: a mean of all points so far in place of a schedule (Defazio et al., 2024).

z takes the steps, x is its weighted mean, and gradients are taken at y = (1 - b) z + b x. While training the
parameters are y; `eval()` makes them x, and `train()` y again. The Trainer calls both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, Self

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.recording import on_host, refuse
from xpnet.core.versions import wrote
from xpnet.optim.formula import piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@piecewise
def free_step(y: Array, direction: Array, z: Array, beta: float, lr: float, c: float) -> None:
    """y and z after z <- z - lr d and x <- (1 - c) x + c z.

    Args:
        y: where the gradient was taken, changed in place.
        direction: d, like y.
        z: like y, changed in place.
        beta: b.
        lr: of this step.
        c: the weight of this step in the mean.
    """
    y += c * (z - y)
    y += (lr * (beta * (1 - c) - 1)) * direction
    z -= lr * direction


_WRITTEN = ("k", "scheduled_lr", "lr_max", "weight_sum", "share")  # by the rule, into the groups


class _ScheduleFree(Optimizer):
    """What both rules share: the weights of the steps, and the two places."""

    training = True

    def check_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`; b is above 0."""
        super().check_group(group)
        word, b = ("momentum", group["momentum"]) if "momentum" in group else ("betas[0]", group["betas"][0])
        if not b:
            raise ValueError(f"{type(self).__name__}: {word} must be above 0: it is the weight of the mean")

    def _beta(self, h: Any) -> float:
        raise NotImplementedError

    @on_host
    def _make(self) -> None:
        """As of `Optimizer`, in training mode.

        Raises:
            RuntimeError: the parameters are those for evaluation, or a LossScaler may leave steps out.
        """
        name = type(self).__name__
        if not self.training:
            raise RuntimeError(f"{name}: step() in evaluation mode; call optimizer.train() before training")
        if self.scale is not None:
            raise RuntimeError(
                f"{name}: a LossScaler leaves out steps on the device, whose weights are counted here; "
                "train in bfloat16 or float32"
            )
        refuse(f"{name} weighs each step differently")
        if self._follows:  # the weight is that of this step's rate
            if not self._blocks:
                self._build()
            self._write_rates()
        for group in self.param_groups:
            group["k"] = k = group["k"] + 1
            rise = min(1.0, k / group["warmup_steps"]) if group["warmup_steps"] else 1.0
            group["scheduled_lr"] = rate = group["lr"] * rise
            group["lr_max"] = largest = max(rate, group["lr_max"])
            weight = k ** group["r"] * largest ** group["weight_lr_power"]
            group["weight_sum"] += weight
            group["share"] = weight / group["weight_sum"] if group["weight_sum"] else 0.0
        super()._make()

    def _begin(self, span: Any) -> Array:
        """z, which begins where the parameters are."""
        z = span.moments[0]
        if span.step == 1:
            z[...] = span.values
        return z

    def _move(self, weight: Callable[[float], float]) -> None:
        self._keep_counts()
        for block in self._blocks or self._build():
            z, values = block.moments[0], block.span.values if block.master is None else block.master
            part = weight(self._beta(block.h))
            for i, p in enumerate(block.span.parameters):
                if block.made[i]:
                    here = block.span.view(p, values)
                    here += part * (block.span.view(p, z) - here)
                    if block.master is not None:
                        p.data[...] = namespace(here).astype(here, p.data.dtype)
                    wrote(p)

    def eval(self) -> Self:
        """The parameters are the mean x, to be used or saved; returns the optimizer."""
        if self.training:
            self._move(lambda beta: 1 - 1 / beta if beta else 0.0)
        self.training = False
        return self

    def train(self) -> Self:
        """The parameters are y, where gradients are taken; returns the optimizer."""
        if not self.training:
            self._move(lambda beta: 1 - beta)
        self.training = True
        return self

    def settings(self) -> dict[str, Any]:
        """Without what the rule writes into the groups."""
        found = super().settings()
        found["groups"] = [{k: v for k, v in g.items() if k not in _WRITTEN} for g in found["groups"]]
        return found

    def state_dict(self) -> dict[str, Any]:
        """With the mode: which of both the parameters are."""
        return {**super().state_dict(), "training": self.training}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; the parameters are to be those of the same time."""
        super().load_state_dict(state)
        self.training = bool(state.get("training", True))


class SGDScheduleFree(_ScheduleFree):
    """SGD without a schedule (Defazio et al., 2024): call `train()` before training, `eval()` before use.

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, larger than SGD's.
        momentum: b, above 0: gradients are taken at (1 - b) z + b x.
        weight_decay: adds weight_decay * y to the gradient.
        warmup_steps: the rate rises for so long.
        r: later steps weigh k^r.
        weight_lr_power: and lr to this power.
        maximize: follow the gradient upwards.
        k: steps made; written by the rule, as all that follow.
        scheduled_lr: of the last step.
        lr_max: the largest rate so far.
        weight_sum: of all steps so far.
        share: of the last step in it.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.SGDScheduleFree([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> rule.eval().training, x.data
    (False, array([0.5], dtype=float32))
    """

    lr: Rate = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0
    _: KW_ONLY
    maximize: bool = False
    k: int = 0
    scheduled_lr: float = 0.0
    lr_max: float = -1.0
    weight_sum: float = 0.0
    share: float = 0.0
    moments = ("z",)

    def _beta(self, h: Any) -> float:
        return h.momentum

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        z, h = self._begin(span), span.h
        g = span.grads + h.weight_decay * span.values if h.weight_decay else span.grads
        free_step(span.values, g, z, h.momentum, h.scheduled_lr, h.share)


class AdamWScheduleFree(_ScheduleFree):
    """AdamW without a schedule (Defazio et al., 2024): call `train()` before training, `eval()` before use.

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate.
        betas: b, above 0, in y = (1 - b) z + b x, and the decay of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * y to the step.
        warmup_steps: the rate rises for so long.
        r: later steps weigh k^r.
        weight_lr_power: and lr to this power.
        maximize: follow the gradient upwards.
        k: steps made; written by the rule, as all that follow.
        scheduled_lr: of the last step.
        lr_max: the largest rate so far.
        weight_sum: of all steps so far.
        share: of the last step in it.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.AdamWScheduleFree([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> _ = rule.eval()
    >>> x.data
    array([0.75], dtype=float32)
    """

    lr: Rate = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0
    _: KW_ONLY
    maximize: bool = False
    k: int = 0
    scheduled_lr: float = 0.0
    lr_max: float = -1.0
    weight_sum: float = 0.0
    share: float = 0.0
    moments = ("z", "exp_avg_sq")

    def _beta(self, h: Any) -> float:
        return h.betas[0]

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        z, h, square = self._begin(span), span.h, span.moments[1]
        beta1, beta2 = h.betas
        square *= beta2
        square += (1 - beta2) * (span.grads * span.grads)
        root = namespace(square).sqrt(square / (1 - beta2**span.step)) + h.eps
        direction = span.grads / root
        if h.weight_decay:
            direction = direction + h.weight_decay * span.values
        free_step(span.values, direction, z, beta1, h.scheduled_lr, h.share)
