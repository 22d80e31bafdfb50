"""Stage: what a captured training step will stand on. Each probe has a process of its own: one may die.

`capture PIECE` records a piece of a step on a stream, poisons what it wrote, replays it and compares with the
eager run; a refusal names the call. `cublaslt` multiplies through ctypes, with an epilogue, also captured.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import site
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.fragment import Fragment, first_lines

EACH = 30  # seconds of a probe


# ---- stream capture ----------------------------------------------------------------------------------------


def refused(error: BaseException) -> dict[str, Any]:
    """The error, the last call of this project, and the last of CuPy."""
    frames = traceback.extract_tb(error.__traceback__)
    place = lambda f: f"{Path(f.filename).parent.name}/{Path(f.filename).name}:{f.lineno} {f.name}: {f.line}"
    ours = [f for f in frames if "/xpnet/" in f.filename and "site-packages" not in f.filename]
    return {
        "ok": False,
        "error": first_lines(error),
        "called_by": place(ours[-1]) if ours else None,
        "refused_by": place(frames[-1]),
    }


def capture(run: Callable[[], Any], outputs: Callable[[Any], list[Any]]) -> dict[str, Any]:
    """Warm up, capture, poison the outputs, replay: are they those of the eager run?"""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        for _ in range(2):  # compiles, and fills the pool
            made = run()
        stream.synchronize()
        want = [np.array(a.get(), dtype=np.float64) for a in outputs(made)]
        del made
        try:
            stream.begin_capture()
            made = run()
            graph = stream.end_capture()
        except Exception as error:
            return refused(error)
        for a in outputs(made):
            a[...] = -1
        graph.launch(stream)
        stream.synchronize()
        got = [np.array(a.get(), dtype=np.float64) for a in outputs(made)]
    error = max(float(np.abs(g - w).max() / (np.abs(w).max() or 1)) for g, w in zip(got, want, strict=True))
    return {"ok": error <= 1e-5, "error": None if error <= 1e-5 else f"replay differs by {error:.2g}"}


def forward_backward(layer: Callable[[Any], Any], *shape: int) -> dict[str, Any]:
    """A layer or function of one input, and its gradient."""
    import xpnet

    x = xpnet.Tensor(xpnet.asarray(np.random.default_rng(0).standard_normal(shape, np.float32)), True)
    dy = xpnet.asarray(np.ones(layer(x).shape, np.float32))

    def run() -> tuple[Any, Any]:
        x.grad = None
        y = layer(x)
        y.backward(dy)
        return y.data, x.grad

    return capture(run, list)


def probe_matmul() -> dict[str, Any]:
    import cupy

    a = cupy.asarray(np.random.default_rng(0).standard_normal((64, 64), np.float32))
    out = cupy.empty_like(a)
    return capture(lambda: cupy.matmul(a, a, out=out), lambda out: [out])


def probe_sum() -> dict[str, Any]:
    import cupy

    a = cupy.asarray(np.random.default_rng(0).standard_normal((64, 64), np.float32))
    return capture(lambda: a.sum(axis=0), lambda out: [out])


def probe_upload() -> dict[str, Any]:
    """A copy from pageable memory of the host, as `asarray` makes."""
    import cupy

    host = np.arange(64, dtype=np.float32)
    return capture(lambda: cupy.asarray(host), lambda out: [out])


def probe_new_memory() -> dict[str, Any]:
    """An allocation that the pool does not hold yet."""
    import cupy

    def run() -> Any:
        cupy.get_default_memory_pool().free_all_blocks()
        return cupy.full(1 << 20, 3, cupy.float32)

    return capture(run, lambda out: [out])


def probe_relu() -> dict[str, Any]:
    from xpnet import functional as F

    return forward_backward(F.relu, 64, 32)


def probe_dropout() -> dict[str, Any]:
    """One key, whose masks every replay repeats: what a captured step must change."""
    import xpnet
    from xpnet.core.random import Key
    from xpnet.cuda.dropout import philox_dropout

    x = xpnet.asarray(np.ones((64, 32), np.float32))

    def run() -> tuple[Any, Any]:
        y, pullback = philox_dropout(x, 0.5, Key(1, 2, 3))
        return y, pullback(x)

    return capture(run, list)


def probe_batch_norm() -> dict[str, Any]:
    from xpnet import nn

    return forward_backward(nn.BatchNorm1d(32), 64, 32)


def probe_linear() -> dict[str, Any]:
    from xpnet import nn

    return forward_backward(nn.Linear(32, 16), 64, 32)


def probe_convolution() -> dict[str, Any]:
    from xpnet import nn

    return forward_backward(nn.Conv2d(3, 8, 3, padding=1), 4, 3, 8, 8)


def probe_cross_entropy() -> dict[str, Any]:
    import xpnet
    from xpnet import functional as F

    labels = xpnet.asarray(np.arange(64) % 32)
    return forward_backward(lambda z: F.cross_entropy(z, labels, reduction="none"), 64, 32)


def probe_clip() -> dict[str, Any]:
    import xpnet
    from xpnet import nn, optim

    model = nn.Linear(32, 16)
    model(xpnet.tensor(np.ones((4, 32), np.float32))).sum().backward()
    gradient = xpnet.asarray(np.ones(model.theta.shape, np.float32))

    def run() -> Any:
        model.grad[...] = gradient
        optim.clip_grad_norm(model, 0.5)
        return model.grad

    return capture(run, lambda grad: [grad])


def training_step(model: Any, optimizer: Any, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """A whole step, captured: does its replay give the loss of an eager run, and train?"""
    import cupy

    import xpnet
    from xpnet import functional as F

    rng = np.random.default_rng(0)
    x = xpnet.asarray(rng.standard_normal(shape, np.float32))
    y = xpnet.asarray(rng.integers(0, classes, shape[0]))

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        for _ in range(3):
            step()
        stream.synchronize()
        try:
            stream.begin_capture()
            loss = step()
            graph = stream.end_capture()
        except Exception as error:
            return refused(error)
        # on the host: the graph writes to memory that the pool has back, and gives to new arrays
        before = model.theta.get()
        losses = []
        for _ in range(2):
            graph.launch(stream)
            stream.synchronize()
            losses.append(float(loss.data))
        moved = float(np.abs(model.theta.get() - before).max())
        model.theta.set(before)
        eager = float(F.cross_entropy(model(x), y).data)
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(stream)
        for _ in range(20):
            graph.launch(stream)
        end.record(stream)
        end.synchronize()
    ok = abs(losses[0] / eager - 1) < 1e-4 and moved > 0 and losses[1] != losses[0]
    milliseconds = cupy.cuda.get_elapsed_time(start, end) / 20
    return {"ok": ok, "losses": losses, "eager": eager, "moved": moved, "replay_ms": milliseconds}


def probe_step_mlp() -> dict[str, Any]:
    from xpnet import nn, optim

    model = nn.mlp(784, [256, 128], 10)
    # Adam's numbers change in every step, and are written by the host: `xpnet.capture` is for that
    return training_step(model, optim.SGD(model, lr=0.01, momentum=0.9), (128, 784), 10)


def probe_step_cnn() -> dict[str, Any]:
    from xpnet import nn, optim

    model = nn.small_cnn(10, width=4, dropout=0.0)
    return training_step(model, optim.SGD(model, lr=0.01, momentum=0.9), (8, 3, 8, 8), 10)


# ---- libraries ---------------------------------------------------------------------------------------------


def library(name: str) -> Path | str | None:
    """Where `lib<name>` lies: NVIDIA's wheels, the toolkit, or what the loader finds."""
    roots = [Path(p, "nvidia") for p in {*sys.path, *site.getsitepackages()} if p]
    found = [p for root in roots if root.is_dir() for p in root.glob(f"*/lib/lib{name}.so*")]
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    found += toolkit.glob(f"lib64/lib{name}.so.*")
    bare = [f"lib{name}.so{version}" for version in (".13", ".12", ".9", ".2", "")]
    for candidate in [*sorted(set(found), reverse=True), *bare]:
        try:
            ctypes.CDLL(str(candidate))
        except OSError:
            continue
        return candidate
    return None


