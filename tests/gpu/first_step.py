"""Stage: how long a new process takes for its first training step, with an empty kernel cache and a full one.

Seconds for importing xpnet and CuPy, for the first data on the device, for the first step and for the second
one. The second process finds in CuPy's cache what the first has compiled. A goal that is missed is said, and
is no failure of the stage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.gpu.fragment import DRY, Fragment, first_lines

NETWORKS = ("mlp", "cnn")
GOALS = {"cold": 5.0, "warm": 0.5}
"""The most seconds of the first step, by what the kernel cache holds."""


def step(network: str) -> None:
    """Two steps; what they took is printed as JSON."""
    start = time.perf_counter()
    import cupy
    import numpy as np

    import xpnet
    from xpnet import functional as F
    from xpnet import nn, optim

    xpnet.set_backend("cupy")
    imported = time.perf_counter() - start
    rng, small = np.random.default_rng(0), DRY
    if network == "mlp":
        model: Any = nn.mlp(784, [256, 128], 10, batch_norm=True, dropout=0.2)
        shape: tuple[int, ...] = (8 if small else 128, 784)
    else:
        model, shape = nn.small_cnn(10, width=4 if small else 16), (2 if small else 32, 3, 32, 32)
    optimizer = optim.Adam(model)
    x = xpnet.asarray(rng.standard_normal(shape, np.float32))
    y = xpnet.asarray(rng.integers(0, 10, shape[0]))
    cupy.cuda.Device().synchronize()
    seconds = {"imports": imported, "start": time.perf_counter() - start - imported}
    for name in ("first", "second"):
        begun = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        cupy.cuda.Device().synchronize()
        seconds[name] = time.perf_counter() - begun
    print(json.dumps(seconds))


def judged(state: str, first: float) -> str:
    """Whether a first step took no longer than its goal; nothing of small sizes, which have none."""
    if DRY:
        return ""
    return f"; goal {GOALS[state]:g} s {'met' if first <= GOALS[state] else 'MISSED'}"


def main() -> int:
    """Each network in a cold and in a warm process."""
    found, lines = Fragment(), []
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                run = subprocess.run(
                    [sys.executable, "-m", "tests.gpu.first_step", network],
                    env={**os.environ, "CUPY_CACHE_DIR": cache},
                    capture_output=True,
                    text=True,
                )
                key = f"{network} {state}"
                if run.returncode:
                    found.keep(**{key: {"error": first_lines(RuntimeError(run.stderr[-400:]))}})
                    lines.append(f"{key}: failed")
                    continue
                seconds = json.loads(run.stdout.splitlines()[-1])
                found.keep(**{key: seconds})
                took = ", ".join(f"{k} {v:.2f} s" for k, v in seconds.items())
                lines.append(f"{key}: {took}{judged(state, seconds['first'])}")
    return found.done(not any("failed" in line for line in lines), summary=lines)


if __name__ == "__main__":
    sys.exit(step(sys.argv[1]) if len(sys.argv) > 1 else main())
