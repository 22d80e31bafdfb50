"""Rules around other rules: Lookahead and SAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import widen
from xpnet.core.backend import dtype_name
from xpnet.core.checks import number, size
from xpnet.core.convert import asarray
from xpnet.core.op import no_grad
from xpnet.core.places import backend_of, namespace
from xpnet.core.recording import on_host, refuse
from xpnet.optim.moments import members_of
from xpnet.optim.optimizer import Optimizer


class _Around(Optimizer):
    """An optimizer around another one, which has all that it has not itself: groups and state."""

    _own: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}")
        object.__setattr__(self, "optimizer", optimizer)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "optimizer" not in vars(self):
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self.optimizer, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)

    def update(self, span: Any) -> None:
        """That of the other rule."""
        self.optimizer.update(span)

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """Those of the other rule."""
        return self.optimizer.moment_names(h)

    def initial(self, h: Any) -> dict[str, float]:
        """That of the other rule."""
        return self.optimizer.initial(h)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Train more parameters."""
        self.optimizer.add_param_group(group)

    def state_dict(self) -> dict[str, Any]:
        """That of the other rule."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    def settings(self) -> dict[str, Any]:
        """With those of the other rule."""
        own = {k: v for k, v in vars(self).items() if isinstance(v, int | float) and k != "made"}
        return {**self.optimizer.settings(), "around": type(self).__name__, **own}


class Lookahead(_Around):
    """Every k steps of a rule, go back to a part of the way that they went (Zhang et al., 2019).

    Args:
        optimizer: the rule that takes the steps.
        k: how many of them.
        alpha: the part of the way that is kept.

    Raises:
        TypeError: no optimizer.
        ValueError: k is below 1, or alpha outside [0, 1].

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.Lookahead(xpnet.optim.SGD([x], lr=0.25), k=2, alpha=0.5)
    >>> for _ in range(2):
    ...     rule.zero_grad()
    ...     (x * x).sum().backward()
    ...     rule.step()
    >>> x.data  # SGD went to 0.25
    array([0.625], dtype=float32)
    """

    _own = ("optimizer", "k", "alpha", "made", "slow")

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        super().__init__(optimizer)
        self.k, self.alpha, self.made = size("Lookahead", "k", k), number("Lookahead", "alpha", alpha, 0), 0
        if self.alpha > 1:
            raise ValueError(f"Lookahead: alpha must be in [0, 1], got {alpha}")
        self.slow: list[Any] = []

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the other rule, and after the last of k back to the slow parameters' way."""
        self._begin()
        loss = self.optimizer.step(closure)
        self._end()
        return loss

    @on_host
    def _begin(self) -> None:
        """Remember where parameters were that are new."""
        refuse("Lookahead does something else in every k-th step")
        members = members_of(self.optimizer.param_groups)
        for p in members[len(self.slow) :]:
            self.slow.append(namespace(p.data).asarray(widen(p.data), copy=True))

    @on_host
    def _end(self) -> None:
        """Count the step, and after the last of k go back."""
        members = members_of(self.optimizer.param_groups)
        self.made += 1
        if self.made % self.k == 0:
            for p, slow in zip(members, self.slow, strict=True):
                slow += self.alpha * (widen(p.data) - slow)
                p.data = namespace(slow).astype(slow, p.data.dtype)

    def state_dict(self) -> dict[str, Any]:
        """That of the other rule, with the steps made and the slow parameters."""
        state = super().state_dict()
        own = {"made": self.made, "slow": [namespace(a).asarray(a, copy=True) for a in self.slow]}
        if "lookahead" in state:  # of one within
            own["within"] = state["lookahead"]
        return {**state, "lookahead": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        own = state.get("lookahead", {"made": 0, "slow": []})
        rest = {k: v for k, v in state.items() if k != "lookahead"}
        super().load_state_dict({**rest, "lookahead": own["within"]} if "within" in own else rest)
        self.made = int(own["made"])
        members = members_of(self.optimizer.param_groups)
        there = [
            asarray(a, dtype_name(widen(p.data).dtype), backend=backend_of(p.data))
            for a, p in zip(own["slow"], members, strict=False)
        ]
        self.slow = [namespace(a).asarray(a, copy=True) for a in there]  # which steps write to


class SAM(_Around):
    """The gradient of where the loss is largest within rho (Foret et al., 2021): minima that are flat.

    Args:
        optimizer: the rule that takes the steps.
        rho: how far to look.
        adaptive: in each direction in proportion to the parameter (Kwon et al., 2021).

    Raises:
        TypeError: no optimizer, or one that takes a closure itself; when it steps, no closure.
        ValueError: rho is negative.

    `step(closure)` calls the closure twice; it computes the loss and its gradients, and zeroes them before.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.SAM(xpnet.optim.SGD([x], lr=0.25), rho=0.5)
    >>> def closure():
    ...     rule.zero_grad()
    ...     loss = (x * x).sum()
    ...     loss.backward()
    ...     return loss
    >>> float(rule.step(closure)), x.data  # the gradient is that at 1.5
    (1.0, array([0.25], dtype=float32))
    """

    _own = ("optimizer", "rho", "adaptive")
    needs_closure = True

    def __init__(self, optimizer: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        if getattr(optimizer, "needs_closure", False):
            raise TypeError(
                f"SAM: {type(optimizer).__name__} asks for a closure itself; give one whose step() takes none"
            )
        super().__init__(optimizer)
        self.rho, self.adaptive = number("SAM", "rho", rho, 0), adaptive

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to where the loss is worst, its gradient there, and a step from where it began."""
        if closure is None:
            raise TypeError("SAM: step needs a closure that computes the loss and its gradients: twice")
        refuse("SAM computes the gradients twice in a step")
        loss = closure()
        with no_grad():
            groups = self.optimizer.param_groups
            members = [p for p in members_of(groups) if p.grad is not None]
            before = [namespace(p.data).asarray(p.data, copy=True) for p in members]
            steps = [widen(p.grad) for p in members]
            worst = {id(p): -1 if g.get("maximize") else 1 for g in groups for p in g["params"]}
            if self.adaptive:
                size_of = [widen(p.data) * widen(p.data) for p in members]
                square = sum((namespace(g).sum(s * g * g) for s, g in zip(size_of, steps, strict=True)), 0.0)
                steps = [s * g for s, g in zip(size_of, steps, strict=True)]
            else:
                square = sum((namespace(g).sum(g * g) for g in steps), 0.0)
            if members:
                xp = namespace(square)
                scale = self.rho / (xp.sqrt(square) + 1e-12)
            for p, step in zip(members, steps, strict=True):
                p.data = xp.astype(widen(p.data) + worst[id(p)] * scale * step, p.data.dtype)
        closure()
        for p, old in zip(members, before, strict=True):
            p.data = old
        self.optimizer.step()
        return loss
