"""The words of the docstrings: what arguments are, what comes back, what is refused, and an example of each.

`document` puts them together with what a function gives and with its derivative, which stand at the function.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

ARGUMENTS = {
    "x": "an array or a Tensor, of any shape.",
    "x1": "an array or a Tensor.",
    "x2": "another, or a number; both are broadcast to one shape.",
    "arrays": "arrays or Tensors.",
    "axis": "along which axis.",
    "axes": "which axes, a tuple.",
    "keepdims": "whether the axes that are reduced stay, of length 1.",
    "dtype": "of the result, a dtype or its name.",
    "device": "where to; default: that of the backend, or of x.",
    "copy": "True: in memory of its own; False: refused if that takes a copy; None: copied if need be.",
    "shape": "a tuple of integers, or one.",
    "correction": "what is taken from the number of elements: 1 for the estimate from a sample.",
    "include_initial": "whether the result begins with 0 (of a product 1) and has one element more.",
    "min": "the lower bound, a number or an array that is broadcast to x; None: none.",
    "max": "the upper bound, likewise; it wins over the lower one.",
    "k": "which diagonal: 0 the main one, above it 1, 2, ..., below it -1, -2, ...",
    "offset": "which diagonal: 0 the main one, above it 1, 2, ..., below it -1, -2, ...",
    "n": "how many elements are transformed: x is cut, or filled up with zeros; default: all.",
    "norm": 'which of the pair is divided by n: "backward", "forward", or "ortho", both by sqrt(n).',
    "s": "how many elements of each axis are transformed; default: all.",
    "descending": "whether the largest comes first.",
    "stable": "whether equal elements keep their order.",
    "indices": "integers, an array or a Tensor; negative ones count from the end.",
    "start": "where it begins; if it is the only one, where it ends, and it begins at 0.",
    "stop": "where it ends.",
    "step": "from one to the next.",
    "fill_value": "a number; of a Tensor the gradient is the sum.",
    "type": "a dtype, or an array.",
    "rtol": "singular values below this part of the largest count as 0; default: max(M, N) eps.",
    "tensors": "arrays or Tensors.",
    "dim": "along which axis.",
}
"""By name; what a chapter or a function says otherwise is in `OTHERWISE`."""

_MATRIX = "(..., M, N), floating-point or complex."
_SQUARE = "(..., M, M), floating-point or complex."
_NEW = {
    "dtype": "of the result, a dtype or its name; default: float32 of Python's floats, int64 of its integers."
}
OTHERWISE: dict[str, dict[str, str]] = {
    "statistical": {
        "axis": "an axis, or a tuple of axes; None: all elements.",
        "dtype": "of the result, to which x is converted first; default: that of x, of small integers int64.",
    },
    "cumulative_sum": {"axis": "along which axis; None: of a vector its only one."},
    "cumulative_prod": {"axis": "along which axis; None: of a vector its only one."},
    "creation": _NEW,
    "searching": {"axis": "along which axis; None: in the flattened array."},
    "utility": {"axis": "an axis, or a tuple of axes; None: all elements."},
    "where": {
        "condition": "truths.",
        "x1": "an array, a Tensor or a number; all three are broadcast to one shape.",
        "x2": "likewise.",
    },
    "searchsorted": {
        "x1": "(n,), sorted.",
        "x2": "what is looked for, of any shape.",
        "side": '"left" or "right" of equal elements.',
        "sorter": "(n,) integers that would sort x1.",
    },
    "take": {"axis": "along which axis; None: of a vector its only one."},
    "take_along_axis": {"indices": "integers of as many axes as x; but for `axis` they are broadcast."},
    "diff": {
        "n": "how many times over.",
        "prepend": "what is put before x first.",
        "append": "what is put after x first.",
    },
    "flip": {"axis": "an axis, or a tuple of axes; None: all."},
    "roll": {
        "shift": "by how many places, one number or one for each axis.",
        "axis": "along which axes; None: flattened.",
    },
    "repeat": {
        "repeats": "how many times, a number or one for each element.",
        "axis": "along which axis; None: flattened.",
    },
    "tile": {"repetitions": "how many times along each axis, a number or a tuple."},
    "expand_dims": {"axis": "where the new axis is in the result, or a tuple of them."},
    "squeeze": {"axis": "which axis of length 1, or a tuple of them."},
    "stack": {"arrays": "arrays or Tensors of one shape.", "axis": "where the new axis is."},
    "concat": {
        "arrays": "arrays or Tensors of one shape, but for `axis`.",
        "axis": "which axis; None: flattened first.",
    },
    "moveaxis": {"source": "an axis, or a tuple of them.", "destination": "where each goes."},
    "permute_dims": {"axes": "the number of each axis of x in the new order."},
    "reshape": {"shape": "the new shape; one entry may be -1."},
    "asarray": {"obj": "an array of any backend, a Tensor, nested numbers, or nested Tensors."},
    "eye": {"n_rows": "M.", "n_cols": "N; default: M."},
    "linspace": {
        "start": "the first number, or a Tensor of one.",
        "stop": "the last one.",
        "num": "how many.",
        "endpoint": "whether `stop` is among them.",
    },
    "meshgrid": {"arrays": "vectors (n_i,).", "indexing": '"xy": the first two axes exchanged; or "ij".'},
    "from_dlpack": {"x": "an array of another library."},
    "tril": {"x": "(..., M, N)."},
    "triu": {"x": "(..., M, N)."},
    "astype": {"copy": "False: x itself if it has that dtype.", "dtype": "a dtype or its name."},
    "can_cast": {"from_": "a dtype, or an array.", "to": "a dtype."},
    "isdtype": {
        "dtype": "a dtype.",
        "kind": 'a dtype, "bool", "integral", "real floating", ..., or a tuple of them.',
    },
    "result_type": {"arrays_and_dtypes": "arrays, Tensors and dtypes."},
    "matmul": {"x1": "(..., M, K), or (K,).", "x2": "(..., K, N), or (K,)."},
    "matrix_transpose": {"x": "(..., M, N)."},
    "tensordot": {"axes": "a number n, the last n of x1 and the first n of x2, or a pair of tuples."},
    "vecdot": {"axis": "along which axis, of both."},
    "cholesky": {"x": "(..., M, M), positive definite.", "upper": "whether U of X = U^H U is wanted."},
    "cross": {"axis": "the axis of length 3, of both."},
    "det": {"x": _SQUARE},
    "diagonal": {"x": "(..., M, N)."},
    "eigh": {"x": "(..., M, M), symmetric; the lower half is read."},
    "eigvalsh": {"x": "(..., M, M), symmetric; the lower half is read."},
    "inv": {"x": _SQUARE},
    "matrix_norm": {"x": _MATRIX, "ord": '"fro", "nuc", 1, 2, inf, or -1, -2, -inf.'},
    "matrix_power": {"x": _SQUARE, "n": "how many times; below 0 the inverse."},
    "matrix_rank": {"x": _MATRIX},
    "outer": {"x1": "(M,).", "x2": "(N,)."},
    "pinv": {"x": _MATRIX},
    "qr": {"x": _MATRIX, "mode": '"reduced", or "complete", which has no derivative.'},
    "slogdet": {"x": _SQUARE},
    "solve": {"x1": "(..., M, M).", "x2": "(..., M, K), or (M,)."},
    "svd": {
        "x": _MATRIX,
        "full_matrices": "whether U is (..., M, M) and Vh (..., N, N), which has no derivative.",
    },
    "svdvals": {"x": _MATRIX},
    "trace": {"x": "(..., M, N)."},
    "vector_norm": {
        "axis": "an axis, or a tuple of axes; None: all elements.",
        "ord": "any number, inf or -inf.",
    },
    "Fourier transforms": {
        "axes": "along which axes, a tuple; default: all, or the last of as many as `s` has."
    },
    "fftfreq": {"n": "the length of the transform.", "d": "the distance of two samples."},
    "rfftfreq": {"n": "the length of the transform.", "d": "the distance of two samples."},
}
RETURNS = {
    "elementwise": "of the shape of x, or that both are broadcast to",
    "statistical": "x without the axes that are reduced",
    "cumulative_sum": "of the shape of x, with `include_initial` one longer",
    "cumulative_prod": "of the shape of x, with `include_initial` one longer",
    "argsort": "integers of the shape of x",
    "sort": "of the shape of x",
    "matmul": "(..., M, N); without the axis of a vector",
    "vecdot": "the shape that both are broadcast to, without `axis`",
    "cholesky": "(..., M, M)",
    "det": "(...)",
    "diagonal": "(..., min(M, N)), shorter off the main diagonal",
    "eigh": "(eigenvalues (..., M), smallest first, eigenvectors (..., M, M), as columns)",
    "eigvalsh": "(..., M), smallest first",
    "inv": "(..., M, M)",
    "matrix_norm": "(...)",
    "matrix_power": "(..., M, M)",
    "matrix_rank": "integers (...)",
    "outer": "(M, N)",
    "pinv": "(..., N, M)",
    "qr": "(Q (..., M, K), R (..., K, N)), K = min(M, N)",
    "slogdet": "(sign (...), logabsdet (...))",
    "solve": "of the shape of x2",
    "svd": "(U (..., M, K), S (..., K), largest first, Vh (..., K, N)), K = min(M, N)",
    "svdvals": "(..., min(M, N))",
    "trace": "(...)",
    "take_along_axis": "of the shape of `indices`",
}
RAISES: dict[str, tuple[str, ...]] = {
    "arange": ("TypeError: one of them requires a gradient, which the length would depend on.",),
    "asarray": ("TypeError: something is no number.", "ValueError: copy=False, and it takes a copy."),
    "can_cast": ("TypeError: something is no dtype.",),
    "cumulative_prod": ("ValueError: several axes, and none is named.",),
    "cumulative_sum": ("ValueError: several axes, and none is named.",),
    "expand_dims": ("IndexError: the result has no such axis.",),
    "isdtype": ("ValueError: a kind that the standard does not have.",),
    "linspace": ("ValueError: num is negative.",),
    "qr": ("ValueError: a derivative is wanted, and mode is not \"reduced\".",),
    "svd": ("ValueError: a derivative is wanted, and full_matrices is True of a matrix that is not square.",),
    **{f"unique_{name}": ("TypeError: a derivative is wanted: the shape depends on the values.",)
       for name in ("all", "counts", "inverse", "values")},
}  # fmt: skip
_SEVERAL = (
    "DeviceError: they are of two backends or devices.",
    "ValueError: shapes that do not fit (of PyTorch RuntimeError).",
)
_ONE = ("TypeError: x is no array.",)
_MADE = ("ValueError: a negative length, or what the backend refuses.",)

EXAMPLES = {
    "abs": ("xp.abs(tensor([-2.0, 3.0]))", "tensor([2. 3.])"),
    "acos": ("xp.acos(tensor([1.0]))", "tensor([0.])"),
    "acosh": ("xp.acosh(tensor([1.0]))", "tensor([0.])"),
    "add": ("xp.add(tensor([1.0, 2.0]), 3.0)", "tensor([4. 5.])"),
    "asin": ("xp.asin(tensor([0.0]))", "tensor([0.])"),
    "asinh": ("xp.asinh(tensor([0.0]))", "tensor([0.])"),
    "atan": ("xp.atan(tensor([0.0]))", "tensor([0.])"),
    "atan2": ("xp.atan2(tensor([0.0]), tensor([2.0]))", "tensor([0.])"),
    "atanh": ("xp.atanh(tensor([0.0]))", "tensor([0.])"),
    "bitwise_and": ("xp.bitwise_and(tensor([6, 5]), 3)", "tensor([2 1])"),
    "bitwise_invert": ("xp.bitwise_invert(tensor([0, 1]))", "tensor([-1 -2])"),
    "bitwise_left_shift": ("xp.bitwise_left_shift(tensor([1, 2]), 2)", "tensor([4 8])"),
    "bitwise_or": ("xp.bitwise_or(tensor([4, 5]), 2)", "tensor([6 7])"),
    "bitwise_right_shift": ("xp.bitwise_right_shift(tensor([4, 9]), 1)", "tensor([2 4])"),
    "bitwise_xor": ("xp.bitwise_xor(tensor([6, 5]), 3)", "tensor([5 6])"),
    "ceil": ("xp.ceil(tensor([1.2, -1.2]))", "tensor([ 2. -1.])"),
    "clip": ("xp.clip(tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)", "tensor([-1.   0.5  1. ])"),
    "conj": ("xp.conj(xp.asarray([1 + 2j]))", "tensor([1.-2.j])"),
    "copysign": ("xp.copysign(tensor([1.0, 2.0]), tensor([-3.0, 3.0]))", "tensor([-1.  2.])"),
    "cos": ("xp.cos(tensor([0.0]))", "tensor([1.])"),
    "cosh": ("xp.cosh(tensor([0.0]))", "tensor([1.])"),
    "divide": ("xp.divide(tensor([3.0]), 2.0)", "tensor([1.5])"),
    "equal": ("xp.equal(tensor([1, 2]), tensor([1, 3]))", "tensor([ True False])"),
    "exp": ("xp.exp(tensor([0.0]))", "tensor([1.])"),
    "expm1": ("xp.expm1(tensor([0.0]))", "tensor([0.])"),
    "floor": ("xp.floor(tensor([1.2, -1.2]))", "tensor([ 1. -2.])"),
    "floor_divide": ("xp.floor_divide(tensor([7.0, -7.0]), 2.0)", "tensor([ 3. -4.])"),
    "greater": ("xp.greater(tensor([1, 2]), 1)", "tensor([False  True])"),
    "greater_equal": ("xp.greater_equal(tensor([1, 2]), 2)", "tensor([False  True])"),
    "hypot": ("xp.hypot(tensor([3.0]), tensor([4.0]))", "tensor([5.])"),
    "imag": ("xp.imag(xp.asarray([1 + 2j]))", "tensor([2.])"),
    "isfinite": ("xp.isfinite(tensor([1.0, xp.inf, xp.nan]))", "tensor([ True False False])"),
    "isinf": ("xp.isinf(tensor([1.0, xp.inf, xp.nan]))", "tensor([False  True False])"),
    "isnan": ("xp.isnan(tensor([1.0, xp.inf, xp.nan]))", "tensor([False False  True])"),
    "less": ("xp.less(tensor([1, 2]), 2)", "tensor([ True False])"),
    "less_equal": ("xp.less_equal(tensor([1, 2]), 1)", "tensor([ True False])"),
    "log": ("xp.log(tensor([1.0]))", "tensor([0.])"),
    "log10": ("xp.log10(tensor([1.0]))", "tensor([0.])"),
    "log1p": ("xp.log1p(tensor([0.0]))", "tensor([0.])"),
    "log2": ("xp.log2(tensor([8.0]))", "tensor([3.])"),
    "logaddexp": ("xp.logaddexp(tensor([1000.0]), tensor([0.0]))", "tensor([1000.])"),
    "logical_and": ("xp.logical_and(tensor([True, True]), tensor([True, False]))", "tensor([ True False])"),
    "logical_not": ("xp.logical_not(tensor([True, False]))", "tensor([False  True])"),
    "logical_or": ("xp.logical_or(tensor([True, False]), tensor([False, False]))", "tensor([ True False])"),
    "logical_xor": ("xp.logical_xor(tensor([True, True]), tensor([True, False]))", "tensor([False  True])"),
    "maximum": ("xp.maximum(tensor([1.0, 5.0]), tensor([3.0, 4.0]))", "tensor([3. 5.])"),
    "minimum": ("xp.minimum(tensor([1.0, 5.0]), tensor([3.0, 4.0]))", "tensor([1. 4.])"),
    "multiply": ("xp.multiply(tensor([1.0, 2.0]), 3.0)", "tensor([3. 6.])"),
    "negative": ("xp.negative(tensor([1.0, -2.0]))", "tensor([-1.  2.])"),
    "nextafter": ("xp.nextafter(tensor([0.0]), tensor([1.0])) > 0", "tensor([ True])"),
    "not_equal": ("xp.not_equal(tensor([1, 2]), tensor([1, 3]))", "tensor([False  True])"),
    "positive": ("xp.positive(tensor([1.0, -2.0]))", "tensor([ 1. -2.])"),
    "pow": ("xp.pow(tensor([2.0, 3.0]), 2.0)", "tensor([4. 9.])"),
    "real": ("xp.real(xp.asarray([1 + 2j]))", "tensor([1.])"),
    "reciprocal": ("xp.reciprocal(tensor([2.0, 4.0]))", "tensor([0.5  0.25])"),
    "remainder": ("xp.remainder(tensor([5.0, -5.0]), 3.0)", "tensor([2. 1.])"),
    "round": ("xp.round(tensor([0.5, 1.5, 2.6]))", "tensor([0. 2. 3.])"),
    "sign": ("xp.sign(tensor([-2.0, 0.0, 3.0]))", "tensor([-1.  0.  1.])"),
    "signbit": ("xp.signbit(tensor([-1.0, 1.0]))", "tensor([ True False])"),
    "sin": ("xp.sin(tensor([0.0]))", "tensor([0.])"),
    "sinh": ("xp.sinh(tensor([0.0]))", "tensor([0.])"),
    "sqrt": ("xp.sqrt(tensor([4.0, 9.0]))", "tensor([2. 3.])"),
    "square": ("xp.square(tensor([2.0, -3.0]))", "tensor([4. 9.])"),
    "subtract": ("xp.subtract(tensor([1.0, 2.0]), 3.0)", "tensor([-2. -1.])"),
    "tan": ("xp.tan(tensor([0.0]))", "tensor([0.])"),
    "tanh": ("xp.tanh(tensor([0.0]))", "tensor([0.])"),
    "trunc": ("xp.trunc(tensor([1.7, -1.7]))", "tensor([ 1. -1.])"),
    "erf": ("xp.erf(tensor([0.0]))", "tensor([0.])"),
    "arange": ("xp.arange(1, 7, 2)", "tensor([1 3 5])"),
    "asarray": ("xp.asarray([1.0, 2.0])", "tensor([1. 2.])"),
    "empty": ("xp.empty((2, 3)).shape", "(2, 3)"),
    "empty_like": ("xp.empty_like(tensor([1.0, 2.0])).shape", "(2,)"),
    "eye": ("xp.eye(2)", "tensor([[1. 0.]\n [0. 1.]])"),
    "from_dlpack": ("xp.from_dlpack(xpnet.asarray([1.0, 2.0]))", "tensor([1. 2.])"),
    "full": ("xp.full((2,), 5.0)", "tensor([5. 5.])"),
    "full_like": ("xp.full_like(tensor([1.0, 2.0]), 5.0)", "tensor([5. 5.])"),
    "linspace": ("xp.linspace(0.0, 1.0, 5)", "tensor([0.   0.25 0.5  0.75 1.  ])"),
    "meshgrid": ("xp.meshgrid(tensor([1.0, 2.0]), tensor([3.0]))", "[tensor([[1. 2.]]), tensor([[3. 3.]])]"),
    "ones": ("xp.ones((2,))", "tensor([1. 1.])"),
    "ones_like": ("xp.ones_like(tensor([1, 2]))", "tensor([1 1])"),
    "tril": ("xp.tril(xp.ones((2, 2)))", "tensor([[1. 0.]\n [1. 1.]])"),
    "triu": ("xp.triu(xp.ones((2, 2)))", "tensor([[1. 1.]\n [0. 1.]])"),
    "zeros": ("xp.zeros((2,))", "tensor([0. 0.])"),
    "zeros_like": ("xp.zeros_like(tensor([1, 2]))", "tensor([0 0])"),
    "astype": ("xp.astype(tensor([1.7, -1.7]), xp.int64)", "tensor([ 1 -1])"),
    "can_cast": ("xp.can_cast(xp.float32, xp.float64)", "True"),
    "finfo": ("xp.finfo(xp.float32).bits", "32"),
    "iinfo": ("int(xp.iinfo(xp.int8).max)", "127"),
    "isdtype": ('xp.isdtype(xp.float32, "real floating")', "True"),
    "result_type": ("xp.result_type(xp.float32, xp.float64)", "dtype('float64')"),
    "sum": ("xp.sum(tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)", "tensor([4. 6.])"),
    "mean": ("xp.mean(tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1)", "tensor([1.5 3.5])"),
    "max": ("xp.max(tensor([1.0, 3.0, 2.0]))", "tensor(3.0)"),
    "min": ("xp.min(tensor([1.0, 3.0, 2.0]))", "tensor(1.0)"),
    "prod": ("xp.prod(tensor([2.0, 3.0]))", "tensor(6.0)"),
    "var": ("xp.var(tensor([1.0, 3.0]), correction=1)", "tensor(2.0)"),
    "std": ("xp.std(tensor([1.0, 3.0]))", "tensor(1.0)"),
    "cumulative_sum": ("xp.cumulative_sum(tensor([1.0, 2.0, 3.0]))", "tensor([1. 3. 6.])"),
    "cumulative_prod": (
        "xp.cumulative_prod(tensor([1.0, 2.0, 3.0]), include_initial=True)",
        "tensor([1. 1. 2. 6.])",
    ),
    "broadcast_arrays": (
        "xp.broadcast_arrays(tensor([1.0, 2.0]), tensor([[3.0]]))",
        "[tensor([[1. 2.]]), tensor([[3. 3.]])]",
    ),
    "broadcast_to": ("xp.broadcast_to(tensor([1.0, 2.0]), (2, 2))", "tensor([[1. 2.]\n [1. 2.]])"),
    "concat": ("xp.concat([tensor([1.0]), tensor([2.0, 3.0])])", "tensor([1. 2. 3.])"),
    "expand_dims": ("xp.expand_dims(tensor([1.0, 2.0]), axis=1).shape", "(2, 1)"),
    "flip": ("xp.flip(tensor([1.0, 2.0]))", "tensor([2. 1.])"),
    "moveaxis": ("xp.moveaxis(xp.zeros((2, 3, 4)), 0, -1).shape", "(3, 4, 2)"),
    "permute_dims": ("xp.permute_dims(xp.zeros((2, 3, 4)), (2, 0, 1)).shape", "(4, 2, 3)"),
    "repeat": ("xp.repeat(tensor([1.0, 2.0]), 2)", "tensor([1. 1. 2. 2.])"),
    "reshape": ("xp.reshape(tensor([1.0, 2.0, 3.0, 4.0]), (2, -1))", "tensor([[1. 2.]\n [3. 4.]])"),
    "roll": ("xp.roll(tensor([1.0, 2.0, 3.0]), 1)", "tensor([3. 1. 2.])"),
    "squeeze": ("xp.squeeze(xp.zeros((1, 3)), axis=0).shape", "(3,)"),
    "stack": ("xp.stack([tensor([1.0, 2.0]), tensor([3.0, 4.0])])", "tensor([[1. 2.]\n [3. 4.]])"),
    "tile": ("xp.tile(tensor([1.0, 2.0]), 2)", "tensor([1. 2. 1. 2.])"),
    "unstack": ("xp.unstack(tensor([[1.0, 2.0], [3.0, 4.0]]))", "(tensor([1. 2.]), tensor([3. 4.]))"),
    "argmax": ("xp.argmax(tensor([1.0, 3.0, 2.0]))", "tensor(1)"),
    "argmin": ("xp.argmin(tensor([1.0, 3.0, 2.0]))", "tensor(0)"),
    "argsort": ("xp.argsort(tensor([1.0, 3.0, 2.0]))", "tensor([0 2 1])"),
    "all": ("xp.all(tensor([True, False]))", "tensor(False)"),
    "any": ("xp.any(tensor([True, False]))", "tensor(True)"),
    "count_nonzero": ("xp.count_nonzero(tensor([0.0, 2.0, 3.0]))", "tensor(2)"),
    "diff": ("xp.diff(tensor([1.0, 4.0, 9.0]))", "tensor([3. 5.])"),
    "nonzero": ("xp.nonzero(tensor([0.0, 2.0, 3.0]))", "(tensor([1 2]),)"),
    "searchsorted": ("xp.searchsorted(tensor([1.0, 2.0, 3.0]), tensor([2.5]))", "tensor([2])"),
    "sort": ("xp.sort(tensor([3.0, 1.0, 2.0]))", "tensor([1. 2. 3.])"),
    "take": ("xp.take(tensor([1.0, 2.0, 3.0]), tensor([2, 0]))", "tensor([3. 1.])"),
    "take_along_axis": (
        "xp.take_along_axis(tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[1], [0]]))",
        "tensor([[2.]\n [3.]])",
    ),
    "where": ("xp.where(tensor([True, False]), tensor([1.0, 2.0]), 0.0)", "tensor([1. 0.])"),
    "unique_all": ("xp.unique_all(tensor([2, 1, 2])).indices", "tensor([1 0])"),
    "unique_counts": ("xp.unique_counts(tensor([2, 1, 2])).counts", "tensor([1 2])"),
    "unique_inverse": ("xp.unique_inverse(tensor([2, 1, 2])).inverse_indices", "tensor([1 0 1])"),
    "unique_values": ("xp.unique_values(tensor([2, 1, 2]))", "tensor([1 2])"),
    "matmul": ("xp.matmul(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]))", "tensor([[11.]])"),
    "matrix_transpose": ("xp.matrix_transpose(tensor([[1.0, 2.0]]))", "tensor([[1.]\n [2.]])"),
    "tensordot": ("xp.tensordot(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]), axes=1)", "tensor([[11.]])"),
    "vecdot": ("xp.vecdot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))", "tensor(11.0)"),
    "linalg.cholesky": (
        "xp.linalg.cholesky(tensor([[4.0, 0.0], [0.0, 9.0]]))",
        "tensor([[2. 0.]\n [0. 3.]])",
    ),
    "linalg.cross": (
        "xp.linalg.cross(tensor([1.0, 0.0, 0.0]), tensor([0.0, 1.0, 0.0]))",
        "tensor([0. 0. 1.])",
    ),
    "linalg.det": ("xp.linalg.det(tensor([[2.0, 0.0], [0.0, 3.0]]))", "tensor(6.0)"),
    "linalg.diagonal": ("xp.linalg.diagonal(tensor([[1.0, 2.0], [3.0, 4.0]]))", "tensor([1. 4.])"),
    "linalg.eigh": ("xp.linalg.eigh(tensor([[2.0, 0.0], [0.0, 3.0]])).eigenvalues", "tensor([2. 3.])"),
    "linalg.eigvalsh": ("xp.linalg.eigvalsh(tensor([[2.0, 0.0], [0.0, 3.0]]))", "tensor([2. 3.])"),
    "linalg.inv": ("xp.linalg.inv(tensor([[2.0, 0.0], [0.0, 4.0]]))", "tensor([[0.5  0.  ]\n [0.   0.25]])"),
    "linalg.matrix_norm": ("xp.linalg.matrix_norm(tensor([[3.0, 0.0], [0.0, 4.0]]))", "tensor(5.0)"),
    "linalg.matrix_power": (
        "xp.linalg.matrix_power(tensor([[1.0, 1.0], [0.0, 1.0]]), 3)",
        "tensor([[1. 3.]\n [0. 1.]])",
    ),
    "linalg.matrix_rank": ("xp.linalg.matrix_rank(tensor([[1.0, 2.0], [2.0, 4.0]]))", "tensor(1)"),
    "linalg.outer": (
        "xp.linalg.outer(tensor([1.0, 2.0]), tensor([3.0, 4.0]))",
        "tensor([[3. 4.]\n [6. 8.]])",
    ),
    "linalg.pinv": (
        "xp.linalg.pinv(tensor([[2.0, 0.0], [0.0, 4.0]]))",
        "tensor([[0.5  0.  ]\n [0.   0.25]])",
    ),
    "linalg.qr": ("xp.linalg.qr(tensor([[2.0, 0.0], [0.0, 3.0]])).R.shape", "(2, 2)"),
    "linalg.slogdet": (
        "xp.linalg.slogdet(tensor([[-1.0, 0.0], [0.0, 1.0]]))",
        "SlogdetResult(sign=tensor(-1.0), logabsdet=tensor(0.0))",
    ),
    "linalg.solve": (
        "xp.linalg.solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([2.0, 8.0]))",
        "tensor([1. 2.])",
    ),
    "linalg.svd": ("xp.linalg.svd(tensor([[3.0, 0.0], [0.0, 2.0]])).S", "tensor([3. 2.])"),
    "linalg.svdvals": ("xp.linalg.svdvals(tensor([[3.0, 0.0], [0.0, 2.0]]))", "tensor([3. 2.])"),
    "linalg.trace": ("xp.linalg.trace(tensor([[1.0, 2.0], [3.0, 4.0]]))", "tensor(5.0)"),
    "linalg.vector_norm": ("xp.linalg.vector_norm(tensor([3.0, 4.0]))", "tensor(5.0)"),
    "fft.fft": ("xp.fft.fft(tensor([1.0, 0.0, 0.0]))", "tensor([1.+0.j 1.+0.j 1.+0.j])"),
    "fft.ifft": ("xp.fft.ifft(xp.asarray([2.0 + 0j, 0j]))", "tensor([1.+0.j 1.+0.j])"),
    "fft.rfft": ("xp.fft.rfft(tensor([1.0, 1.0]))", "tensor([2.+0.j 0.+0.j])"),
    "fft.irfft": ("xp.fft.irfft(xp.asarray([2.0 + 0j, 0j]))", "tensor([1. 1.])"),
    "fft.hfft": ("xp.fft.hfft(xp.asarray([2.0 + 0j, 0j]))", "tensor([2. 2.])"),
    "fft.ihfft": ("xp.fft.ihfft(tensor([2.0, 2.0]))", "tensor([2.-0.j 0.-0.j])"),
    "fft.fftn": (
        "xp.fft.fftn(tensor([[1.0, 0.0], [0.0, 0.0]]))",
        "tensor([[1.+0.j 1.+0.j]\n [1.+0.j 1.+0.j]])",
    ),
    "fft.ifftn": (
        "xp.fft.ifftn(xp.asarray([[4.0 + 0j, 0j], [0j, 0j]]))",
        "tensor([[1.+0.j 1.+0.j]\n [1.+0.j 1.+0.j]])",
    ),
    "fft.rfftn": (
        "xp.fft.rfftn(tensor([[1.0, 0.0], [0.0, 0.0]]))",
        "tensor([[1.+0.j 1.+0.j]\n [1.+0.j 1.+0.j]])",
    ),
    "fft.irfftn": ("xp.fft.irfftn(xp.asarray([[4.0 + 0j, 0j], [0j, 0j]]))", "tensor([[1. 1.]\n [1. 1.]])"),
    "fft.fftshift": ("xp.fft.fftshift(tensor([0.0, 1.0, -1.0]))", "tensor([-1.  0.  1.])"),
    "fft.ifftshift": ("xp.fft.ifftshift(tensor([-1.0, 0.0, 1.0]))", "tensor([ 0.  1. -1.])"),
    "fft.fftfreq": ("xp.fft.fftfreq(4)", "tensor([ 0.    0.25 -0.5  -0.25])"),
    "fft.rfftfreq": ("xp.fft.rfftfreq(4)", "tensor([0.   0.25 0.5 ])"),
    "cat": ("xp.cat([tensor([1.0]), tensor([2.0])])", "tensor([1. 2.])"),
    "clamp": ("xp.clamp(tensor([-2.0, 2.0]), min=0.0)", "tensor([0. 2.])"),
}
"""An expression and what it prints; run by `tests/array_api/test_documentation.py`."""


def document(key: str, function: Callable[..., Any]) -> None:
    """Write the docstring of a function: `key` is its name in the namespace, as in "linalg.det"."""
    made: Any = function
    name, chapter = function.__name__, made.chapter
    text, _, derivative = str(function.__doc__).partition("\n\nDerivative: ")
    own = {**ARGUMENTS, **OTHERWISE.get(chapter, {}), **OTHERWISE.get(name, {})}
    parameters = list(signature(function).parameters.values())
    star = lambda p: "*" if p.kind is Parameter.VAR_POSITIONAL else ""
    parts = [text]
    if parameters:
        parts.append("Args:\n" + "\n".join(f"    {star(p)}{p.name}: {own[p.name]}" for p in parameters))
    if chapter != "data types":
        shape = RETURNS.get(name, RETURNS.get(chapter))
        kind = (
            "A Tensor"
            if chapter == "creation"
            else "A Tensor if an argument is one, else an array of the backend"
        )
        parts.append(f"Returns:\n    {kind}{f': {shape}' if shape else ''}.")
    else:
        parts.append("Returns:\n    What is said above.")
    if parameters:
        names = {p.name for p in parameters}
        usual = _SEVERAL if names & {"x1", "arrays", "tensors"} else _ONE if names & {"x", "type"} else _MADE
        parts.append("Raises:\n" + "\n".join(f"    {row}" for row in (*RAISES.get(name, ()), *usual)))
    parts.append(f"Derivative: {derivative.strip()}")
    if key in EXAMPLES:
        code, printed = EXAMPLES[key]
        uses = "xp, tensor = xpnet.array_api, xpnet.tensor" if "tensor(" in code else "xp = xpnet.array_api"
        parts.append(f">>> import xpnet\n>>> {uses}\n>>> {code}\n{printed}")
    function.__doc__ = "\n\n".join(parts)
