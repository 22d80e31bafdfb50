"""A figure that a notebook shows, whether or not matplotlib's own display is set up there.

Without pyplot there is no window system and no global state, but nobody then tells IPython of figures either.
"""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure as Base


class Figure(Base):
    """matplotlib's, which says itself what it looks like."""

    def _repr_png_(self) -> bytes:
        self.savefig(file := BytesIO(), format="png")
        return file.getvalue()
