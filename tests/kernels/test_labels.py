"""The labels of a loss, looked at on the device: against the Array API body, and the note."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from xpnet import cuda
from xpnet.core.notes import OPS, discard_errors
from xpnet.cuda.labels import check_labels as launcher

DTYPES = ["float32", "float64", "float16", "bfloat16"]


def dtype_of(name: str) -> np.dtype:
    if name == "bfloat16":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


@given(
    labels=st.lists(st.integers(-6, 8), max_size=600),
    ignore=st.sampled_from([None, -100, -1, 2]),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from([np.int64, np.int32, np.int16, np.int8]),
)
def test_labels(launch: Launch, labels: list[int], ignore: int | None, dtype: str, kind: type) -> None:
    y = np.array(labels, kind)
    with launch.on():
        classes, rows = launcher(launch.array(y), dtype_of(dtype), 5, ignore, OPS.index("nll_loss"))
    skip = np.zeros(y.shape, bool) if ignore is None else y == ignore
    wrong = ~skip & ((y < 0) | (y >= 5))
    if wrong.any():
        with pytest.raises(ValueError, match="nll_loss: label") as error:
            launch.read(rows)
        words = str(error.value).split()
        label, row = int(words[2]), int(words[5])
        assert wrong[row]
        assert y[row] == label
    cuda.check_errors()  # nothing, or forgotten
    np.testing.assert_array_equal(launch.numpy(classes), np.where(skip | wrong, 0, y))
    np.testing.assert_array_equal(launch.numpy(rows), np.where(wrong, np.nan, np.where(skip, 0.0, 1.0)))


def test_a_dtype_without_a_kernel_is_left_to_the_body(launch: Launch) -> None:
    with launch.on():
        assert (
            launcher(launch.array(np.zeros(3, np.int64)), np.dtype("complex64"), 5, None, 1) is NotImplemented
        )


def test_races(launch: Launch) -> None:
    """Small enough for ThreadSanitizer (tests/kernels/ladder.py): every row is wrong, one note is kept."""
    y = np.full(300, 9)
    with launch.on(resident=2):
        _, rows = launcher(launch.array(y), np.dtype("float32"), 5, None, 1)
    with pytest.raises(ValueError, match="label 9 of row"):
        launch.read(rows)
    discard_errors()
