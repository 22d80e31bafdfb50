"""What one stage found, kept on disk from the first value on, so that a stage that is cut loses nothing."""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from pathlib import Path
from typing import Any

DRY = "XPNET_GPU_DRY" in os.environ
"""Small sizes: the stages are tried out on CuPy on the CPU."""


def plain(value: Any) -> Any:
    """As JSON can hold it: four digits, no NaN."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    return value


def write(path: Path, value: Any) -> None:
    """The whole file or the old one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(plain(value), indent=1) + "\n")
    os.replace(part, path)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote; empty if there is nothing, or nothing that can be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


class Fragment(dict[str, Any]):
    """The result of a stage. `summary` is its few lines for the terminal; `missing`, why it could not run."""

    def __init__(self) -> None:
        super().__init__()
        name = os.environ.get("XPNET_GPU_FRAGMENT")
        self.path = Path(name) if name else None
        self.written = 0.0

    def keep(self, every: float = 0.0, **values: Any) -> None:
        """Take these values and write the file, unless that was done within the last `every` seconds."""
        self.update(values)
        if self.path is not None and time.monotonic() - self.written >= every:
            write(self.path, self)
            self.written = time.monotonic()

    def done(self, ok: bool = True, **values: Any) -> int:
        """Write the end; run alone, print it. The exit code of the stage."""
        self.keep(**values)
        if self.path is None:
            print(json.dumps(plain(self), indent=1))
        return 0 if ok else 1


def first_lines(error: BaseException, lines: int = 3) -> str:
    """Type and first lines of the message, and where in this project it came from."""
    text = "\n".join(str(error).splitlines()[:lines])[:500]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"
