"""What a module does with its parameters as one vector: theta, its gradient, and the spans of both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from xpnet.core.backend import Array
from xpnet.core.node import LENT
from xpnet.core.places import backend_of, namespace
from xpnet.nn.flat import Span, as_one_vector, flatten, has_views, spans, zero_grads
from xpnet.nn.parameter import Parameter
from xpnet.nn.tree import Tree


class Vector(Tree):
    """A tree of modules whose parameters are one vector."""

    def _parameters(self) -> Sequence[Parameter]:
        """`parameters()`, without a copy of the list where nobody has overridden it."""
        return self._known().members if type(self).parameters is Tree.parameters else self.parameters()

    def _vector(self) -> Span:
        known = self._known()
        whole = known.whole
        if whole is not None and whole.current and type(self).parameters is Tree.parameters:
            return whole
        parameters = self._parameters()
        if not parameters:
            raise ValueError(f"{type(self).__name__} has no parameters")
        if len({str(p.dtype) for p in parameters}) > 1:
            raise TypeError("theta is one vector of one dtype; this model has parameters of several")
        if not has_views(backend_of(parameters[0].data)):
            raise RuntimeError("theta needs a backend whose slices share memory")
        names = {id(p): name for name, p in self.named_parameters()}
        known.whole = whole = as_one_vector({names.get(id(p), str(i)): p for i, p in enumerate(parameters)})
        return whole

    def _kept_spans(self, with_gradient: bool) -> list[Span]:
        """The spans of the parameters, or of those that have a gradient; kept until something changes."""
        parameters = self._parameters()
        filled: tuple[bool, ...] | None = None
        if with_gradient and not all([p._filled for p in parameters]):
            filled = tuple(bool(p._filled) for p in parameters)
        kept = self._known().spans
        found = kept.get(filled)
        if (
            found is None
            or not all([span.current for span in found])
            or type(self).parameters is not Tree.parameters
        ):
            kept.clear()
            flatten(parameters)  # all: neighbours are to stay neighbours
            kept[filled] = found = spans(list(parameters if filled is None else compress(parameters, filled)))
        return found

    @property
    def theta(self) -> Array:
        """All parameters as one vector, in the order of `parameters()`. Writing to it changes the model.

        It is the memory of the parameters, and stays it: through training, `load_state_dict`, assignments to
        `data`, and while other models have vectors of their own. It is a copy of what was from when the
        parameters move: by `to` another backend, device or dtype, or into the theta of a model that holds
        this one or more parameters than before; ask again after that.

        Raises:
            ValueError: there are no parameters.
            TypeError: they are of several dtypes.
            RuntimeError: the backend's slices do not share memory.
        """
        return self._vector().values

    @property
    def grad(self) -> Array:
        """All gradients as one vector, in the order of `theta`; zero where there is none."""
        span = self._vector()
        for p in span.parameters:
            if p._filled:
                p._filled = LENT
            elif p._grad is not None:
                p._grad[...] = namespace(p.data).zeros_like(p.data)
        return span.grads

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set those that there are to 0."""
        zero_grads(self._parameters(), set_to_none)
