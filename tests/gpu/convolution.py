"""Stage: convolution by our kernels, by cuDNN (NCHW and channels last), by PyTorch: errors and microseconds.

cuDNN goes through xpnet/cuda/cudnn.py; this is where its worth is shown, by which it is used. Forward,
the gradient of x and that of the weight are timed apart, by CUDA's events; ours and cuDNN's are captured too.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.gpu.fragment import DRY, Fragment, first_lines
from tests.gpu.probes import capture

Results = dict[str, Callable[[], Any]]
WAYS = ("forward", "by_x", "by_weight")
MODES = {  # dtype, and the largest error against the largest result
    "float32": ("float32", 1e-4),
    "tf32": ("float32", 2e-3),
    "float16": ("float16", 2e-3),
    "bfloat16": ("bfloat16", 1e-2),
}
TIMES = 2 if DRY else 20


class Case(NamedTuple):
    """A convolution."""

    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    stride: int = 1
    groups: int = 1

    @property
    def options(self) -> tuple[Any, ...]:
        """Stride, padding, dilation, groups: the padding keeps the size."""
        return self.stride, self.weight[2] // 2, 1, self.groups


CASES = {
    "64 to 64": Case((128, 64, 28, 28), (64, 64, 3, 3)),
    "16 to 16": Case((128, 16, 32, 32), (16, 16, 3, 3)),
    "256 to 256": Case((64, 256, 14, 14), (256, 256, 3, 3)),
    "stride 2": Case((128, 64, 28, 28), (128, 64, 3, 3), 2),
    "1 by 1": Case((64, 256, 14, 14), (512, 256, 1, 1)),
    "depthwise": Case((64, 64, 28, 28), (64, 1, 3, 3), 1, 64),
    "3 to 16": Case((128, 3, 32, 32), (16, 3, 3, 3)),
}
if DRY:
    CASES = {"small": Case((2, 4, 5, 6), (6, 2, 3, 3), 2, 2)}


def microseconds(run: Callable[[], Any]) -> float:
    """Of one call, by events around many."""
    import cupy

    for _ in range(2):
        run()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(TIMES):
        run()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) * 1e3 / TIMES


def arrays_of(case: Case, dtype: str) -> tuple[Any, Any, Any, list[Any]]:
    """x, weight and dy, and the three results of the body in float64."""
    import cupy

    import xpnet
    from xpnet.functional import convolution

    rng = np.random.default_rng(0)
    x, weight = (xpnet.asarray(rng.standard_normal(s, np.float32), dtype) for s in (case.x, case.weight))
    wide = [a.astype(cupy.float64) for a in (x, weight)]
    y, pullback = convolution.conv2d.body(*wide, None, *case.options)
    dy = xpnet.asarray(rng.standard_normal(y.shape, np.float32), dtype)
    return x, weight, dy, [y, *(g(None) for g in pullback(dy.astype(cupy.float64))[:2])]


def ours(case: Case, x: Any, weight: Any, dy: Any) -> Results:
    """kernels/convolution.cu."""
    from xpnet.cuda import convolution, cudnn

    conv2d = cudnn.use_cudnn(False)(convolution.conv2d)
    pullback = conv2d(x, weight, None, *case.options)[1]
    return {
        "forward": lambda: conv2d(x, weight, None, *case.options)[0],
        "by_x": lambda: pullback(dy)[0](None),
        "by_weight": lambda: pullback(dy)[1](None),
    }


def by_cudnn(case: Case, x: Any, weight: Any, dy: Any, last: bool) -> Results:
    """cuDNN alone: arrays in its order, results where they are made."""
    import xpnet
    from xpnet.cuda import cudnn, layout
    from xpnet.functional.convolution import geometry

    g, tf32 = geometry(x, weight, *case.options), xpnet.get_matmul_precision() == "tf32"
    made = cudnn.graphs(x.dtype.name, tf32, x.shape, weight.shape, False, last, g, x.data.device_id)
    if made is None:
        raise ValueError("cuDNN refuses it; the log says why")
    x, w, dy = (layout.ordered(a, last) for a in (x, weight, dy))
    y, dx, dw = (layout.empty(a.shape, a, last) for a in (dy, x, w))

    def run(way: str, result: Any, *arrays: Any) -> Callable[[], Any]:
        tensors = dict(zip((cudnn.X, cudnn.WEIGHT, cudnn.Y), arrays, strict=True))

        def call() -> Any:
            made[way].run(tensors)
            return result

        return call

    return {
        "forward": run("forward", y, x, w, y),
        "by_x": run("by_x", dx, dx, w, dy),
        "by_weight": run("by_weight", dw, x, dw, dy),
    }


def by_torch(case: Case, x: Any, weight: Any, dy: Any, last: bool) -> Results:
    """PyTorch's, which are cuDNN's with the plan of its choice; float32 with TF32 if that is set."""
    import torch

    from xpnet.core.precision import get_matmul_precision

    allowed = get_matmul_precision() == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    order = torch.channels_last if last else torch.contiguous_format
    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

    def tensor(a: Any) -> Any:
        made = torch.from_dlpack(a.astype(np.float32)).to(kinds[a.dtype.name])
        return made.contiguous(memory_format=order)

    x, weight, dy = map(tensor, (x, weight, dy))
    stride, padding, dilation, groups = case.options
    pairs = [stride] * 2, [padding] * 2, [dilation] * 2

    def backward(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            dy, x, weight, None, *pairs, False, [0, 0], groups, [*wanted, False]
        )

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups),
        "by_x": lambda: backward(True, False)[0],
        "by_weight": lambda: backward(False, True)[1],
    }


def difference(got: Any, want: Any) -> float:
    """Largest, against the largest of the result."""
    import cupy

    if not isinstance(got, cupy.ndarray):
        got = cupy.from_dlpack(got.detach().float().contiguous())
    return float(abs(got.astype(cupy.float64) - want).max() / abs(want).max())


def contenders() -> dict[str, Callable[..., Results]]:
    """Who can run here; the names of the others are in `missing`."""
    import importlib.util

    from xpnet.cuda import cudnn

    found: dict[str, Callable[..., Results]] = {"ours": ours}
    if importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            found["torch"] = lambda *a: by_torch(*a, False)
            found["torch channels last"] = lambda *a: by_torch(*a, True)
    if cudnn.missing() is None:
        found["cudnn"] = lambda *a: by_cudnn(*a, False)
        found["cudnn channels last"] = lambda *a: by_cudnn(*a, True)
    return found


def measure(found: dict[str, Any], results: Results, want: list[Any], most: float, captured: bool) -> None:
    """Error, time and, if `captured`, the replay of each result."""
    for way, expected in zip(WAYS, want, strict=True):
        try:
            error = difference(results[way](), expected)
            found[way] = {
                "error": error,
                "right": error <= most,
                "us": microseconds(results[way]),
            }
            if captured:
                found[way]["captured"] = capture(results[way], lambda out: [out])
        except Exception as error:  # the others are still worth knowing
            traceback.print_exc()
            found[way] = {"right": False, "reason": first_lines(error)}


def line(name: str, found: dict[str, Any]) -> str:
    """What the terminal shows of a contender."""
    words = []
    for way in WAYS:
        one = found.get(way, {})
        text = f"{one['us']:8.1f}" if "us" in one else "      --"
        words.append(text + ("" if one.get("right") else " WRONG" if "us" in one else ""))
        if one.get("captured", {"ok": True})["ok"] is not True:
            words[-1] += " (no capture)"
    return f"  {name:<20}" + " ".join(words)


def main() -> int:
    """Every case, dtype and contender; 1 if ours is wrong."""
    import xpnet
    from xpnet.cuda import cudnn

    found, wrong, summary = Fragment(), False, ["forward, by_x, by_weight in microseconds"]
    with xpnet.use_backend("cupy"):
        runners = contenders()
        if (reason := cudnn.missing()) is not None:
            summary.append(f"without cuDNN: {reason}")
        for name, case in CASES.items():
            for mode, (dtype, most) in MODES.items():
                x, weight, dy, want = arrays_of(case, dtype)
                table: dict[str, Any] = {}
                summary.append(f"{name}, {mode}")
                for who, make in runners.items():
                    table[who] = {}
                    try:
                        with xpnet.matmul_precision("tf32" if mode == "tf32" else "float32"):
                            results = make(case, x, weight, dy)
                            measure(table[who], results, want, most, not who.startswith("torch"))
                    except Exception as error:
                        traceback.print_exc()
                        table[who]["reason"] = first_lines(error)
                    summary.append(line(who, table[who]))
                    print(summary[-1], flush=True)
                wrong |= not all(table["ours"].get(way, {}).get("right") for way in WAYS)
                found.keep(**{f"{name}, {mode}": table}, summary=summary)
    return found.done(not wrong)


if __name__ == "__main__":
    sys.exit(main())
