"""Update rules and layers as pure functions, for the JAX columns."""

from __future__ import annotations

from typing import Any

from bench.cases.handwritten import ADAM_EPS, BETA1, BETA2, EPS, MOMENTUM


def initial(rule: str, theta: Any) -> dict[str, Any]:
    """The state of an update rule for a tree of parameters."""
    import jax
    import jax.numpy as jnp

    zeros = lambda: jax.tree.map(jnp.zeros_like, theta)
    if rule in ("adam", "adamw"):
        return {"t": jnp.zeros((), jnp.int32), "m": zeros(), "v": zeros()}
    return {"v": zeros()} if rule == "nesterov" else {}


def update(
    rule: str, theta: Any, grad: Any, state: dict[str, Any], lr: float, weight_decay: float
) -> tuple[Any, dict[str, Any]]:
    """Parameters and state after one step."""
    import jax
    import jax.numpy as jnp

    each = jax.tree.map
    if rule in ("adam", "adamw"):
        keep = 1 - lr * weight_decay if rule == "adamw" else 1
        t = state["t"] + 1
        m = each(lambda m, g: BETA1 * m + (1 - BETA1) * g, state["m"], grad)
        v = each(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state["v"], grad)
        unbias1, unbias2 = 1 - BETA1**t, 1 - BETA2**t
        new = each(
            lambda w, m, v: keep * w - lr * (m / unbias1) / (jnp.sqrt(v / unbias2) + ADAM_EPS), theta, m, v
        )
        return new, {"t": t, "m": m, "v": v}
    if weight_decay:
        grad = each(lambda g, w: g + weight_decay * w, grad, theta)
    if rule == "nesterov":
        v = each(lambda v, g: MOMENTUM * v + g, state["v"], grad)
        return each(lambda w, g, v: w - lr * (g + MOMENTUM * v), theta, grad, v), {"v": v}
    return each(lambda w, g: w - lr * g, theta, grad), {}


def batch_norm(x: Any, weight: Any, bias: Any) -> tuple[Any, tuple[Any, Any]]:
    """Of (N, C) or (N, C, H, W); and the mean and the unbiased variance for the running ones."""
    import jax

    axes, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    mean, var = x.mean(axes), x.var(axes)
    n = x.size // x.shape[1]
    scale = jax.lax.rsqrt(var + EPS) * weight
    y = (x - mean.reshape(shape)) * scale.reshape(shape) + bias.reshape(shape)
    return y, (mean, var * (n / (n - 1)))


def convolution(x: Any, weight: Any, stride: int = 1) -> Any:
    """Padded by half its window."""
    from jax import lax

    padding = [(weight.shape[-1] // 2,) * 2] * 2
    return lax.conv_general_dilated(x, weight, (stride, stride), padding)


def max_pool(x: Any) -> Any:
    """The maximum of each 2x2 block."""
    import jax.numpy as jnp
    from jax import lax

    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
