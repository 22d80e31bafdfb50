"""The optimizer loop: parameter groups, runs of the arena, the state of each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, ClassVar

from numpy import ndarray

from xpnet.core.arrays import is_half, widen
from xpnet.core.autograd import Tensor
from xpnet.core.backend import Array, asarray, backend_of, is_capturing, namespace, on_device, to_numpy
from xpnet.nn.parameter import Run, forget_gradients, gather, runs


class Optimizer:
    """Base class. A rule names its moments and updates one stretch of theta in place.

    `params` is a Module, an iterable of parameters, or an iterable of groups: dicts with `"params"` and any
    hyperparameters that differ from the defaults. As in PyTorch, `param_groups` is the list of groups, and a
    schedule writes their `"lr"`.

    The update runs over stretches of neighbouring parameters with one set of hyperparameters: one for a whole
    model without groups. Parameters without a gradient are left alone, moments included. Parameters of 16-bit
    types have float32 copies, in which all steps are made; the state has them under "master".
    """

    moments: ClassVar[tuple[str, ...]] = ()
    # what `LossScaler.unscale` asks of the next step:
    half_factor: float = 1.0  # a factor of 16-bit gradients, in float32
    finite: Array | None = None  # on a device: whether the step holds, else everything stays as it was
    settle: Callable[[], object] | None = None  # tells later, by `take_back`, that it did not

    def __init__(self, params: Any, **defaults: Any) -> None:
        if hasattr(params, "parameters"):
            params = params.parameters()
        if isinstance(params, Tensor):
            raise TypeError(
                "params: expected a Module or an iterable of parameters, got one Tensor; pass [tensor]"
            )
        params = list(params)
        if not params:
            raise ValueError("params is empty: there is nothing to train")
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        self.defaults = defaults
        self._uncertain: list[_Stretch] = []
        self.param_groups: list[dict[str, Any]] = []
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Train more parameters, with their own hyperparameters.

        Raises:
            ValueError: an unknown or invalid hyperparameter, or a parameter that is in a group already.
            TypeError: something is not a trainable leaf Tensor.
        """
        if not isinstance(group, dict) or "params" not in group:
            raise ValueError(f"a group must be a dict with 'params', got {group!r}")
        members = group["params"]
        members = members.parameters() if hasattr(members, "parameters") else members
        members = [members] if isinstance(members, Tensor) else list(members)
        unknown = group.keys() - self.defaults.keys() - {"params"}
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: unknown option {sorted(unknown)[0]!r}; "
                f"options are {', '.join(self.defaults)}"
            )
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for p in members:
            if not isinstance(p, Tensor):
                raise TypeError(f"params: expected parameters, got {type(p).__name__}")
            if p._pullback is not None:
                raise TypeError("params: a Tensor computed from others cannot be trained, only a leaf")
            if id(p) in taken:
                raise ValueError("params: a parameter appears in two groups")
            taken.add(id(p))
        merged = {**self.defaults, **group, "params": members}
        # a NumPy scalar would turn float32 arithmetic into float64
        merged = {k: v.item() if hasattr(v, "item") else v for k, v in merged.items()}
        check_options(type(self).__name__, merged)
        self.param_groups.append(merged)
        self._state: dict[int, dict[str, Any]] = getattr(self, "_state", {})
        self._collect()
        self._stretches: list[_Stretch] = []

    # ---- the step ----

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """Update one stretch in place; `step` counts from 1."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients, called first.

        Returns:
            The loss that the closure returned.
        """
        loss = None if closure is None else closure()
        settle, self.settle = self.settle, None  # about this step: nobody may ask before it is made
        stretches = self._stretches
        for stretch in stretches:
            if not stretch.current() or stretch.names != self.moment_names(stretch.group):
                stretches = []
                break
        if not stretches:
            self._build()
        for stretch in self._stretches:
            filled = [p._filled for p in stretch.run.parameters]
            if not all(filled) and any(filled):
                self._split()
                break
        factor, self.half_factor = self.half_factor, 1.0
        finite, self.finite, self._uncertain = self.finite, None, []
        for stretch in self._stretches:
            if stretch.run.parameters[0]._filled:
                if type(stretch.theta) is ndarray and stretch.master is None:  # nothing to look at
                    step = stretch.step + 1
                    self.update(stretch.theta, stretch.grad, stretch.moments, step, stretch.group)
                    stretch.step = step
                    continue
                with on_device(stretch.theta):
                    before = None if finite is None else stretch.copies()
                    self._update(stretch, factor)
                    if before is not None:
                        self._uncertain.append(stretch)
                        stretch.keep_if(finite, before)
        self.settle = settle
        return loss

    def take_back(self) -> None:
        """The last step was not one: its gradients were not finite, and `keep_if` has undone it."""
        for stretch in self._uncertain:
            stretch.step -= 1
        self._uncertain = []

    def _update(self, stretch: _Stretch, factor: float) -> None:
        step = stretch.step + 1
        if stretch.master is None:
            self.update(stretch.theta, stretch.grad, stretch.moments, step, stretch.group)
        else:
            self.update(*stretch.operands(factor), stretch.moments, step, stretch.group)
            stretch.write()
        if not is_capturing(stretch.theta):  # a captured step is run, and counted, at its replays
            stretch.step = step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, so that the next `backward` begins anew; or set those that there are to 0.

        Parameters without a gradient are left alone by `step`, those with 0 are not: momentum goes on.
        """
        for group in self.param_groups:
            forget_gradients(group["params"], set_to_none)

    # ---- stretches and their state ----

    def _build(self, runs_of: Callable[[Iterable[Tensor]], list[Run]] = runs) -> None:
        """Make stretches over the parameters where they are now, and move the state there."""
        self._collect()
        gather(p for group in self.param_groups for p in group["params"])
        self._stretches = []
        for group in self.param_groups:
            for run in runs_of(group["params"]):
                # neighbours whose step counts differ (one joined later) cannot share a bias correction
                steps = {self._state.get(id(p), {}).get("step", 0) for p in run.parameters}
                parts = [run] if len(steps) == 1 else [Run(p) for p in run.parameters]
                self._stretches += [
                    self._stretch(part, group, moments=self.moment_names(group)) for part in parts
                ]

    def _split(self) -> None:
        """One stretch a parameter, from the first step in which only some have a gradient."""
        self._build(lambda parameters: [Run(p) for p in parameters])

    def _stretch(self, run: Run, group: dict[str, Any], moments: tuple[str, ...]) -> _Stretch:
        xp = namespace(run.theta)
        theta = run.theta
        wide = widen(theta)
        arrays = [xp.zeros_like(wide) for _ in moments]
        master = wide if is_half(theta) else None
        step = 0
        for p, part in parts_of(run):
            state = self._state.get(id(p))
            if state is not None:
                step = state["step"]
            for name, array in zip(moments, arrays, strict=True):
                if state is not None and name in state:
                    array[part] = xp.reshape(
                        asarray(state[name], backend=backend_of(run.theta)), array[part].shape
                    )
                else:
                    array[part] = xp.full_like(array[part], self.initial(name, group))
            if master is not None and state is not None and _MASTER in state:
                master[part] = xp.reshape(
                    asarray(state[_MASTER], backend=backend_of(theta)), master[part].shape
                )
        return _Stretch(run, group, arrays, step, moments, master)

    def _collect(self) -> None:
        """Read the state of all stretches into one dict a parameter, as copies."""
        settle, self.settle = self.settle, None
        if settle is not None:
            settle()
        for stretch in getattr(self, "_stretches", []):
            for p, part in parts_of(stretch.run, stretch.sizes):
                values = stretch.state()
                self._state[id(p)] = {
                    "step": stretch.step,
                    **{
                        n: namespace(m).reshape(namespace(m).asarray(m[part], copy=True), tuple(p.shape))
                        for n, m in values
                    },
                }

    def moment_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The moments that a group's options need."""
        return self.moments

    def initial(self, name: str, group: dict[str, Any]) -> float:
        """The value a moment starts from."""
        return 0.0

    # ---- saving ----

    def settings(self) -> dict[str, Any]:
        """The rule, its options and the sizes of the groups, as JSON can hold them.

        The rates of the groups are not in it: schedules write them, and `state_dict` has them.
        """
        return {
            "rule": type(self).__name__,
            **self.defaults,
            "groups": [
                {
                    "parameters": len(group["params"]),
                    **{k: v for k, v in group.items() if k not in ("params", "lr") and v != self.defaults[k]},
                }
                for group in self.param_groups
            ],
        }

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the state by parameter number, since identities change."""
        state = self.state_dict()["state"]
        return {**vars(self), "_stretches": [], "_uncertain": [], "_state": state}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)
        members = [p for group in self.param_groups for p in group["params"]]
        self._state = {id(members[i]): values for i, values in saved["_state"].items()}

    def state_dict(self) -> dict[str, Any]:
        """Steps and moments by parameter number, and the options of each group, laid out as PyTorch does."""
        self._collect()
        members = [p for group in self.param_groups for p in group["params"]]
        number = {id(p): i for i, p in enumerate(members)}
        return {
            "state": {number[key]: dict(value) for key, value in self._state.items() if key in number},
            "param_groups": [
                {
                    **{k: v for k, v in g.items() if k != "params"},
                    "params": [number[id(p)] for p in g["params"]],
                }
                for g in self.param_groups
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of the same optimizer in PyTorch, gave, from any backend.

        Raises:
            ValueError: the groups or shapes are not this optimizer's. Nothing has changed then.
        """
        sizes = [len(g["params"]) for g in self.param_groups]
        given = [len(g["params"]) for g in state["param_groups"]]
        if sizes != given:
            raise ValueError(f"optimizer state has groups of {given} parameters, this optimizer of {sizes}")
        members = [p for group in self.param_groups for p in group["params"]]
        for i, values in state["state"].items():
            for name, value in values.items():
                if (
                    name != "step"
                    and value is not None
                    and tuple(value.shape) != tuple(members[int(i)].shape)
                ):
                    raise ValueError(
                        f"optimizer state: {name} of parameter {i} is {tuple(value.shape)}, "
                        f"expected {tuple(members[int(i)].shape)}"
                    )
        for group, saved in zip(self.param_groups, state["param_groups"], strict=True):
            options = {k: v for k, v in saved.items() if k in self.defaults}  # JSON makes a list of a tuple
            group.update({k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
        self._stretches = []
        self._state = {
            id(members[int(i)]): {
                "step": int(to_numpy(values.get("step", 1))),  # PyTorch's SGD has no count, it has begun
                **{k: v for k, v in values.items() if k != "step" and v is not None},
            }
            for i, values in state["state"].items()
        }


_MASTER = "master"  # the name of the float32 parameters in the state of half ones


class _Stretch:
    """A run, its group, its moments and its step count.

    Of a 16-bit type, steps are made in float32, on a float32 copy of the parameters: squares of gradients
    leave the range of float16, eps is 0 in it, and an update below the last bit of a parameter would be lost
    (Micikevicius et al., 2018).
    """

    def __init__(
        self,
        run: Run,
        group: dict[str, Any],
        moments: list[Array],
        step: int,
        names: tuple[str, ...],
        master: Array | None,
    ) -> None:
        self.run, self.group, self.moments, self.step, self.names = run, group, moments, step, names
        self.master = master
        self.sizes = [p.size for p in run.parameters]
        self.theta, self._grad = run.theta, run.grad
        self._gradients = run.arena.grad if run.arena is not None else None
        self._data = run.parameters[0].data

    @property
    def grad(self) -> Array:
        """The gradients, in other memory where somebody has kept those of an earlier step."""
        arena = self.run.arena
        if arena is None:
            return self.run.grad
        if arena.grad is not self._gradients:
            self._gradients, self._grad = arena.grad, self.run.grad
        return self._grad

    def operands(self, factor: float) -> tuple[Array, Array]:
        """What a step of a 16-bit type works on, in float32: its copy and factor * gradient."""
        assert self.master is not None
        xp = namespace(self.theta)
        # parameters that somebody else has written since the last step; in place, for captured steps
        same = self.theta == xp.astype(self.master, self.theta.dtype)
        self.master[...] = xp.where(same, self.master, widen(self.theta))
        grad = widen(self.grad)
        return self.master, grad if factor == 1 else grad * factor

    def copies(self) -> list[Array]:
        """The arrays that a step changes, as they are now."""
        return [namespace(a).asarray(a, copy=True) for a in self._changed()]

    def keep_if(self, finite: Array, before: list[Array]) -> None:
        """Undo a step on the device unless `finite` holds: nothing waits to know."""
        xp = namespace(self.theta)
        for array, old in zip(self._changed(), before, strict=True):
            array[...] = xp.where(finite, array, old)
        self.write()

    def _changed(self) -> list[Array]:
        return [self.theta if self.master is None else self.master, *self.moments]

    def write(self) -> None:
        """Round the float32 copy into theta."""
        if self.master is not None:
            self.theta[...] = namespace(self.theta).astype(self.master, self.theta.dtype)

    def state(self) -> list[tuple[str, Array]]:
        """The arrays that a checkpoint keeps, by name."""
        kept = list(zip(self.names, self.moments, strict=True))
        return kept if self.master is None else [*kept, (_MASTER, self.master)]

    def current(self) -> bool:
        """Whether the parameters are still where theta and grad point."""
        return (
            self.run.arena.alive if self.run.arena is not None else self.run.parameters[0].data is self._data
        )


def parts_of(run: Run, sizes: list[int] | None = None) -> list[tuple[Tensor, Any]]:
    """Each parameter of a run and its slice of the run's vectors."""
    if run.arena is None:
        return [(run.parameters[0], ...)]
    found, start = [], 0
    for p in run.parameters:
        found.append((p, slice(start, start + p.size)))
        start += p.size
    return found


def check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse hyperparameters outside their range, by name.

    Raises:
        ValueError: naming the option, its value and its range.
    """
    at_least_0 = ("lr", "weight_decay", "momentum", "eps", "lr_decay", "initial_accumulator_value")
    below_1 = ("rho", "alpha")
    for key, value in options.items():
        if key in at_least_0 + below_1 and not isinstance(value, Real):
            raise TypeError(f"{name}: {key} must be a number, got {value!r}")
        if key in at_least_0 and not value >= 0:
            raise ValueError(f"{name}: {key} must be at least 0, got {value}")
        if key in below_1 and not 0 <= value < 1 and not (key == "rho" and value == 1):
            raise ValueError(f"{name}: {key} must be in [0, 1), got {value}")
        pair = isinstance(value, tuple | list) and len(value) == 2
        if key == "betas" and not (pair and all(0 <= b < 1 for b in value)):
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {value}")
    if options.get("nesterov") and (options["momentum"] <= 0 or options.get("dampening", 0) != 0):
        raise ValueError(f"{name}: nesterov needs momentum > 0 and dampening 0")
