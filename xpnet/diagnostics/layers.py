"""Judgements of observed training steps: are the units alive, unsaturated, of one scale, and moving?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xpnet.diagnostics.finding import Finding, judge, largest
from xpnet.diagnostics.observe import Observation

BAND = (1e-4, 3e-2)  # of the update ratio, where nothing is said
_RECENT = 5  # observations that a unit must have been silent in to count as dead


def _sequence(seen: Observation | Sequence[Observation]) -> Sequence[Observation]:
    seen = [seen] if isinstance(seen, Observation) else seen
    if not seen:
        raise ValueError("no observation: was there a training step?")
    return seen


def dead_units(seen: Observation | Sequence[Observation]) -> Finding:
    """ReLU units that are 0 for every sample, or units whose weights get no gradient: they stay as they are.

    Args:
        seen: one observation, or those of a run; a unit is dead that was silent in each of the last five.

    Returns:
        The largest fraction over layers. WARN above 0.1, FAIL above 0.5.

    ReLU layers (`nn.ReLU`) are seen directly, a ReLU called as a function through the gradients of the
    weights before it.
    """
    alive: dict[str, np.ndarray] = {}
    for observation in _sequence(seen)[-_RECENT:]:
        units = {layer.name: layer.alive for layer in observation.layers}
        units |= {weight.name: weight.reached for weight in observation.weights}
        for name, now in units.items():
            if now is not None:
                alive[name] = now | alive[name] if name in alive else now
    fractions = {name: 1 - float(units.mean()) for name, units in alive.items()}
    layer, value = largest(fractions)
    return judge(
        "dead units",
        value,
        "at most 0.1 of a layer",
        warn=value > 0.1,
        fail=value > 0.5,
        advice="Lower the learning rate (one large step can push a unit below 0 for all samples), He "
        "initialisation with biases of 0, batch norm before the ReLU, or leaky ReLU.",
        detail=f"layer {layer}" if layer and value else "",
    )


def saturation(seen: Observation | Sequence[Observation]) -> Finding:
    """Sigmoid and tanh outputs within 2% of their limits, where the gradient vanishes (decks S1, S2).

    Args:
        seen: one observation, or those of a run, of which the last is judged.

    Returns:
        The largest fraction over layers (`nn.Sigmoid`, `Tanh`, `LeCunTanh`, `Hardtanh`). WARN above 0.25,
        FAIL above 0.75.
    """
    fractions = {layer.name: layer.saturated for layer in _sequence(seen)[-1].layers}
    found = {name: fraction for name, fraction in fractions.items() if fraction is not None}
    layer, value = largest(found)
    return judge(
        "saturation",
        value,
        "at most 0.25 of a layer's outputs",
        warn=value > 0.25,
        fail=value > 0.75,
        advice="Smaller initial weights (Xavier: variance 1/n), standardised inputs, batch norm before the "
        "activation, or ReLU.",
        detail=f"layer {layer}" if layer and value else "",
    )


def activation_scale(seen: Observation | Sequence[Observation]) -> Finding:
    """Whether activations vanish or explode from layer to layer (deck S1: std by layer).

    Args:
        seen: one observation, or those of a run, of which the last is judged.

    Returns:
        The largest deviation of a hidden layer's output over the smallest. WARN above 100, FAIL above 10,000
        or if one is not finite.
    """
    layers = _sequence(seen)[-1].layers
    return _scale(
        "activation scale",
        {layer.name: layer.std for layer in layers[:-1]},
        "He (ReLU) or Xavier (tanh) initialisation, or batch norm: each layer should keep the scale of its "
        "input.",
    )


def gradient_scale(seen: Observation | Sequence[Observation]) -> Finding:
    """Whether gradients vanish or explode on their way back.

    Args:
        seen: one observation, or those of a run, of which the last is judged.

    Returns:
        The largest deviation of a weight's gradient over the smallest. WARN above 1000, FAIL above 100,000 or
        if one is not finite.
    """
    weights = [w for w in _sequence(seen)[-1].weights if w.axes >= 2]
    return _scale(
        "gradient scale",
        {w.name: float(w.gradient.std(dtype=np.float64)) for w in weights},
        "He or Xavier initialisation, batch norm, residual connections; ReLU instead of sigmoid; clip "
        "gradients that explode.",
        tolerance=10.0,
    )


def _scale(name: str, deviations: dict[str, float], advice: str, tolerance: float = 1.0) -> Finding:
    values = np.array([*deviations.values()] or [1.0])
    low, high = float(values.min()), float(values.max())
    ratio = high / low if low > 0 else math.inf if high > 0 else math.nan
    names = sorted(deviations, key=deviations.__getitem__)
    detail = f"from {low:.3g} ({names[0]}) to {high:.3g} ({names[-1]})" if names else ""
    return judge(
        name,
        ratio,
        f"largest up to {100 * tolerance:g} times the smallest",
        warn=not ratio <= 100 * tolerance,
        fail=not ratio <= 10_000 * tolerance,
        advice=advice,
        detail=detail,
    )


def update_ratio(seen: Observation | Sequence[Observation]) -> Finding:
    """|update| / |weights|, about 1e-3 where training goes well (deck S2).

    Args:
        seen: one observation, or those of a run; the median over the steps after the first one is judged
            (the first is untypical: Adam's moves every element by the whole learning rate).

    Returns:
        The ratio farthest from 1e-3 over the weights. WARN outside 1e-4 to 3e-2, FAIL above 1 or if it is not
        finite.
    """
    observations = _sequence(seen)
    observations = observations[1:] or observations
    found: dict[str, list[float]] = {}
    for observation in observations:
        for weight in observation.weights:
            if weight.axes >= 2 and weight.ratio is not None:
                found.setdefault(weight.name, []).append(weight.ratio)
    ratios = {name: float(np.median(values)) for name, values in found.items()}

    def distance(name: str) -> float:
        ratio = ratios[name]
        return abs(math.log10(max(ratio, 1e-30) / 1e-3)) if math.isfinite(ratio) else math.inf

    layer = max(ratios, key=distance, default="")
    value = ratios.get(layer, 0.0)
    return judge(
        "update ratio",
        value,
        "about 1e-3 (1e-4 to 3e-2)",
        warn=not BAND[0] <= value <= BAND[1],
        fail=not value <= 1,
        advice="Nothing moves: is the gradient zero (dead units), or the learning rate?"
        if value == 0
        else "Raise the learning rate."
        if value < 1e-3
        else "Lower the learning rate, or warm it up.",
        detail=layer,
    )
