"""Models as ONNX files (extra `onnx`): `xpnet.onnx.export(model, "model.onnx", shape)`."""

try:
    import onnx as _onnx  # noqa: F401  the package of that name, not this one
except ImportError:
    raise ImportError('xpnet.io.onnx needs onnx: pip install "xpnet[onnx]"') from None

from xpnet.io.onnx import attention as _attention  # noqa: F401  registers what layers become
from xpnet.io.onnx import distances as _distances  # noqa: F401  likewise
from xpnet.io.onnx import gates as _gates  # noqa: F401  likewise
from xpnet.io.onnx import layers as _layers  # noqa: F401  likewise
from xpnet.io.onnx import models as _models  # noqa: F401  likewise
from xpnet.io.onnx import pooling as _pooling  # noqa: F401  likewise
from xpnet.io.onnx import preprocessing as _preprocessing  # noqa: F401  likewise
from xpnet.io.onnx import recurrent as _recurrent  # noqa: F401  likewise
from xpnet.io.onnx import sequences as _sequences  # noqa: F401  likewise
from xpnet.io.onnx import spatial as _spatial  # noqa: F401  likewise
from xpnet.io.onnx.graph import Graph, Input, Value, translates
from xpnet.io.onnx.model import export, to_onnx

__all__ = ["Graph", "Input", "Value", "export", "to_onnx", "translates"]
