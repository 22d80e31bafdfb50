"""Functions of SciPy and scikit-learn that accept arrays of the standard, on Tensors: values and gradients.

`SCIPY_ARRAY_API=1 python -m tests.array_api.outsiders` prints the table of docs/pages/derivatives.md.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import xpnet

RNG = np.random.default_rng(0)
X, Y = RNG.random((6, 4)) + 0.2, RNG.random((6, 4)) + 0.2
# module: name -> (arrays, keyword arguments)
CALLS: dict[str, dict[str, tuple[tuple[np.ndarray, ...], dict[str, Any]]]] = {
    "scipy.special": {
        **{n: ((X,), {"axis": 1}) for n in ("logsumexp", "softmax", "log_softmax")},
        **{n: ((X,), {}) for n in ("entr", "expit", "erf", "ndtr", "gammaln", "log_ndtr")},
        "logit": ((X / 3,), {}),
        **{n: ((X, Y), {}) for n in ("rel_entr", "xlogy", "xlog1py")},
    },
    "scipy.stats": {
        **{
            n: ((X,), {"axis": 0})
            for n in (
                "gmean", "hmean", "zscore", "gzscore", "skew", "kurtosis", "variation", "sem",
                "tmean", "tvar", "tstd", "circmean", "circvar", "circstd", "iqr", "jarque_bera",
            )
        },
        "entropy": ((X,), {"axis": 0}),
        "moment": ((X,), {"order": 3}),
        "pmean": ((X,), {"p": 2, "axis": 0}),
        "ttest_1samp": ((X,), {"popmean": 0.5}),
        **{n: ((X, Y), {"axis": 0}) for n in ("ttest_ind", "pearsonr", "bartlett", "f_oneway")},
        "chisquare": ((X,), {}),
    },
    "scipy.cluster.vq": {"whiten": ((X,), {}), "vq": ((X, Y[:2]), {})},
    "scipy.cluster.hierarchy": {"linkage": ((X,), {})},
    "scipy.fft": {"dct": ((X,), {}), "idct": ((X,), {})},
    "scipy.integrate": {n: ((X,), {"axis": 0}) for n in ("trapezoid", "cumulative_trapezoid", "simpson")},
    "scipy.signal": {"fftconvolve": ((X, Y), {}), "detrend": ((X,), {"axis": 0})},
    "sklearn.metrics": {n: ((X[:, 0], Y[:, 0]), {}) for n in ("mean_squared_error", "r2_score")},
    "sklearn.metrics.pairwise": {
        n: ((X, Y), {})
        for n in (
            "cosine_similarity", "cosine_distances", "euclidean_distances", "manhattan_distances",
            "linear_kernel", "polynomial_kernel", "rbf_kernel", "sigmoid_kernel", "laplacian_kernel",
            "chi2_kernel", "additive_chi2_kernel", "paired_euclidean_distances", "paired_cosine_distances",
        )
    },
    "sklearn.preprocessing": {
        "normalize": ((X,), {}),
        **{n: ((X,), {}) for n in ("MinMaxScaler", "MaxAbsScaler", "Normalizer", "PolynomialFeatures")},
        "StandardScaler": ((X,), {}),
    },
}  # fmt: skip


def function_of(module: str, name: str, options: dict[str, Any]) -> Callable[..., Any]:
    """A call that gives one array."""
    found = getattr(importlib.import_module(module), name)

    def call(*arrays: Any) -> Any:
        if isinstance(found, type):
            return found().fit_transform(*arrays)
        result = found(*arrays, **options)
        result = getattr(result, "statistic", result)
        return result[-1] if isinstance(result, tuple) else result

    return call


def judge(call: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> str:
    """What the function gives of Tensors: "values and gradients", or what is lacking."""
    expected = np.asarray(call(*arrays))
    tensors = [xpnet.tensor(a, requires_grad="complex" not in str(a.dtype)) for a in arrays]
    try:
        y = call(*tensors)
    except Exception as error:
        return f"fails: {type(error).__name__}"
    if not isinstance(y, xpnet.Tensor):
        return f"gives a {type(y).__name__}"
    if not np.allclose(xpnet.to_numpy(y), expected, rtol=1e-9):
        return "wrong values"
    if not y.requires_grad:
        return "values"
    weights = np.cos(1.0 + np.arange(expected.size)).reshape(expected.shape)
    y.backward(xpnet.asarray(weights))
    step = 1e-6
    for k, (a, t) in enumerate(zip(arrays, tensors, strict=True)):
        v = np.sin(1.0 + np.arange(a.size)).reshape(a.shape)
        ends = [
            np.sum(weights * np.asarray(call(*arrays[:k], a + s * step * v, *arrays[k + 1 :])))
            for s in (1, -1)
        ]
        numeric = (ends[0] - ends[1]) / (2 * step)
        found = 0.0 if t.grad is None else np.sum(xpnet.to_numpy(t.grad) * v)
        if not np.isclose(found, numeric, rtol=1e-5, atol=1e-6):
            return "values; not all of the gradient"
    return "values and gradients"


def verdicts() -> Iterator[tuple[str, str, str]]:
    """(module, function, verdict) of every call."""
    import sklearn

    with sklearn.config_context(array_api_dispatch=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, rows in CALLS.items():
            for name, (arrays, options) in rows.items():
                yield module, name, judge(function_of(module, name, options), arrays)


def table() -> str:
    """One row for each module and verdict."""
    rows: dict[tuple[str, str], list[str]] = {}
    for module, name, verdict in verdicts():
        rows.setdefault((module, verdict), []).append(f"`{name}`")
    lines = ["| module | on Tensors | functions |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{m}` | {v} | {', '.join(names)} |" for (m, v), names in rows.items())])


if __name__ == "__main__":
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        raise SystemExit("SCIPY_ARRAY_API=1 must be set before SciPy is imported")
    print(table())
