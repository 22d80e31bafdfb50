"""Functions whose oracle is torch's of the same name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.case import Case, like_torch
from xpnet import functional as F

X = (4, 3)


def same_name(name: str, shapes: Any, *arguments: Any, label: str = "", **options: Any) -> Case:
    """F.name and torch's, with the same arguments behind the arrays."""
    batched = options.pop("batched", (0,))
    return like_torch(
        f"{name} {label}".strip(),
        lambda *x: getattr(F, name)(*x, *arguments, **options),
        shapes,
        lambda t, f, *x: getattr(f, name)(*x, *arguments, **options),
        batched=batched,
    )


GATES = [
    *[same_name(name, (X,)) for name in ("silu", "mish", "hardswish", "logsigmoid")],
    # PyTorch divides its gradient by a float32 of 6
    like_torch("hardsigmoid", F.hardsigmoid, (X,), lambda t, f, x: (x / 6 + 0.5).clip(0, 1)),
    same_name("prelu", (X, (1,))),
    same_name("prelu", ((2, 3, 2, 2), (3,)), label="channels"),
    same_name("glu", ((4, 6),)),
    same_name("glu", ((2, 4, 3),), 1, label="axis 1"),
    same_name("softmin", (X,), -1),
    same_name("softshrink", (X,), 0.4),
    same_name("tanhshrink", (X,)),
    same_name("threshold", (X,), 0.1, -0.7),
    like_torch("swiglu", F.swiglu, ((4, 6),), lambda t, f, x: f.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1]),
]

ROWS = np.array([[3, 0, 1], [0, 0, 3]])
FLAT, BAGS = np.asarray([1, 2, 0, 3, 1, 1, 2]), np.asarray([0, 2, 2, 6])  # the last one is of padding
LATER = np.tril(np.ones((4, 5), bool))
ADDED = np.cos(np.arange(20.0)).reshape(4, 5)
QKV = ((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 2))


def masked(mask: np.ndarray, **options: Any) -> Any:
    """Attention of both libraries with a mask that is no argument."""
    name = "scaled_dot_product_attention"

    def theirs(t: Any, f: Any, q: Any, k: Any, v: Any) -> Any:
        own = t.tensor(mask) if mask.dtype == bool else t.tensor(mask, dtype=q.dtype)
        return getattr(f, name)(q, k, v, own, **options)

    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, **options), theirs


