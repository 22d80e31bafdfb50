"""State for PyTorch: weights and optimizers go from xpnet to PyTorch and back.

Names and layouts are the same, so the way back needs no help::

    torch_model.load_state_dict(torch_state_dict(model))  # from xpnet to PyTorch
    model.load_state_dict(torch_model.state_dict())  # from PyTorch to xpnet
    optimizer.load_state_dict(torch_optimizer.state_dict())
"""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import load
from xpnet.core.convert import asarray
from xpnet.nn.module import Module
from xpnet.optim.optimizer import Optimizer


def torch_state_dict(source: Module | Optimizer) -> dict[str, Any]:
    """The state of a model or an optimizer as PyTorch's `load_state_dict` takes it: tensors, on the host.

    Args:
        source: a Module, whose layers have the names of those in PyTorch; or an optimizer of
            `xpnet.optim` over parameters in the same order.

    Raises:
        BackendUnavailableError: PyTorch is missing; the message names the extra.

    PyTorch's batch norm counts batches (`num_batches_tracked`), here that with `momentum=None`, which alone
    uses the count; of others it is 0.
    """
    backend = load("torch", "cpu")
    torch = backend.xp

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: torch.asarray(float(item)) if key == "step" else convert(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [convert(item) for item in value]
        return asarray(value, backend=backend) if hasattr(value, "dtype") else value

    state = convert(source.state_dict())
    if isinstance(source, Module):
        counters = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
        state = {f"{name}num_batches_tracked": torch.asarray(0) for name in counters} | state
    return state
