"""Module: named parameters, buffers and submodules, a training mode, and one vector theta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xpnet.autograd import Tensor, array_of
from xpnet.backend import (
    Array,
    Backend,
    DeviceError,
    _load,
    asarray,
    backend_of,
    dtype_name,
    namespace,
    where,
)
from xpnet.nn.parameter import Arena, Buffer, Parameter, gather, has_views, runs

ForwardHook = Callable[[Any, tuple[Any, ...], Any], None]


class Module:
    """Base class of layers and models: assign Parameters, Buffers and Modules as attributes, write `forward`.

    Names are paths of attributes, as in PyTorch: `"0.weight"`, `"encoder.bias"`. A list or tuple of modules
    is numbered: `"layers.0.weight"`.

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

    training: bool = True
    _forward_hooks: tuple[ForwardHook, ...] = ()  # on the class: a module without hooks has no attribute

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; a subclass writes it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, with device errors that name the layer and the parameter; then the forward hooks."""
        try:
            output = self.forward(*args, **kwargs)
        except DeviceError as error:
            raise self._locate(error, args) from None
        if self._forward_hooks:
            for hook in self._forward_hooks:
                hook(self, args, output)
        return output

    def add_forward_hook(self, hook: ForwardHook) -> Callable[[], None]:
        """Have `hook(module, inputs, output)` called after each forward pass of this module.

        It sees what the layer computed and must not change it. Copies and pickles have no hooks.

        Returns:
            A function that takes the hook away again.

        >>> import xpnet
        >>> from xpnet import nn
        >>> layer, shapes = nn.Linear(2, 3), []
        >>> remove = layer.add_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
        >>> for _ in range(2):
        ...     _ = layer(xpnet.asarray([[1.0, 2.0]]))
        ...     remove()
        >>> shapes
        [(1, 3)]
        """
        self._forward_hooks = (*self._forward_hooks, hook)

        def remove() -> None:
            left = tuple(h for h in self._forward_hooks if h is not hook)
            if left:
                self._forward_hooks = left
            else:
                vars(self).pop("_forward_hooks", None)

        return remove

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_forward_hooks"}

    # ---- the tree ----

    def _children(self) -> Iterator[tuple[str, Any]]:
        """Attributes that are part of the model, by name."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter | Buffer | Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if isinstance(item, Parameter | Buffer | Module):
                        yield f"{name}.{i}", item

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in self._children():
            yield prefix + name, value
            if isinstance(value, Module):
                yield from value._walk(f"{prefix}{name}.")

    def _unique(self, kind: type) -> list[tuple[str, Any]]:
        seen: set[int] = set()
        found = []
        for name, value in self._walk():
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                found.append((name, value))
        return found

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(name, parameter) pairs in order of definition; a shared parameter appears once."""
        return self._unique(Parameter)

    def parameters(self) -> list[Parameter]:
        """The parameters, in order of definition."""
        return [p for _, p in self.named_parameters()]

    def named_buffers(self) -> list[tuple[str, Buffer]]:
        """(name, buffer) pairs in order of definition."""
        return self._unique(Buffer)

    def named_modules(self) -> list[tuple[str, Module]]:
        """(name, module) pairs, this module first under the name `""`."""
        return [("", self), *self._unique(Module)]

    def modules(self) -> list[Module]:
        """This module and every one inside it."""
        return [m for _, m in self.named_modules()]

    # ---- theta ----

    def _vector(self) -> Any:
        parameters = self.parameters()
        if not parameters:
            raise ValueError(f"{type(self).__name__} has no parameters")
        if len({str(p.dtype) for p in parameters}) > 1:
            raise TypeError("theta is one vector of one dtype; this model has parameters of several")
        if not has_views(backend_of(parameters[0].data)):
            raise RuntimeError("theta needs a backend whose slices share memory")
        gather(parameters)
        found = runs(parameters)
        if len(found) > 1:  # parts are in arenas of their own: take them over
            Arena(parameters)
            found = runs(parameters)
        return found[0]

    @property
    def theta(self) -> Array:
        """All parameters as one vector, in the order of `parameters()`. Writing to it changes the model."""
        return self._vector().theta

    @property
    def grad(self) -> Array:
        """All gradients as one vector, in the order of `theta`; zero where there is none."""
        run = self._vector()
        for p in run.parameters:
            if not p._filled:
                p._grad[...] = namespace(p.data).zeros_like(p.data)
        return run.grad

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p._filled = False

    # ---- modes, devices, state ----

    def train(self, mode: bool = True) -> Module:
        """Set training mode here and below: dropout drops, batch norm uses the batch. Returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def to(self, backend: str, device: Any = None) -> Module:
        """Move parameters, gradients and buffers to another backend or device, in place; returns the module.

        The state of an optimizer follows at its next step.

        >>> from xpnet import nn
        >>> model = nn.Linear(2, 3).to("numpy")
        """
        target = _load(backend, device)
        for _, buffer in self.named_buffers():
            buffer.data = asarray(buffer.data, backend=target)
        groups: dict[str, list[Parameter]] = {}
        for p in self.parameters():
            groups.setdefault(str(p.dtype), []).append(p)
        for group in groups.values():
            if has_views(target):
                Arena(group, target)
            else:
                _move_separately(group, target)
        return self

    def _saved(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; as in PyTorch, a shared one under each of its names."""
        return {name: t for name, t in self._walk() if isinstance(t, Parameter | Buffer)}

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name, on the model's device."""
        return {name: namespace(t.data).asarray(t.data, copy=True) for name, t in self._saved().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values from `state`, from any backend, into the parameters and buffers.

        Args:
            state: name -> array, as `state_dict` gives, or that of the same module in PyTorch.
            strict: names must match exactly; otherwise only common names are copied.

        Raises:
            ValueError: names are missing or unexpected, or a shape differs. Nothing has changed then.
        """
        own = self._saved()
        # PyTorch's batch norm counts batches, for an average that xpnet does not offer
        state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if strict and (missing or unexpected):
            raise ValueError(
                f"state does not fit {type(self).__name__}: missing {missing}, unexpected {unexpected}"
            )
        common = [(name, t, state[name]) for name, t in own.items() if name in state]
        for name, t, value in common:
            if tuple(value.shape) != tuple(t.shape):
                raise ValueError(
                    f"state does not fit: {name} is {tuple(t.shape)} here, {tuple(value.shape)} in the state"
                )
        for _, t, value in common:
            t.data[...] = asarray(value, dtype=dtype_name(t.dtype), backend=backend_of(t.data))

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

    def __repr__(self) -> str:
        children = [(name, value) for name, value in self._children() if isinstance(value, Module)]
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not children:
            return head + ")"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return head + "\n" + "\n".join(lines) + "\n)"


def _move_separately(parameters: list[Parameter], target: Backend) -> None:
    """Move parameters to a backend without views."""
    for p in parameters:
        if p._arena is not None:
            p._arena.alive = False
        gradient = p.grad
        p._arena, p._filled, p._grad = None, False, None
        p.data = asarray(p.data, backend=target)
        p._grad = target.xp.zeros_like(p.data)
        if gradient is not None:
            p._accumulate(asarray(gradient, backend=target))
