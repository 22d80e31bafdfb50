"""What a run is: everything that two runs must share to be the same, whoever compares them.

A checkpoint holds the identity of its run, and is refused by another one before anything changes; ranks that
train together compare theirs before they begin.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

from xpnet.core.backend import dtype_name
from xpnet.core.fingerprint import compare, fingerprint, text
from xpnet.core.reading import printable
from xpnet.data.fingerprint import data_fingerprint

CHANGEABLE = ("loss", "step", "optimizer", "data", "augmentation", "callbacks", "accumulate", "l1", "l2")
"""What a resumed run may have otherwise, if `fit(..., allow=...)` names it."""


class AnotherRunError(ValueError):
    """A checkpoint is of another run than the one that is to go on from it.

    Attributes:
        message: what differs.
        parts: what `fit(..., allow=...)` must name to go on all the same; empty if that cannot be.
    """

    def __init__(self, message: str, parts: tuple[str, ...]) -> None:
        help_ = f"; to go on all the same: fit(..., allow={list(parts)!r})" if parts else ""
        super().__init__(message + help_)
        self.message, self.parts = message, parts


def identity_of(
    model: Any,
    optimizer: Any,
    data: Any,
    training: Mapping[str, Any],
    callbacks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What must be equal for a run to go on as if it had not stopped, in terms of JSON.

    Args:
        model: by its layers, and the shapes and dtypes of its arrays.
        optimizer: by its settings.
        data: by its settings, if it has any, or the number of its batches.
        training: settings of the run itself.
        callbacks: name and settings of each.
    """
    sized = {"batches": len(data)} if isinstance(data, Sized) else {}
    parts = {
        "model": {
            "layers": repr(model).splitlines(),
            "arrays": {
                name: f"{dtype_name(a.dtype)} {list(a.shape)}" for name, a in model.state_dict().items()
            },
        },
        "optimizer": optimizer.settings() if hasattr(optimizer, "settings") else {},
        "data": data.settings() if hasattr(data, "settings") else sized,
        "training": training,
        "callbacks": callbacks,
    }
    return json.loads(json.dumps(parts, default=lambda value: value.item()))


def meaning_of(loss: Any, step: Any, data: Any) -> dict[str, Any]:
    """What is done with a batch before and after the model, by name; asked for before training.

    Args:
        loss: of the run.
        step: the function of its step, if it has its own.
        data: a DataLoader, whose augmentation, transform and collate are looked at, or anything else.
    """
    parts = {
        "loss": loss,
        "step": step,
        "augmentation": getattr(data, "augment", None),
        "transform": getattr(data, "transform", None),
        "collate": getattr(data, "collate", None),
    }
    return {name: fingerprint(part) for name, part in parts.items()}


def content_of(training: Any, validation: Any) -> dict[str, Any]:
    """Samples and targets, by name."""
    return {"training data": data_fingerprint(training), "validation data": data_fingerprint(validation)}


class Difference(NamedTuple):
    """Something that two runs do not share.

    Attributes:
        part: what to name to go on all the same, if it is one of `CHANGEABLE`.
        name: of the thing.
        there: what it is in the first.
        here: what it is in the second.
        rounding: whether it is no more than rounding explains.
    """

    part: str
    name: str
    there: str
    here: str
    rounding: bool = False

    def text(self, first: str = "there", second: str = "here") -> str:
        """In words; `first` and `second` say where."""
        return f"{self.name} is {self.there} {first} and {self.here} {second}"


_PARTS = {"transform": "augmentation", "training data": "data", "validation data": "data", "collate": "data"}


def differences(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[Difference]:
    """What two identities do not share; of one that an older version wrote, as far as it goes."""
    settings = [
        Difference(_part_of(name), name, _short(there), _short(here))
        for part in ("model", "optimizer", "data", "training", "callbacks")
        for name, there, here in _differing(saved.get(part), own.get(part), part)
    ]
    names = {difference.name for difference in settings}
    meaning = [
        difference
        for difference in _meaning(saved.get("meaning", {}), own.get("meaning", {}))
        if not (difference.name == "step" and "training.step" in names)
    ]
    parts = {difference.part for difference in meaning}
    return [*meaning, *(d for d in settings if not (d.name == "data.augment" and d.part in parts))]


def _part_of(name: str) -> str:
    """What `allow` calls the setting of this name."""
    part, _, setting = name.partition(".")
    return setting if part == "training" else "augmentation" if name == "data.augment" else part


def _meaning(saved: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Difference]:
    for name, there in saved.items():
        here = own.get(name)
        if name.endswith("data") and (there is None or here is None):
            continue  # what nobody can look at; whether there is validation data at all, settings say
        for place, one, other in _places(name, there, here):
            kind = compare(one, other)
            if kind != "same":
                of = _PARTS.get(name, name)
                yield Difference(of, place, _short_text(one), _short_text(other), kind == "rounding")


def _places(name: str, there: Any, here: Any) -> Iterator[tuple[str, Any, Any]]:
    """Data part by part: x and y of them, say."""
    apart = isinstance(there, dict) and isinstance(here, dict) and there.keys() == here.keys()
    if name.endswith("data") and apart and "array" not in there:
        yield from ((f"{name}.{key}", there[key], here[key]) for key in there)
    else:
        yield name, there, here


def _differing(saved: Any, own: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(own, dict):
        for key in [*saved, *(k for k in own if k not in saved)]:
            yield from _differing(saved.get(key), own.get(key), f"{name}.{key}")
    elif isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own) and name != "callbacks":
        for i, (a, b) in enumerate(zip(saved, own, strict=True)):
            yield from _differing(a, b, f"{name}[{i}]")
    elif saved != own:
        yield name, saved, own


def _short_text(description: Any) -> str:
    return "absent" if description is None else _short(text(description))


def _short(value: Any) -> str:
    found = value.strip() if isinstance(value, str) else "absent" if value is None else repr(value)
    found = printable(" ".join(found.split()))
    return found if len(found) <= 200 else found[:197] + "..."


def check_allowed(allow: Collection[str]) -> None:
    """Refuse names of things that cannot change.

    Raises:
        ValueError: with those that can.
    """
    unknown = [name for name in allow if name not in CHANGEABLE]
    if isinstance(allow, str) or unknown:
        raise ValueError(
            f"allow: expected a list of {', '.join(CHANGEABLE)}, got {allow!r}; model, metrics, scaler and "
            "whether there is validation must be those of the checkpoint"
        )


def check_identity(
    saved: Mapping[str, Any], own: Mapping[str, Any], path: Any, allow: Collection[str] = ()
) -> None:
    """Compare the identity in a checkpoint with that of a run.

    Args:
        saved: of the checkpoint.
        own: of the run.
        path: of the checkpoint, for the message.
        allow: parts that may differ.

    Raises:
        AnotherRunError: naming what differs, with both values, and what to do.
    """
    found = [d for d in differences(saved, own) if not d.rounding and d.part not in allow]
    if found:
        said = "; ".join(d.text() for d in found[:3])
        parts = tuple(dict.fromkeys(d.part for d in found))
        message = f"{path}: this checkpoint is of another run: {said}. Nothing was changed"
        raise AnotherRunError(message, parts if set(parts) <= set(CHANGEABLE) else ())