COMPUTE_32F, COMPUTE_32F_TF32, R_32F = 68, 77, 0
EPILOGUE, BIAS_POINTER, RELU_BIAS = 7, 8, 6  # attributes of a product's description, and a value of the first


def probe_cublaslt() -> dict[str, Any]:
    """relu(x @ w + b) by cublasLtMatmul: against NumPy, and once more from a captured graph."""
    path = library("cublasLt")
    nvmath = importlib.util.find_spec("nvmath") is not None
    if path is None:
        return {"ok": False, "missing": "libcublasLt is not found", "nvmath": nvmath}
    import cupy

    lt = ctypes.CDLL(str(path))
    lt.cublasLtGetVersion.restype = ctypes.c_size_t
    found: dict[str, Any] = {"path": str(path), "version": lt.cublasLtGetVersion(), "nvmath": nvmath}

    def check(name: str, *args: Any) -> None:
        if status := getattr(lt, name)(*args):
            raise RuntimeError(f"{name} gave status {status}")

    n = 64
    rng = np.random.default_rng(0)
    hx, hw, hb = (rng.standard_normal(s, np.float32) for s in ((n, n), (n, n), (n,)))
    x, w, b = (cupy.asarray(a) for a in (hx, hw, hb))
    out, workspace = cupy.zeros((n, n), cupy.float32), cupy.empty(32 << 20, cupy.uint8)
    handle, product, layout = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    check("cublasLtCreate", ctypes.byref(handle))
    check("cublasLtMatmulDescCreate", ctypes.byref(product), COMPUTE_32F, R_32F)
    size = ctypes.c_uint64(n)
    check("cublasLtMatrixLayoutCreate", ctypes.byref(layout), R_32F, size, size, ctypes.c_int64(n))
    for attribute, value in (
        (EPILOGUE, ctypes.c_int32(RELU_BIAS)),
        (BIAS_POINTER, ctypes.c_void_p(b.data.ptr)),
    ):
        where, bytes_ = ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value))
        check("cublasLtMatmulDescSetAttribute", product, attribute, where, bytes_)
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    pointer = lambda a: ctypes.c_void_p(a.data.ptr)

    def multiply(stream: Any) -> None:
        # matrices are column-major there: (x w)' = w' x', and w' is w's memory
        check(
            "cublasLtMatmul", handle, product, ctypes.byref(one), pointer(w), layout, pointer(x), layout,
            ctypes.byref(zero), pointer(out), layout, pointer(out), layout, None, pointer(workspace),
            ctypes.c_size_t(workspace.nbytes), ctypes.c_void_p(stream.ptr),
        )  # fmt: skip

    want = np.maximum(hx.astype(np.float64) @ hw + hb, 0)
    error = lambda: float(np.abs(out.get() - want).max())
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    multiply(stream)
    stream.synchronize()
    found["eager"] = error()
    out[...] = 0
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        multiply(stream)
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
    found["captured"] = error()
    return {**found, "ok": max(found["eager"], found["captured"]) < 1e-3}


