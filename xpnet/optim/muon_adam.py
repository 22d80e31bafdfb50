"""Muon for the matrices of hidden layers and AdamW for the rest, as one rule."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, ClassVar

from xpnet.optim.adam import adam_step
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.muon import Muon


class MuonWithAuxAdam(Muon):
    """Muon on the groups with `use_muon`, AdamW on the others, as the authors have it (Jordan et al., 2024).

    Args:
        params: groups; `matrices_and_others` of a model makes them.
        lr: learning rate, or a function of the steps made.
        weight_decay: as of `Muon`, and of AdamW.
        momentum: of `Muon`; so are `nesterov`, `ns_coefficients` and `ns_steps`.
        nesterov: look ahead.
        ns_coefficients: of the iteration's polynomial.
        eps: of both rules.
        ns_steps: of the iteration.
        adjust_lr_fn: as of `Muon`; here by default so that one rate fits both rules.
        maximize: follow the gradient upwards.
        use_muon: of each group, whose parameters have two axes; False: AdamW.
        betas: of AdamW.

    Raises:
        ValueError: a parameter of other than two axes in a group with `use_muon`, or a value is out of range.

    >>> from xpnet import nn, optim
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> rule = optim.MuonWithAuxAdam(optim.matrices_and_others(model), lr=0.005)
    >>> [(group["use_muon"], len(group["params"])) for group in rule.param_groups]
    [(True, 1), (False, 1), (False, 2)]
    """

    adjust_lr_fn: str | None = "match_rms_adamw"
    _: KW_ONLY
    use_muon: bool = True
    betas: tuple[float, float] = (0.9, 0.95)
    moments = ("momentum_buffer", "exp_avg", "exp_avg_sq")
    others: ClassVar[str] = "put it into a group with use_muon=False"

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """Those of one of the two rules."""
        momentum, mean, square = self.moments
        return (momentum, None, None) if h.use_muon else (None, mean, square)

    def update(self, span: MomentSpan | Wide) -> None:
        """One step of one of the two rules on one parameter."""
        if span.h.use_muon:
            super().update(span)
        else:
            _, mean, square = span.moments
            adam_step(span.values, span.grads, mean, square, None, span.h, span.step, True)
