"""docs/pages/cuda-kernel.md: its source and its launcher are run as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernels import nvrtc
from tests.kernels.conftest import Launch
from xpnet.cuda import loader

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "cuda-kernel.md"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's Python defines, with its source among those of the package."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (source,) = (text for kind, text in blocks if kind == "cuda")
    assert len(source.splitlines()) <= 50
    for file in loader.folder().glob("*.cu*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "softsign.cu").write_text(source)
    monkeypatch.setattr(loader, "folder", lambda: tmp_path)
    names: dict[str, Any] = {}
    for kind, text in blocks:
        if kind == "python":
            assert len(text.splitlines()) <= 50
            exec(text, names)
    return names


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(("n", "offset"), [(0, 0), (1, 0), (1000, 3)])
def test_the_kernel_agrees_with_the_body(
    page: dict[str, Any], launch: Launch, dtype: str, n: int, offset: int
) -> None:
    rng = np.random.default_rng(n)
    x, dy = rng.standard_normal((2, n)).astype(dtype)
    want, pullback = page["softsign"].body(x.astype("float64"))
    with launch.on():
        y, back = page["launch"](launch.array(x, offset=offset))
        dx = back(launch.array(dy))
    tolerance = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(launch.numpy(y), want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        launch.numpy(dx), pullback(dy.astype("float64")), rtol=tolerance, atol=tolerance
    )


@pytest.mark.host
def test_every_instance_compiles(page: dict[str, Any]) -> None:
    if (reason := nvrtc.missing()) is not None:
        pytest.skip(reason)
    for file, names in page["instances"](90).items():
        used = nvrtc.compile(file, tuple(names), 90)
        assert len(used) == 8
        assert all(u.frame == 0 for name, u in used.items() if "double" not in name)
