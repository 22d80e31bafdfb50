"""One table of ops: each is stated once and gets every check.

Against NumPy, torch and central differences; in every dtype, on every backend; for empty batches, strided
inputs, NaN and repeated backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

import xpnet
from tests.case import Case as Case
from tests.more_cases import MORE
from xpnet import functional as F
from xpnet.core import operators as ops


def labels(x: Any, classes: int | None = None) -> np.ndarray:
    """Class indices for each row (and position) of x, all classes in turn."""
    shape = (x.shape[0], *x.shape[2:])
    return (np.arange(math.prod(shape)) * 2 % x.shape[1]).reshape(shape)


def some_ignored(x: Any) -> np.ndarray:
    y = labels(x)
    y.reshape(-1)[2::3] = -100
    return y


def probabilities(x: Any) -> np.ndarray:
    """A fixed distribution over classes for each row of x, in float64."""
    t = 1.0 + np.cos(np.arange(math.prod(x.shape), dtype=np.float64)).reshape(x.shape) ** 2
    return t / t.sum(axis=1, keepdims=True)


def signs(x: Any) -> np.ndarray:
    return np.where(np.arange(math.prod(x.shape)).reshape(x.shape) % 3 == 0, 1.0, -1.0)


CLASS_WEIGHT = np.array([0.5, 2.0, 1.0, 3.0])


def like(values: np.ndarray, x: Any) -> Any:
    """Constants as an array of the dtype and backend of x."""
    return xpnet.asarray(values, str(x.dtype).split(".")[-1])


# ---- oracles in NumPy, in float64 -------------------------------------------------------------------------


def reduce(losses: np.ndarray, reduction: str, total: float | None = None) -> np.ndarray:
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / (losses.size if total is None else total)


def cross_entropy_oracle(
    z: np.ndarray,
    t: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> np.ndarray:
    """Written from the definition, one target distribution a row."""
    classes = z.shape[1]
    w = np.ones(classes) if weight is None else weight
    rows = np.moveaxis(z, 1, -1).reshape(-1, classes)
    log_p = special.log_softmax(rows, axis=1)
    if t.dtype.kind == "f":
        target, kept, total = np.moveaxis(t, 1, -1).reshape(-1, classes), np.ones(len(rows)), None
    else:
        y = t.reshape(-1)
        kept = (y != ignore_index).astype(float)
        target = np.eye(classes)[np.where(kept > 0, y, 0)]
        total = (kept * w[np.where(kept > 0, y, 0)]).sum()
    target = (1 - label_smoothing) * target + label_smoothing / classes
    losses = -(kept[:, None] * target * w * log_p).sum(axis=1)
    return reduce(losses.reshape(z.shape[0], *z.shape[2:]), reduction, total)


def normalize(
    x: np.ndarray, axes: tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> np.ndarray:
    y = (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def channels(v: np.ndarray, ndim: int) -> np.ndarray:
    return v.reshape(1, -1, *(1,) * (ndim - 2))


def group_norm_oracle(x: np.ndarray, groups: int, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    split = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    y = normalize(split, tuple(range(2, split.ndim))).reshape(x.shape)
    return y * channels(weight, x.ndim) + channels(bias, x.ndim)


def margin_oracle(s: np.ndarray, y: np.ndarray, margin: float, reduction: str) -> np.ndarray:
    losses = np.array(
        [
            sum(np.maximum(0.0, margin - row[k] + row[j]) for j in range(len(row)) if j != k) / len(row)
            for row, k in zip(s, y, strict=True)
        ]
    )
    return reduce(losses, reduction)


def seeded_dropout(x: Any) -> Any:
    xpnet.manual_seed(3)
    return F.dropout(x, 0.4)


def dropout_oracle(x: np.ndarray) -> np.ndarray:
    xpnet.manual_seed(3)
    kept = xpnet.to_numpy(F.dropout(xpnet.asarray(np.ones(x.shape)), 0.4)) > 0
    return x * kept / 0.6


# ---- the table --------------------------------------------------------------------------------------------

X = (4, 3)

ARITHMETIC = [
    Case("add", ops.add, (X, X), np.add, lambda t, f, a, b: a + b, batched=(0, 1)),
    Case("add broadcast", ops.add, (X, (3,)), np.add, lambda t, f, a, b: a + b),
    Case("add number", lambda x: 2 + x + 1, (X,), lambda x: x + 3, lambda t, f, x: x + 3),
    Case("subtract", ops.subtract, (X, (4, 1)), np.subtract, lambda t, f, a, b: a - b, batched=(0, 1)),
    Case("number - x", lambda x: 1 - x, (X,), lambda x: 1 - x, lambda t, f, x: 1 - x),
    Case("multiply", ops.multiply, ((2, 4, 3), (4, 1)), np.multiply, lambda t, f, a, b: a * b),
    Case("divide", ops.divide, (X, (1, 3)), np.divide, lambda t, f, a, b: a / b, positive=True),
    Case("number / x", lambda x: 2 / x, (X,), lambda x: 2 / x, lambda t, f, x: 2 / x, positive=True),
    Case("power", ops.power, (X, (3,)), np.power, lambda t, f, a, b: a**b, positive=True),
    Case("square", lambda x: x**2, (X,), np.square, lambda t, f, x: x**2),
    Case("number ** x", lambda x: 2.0**x, (X,), np.exp2, lambda t, f, x: 2.0**x),
    Case("negative", lambda x: -x, (X,), np.negative, lambda t, f, x: -x),
    Case("matmul", ops.matmul, (X, (3, 2)), np.matmul, lambda t, f, a, b: a @ b),
    Case("matrix @ vector", ops.matmul, (X, (3,)), np.matmul, lambda t, f, a, b: a @ b),
    Case("vector @ matrix", ops.matmul, ((3,), (3, 2)), np.matmul, lambda t, f, a, b: a @ b, batched=()),
    Case("vector @ vector", ops.matmul, ((3,), (3,)), np.matmul, lambda t, f, a, b: a @ b, batched=()),
    Case("stack @ matrix", ops.matmul, ((2, 4, 3), (3, 2)), np.matmul, lambda t, f, a, b: a @ b),
    Case("stack @ vector", ops.matmul, ((2, 4, 3), (3,)), np.matmul, lambda t, f, a, b: a @ b),
    Case("vector @ stack", ops.matmul, ((3,), (2, 3, 4)), np.matmul, lambda t, f, a, b: a @ b, batched=(1,)),
    Case("stack @ stack", ops.matmul, ((2, 1, 4, 3), (5, 3, 2)), np.matmul, lambda t, f, a, b: a @ b),
    Case("exp", ops.exp, (X,), np.exp, lambda t, f, x: x.exp()),
    Case("log", ops.log, (X,), np.log, lambda t, f, x: x.log(), positive=True),
    Case("sqrt", ops.sqrt, (X,), np.sqrt, lambda t, f, x: x.sqrt(), positive=True),
    Case("abs", abs, (X,), np.abs, lambda t, f, x: x.abs()),
    Case("maximum", ops.maximum, (X, (3,)), np.maximum, lambda t, f, a, b: t.maximum(a, b)),
    Case("maximum number", lambda x: ops.maximum(x, 0.25), (X,), lambda x: np.maximum(x, 0.25)),
]

REDUCTIONS = [
    Case("sum", lambda x: x.sum(), (X,), np.sum, lambda t, f, x: x.sum()),
    Case("sum axis", lambda x: x.sum(axis=-1), ((2, 4, 3),), lambda x: x.sum(-1), lambda t, f, x: x.sum(-1)),
    Case(
        "sum axes",
        lambda x: x.sum(axis=(0, 2)),
        ((2, 4, 3),),
        lambda x: x.sum((0, 2)),
        lambda t, f, x: x.sum((0, 2)),
    ),
    Case(
        "sum keepdims",
        lambda x: x.sum(axis=1, keepdims=True),
        (X,),
        lambda x: x.sum(1, keepdims=True),
        lambda t, f, x: x.sum(1, keepdim=True),
    ),
    Case("mean", lambda x: x.mean(), (X,), np.mean, lambda t, f, x: x.mean(), smallest=1),
    Case("mean axis", lambda x: x.mean(axis=1), ((2, 4, 3),), lambda x: x.mean(1), lambda t, f, x: x.mean(1)),
    Case("max", lambda x: x.max(), (X,), np.max, lambda t, f, x: x.max(), smallest=1),
    Case("max axis", lambda x: x.max(axis=-1), (X,), lambda x: x.max(-1), lambda t, f, x: x.amax(-1)),
    Case(
        "min keepdims",
        lambda x: x.min(axis=1, keepdims=True),
        (X,),
        lambda x: x.min(1, keepdims=True),
        lambda t, f, x: x.amin(1, keepdim=True),
    ),
]

SHAPES = [
    Case("reshape", lambda x: x.reshape(-1, 2), ((4, 6),), lambda x: x.reshape(-1, 2)),
    Case("transpose", lambda x: x.T, (X,), np.transpose, lambda t, f, x: x.T),
    Case(
        "transpose axes",
        lambda x: x.transpose(0, 2, 1),
        ((2, 4, 3),),
        lambda x: x.transpose(0, 2, 1),
        lambda t, f, x: x.permute(0, 2, 1),
    ),
    Case("slice", lambda x: x[:, 1:], (X,), lambda x: x[:, 1:], lambda t, f, x: x[:, 1:]),
    Case("step", lambda x: x[..., ::2], ((2, 3, 5),), lambda x: x[..., ::2], lambda t, f, x: x[..., ::2]),
    Case("row", lambda x: x[1], (X,), lambda x: x[1], lambda t, f, x: x[1], smallest=2),
    Case("new axis", lambda x: x[:, None, :], (X,), lambda x: x[:, None], lambda t, f, x: x[:, None]),
    Case(
        "rows, repeated",
        lambda x: x[np.array([0, 2, 0, 0])],
        (X,),
        lambda x: x[[0, 2, 0, 0]],
        lambda t, f, x: x[[0, 2, 0, 0]],
        smallest=3,
    ),
    Case(
        "elements, repeated",
        lambda x: x[[0, 2, 0], [1, 1, 1]],
        (X,),
        lambda x: x[[0, 2, 0], [1, 1, 1]],
        lambda t, f, x: x[[0, 2, 0], [1, 1, 1]],
        smallest=3,
    ),
    Case("mask", lambda x: x[x.data > 0], (X,), lambda x: x[x > 0], lambda t, f, x: x[x > 0]),
    Case("flatten", F.flatten, ((4, 2, 3),), lambda x: x.reshape(len(x), 6), lambda t, f, x: x.flatten(1)),
]

ACTIVATIONS = [
    Case("relu", F.relu, (X,), lambda x: np.maximum(x, 0), lambda t, f, x: f.relu(x)),
    Case(
        "leaky_relu",
        F.leaky_relu,
        (X,),
        lambda x: np.where(x > 0, x, 0.01 * x),
        lambda t, f, x: f.leaky_relu(x),
    ),
    Case(
        "leaky_relu 0.3",
        lambda x: F.leaky_relu(x, negative_slope=0.3),
        (X,),
        lambda x: np.where(x > 0, x, 0.3 * x),
        lambda t, f, x: f.leaky_relu(x, 0.3),
    ),
    Case("elu", F.elu, (X,), lambda x: np.where(x > 0, x, np.expm1(x)), lambda t, f, x: f.elu(x)),
    Case(
        "elu 0.5",
        lambda x: F.elu(x, 0.5),
        (X,),
        lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
        lambda t, f, x: f.elu(x, 0.5),
    ),
    Case("sigmoid", F.sigmoid, (X,), special.expit, lambda t, f, x: t.sigmoid(x)),
    Case("tanh", F.tanh, (X,), np.tanh, lambda t, f, x: t.tanh(x)),
    Case(
        "lecun_tanh",
        F.lecun_tanh,
        (X,),
        lambda x: 1.7159 * np.tanh(2 * x / 3),
        lambda t, f, x: 1.7159 * t.tanh(2 * x / 3),
    ),
    Case("hardtanh", F.hardtanh, (X,), lambda x: np.clip(x, -1, 1), lambda t, f, x: f.hardtanh(x)),
    Case("maxout", F.maxout, ((4, 6),), lambda x: x.reshape(-1, 3, 2).max(-1)),
    Case("maxout 3", lambda x: F.maxout(x, 3), ((2, 4, 6),), lambda x: x.reshape(-1, 4, 2, 3).max(-1)),
    Case(
        "softplus",
        F.softplus,
        (X,),
        lambda x: np.logaddexp(x, 0),
        lambda t, f, x: f.softplus(x, threshold=40),
    ),
    Case("gelu", F.gelu, (X,), lambda x: x * special.ndtr(x), lambda t, f, x: f.gelu(x)),
    Case("softmax", F.softmax, (X,), lambda x: special.softmax(x, -1), lambda t, f, x: f.softmax(x, -1)),
    Case(
        "softmax axis",
        lambda x: F.softmax(x, axis=1),
        ((2, 4, 3),),
        lambda x: special.softmax(x, 1),
        lambda t, f, x: f.softmax(x, 1),
    ),
    Case(
        "log_softmax",
        F.log_softmax,
        (X,),
        lambda x: special.log_softmax(x, -1),
        lambda t, f, x: f.log_softmax(x, -1),
    ),
    Case(
        "log_softmax axis",
        lambda x: F.log_softmax(x, axis=1),
        ((2, 4, 3),),
        lambda x: special.log_softmax(x, 1),
        lambda t, f, x: f.log_softmax(x, 1),
    ),
]

LAYERS = [
    Case(
        "linear",
        F.linear,
        (X, (5, 3), (5,)),
        lambda x, w, b: x @ w.T + b,
        lambda t, f, x, w, b: f.linear(x, w, b),
    ),
    Case("linear no bias", F.linear, (X, (5, 3)), lambda x, w: x @ w.T, lambda t, f, x, w: f.linear(x, w)),
    Case(
        "linear 3d",
        F.linear,
        ((2, 4, 3), (5, 3), (5,)),
        lambda x, w, b: x @ w.T + b,
        lambda t, f, x, w, b: f.linear(x, w, b),
    ),
    Case(
        "linear 1d",
        F.linear,
        ((3,), (5, 3), (5,)),
        lambda x, w, b: x @ w.T + b,
        lambda t, f, x, w, b: f.linear(x, w, b),
        batched=(),
    ),
    Case(
        "bias_activation",
        F.bias_activation,
        (X, (3,)),
        lambda x, b: np.maximum(x + b, 0),
        lambda t, f, x, b: f.relu(x + b),
    ),
    Case(
        "bias_activation elu",
        lambda x, b: F.bias_activation(x, b, "elu", 0.5),
        ((2, 4, 3), (3,)),
        lambda x, b: np.where(x + b > 0, x + b, 0.5 * np.expm1(x + b)),
        lambda t, f, x, b: f.elu(x + b, 0.5),
    ),
    Case("dropout", seeded_dropout, ((4, 5),), dropout_oracle),
    Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(x, weight=w, bias=b, training=True),
        ((6, 3), (3,), (3,)),
        lambda x, w, b: normalize(x, (0,), w, b),
        lambda t, f, x, w, b: f.batch_norm(x, None, None, w, b, True),
        smallest=2,
    ),
    Case(
        "batch_norm 4d",
        lambda x, w, b: F.batch_norm(x, weight=w, bias=b, training=True, eps=1e-3),
        ((2, 3, 2, 2), (3,), (3,)),
        lambda x, w, b: normalize(x, (0, 2, 3), channels(w, 4), channels(b, 4), eps=1e-3),
        lambda t, f, x, w, b: f.batch_norm(x, None, None, w, b, True, eps=1e-3),
        smallest=1,
    ),
    Case(
        "batch_norm plain",
        lambda x: F.batch_norm(x, training=True),
        ((6, 3),),
        lambda x: normalize(x, (0,)),
        lambda t, f, x: f.batch_norm(x, None, None, None, None, True),
        smallest=2,
    ),
    Case(
        "batch_norm eval",
        lambda x, w, b: F.batch_norm(x, like(np.arange(3.0), x), like(np.arange(3.0) + 0.5, x), w, b),
        ((4, 3, 2), (3,), (3,)),
        lambda x, w, b: (
            (x - channels(np.arange(3.0), 3))
            / np.sqrt(channels(np.arange(3.0), 3) + 0.5 + 1e-5)
            * channels(w, 3)
            + channels(b, 3)
        ),
        lambda t, f, x, w, b: f.batch_norm(
            x, t.arange(3, dtype=x.dtype), t.arange(3, dtype=x.dtype) + 0.5, w, b
        ),
    ),
    Case(
        "layer_norm",
        lambda x, w, b: F.layer_norm(x, 3, w, b),
        (X, (3,), (3,)),
        lambda x, w, b: normalize(x, (1,), w, b),
        lambda t, f, x, w, b: f.layer_norm(x, (3,), w, b),
    ),
    Case(
        "layer_norm 2 axes",
        lambda x, w, b: F.layer_norm(x, (4, 3), w, b),
        ((2, 4, 3), (4, 3), (4, 3)),
        lambda x, w, b: normalize(x, (1, 2), w, b),
        lambda t, f, x, w, b: f.layer_norm(x, (4, 3), w, b),
    ),
    Case(
        "group_norm",
        lambda x, w, b: F.group_norm(x, 2, w, b),
        ((3, 4, 2), (4,), (4,)),
        lambda x, w, b: group_norm_oracle(x, 2, w, b),
        lambda t, f, x, w, b: f.group_norm(x, 2, w, b),
    ),
    Case(
        "instance_norm",
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        ((2, 3, 2, 2), (3,), (3,)),
        lambda x, w, b: group_norm_oracle(x, 3, w, b),
        lambda t, f, x, w, b: f.instance_norm(x, weight=w, bias=b),
    ),
]


def loss_cases(
    name: str,
    shape: tuple[int, ...],
    loss: Callable[..., Any],
    oracle: Callable[..., Any],
    torch: Callable[..., Any] | None,
    inputs: int = 1,
) -> list[Case]:
    """The three reductions of a loss; the functions take `reduction` as a keyword."""

    def case(reduction: str) -> Case:
        return Case(
            f"{name} {reduction}",
            lambda *a: loss(*a, reduction=reduction),
            (shape,) * inputs,
            lambda *a: oracle(*a, reduction=reduction),
            torch and (lambda t, f, *a: torch(t, f, *a, reduction=reduction)),
            batched=tuple(range(inputs)),
            smallest=1 if reduction == "mean" else 0,
        )

    return [case(reduction) for reduction in ("mean", "sum", "none")]


def cross_entropy_cases(name: str, shape: tuple[int, ...], target: Any, **options: Any) -> list[Case]:
    weight = options.pop("weight", None)

    def with_weight(make: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        return options if weight is None else {**options, "weight": make(weight)}

    return loss_cases(
        name,
        shape,
        lambda z, reduction: F.cross_entropy(
            z,
            like(target(z), z) if target is probabilities else target(z),
            **with_weight(lambda w: like(w, z)),
            reduction=reduction,
        ),
        lambda z, reduction: cross_entropy_oracle(
            z, target(z), **with_weight(lambda w: w), reduction=reduction
        ),
        lambda t, f, z, reduction: f.cross_entropy(
            z,
            t.tensor(target(z), dtype=z.dtype if target is probabilities else t.int64),
            **with_weight(lambda w: t.tensor(w, dtype=z.dtype)),
            reduction=reduction,
        ),
    )


K = (5, 4)

LOSSES = [
    *cross_entropy_cases("cross_entropy", K, labels),
    *cross_entropy_cases("cross_entropy (N, C, d)", (2, 4, 3), labels),
    *cross_entropy_cases("cross_entropy (N, C, d, e)", (2, 4, 2, 2), some_ignored),
    *cross_entropy_cases("cross_entropy ignored", K, some_ignored),
    *cross_entropy_cases("cross_entropy weight", K, labels, weight=CLASS_WEIGHT),
    *cross_entropy_cases("cross_entropy weight ignored", K, some_ignored, weight=CLASS_WEIGHT),
    *cross_entropy_cases("cross_entropy ignore class 2", K, labels, ignore_index=2),
    *cross_entropy_cases("cross_entropy smooth", K, labels, label_smoothing=0.1),
    *cross_entropy_cases("cross_entropy smooth 1", K, labels, label_smoothing=1.0),
    *cross_entropy_cases("cross_entropy smooth ignored", K, some_ignored, label_smoothing=0.1),
    *cross_entropy_cases(
        "cross_entropy everything", (2, 4, 3), some_ignored, label_smoothing=0.2, weight=CLASS_WEIGHT
    ),
    *cross_entropy_cases("cross_entropy soft", K, probabilities),
    *cross_entropy_cases(
        "cross_entropy soft everything", (2, 4, 3), probabilities, label_smoothing=0.2, weight=CLASS_WEIGHT
    ),
    *loss_cases(
        "nll_loss",
        K,
        lambda x, reduction: F.nll_loss(x, labels(x), reduction=reduction),
        lambda x, reduction: reduce(-x[np.arange(len(x)), labels(x)], reduction),
        lambda t, f, x, reduction: f.nll_loss(x, t.tensor(labels(x)), reduction=reduction),
    ),
    *loss_cases(
        "nll_loss everything",
        K,
        lambda x, reduction: F.nll_loss(x, some_ignored(x), like(CLASS_WEIGHT, x), reduction=reduction),
        lambda x, reduction: reduce(
            -(w := CLASS_WEIGHT[labels(x)] * (some_ignored(x) >= 0)) * x[np.arange(len(x)), labels(x)],
            reduction,
            w.sum(),
        ),
        lambda t, f, x, reduction: f.nll_loss(
            x, t.tensor(some_ignored(x)), t.tensor(CLASS_WEIGHT, dtype=x.dtype), reduction=reduction
        ),
    ),
    *loss_cases(
        "multi_margin_loss",
        K,
        lambda x, reduction: F.multi_margin_loss(x, labels(x), reduction=reduction),
        lambda x, reduction: margin_oracle(x, labels(x), 1.0, reduction),
        lambda t, f, x, reduction: f.multi_margin_loss(x, t.tensor(labels(x)), reduction=reduction),
    ),
    *loss_cases(
        "multi_margin_loss 0.5",
        K,
        lambda x, reduction: F.multi_margin_loss(x, labels(x), margin=0.5, reduction=reduction),
        lambda x, reduction: margin_oracle(x, labels(x), 0.5, reduction),
        lambda t, f, x, reduction: f.multi_margin_loss(
            x, t.tensor(labels(x)), margin=0.5, reduction=reduction
        ),
    ),
    *loss_cases(
        "binary_cross_entropy_with_logits",
        K,
        lambda z, reduction: F.binary_cross_entropy_with_logits(
            z, like(probabilities(z), z), reduction=reduction
        ),
        lambda z, reduction: reduce(
            -probabilities(z) * special.log_expit(z) - (1 - probabilities(z)) * special.log_expit(-z),
            reduction,
        ),
        lambda t, f, z, reduction: f.binary_cross_entropy_with_logits(
            z, t.tensor(probabilities(z), dtype=z.dtype), reduction=reduction
        ),
    ),
    *loss_cases(
        "binary_cross_entropy_with_logits target",
        K,
        F.binary_cross_entropy_with_logits,
        lambda z, y, reduction: reduce(np.logaddexp(z, 0) - y * z, reduction),
        lambda t, f, z, y, reduction: f.binary_cross_entropy_with_logits(z, y, reduction=reduction),
        inputs=2,
    ),
    *loss_cases(
        "mse_loss",
        K,
        F.mse_loss,
        lambda x, y, reduction: reduce((x - y) ** 2, reduction),
        lambda t, f, x, y, reduction: f.mse_loss(x, y, reduction=reduction),
        inputs=2,
    ),
    *loss_cases(
        "perceptron_loss",
        K,
        lambda s, reduction: F.perceptron_loss(s, signs(s), reduction=reduction),
        lambda s, reduction: reduce(np.maximum(0, -signs(s) * s), reduction),
        lambda t, f, s, reduction: getattr(
            t.relu(-t.tensor(signs(s), dtype=s.dtype) * s), reduction if reduction != "none" else "clone"
        )(),
    ),
]

REGULARIZERS = [
    Case(
        "l2", lambda w: F.l2([w], 0.3), (X,), lambda w: 0.3 * (w**2).sum(), lambda t, f, w: 0.3 * (w**2).sum()
    ),
    Case(
        "l1",
        lambda w: F.l1([w], 0.3),
        (X,),
        lambda w: 0.3 * np.abs(w).sum(),
        lambda t, f, w: 0.3 * w.abs().sum(),
    ),
    Case("l2 of two", lambda v, w: F.l2([v, w], 1.0), (X, X), lambda v, w: (v**2).sum() + (w**2).sum()),
]

CASES = [*ARITHMETIC, *REDUCTIONS, *SHAPES, *ACTIVATIONS, *LAYERS, *LOSSES, *REGULARIZERS, *MORE]
