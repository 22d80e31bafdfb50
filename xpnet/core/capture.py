"""A training step that is recorded once, as a CUDA graph, and then launched as one.

Forward, loss, backward and update of a small network are some twenty kernels of a few microseconds, each of
which costs the host more than that. Replayed they cost one launch (NVIDIA, "CUDA graphs"; what PyTorch calls
`torch.cuda.make_graphed_callables`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from xpnet.core.backend import Array, Backend, get_backend
from xpnet.core.convert import asarray
from xpnet.core.op import is_recording
from xpnet.core.places import backend_of, known_backend
from xpnet.core.precision import get_matmul_precision
from xpnet.core.recording import ROOM, CaptureError, Phase, Recording
from xpnet.core.registry import is_enabled
from xpnet.core.tensor import Tensor, array_of

P = ParamSpec("P")
R = TypeVar("R")


def capture(function: Callable[P, R], warmup: int = 2) -> Captured[P, R]:
    """Make one launch of a training step on CUDA; elsewhere it is called as it is.

    Args:
        function: `function(*arrays)`, which trains: `zero_grad`, forward pass, `backward`, clipping, the step
            of an optimizer. It takes and gives arrays, Tensors, and tuples, lists and dicts of them; numbers
            and strings it may take as well.
        warmup: for each kind of arguments, the calls that run as they are, so that kernels are compiled and
            memory is there; at least 1, since moments are made in the first step.

    Returns:
        A function with the same arguments and results. Its calls are steps of the same bits as without it,
        one for each combination of shapes, dtypes and settings (`no_grad`, `fused`, `matmul_precision`, the
        modes of layers) is captured.

    What is on the device changes as in a step that is not captured: parameters, moments, running statistics,
    gradients. Counts of steps, rates, schedules and random streams go on, too. Python of your own in the
    function, a `print` or a count, runs while it is captured, and not again: numbers that it gives to the
    device stay as they were then.

    What cannot be captured is called as it is, after a warning that says why: a wait for the device
    (`item()`, an `if` over values), an optimizer without a kernel, averages of batch norm with
    `momentum=None`, results that are numbers of Python.

    Raises:
        TypeError: it is no function.
        ValueError: warmup is below 1.

    Warns:
        RuntimeWarning: the function cannot be captured.

    >>> import xpnet, xpnet.functional as F
    >>> from xpnet import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model, lr=0.1)
    >>> @xpnet.capture
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = F.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, y = xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([[3.0]])
    >>> losses = [step(x, y).item() for _ in range(5)]
    >>> losses[4] < losses[0]
    True
    """
    return Captured(function, warmup)


class Constant:
    """A result of a captured function that is the same for each call of a kind: the number of rows, say."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Captured(Generic[P, R]):
    """What `capture` makes of a function.

    Attributes:
        graphs: how many kinds of calls have been captured.
    """

    def __init__(self, function: Callable[P, R], warmup: int = 2) -> None:
        if not callable(function):
            raise TypeError(f"capture: expected a function, got {type(function).__name__}")
        if warmup < 1:
            raise ValueError(f"capture: warmup must be at least 1, got {warmup}")
        self._function, self._warmup = function, warmup
        self._kinds: dict[Hashable, _Kind] = {}
        update_wrapper(self, function, updated=())

    @property
    def graphs(self) -> int:
        """How many kinds of calls are launched as one."""
        return sum(kind.is_captured for kind in self._kinds.values())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A step."""
        leaves: list[Any] = []
        described = tuple([_flatten(arg, leaves) for arg in args]), _flatten(kwargs, leaves) if kwargs else ()
        backend = _backend(leaves)
        if backend.name != "cupy" or backend.xp.is_capturing():
            return self._function(*args, **kwargs)
        place = getattr(backend.device, "id", None)
        key = described, place, is_recording(), is_enabled(), get_matmul_precision()
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(self._function, backend)
        with backend.xp.on(backend.device):
            return kind.call(args, kwargs, leaves, self._warmup)


class _Kind:
    """Calls of one kind: shapes, dtypes and settings are the same."""

    def __init__(self, function: Callable[..., Any], backend: Backend) -> None:
        self.function, self.backend = function, backend
        self.calls, self.refused = 0, False
        self.recording = Recording()
        self.graph: Any = None
        self.inputs: list[Array] = []
        self.result: Any = None

    @property
    def is_captured(self) -> bool:
        return self.graph is not None

    def call(self, args: Any, kwargs: Any, leaves: list[Any], warmup: int) -> Any:
        if self.refused:
            return self.function(*args, **kwargs)
        if self.graph is not None and not all(check() for check in self.recording.checks):
            self.graph, self.calls, self.recording = None, 0, Recording()  # moments, say, are made anew
        if self.calls < warmup:
            self.calls += 1
            with self.recording.during(Phase.WATCHED):
                return self.function(*args, **kwargs)
        if self.graph is None:
            try:
                self.capture(args, kwargs, leaves)
            except Exception as error:  # whatever it is: the step is made as it would have been without us
                self.refused = True
                name = getattr(self.function, "__name__", "the step")
                reason = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"
                if "H2D" in reason:
                    reason += "; make arrays of the host's numbers before the step"
                warnings.warn(f"capture: {name} runs as it is: {reason}", RuntimeWarning, stacklevel=4)
                return self.function(*args, **kwargs)
        for static, given in zip(self.inputs, leaves, strict=True):
            array = array_of(given)
            if array is not static:
                self.xp.copy_into(static, array)
        for action in self.recording.before:
            action()
        self.graph.replay(self.recording.host[: self.recording.size])
        return _map(self.result, self._copy)

    @property
    def xp(self) -> Any:
        return self.backend.xp

    def capture(self, args: Any, kwargs: Any, leaves: list[Any]) -> None:
        """Record the step; nothing is computed, and nothing counted."""
        watched, self.recording = self.recording, Recording()
        self.recording.members = watched.members
        filled = [(p, p._filled) for members in watched.members for p in members]
        for leaf in leaves:
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                raise CaptureError("an argument requires a gradient, which the caller would not see")
        if not is_enabled():
            raise CaptureError("the fused kernels are off, and without them numbers of a step are arguments")
        graph = self.xp.Graph(ROOM)
        self.recording.device = graph.numbers
        arrays = [asarray(array_of(leaf), backend=self.backend) for leaf in leaves]
        self.inputs = [self.xp.copied(a) for a in arrays]
        static = iter(self.inputs)
        put = lambda leaf: Tensor(next(static)) if isinstance(leaf, Tensor) else next(static)
        args, kwargs = _map((args, kwargs), put)
        try:
            with self.recording.during(Phase.CAPTURED):
                result = graph.capture(lambda: self.function(*args, **kwargs))
            _map(result, lambda leaf: leaf, self._refuse)
        except BaseException:
            for p, flag in filled:  # no gradient has been computed
                p._filled = flag
            raise
        self.result, self.graph, self.recording.phase = result, graph, Phase.REPLAYED

    @staticmethod
    def _refuse(value: Any) -> Any:
        if value is not None and not isinstance(value, Constant):
            raise CaptureError(
                f"it returns {value!r}, a {type(value).__name__}, which would stay that of the first call; "
                "return arrays"
            )
        return value

    def _copy(self, leaf: Any) -> Any:
        """The result is the caller's to keep: the next replay writes over the graph's own."""
        copy = self.xp.copied(array_of(leaf))
        return Tensor(copy) if isinstance(leaf, Tensor) else copy


# ---- arguments and results --------------------------------------------------------------------------------


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) or known_backend(value) is not None


def _flatten(value: Any, leaves: list[Any]) -> Hashable:
    """Arrays and Tensors, in order, go to `leaves`; the rest, and what arrays are like, is returned."""
    if _is_leaf(value):
        leaves.append(value)
        array = array_of(value)
        return type(value), type(array), array.shape, array.dtype
    if isinstance(value, dict):
        return dict, tuple((k, _flatten(v, leaves)) for k, v in value.items())
    if isinstance(value, tuple | list):
        return type(value), tuple(_flatten(v, leaves) for v in value)
    if isinstance(value, float | int | str | bool | None):
        return type(value), value
    return type(value), id(value)


def _map(value: Any, on_leaf: Callable[[Any], Any], other: Callable[[Any], Any] = lambda v: v) -> Any:
    """The same structure, its arrays and Tensors replaced."""
    if _is_leaf(value):
        return on_leaf(value)
    if isinstance(value, dict):
        return {k: _map(v, on_leaf, other) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(v, on_leaf, other) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(_map(v, on_leaf, other) for v in value)
    return other(value)


def _backend(leaves: list[Any]) -> Backend:
    """Where the step runs: where an array that is not on the host is, else the default backend."""
    for leaf in leaves:
        array = array_of(leaf)
        if not isinstance(array, np.ndarray):
            return backend_of(array)
    return get_backend()
