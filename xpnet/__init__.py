"""xpnet: train neural networks with one code base on NumPy and CuPy."""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING

from xpnet import operators as _operators  # gives Tensor its operators
from xpnet.autograd import Tensor, differentiable, gradcheck, no_grad, tensor
from xpnet.backend import (
    BackendUnavailableError,
    DeviceError,
    asarray,
    available_backends,
    get_backend,
    namespace,
    set_backend,
    to_numpy,
    use_backend,
)
from xpnet.dispatch import fused_kernels as fused
from xpnet.dispatch import unloaded as _unloaded
from xpnet.random import manual_seed

# a backend's kernels register when its first array arrives; Numba itself loads when the first one runs
_unloaded["cupy"] = lambda: _import_module("xpnet.cuda")
if _find_spec("numba") is not None:
    _unloaded["numpy"] = lambda: _import_module("xpnet.cpu")

del _operators, _find_spec

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "DeviceError",
    "Tensor",
    "asarray",
    "available_backends",
    "differentiable",
    "functional",
    "fused",
    "get_backend",
    "gradcheck",
    "init",
    "load",
    "manual_seed",
    "namespace",
    "nn",
    "no_grad",
    "optim",
    "random",
    "save",
    "set_backend",
    "tensor",
    "to_numpy",
    "train",
    "use_backend",
    "warmup",
]

_SUBMODULES = (
    "classic",
    "cuda",
    "data",
    "ensemble",
    "functional",
    "init",
    "interop",
    "lab",
    "nn",
    "notes",
    "onnx",
    "optim",
    "parallel",
    "parity",
    "search",
    "sklearn",
    "train",
)


if TYPE_CHECKING:  # what `__getattr__` finds, and nothing else
    from xpnet import classic as classic
    from xpnet import cuda as cuda
    from xpnet import data as data
    from xpnet import ensemble as ensemble
    from xpnet import functional as functional
    from xpnet import init as init
    from xpnet import interop as interop
    from xpnet import lab as lab
    from xpnet import nn as nn
    from xpnet import notes as notes
    from xpnet import onnx as onnx
    from xpnet import optim as optim
    from xpnet import parallel as parallel
    from xpnet import parity as parity
    from xpnet import random as random
    from xpnet import search as search
    from xpnet import sklearn as sklearn
    from xpnet import train as train
    from xpnet.cuda import warmup as warmup
    from xpnet.saving import load as load
    from xpnet.saving import save as save
else:

    def __getattr__(name: str) -> object:
        """Submodules load on first use, so that `import xpnet` is fast."""
        if name in _SUBMODULES:
            return _import_module(f"xpnet.{name}")
        if name in ("load", "save"):
            return getattr(_import_module("xpnet.saving"), name)
        if name == "warmup":
            return _import_module("xpnet.cuda").warmup
        raise AttributeError(f"module 'xpnet' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """For TAB: with the submodules that have not been loaded."""
        return sorted({*globals(), *__all__, *_SUBMODULES})
