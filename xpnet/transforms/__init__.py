"""Functions of functions: gradients, tangents, Jacobians, and models as functions of their parameters."""

from xpnet.transforms.checkpoints import checkpoint
from xpnet.transforms.custom import custom_vjp
from xpnet.transforms.models import functional_call, per_sample_grad
from xpnet.transforms.reverse import grad, stop_gradient, value_and_grad, vjp
from xpnet.transforms.tangents import hessian, hvp, jacobian, jvp

__all__ = [
    "checkpoint",
    "custom_vjp",
    "functional_call",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "per_sample_grad",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