def turned(t: Any, x: Any, interleaved: bool) -> Any:
    """Rotary embedding as a product of complex numbers."""
    length, dim = x.shape[-2:]
    angles = t.outer(t.arange(length, dtype=x.dtype), 100.0 ** (-t.arange(0, dim, 2, dtype=x.dtype) / dim))
    turn = t.polar(t.ones_like(angles), angles)
    if not interleaved:
        a, b = x.chunk(2, -1)
        return t.cat([a * turn.real - b * turn.imag, a * turn.imag + b * turn.real], -1)
    pairs = x.unflatten(-1, (dim // 2, 2))
    return t.view_as_real(t.view_as_complex(pairs) * turn).flatten(-2)


def causal_attention(t: Any, f: Any, q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    later = t.ones(scores.shape[-2:], dtype=t.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1) @ v


def sequences(name: str, function: Any, theirs: Any, shapes: Any = QKV) -> Case:
    return like_torch(name, function, shapes, theirs, batched=(0, 1, 2))


ATTENTION = [
    sequences(
        "attention",
        F.scaled_dot_product_attention,
        lambda t, f, q, k, v: f.scaled_dot_product_attention(q, k, v),
    ),
    sequences(
        "attention causal", lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), causal_attention
    ),
    sequences("attention masked", *masked(LATER)),
    sequences("attention of none", *masked(LATER & (np.arange(4) != 2)[:, None])),
    sequences("attention scaled, added", *masked(ADDED, scale=0.7)),
    sequences(
        "attention, heads shared",
        lambda *x: F.scaled_dot_product_attention(*x, enable_gqa=True),
        lambda t, f, q, k, v: f.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        ((2, 4, 3, 6), (2, 2, 5, 6), (2, 2, 5, 2)),
    ),
    like_torch(
        "attention to one set of keys",
        F.scaled_dot_product_attention,
        ((2, 3, 4, 6), (5, 6), (1, 5, 2)),
        lambda t, f, q, k, v: f.scaled_dot_product_attention(
            q, k.expand(*q.shape[:2], 5, 6), v.expand(*q.shape[:2], 5, 2)
        ),
        batched=(0,),
    ),
    like_torch(
        "attention, learned mask",
        F.scaled_dot_product_attention,
        (*QKV, (3, 4, 5)),
        lambda t, f, *x: f.scaled_dot_product_attention(*x),
        batched=(0, 1, 2),
    ),
    like_torch(
        "embedding",
        lambda w: F.embedding(ROWS, w),
        ((4, 3),),
        lambda t, f, w: f.embedding(t.tensor(ROWS), w),
        batched=(),
    ),
    *(
        like_torch(
            f"embedding_bag {mode}",
            lambda w, m=mode: F.embedding_bag(FLAT, w, BAGS, mode=m, padding_idx=-2),
            ((4, 3),),
            lambda t, f, w, m=mode: f.embedding_bag(t.tensor(FLAT), w, t.tensor(BAGS), mode=m, padding_idx=2),
            batched=(),
        )
        for mode in ("mean", "sum", "max")
    ),
    like_torch(
        "embedding_bag with factors",
        lambda w, s: F.embedding_bag(
            FLAT, w, [*BAGS, 7], mode="sum", per_sample_weights=s, include_last_offset=True
        ),
        ((4, 3), (7,)),
        # PyTorch's own has no second derivative
        lambda t, f, w, s: t.zeros(4, 3, dtype=w.dtype).index_add(
            0, t.tensor([0, 0, 2, 2, 2, 2, 3]), f.embedding(t.tensor(FLAT), w) * s[:, None]
        ),
        batched=(),
    ),
    like_torch(
        "rms_norm",
        lambda x, w: F.rms_norm(x, (3, 2), w, 1e-3),
        ((4, 3, 2), (3, 2)),
        lambda t, f, x, w: f.rms_norm(x, (3, 2), w, 1e-3),
    ),
    like_torch(
        "rotary_embedding",
        lambda x: F.rotary_embedding(x, 100.0),
        ((2, 3, 5, 6),),
        lambda t, f, x: turned(t, x, True),
    ),
    like_torch(
        "rotary_embedding of halves",
        lambda x: F.rotary_embedding(x, 100.0, interleaved=False),
        ((2, 5, 6),),
        lambda t, f, x: turned(t, x, False),
    ),
]

SPATIAL = [
    same_name("conv1d", ((2, 4, 7), (6, 2, 3), (6,)), 2, 1, 2, 2),
    same_name("conv1d", ((2, 3, 7), (4, 3, 3)), None, 1, "same", 2, label="same"),
    same_name("conv3d", ((2, 4, 4, 5, 3), (6, 2, 2, 3, 2), (6,)), (2, 1, 1), (1, 0, 2), (1, 2, 1), 2),
    same_name("conv3d", ((1, 2, 3, 4, 3), (2, 2, 1, 3, 3)), None, 1, "same", label="same"),
    same_name("conv_transpose1d", ((2, 4, 5), (4, 3, 3), (6,)), 2, 1, 1, 2, 2),
    same_name("conv_transpose2d", ((2, 4, 3, 4), (4, 2, 3, 2), (4,)), (2, 3), (1, 0), (1, 2), 2),
    same_name("conv_transpose2d", ((2, 3, 3, 4), (3, 2, 2, 2)), label="plain"),
    same_name("conv_transpose3d", ((2, 4, 3, 2, 3), (4, 2, 2, 3, 2), (4,)), (2, 1, 3), 1, (1, 0, 2), 2),
    same_name("conv_transpose3d", ((1, 2, 2, 3, 2), (2, 3, 3, 1, 2)), label="plain"),
    same_name("max_pool1d", ((2, 3, 7),), 3, 2, 1),
    same_name("max_pool3d", ((2, 3, 5, 4, 7),), (3, 2, 3), 2, 1, ceil_mode=True),
    same_name("avg_pool3d", ((2, 3, 5, 4, 7),), (3, 2, 3), 2, 1, True, False),
    same_name("avg_pool1d", ((2, 3, 7),), 3, 2, 1),
    same_name("bilinear", ((4, 2), (4, 3), (5, 2, 3), (5,)), batched=(0, 1)),
    same_name("pad", ((2, 3, 4),), (1, 2, 0, 3)),
    same_name("pad", ((2, 3, 4),), (-1, 2, 3, -1), "constant", 0.5, label="less"),
    same_name("pad", ((2, 3, 4, 3),), (2, 1, 3, 0), "reflect", label="mirrored"),
    same_name("pad", ((2, 3, 4),), (2, 5), "replicate", label="replicated"),
    same_name("pad", ((2, 3, 4),), (2, 3), "circular", label="around"),
    same_name("interpolate", ((2, 3, 4),), None, 2.0),
    same_name("interpolate", ((2, 3, 4, 5),), (7, 3), label="any size"),
    same_name("interpolate", ((2, 3, 4),), 7, None, "nearest-exact", label="exact"),
    same_name("interpolate", ((2, 3, 4),), 7, None, "linear", label="linear"),
    same_name("interpolate", ((2, 2, 4, 3),), None, (1.6, 2.4), "bilinear", label="bilinear"),
    same_name("interpolate", ((2, 2, 4, 3),), (3, 5), None, "bilinear", True, label="aligned"),
    same_name("interpolate", ((2, 2, 3, 4, 2),), (5, 2, 3), None, "trilinear", label="trilinear"),
    same_name("interpolate", ((2, 2, 4, 5),), (9, 3), None, "bicubic", label="bicubic"),
    same_name("interpolate", ((2, 2, 4, 5),), (3, 2), None, "area", label="area"),
    same_name("interpolate", ((2, 2, 7, 5),), (3, 6), None, "bilinear", label="antialias", antialias=True),
    same_name(
        "interpolate", ((2, 2, 7, 6),), (3, 2), None, "bicubic", True, None, True, label="cubic antialias"
    ),
    same_name("adaptive_avg_pool1d", ((2, 3, 7),), 3),
    same_name("adaptive_avg_pool2d", ((2, 3, 5, 4),), (3, None)),
    same_name("adaptive_avg_pool2d", ((2, 3, 5, 4),), 1, label="to one"),
    same_name("adaptive_max_pool1d", ((2, 3, 7),), 3),
    same_name("adaptive_max_pool2d", ((2, 3, 5, 4),), (3, 2)),
    same_name("adaptive_max_pool3d", ((2, 3, 5, 2, 4),), (3, None, 2)),
    same_name("pixel_shuffle", ((2, 8, 3, 2),), 2),
    same_name("pixel_unshuffle", ((2, 4, 6),), 2, batched=()),
]

K = (5, 4)
TOGETHER = np.where(np.arange(5) % 2 == 0, 1.0, -1.0)
SIGNS = np.where(np.arange(20).reshape(5, 4) % 3 == 0, 1.0, -1.0)
SHARES = (1 + np.arange(20).reshape(5, 4) % 3) / 4


def fixed(values: np.ndarray, x: Any) -> Any:
    """Rows of a constant, as many as x has."""
    return values[: x.shape[0]]


def loss_of(
    name: str,
    shapes: Any = (K, K),
    target: Any = None,
    label: str = "",
    positive: bool = False,
    weight: Any = None,
    **options: Any,
) -> list[Case]:
    """The three reductions of F.name and torch's; `target` and `weight` are constants."""

    def case(reduction: str) -> Case:
        def ours(*x: Any) -> Any:
            more = [] if target is None else [fixed(target, x[0])]
            words = options if weight is None else options | {"weight": fixed(weight, x[0])}
            return getattr(F, name)(*x, *more, reduction=reduction, **words)

        def theirs(t: Any, f: Any, *x: Any) -> Any:
            more = [] if target is None else [t.tensor(fixed(target, x[0]), dtype=x[0].dtype)]
            words = dict(options)
            if weight is not None:
                words["weight"] = t.tensor(fixed(weight, x[0]), dtype=x[0].dtype)
            return getattr(f, name)(*x, *more, reduction=reduction, **words)

        return like_torch(
            f"{name} {label} {reduction}",
            ours,
            shapes,
            theirs,
            batched=tuple(range(len(shapes))),
            positive=positive,
            smallest=1 if reduction in ("mean", "batchmean") else 0,
        )

    return [case(r) for r in ("mean", "sum", "none", *(["batchmean"] if name == "kl_div" else []))]


PAIRS = [
    *loss_of("l1_loss"),
    *loss_of("l1_loss", label="weighted", weight=SHARES),
    *loss_of("mse_loss", label="weighted", weight=SHARES),
    *loss_of("huber_loss", label="weighted", weight=SHARES, delta=0.7),
    *loss_of("smooth_l1_loss"),
    *loss_of("smooth_l1_loss", label="0.3", beta=0.3),
    *loss_of("huber_loss", label="0.7", delta=0.7),
    *loss_of("kl_div", positive=True),
    *loss_of("kl_div", label="of logs", log_target=True),
    *loss_of("poisson_nll_loss"),
    *loss_of("poisson_nll_loss", label="of rates", log_input=False, full=True, positive=True),
    *loss_of("gaussian_nll_loss", (K, K, K), positive=True, label="full", full=True),
    *loss_of("gaussian_nll_loss", (K, K, (5, 1)), positive=True, label="one a row"),
    *loss_of("soft_margin_loss", (K,), SIGNS),
    *loss_of("hinge_embedding_loss", (K,), SIGNS, margin=0.7),
    *loss_of("margin_ranking_loss", (K, K), SIGNS, margin=0.3),
    *loss_of("cosine_embedding_loss", (K, K), TOGETHER, margin=0.2),
    *loss_of("triplet_margin_loss", (K, K, K)),
    *loss_of("triplet_margin_loss", (K, K, K), label="swapped", swap=True, p=3.0, margin=0.5),
    *loss_of("multilabel_soft_margin_loss", (K,), SHARES),
    same_name("pairwise_distance", (K, K), 1.0, label="of one", batched=(0, 1)),
    same_name("pairwise_distance", (K, K), 2.0, 1e-3, True, batched=(0, 1)),
    same_name("cosine_similarity", (K, (4,)), -1),
]


def focal(t: Any, f: Any, x: Any, y: Any, alpha: float, gamma: float) -> Any:
    """As torchvision writes it."""
    p = x.sigmoid()
    entropy = f.binary_cross_entropy_with_logits(x, y, reduction="none")
    hit = p * y + (1 - p) * (1 - y)
    return (alpha * y + (1 - alpha) * (1 - y)) * entropy * (1 - hit) ** gamma


def entropy(t: Any, x: Any, reduction: str) -> Any:
    """Binary cross-entropy, which PyTorch refuses of NaN."""
    y, w = (t.tensor(v, dtype=x.dtype) for v in (fixed(SHARES, x), [1.0, 2, 3, 4]))
    losses = -w * (y * x.sigmoid().log() + (1 - y) * (-x).sigmoid().log())
    return losses if reduction == "none" else getattr(losses, reduction)()


PAIRS += [
    like_torch(
        "sigmoid_focal_loss",
        lambda x: F.sigmoid_focal_loss(x, fixed(SHARES, x), 0.3, 1.5),
        (K,),
        lambda t, f, x: focal(t, f, x, t.tensor(fixed(SHARES, x), dtype=x.dtype), 0.3, 1.5),
    ),
    like_torch(
        "sigmoid_focal_loss of certain targets",
        lambda x: F.sigmoid_focal_loss(x, fixed((SIGNS + 1) / 2, x), reduction="sum"),
        (K,),
        lambda t, f, x: focal(t, f, x, t.tensor((fixed(SIGNS, x) + 1) / 2, dtype=x.dtype), 0.25, 2).sum(),
    ),
    *[
        like_torch(
            f"binary_cross_entropy {reduction}",
            lambda x, r=reduction: F.binary_cross_entropy(
                F.sigmoid(x), fixed(SHARES, x), [1.0, 2, 3, 4], reduction=r
            ),
            (K,),
            lambda t, f, x, r=reduction: entropy(t, x, r),
            smallest=1 if reduction == "mean" else 0,
        )
        for reduction in ("mean", "sum", "none")
    ],
]

MORE = [*GATES, *ATTENTION, *SPATIAL, *PAIRS]
