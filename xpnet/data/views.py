"""Test-time augmentation: several views of each picture, and the mean of what a model says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.tensor import array_of
from xpnet.data.resample import Size, as_float, check_pictures, pair, resize_shorter
from xpnet.functional import softmax
from xpnet.nn.inference import evaluating, in_batches

Views = Callable[[Array], Iterable[Array]]


def flips(x: Array) -> list[Array]:
    """The pictures and their mirror images."""
    check_pictures(x, "flips")
    return [x, namespace(x).flip(x, axis=-1)]


def five_crop(x: Array, size: Size) -> list[Array]:
    """The parts of height and width `size` at the corners (top left, top right, bottom left, bottom right)
    and in the centre.

    Args:
        x: (N, C, H, W).
        size: (h, w) or one number for both.

    Returns:
        Five arrays of shape (N, C, h, w): views, which share the memory of x.

    Raises:
        ValueError: the pictures are smaller, or x is not of four axes.

    >>> import numpy as np
    >>> from xpnet.data import five_crop
    >>> corners = five_crop(np.arange(9.0).reshape(1, 1, 3, 3), 1)
    >>> [float(part[0, 0, 0, 0]) for part in corners]
    [0.0, 2.0, 6.0, 8.0, 4.0]
    """
    check_pictures(x, "five_crop")
    (height, width), (h, w) = x.shape[2:], pair(size, "five_crop: size")
    if h > height or w > width:
        raise ValueError(f"five_crop: pictures of {(height, width)} are smaller than {(h, w)}")
    centre = (round((height - h) / 2), round((width - w) / 2))
    places = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w), centre]
    return [x[:, :, top : top + h, left : left + w] for top, left in places]


def ten_crop(x: Array, size: Size) -> list[Array]:
    """Corners and centre, then the same of the mirror images (Krizhevsky et al., 2012; decks S3, S5).

    Args:
        x: (N, C, H, W).
        size: (h, w) or one number for both.

    Returns:
        Ten arrays of shape (N, C, h, w).

    Raises:
        ValueError: the pictures are smaller, or x is not of four axes.

    >>> import numpy as np
    >>> from xpnet.data import ten_crop
    >>> [view.shape for view in ten_crop(np.zeros((2, 3, 32, 32)), 28)] == 10 * [(2, 3, 28, 28)]
    True
    """
    return [part for picture in flips(x) for part in five_crop(x=picture, size=size)]


def multi_scale(x: Array, shorter: Sequence[int], views: Views = flips) -> Iterator[Array]:
    """The pictures with their shorter side scaled to each of several lengths, in the views of each.

    Args:
        x: (N, C, H, W).
        shorter: the lengths; He et al., 2016, use 224, 256, 384, 480 and 640.
        views: of each scaled picture: `flips` for a model that takes any size, or such as
            `lambda x: ten_crop(x, 224)`.

    Returns:
        An iterator of the views, (N, C, h, w) each.

    Raises:
        ValueError: x is not of four axes; when the first view is asked for.

    >>> import numpy as np
    >>> from xpnet.data import multi_scale
    >>> [view.shape for view in multi_scale(np.zeros((1, 3, 8, 16)), [4, 8])]
    [(1, 3, 4, 8), (1, 3, 4, 8), (1, 3, 8, 16), (1, 3, 8, 16)]
    """
    for side in shorter:
        yield from views(resize_shorter(x, side))


def predict_views(model: Any, x: Any, views: Views = flips, batch_size: int = 256) -> Array:
    """Class probabilities, the mean over the views of each picture; in evaluation mode, without gradients.

    Args:
        model: gives scores (N, classes).
        x: (n, C, H, W) pictures, moved to the default backend.
        views: what the model is shown: `flips`, or such as `lambda x: ten_crop(x, 28)`.
        batch_size: pictures at a time.

    Returns:
        (n, classes); `argmax` over axis 1 gives labels.

    Raises:
        ValueError: no pictures, or no views.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> from xpnet.data import predict_views
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    >>> predict_views(model, np.zeros((4, 3, 2, 2), dtype=np.float32)).shape
    (4, 5)
    """
    found = []
    with evaluating(model):
        for batch in in_batches(x, batch_size):
            part = as_float(batch)
            total, count = None, 0
            for view in views(part):
                scores = model(view)
                p = softmax(array_of(scores))
                total, count = p if total is None else total + p, count + 1
            if total is None:
                raise ValueError("predict_views: `views` gave no views")
            found.append(total / count)
    if not found:
        raise ValueError("predict_views: no pictures")
    return found[0] if len(found) == 1 else namespace(found[0]).concat(found)
