"""What activations cost: the time of a call, and the memory that training keeps."""

import time
import tracemalloc

import numpy as np

from xpnet import functional as F
from xpnet import init, tensor, use_backend
from xpnet.lab import Check, Picture, Result, Table, experiment

UNITS = {"ReLU": F.relu, "leaky ReLU": F.leaky_relu, "sigmoid": F.sigmoid, "tanh": F.tanh, "ELU": F.elu}
SHAPE, LAYERS = (256, 512), 8
ARRAY = 4 * SHAPE[0] * SHAPE[1]  # bytes


def milliseconds(f, x):
    times = []
    for _ in range(15):
        start = time.perf_counter()
        f(x)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def arrays_kept(f):
    """How many arrays a chain of layers keeps for its gradient, a layer, beyond those without gradients."""
    # core
    x = tensor(np.ones(SHAPE, np.float32), requires_grad=True)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    y = x
    for _ in range(LAYERS):
        y = f(y + 0.5)  # a layer before it, whose output only the activation can keep
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / ARRAY / LAYERS
    # end of core


@experiment("S1, S3", "activations: somewhat expensive to compute, and ReLU's memory")
def run() -> Result:
    with use_backend("numpy"):  # where memory can be counted
        x = init.normal(SHAPE, std=1.0)
        times = {name: milliseconds(f, x) for name, f in UNITS.items()}
        weight = init.normal((SHAPE[1], SHAPE[1]), std=1.0)
        before = milliseconds(lambda x: F.linear(x, weight), x)
        memory = {name: arrays_kept(f) for name, f in UNITS.items()}

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.barh(range(len(times)), list(times.values()))
        left.set(yticks=range(len(times)), yticklabels=list(times), xlabel="ms, here and now")
        right.barh(range(len(memory)), list(memory.values()))
        right.set(yticks=[], xlabel="arrays kept, a layer")

    return Result(
        "Somewhat expensive: whatever needs exp takes longer than ReLU's comparison, here and now "
        f"{times['sigmoid'] / times['ReLU']:.0f} times as long for the sigmoid, beside {before:.1f} ms for "
        "the linear layer before it. 'Half the memory' holds for a program that keeps the "
        "input and the output of tanh, and of ReLU its output alone. The derivative 1 - y^2 needs the output "
        "alone, too; here the graph keeps both arrays, of either.",
        [
            Check(
                "memory kept for the gradient: ReLU / tanh",
                memory["ReLU"] / memory["tanh"],
                deck="0.5",
                exact=1.0,
                atol=0.02,
                kind="reading",
                slip="half, if tanh keeps its input and ReLU does not; both can do with the output alone",
            ),
            Check(
                "arrays kept, a layer",
                [memory[name] for name in ("ReLU", "sigmoid", "tanh")],
                exact=[2.0, 2.0, 2.0],
                atol=0.05,
            ),
        ],
        [
            Table(
                f"{SHAPE[0]} x {SHAPE[1]} numbers",
                ("activation", "ms (not judged)", "arrays kept, a layer"),
                [[name, times[name], memory[name]] for name in UNITS],
            )
        ],
        [Picture("Time and memory of activations", draw, (8, 2.5))],
    )
