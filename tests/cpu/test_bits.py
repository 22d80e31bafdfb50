"""Results do not depend on the number of threads, to the bit, nor on what else runs in the process."""

import hashlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import xpnet
from tests.cpu.native import needs_native
from xpnet import functional as F
from xpnet.cpu import launch

pytestmark = [pytest.mark.host, needs_native]

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


Y1000, Y7 = np.arange(4096) % 1000, np.arange(200_000) % 7
# every size is cut up for several threads
CASES = {
    "batch norm of images": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        [draw(32, 16, 64, 64), draw(16), draw(16)],
    ),
    "batch norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        [draw(4096, 500), draw(500), draw(500)],
    ),
    "batch norm, residual and ReLU": (
        lambda x, r: F.batch_norm_relu(x, training=True, residual=r),
        [draw(32, 16, 64, 64), draw(32, 16, 64, 64)],
    ),
    "batch norm and ReLU": (lambda x: F.batch_norm_relu(x, training=True), [draw(4096, 500)]),
    "cross-entropy": (lambda z: F.cross_entropy(z, Y1000), [draw(4096, 1000)]),
    "cross-entropy of few classes": (lambda z: F.cross_entropy(z, Y7), [draw(200_000, 7)]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
        [draw(40, 12, 32, 32), draw(24, 12, 3, 3), draw(24)],
    ),
    "conv2d, stride 2, groups": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=2),
        [draw(3, 8, 99, 64), draw(10, 4, 5, 3)],
    ),
    "conv2d of small images": (
        lambda x, w: F.conv2d(x, w, padding=1),
        [draw(400, 8, 4, 4), draw(8, 8, 3, 3)],
    ),
    "linear": (F.linear, [draw(300, 700), draw(500, 700), draw(500)]),
    "linear and ReLU": (F.linear_activation, [draw(300, 700), draw(500, 700), draw(500)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [draw(16, 16, 64, 65)]),
    "max_pool2d, overlapping": (lambda x: F.max_pool2d(x, 3, 2, 1), [draw(16, 16, 64, 64)]),
    "relu": (F.relu, [draw(3, 100_003)]),
    "embedding": (lambda w: F.embedding(Y1000, w, padding_idx=3), [draw(1000, 300)]),
    "rms norm": (lambda x, w: F.rms_norm(x, 500, w), [draw(4096, 500), draw(500)]),
    "dropout": (lambda x: F.dropout(x, 0.3), [draw(3, 100_003)]),
}


def digests(case):
    f, arrays = CASES[case]
    tensors = [xpnet.tensor(a.copy(), requires_grad=True) for a in arrays]
    xpnet.manual_seed(0)
    y = f(*tensors)
    y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
    of = lambda a: hashlib.sha256(np.ascontiguousarray(xpnet.to_numpy(a)).tobytes()).hexdigest()[:12]
    return [of(y), *(of(t.grad) for t in tensors)]


@pytest.fixture
def threads():
    """Sets the number of threads, for the length of a test."""
    before = launch.Native.threads()
    yield launch.Native.set_threads
    launch.Native.set_threads(before)


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads(case, threads):
    found = []
    for count in (1, 2, 5):
        threads(count)
        found.append(digests(case))
    assert found[0] == found[1] == found[2]


def test_callers_in_several_threads(threads):
    """One has the pool, the others compute alone: nobody waits, and nobody gets another's result."""
    threads(3)
    expected = {case: digests(case) for case in ("linear", "conv2d", "relu")}
    wrong = []

    def work(case):
        for _ in range(5):
            with xpnet.random.forked():
                if digests(case) != expected[case]:
                    wrong.append(case)

    callers = [threading.Thread(target=work, args=(case,)) for case in expected for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(threads):
    threads(3)
    expected = digests("linear")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if digests("linear") == expected else b"other")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        assert said.read() == b"same"
    os.waitpid(child, 0)
    assert digests("linear") == expected


SCRIPT = "import tests.cpu.test_bits as t; print([t.digests(case) for case in t.CASES])"


def test_other_processes():
    runs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "XPNET_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("instructions", ["avx2", "base"])
def test_narrower_instructions_agree(instructions):
    """The kernels for older processors, which this one can run, too: other bits, the same numbers."""
    script = """
import numpy as np, sys
import tests.cpu.test_bits as t, xpnet
from xpnet.cpu import launch
assert launch.Native.instructions == sys.argv[1], launch.Native.instructions
for case, (f, arrays) in t.CASES.items():
    results = []
    for fused in (True, False):
        with xpnet.fused(fused):
            tensors = [xpnet.tensor(a.copy(), requires_grad=True) for a in arrays]
            xpnet.manual_seed(0)
            y = f(*tensors)
            y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
            results.append([y.numpy(), *(x.grad for x in tensors)])
    for a, b in zip(*results):
        scale = max(1, abs(b).max(), y.numpy().size**0.5 / 100)  # of sums over all outputs
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale, err_msg=case)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, instructions],
        env={**os.environ, "XPNET_CPU": instructions},
        capture_output=True,
        text=True,
    )
    if "AssertionError: " in done.stderr and "launch.Native.instructions" in done.stderr:
        pytest.skip("this processor has no such instructions")
    assert done.returncode == 0, done.stderr[-2000:]
