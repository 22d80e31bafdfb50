"""Stage: `xpnet parity` between NumPy and CuPy, for the MLP and the CNN: layers, draws, a training run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.gpu.fragment import DRY, Fragment

STEPS = 20 if DRY else 200


def compare(model: str) -> dict[str, Any]:
    """What `xpnet parity` found for a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "parity.json")
        command = [sys.executable, "-m", "xpnet", "parity", "--backends", "numpy,cupy", "--model", model]
        ran = subprocess.run(
            [*command, "--steps", str(STEPS), "--json", str(path)], capture_output=True, text=True
        )
        print(ran.stdout, ran.stderr, flush=True)
        if not path.exists():
            return {"ok": False, "error": (ran.stderr.strip() or ran.stdout.strip())[-600:]}
        report = json.loads(path.read_text())
        return {"ok": report["ok"], "table": ran.stdout.splitlines(), "report": report}


def main() -> int:
    """Both models; 1 if one differs."""
    found = Fragment()
    for model in ("mlp", "cnn"):
        found.keep(**{model: compare(model)})
    ok = all(part["ok"] for part in found.values())
    return found.done(ok, summary=[f"{k}: {'agrees' if v['ok'] else 'DIFFERS'}" for k, v in found.items()])


if __name__ == "__main__":
    sys.exit(main())
