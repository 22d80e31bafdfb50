"""The spectrum of the Hessian of a network on the digits: a few large eigenvalues, and very many near 0.

Lanczos' method, by scipy.sparse.linalg.eigsh, needs products with the Hessian only (Sagun et al., 2017).

    python docs/examples/spectrum.py [epochs]
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.functional import cross_entropy


def main(epochs: int = 15) -> np.ndarray:
    """Train, and give the ten largest eigenvalues."""
    xpnet.manual_seed(0)
    train, _, _ = split(load_digits())
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = optim.Adam(model, lr=3e-3)
    for _ in range(epochs):
        for x, y in DataLoader(train, batch_size=32):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    shapes = [(name, p.shape) for name, p in model.named_parameters()]
    n = sum(int(np.prod(shape)) for _, shape in shapes)

    def cut(vector: np.ndarray) -> dict[str, xpnet.Tensor]:
        parts, start = {}, 0
        for name, shape in shapes:
            size = int(np.prod(shape))
            parts[name] = xpnet.Tensor(xpnet.asarray(vector[start : start + size].reshape(shape), "float32"))
            start += size
        return parts

    theta = cut(np.concatenate([xpnet.to_numpy(p).ravel() for p in model.parameters()]))
    x, y = xpnet.asarray(train.x), train.y
    loss = lambda parameters: cross_entropy(xpnet.functional_call(model, parameters, x), y)

    def product(v: np.ndarray) -> np.ndarray:
        found = xpnet.hvp(loss, theta, cut(v.ravel()))
        return np.concatenate([xpnet.to_numpy(h).ravel() for h in found.values()])

    operator = LinearOperator((n, n), matvec=product, dtype=np.float32)
    largest = np.sort(eigsh(operator, k=10, return_eigenvectors=False, tol=1e-3, v0=np.ones(n, "f4")))[::-1]
    trace = np.mean([v @ product(v) for v in np.random.default_rng(0).choice([-1.0, 1.0], (10, n))])
    print(f"{n} parameters; the largest eigenvalues: {np.round(largest, 4)}")
    print(f"the ten of them make {largest.sum() / trace:.0%} of the trace (Hutchinson's estimate)")
    return largest


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
