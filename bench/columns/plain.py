"""The columns that hold NumPy's arrays: programs written by hand, scikit-learn, thinc."""

from __future__ import annotations

from typing import Any

from bench.columns.base import Column


class NumpyColumn(Column):
    """The hand-written programs."""

    key, title, library, library_title = "numpy", "hand-written NumPy", "numpy", "NumPy"

    def missing(self) -> str | None:
        return None

    def host(self, array: Any) -> Any:
        return array  # CuPy's too: NumPy's functions work on them where they are


class SklearnColumn(Column):
    """scikit-learn's MLPClassifier."""

    key, title, library, library_title = "sklearn", "sklearn MLPClassifier", "sklearn", "scikit-learn"


class ThincColumn(Column):
    """thinc's layers and optimizers on NumPy."""

    key, title, library, library_title = "thinc", "thinc", "thinc", "thinc"
