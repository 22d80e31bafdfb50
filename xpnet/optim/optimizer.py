"""The optimizer loop: parameter groups, the vectors they are in, and one update of each span."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature
from typing import Any, ClassVar, dataclass_transform

from numpy import ndarray

from xpnet.core.backend import Array, dtype_name
from xpnet.core.context import active
from xpnet.core.convert import asarray
from xpnet.core.html import table
from xpnet.core.node import clock
from xpnet.core.places import backend_of, namespace, on_device
from xpnet.core.recording import Recording, capturing, current, depends_on, on_host, refuse
from xpnet.core.tensor import Tensor
from xpnet.core.versions import last, wrote
from xpnet.nn.flat import spans, zero_grads
from xpnet.optim import saving
from xpnet.optim.chain import Transform
from xpnet.optim.moments import Block, MomentSpan, Shards, State, Wide, members_of
from xpnet.optim.options import as_groups, as_python, bound, check_options, declared, named, reader, record
from xpnet.optim.scaled import DeviceScale


@dataclass_transform()
class _Declared:
    """For type checkers: the constructor of a subclass takes what its body declares, as in a dataclass."""


class Optimizer(_Declared):
    """Base class. A rule is a class body of hyperparameters, the names of its moments, and `update(span)`.

    Args:
        params: a Module, an iterable of parameters, or of names and parameters, which a group then has as
            `"param_names"`, or of groups: dicts with `"params"` and any hyperparameters that differ from the
            defaults.
        *args: the hyperparameters that the class declares, in this order.
        **defaults: the same by name; any, if the class declares none. PyTorch's `foreach`, `fused` and
            `capturable` change nothing.

    Raises:
        ValueError: a hyperparameter is unknown or out of range, or there is nothing to train.
        TypeError: something is not a trainable leaf Tensor, or an argument is missing.

    As in PyTorch, `param_groups` is the list of groups, and a schedule writes their `"lr"`. A learning rate
    may also be a function of the steps made so far, which is then called at each step and written there.

    An update runs over spans of neighbouring parameters with one set of hyperparameters: one for a whole
    model without groups. Parameters without a gradient are left alone, moments included. Parameters of 16-bit
    types have float32 copies, in which all steps are made; the state has them under "master".

    >>> import xpnet
    >>> class Lion(xpnet.optim.Optimizer):  # Chen et al., 2023
    ...     lr: float = 1e-4
    ...     betas: tuple[float, float] = (0.9, 0.99)
    ...     moments = ("exp_avg",)
    ...     def update(self, span):
    ...         (mean,), grads, (b1, b2) = span.moments, span.grads, span.h.betas
    ...         span.values[...] -= span.h.lr * xpnet.namespace(grads).sign(b1 * mean + (1 - b1) * grads)
    ...         mean += (1 - b2) * (grads - mean)
    >>> x = xpnet.tensor([1.0, -2.0], requires_grad=True)
    >>> rule = Lion([x], lr=lambda step: 0.5 / (1 + step))
    >>> for _ in range(2):
    ...     rule.zero_grad()
    ...     (x * x).sum().backward()
    ...     rule.step()
    >>> x.data, rule.param_groups[0]["lr"]
    (array([ 0.25, -1.25], dtype=float32), 0.25)
    """

    params: Any  # the first argument; `param_groups` has them
    moments: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False  # whether each parameter is a span of its own
    one_kernel: ClassVar[bool] = False  # whether `update` is one call of a rule that may have a kernel
    elementwise: ClassVar[bool] = False  # whether `update` moves each element by its own gradient and moments
    moment_shape: ClassVar[Any] = None  # then perhaps (name, a parameter's shape) -> the moment's, or None
    later: ClassVar[dict[str, Any]] = {}  # options that older checkpoints lack, and what that means
    _signature: ClassVar[Signature] = Signature()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "update" in cls.__dict__:
            cls.one_kernel = cls.__dict__.get("one_kernel", False)
            cls.elementwise = cls.__dict__.get("elementwise", False)
        if "__init__" in cls.__dict__:
            cls.__signature__ = None  # type: ignore[attr-defined]  # not that of a base class
        else:
            cls._signature = cls.__signature__ = declared(cls, cls._signature)  # type: ignore[attr-defined]

    def __init__(self, params: Any, *args: Any, **defaults: Any) -> None:
        if self._signature.parameters:
            defaults = bound(type(self).__name__, self._signature, params, args, defaults)
        elif args:
            raise TypeError(f"{type(self).__name__}: hyperparameters are passed by name")
        groups = as_groups(params)
        self.defaults = defaults
        self._read = reader(tuple(defaults))  # of the hyperparameters of a group
        self.param_groups: list[State] = []
        self.scheduled = {"lr"}  # what schedules write into the groups
        self.initial_rates: list[float] = []  # of the groups, before the first schedule of theirs
        self.transforms: tuple[Transform, ...] = ()  # of the gradients, before the update: see `chain`
        # what `LossScaler.unscale` asks of the next step:
        self.half_factor = 1.0  # a factor of 16-bit gradients, in float32
        self.scale: DeviceScale | None = None  # on a device: what divides them, or keeps the step away
        self.shards: Shards | None = None  # of the ranks that share the moments: `parallel.shard_optimizer`
        self.settle: Callable[[], object] | None = None  # hears of steps that were kept away
        self._rates: list[Callable[[int], float] | None] = []  # of the groups whose rate is a function
        self._state: dict[int, State] = {}  # of parameters by id, while there are no blocks
        self._blocks: list[Block] = []
        self._spans: list[MomentSpan] = []
        self._members: list[Tensor] = []
        self._filled: list[Any] = []  # the members' `_filled`, as of the last step
        self._present: list[bool] = []  # which of them had a gradient when `_spans` were made
        self._waiting = False  # for more gradients, before the step is made
        for group in groups:
            self.add_param_group(group)

    @classmethod
    def hyperparameters(cls, **given: Any) -> Any:
        """The hyperparameters of a rule by name, as `span.h` has them; defaults where not given.

        >>> import xpnet
        >>> xpnet.optim.SGD.hyperparameters(lr=0.1).momentum
        0.0
        """
        defaults = {k: p.default for k, p in cls._signature.parameters.items() if k != "params"} | given
        return record(cls.__name__, tuple(defaults))(**defaults)

    def add_param_group(self, group: State) -> None:
        """Train more parameters, with their own hyperparameters.

        Args:
            group: a dict of `"params"` and hyperparameters; the others are the defaults.

        Raises:
            ValueError: an unknown or invalid hyperparameter, or a parameter that is in a group already.
            TypeError: something is not a trainable leaf Tensor.
        """
        if not isinstance(group, dict) or "params" not in group:
            raise ValueError(f"a group must be a dict with 'params', got {group!r}")
        members = group["params"]
        members = members.parameters() if hasattr(members, "parameters") else members
        members = [members] if isinstance(members, Tensor) else list(members)
        members, names = named(members)
        unknown = group.keys() - self.defaults.keys() - {"params", "param_names"}
        if unknown:
            name, known = type(self).__name__, ", ".join(self.defaults)
            raise ValueError(f"{name}: unknown option {sorted(unknown)[0]!r}; options are {known}")
        taken = {id(p) for p in members_of(self.param_groups)}
        for p in members:
            if not isinstance(p, Tensor):
                raise TypeError(f"params: expected parameters, got {type(p).__name__}")
            if p._pullback is not None:
                raise TypeError("params: a Tensor computed from others cannot be trained, only a leaf")
            if id(p) in taken:
                raise ValueError("params: a parameter appears in two groups")
            taken.add(id(p))
        merged = {**self.defaults, **group, **names, "params": members}
        rate = merged.get("lr")
        if callable(rate):
            merged["lr"] = rate(0)
        merged = {k: as_python(v) for k, v in merged.items()}
        self.check_group(merged)
        self._state, self._blocks, self._spans = self._collected(), [], []
        self.param_groups.append(merged)
        self._rates.append(rate if callable(rate) else None)
        self._follows = any(self._rates)

    def check_group(self, group: State) -> None:
        """Refuse a group, with all its options, that the rule cannot take; nothing has changed yet."""
        check_options(type(self).__name__, group)

    def divide_among(self, shards: Shards) -> None:
        """Keep from here on the moments of this rank's part alone."""
        self._state, self._blocks, self._spans = self._collected(), [], []
        self.shards = shards

    @property
    def has_functions(self) -> bool:
        """Whether the learning rate of a group is a function of the steps."""
        return self._follows

    # ---- the step ----

    def update(self, span: MomentSpan | Wide) -> None:
        """Update `span.values` in place, by its `grads`, `moments`, hyperparameters `h` and `step`."""
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """The names of the moments; None for one that these hyperparameters do not need."""
        return self.moments

    def initial(self, h: Any) -> dict[str, float]:
        """The values that moments start from, where that is not 0."""
        return {}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients, called first.

        Returns:
            The loss that the closure returned.
        """
        loss = None if closure is None else closure()
        self._make()
        return loss

    @on_host
    def _make(self) -> None:
        blocks = self._blocks
        for block in blocks:
            if not block.span.current:
                blocks = []
                break
        if not blocks:
            blocks = self._build()
        if self._follows:
            self._write_rates()
        for block in blocks:
            values = self._read(block.group)
            if values != block.values and self._needs_others(block, values):
                self._build()
                break
        filled = [p._filled for p in self._members]
        if filled != self._filled:
            self._filled = filled
            self._divide([bool(f) for f in filled])
        factor, self.half_factor = self.half_factor, 1.0
        scale, self.scale = self.scale, None
        recording = capturing() if active[0] else None
        for transform in self.transforms if active[0] else ():
            if not transform.capturable:
                refuse(f"{type(transform).__name__} may do something else in each step")
        if recording is not None:
            if scale is not None and self._follows:
                refuse("a rate that is a function of the steps waits to know which a LossScaler left out")
            self._join(recording)
        undo = not (self.transforms or (scale is not None and scale.divided))
        if self.transforms:
            factor = self._transform(factor, scale)
        if not self._waiting:
            for span in self._spans:
                span.step = step = span.made + 1
                flat = span.flat
                if flat is None or flat.grads is not span.seen:
                    span.look()
                if flat is None:
                    wrote(span.parameters[0])
                else:  # as `flat.wrote` does
                    last[0] = flat.written[span.part] = next(clock)
                if (
                    type(span.values) is ndarray and span.master is None and not span.upward
                ):  # nothing to look at
                    self.update(span)
                    span.made = step
                    continue
                with on_device(span.values):
                    if scale is None:
                        self._update(span, factor)
                    else:
                        scale.update(self._update, span, factor, undo, self.one_kernel)
            if self.shards is not None:
                for flat in {id(span.flat): span.flat for span in self._spans if span.flat}.values():
                    self.shards.complete(flat, flat.values)
        if scale is not None:
            with on_device(scale.state):
                scale.end(self._spans if not self._waiting else [])

    def _update(self, span: MomentSpan, factor: float | Array) -> None:
        if span.master is not None:
            self.update(span.widened(-factor if span.upward else factor))
            span.write()
        elif span.upward:
            self.update(Wide(span.values, -span.grads, span.moments, span.h, span.step, span.parameters))
        else:
            self.update(span)
        recording = capturing()
        if recording is None:
            span.made = span.step
        else:
            writes, recording.updates = recording.updates, []
            if not writes:
                refuse(
                    f"{type(self).__name__} has no kernel for these parameters: rate and step count would be "
                    "those of now in every replay"
                )
            recording.before.append(lambda: self._count(span, writes))

    # ---- in a captured step ----

    def _join(self, recording: Recording) -> None:
        """Tell a recording what its replays are to do here: see `xpnet.core.recording`."""
        for transform in self.transforms:
            depends_on(transform, *(name for name in vars(transform) if name != "t"))
        spans = self._spans
        places = [(span, span.values, span.grads, span.master) for span in spans]
        recording.checks.append(lambda: self._spans is spans and all(map(_is_there, places)))
        recording.checks.append(self._has_its_moments)
        trained = [p.requires_grad for p in self._members]
        recording.checks.append(lambda: [p.requires_grad for p in self._members] == trained)
        recording.updates = []

    def _has_its_moments(self) -> bool:
        """Before a replay: see which hyperparameters hold; whether the moments are those that they need."""
        if self._follows:
            self._write_rates()
        for block in self._blocks:
            values = self._read(block.group)
            if values != block.values and self._needs_others(block, values):
                return False
        return True

    @staticmethod
    def _count(span: MomentSpan, writes: list[Callable[[Any, int], object]]) -> None:
        """Before a replay: count its step, and write its hyperparameters."""
        span.made = span.step = span.made + 1
        for write in writes:
            write(span.h, span.step)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, so that the next `backward` begins anew; or set those that there are to 0.

        Parameters without a gradient are left alone by `step`, those with 0 are not: momentum goes on. While
        `Accumulate` waits for more gradients, they are kept.
        """
        if active[0] and (recording := current()) is not None:
            recording.chosen_by(lambda: self._waiting)
        self._zero(set_to_none)

    @on_host
    def _zero(self, set_to_none: bool) -> None:
        if self._waiting:
            return
        for group in self.param_groups:
            zero_grads(group["params"], set_to_none)

    def _transform(self, factor: float, scale: DeviceScale | None) -> float:
        """Run the transforms on gradients divided by the scale; the factor that is left to the step."""
        for span in self._spans:
            span.look()
            if scale is not None and not scale.divided:
                with on_device(span.values):
                    span.grads *= scale.inverse(span.grads.dtype)
        if factor != 1:
            for span in self._spans:
                if span.master is not None:
                    with on_device(span.values):
                        span.grads[...] *= factor
        self._waiting = not all(transform.update(self._spans) for transform in self.transforms)
        return 1.0

    def _write_rates(self) -> None:
        self._keep_counts()
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            if rate is not None:
                lr = as_python(rate(max(n for b in self._blocks if b.group is group for n in b.made)))
                check_options(type(self).__name__, {"lr": lr})
                group["lr"] = lr

    # ---- blocks and spans ----

    def _build(self) -> list[Block]:
        """Make blocks over the parameters where they are now; the state moves there."""
        refuse(f"{type(self).__name__} makes its moments in this step", lasting=False)
        state = self._collected()
        self._members, self._spans = members_of(self.param_groups), []
        self._filled, self._present = [], []
        blocks = []
        number = {id(p): i for i, group in enumerate(self.param_groups) for p in group["params"]}

        def together(p: Tensor) -> Any:
            i = number[id(p)]
            # between aligned parameters are zeros, and 0 / (sqrt(0) + eps) should be one
            apart = _divides_by_0(self.param_groups[i]) and not (p._flat is None or p._flat.packed)
            return (i, id(p)) if apart or self.alone else i

        for span in spans(self._members, together):
            group = self.param_groups[number[id(span.parameters[0])]]
            h = record(type(self).__name__, tuple(self.defaults))(*self._read(group))
            with on_device(span.values):
                names = self.moment_names(h)
                block, initial = Block(span, group, h, names, self.moment_shape, self.shards), self.initial(h)
                for i, p in enumerate(span.parameters):
                    block.restore(i, state.get(id(p), {}), initial)
            blocks.append(block)
        self._blocks, self._state = blocks, {}
        return blocks

    def _needs_others(self, block: Block, values: tuple[Any, ...]) -> bool:
        """Give a block other hyperparameters; whether they need other moments."""
        h = type(block.h)(*values)
        apart = _divides_by_0(h._asdict()) != _divides_by_0(block.h._asdict())
        if apart or self.moment_names(h) != block.names:
            return True
        block.values, block.h = values, h
        for span in self._spans:
            span.look()
        return False

    def _divide(self, present: list[bool]) -> None:
        """Spans that break only where the group, the presence of a gradient or the step count changes."""
        if present == self._present:
            return
        self._keep_counts()
        self._present, self._spans, first = present, [], 0
        for block in self._blocks:
            last = first + len(block.made)
            self._spans += block.spans(present[first:last])
            first = last

    def _keep_counts(self) -> None:
        for span in self._spans:
            span.keep_count()

    def _collected(self) -> dict[int, State]:
        """The state of all parameters by id, as copies."""
        if self.settle is not None:
            self.settle()
        self._keep_counts()
        found = dict(self._state)
        for block in self._blocks:
            found |= zip(map(id, block.span.parameters), block.states(), strict=True)
        return found

    # ---- saving ----

    def _repr_html_(self) -> str:
        """What a notebook shows: the hyperparameters of each group, and how many parameters it has."""
        names = list(self.defaults)
        rows = [
            [sum(p.size for p in group["params"]), *(group[name] for name in names)]
            for group in self.param_groups
        ]
        return table(["parameters", *names], rows, type(self).__name__)

    def settings(self) -> dict[str, Any]:
        """The rule, its options and the sizes of the groups, as JSON holds them; not what schedules write."""
        rule, options = type(self).__name__, (self.defaults, self.param_groups, self.scheduled)
        found = saving.settings(rule, *options, self.transforms)
        return {k: v for k, v in found.items() if k not in self.later or v != self.later[k]}

    def state_dict(self) -> dict[str, Any]:
        """Steps and moments by parameter number, and the options of each group, laid out as PyTorch does.

        While `Accumulate` waits for more gradients, those so far are in it, as "grad" of each parameter.
        """
        if self.shards is not None:
            self.shards.ask()
        state = self._collected()
        for p in members_of(self.param_groups) if self._waiting else ():
            if p._filled:
                copy = namespace(p.data).asarray(p._grad, copy=True)
                state[id(p)] = {"step": 0, **state.get(id(p), {}), "grad": copy}
        return saving.state_dict(self.param_groups, state, self.transforms)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of the same optimizer in PyTorch, gave, from any backend.

        Args:
            state: the groups, and the state of each parameter by its number.

        Raises:
            ValueError: the groups or shapes are not this optimizer's. Nothing has changed then.
        """
        rest = (self.defaults, self.transforms, self.moment_shape)
        found = saving.checked(state, self.param_groups, *rest)
        self._blocks, self._spans, self._state = [], [], found
        so_far = {key: values.pop("grad") for key, values in found.items() if "grad" in values}
        self._waiting = bool(so_far)
        for p in members_of(self.param_groups) if so_far else ():
            value, place = so_far.get(id(p)), backend_of(p.data)
            p.grad = None if value is None else asarray(value, dtype_name(p.dtype), backend=place)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the state by parameter number, since identities change."""
        state = saving.state_dict(self.param_groups, self._collected(), ())["state"]
        empty = ("_blocks", "_spans", "_members", "_filled", "_present")
        return {**vars(self), **{name: [] for name in empty}, "_state": state, "shards": None}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)
        members = members_of(self.param_groups)
        self._state = {id(members[i]): values for i, values in saved["_state"].items()}


def _is_there(place: tuple[MomentSpan, Array, Array, Array | None]) -> bool:
    """Whether a span's parameters, gradients and copies are still the arrays that they were."""
    span, values, grads, master = place
    here = span.parameters[0]._grad is grads if span.flat is None else span.flat.grads is span.seen
    return here and span.current and span.values is values and span.grads is grads and span.master is master


def _divides_by_0(options: dict[str, Any]) -> bool:
    """Whether a gradient of 0 is divided by 0 with these hyperparameters."""
    return options.get("eps") == 0