def probe_nccl() -> dict[str, Any]:
    """Whether CuPy has NCCL, and an all-reduce of one device works."""
    path = library("nccl")
    from cupy.cuda import nccl

    if not nccl.available:
        return {"ok": False, "missing": "this CuPy loads no NCCL", "path": path and str(path)}
    import cupy

    communicator = nccl.NcclCommunicator(1, nccl.get_unique_id(), 0)
    a = cupy.arange(4, dtype=cupy.float32)
    stream = cupy.cuda.get_current_stream()
    communicator.allReduce(a.data.ptr, a.data.ptr, a.size, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, stream.ptr)
    return {"ok": a.get().tolist() == [0, 1, 2, 3], "version": nccl.get_version(), "path": path and str(path)}


def probe_cudnn() -> dict[str, Any]:
    """Whether cuDNN is there: CuPy 14 has no binding, another library would be used."""
    path = library("cudnn")
    frontend = importlib.util.find_spec("cudnn") is not None
    if path is None:
        return {"ok": False, "missing": "libcudnn is not found", "frontend": frontend}
    lib = ctypes.CDLL(str(path))
    lib.cudnnGetVersion.restype = ctypes.c_size_t
    return {"ok": True, "version": lib.cudnnGetVersion(), "path": str(path), "frontend": frontend}


PROBES = {name.removeprefix("probe_"): f for name, f in list(globals().items()) if name.startswith("probe_")}


def one(name: str) -> None:
    """Run a probe here; its result is the last line."""
    try:
        import xpnet

        with xpnet.use_backend("cupy"):
            xpnet.manual_seed(0)
            result = PROBES[name]()
    except Exception as error:
        traceback.print_exc()
        result = {"ok": False, "error": first_lines(error)}
    print("\n" + json.dumps(result, default=str), flush=True)


def main() -> int:
    """Every probe at once; a refusal is a finding, not a failure."""
    found = Fragment()
    command = [sys.executable, "-m", "tests.gpu.probes"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    most = max(2, (os.cpu_count() or 1) // 2)
    names = list(PROBES)
    for at in range(0, len(names), most):
        group = names[at : at + most]
        running = {name: subprocess.Popen([*command, name], **pipes) for name in group}
        for name, process in running.items():
            try:
                text = process.communicate(timeout=EACH)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                text = process.communicate()[0]
                found.keep(**{name: {"ok": False, "error": f"cut after {EACH} s"}})
                continue
            print(f"---- {name}\n{text}", flush=True)
            try:
                result = json.loads(text.splitlines()[-1])
            except (ValueError, IndexError):
                result = {"ok": False, "error": f"died: exit code {process.returncode}", "tail": text[-600:]}
            found.keep(**{name: result})
    words = lambda r: "works" if r["ok"] else r.get("missing") or r.get("error") or "DIFFERS"
    return found.done(summary=[f"{name}: {words(r).splitlines()[0]}" for name, r in found.items()])


if __name__ == "__main__":
    sys.exit(one(sys.argv[1]) if len(sys.argv) > 1 else main())
