"""Composition: transforms of the gradients before the update, as in optax.

::

    optimizer = chain(Accumulate(4), ClipNorm(1.0), Noise(eta=0.01), Adam(model, lr=1e-3))

A transform is a small record with `update(spans)`, as a rule is one with `update(span)`. It changes
`span.grads` in place; a False that it returns ends the step before the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.core.places import on_device
from xpnet.core.recording import refuse
from xpnet.nn.flat import Span
from xpnet.optim.gradients import add_noise, check_noise, clip_norm_of, clip_value_of, next_std


class Transform:
    """Base class: attributes are its constants; `t`, if there is one, counts its updates and is saved.

    >>> import xpnet
    >>> class Sign(xpnet.optim.Transform):
    ...     def update(self, spans):
    ...         for span in spans:
    ...             span.grads[...] = xpnet.namespace(span.grads).sign(span.grads)
    ...         return True
    >>> x = xpnet.tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = xpnet.optim.chain(Sign(), xpnet.optim.SGD([x], lr=0.5))
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.data
    array([ 2.5, -3.5], dtype=float32)
    """

    capturable = (
        False  # whether `update` does the same in each step, or counts as `xpnet.core.recording` says
    )

    def update(self, spans: Sequence[Span]) -> bool:
        """Change the gradients in place.

        Args:
            spans: vectors of neighbouring parameters: `span.values` and `span.grads`, both of shape (n,).

        Returns:
            Whether the step goes on.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Its kind and constants, as JSON can hold them."""
        return {"transform": type(self).__name__, **{k: v for k, v in vars(self).items() if k != "t"}}

    def state_dict(self) -> dict[str, Any]:
        """What changes while training."""
        return {k: v for k, v in vars(self).items() if k == "t"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        vars(self).update(state)


class ClipNorm(Transform):
    """Scale all gradients so that their joint Euclidean norm is at most `max_norm`: see `clip_grad_norm`.

    Args:
        max_norm: the largest norm let through.

    Raises:
        ValueError: max_norm is below 0.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = xpnet.optim.chain(xpnet.optim.ClipNorm(5.0), xpnet.optim.SGD([x], lr=0.5))
    >>> (x * x).sum().backward()  # gradient (6, 8), of norm 10
    >>> optimizer.step()
    >>> [round(float(v), 4) for v in x.data]
    [1.5, 2.0]
    """

    capturable = True

    def __init__(self, max_norm: float) -> None:
        if not max_norm >= 0:
            raise ValueError(f"ClipNorm: max_norm must be at least 0, got {max_norm}")
        self.max_norm = max_norm

    def update(self, spans: Sequence[Span]) -> bool:
        """Clip."""
        if spans:
            clip_norm_of([span.grads for span in spans], self.max_norm)
        return True


class ClipValue(Transform):
    """Cut every element of the gradients to [-clip_value, clip_value].

    Args:
        clip_value: the largest magnitude let through.

    Raises:
        ValueError: clip_value is not above 0.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, 0.25], requires_grad=True)
    >>> optimizer = xpnet.optim.chain(xpnet.optim.ClipValue(1.0), xpnet.optim.SGD([x], lr=0.5))
    >>> (x * x).sum().backward()  # gradient (6, 0.5)
    >>> optimizer.step()
    >>> x.data
    array([2.5, 0. ], dtype=float32)
    """

    capturable = True

    def __init__(self, clip_value: float) -> None:
        if not clip_value > 0:
            raise ValueError(f"ClipValue: clip_value must be above 0, got {clip_value}")
        self.clip_value = clip_value

    def update(self, spans: Sequence[Span]) -> bool:
        """Cut."""
        clip_value_of([span.grads for span in spans], self.clip_value)
        return True


class Noise(Transform):
    """Add N(0, eta / (1 + t)^gamma) to the gradients of step t = 0, 1, ...: see `GradientNoise`.

    Args:
        eta: variance at the first step.
        gamma: how fast it falls.

    Raises:
        ValueError: eta is below 0.

    >>> import xpnet
    >>> xpnet.manual_seed(0)
    >>> x = xpnet.tensor([0.0] * 1000, requires_grad=True)
    >>> optimizer = xpnet.optim.chain(xpnet.optim.Noise(eta=0.01), xpnet.optim.SGD([x], lr=1.0))
    >>> x.sum().backward()  # a gradient of 1, to which N(0, 0.1^2) is added
    >>> optimizer.step()
    >>> round(float(x.data.mean()), 1), round(float(x.data.std()), 2)
    (-1.0, 0.1)
    """

    capturable = True

    def __init__(self, eta: float = 0.01, gamma: float = 0.55) -> None:
        check_noise("Noise", eta)
        self.eta, self.gamma, self.t = eta, gamma, 0

    def update(self, spans: Sequence[Span]) -> bool:
        """Add the noise of this step."""
        add_noise(spans, next_std(self))
        return True


class Decay(Transform):
    """Add weight_decay * theta to the gradients, for a rule without weight decay of its own.

    Args:
        weight_decay: the factor.

    Raises:
        ValueError: weight_decay is below 0.

    >>> import xpnet
    >>> x = xpnet.tensor([4.0], requires_grad=True)
    >>> optimizer = xpnet.optim.chain(xpnet.optim.Decay(0.5), xpnet.optim.SGD([x], lr=0.5))
    >>> x.sum().backward()  # gradient 1, and 0.5 * 4 is added
    >>> optimizer.step()
    >>> x.data
    array([2.5], dtype=float32)
    """

    capturable = True

    def __init__(self, weight_decay: float) -> None:
        if not weight_decay >= 0:
            raise ValueError(f"Decay: weight_decay must be at least 0, got {weight_decay}")
        self.weight_decay = weight_decay

    def update(self, spans: Sequence[Span]) -> bool:
        """Add the gradient of weight_decay / 2 |theta|^2."""
        for span in spans:
            with on_device(span.values):
                grads = span.grads
                grads += self.weight_decay * span.values
        return True


class Accumulate(Transform):
    """Make a step of every `every` gradients, with their mean; until then `optimizer.zero_grad` keeps them.

    Transforms after it see the mean, and only when a step is made. The state of the optimizer has the
    gradients so far. `zero_grad` of the model forgets them: call that of the optimizer.

    Args:
        every: backward passes a step.

    Raises:
        ValueError: every is below 1.

    >>> import xpnet
    >>> x = xpnet.tensor([0.0], requires_grad=True)
    >>> optimizer = xpnet.optim.chain(xpnet.optim.Accumulate(2), xpnet.optim.SGD([x], lr=1.0))
    >>> for scale in (1.0, 3.0):
    ...     optimizer.zero_grad()
    ...     (scale * x).sum().backward()
    ...     optimizer.step()
    >>> x.data  # one step, by the mean of the gradients 1 and 3
    array([-2.], dtype=float32)
    """

    capturable = True

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"Accumulate: every must be at least 1, got {every}")
        self.every, self.t = every, 0

    def update(self, spans: Sequence[Span]) -> bool:
        """Count; at the last one, divide."""
        if self.every > 1:
            refuse("Accumulate makes an update in some steps only")
        self.t = (self.t + 1) % self.every
        if self.t:
            return False
        for span in spans if self.every > 1 else ():
            with on_device(span.values):
                grads = span.grads
                grads *= 1 / self.every
        return True


def chain(*parts: Any) -> Any:
    """An optimizer whose steps begin with transforms of the gradients, in this order.

    Args:
        *parts: transforms, then the optimizer.

    Returns:
        The optimizer.

    Raises:
        TypeError: the last one is no optimizer, or another one is no transform.

    >>> import xpnet
    >>> from xpnet.optim import SGD
    >>> from xpnet.optim.chain import Accumulate, ClipNorm, chain
    >>> x = xpnet.tensor([3.0], requires_grad=True)
    >>> optimizer = chain(Accumulate(2), ClipNorm(1.0), SGD([x], lr=0.5))
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (x * x).sum().backward()
    ...     optimizer.step()
    >>> x.data
    array([2.5], dtype=float32)
    """
    *transforms, optimizer = parts or (None,)
    if not hasattr(optimizer, "transforms"):
        raise TypeError(f"chain: expected an optimizer at the end, got {type(optimizer).__name__}")
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise TypeError(
                f"chain: expected transforms before the optimizer, got {type(transform).__name__}"
            )
    optimizer.transforms = (*transforms, *optimizer.transforms)
    return optimizer
