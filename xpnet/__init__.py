"""xpnet: train neural networks with one code base on NumPy and CuPy."""

from importlib import import_module as _import_module
from sys import modules as _modules
from typing import TYPE_CHECKING

from xpnet.core import operators as _operators  # gives Tensor its operators
from xpnet.core import random
from xpnet.core.autocast import autocast
from xpnet.core.backend import (
    BackendUnavailableError,
    DeviceError,
    available_backends,
    get_backend,
    set_backend,
    use_backend,
)
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.gradcheck import gradcheck
from xpnet.core.op import differentiable, no_grad
from xpnet.core.places import load_tensor_namespace as _load_tensor_namespace
from xpnet.core.places import namespace
from xpnet.core.precision import get_matmul_precision, matmul_precision, set_matmul_precision
from xpnet.core.random import manual_seed
from xpnet.core.reading import UnreadableFileError
from xpnet.core.registry import fused_kernels as fused
from xpnet.core.registry import unloaded as _unloaded
from xpnet.core.tensor import Tensor, tensor
from xpnet.core.version import __version__ as __version__

# a backend's kernels register when its first array arrives
_load_tensor_namespace.append(lambda: _import_module("xpnet.array_api"))

_unloaded["cupy"] = lambda: _import_module("xpnet.cuda")
_unloaded["numpy"] = lambda: _import_module("xpnet.cpu")

del _operators

_modules["xpnet.random"] = random  # for `import xpnet.random`: it is one module


__all__ = [
    "BackendUnavailableError",
    "DeviceError",
    "Tensor",
    "UnreadableFileError",
    "array_api",
    "asarray",
    "autocast",
    "available_backends",
    "capture",
    "checkpoint",
    "custom_vjp",
    "differentiable",
    "functional",
    "functional_call",
    "fused",
    "get_backend",
    "get_matmul_precision",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "init",
    "jacobian",
    "jvp",
    "load",
    "manual_seed",
    "matmul_precision",
    "namespace",
    "nn",
    "no_grad",
    "optim",
    "per_sample_grad",
    "random",
    "save",
    "set_backend",
    "set_matmul_precision",
    "stop_gradient",
    "tensor",
    "to_numpy",
    "train",
    "use_backend",
    "value_and_grad",
    "vjp",
    "warmup",
]

_TRANSFORMS = (
    *("checkpoint", "custom_vjp", "functional_call", "grad", "hessian", "hvp", "jacobian", "jvp"),
    *("per_sample_grad", "stop_gradient", "value_and_grad", "vjp"),
)
_PACKAGES = (
    *(
        "array_api",
        "classic",
        "core",
        "cuda",
        "data",
        "diagnostics",
        "ensemble",
        "functional",
        "init",
        "io",
        "lab",
        "models",
        "nn",
    ),
    *("optim", "parallel", "report", "search", "sklearn", "train", "transforms"),
)
_SUBMODULES = {
    **{name: f"xpnet.{name}" for name in _PACKAGES},
    "interop": "xpnet.io.torch",
    "notes": "xpnet.core.notes",
    "onnx": "xpnet.io.onnx",
    "parity": "xpnet.diagnostics.parity",
}


if TYPE_CHECKING:  # what `__getattr__` finds, and nothing else
    from xpnet import array_api as array_api
    from xpnet import classic as classic
    from xpnet import core as core
    from xpnet import cuda as cuda
    from xpnet import data as data
    from xpnet import diagnostics as diagnostics
    from xpnet import ensemble as ensemble
    from xpnet import functional as functional
    from xpnet import init as init
    from xpnet import io as io
    from xpnet import lab as lab
    from xpnet import models as models
    from xpnet import nn as nn
    from xpnet import optim as optim
    from xpnet import parallel as parallel
    from xpnet import report as report
    from xpnet import search as search
    from xpnet import sklearn as sklearn
    from xpnet import train as train
    from xpnet import transforms as transforms
    from xpnet.core import notes as notes
    from xpnet.core.capture import capture as capture
    from xpnet.cuda import warmup as warmup
    from xpnet.diagnostics import parity as parity
    from xpnet.io import onnx as onnx
    from xpnet.io import torch as interop  # noqa: F401
    from xpnet.io.model import load as load
    from xpnet.io.model import save as save
    from xpnet.transforms import checkpoint as checkpoint
    from xpnet.transforms import custom_vjp as custom_vjp
    from xpnet.transforms import functional_call as functional_call
    from xpnet.transforms import grad as grad
    from xpnet.transforms import hessian as hessian
    from xpnet.transforms import hvp as hvp
    from xpnet.transforms import jacobian as jacobian
    from xpnet.transforms import jvp as jvp
    from xpnet.transforms import per_sample_grad as per_sample_grad
    from xpnet.transforms import stop_gradient as stop_gradient
    from xpnet.transforms import value_and_grad as value_and_grad
    from xpnet.transforms import vjp as vjp
else:

    def __getattr__(name: str) -> object:
        """Submodules load on first use, so that `import xpnet` is fast."""
        if name in _SUBMODULES:
            return _import_module(_SUBMODULES[name])
        if name in ("load", "save"):
            return getattr(_import_module("xpnet.io.model"), name)
        if name in _TRANSFORMS:
            return getattr(_import_module("xpnet.transforms"), name)
        if name == "capture":
            return _import_module("xpnet.core.capture").capture
        if name == "warmup":
            return _import_module("xpnet.cuda").warmup
        raise AttributeError(f"module 'xpnet' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """For TAB: with the submodules that have not been loaded."""
        return sorted({*globals(), *__all__, *_SUBMODULES})
