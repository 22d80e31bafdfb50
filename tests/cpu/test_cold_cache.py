"""The process that compiles the kernels computes what every later one does, to the bit."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason='the CPU kernels need pip install "xpnet[cpu]"')

pytestmark = pytest.mark.host

# above the sizes from which kernels run in all threads (`launch.PARALLEL`)
SCRIPT = """
import hashlib, logging
import numpy as np, xpnet
from xpnet import functional as F
logging.basicConfig(level=logging.DEBUG)
rng = np.random.default_rng(0)
draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
digest = lambda a: hashlib.sha256(np.ascontiguousarray(xpnet.to_numpy(a)).tobytes()).hexdigest()[:12]
def run(f, *arrays):
    tensors = [xpnet.tensor(a, requires_grad=True) for a in arrays]
    y = f(*tensors)
    y.backward(draw(*y.shape))
    return [digest(y), *(digest(t.grad) for t in tensors)]
norm = lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)
print(*run(norm, draw(32, 16, 64, 64), draw(16), draw(16)))
print(*run(norm, draw(4096, 512), draw(512), draw(512)))
print(*run(lambda z: F.cross_entropy(z, np.arange(4096) % 1000), draw(4096, 1000)))
print(*run(lambda z: F.cross_entropy(z, np.arange(200000) % 7), draw(200000, 7)))
"""


def test_a_cold_and_a_warm_process_agree(tmp_path):
    runs = []
    for threads in ("1", "1", str(min(2, os.cpu_count() or 1))):
        environment = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "CPU kernel cross_entropy" in done.stderr  # it ran, and not the body
        runs.append(done.stdout)
    cold, warm, two_threads = runs
    assert cold == warm == two_threads
