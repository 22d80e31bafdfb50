"""Pictures as files: SVG, which is as sharp at the back of a room as on a screen."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet.lab.experiment import Picture

_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # RDF is no HTML
STYLE: Any = {
    "font.size": 12,
    "svg.hashsalt": "xpnet",
    "svg.fonttype": "none",
    "axes.titley": 1.0,  # not looked for: that takes a quarter of a picture's time
}
"""Of all pictures: read at the back of a room."""
SECONDS, KEYS = 8, 100  # of an animation: how long, and of how many moments the browser is told
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(picture: Picture) -> tuple[str, bytes]:
    """A picture's format and file: "svg", or "png" where pixels are smaller.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "xpnet[plot]"') from None

    with mpl.rc_context(STYLE), _no_collection():
        figure = _drawn(picture)
        svg = _saved(figure, "svg")
        if picture.moves:
            svg = svg.replace(b"</svg>", _moving(figure, picture.moves).encode() + b"</svg>")
        return ("svg", svg) if len(svg) <= 300_000 else ("png", _saved(figure, "png"))


@contextmanager
def _no_collection() -> Iterator[None]:
    """A figure is many thousand young objects that die together: looking for the dead among them is a sixth
    of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _drawn(picture: Picture) -> Any:
    """A figure. It is laid out once: `savefig` would do it twice, and draw all in vain between the two."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=picture.size)
    picture.draw(figure)
    _few_ticks(figure)
    if _is_row(figure):
        _spread(figure)
        return figure
    layout = ConstrainedLayoutEngine()
    figure.set_layout_engine(layout)
    layout.execute(figure)
    if any(axes.get_aspect() != "auto" for axes in figure.axes):
        layout.execute(figure)  # with the room that the aspect takes
    figure.set_layout_engine(None)
    return figure


def _is_row(figure: Any) -> bool:
    """Whether it is of up to three axes beside one another, with short titles and, to their left, numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, ScalarFormatter

    numbers = (FuncFormatter, ScalarFormatter)
    letters = (figure.get_figwidth() / len(figure.axes) - 0.8) / 0.11  # what an axes' width is for
    return (
        len(figure.axes) <= 3
        and not any((figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()))
        and all(axes.get_aspect() == "auto" and axes.get_subplotspec() for axes in figure.axes)
        and all(axes.get_subplotspec().get_gridspec().nrows == 1 for axes in figure.axes)
        and all(isinstance(a.yaxis.get_major_formatter(), numbers) for a in figure.axes)
        and not any(isinstance(a.yaxis.get_major_locator(), FixedLocator) for a in figure.axes)
        and all(len(a.get_title()) < letters for a in figure.axes)
    )


def _spread(figure: Any) -> None:
    """Give a row of axes room for what stands around them, by lines and letters of the usual size: to measure
    them, as matplotlib's layouts do, takes half of a picture's time.
    """
    line = 1.4 * STYLE["font.size"] / 72  # inches
    width, height = figure.get_size_inches()
    axes, n = figure.axes, len(figure.axes)
    left = [1.2 * line * bool(a.get_ylabel()) + 2.3 * line * bool(a.yaxis.get_visible()) for a in axes]
    bottom = max(1.2 * line * bool(a.get_xlabel()) + 1.1 * line * bool(a.xaxis.get_visible()) for a in axes)
    top = max(1.4 * line * (1 + a.get_title().count("\n")) if a.get_title() else 0.0 for a in axes)
    edge, gap = 0.7 * line, max([*left[1:], 0.0]) + 0.7 * line
    each = (width - left[0] - 2 * edge - (n - 1) * gap) / n
    figure.subplots_adjust(
        left=(left[0] + edge) / width,
        right=1 - edge / width,
        bottom=(bottom + edge) / height,
        top=1 - (top + edge) / height,
        wspace=gap / each,
    )


def _few_ticks(figure: Any) -> None:
    """Of ticks and their labels most of a picture's time is made: four steps are enough, even from far.

    Powers on logarithmic axes are text, 10⁻³, which takes a fraction of a formula's time; over two decades
    the ticks between them go.
    """
    from matplotlib.ticker import AutoLocator, FuncFormatter, NullFormatter, NullLocator

    for axis in (a for axes in figure.axes for a in (axes.xaxis, axes.yaxis)):
        if isinstance(locator := axis.get_major_locator(), AutoLocator):
            locator.set_params(nbins=4)
        base: Any = getattr(axis.get_transform(), "base", None)
        low, high = sorted(axis.get_view_interval())
        if axis.get_scale() != "log" or high < low * base**2:
            continue
        axis.set_major_formatter(FuncFormatter(lambda value, _, base=base: _power(value, base)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_minor_locator(NullLocator())


def _power(value: float, base: float) -> str:
    exponent = round(np.log(value) / np.log(base))
    return f"{base:g}{str(exponent).translate(_RAISED)}"


def _saved(figure: Any, format: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=format, dpi=120, metadata=_NO_METADATA if format == "svg" else None)
    return file.getvalue()


def _moving(figure: Any, moves: Mapping[str, np.ndarray]) -> str:
    """Lines that grow with a dot at their end, all at the same step: SVG that animates itself."""
    from matplotlib.colors import to_hex

    axes, unit = figure.axes[0], 72 / figure.dpi  # points
    height = figure.bbox.height * unit
    box = axes.bbox
    parts = [
        f'<clipPath id="inside"><rect x="{box.x0 * unit:.1f}" y="{height - box.y1 * unit:.1f}" '
        f'width="{box.width * unit:.1f}" height="{box.height * unit:.1f}"/></clipPath>'
        '<g clip-path="url(#inside)" fill="none">'
    ]
    longest = max(len(path) for path in moves.values()) - 1
    for color, path in enumerate(moves.values()):
        points = axes.transData.transform(path) * unit
        points[:, 1] = height - points[:, 1]
        lengths = np.append(0, np.hypot(*np.diff(points, axis=0).T).cumsum())
        steps = np.unique(np.linspace(0, len(path) - 1, KEYS).round().astype(int))
        shares = lengths[steps] / (lengths[-1] or 1)
        times = steps / longest
        if times[-1] < 1:
            times, shares = np.append(times, 1), np.append(shares, 1)
        d = "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in points)
        together = lambda numbers: ";".join(f"{n:.4f}".rstrip("0").rstrip(".") for n in numbers)
        clock = f'dur="{SECONDS}s" repeatCount="indefinite" calcMode="linear" keyTimes="{together(times)}"'
        hue = to_hex(f"C{color}")
        parts += [
            f'<path d="{d}" stroke="{hue}" pathLength="1" stroke-dasharray="1">'
            f'<animate attributeName="stroke-dashoffset" values="{together(1 - shares)}" {clock}/></path>',
            f'<circle r="4" fill="{hue}">'
            f'<animateMotion path="{d}" keyPoints="{together(shares)}" {clock}/></circle>',
        ]
    return "".join([*parts, "</g>"])
