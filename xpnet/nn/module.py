"""Module: named parameters, buffers and submodules, a training mode, and one vector theta."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from xpnet.core.backend import Array, DeviceError, dtype_name, load
from xpnet.core.context import active
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.html import table
from xpnet.core.incoming import is_foreign
from xpnet.core.memory_format import set_format
from xpnet.core.places import backend_of, device_key, known_backend, namespace, where
from xpnet.core.recording import current
from xpnet.core.renamed import input_first
from xpnet.core.tensor import Tensor, array_of
from xpnet.nn.device import MadeByBackend
from xpnet.nn.flat import FlatParameters, has_views, is_at, move_separately
from xpnet.nn.hooks import ForwardHook, HookHandle
from xpnet.nn.mode import Mode
from xpnet.nn.parameter import Buffer, Parameter
from xpnet.nn.parts import PLAIN, parts, reaches
from xpnet.nn.tree import edition
from xpnet.nn.vector import Vector

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Keys(NamedTuple):
    """What `load_state_dict` did not find a partner for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Vector, MadeByBackend):
    """Base class of layers and models: assign Parameters, Buffers and Modules as attributes, write `forward`.

    Names are paths of attributes, as in PyTorch: `"0.weight"`, `"encoder.bias"`. Lists, tuples and dicts of
    modules are looked into, nested ones, too: `"layers.0.weight"`, `"heads.left.weight"`.

    Nothing is lost without a word: what would not be found or trained (a set of modules, a Tensor where a
    Parameter is meant, an array in a parameter's place) is refused by name.

    >>> import xpnet
    >>> from xpnet import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         return self.out(xpnet.functional.relu(self.hidden(x)))
    >>> [name for name, _ in Net().named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training = Mode()
    _part = True
    _forward_hooks: tuple[ForwardHook, ...] = ()  # on the class: a module without hooks has no attribute

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; a subclass writes it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, with device errors that name the layer and the parameter; then the forward hooks.

        A data frame of numbers (pandas, polars), an Arrow table or a sparse matrix goes in as an array of the
        parameters' dtype, on the default backend. The first argument x may be passed as `input`.
        """
        if kwargs and "input" in kwargs:
            args, kwargs = input_first(type(self).__name__, self.forward, args, kwargs)
        if active[0]:
            recording = current()
            if recording is not None:
                recording.watch(self)
        if args and known_backend(args[0]) is None:
            args = tuple(asarray(to_numpy(a), self._float()) if is_foreign(a) else a for a in args)
        try:
            output = self.forward(*args, **kwargs)
        except DeviceError as error:
            raise self._locate(error, args) from None
        if self._forward_hooks:
            for hook in self._forward_hooks:
                changed = hook(self, args, output)
                if changed is not None:
                    output = changed
        return output

    def _float(self) -> str:
        """The dtype of the parameters; float32 without any."""
        return next((dtype_name(p.dtype) for p in self.parameters()), "float32")

    def register_forward_hook(self, hook: ForwardHook) -> HookHandle:
        """Have `hook(module, inputs, output)` called after each forward pass of this module.

        What it returns, unless None, takes the place of the output. Copies and pickles have no hooks.

        Returns:
            A handle; `handle.remove()`, or `handle()`, takes the hook away again.

        >>> import xpnet
        >>> from xpnet import nn
        >>> layer, shapes = nn.Linear(2, 3), []
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
        >>> for _ in range(2):
        ...     _ = layer(xpnet.asarray([[1.0, 2.0]]))
        ...     handle.remove()
        >>> shapes
        [(1, 3)]
        """
        self._forward_hooks = (*self._forward_hooks, hook)
        return HookHandle(self, hook)

    add_forward_hook = register_forward_hook

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A parameter that is made of others: see `xpnet.nn.parametrizations`."""
            made = self.__dict__.get("parametrizations")
            if made is None or name not in made:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return made[name]()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_forward_hooks", "_tree")}

    # ---- parts ----

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; what would drop a part of the model without a word is refused.

        Raises:
            TypeError: an array or a number where a Parameter is, a Tensor to be trained that is no Parameter,
                or modules in a container that has no order.
            ValueError: the module would contain itself.
        """
        old = vars(self).get(name)
        if old is None and "parametrizations" in vars(self) and name in vars(self)["parametrizations"]:
            raise TypeError(
                f"{type(self).__name__}.{name} is made of others: set those in parametrizations.{name}, or "
                "nn.remove_parametrizations first"
            )
        if isinstance(old, Parameter | Buffer) and value is not None and value is not old:
            value = self._successor(name, old, value)
        elif type(value) not in PLAIN:
            for path, part in parts(name, value):
                if isinstance(part, Module) and reaches(part, self):
                    raise ValueError(
                        f"{type(self).__name__}.{path}: the {type(part).__name__} would contain itself; keep "
                        "the way back outside of the tree, as in weakref.ref(module)"
                    )
        object.__setattr__(self, name, value)
        edition.follow(old, value)

    def __delattr__(self, name: str) -> None:
        old = vars(self).get(name)
        object.__delattr__(self, name)
        edition.follow(old, None)

    def _successor(self, name: str, old: Parameter | Buffer, value: Any) -> Any:
        """What takes the place of a parameter or a buffer; a buffer takes new values as they are."""
        if isinstance(value, type(old)):
            return value
        label, kind = f"{type(self).__name__}.{name}", type(value).__name__
        if isinstance(old, Parameter):
            raise TypeError(
                f"{label} is a Parameter, {kind} cannot take its place: set its values with "
                f"{name}.data[...] = x, or make another one with nn.Parameter(x)"
            )
        if isinstance(value, Tensor) and value.requires_grad:
            raise TypeError(f"{label} is a Buffer, which has no gradient: pass x.detach()")
        if not hasattr(value, "dtype"):
            raise TypeError(f"{label} is a Buffer: expected a Tensor or an array, got {kind}")
        return type(old)(value, persistent=old.persistent)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set a parameter under a name that is not an attribute yet.

        Args:
            name: of the attribute.
            param: of any shape; None for a place that is kept free.

        Raises:
            KeyError: there is such an attribute, or the name is empty or has a dot.
            TypeError: the name is no string, or it is no Parameter.
        """
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter({name!r}): expected a Parameter, got {type(param).__name__}")
        self._register(name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set a buffer under a name that is not an attribute yet.

        Args:
            name: of the attribute.
            tensor: a Tensor, an array, or None.
            persistent: whether it is in `state_dict`.

        Raises:
            KeyError: there is such an attribute, or the name is empty or has a dot.
            TypeError: the name is no string, or it is no Tensor or array.
        """
        if tensor is not None and not hasattr(tensor, "dtype"):
            raise TypeError(f"register_buffer({name!r}): expected a Tensor, got {type(tensor).__name__}")
        self._register(name, None if tensor is None else Buffer(tensor, persistent=persistent))

    def add_module(self, name: str, module: Module | None) -> None:
        """Set a module under a name that is not an attribute yet.

        Args:
            name: of the attribute; `str(i)` for the layers of a list.
            module: None for a place that is kept free.

        Raises:
            KeyError: there is such an attribute, or the name is empty or has a dot.
            TypeError: the name is no string, or it is no Module.

        >>> from xpnet import nn
        >>> model = nn.Module()
        >>> model.add_module("0", nn.Linear(2, 3))
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias']
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module({name!r}): expected a Module, got {type(module).__name__}")
        self._register(name, module)

    register_module = add_module

    def _register(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a part must be a string, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"the name of a part must not be empty or contain a dot, got {name!r}")
        if hasattr(self, name) and vars(self).get(name, self) is not None:
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already")
        setattr(self, name, value)

    # ---- modules inside ----

    def named_children(self) -> list[tuple[str, Module]]:
        """(name, module) pairs of the modules directly inside this one; a shared one appears once."""
        return self._unique(Module, recurse=False)

    def children(self) -> list[Module]:
        """The modules directly inside this one."""
        return [m for _, m in self.named_children()]

    def named_modules(self) -> list[tuple[str, Module]]:
        """(name, module) pairs, this module first under the name `""`."""
        return [("", self), *self._unique(Module)]

    def modules(self) -> list[Module]:
        """This module and every one inside it."""
        return [m for _, m in self.named_modules()]

    def get_submodule(self, target: str) -> Module:
        """The module of that name, as `named_modules` gives it; `""` is this module.

        Raises:
            AttributeError: there is none.
        """
        for name, module in [("", self), *self._walk()]:
            if name == target and isinstance(module, Module):
                return module
        raise AttributeError(f"{type(self).__name__} has no module {target!r}")

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` with every module inside and with this one, last; returns the module.

        >>> from xpnet import nn
        >>> _ = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).apply(lambda m: print(type(m).__name__))
        Linear
        ReLU
        Sequential
        """
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train all parameters, or freeze them with `requires_grad_(False)`; returns the module."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    # ---- modes, devices, state ----

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below: dropout drops, batch norm uses the batch. Returns the module.

        It calls `train` of the modules inside: one that overrides it, to stay frozen say, has its way.
        """
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def to(
        self, backend: Any = None, device: Any = None, dtype: Any = None, memory_format: Any = None
    ) -> Self:
        """Move parameters, gradients and buffers to another backend, device or dtype, in place.

        Args:
            backend: its name; or a dtype, as in `to("float16")`.
            device: where on that backend.
            dtype: of all that are floating-point.
            memory_format: `"channels_last"` or `"contiguous_format"`: how cuDNN's convolutions keep images.

        Returns:
            The module. The state of an optimizer follows at its next step.

        Raises:
            ValueError: there is no such backend, device or memory format.
            TypeError: the dtype is not floating-point.

        >>> from xpnet import nn
        >>> nn.Linear(2, 3).to("numpy").to("float64").weight.dtype
        dtype('float64')
        """
        if backend is not None and _float_name(backend) in _FLOATS:
            backend, dtype = None, backend
        elif device is not None and _float_name(device) in _FLOATS:
            device, dtype = None, device
        if dtype is not None and _float_name(dtype) not in _FLOATS:
            raise TypeError(f"to(): dtype must be one of {', '.join(_FLOATS)}, got {dtype!r}")
        if isinstance(backend, str) and re.fullmatch(r"b?fl[a-z]*\d+", backend):
            raise TypeError(f"to(): no dtype {backend!r}; one of {', '.join(_FLOATS)}")
        name = None if dtype is None else _float_name(dtype)
        target = None if backend is None else load(backend, device)
        if memory_format is not None:
            set_format(self.modules(), memory_format)
        for buffer in self.buffers():
            if not buffer.on_host:
                floats = name if dtype_name(buffer.dtype) in _FLOATS else None
                buffer.data = asarray(buffer.data, floats, backend=target or backend_of(buffer.data))
        groups: dict[Any, list[Parameter]] = {}
        for p in self.parameters():
            place, wanted = target or backend_of(p.data), name or dtype_name(p.dtype)
            stays = is_at(p.data, place) and dtype_name(p.dtype) == wanted
            if not stays or (p._flat is not None and not has_views(place)):
                groups.setdefault((place, device_key(p.data), wanted), []).append(p)
        for (_, _, wanted), group in groups.items():
            place = target or backend_of(group[0].data)
            if has_views(place):
                FlatParameters(group, place, wanted)
            else:
                move_separately(group, place, wanted)
        return self

    def half(self) -> Self:
        """All floating-point parameters and buffers in float16."""
        return self.to(dtype="float16")

    def bfloat16(self) -> Self:
        """In bfloat16."""
        return self.to(dtype="bfloat16")

    def float(self) -> Self:
        """In float32."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """In float64."""
        return self.to(dtype="float64")

    def _saved(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; as in PyTorch, a shared one under each of its names."""
        saved: dict[str, Tensor] = {}
        for name, t in self._walk():
            is_saved = isinstance(t, Parameter) or (isinstance(t, Buffer) and t.persistent)
            if is_saved and saved.setdefault(name, t) is not t:
                raise ValueError(f"{type(self).__name__}: two parts have the name {name!r}")
        return saved

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name, on the model's device."""
        return {name: namespace(t.data).asarray(t.data, copy=True) for name, t in self._saved().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Keys:
        """Copy values from `state`, from any backend, into the parameters and buffers.

        Args:
            state: name -> array, as `state_dict` gives, or that of the same module in PyTorch.
            strict: names must match exactly; otherwise only common names are copied.

        Returns:
            The pair (missing_keys, unexpected_keys): names that only the model has, and only the state.

        Raises:
            ValueError: names are missing or unexpected, or a shape differs. Nothing has changed then.
            TypeError: the state is not a mapping.

        >>> from xpnet import nn
        >>> layer = nn.Linear(2, 1)
        >>> layer.load_state_dict({"weight": [[1.0, 2.0]], "gain": 3.0}, strict=False)
        Keys(missing_keys=['bias'], unexpected_keys=['gain'])
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: expected names and arrays, got {type(state).__name__}")
        own = self._saved()
        # PyTorch's batch norm counts batches, here only that with momentum=None does
        state = {k: v for k, v in state.items() if k in own or not k.endswith("num_batches_tracked")}
        missing, unexpected = [k for k in own if k not in state], [k for k in state if k not in own]
        if strict and (missing or unexpected):
            raise ValueError(
                f"state does not fit {type(self).__name__}: missing {missing}, unexpected {unexpected}"
            )
        common = [
            (name, t, state[name] if hasattr(state[name], "shape") else np.asarray(state[name]))
            for name, t in own.items()
            if name in state
        ]
        for name, t, value in common:
            if tuple(value.shape) != tuple(t.shape):
                raise ValueError(
                    f"state does not fit: {name} is {tuple(t.shape)} here, {tuple(value.shape)} in the state"
                )
        for _, t, value in common:
            t.data[...] = asarray(value, dtype=dtype_name(t.dtype), backend=backend_of(t.data))
        return Keys(missing, unexpected)

    # ---- messages ----

    def _locate(self, error: DeviceError, args: tuple[Any, ...]) -> DeviceError:
        """Name the layer, from this module down, and the parameter that is not where the input is."""
        source = getattr(error, "module", None)
        if source is None:
            source = self
            inputs = [a for a in args if hasattr(a, "shape")]
            details = str(error)
            if inputs:
                data = array_of(inputs[0])
                for name, value in self._children():
                    if getattr(value, "on_host", False):
                        continue
                    if isinstance(value, Tensor) and where(value.data) != where(data):
                        details = (
                            f"{type(value).__name__.lower()} {name!r} is on {where(value.data)}, the input "
                            f"on {where(data)}; move the model with model.to(...) or the input with "
                            "xpnet.asarray(x)"
                        )
                        break
            located = DeviceError(details)
            located.module, located.details = self, details  # type: ignore[attr-defined]
            error = located
        path = next((name for name, m in self.named_modules() if m is source), "")
        label = f"layer {path!r} ({type(source).__name__})" if path else f"layer {type(source).__name__}"
        error.args = (f"{label}: {error.details}",)  # type: ignore[attr-defined]
        return error

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        return ""

    def _repr_html_(self) -> str:
        """What a notebook shows: each part with parameters of its own, and how many."""
        rows = []
        for name, module in self.named_modules():
            own = [p for p in vars(module).values() if isinstance(p, Parameter)]
            if own or not any(isinstance(value, Module) for _, value in module._children()):
                shapes = ", ".join(str(tuple(p.shape)) for p in own)
                kind = f"{type(module).__name__}({module.extra_repr()})"
                rows.append([name, kind, shapes, sum(p.size for p in own)])
        total = sum(p.size for p in self.parameters())
        title = f"{type(self).__name__}, {total} parameters"
        return table(["part", "kind", "shapes", "parameters"], rows, title)

    def __repr__(self) -> str:
        children = [(name, value) for name, value in self._children() if isinstance(value, Module)]
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not children:
            return head + ")"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return head + "\n" + "\n".join(lines) + "\n)"


class Layer(Module):
    """A module of one array that gives one: for type checkers, who then know that of the layers here."""

    if TYPE_CHECKING:

        def __call__(self, x: Any = ..., *, input: Any = ...) -> Tensor:
            """`forward` and the hooks."""


def _float_name(dtype: Any) -> str:
    """The name of a dtype given as an object, a NumPy type or a string."""
    return getattr(dtype, "__name__", None) or dtype_name(dtype)
