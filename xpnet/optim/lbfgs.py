"""L-BFGS: the inverse Hessian from the last steps and changes of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.op import no_grad, recording
from xpnet.core.places import backend_of, namespace
from xpnet.core.recording import refuse
from xpnet.optim.line_search import strong_wolfe
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate

_VECTORS = ("direction", "previous_gradient")
_LISTS = ("steps", "changes")
_NUMBERS = ("iterations", "evaluations", "length", "scale", "previous_loss")
_NAMES = {
    "n_iter": "iterations",
    "func_evals": "evaluations",
    "d": "direction",
    "t": "length",
    "old_stps": "steps",
    "old_dirs": "changes",
    "H_diag": "scale",
    "prev_flat_grad": "previous_gradient",
    "prev_loss": "previous_loss",
}
"""What PyTorch calls them."""


def dot(a: Array, b: Array) -> float:
    """The inner product, on the host."""
    return float(namespace(a).sum(a * b))


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal, 1980; Liu & Nocedal, 1989): for few parameters and whole batches.

    Args:
        params: a Module or parameters; one group of them.
        lr: the first length that is tried along a direction; without line search, the length.
        max_iter: iterations a step.
        max_eval: calls of the closure a step; default: 1.25 max_iter.
        tolerance_grad: end where no derivative is larger.
        tolerance_change: end where neither parameters nor loss change by more.
        history_size: how many of the last steps are kept.
        line_search_fn: None, or "strong_wolfe" (Nocedal & Wright, 2006, algorithms 3.5 and 3.6).

    Raises:
        ValueError: several groups, another line search, or a value out of range.
        TypeError: when it steps, no closure.

    `step(closure)` calls the closure many times; it zeroes the gradients, computes the loss and them, and
    gives the loss. Numbers, names and order are those of torch.optim.LBFGS. The host waits at each call.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, -1.0], requires_grad=True)
    >>> rule = xpnet.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     rule.zero_grad()
    ...     loss = ((x - 1) ** 2 * xpnet.asarray([1.0, 10.0])).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = rule.step(closure)
    >>> [round(v, 4) for v in x.tolist()]
    [1.0, 1.0]
    """

    needs_closure: ClassVar[bool] = True
    lr: Rate = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: str | None = None

    def add_param_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`; there is one group."""
        if self.param_groups:
            raise ValueError("LBFGS: expected one group of parameters, it has no options of some of them")
        super().add_param_group(group)
        self._memory: dict[str, Any] = _new()

    def check_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`, and its word for the search."""
        word = group["line_search_fn"]
        if word not in (None, "strong_wolfe"):
            raise ValueError(f'LBFGS: line_search_fn must be None or "strong_wolfe", got {word!r}')
        super().check_group(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations; the loss before them."""
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes the loss and its gradients: often")
        refuse("LBFGS looks at the loss in each step")
        if self._follows:
            self.param_groups[0]["lr"] = self._rates[0](self._memory["iterations"])  # type: ignore[misc]
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group, memory = self.param_groups[0], self._memory
        most_iterations, rate = group["max_iter"], group["lr"]
        most = group["max_eval"] if group["max_eval"] is not None else most_iterations * 5 // 4

        def evaluate() -> float:
            with recording():
                losses.append(closure())
            memory["evaluations"] += 1
            return float(getattr(losses[-1], "data", losses[-1]))

        losses: list[Any] = []
        value = evaluate()
        first, calls, gradient = losses.pop(), 1, self._gradient()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, most_iterations + 1):
            memory["iterations"] += 1
            direction = self._direction(gradient, group["history_size"])
            memory |= {"direction": direction, "previous_gradient": gradient, "previous_loss": value}
            before, slope = value, dot(gradient, direction)
            begin = memory["iterations"] == 1
            total = float(namespace(gradient).sum(namespace(gradient).abs(gradient))) if begin else 1.0
            length = min(1.0, 1.0 / total) * rate if begin else rate
            memory["length"] = length
            if slope > -group["tolerance_change"]:
                break
            start = self._values()
            if group["line_search_fn"] is None:
                self._go(start, length, direction)
                made = 0
                if iteration != most_iterations:  # nobody needs the last one
                    value, gradient, made = evaluate(), self._gradient(), 1
            else:

                def along(t: float, start: Any = start, direction: Array = direction) -> tuple[float, Array]:
                    self._go(start, t, direction)
                    return evaluate(), self._gradient()

                limits = (group["tolerance_change"], most - calls)
                found = strong_wolfe(along, length, direction, value, gradient, slope, *limits)
                value, gradient, length, made = found
                self._go(start, length, direction)
            memory["length"] = length
            calls += made
            if (
                iteration == most_iterations
                or calls >= most
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction) * abs(length) <= group["tolerance_change"]
                or abs(value - before) < group["tolerance_change"]
            ):
                break
        return first

    def _direction(self, gradient: Array, size: int) -> Array:
        """-H g, of the steps s and the changes y that are kept (algorithm 7.4 of Nocedal & Wright)."""
        memory = self._memory
        if memory["iterations"] == 1:
            memory |= {"steps": [], "changes": [], "scale": 1.0}
            return -gradient
        change, step = gradient - memory["previous_gradient"], memory["direction"] * memory["length"]
        curvature = dot(change, step)
        if curvature > 1e-10:
            memory["steps"] = [*memory["steps"], step][-size:]
            memory["changes"] = [*memory["changes"], change][-size:]
            memory["scale"] = curvature / dot(change, change)
        pairs = list(zip(memory["steps"], memory["changes"], strict=True))
        q, weights = -gradient, []
        for s, y in reversed(pairs):
            weights.append(dot(s, q) / dot(y, s))
            q = q - weights[-1] * y
        d = q * memory["scale"]
        for (s, y), weight in zip(pairs, reversed(weights), strict=True):
            d = d + (weight - dot(y, d) / dot(y, s)) * s
        return d

    # ---- the parameters as one vector ----

    def _values(self) -> list[Array]:
        return [namespace(p.data).asarray(widen(p.data), copy=True) for p in self.param_groups[0]["params"]]

    def _gradient(self) -> Array:
        members = self.param_groups[0]["params"]
        xp = namespace(members[0].data)
        parts = [xp.zeros_like(p.data) if p.grad is None else p.grad for p in members]
        return xp.concat([xp.reshape(widen(g), (-1,)) for g in parts])

    def _go(self, start: list[Array], length: float, direction: Array) -> None:
        place = 0
        for p, old in zip(self.param_groups[0]["params"], start, strict=True):
            xp, n = namespace(old), math.prod(old.shape)
            step = xp.reshape(direction[place : place + n], old.shape)
            p.data = xp.astype(old + length * step, p.data.dtype)
            place += n

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """The group, and as state of its first parameter what is kept of all together, as PyTorch has it."""
        memory = {theirs: _copied(self._memory[mine]) for theirs, mine in _NAMES.items()}
        pairs = zip(memory["old_stps"], memory["old_dirs"], strict=True)
        memory["ro"] = [1 / dot(s, y) for s, y in pairs]
        return {**super().state_dict(), "state": {0: memory} if memory["func_evals"] else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of PyTorch's LBFGS, gave."""
        super().load_state_dict({"state": {}, "param_groups": state["param_groups"]})
        given: dict[str, Any] = next(iter(state["state"].values()), {})
        memory = {mine: given[theirs] for theirs, mine in _NAMES.items() if theirs in given}
        memory |= state.get("lbfgs", {})  # files of older versions
        members = self.param_groups[0]["params"]
        place, n = backend_of(members[0].data), sum(p.size for p in members)
        for name in _VECTORS + _LISTS:
            memory[name] = _there(memory.get(name, [] if name in _LISTS else None), place, n)
        for name in _NUMBERS:
            number = memory.get(name) or 0.0
            memory[name] = float(number) if name not in ("iterations", "evaluations") else int(number)
        self._memory = memory


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return namespace(value).asarray(value, copy=True) if hasattr(value, "shape") else value


def _there(value: Any, place: Any, n: int) -> Any:
    """A vector of n, or a list of them, beside the parameters."""
    if value is None or isinstance(value, list | tuple):
        return value if value is None else [_there(v, place, n) for v in value]
    if tuple(value.shape) != (n,):
        raise ValueError(f"LBFGS: the state has vectors of {tuple(value.shape)}, expected ({n},)")
    return _copied(asarray(value, backend=place))


def _new() -> dict[str, Any]:
    """Nothing is known yet."""
    return {
        **dict.fromkeys(_NUMBERS, 0.0),
        **{"iterations": 0, "evaluations": 0},
        **dict.fromkeys(_VECTORS),
        **{name: [] for name in _LISTS},
    }


def _largest(x: Array) -> float:
    return float(namespace(x).max(namespace(x).abs(x)))
