"""Convolution by cuDNN's graph API, instead of kernels/convolution.cu: off, until tests/gpu has measured it.

It needs `pip install "xpnet[cudnn]"`, NVIDIA's frontend (2 MB; 9 MB installed), and libcudnn 9, which
PyTorch brings too. Only the frontend's compiled module is loaded: the package around it imports PyTorch.
Switched on by `XPNET_CUDNN=1` or `with use_cudnn():`; what is missing or refused is left to the kernels.
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
from xpnet.core.backend import Array
from xpnet.core.context import Setting, Within
from xpnet.core.places import namespace
from xpnet.functional.convolution import Geometry

log = logging.getLogger("xpnet.cuda")
_on = Setting("xpnet_cudnn", os.environ.get("XPNET_CUDNN") == "1")
TYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
WAYS = ("forward", "by_x", "by_weight")
X, WEIGHT, BIAS, Y = range(1, 5)  # numbers of the tensors in a graph


def use_cudnn(flag: bool = True) -> Within[bool]:
    """Convolve by cuDNN in a `with` block, in this thread, where it can."""
    return _on.within(flag)


def is_on() -> bool:
    """Whether convolutions go to cuDNN."""
    return _on.get() and frontend() is not None


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


class Layout(NamedTuple):
    """A tensor's shape and strides, in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


def layout(x: Array) -> Layout:
    """Of an array, whose strides may be any."""
    return Layout(tuple(x.shape), tuple(s // x.itemsize for s in x.strides))


def is_channels_last(x: Array) -> bool:
    """Whether the channels of a place are next to each other, and places are in order."""
    return not x.flags.c_contiguous and bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def empty(shape: tuple[int, ...], x: Array, channels_last: bool) -> Array:
    """An array of the dtype of x."""
    xp, (n, c, h, w) = namespace(x), shape
    if not channels_last:
        return xp.empty(shape, dtype=x.dtype)
    return xp.empty((n, h, w, c), dtype=x.dtype).transpose(0, 3, 1, 2)


def ordered(x: Array, channels_last: bool) -> Array:
    """x, or a copy in the wanted order."""
    if is_channels_last(x) if channels_last else x.flags.c_contiguous:
        return x
    made = empty(x.shape, x, channels_last)
    made[...] = x
    return made


@cache
def graph(
    way: str, dtype: str, x: Layout, weight: Layout, y: Layout, biased: bool, g: Geometry, device: int
) -> tuple[Any, int]:
    """A built graph and the bytes of workspace that it wants.

    Raises:
        RuntimeError: cuDNN has no plan for it; it says why.
    """
    m = frontend()
    kind, single = getattr(m.data_type, TYPES[dtype]), m.data_type.FLOAT
    made = m.pygraph(
        name=way,
        io_data_type=kind,
        intermediate_data_type=single,
        compute_data_type=single,
        handle=_handle(device),
    )

    def tensor(number: int, like: Layout) -> Any:
        return made._make_tensor(
            dim=list(like.shape), stride=list(like.strides), data_type=kind, is_virtual=False,
            is_pass_by_value=False, ragged_offset=None, reordering_type=m.tensor_reordering.NONE,
            name=str(number), uid=number,
        )  # fmt: skip

    options: Any = {"padding": list(g.padding), "stride": list(g.stride), "dilation": list(g.dilation)}
    if way == "forward":
        out = made.conv_fprop(image=tensor(X, x), weight=tensor(WEIGHT, weight), **options)
        number, result = Y, y
        if biased:
            outputs = weight.shape[0]
            out = made.bias(input=out, bias=tensor(BIAS, Layout((1, outputs, 1, 1), (outputs, 1, 1, 1))))
    elif way == "by_x":
        out = made.conv_dgrad(loss=tensor(Y, y), filter=tensor(WEIGHT, weight), **options)
        number, result = X, x
    else:
        out = made.conv_wgrad(image=tensor(X, x), loss=tensor(Y, y), **options)
        number, result = WEIGHT, weight
    out.set_output(True)
    out.set_uid(number)
    out.set_dim(list(result.shape))
    out.set_stride(list(result.strides))
    out._set_data_type(kind)
    made.validate()
    made.build_operation_graph()
    made.create_execution_plans([m.heur_mode.A, m.heur_mode.FALLBACK])
    notes = m.numerical_note
    unwanted = [notes.NONDETERMINISTIC]
    if dtype == "float32":  # TF32 keeps 10 bits
        unwanted += [notes.DOWN_CONVERT_INPUTS, notes.TENSOR_CORE]
    made.deselect_numeric_notes(unwanted)
    made.check_support()
    made.build_plans(m.build_plan_policy.HEURISTICS_CHOICE)
    return made, made.get_workspace_size()


def run(way: str, dtype: str, x: Array, weight: Array, y: Array, bias: Array | None, g: Geometry) -> None:
    """Write y, or the gradient of x or of weight, to the array of its place, on the current stream."""
    import cupy

    m, device = frontend(), x.data.device_id
    made, size = graph(way, dtype, layout(x), layout(weight), layout(y), bias is not None, g, device)
    handle, workspace = _handle(device), cupy.empty(max(1, size), dtype=cupy.uint8)
    m.set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
    tensors = {X: x.data.ptr, WEIGHT: weight.data.ptr, Y: y.data.ptr}
    if bias is not None:
        tensors[BIAS] = bias.data.ptr
    made._execute(tensors, workspace.data.ptr, handle)


def conv2d(x: Array, weight: Array, bias: Array | None, g: Geometry) -> Any:
    """The value and the pullback of a convolution; NotImplemented for what cuDNN does not take.

    What is channels last stays so; another order is copied. All three graphs are built at once, so that a
    refusal is known before anything has been computed.
    """
    dtype = x.dtype.name
    if dtype not in TYPES or 0 in x.shape:
        return NotImplemented
    last = is_channels_last(x)
    x, w = ordered(x, last), ordered(weight, last)
    y = empty((x.shape[0], weight.shape[0], *g.size), x, last)
    try:
        for way in WAYS:
            graph(
                way,
                dtype,
                layout(x),
                layout(w),
                layout(y),
                way == WAYS[0] and bias is not None,
                g,
                x.device.id,
            )
    except (RuntimeError, frontend().cudnnGraphNotSupportedError) as error:
        log.warning("cuDNN: %s; the kernels run", error)
        return NotImplemented
    run("forward", dtype, x, w, y, bias, g)

    def by_x(dy: Array) -> Array:
        dx = empty(x.shape, x, last)
        run("by_x", dtype, dx, w, ordered(dy, last), None, g)
        return dx

    def by_weight(dy: Array) -> Array:
        dweight = empty(weight.shape, x, last)
        run("by_weight", dtype, x, dweight, ordered(dy, last), None, g)
        return dweight

    return y, lambda dy: (
        lambda out: by_x(dy),
        lambda out: by_weight(dy),
        lambda out: sum_in_float32(dy, axis=(0, 2, 3)),
    )
