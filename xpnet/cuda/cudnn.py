"""Convolution by cuDNN's graph API where that is installed and was measured to be faster than our kernels.

It needs `pip install "xpnet[cudnn]"`, NVIDIA's frontend (2 MB; 9 MB installed), and libcudnn 9, which
PyTorch brings too. Only the frontend's compiled module is loaded: the package around it imports PyTorch.
`XPNET_CUDNN=0` keeps it out, `XPNET_CUDNN=1` asks for it everywhere, and `with use_cudnn(flag):` does so for
a block. What it refuses is left to the kernels.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path
from typing import Any, NamedTuple

from xpnet.core.arrays import sum_in_float32
from xpnet.core.backend import Array, namespace_of
from xpnet.core.context import Setting, Within
from xpnet.core.memory_format import is_channels_last_wanted
from xpnet.core.precision import get_matmul_precision
from xpnet.cuda.element import element
from xpnet.cuda.layout import empty, is_channels_last, ordered
from xpnet.functional.convolution import Geometry

log = logging.getLogger("xpnet.cuda")
_asked = {"0": False, "1": True}.get(os.environ.get("XPNET_CUDNN", ""))
_on: Setting[bool | None] = Setting("xpnet_cudnn", _asked)
TYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
OF_MEMORY = 32  # a workspace is at most this part of the device's memory
WAYS = ("forward", "by_x", "by_weight")
X, WEIGHT, BIAS, Y = range(1, 5)  # numbers of the tensors in a graph


def use_cudnn(flag: bool | None = True) -> Within[bool | None]:
    """Convolve by cuDNN in a `with` block, in this thread: always, never, or (None) where it is faster."""
    return _on.within(flag)


def is_wanted(x: Array, weight: Array, stride: Any, groups: int) -> bool:
    """Whether this convolution goes to cuDNN.

    By default it does where the three products took less time on an H100 (tests/gpu/convolution.py): of
    single channels, and of 64 and more in 16 bits. In float32 it was faster, too, where windows move by one;
    but its gradients there are up to 8e-6 from NumPy's, ours 5e-7, so products must be allowed to round.
    """
    flag = _on.get()
    if flag is False or frontend() is None:
        return False
    outputs, depth, *window = weight.shape
    if flag or (groups > 1 and depth == 1):
        return True
    rounded = get_matmul_precision() != "float32"
    if is_channels_last_wanted():  # so that no image changes its order on the way
        return x.dtype.itemsize == 2 or rounded
    if min(outputs, depth) < 64:
        return False
    return x.dtype.itemsize == 2 or (rounded and stride in (1, (1, 1)) and window != [1, 1])


def missing() -> str | None:
    """What keeps cuDNN from working here; None if nothing does."""
    return _found()[1] or None


def frontend() -> Any:
    """The frontend's compiled module, with libcudnn loaded; None if either is missing."""
    return _found()[0]


@cache
def _found() -> tuple[Any, str]:
    spec = importlib.util.find_spec("cudnn")
    places = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    modules = [p / f"_compiled_module{s}" for p in places for s in EXTENSION_SUFFIXES]
    path = next((m for m in modules if m.exists()), None)
    if path is None:
        return None, 'nvidia-cudnn-frontend is not installed: pip install "xpnet[cudnn]"'
    roots = [Path(p, "nvidia") for p in sys.path]
    libraries = [str(p) for root in roots for p in sorted(root.glob("cu*/lib/libcudnn.so.9"))]
    for library in [*libraries, "libcudnn.so.9"]:
        try:
            handle = ctypes.CDLL(library)._handle
        except OSError:
            continue
        loader = ExtensionFileLoader("cudnn._compiled_module", str(path))
        made = importlib.util.spec_from_file_location(loader.name, path, loader=loader)
        assert made is not None
        module = importlib.util.module_from_spec(made)
        loader.exec_module(module)
        module._set_dlhandle_cudnn(handle)
        return module, ""
    return None, "libcudnn.so.9 is not found: pip install nvidia-cudnn-cu13"


@cache
def _handle(device: int) -> int:
    """cuDNN's handle on the current device; made once, before any capture."""
    return frontend().create_handle()


class Tensor(NamedTuple):
    """An array as a graph sees it: its number there, its shape, its strides in elements."""

    number: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def images(number: int, shape: tuple[int, ...], channels_last: bool) -> Tensor:
    """Of four axes, in one of the two orders."""
    _, c, h, w = shape
    return Tensor(number, shape, (c * h * w, 1, w * c, c) if channels_last else (c * h * w, h * w, w, 1))


class Graph(NamedTuple):
    """A built graph, the device it is for, and the bytes of workspace that it wants."""

    graph: Any
    device: int
    workspace: int

    def run(self, tensors: dict[int, Array]) -> None:
        """Launch it on the current stream, with an array for each number."""
        import cupy

        m, handle = frontend(), _handle(self.device)
        workspace = cupy.empty(max(1, self.workspace), dtype=cupy.uint8)
        m.set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
        self.graph._execute({k: a.data.ptr for k, a in tensors.items()}, workspace.data.ptr, handle)


