"""The peak memory of a convolution step against PyTorch's, each in a process of its own."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.host

STEP = """
import sys
import numpy as np

def peak():  # KiB; getrusage would inherit the peak of the process that started this one
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

def arrays(n):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 32, 32, 32), np.float32)
    return x, rng.standard_normal((32, 32, 3, 3), np.float32), x.copy()

if sys.argv[1] == "torch":
    import torch

    torch.set_num_threads(1)

    def step(x, w, dy):
        x, w = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
        torch.nn.functional.conv2d(x, w, padding=1).backward(torch.from_numpy(dy))
        return x.grad, w.grad
else:
    import xpnet
    from xpnet import functional as F

    def step(x, w, dy):
        x, w = xpnet.tensor(x, requires_grad=True), xpnet.tensor(w, requires_grad=True)
        F.conv2d(x, w, padding=1).backward(dy)
        return x.grad, w.grad

step(*arrays(1))
inputs = arrays(256)
before = peak()
kept = step(*inputs)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_at_most_twice_the_memory():
    peaks = {}
    for library in ("torch", "xpnet"):
        command = [sys.executable, "-c", STEP, library]
        peaks[library] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # the outputs alone are 64 MiB: a measurement below that has missed the step
    assert peaks["torch"] > 60_000
    assert peaks["xpnet"] <= 2 * peaks["torch"], peaks
