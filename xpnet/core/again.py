"""Derivatives of derivatives: the body of an op, run again on Tensors, gives a pullback that is recorded.

The first order stays with the pullbacks that the forward pass left behind, those of kernels included. Above
it each op runs its *body* once more, on the Tensors it was given: there every step of it is an op itself, and
so is every step of the pullback that it returns. Nothing else has to be written for any order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np

from xpnet.core.arrays import is_array
from xpnet.core.backend import Array, get_backend, use_backend
from xpnet.core.backward import FREED, WITHOUT, check_gradient, reached
from xpnet.core.context import again
from xpnet.core.node import Carried, Node, argument_name, parents
from xpnet.core.op import recording
from xpnet.core.places import backend_of, on_device
from xpnet.core.tensor import Tensor
from xpnet.core.versions import check, last


def running_again(like: Array, first: bool = False) -> AbstractContextManager[Any]:
    """Around a body that runs on Tensors: recorded, on the backend and device of `like`.

    Args:
        like: an array.
        first: it has not run yet: what it leaves behind, it leaves now; recorded if things are here.
    """
    stack = ExitStack()
    if not first:
        stack.enter_context(again.within(True))
        stack.enter_context(recording())
    backend = backend_of(like)
    if get_backend() != backend:
        stack.enter_context(use_backend(backend))
    stack.enter_context(on_device(like))
    return stack


def as_tensors(op: Any, values: list[Any]) -> list[Any]:
    """The arguments of an op with its arrays as Tensors, but those that may come from anywhere."""
    names = op.arguments
    return [
        Tensor(v)
        if is_array(v)
        and not isinstance(v, Node | Carried | np.generic)
        and not (i < len(names) and names[i] in op.anywhere)
        else v
        for i, v in enumerate(values)
    ]


def pullback_on_tensors(node: Any) -> Any:
    """The pullback of a node's op, of Tensors and recorded."""
    if node._values is None or node._parents is None:
        raise RuntimeError(FREED)
    values = as_tensors(node._op, node._values)
    for i, parent in parents(node):
        values[i] = parent
    return node._op.body(*values, **node._options)[1]


def gradients(roots: list[Any], seeds: list[Any], inputs: list[Any], create_graph: bool) -> list[Any]:
    """The gradients of sum_k <seed_k, root_k> by `inputs`, None where none arrives. The graph is kept.

    Args:
        roots: Tensors that require a gradient.
        seeds: like them: Tensors to record the walk, else arrays.
        inputs: nodes of the graph, of which only what leads to them is walked over.
        create_graph: whether gradients are Tensors with a history.

    Raises:
        RuntimeError: the graph has been freed, or an argument on the way has no gradient.
    """
    wanted = {id(x) for x in inputs}
    order = reached(roots, wanted)
    leading = set(wanted)
    for node in order:
        if id(node) not in wanted and any(id(p) in leading for _, p in parents(node)):
            leading.add(id(node))
    found: dict[int, Any] = {}
    for root, seed in zip(roots, seeds, strict=True):
        _add(found, root, seed)
    for node in reversed(order):
        if id(node) in wanted or id(node) not in leading or id(node) not in found:
            continue
        dy = found.pop(id(node))
        if node._time < last[0]:
            check(node)
        if create_graph:
            with running_again(node._data):
                _pull(node, pullback_on_tensors(node), dy, leading, found)
        else:
            _pull(node, node._pullback, dy, leading, found)
        if node._kept is not None and create_graph:
            node._kept[:] = [dy]
    return [found.get(id(x)) for x in inputs]


def _pull(node: Node, pullback: Any, dy: Any, leading: set[int], found: dict[int, Any]) -> None:
    """Carry the gradient of a node to those of its parents that lead on."""
    pulled = pullback(dy)
    pulled = pulled if type(pulled) is tuple else (pulled,)
    for i, parent in parents(node):
        if id(parent) not in leading:
            continue
        if i >= len(pulled):
            raise RuntimeError(WITHOUT.format(argument_name(node, i), node._op.__name__))
        gradient = pulled[i]
        if callable(gradient):
            gradient = gradient(None)
        if gradient is None:
            continue
        if tuple(gradient.shape) != tuple(parent._data.shape) or gradient.dtype != parent._data.dtype:
            check_gradient(gradient, node, i, parent)
        _add(found, parent, gradient)


def _add(found: dict[int, Any], node: Node, gradient: Any) -> None:
    there = found.get(id(node))
    found[id(node)] = gradient if there is None else there + gradient


def backward_on_tensors(root: Any, gradient: Any) -> None:
    """`backward(create_graph=True)`: each leaf's gradient becomes a Tensor with a history."""
    seed = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    leaves = [node for node in reached([root], set()) if node._pullback is None and node.requires_grad]
    for leaf, found in zip(leaves, gradients([root], [seed], leaves, True), strict=True):
        if found is None:
            continue
        before = leaf._kept[0] if leaf._kept else Tensor(leaf._grad + 0) if leaf._filled else None
        total = found if before is None else before + found
        leaf._accumulate(found._data)
        leaf._kept = [total]
