"""A training step that is recorded once, as a CUDA graph or a list of NumPy's calls, and then made as one.

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

from xpnet.core.backend import Backend, get_backend
from xpnet.core.context import active, casting
from xpnet.core.convert import asarray
from xpnet.core.node import LENT
from xpnet.core.op import is_recording
from xpnet.core.places import backend_of, known_backend
from xpnet.core.precision import get_matmul_precision
from xpnet.core.recording import ROOM, CaptureError, Phase, Ranks, Recording
from xpnet.core.registry import is_enabled
from xpnet.core.replay import Constant, Program, plain, shown
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.tracing import Traced
from xpnet.core.trees import mapped

MOST = 8  # graphs of one kind of calls, which find other gradients
MOST_KINDS = 256  # of calls: a number that changes in each of them makes one of each
REPLAY, CAPTURE, AS_IS = range(3)  # what a rank would do with a call; all do the last that one of them would

P = ParamSpec("P")
R = TypeVar("R")


def capture(function: Callable[P, R], warmup: int = 2, communicator: Ranks | None = None) -> Captured[P, R]:
    """Make one launch of a training step on CUDA, a list of calls without the tape on NumPy.

    On other backends it is called as it is.

    Args:
        function: `function(*arrays)`, which trains: `zero_grad`, forward pass, `backward`, clipping, the step
            of an optimizer. It takes and gives arrays, Tensors, and tuples, lists and dicts of them; numbers
            and strings it may take as well.
        warmup: for each kind of arguments, the calls that run as they are, so that kernels are compiled and
            memory is there; at least 1, since moments are made in the first step.
        communicator: of the ranks (`xpnet.parallel`), if the step sums gradients over several: they capture
            and replay it at the same calls, which they tell each other before each one. Sums by NCCL are
            part of the graph; on NumPy each replay makes them anew.

    Returns:
        A function with the same arguments and results. Its calls are steps of the same bits as without it,
        one for each combination of shapes, dtypes and settings (`no_grad`, `fused`, `matmul_precision`, the
        modes of layers) is captured.

    What is on the device changes as in a step that is not captured: parameters, moments, running statistics,
    gradients. Counts of steps, rates, schedules and random streams go on, too. Python of your own in the
    function, a `print` or a count, runs while it is captured, and not again: numbers that it gives to the
    device stay as they were then. On NumPy the third call is written down and the fourth compared with what
    was written, bit by bit.

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
    return Captured(function, warmup, communicator)


