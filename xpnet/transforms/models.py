"""A model as a function of its parameters, and the gradient of every sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpnet.core.arrays import carries_gradients, is_array
from xpnet.core.backward import reached
from xpnet.core.checks import nearest
from xpnet.core.convert import asarray
from xpnet.core.node import parents
from xpnet.core.op import recording
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import Tensor, array_of
from xpnet.nn.module import Module
from xpnet.transforms.trees import function_of


def functional_call(model: Module, parameters: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """The output of a model with other parameters, which it may be differentiated by.

    Args:
        model: it stays as it is, but for its buffers, such as running statistics.
        parameters: Tensors or arrays by name, as `named_parameters` names them; the others are the model's.
        *args: what the model is called with.
        **kwargs: likewise.

    Returns:
        What `model(*args, **kwargs)` would.

    Raises:
        TypeError: the model is no Module, or the parameters no dict.
        KeyError: the model has no parameter of a name.
        ValueError: one has another shape than the model's.

    >>> import xpnet
    >>> from xpnet import nn
    >>> model = nn.Linear(2, 1)
    >>> doubled = {name: 2 * p for name, p in model.named_parameters()}
    >>> x = xpnet.asarray([[1.0, 2.0]])
    >>> bool(xpnet.functional_call(model, doubled, x) == 2 * model(x))
    True
    """
    _model("functional_call", model)
    if not isinstance(parameters, Mapping):
        raise TypeError(f"functional_call: parameters: expected a dict, got {type(parameters).__name__}")
    own = dict(model.named_parameters())
    others: dict[int, Any] = {}
    for name, value in parameters.items():
        if name not in own:
            near = nearest(name, own)
            hint = f"; did you mean {near!r}?" if near else ""
            raise KeyError(f"functional_call: {type(model).__name__} has no parameter {name!r}{hint}")
        if not carries_gradients(value):
            value = Tensor(value if is_array(value) else asarray(value))
        if tuple(value.shape) != tuple(own[name].shape):
            raise ValueError(
                f"functional_call: {name} has shape {tuple(value.shape)}, not {tuple(own[name].shape)}"
            )
        others[id(own[name])] = value
    return _with(model, others, {})(*args, **kwargs)


def _model(name: str, model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{name}: expected a Module, got {type(model).__name__}")


def _with(part: Any, others: dict[int, Any], made: dict[int, Any]) -> Any:
    """A part of a model with other parameters; what holds none of them is the same object."""
    if id(part) in others:
        return others[id(part)]
    if id(part) in made:
        return made[id(part)]
    if isinstance(part, Module):
        made[id(part)] = copy = object.__new__(type(part))
        vars(copy).update({k: _with(v, others, made) for k, v in vars(part).items() if k != "_tree"})
        return copy
    if type(part) in (list, tuple):
        return type(part)(_with(v, others, made) for v in part)
    if type(part) is dict:
        return {k: _with(v, others, made) for k, v in part.items()}
    return part


def per_sample_grad(
    model: Module, loss: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], dict[str, Tensor]]:
    """A function that gives the gradient of each sample's own loss, loss(model(x[i:i+1]), y[i:i+1]).

    Args:
        model: whose samples do not look at each other: no batch norm in training.
        loss: a function of output and target that gives one number.

    Returns:
        A function of a batch (x, y) that gives, for each parameter by name, a Tensor (N, *parameter.shape).
        One forward pass over the batch and one backward pass; of a linear layer it is the outer product of
        each row's gradient and input (Goodfellow, 2015, "Efficient per-example gradient computations").

    Raises:
        TypeError: model or loss is none.
        ValueError: a layer's output has no axis of samples; batch norm in training mixes them; the loss gives
            more than one number; by the function made.

    >>> import xpnet
    >>> from xpnet import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> gradients = xpnet.per_sample_grad(model, lambda z, y: z.sum())
    >>> gradients(xpnet.asarray([[1.0, 2.0], [3.0, 4.0]]), xpnet.asarray([0, 0]))["weight"].tolist()
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    """

    _model("per_sample_grad", model)
    function_of(loss, "per_sample_grad: the loss")

    def found(x: Any, y: Any) -> dict[str, Tensor]:
        with recording():
            output = model(x)
            n = output.shape[0]
            total: Any = None
            for i in range(n):
                term = loss(output[i : i + 1], y[i : i + 1])
                if not carries_gradients(term) or term.size != 1:
                    shape = tuple(term.shape) if carries_gradients(term) else type(term).__name__
                    raise ValueError(f"per_sample_grad: the loss gives one number for a sample, got {shape}")
                total = term if total is None else total + term
        if total is None:
            raise ValueError("per_sample_grad: the batch has no samples")
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        return _each(total, parameters, n)

    return found


def _each(root: Tensor, parameters: dict[str, Any], n: int) -> dict[str, Tensor]:
    """Walk back as `backward` does, but keep the samples apart where a parameter is reached."""
    wanted = {id(p): p for p in parameters.values()}
    sums: dict[int, Any] = {}
    gradients: dict[int, Any] = {id(root): namespace(root.data).ones_like(root.data)}
    for node in reversed(reached([root], set(wanted))):
        if id(node) in wanted or node._pullback is None or id(node) not in gradients:
            continue
        if node._op.__name__ in ("batch_norm", "batch_norm_relu") and _trains(node):
            raise ValueError("per_sample_grad: batch norm in training mixes the samples; use model.eval()")
        dy = gradients.pop(id(node))
        pulled = _tuple(node._pullback(dy))
        for i, parent in parents(node):
            if id(parent) in wanted:
                if not _meets_samples(node, i, wanted):
                    raise ValueError(
                        f"per_sample_grad: {node._op.__name__} makes something of parameters alone; only "
                        "what meets the samples keeps them apart"
                    )
                each = _of_samples(node, i, dy, n)
                before = sums.get(id(parent))
                sums[id(parent)] = each if before is None else before + each
                continue
            gradient = pulled[i](None) if callable(pulled[i]) else pulled[i]
            if gradient is not None:
                before = gradients.get(id(parent))
                gradients[id(parent)] = gradient if before is None else before + gradient
    made = {}
    for name, p in parameters.items():
        xp = namespace(p.data)
        each = sums.get(id(p))
        if each is None:
            each = xp.stack([xp.zeros_like(p.data)] * n)
        made[name] = Tensor(each)
    return made


def _meets_samples(node: Any, i: int, parameters: dict[int, Any]) -> bool:
    """Whether an op of a parameter also takes something that is none."""
    values: list[Any] = list(node._values)
    others = [v for j, v in enumerate(values) if j != i and hasattr(v, "shape") and v.ndim]
    own = {id(p.data) for p in parameters.values()}
    return any(id(array_of(v)) not in own for v in others)


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if type(x) is tuple else (x,)


def _of_samples(node: Any, i: int, dy: Any, n: int) -> Any:
    """The gradient of each sample by argument i of an op: (N, *shape)."""
    name = node._op.__name__
    if not dy.ndim or dy.shape[0] != n:
        raise ValueError(
            f"per_sample_grad: {name} takes a parameter and gives an array of shape {tuple(dy.shape)}, whose "
            f"first axis is not that of the {n} samples"
        )
    xp = namespace(dy)
    if name == "linear" and i == 1:
        x = array_of(node._values[0])
        rows, columns = xp.reshape(dy, (n, -1, dy.shape[-1])), xp.reshape(x, (n, -1, x.shape[-1]))
        return xp.matrix_transpose(rows) @ columns
    if name == "linear" and i == 2:
        return xp.sum(xp.reshape(dy, (n, -1, dy.shape[-1])), axis=1)
    # any other op: the pullback is linear in dy, so it takes one sample's rows of it at a time
    own = xp.reshape(
        xp.arange(n, device=None if backend_of(dy).device is None else dy.device), (n, *(1,) * (dy.ndim - 1))
    )
    parts = []
    for k in range(n):
        g = _tuple(node._pullback(xp.where(own == k, dy, xp.zeros_like(dy))))[i]
        parts.append(g(None) if callable(g) else g)
    return xp.stack(parts)


def _trains(node: Any) -> bool:
    position = node._op.arguments.index("training")
    return bool(node._values[position] if position < len(node._values) else node._options.get("training"))
