"""xpnet: train neural networks with one code base on NumPy and CuPy."""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec

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


def __getattr__(name: str) -> object:
    """Submodules load on first use, so that `import xpnet` is fast."""
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"xpnet.{name}")
    if name in ("load", "save"):
        return getattr(importlib.import_module("xpnet.saving"), name)
    if name == "warmup":
        return importlib.import_module("xpnet.cuda").warmup
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")