class Captured(Generic[P, R]):
    """What `capture` makes of a function.

    Attributes:
        graphs: how many kinds of calls have been captured.
    """

    def __init__(self, function: Callable[P, R], warmup: int = 2, communicator: Ranks | None = None) -> None:
        if not callable(function):
            raise TypeError(f"capture: expected a function, got {type(function).__name__}")
        if warmup < 1:
            raise ValueError(f"capture: warmup must be at least 1, got {warmup}")
        self._function, self._warmup = function, warmup
        self._ranks = communicator if communicator is not None and communicator.size > 1 else None
        self._kinds: dict[Hashable, _Kind] = {}
        self._full = False
        update_wrapper(self, function, updated=())

    @property
    def graphs(self) -> int:
        """How many kinds of calls are launched as one."""
        return sum(len(kind.graphs) for kind in self._kinds.values())

    @property
    def uncaptured(self) -> Callable[P, R]:
        """The function itself."""
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A step."""
        leaves: list[Any] = []
        described = _described(args, kwargs, leaves)
        backend = _backend(leaves)
        if backend.name == "numpy":
            if active[0]:  # inside of another one
                return self._function(*args, **kwargs)
        elif backend.name != "cupy" or backend.xp.is_capturing():
            return self._function(*args, **kwargs)
        place = getattr(backend.device, "id", None)
        cast = getattr(casting.get(), "dtype", None)
        key = described, place, is_recording(), is_enabled(), get_matmul_precision(), cast
        kind = self._kinds.get(key)
        if kind is None and len(self._kinds) == MOST_KINDS:
            if not self._full:
                self._full = True
                message = (
                    f"it has had {MOST_KINDS} kinds of arguments, others run as they are; pass what changes"
                )
                warnings.warn(f"capture: {message} in each call as an array", RuntimeWarning, stacklevel=2)
            if self._ranks is not None and backend.name == "cupy":
                self._ranks.largest(AS_IS)
            return self._function(*args, **kwargs)
        if kind is None:
            kind = self._kinds[key] = _Kind(self._function, backend, self._ranks)
            unknown = _unknown(described)
            if unknown is not None:
                kind.refuse(f"an argument is a {unknown.__name__}, whose changes would not be seen")
            elif self._ranks is not None and backend.name == "cupy" and not self._ranks.capturable:
                kind.refuse(f"{type(self._ranks).__name__} adds up on the host what the ranks have")
        if backend.name == "numpy":
            return kind.on_host(args, kwargs, leaves, self._warmup)
        with backend.xp.on(backend.device):
            return kind.call(args, kwargs, leaves, self._warmup)


_TOO_MANY = f"it finds other gradients, or labels of other kinds, in each of {MOST} calls"
_WANTS_GRADIENT = "an argument requires a gradient, which the caller would not see"


class _Kind:
    """Calls of one kind: shapes, dtypes and settings are the same."""

    def __init__(self, function: Callable[..., Any], backend: Backend, ranks: Ranks | None) -> None:
        self.function, self.backend, self.ranks = function, backend, ranks
        self.refused = False
        self.graphs: list[Any] = []  # _Graph, or on NumPy Program
        self.begin()

    def begin(self) -> None:
        """Watch calls that run as they are, before one is captured."""
        self.calls, self.watched = 0, Recording()
        if self.backend.name == "cupy":
            self.watched.on_refusal = self.refuse

    def call(self, args: Any, kwargs: Any, leaves: list[Any], warmup: int) -> Any:
        graph = None if self.refused else self._found()
        wish = REPLAY if graph else AS_IS if self.refused or self.calls < warmup else CAPTURE
        agreed = self._agreed(wish)
        if agreed != AS_IS and graph is None:
            try:
                if len(self.graphs) == MOST:
                    raise CaptureError(_TOO_MANY)
                graph = _Graph(self, args, kwargs, leaves)
                self.graphs.append(graph)
            except Exception as error:  # whatever it is: the step is made as it would have been without us
                reason = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"
                if "H2D" in reason:
                    reason += "; make arrays of the host's numbers before the step"
                self.refuse(reason)
        if agreed == CAPTURE and self._agreed(graph is None) and not self.refused:
            self.refuse("another rank could not capture it, and says why")
        if self.refused:
            return self.function(*args, **kwargs)
        if graph is not None and agreed != AS_IS:
            return graph.replay(leaves)
        self.calls += 1
        with self.watched.during(Phase.WATCHED):
            return self.function(*args, **kwargs)

    def _found(self) -> _Graph | None:
        """A graph of this call, if there is one."""
        kept = [graph for graph in self.graphs if graph.is_in_place()]
        if len(kept) < len(self.graphs):  # moments, say, are made anew in the next step
            self.graphs = kept
            self.begin()
        return next((graph for graph in kept if graph.finds_its_gradients()), None)

    def _agreed(self, vote: int) -> int:
        """The largest vote of all ranks: a sum in a graph waits for one in a graph, on every rank."""
        return vote if self.ranks is None else int(self.ranks.largest(vote))

    def on_host(self, args: Any, kwargs: Any, leaves: list[Any], warmup: int) -> Any:
        """A call on NumPy."""
        if self.refused:
            return self.function(*args, **kwargs)
        for program in self.graphs:
            if not program.is_in_place():
                self.graphs = [p for p in self.graphs if p.is_in_place()]
                self.begin()
                break
            if program.finds_its_gradients() and program.takes(leaves):
                if program.busy.locked():  # by another thread, or it calls itself
                    return self.function(*args, **kwargs)
                if program.proved:
                    return program.replay(leaves)
                result = program.prove(lambda: self.function(*args, **kwargs), leaves)
                if program.refused:
                    self.refuse(program.refused)
                return result
        if self.calls < warmup:
            self.calls += 1
            with self.watched.during(Phase.WATCHED):
                return self.function(*args, **kwargs)
        wanted = any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves)
        if wanted or len(self.graphs) == MOST:
            self.refuse(_WANTS_GRADIENT if wanted else _TOO_MANY)
            return self.function(*args, **kwargs)
        program = _program(self, args, kwargs, leaves)
        if program.refused:
            self.refuse(program.refused)
        else:
            self.graphs.append(program)
        return program.result

    def refuse(self, reason: str) -> None:
        """Call the function as it is from here on, and say why, once."""
        if self.refused:
            return
        self.refused, self.graphs = True, []
        name = getattr(self.function, "__name__", "the step")
        warnings.warn(f"capture: {name} runs as it is: {reason}", RuntimeWarning, stacklevel=4)


class _Graph:
    """A recorded step, its static inputs and results, and what must hold for it to be replayed.

    Nothing is computed while it is recorded, and nothing counted.
    """

    def __init__(self, kind: _Kind, args: Any, kwargs: Any, leaves: list[Any]) -> None:
        self.xp, self.recording = kind.backend.xp, Recording()
        if not is_enabled():
            raise CaptureError("the fused kernels are off, and without them numbers of a step are arguments")
        for leaf in leaves:
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                raise CaptureError(_WANTS_GRADIENT)
        self.graph = self.xp.Graph(ROOM)
        self.recording.device, self.recording.ranks = self.graph.numbers, kind.ranks
        arrays = [asarray(array_of(leaf), backend=kind.backend) for leaf in leaves]
        self.inputs = [self.xp.copied(a) for a in arrays]
        self.written: list[int] | None = None  # inputs that the step writes to: a replay shows
        static = iter(self.inputs)
        put = lambda leaf: Tensor(next(static)) if isinstance(leaf, Tensor) else next(static)
        args, kwargs = mapped(lambda v: put(v) if _is_leaf(v) else v, (args, kwargs))
        form = _form((args, kwargs))
        watched = list(kind.watched.leaves.values())
        before = [(leaf, leaf._filled, leaf._grad) for leaf in watched]
        try:
            with self.recording.during(Phase.CAPTURED):
                self.result = self.graph.capture(lambda: kind.function(*args, **kwargs))
            self._check(args, kwargs, form, kind.watched)
        except BaseException:
            for leaf, filled, gradient in before:  # none has been computed
                leaf._filled, leaf._grad = filled, gradient
            raise
        # the gradients that it finds, and leaves; where they and the parameters are
        self.gradients = [(leaf, bool(filled), leaf._filled) for leaf, filled, _ in before]
        self.places = [(leaf, leaf._data, leaf._grad, leaf.requires_grad) for leaf in watched]
        self.recording.phase = Phase.REPLAYED

    def _check(self, args: Any, kwargs: Any, form: Hashable, watched: Recording) -> None:
        mapped(self._known, self.result)
        if _form((args, kwargs)) != form:
            raise CaptureError("it changes a list or dict that it is given")
        if self.recording.leaves.keys() != watched.leaves.keys():
            raise CaptureError("it gives gradients to other parameters than in the calls before")

    def is_in_place(self) -> bool:
        """Whether parameters, gradients, layers and settings are those that were captured."""
        for leaf, data, gradient, trained in self.places:
            if leaf._data is not data or leaf._grad is not gradient or leaf.requires_grad is not trained:
                return False
        return all(check() for check in self.recording.checks)

    def finds_its_gradients(self) -> bool:
        """Whether each parameter has a gradient, to be added to, or none, as when it was captured."""
        return all(bool(leaf._filled) == before for leaf, before, _ in self.gradients)

    def replay(self, leaves: list[Any]) -> Any:
        """A step with these arguments."""
        for static, given in zip(self.inputs, leaves, strict=True):
            array = array_of(given)
            if array is not static:
                self.xp.copy_into(static, array)
        for action in self.recording.before:
            action()
        self.graph.replay(self.recording.host[: self.recording.size])
        for leaf, _, after in self.gradients:
            if leaf._filled != LENT or not after:
                leaf._filled = after
        if self.written is None:  # look once, which waits
            pairs = enumerate(zip(self.inputs, leaves, strict=True))
            self.written = [i for i, (a, b) in pairs if not self.xp.same_bytes(a, array_of(b))]
        for i in self.written:
            array_of(leaves[i])[...] = self.inputs[i]
        return shown(self.result, self.xp.copied)

    @staticmethod
    def _known(leaf: Any) -> None:
        if not _is_leaf(leaf) and not isinstance(leaf, Constant):
            raise CaptureError(
                f"it returns {leaf!r}, a {type(leaf).__name__}, which would stay that of the first call; "
                "return arrays"
            )


def _program(kind: _Kind, args: Any, kwargs: Any, leaves: list[Any]) -> Program:
    """A step on NumPy, which runs while it is written down."""
    inputs = [np.array(array_of(leaf)) for leaf in leaves]
    views, given = [a.view(Traced) for a in inputs], (args, kwargs)
    static = iter(views)
    put = lambda leaf: Tensor(next(static)) if isinstance(leaf, Tensor) else next(static)
    args, kwargs = mapped(lambda v: put(v) if _is_leaf(v) else v, given)
    form = _form((args, kwargs))
    program = Program(kind.function, args, kwargs, inputs, leaves, list(kind.watched.leaves.values()))
    if _form((args, kwargs)) != form:
        program.refused = "it changes a list or dict that it is given"
        _give_back(given, (args, kwargs), {id(a): b for a, b in zip(views, leaves, strict=True)})
    return program


def _give_back(given: Any, made: Any, leaves: dict[int, Any]) -> None:
    """Change the caller's lists and dicts as the step has changed its copies of them."""
    theirs = lambda v: leaves.get(id(array_of(v)), plain(v)) if _is_leaf(v) else v
    if isinstance(given, dict):
        for key in given.keys() & made.keys():
            _give_back(given[key], made[key], leaves)
        for key in given.keys() - made.keys():
            del given[key]
        given.update({key: mapped(theirs, made[key]) for key in made.keys() - given.keys()})
    elif isinstance(given, list):
        given[:] = [mapped(theirs, v) for v in made]
    elif isinstance(given, tuple):
        for a, b in zip(given, made, strict=True):
            _give_back(a, b, leaves)


