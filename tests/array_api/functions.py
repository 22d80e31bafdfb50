"""One table of the namespace's differentiable functions: each is stated once and gets every check.

The checks are those of `tests.cases`: `function` takes Tensors, `oracle` NumPy arrays, `torch` torch tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.cases import Case

xp = xpnet.array_api
X = (4, 3)
Y = (2, 4, 3)


def case(
    name: str,
    function: Callable[..., Any],
    shapes: tuple[Any, ...] = (X,),
    oracle: Any = None,
    torch: Any = None,
    **options: Any,
) -> Case:
    return Case(f"xp.{name}", function, shapes, oracle, torch, **options)


def refuses_scans(backend: Any) -> bool:
    """Whether this is CuPy on the CPU, whose emulator refuses CuPy's scan of several rows.

    Threads of that kernel return while others of their block wait at a barrier.
    """
    return backend == "cupy" and import_module("cupy").__version__.endswith("+cpu")


def skip_refused_scans(case: Case, backend: Any) -> None:
    """On a GPU nothing is skipped."""
    if case.name.startswith("xp.cumulative") and refuses_scans(backend):
        pytest.skip("CuPy's scan of several rows leaves threads behind a barrier")


def symmetric(x: Any) -> Any:
    return x + xp.matrix_transpose(x)


def definite(x: Any) -> Any:
    return xp.matmul(x, xp.matrix_transpose(x)) + 2 * xp.asarray(np.eye(x.shape[-1]), dtype="float64")


def np_definite(x: np.ndarray) -> np.ndarray:
    return x @ np.swapaxes(x, -1, -2) + 2 * np.eye(x.shape[-1])


def t_definite(t: Any, x: Any) -> Any:
    return x @ x.mT + 2 * t.eye(x.shape[-1], dtype=x.dtype)


def squares(u: Any, s: Any, vh: Any) -> Any:
    """What the signs of singular vectors leave as it is."""
    return xp.concat([xp.reshape(u * u, (-1,)), s, xp.reshape(vh * vh, (-1,))])


UNARY = {
    "acos": "unit", "acosh": "above", "asin": "unit", "asinh": "", "atan": "", "atanh": "unit", "cos": "",
    "cosh": "", "exp": "", "expm1": "", "log": "positive", "log1p": "positive", "log2": "positive",
    "log10": "positive", "sin": "", "sinh": "", "tan": "", "tanh": "", "sqrt": "positive", "square": "",
    "reciprocal": "positive", "abs": "", "negative": "", "positive": "", "sign": "", "floor": "", "ceil": "",
    "round": "", "trunc": "", "real": "", "conj": "",
}  # fmt: skip


def unary(name: str, domain: str) -> Case:
    """Inputs are moved into the domain by a function that is differentiated, too."""
    inside = {
        "": lambda m, x: x,
        "positive": lambda m, x: x,
        "unit": lambda m, x: m.tanh(x) * 0.9,
        "above": lambda m, x: x * x + 1.5,
    }[domain]
    of_numpy = getattr(np, name)
    return case(
        name,
        lambda x: getattr(xp, name)(inside(xp, x)),
        oracle=lambda x: of_numpy(inside(np, x)),
        torch=lambda t, f, x: getattr(t, name)(inside(t, x)),
        positive=domain == "positive",
    )


ELEMENTWISE = [
    *(unary(*row) for row in UNARY.items()),
    case("add", xp.add, (X, (3,)), np.add, lambda t, f, a, b: a + b),
    case("subtract", xp.subtract, (X, (3,)), np.subtract, lambda t, f, a, b: a - b),
    case("multiply", xp.multiply, (X, (4, 1)), np.multiply, lambda t, f, a, b: a * b),
    case("divide", xp.divide, (X, (3,)), np.divide, lambda t, f, a, b: a / b, positive=True),
    case("pow", xp.pow, (X, (3,)), np.power, lambda t, f, a, b: a**b, positive=True),
    case("atan2", xp.atan2, (X, (3,)), np.arctan2, lambda t, f, a, b: t.atan2(a, b)),
    case("hypot", xp.hypot, (X, (3,)), np.hypot, lambda t, f, a, b: t.hypot(a, b)),
    case("logaddexp", xp.logaddexp, (X, (3,)), np.logaddexp, lambda t, f, a, b: t.logaddexp(a, b)),
    case("copysign", xp.copysign, (X, (3,)), np.copysign, lambda t, f, a, b: t.copysign(a, b)),
    case("maximum", xp.maximum, (X, (3,)), np.maximum, lambda t, f, a, b: t.maximum(a, b)),
    case("minimum", xp.minimum, (X, (3,)), np.minimum, lambda t, f, a, b: t.minimum(a, b)),
    case(
        "remainder",
        lambda a, b: xp.remainder(3 * a, b),
        (X, (3,)),
        lambda a, b: np.remainder(3 * a, b),
        lambda t, f, a, b: t.remainder(3 * a, b),
        positive=True,
    ),
    case(
        "floor_divide",
        xp.floor_divide,
        (X, (3,)),
        np.floor_divide,
        lambda t, f, a, b: 0 * a * b + (a / b).floor(),
    ),
    case(
        "clip",
        lambda x: xp.clip(x, -0.5, 0.7),
        (X,),
        lambda x: np.clip(x, -0.5, 0.7),
        lambda t, f, x: x.clamp(-0.5, 0.7),
    ),
    case(
        "clip by arrays",
        lambda x, a, b: xp.clip(x, a, a + b * b),
        (X, (3,), (4, 1)),
        lambda x, a, b: np.clip(x, a, a + b * b),
        lambda t, f, x, a, b: t.clamp(x, a, a + b * b),
    ),
    case(
        "clip below",
        lambda x: xp.clip(x, min=0.1),
        (X,),
        lambda x: np.maximum(x, 0.1),
        lambda t, f, x: x.clamp(min=0.1),
    ),
    case("erf", xp.erf, (X,), __import__("scipy.special").special.erf, lambda t, f, x: t.erf(x)),
    case(
        "where",
        lambda a, b: xp.where(a > 0, a * a, b),
        (X, (3,)),
        lambda a, b: np.where(a > 0, a * a, b),
        lambda t, f, a, b: t.where(a > 0, a * a, b),
    ),
    case(
        "where number",
        lambda a: xp.where(a > 0, a, 0.5),
        (X,),
        lambda a: np.where(a > 0, a, 0.5),
        lambda t, f, a: t.where(a > 0, a, 0.5),
    ),
]

STATISTICAL = [
    case(
        "sum", lambda x: xp.sum(x, axis=(0, 2)), (Y,), lambda x: x.sum((0, 2)), lambda t, f, x: x.sum((0, 2))
    ),
    case(
        "mean",
        lambda x: xp.mean(x, axis=1, keepdims=True),
        (Y,),
        lambda x: x.mean(1, keepdims=True),
        lambda t, f, x: x.mean(1, keepdim=True),
    ),
    case("max", lambda x: xp.max(x, axis=-1), (X,), lambda x: x.max(-1), lambda t, f, x: x.amax(-1)),
    case(
        "min", lambda x: xp.min(x, axis=(0, 1)), (Y,), lambda x: x.min((0, 1)), lambda t, f, x: x.amin((0, 1))
    ),
    case("var", xp.var, (X,), np.var, lambda t, f, x: x.var(correction=0)),
    case(
        "var axis",
        lambda x: xp.var(x, axis=(0, 2), correction=1),
        (Y,),
        lambda x: x.var((0, 2), ddof=1),
        lambda t, f, x: x.var((0, 2)),
    ),
    case(
        "std",
        lambda x: xp.std(x, axis=1, correction=1.0, keepdims=True),
        (X,),
        lambda x: x.std(1, ddof=1, keepdims=True),
        lambda t, f, x: x.std(1, keepdim=True),
    ),
    case("prod", xp.prod, (X,), np.prod, lambda t, f, x: x.prod()),
    case(
        "prod axis",
        lambda x: xp.prod(x, axis=1, keepdims=True),
        (Y,),
        lambda x: x.prod(1, keepdims=True),
        lambda t, f, x: x.prod(1, keepdim=True),
    ),
    case(
        "prod with a 0",
        lambda x: xp.prod(x * ZERO_AT(x), axis=1),
        (X,),
        lambda x: (x * ZERO).prod(1),
        lambda t, f, x: (x * t.tensor(ZERO)).prod(1),
    ),
    case(
        "prod with two 0",
        lambda x: xp.prod(x * ZERO_AT(x), axis=0),
        (X,),
        lambda x: (x * ZERO).prod(0),
        lambda t, f, x: (x * t.tensor(ZERO)).prod(0),
    ),
    case(
        "cumulative_sum",
        lambda x: xp.cumulative_sum(x, axis=1),
        (Y,),
        lambda x: x.cumsum(1),
        lambda t, f, x: x.cumsum(1),
    ),
    case(
        "cumulative_sum initial",
        lambda x: xp.cumulative_sum(x, axis=0, include_initial=True),
        (X,),
        lambda x: np.concatenate([np.zeros((1, 3)), x.cumsum(0)]),
    ),
    case(
        "cumulative_prod",
        lambda x: xp.cumulative_prod(x, axis=0),
        (X,),
        lambda x: x.cumprod(0),
        lambda t, f, x: x.cumprod(0),
    ),
    case(
        "cumulative_prod with a 0",
        lambda x: xp.cumulative_prod(x * ZERO_AT(x), axis=0),
        (X,),
        lambda x: (x * ZERO).cumprod(0),
        lambda t, f, x: (x * t.tensor(ZERO)).cumprod(0),
    ),
    case(
        "diff",
        lambda x: xp.diff(x, axis=0, n=2),
        (X,),
        lambda x: np.diff(x, axis=0, n=2),
        lambda t, f, x: t.diff(x, n=2, dim=0),
    ),
    case(
        "diff prepend",
        lambda x, a: xp.diff(x, prepend=a),
        (X, (4, 1)),
        lambda x, a: np.diff(x, prepend=a),
        lambda t, f, x, a: t.diff(x, prepend=a),
    ),
]
ZERO = np.array([[1.0, 0, 1], [1, 1, 1], [0, 1, 0], [1, 1, 0]])


def ZERO_AT(x: Any) -> Any:
    return xpnet.asarray(ZERO)


PLACES = np.array([[0, 2], [1, 1], [2, 0], [0, 0]])

MANIPULATION = [
    case(
        "broadcast_to",
        lambda x: xp.broadcast_to(x, (2, 4, 3)),
        ((4, 1),),
        lambda x: np.broadcast_to(x, (2, 4, 3)),
        lambda t, f, x: x.expand(2, 4, 3),
    ),
    case(
        "broadcast_arrays",
        lambda a, b: xp.multiply(*xp.broadcast_arrays(a, b)),
        (X, (3,)),
        np.multiply,
        lambda t, f, a, b: a * b,
    ),
    case(
        "concat",
        lambda a, b: xp.concat([a, b, a], axis=1),
        (X, (4, 2)),
        lambda a, b: np.concatenate([a, b, a], 1),
        lambda t, f, a, b: t.cat([a, b, a], 1),
    ),
    case(
        "concat flat",
        lambda a, b: xp.concat([a, b], axis=None),
        (X, (2,)),
        lambda a, b: np.concatenate([a, b], None),
        lambda t, f, a, b: t.cat([a.ravel(), b]),
    ),
    case(
        "stack",
        lambda a, b: xp.stack([a, b], axis=1),
        (X, X),
        lambda a, b: np.stack([a, b], 1),
        lambda t, f, a, b: t.stack([a, b], 1),
    ),
    case(
        "unstack",
        lambda x: xp.unstack(x, axis=1)[1] ** 2,
        (X,),
        lambda x: x[:, 1] ** 2,
        lambda t, f, x: x.unbind(1)[1] ** 2,
    ),
    case(
        "expand_dims",
        lambda x: xp.expand_dims(x, axis=(0, 2)),
        (X,),
        lambda x: x[None, :, None],
        lambda t, f, x: x[None, :, None],
    ),
    case(
        "squeeze",
        lambda x: xp.squeeze(x, axis=1),
        ((4, 1, 3),),
        lambda x: x[:, 0],
        lambda t, f, x: x.squeeze(1),
    ),
    case(
        "reshape",
        lambda x: xp.reshape(x, (-1, 2)),
        ((4, 6),),
        lambda x: x.reshape(-1, 2),
        lambda t, f, x: x.reshape(-1, 2),
    ),
    case(
        "permute_dims",
        lambda x: xp.permute_dims(x, (2, 0, 1)),
        (Y,),
        lambda x: x.transpose(2, 0, 1),
        lambda t, f, x: x.permute(2, 0, 1),
    ),
    case(
        "moveaxis",
        lambda x: xp.moveaxis(x, (0, 1), (-1, 0)),
        (Y,),
        lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
        lambda t, f, x: x.movedim((0, 1), (-1, 0)),
    ),
    case(
        "flip",
        lambda x: xp.flip(x, axis=(0, 2)),
        (Y,),
        lambda x: np.flip(x, (0, 2)),
        lambda t, f, x: x.flip(0, 2),
    ),
    case(
        "roll",
        lambda x: xp.roll(x, (1, -2), axis=(0, 1)),
        (X,),
        lambda x: np.roll(x, (1, -2), (0, 1)),
        lambda t, f, x: x.roll((1, -2), (0, 1)),
    ),
    case("roll flat", lambda x: xp.roll(x, 2), (X,), lambda x: np.roll(x, 2), lambda t, f, x: x.roll(2)),
    case(
        "tile",
        lambda x: xp.tile(x, (2, 1, 3)),
        (X,),
        lambda x: np.tile(x, (2, 1, 3)),
        lambda t, f, x: x.tile(2, 1, 3),
    ),
    case(
        "repeat",
        lambda x: xp.repeat(x, 2, axis=1),
        (X,),
        lambda x: x.repeat(2, 1),
        lambda t, f, x: x.repeat_interleave(2, 1),
    ),
    case("tril", lambda x: xp.tril(x, k=-1), (Y,), lambda x: np.tril(x, -1), lambda t, f, x: x.tril(-1)),
    case("triu", lambda x: xp.triu(x), (Y,), np.triu, lambda t, f, x: x.triu()),
    case(
        "meshgrid",
        lambda a, b: xp.multiply(*xp.meshgrid(a, b)),
        ((3,), (4,)),
        lambda a, b: np.multiply(*np.meshgrid(a, b)),
        lambda t, f, a, b: b[:, None] * a[None, :],
    ),
    case(
        "take",
        lambda x: xp.take(x, xpnet.asarray([2, 0, 2]), axis=1),
        (X,),
        lambda x: x[:, [2, 0, 2]],
        lambda t, f, x: x[:, [2, 0, 2]],
    ),
    case(
        "take_along_axis",
        lambda x: xp.take_along_axis(x, xpnet.asarray(PLACES), axis=1),
        (X,),
        lambda x: np.take_along_axis(x, PLACES, 1),
        lambda t, f, x: x.gather(1, t.tensor(PLACES)),
    ),
    case(
        "sort",
        lambda x: xp.sort(x, axis=0, descending=True),
        (X,),
        lambda x: -np.sort(-x, 0),
        lambda t, f, x: x.sort(0, descending=True)[0],
    ),
    case(
        "astype",
        lambda x: xp.astype(xp.astype(x, xpnet.asarray([0.0]).dtype), x.dtype) * 0 + x * x,
        (X,),
        lambda x: x * x,
        lambda t, f, x: x * x,
    ),
    case(
        "full of a Tensor",
        lambda x: xp.full((2, 3), x),
        ((),),
        lambda x: np.full((2, 3), x),
        lambda t, f, x: x.expand(2, 3),
    ),
    case(
        "asarray of Tensors",
        lambda a, b: xp.asarray([[a, b], [b, 1.0]]),
        ((), ()),
        lambda a, b: np.array([[a, b], [b, 1]]),
    ),
]


def written(x: Any, y: Any) -> Any:
    z = x * 2
    z[1:, 0] = y
    z[0, :] = z[1, :] * 3
    return z


def np_written(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = x * 2
    z[1:, 0] = y
    z[0, :] = z[1, :] * 3
    return z


def t_written(t: Any, f: Any, x: Any, y: Any) -> Any:
    z = x * 2
    z[1:, 0] = y
    z[0, :] = z[1, :] * 3
    return z


def filled(x: Any) -> Any:
    z = xp.zeros((4, 3), dtype=x.dtype)
    z[:, 1] = x[:, 0] ** 2
    return z


NETWORKS = [
    case(
        "linspace",
        lambda a, b: xp.linspace(xp.sum(a), xp.sum(b), 5, endpoint=False),
        (X, (3,)),
        lambda a, b: np.linspace(a.sum(), b.sum(), 5, endpoint=False),
        lambda t, f, a, b: a.sum() + (b.sum() - a.sum()) * t.arange(5, dtype=a.dtype) / 5,
    ),
    case("x[...] = y", written, (X, (3,)), np_written, t_written),
    case("zeros written into", filled, (X,), lambda x: np.stack([0 * x[:, 0], x[:, 0] ** 2, 0 * x[:, 0]], 1)),
    case(
        "x[ints] = y",
        lambda x, y: assigned(x, y),
        (X, (2, 3)),
        lambda x, y: np.concatenate([y[1:], x[1:2], y[:1], x[3:]]) * 1.0,
    ),
    case(
        "scatter_add",
        lambda v: xp.scatter_add((5,), xpnet.asarray([0, 3, 0, 4]), v),
        ((4,),),
        lambda v: np.array([v[0] + v[2], 0, 0, v[1], v[3]]),
        lambda t, f, v: t.zeros(5, dtype=v.dtype).index_add(0, t.tensor([0, 3, 0, 4]), v),
    ),
    case(
        "pad",
        lambda x: xp.pad(x, [(1, 0), (0, 2)], 0.5),
        (X,),
        lambda x: np.pad(x, [(1, 0), (0, 2)], constant_values=0.5),
        lambda t, f, x: f.pad(x, (0, 2, 1, 0), value=0.5),
    ),
    case(
        "einsum",
        lambda a, b: xp.einsum("ij,kj->ik", a, b),
        (X, (2, 3)),
        lambda a, b: a @ b.T,
        lambda t, f, a, b: a @ b.T,
    ),
    case(
        "einsum of three",
        lambda a, b, c: xp.einsum("bij,jk,bk->bi", a, b, c),
        (Y, (3, 2), (2, 2)),
        lambda a, b, c: np.einsum("bij,jk,bk->bi", a, b, c),
        lambda t, f, a, b, c: t.einsum("bij,jk,bk->bi", a, b, c),
    ),
    case(
        "einsum trace",
        lambda a: xp.einsum("bii", a),
        ((2, 3, 3),),
        lambda a: np.einsum("bii", a),
        lambda t, f, a: a.diagonal(0, 1, 2).sum(1),
    ),
    case(
        "einsum ellipsis",
        lambda a, b: xp.einsum("...i,...i->...", a, b),
        (Y, (3,)),
        lambda a, b: (a * b).sum(-1),
        lambda t, f, a, b: (a * b).sum(-1),
    ),
    case(
        "einsum alone",
        lambda a, b: xp.einsum("ij,k->j", a, b),
        (X, (2,)),
        lambda a, b: a.sum(0) * b.sum(),
        lambda t, f, a, b: a.sum(0) * b.sum(),
    ),
    case(
        "im2col",
        lambda x: xp.im2col(x, (2, 3), stride=(1, 2)),
        ((2, 3, 4, 5),),
        None,
        lambda t, f, x: f.unfold(x, (2, 3), stride=(1, 2)).permute(1, 0, 2).reshape(18, -1),
    ),
    case(
        "cat",
        lambda a, b: xp.cat([a, b], dim=1),
        (X, (4, 2)),
        lambda a, b: np.concatenate([a, b], 1),
        lambda t, f, a, b: t.cat([a, b], 1),
    ),
    case(
        "clamp",
        lambda x: xp.clamp(x, -0.5),
        (X,),
        lambda x: np.maximum(x, -0.5),
        lambda t, f, x: x.clamp(-0.5),
    ),
]


def assigned(x: Any, y: Any) -> Any:
    z = x * 1
    z[xpnet.asarray([2, 0])] = y
    return z


LINALG = [
    case("matmul", xp.matmul, (Y, (3, 2)), np.matmul, lambda t, f, a, b: a @ b),
    case("matrix_transpose", xp.matrix_transpose, (Y,), lambda x: np.swapaxes(x, 1, 2), lambda t, f, x: x.mT),
    case(
        "tensordot",
        lambda a, b: xp.tensordot(a, b, axes=((2, 0), (0, 1))),
        (Y, (3, 2)),
        lambda a, b: np.tensordot(a, b, ((2, 0), (0, 1))),
        lambda t, f, a, b: t.tensordot(a, b, ((2, 0), (0, 1))),
    ),
    case(
        "vecdot",
        lambda a, b: xp.vecdot(a, b, axis=-1),
        (X, X),
        lambda a, b: (a * b).sum(-1),
        lambda t, f, a, b: (a * b).sum(-1),
    ),
    case(
        "cross", lambda a, b: xp.linalg.cross(a, b), (X, X), np.cross, lambda t, f, a, b: t.linalg.cross(a, b)
    ),
    case("outer", xp.linalg.outer, ((4,), (3,)), np.outer, lambda t, f, a, b: t.outer(a, b)),
    case(
        "trace",
        lambda x: xp.linalg.trace(x, offset=1),
        ((2, 3, 3),),
        lambda x: np.trace(x, 1, 1, 2),
        lambda t, f, x: x.diagonal(1, 1, 2).sum(1),
    ),
    case(
        "diagonal",
        lambda x: xp.linalg.diagonal(x, offset=-1),
        ((2, 3, 4),),
        lambda x: np.diagonal(x, -1, 1, 2),
        lambda t, f, x: x.diagonal(-1, 1, 2),
    ),
    case(
        "vector_norm",
        lambda x: xp.linalg.vector_norm(x, axis=1),
        (X,),
        lambda x: np.linalg.norm(x, axis=1),
        lambda t, f, x: t.linalg.vector_norm(x, dim=1),
    ),
    case(
        "vector_norm 3",
        lambda x: xp.linalg.vector_norm(x, ord=3, axis=0),
        (X,),
        lambda x: np.linalg.norm(x, 3, 0),
        lambda t, f, x: t.linalg.vector_norm(x, 3, dim=0),
    ),
    case(
        "vector_norm inf",
        lambda x: xp.linalg.vector_norm(x, ord=float("inf")),
        (X,),
        lambda x: np.abs(x).max(),
        lambda t, f, x: x.abs().amax(),
    ),
    case(
        "matrix_norm",
        lambda x: xp.linalg.matrix_norm(x),
        (Y,),
        lambda x: np.linalg.norm(x, axis=(1, 2)),
        lambda t, f, x: t.linalg.matrix_norm(x),
    ),
    case(
        "matrix_power",
        lambda x: xp.linalg.matrix_power(x, 3),
        ((2, 3, 3),),
        lambda x: x @ x @ x,
        lambda t, f, x: x @ x @ x,
    ),
]


def complex_svd(
    svd: Callable[..., Any], conj: Callable[[Any], Any], swap: Callable[[Any], Any], z: Any
) -> Any:
    """Of Z = U S V^H: what a factor e^(i phi) of a pair of vectors leaves as it is."""
    u, s, vh = svd(z)
    first = u[:, :2] * s[:2]
    return first @ vh[:2, :], s, u[:, :1] @ swap(conj(u[:, :1]))


def spread(
    concat: Callable[..., Any], parts: Callable[[Any], Any], product: Any, s: Any, projector: Any
) -> Any:
    return concat([parts(product).reshape(-1), s, parts(projector).reshape(-1)])


FACTORIZATIONS = [
    case(
        "complex svd",
        lambda a, b: spread(
            xp.concat,
            parts,
            *complex_svd(
                lambda z: xp.linalg.svd(z, full_matrices=False), xp.conj, xp.matrix_transpose, a + 1j * b
            ),
        ),
        ((4, 3), (4, 3)),
        lambda a, b: spread(
            np.concatenate,
            np_parts,
            *complex_svd(lambda z: np.linalg.svd(z, full_matrices=False), np.conj, np.transpose, a + 1j * b),
        ),
        lambda t, f, a, b: spread(
            t.cat,
            lambda z: t_parts(t, z),
            *complex_svd(
                lambda z: t.linalg.svd(z, full_matrices=False), t.conj, lambda z: z.mT, t.complex(a, b)
            ),
        ),
    ),
    case(
        "complex slogdet",
        lambda a, b: (lambda sign, log: xp.stack([xp.real(sign), xp.imag(sign), log]))(
            *xp.linalg.slogdet(a + 1j * b)
        ),
        ((2, 3, 3), (2, 3, 3)),
        lambda a, b: (lambda sign, log: np.stack([sign.real, sign.imag, log]))(
            *np.linalg.slogdet(a + 1j * b)
        ),
        lambda t, f, a, b: (lambda sign, log: t.stack([sign.real, sign.imag, log]))(
            *t.linalg.slogdet(t.complex(a, b))
        ),
    ),
    case(
        "inv",
        lambda x: xp.linalg.inv(definite(x)),
        ((2, 3, 3),),
        lambda x: np.linalg.inv(np_definite(x)),
        lambda t, f, x: t.linalg.inv(t_definite(t, x)),
    ),
    case("det", xp.linalg.det, ((2, 3, 3),), np.linalg.det, lambda t, f, x: t.linalg.det(x)),
    case(
        "slogdet",
        lambda x: xp.linalg.slogdet(x)[1],
        ((2, 3, 3),),
        lambda x: np.linalg.slogdet(x)[1],
        lambda t, f, x: t.linalg.slogdet(x)[1],
    ),
    case(
        "solve",
        lambda a, b: xp.linalg.solve(definite(a), b),
        ((3, 3), (3, 2)),
        lambda a, b: np.linalg.solve(np_definite(a), b),
        lambda t, f, a, b: t.linalg.solve(t_definite(t, a), b),
    ),
    case(
        "solve vector",
        lambda a, b: xp.linalg.solve(definite(a), b),
        ((3, 3), (3,)),
        lambda a, b: np.linalg.solve(np_definite(a), b),
        lambda t, f, a, b: t.linalg.solve(t_definite(t, a), b),
    ),
    case(
        "solve stacks",
        lambda a, b: xp.linalg.solve(definite(a), b),
        ((2, 1, 3, 3), (2, 3, 2)),
        lambda a, b: np.linalg.solve(np_definite(a), b),
        lambda t, f, a, b: t.linalg.solve(t_definite(t, a), b),
    ),
    case(
        "solve stack for a vector",
        lambda a, b: xp.linalg.solve(definite(a), b),
        ((2, 3, 3), (3,)),
        lambda a, b: np.linalg.solve(np_definite(a), b),
        lambda t, f, a, b: t.linalg.solve(t_definite(t, a), b),
    ),
    case(
        "cholesky",
        lambda x: xp.linalg.cholesky(definite(x)),
        ((2, 3, 3),),
        lambda x: np.linalg.cholesky(np_definite(x)),
        lambda t, f, x: t.linalg.cholesky(t_definite(t, x)),
    ),
    case(
        "cholesky upper",
        lambda x: xp.linalg.cholesky(definite(x), upper=True),
        ((3, 3),),
        lambda x: np.linalg.cholesky(np_definite(x)).T,
        lambda t, f, x: t.linalg.cholesky(t_definite(t, x)).mT,
    ),
    case(
        "eigh",
        lambda x: (lambda r: xp.concat([r.eigenvalues, xp.reshape(r.eigenvectors**2, (-1,))]))(
            xp.linalg.eigh(symmetric(x))
        ),
        ((3, 3),),
        None,
        lambda t, f, x: (lambda w, v: t.cat([w, (v**2).reshape(-1)]))(*t.linalg.eigh(x + x.mT)),
    ),
    case(
        "eigvalsh",
        lambda x: xp.linalg.eigvalsh(symmetric(x)),
        ((2, 3, 3),),
        lambda x: np.linalg.eigvalsh(x + x.swapaxes(1, 2)),
        lambda t, f, x: t.linalg.eigvalsh(x + x.mT),
    ),
    case(
        "svd tall",
        lambda x: squares(*xp.linalg.svd(x, full_matrices=False)),
        ((4, 3),),
        None,
        lambda t, f, x: (lambda u, s, v: t.cat([(u * u).reshape(-1), s, (v * v).reshape(-1)]))(
            *t.linalg.svd(x, full_matrices=False)
        ),
    ),
    case(
        "svd wide",
        lambda x: squares(*xp.linalg.svd(x, full_matrices=False)),
        ((3, 5),),
        None,
        lambda t, f, x: (lambda u, s, v: t.cat([(u * u).reshape(-1), s, (v * v).reshape(-1)]))(
            *t.linalg.svd(x, full_matrices=False)
        ),
    ),
    case(
        "svdvals",
        xp.linalg.svdvals,
        ((2, 3, 4),),
        lambda x: np.linalg.svd(x, compute_uv=False),
        lambda t, f, x: t.linalg.svdvals(x),
    ),
    case(
        "qr",
        lambda x: (lambda q, r: xp.concat([xp.reshape(q * q, (-1,)), xp.reshape(r * r, (-1,))]))(
            *xp.linalg.qr(x)
        ),
        ((4, 3),),
        None,
        lambda t, f, x: (lambda q, r: t.cat([(q * q).reshape(-1), (r * r).reshape(-1)]))(*t.linalg.qr(x)),
    ),
    case(
        "qr wide",
        lambda x: (lambda q, r: xp.concat([xp.reshape(q * q, (-1,)), xp.reshape(r * r, (-1,))]))(
            *xp.linalg.qr(x)
        ),
        ((3, 4),),
        None,
        lambda t, f, x: (lambda q, r: t.cat([(q * q).reshape(-1), (r * r).reshape(-1)]))(*t.linalg.qr(x)),
    ),
    case("pinv", xp.linalg.pinv, ((4, 3),), np.linalg.pinv, lambda t, f, x: t.linalg.pinv(x)),
    case(
        "matrix_norm nuc",
        lambda x: xp.linalg.matrix_norm(x, ord="nuc"),
        ((3, 4),),
        lambda x: np.linalg.norm(x, "nuc"),
        lambda t, f, x: t.linalg.matrix_norm(x, "nuc"),
    ),
    case(
        "matrix_norm 2",
        lambda x: xp.linalg.matrix_norm(x, ord=2),
        ((3, 4),),
        lambda x: np.linalg.norm(x, 2),
        lambda t, f, x: t.linalg.matrix_norm(x, 2),
    ),
    case(
        "matrix_power -2",
        lambda x: xp.linalg.matrix_power(definite(x), -2),
        ((3, 3),),
        lambda x: np.linalg.matrix_power(np_definite(x), -2),
        lambda t, f, x: t.linalg.matrix_power(t_definite(t, x), -2),
    ),
]


def parts(z: Any) -> Any:
    """Real and imaginary part, side by side."""
    return xp.concat([xp.real(z), xp.imag(z)])


def np_parts(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z.real, z.imag])


def t_parts(t: Any, z: Any) -> Any:
    return t.cat([z.real, z.imag])


FFT = [
    case(
        "fft",
        lambda x: parts(xp.fft.fft(xp.astype(x, "complex128"))),
        (X,),
        lambda x: np_parts(np.fft.fft(x)),
        lambda t, f, x: t_parts(t, t.fft.fft(x)),
    ),
    case(
        "fft n",
        lambda x: parts(xp.fft.fft(xp.astype(x, "complex128"), n=5, axis=0, norm="ortho")),
        (X,),
        lambda x: np_parts(np.fft.fft(x, 5, 0, "ortho")),
        lambda t, f, x: t_parts(t, t.fft.fft(x, 5, 0, "ortho")),
    ),
    case(
        "ifft",
        lambda x: parts(xp.fft.ifft(xp.astype(x, "complex128"), norm="forward")),
        (X,),
        lambda x: np_parts(np.fft.ifft(x, norm="forward")),
        lambda t, f, x: t_parts(t, t.fft.ifft(x, norm="forward")),
    ),
    case(
        "rfft",
        lambda x: parts(xp.fft.rfft(x)),
        ((3, 5),),
        lambda x: np_parts(np.fft.rfft(x)),
        lambda t, f, x: t_parts(t, t.fft.rfft(x)),
    ),
    case(
        "rfft even",
        lambda x: parts(xp.fft.rfft(x, n=4)),
        ((3, 6),),
        lambda x: np_parts(np.fft.rfft(x, 4)),
        lambda t, f, x: t_parts(t, t.fft.rfft(x, 4)),
    ),
    case(
        "irfft",
        lambda a, b: xp.fft.irfft(a + 1j * b),
        ((2, 4), (2, 4)),
        lambda a, b: np.fft.irfft(a + 1j * b),
        lambda t, f, a, b: t.fft.irfft(t.complex(a, b)),
    ),
    case(
        "irfft odd",
        lambda a, b: xp.fft.irfft(a + 1j * b, n=5),
        ((2, 4), (2, 4)),
        lambda a, b: np.fft.irfft(a + 1j * b, 5),
        lambda t, f, a, b: t.fft.irfft(t.complex(a, b), 5),
    ),
    case(
        "hfft",
        lambda a, b: xp.fft.hfft(a + 1j * b),
        ((2, 4), (2, 4)),
        lambda a, b: np.fft.hfft(a + 1j * b),
        lambda t, f, a, b: t.fft.hfft(t.complex(a, b)),
    ),
    case(
        "ihfft",
        lambda x: parts(xp.fft.ihfft(x)),
        ((2, 6),),
        lambda x: np_parts(np.fft.ihfft(x)),
        lambda t, f, x: t_parts(t, t.fft.ihfft(x)),
    ),
    case(
        "fftn",
        lambda x: parts(xp.fft.fftn(xp.astype(x, "complex128"), axes=(0, 1))),
        (X,),
        lambda x: np_parts(np.fft.fftn(x)),
        lambda t, f, x: t_parts(t, t.fft.fftn(x)),
    ),
    case(
        "fftn resized",
        lambda x: parts(xp.fft.fftn(xp.astype(x, "complex128"), s=(4, 3), axes=(1, 0))),
        (X,),
        lambda x: np_parts(np.fft.fftn(x, s=(4, 3), axes=(1, 0))),
        lambda t, f, x: t_parts(t, t.fft.fftn(x, s=(4, 3), dim=(1, 0))),
    ),
    case(
        "rfftn",
        lambda x: parts(xp.fft.rfftn(x)),
        ((3, 4),),
        lambda x: np_parts(np.fft.rfftn(x)),
        lambda t, f, x: t_parts(t, t.fft.rfftn(x)),
    ),
    case(
        "irfftn",
        lambda a, b: xp.fft.irfftn(a + 1j * b),
        ((3, 4), (3, 4)),
        lambda a, b: np.fft.irfftn(a + 1j * b),
        lambda t, f, a, b: t.fft.irfftn(t.complex(a, b)),
    ),
    case(
        "fftshift",
        lambda x: xp.fft.fftshift(x, axes=1),
        (X,),
        lambda x: np.fft.fftshift(x, 1),
        lambda t, f, x: t.fft.fftshift(x, 1),
    ),
    case("ifftshift", xp.fft.ifftshift, (X,), np.fft.ifftshift, lambda t, f, x: t.fft.ifftshift(x)),
    case(
        "complex sign",
        lambda a, b: parts(xp.sign(a + 1j * b)),
        (X, X),
        lambda a, b: np_parts((a + 1j * b) / np.abs(a + 1j * b)),
        lambda t, f, a, b: t_parts(t, t.sgn(t.complex(a, b))),
    ),
    case(
        "complex product",
        lambda a, b: xp.abs((a + 1j * b) * xp.exp(1j * a) / (2.0 + 1j * b)),
        (X, X),
        lambda a, b: np.abs((a + 1j * b) * np.exp(1j * a) / (2 + 1j * b)),
        lambda t, f, a, b: (t.complex(a, b) * t.exp(1j * a) / (2 + 1j * b)).abs(),
    ),
]

FUNCTIONS = [*ELEMENTWISE, *STATISTICAL, *MANIPULATION, *NETWORKS, *LINALG, *FACTORIZATIONS, *FFT]