def build(way: str, dtype: str, tf32: bool, bias: bool, tensors: list[Tensor], g: Geometry) -> Graph:
    """The graph of y, or of the gradient of x or of weight.

    Raises:
        RuntimeError: cuDNN has no plan for it; it says why.
    """
    import cupy

    m, device, (x, weight, y) = frontend(), cupy.cuda.runtime.getDevice(), tensors
    kind, single = getattr(m.data_type, TYPES[dtype]), m.data_type.FLOAT
    types = {"io_data_type": kind, "intermediate_data_type": single, "compute_data_type": single}
    made = m.pygraph(name=way, handle=_handle(device), **types)

    def tensor(t: Tensor) -> Any:
        return made._make_tensor(
            dim=list(t.shape), stride=list(t.strides), data_type=kind, name=str(t.number), uid=t.number
        )

    options: Any = {"padding": list(g.padding), "stride": list(g.stride), "dilation": list(g.dilation)}
    if way == "forward":
        out, result = made.conv_fprop(image=tensor(x), weight=tensor(weight), **options), y
        if bias:
            outputs = weight.shape[0]
            out = made.bias(input=out, bias=tensor(Tensor(BIAS, (1, outputs, 1, 1), (outputs, 1, 1, 1))))
    elif way == "by_x":
        out, result = made.conv_dgrad(loss=tensor(y), filter=tensor(weight), **options), x
    else:
        out, result = made.conv_wgrad(image=tensor(x), loss=tensor(y), **options), weight
    out.set_output(True)
    out.set_uid(result.number)
    out.set_dim(list(result.shape))
    out.set_stride(list(result.strides))
    out._set_data_type(kind)
    made.validate()
    made.build_operation_graph()
    made.create_execution_plans([m.heur_mode.A, m.heur_mode.FALLBACK])
    notes = m.numerical_note
    unwanted = [notes.NONDETERMINISTIC]
    if dtype == "float32" and not tf32:
        unwanted += [notes.DOWN_CONVERT_INPUTS, notes.TENSOR_CORE]
    made.deselect_numeric_notes(unwanted)
    made.deselect_workspace_greater_than(namespace_of("cupy").memory(device) // OF_MEMORY)
    made.check_support()
    made.build_plans(m.build_plan_policy.HEURISTICS_CHOICE)
    return Graph(made, device, made.get_workspace_size())


@cache
def graphs(
    dtype: str,
    tf32: bool,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: bool,
    channels_last: bool,
    g: Geometry,
    device: int,
) -> dict[str, Graph] | None:
    """The three graphs of a convolution, or None if cuDNN refuses one: known before anything is computed."""
    shapes = {X: x, WEIGHT: weight, Y: (x[0], weight[0], *g.size)}
    tensors = [images(number, shape, channels_last) for number, shape in shapes.items()]
    try:
        return {way: build(way, dtype, tf32, bias, tensors, g) for way in WAYS}
    except (RuntimeError, frontend().cudnnGraphNotSupportedError) as error:
        log.warning("cuDNN: %s; the kernels run", error)
        return None


def conv2d(x: Array, weight: Array, bias: Array | None, g: Geometry) -> Any:
    """The value and the pullback of a convolution; NotImplemented for what cuDNN does not take.

    What is channels last stays so, and where it is wanted becomes so; another order is copied. With
    `matmul_precision` other than float32, tensor cores may round float32.
    """
    t = element(x.dtype)
    if t is None or t.dtype not in TYPES or 0 in x.shape:
        return NotImplemented
    dtype = t.dtype
    last = is_channels_last_wanted() or is_channels_last(x)
    tf32 = dtype == "float32" and get_matmul_precision() != "float32"
    made = graphs(dtype, tf32, x.shape, weight.shape, bias is not None, last, g, x.data.device_id)
    if made is None:
        return NotImplemented
    x, weight = ordered(x, last), ordered(weight, last)
    y = empty((x.shape[0], weight.shape[0], *g.size), x, last)
    made["forward"].run({X: x, WEIGHT: weight, Y: y, **({} if bias is None else {BIAS: bias})})

    def by_x(dy: Array) -> Array:
        dx = empty(x.shape, x, last)
        made["by_x"].run({X: dx, WEIGHT: weight, Y: dy})
        return dx

    def by_weight(dy: Array, out: Array | None) -> Array:
        fits = out is not None and out.dtype == x.dtype and out.shape == weight.shape and not last
        if out is None or not fits or not out.flags.c_contiguous:
            out = empty(weight.shape, x, last)
        made["by_weight"].run({X: x, WEIGHT: out, Y: dy})
        return out

    def pullback(dy: Array) -> tuple[Any, ...]:
        dy = ordered(dy, last)
        return (
            lambda out: by_x(dy),
            lambda out: by_weight(dy, out),
            lambda out: sum_in_float32(dy, axis=(0, 2, 3)),
        )

    return y, pullback