# ---- arguments and results --------------------------------------------------------------------------------


_ARRAYS = Tensor, np.ndarray


def _is_leaf(value: Any) -> bool:
    if isinstance(value, _ARRAYS):
        return True
    if isinstance(value, np.generic):  # a number
        return False
    return known_backend(value) is not None or hasattr(value, "__dlpack__")


def _described(args: Any, kwargs: Any, leaves: list[Any]) -> Hashable:
    """What arguments are like; their arrays, in order, go to `leaves`."""
    return tuple([_flatten(arg, leaves) for arg in args]), _flatten(kwargs, leaves) if kwargs else ()


def _form(value: Any) -> Hashable:
    """The lists and dicts that a value is made of."""
    if isinstance(value, dict):
        return dict, tuple((k, _form(v)) for k, v in value.items())
    if isinstance(value, tuple | list) and not _is_leaf(value):
        return type(value), tuple(map(_form, value))
    return None


def _flatten(value: Any, leaves: list[Any]) -> Hashable:
    if _is_leaf(value):
        leaves.append(value)
        array = array_of(value)
        tracked = isinstance(value, Tensor) and value.requires_grad
        return type(value), type(array), array.shape, array.dtype, tracked
    if isinstance(value, dict):
        return dict, tuple((k, _flatten(v, leaves)) for k, v in value.items())
    if isinstance(value, tuple | list):
        return type(value), tuple(_flatten(v, leaves) for v in value)
    if isinstance(value, float | np.generic):
        return type(value), repr(value)  # -0.0 is another number than 0.0, NaN the same as NaN
    if isinstance(value, int | str | bool | None):
        return type(value), value
    return _Unknown, type(value)


def _unknown(described: Any) -> type | None:
    """The type of an argument that is neither array nor number, in what `_described` gave."""
    if isinstance(described, tuple):
        if len(described) == 2 and described[0] is _Unknown:
            return described[1]
        return next((found for part in described if (found := _unknown(part)) is not None), None)
    return None


class _Unknown:
    """In place of an argument whose changes nobody would see."""


def _backend(leaves: list[Any]) -> Backend:
    """Where the step runs: where an array that is not on the host is, else the default backend."""
    for leaf in leaves:
        array = array_of(leaf)
        if not isinstance(array, np.ndarray):
            return backend_of(array)
    return get_backend()
