"""The state of an optimizer as PyTorch lays it out, and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.core.places import namespace
from xpnet.optim.chain import Transform
from xpnet.optim.moments import MASTER, Shapes, State, members_of


def state_dict(
    groups: list[State], state: dict[int, State], transforms: Sequence[Transform]
) -> dict[str, Any]:
    """Steps and moments by parameter number, the options of each group, and the state of transforms, if any.

    Args:
        groups: of the optimizer.
        state: of parameters, by id.
        transforms: of the optimizer.
    """
    number = {id(p): i for i, p in enumerate(members_of(groups))}
    saved: dict[str, Any] = {
        "state": {number[key]: dict(value) for key, value in state.items() if key in number},
        "param_groups": [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [number[id(p)] for p in g["params"]]}
            for g in groups
        ],
    }
    if transforms:
        saved["transforms"] = [t.state_dict() for t in transforms]
    return saved


def checked(
    state: dict[str, Any],
    groups: list[State],
    defaults: dict[str, Any],
    transforms: Sequence[Transform],
    shapes: Shapes | None = None,
) -> dict[int, State]:
    """The state of each parameter by id, once all of it fits; then groups and transforms have theirs.

    Raises:
        ValueError: groups, shapes or transforms are not those of this optimizer. Nothing has changed then.
    """
    sizes = [len(g["params"]) for g in groups]
    given = [len(g["params"]) for g in state["param_groups"]]
    if sizes != given:
        raise ValueError(f"optimizer state has groups of {given} parameters, this optimizer of {sizes}")
    members = members_of(groups)
    for i, values in state["state"].items():
        for name, value in values.items():
            expected: Any = tuple(members[int(i)].shape)
            if shapes is not None and name not in (MASTER, "grad"):
                expected = shapes(name, expected)
            if name != "step" and value is not None and tuple(value.shape) != expected:
                raise ValueError(
                    f"optimizer state: {name} of parameter {i} is {tuple(value.shape)}, expected {expected}"
                )
    kept = state.get("transforms", [])
    if kept and len(kept) != len(transforms):
        raise ValueError(f"optimizer state has {len(kept)} transforms, this optimizer {len(transforms)}")
    for group, saved in zip(groups, state["param_groups"], strict=True):
        options = {k: v for k, v in saved.items() if k in defaults}  # JSON makes a list of a tuple
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
    for transform, values in zip(transforms, kept, strict=False):
        transform.load_state_dict(values)
    return {
        id(members[int(i)]): {
            "step": int(to_numpy(values.get("step", 1))),  # PyTorch's SGD has no count, it has begun
            # copies: PyTorch's state is the very memory that its optimizer goes on with
            **{
                k: namespace(v).asarray(v, copy=True)
                for k, v in values.items()
                if k != "step" and v is not None
            },
        }
        for i, values in state["state"].items()
    }


def settings(
    rule: str,
    defaults: dict[str, Any],
    groups: list[State],
    scheduled: set[str],
    transforms: Sequence[Transform],
) -> dict[str, Any]:
    """The rule, its options, the sizes of the groups and the transforms, if any, as JSON can hold them.

    Args:
        rule: its name.
        defaults: of the options.
        groups: of the optimizer.
        scheduled: the options that schedules write.
        transforms: of the optimizer.
    """
    found = {
        "rule": rule,
        **{k: getattr(v, "__name__", type(v).__name__) if callable(v) else v for k, v in defaults.items()},
        "groups": [
            {
                "parameters": len(group["params"]),
                **{
                    k: v
                    for k, v in group.items()
                    if k in defaults and k not in scheduled and v != defaults[k]
                },
            }
            for group in groups
        ],
    }
    if transforms:
        found["transforms"] = [t.settings() for t in transforms]
    return found


def as_numbers(state: State, name: str) -> State:
    """A state whose moment `name` is one number a parameter, as PyTorch has it, and not one an element."""
    for values in state["state"].values():
        moment = values.get(name)  # none before the first step
        if moment is not None and moment.ndim:
            values[name] = moment[(0,) * moment.ndim] if moment.size else moment
    return state


def as_arrays(state: State, name: str, like: str) -> State:
    """The opposite: a number becomes an array of the shape of the moment `like`."""

    def spread(values: State) -> State:
        if like not in values:  # no step has been made
            return values
        return {**values, name: np.full(values[like].shape, to_numpy(values[name]))}

    return {**state, "state": {i: spread(v) for i, v in state["state"].items()}}
