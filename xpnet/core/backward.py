"""The walk from a result back to the leaves, once over each node.

Reverse mode costs about as much as the forward pass, whatever the number of parameters (Baydin et al., 2018,
"Automatic differentiation in machine learning: a survey"; deck S3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from heapq import heappop, heappush
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.context import Setting, active, autocasts, casting
from xpnet.core.node import Joint, Node, Room, argument_name, as_taken, parents
from xpnet.core.tracing import traced
from xpnet.core.versions import check, last

_on_complete: Setting[Callable[[Any], None] | None] = Setting("xpnet_on_complete", None)


def backward(root: Node, gradient: Array | float, retain_graph: bool) -> None:
    """Add the gradient of `root` to those of the leaves it was computed from.

    Args:
        root: requires a gradient.
        gradient: of the objective by `root`: an array like it, or the number 1.0 for the pullback of a loss.
        retain_graph: keep the graph for another walk.
    """
    if root._pullback is None:
        if root._parents is None:
            raise RuntimeError(FREED)
        root._accumulate(gradient)
        return
    # a waiting node holds the gradient found so far in its _grad
    root._grad = gradient
    queue = [(-root._time, root)]
    try:
        with casting.within(None) if autocasts[0] else nullcontext():
            _walk(root, queue, retain_graph)
    except BaseException:
        for _, node in queue:  # another walk of what is kept begins anew
            node._grad = None
        raise


def _walk(root: Node, queue: list[tuple[int, Node]], retain_graph: bool) -> None:
    complete = _on_complete.get()
    uses, written = _leaf_uses(root) if complete is not None else {}, last[0]
    lent = {id(root)}  # nodes whose waiting gradient is somebody else's, too, or may be
    while queue:
        node = heappop(queue)[1]
        dy, pullback, parents = node._grad, node._pullback, node._parents
        node._grad = None
        if pullback is None or parents is None:
            raise RuntimeError(FREED)
        if node._time < written:
            check(node)
        if active[0]:
            dy = traced([dy])[0]
        if not retain_graph:
            node._pullback = node._parents = node._values = None
        found = pullback.into(dy, _room(parents, node._time)) if type(pullback) is Joint else pullback(dy)
        if type(found) is not tuple:
            found = (found,)
        heirs: list[Node] = []  # leaves that are given dy as it is
        for i, parent in parents:
            try:
                gradient = found[i]
            except IndexError:
                raise RuntimeError(WITHOUT.format(argument_name(node, i), node._op.__name__)) from None
            inner = parent._pullback is not None or parent._parents is None
            deferred = callable(gradient)
            if deferred:
                out = None if inner or parent._filled else parent._grad
                gradient = gradient(out)
                if gradient is out and out is not None:  # written in place
                    parent._filled = 1
                    if complete is not None:
                        _count(uses, parent, complete)
                    continue
            if gradient is not None:
                data = parent._data
                try:
                    same = gradient.shape == data.shape and gradient.dtype == data.dtype
                except AttributeError:
                    raise TypeError(
                        f"backward(): the pullback of {node._op.__name__} gives a {type(gradient).__name__} "
                        f"for {argument_name(node, i)}, expected an array; several gradients are a tuple"
                    ) from None
                if not same:
                    check_gradient(gradient, node, i, parent)
                if not inner and gradient is dy and complete is None:
                    heirs.append(parent)
                elif not inner:
                    shared = retain_graph or gradient is dy or (not deferred and _repeats(gradient, found))
                    parent._accumulate(gradient, fresh=not shared)
                elif parent._grad is None:
                    if parent._time > node._time:
                        parent = as_taken(parent, node._time)
                        if parent._grad is not None:
                            parent._grad = parent._grad + gradient
                            continue
                    parent._grad = gradient
                    heappush(queue, (-parent._time, parent))
                    if gradient is dy or not (deferred or len(found) == 1):
                        lent.add(id(parent))
                else:
                    parent._grad = parent._grad + gradient
            if complete is not None and not inner:
                _count(uses, parent, complete)
        for leaf in heirs:
            alone = len(heirs) == 1 and not retain_graph and id(node) not in lent
            leaf._accumulate(dy, fresh=alone and not _passed_on(dy, parents))


def _passed_on(dy: Array, parents: Any) -> bool:
    """Whether a computed input waits with this very array, or a view of it."""
    waiting = [parent._grad for _, parent in parents if parent._pullback is not None]
    return any(g is dy or getattr(g, "base", None) is dy for g in waiting)


def _room(parents: Any, time: int) -> Room:
    """Where the gradients of leaves can be written, or added, at once; the gates of computed inputs."""
    room, seen = Room(), set()
    for i, p in parents:
        if type(p._pullback) is Joint:  # not after `retain_grad`, which is to see the gradient itself
            if p._pullback.gate is not None and p._time < time:
                room.gates[i] = p._pullback.gate
        elif p._pullback is None and p._parents is not None and p._grad is not None:
            if id(p) in seen:  # a leaf that is there twice has one gradient for two
                return Room()
            seen.add(id(p))
            if not p._filled:
                room[i] = p._grad
            else:
                room.sums[i] = p._grad
    return room


def check_gradient(gradient: Array, node: Node, i: int, parent: Node) -> None:
    """Refuse what would be broadcast, or would spread another dtype, without a word."""
    if tuple(gradient.shape) != tuple(parent._data.shape):
        raise ValueError(
            f"backward(): a gradient of shape {tuple(gradient.shape)} reached a tensor of shape "
            f"{tuple(parent._data.shape)}: the pullback of {node._op.__name__} gives it for "
            f"{argument_name(node, i)}"
        )
    if gradient.dtype != parent._data.dtype:
        raise TypeError(
            f"backward(): a gradient of dtype {gradient.dtype} reached a tensor of dtype {parent._data.dtype}"
            f", {argument_name(node, i)} of {node._op.__name__}: two dtypes met in one operation; give the "
            "data the dtype of the model, as in xpnet.asarray(x, 'float32')"
        )


def _repeats(gradient: Array, found: tuple[Any, ...]) -> bool:
    """Whether one array is the gradient of two inputs."""
    uses = 0
    for other in found:
        uses += other is gradient
    return uses > 1


def reached(roots: list[Any], stops: set[int]) -> list[Any]:
    """The nodes that `roots` were computed from, in the order of computation; `stops` (ids) end a path."""
    seen, stack, found = set(), list(roots), []
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        found.append(node)
        if id(node) in stops:
            continue
        if node._parents is None:
            raise RuntimeError(FREED)
        stack.extend(parent for _, parent in parents(node))
    found.sort(key=_time)
    return found


def _time(node: Any) -> int:
    return getattr(node, "_time", -1)  # a leaf has none


def leaves_of(root: Node) -> dict[int, Node]:
    """The leaves that `root` was computed from, by their ids."""
    return {id(node): node for node in reached([root], set()) if node._pullback is None}


def _leaf_uses(root: Node) -> dict[int, int]:
    """How many ops of the graph each leaf goes into, by the leaf's id."""
    taken = [parent for node in reached([root], set()) for _, parent in node._parents]
    return Counter(id(parent) for parent in taken if parent._pullback is None)


def _count(uses: dict[int, int], leaf: Node, complete: Callable[[Any], None]) -> None:
    uses[id(leaf)] -= 1
    if not uses[id(leaf)]:
        complete(leaf)


def on_complete(function: Callable[[Any], None]) -> AbstractContextManager[None]:
    """In `backward` inside the block, call `function(leaf)` as soon as a leaf has its whole gradient.

    So that work on it can begin while the walk goes on; a leaf that no gradient reaches is not called for.
    """
    return _on_complete.within(function)


WITHOUT = "backward(): {} of {} has no gradient; pass it as x.detach()"
FREED = "backward() through a graph that is freed already; call it once, or with retain_graph=True"
