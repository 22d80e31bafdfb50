"""A physics-informed network for Burgers' equation (Raissi et al., 2019), against the exact solution.

u_t + u u_x = nu u_xx on [-1, 1] x [0, 1], u(x, 0) = -sin(pi x), u(+-1, t) = 0. The residual needs second
derivatives of the network by its inputs, its loss the gradient of those by the weights: third order in all.

    python docs/examples/burgers.py [steps]
"""

from __future__ import annotations

import sys

import numpy as np

import xpnet
from xpnet import nn, optim

NU = 0.1


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Cole and Hopf's solution, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(60)
    y = x[:, None] - 2 * np.sqrt(NU * np.maximum(t, 1e-12))[:, None] * nodes
    f = weights * np.exp(-np.cos(np.pi * y) / (2 * np.pi * NU))
    return -(np.sin(np.pi * y) * f).sum(1) / f.sum(1)


def residual(model, z):
    """u_t + u u_x - nu u_xx at points (x, t), by automatic differentiation."""
    gradient = xpnet.grad(lambda z: model(z).sum())
    first = gradient(z)
    second = xpnet.grad(lambda z: gradient(z)[:, 0].sum())(z)
    return first[:, 1] + model(z)[:, 0] * first[:, 0] - NU * second[:, 0]


def main(steps: int = 2000) -> float:
    """Train, and give the relative L2 error on a grid."""
    xpnet.manual_seed(0)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = optim.Adam(model, lr=5e-3)
    schedule = optim.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        inside = np.stack([rng.uniform(-1, 1, 256), rng.uniform(0, 1, 256)], 1)
        start = np.stack([rng.uniform(-1, 1, 64), np.zeros(64)], 1)
        edge = np.stack([rng.choice([-1.0, 1.0], 64), rng.uniform(0, 1, 64)], 1)
        z = xpnet.asarray(inside, "float32")
        known = xpnet.asarray(np.concatenate([start, edge]), "float32")
        target = xpnet.asarray(np.concatenate([-np.sin(np.pi * start[:, 0]), np.zeros(64)]), "float32")
        optimizer.zero_grad()
        loss = (residual(model, z) ** 2).mean() + 5 * ((model(known)[:, 0] - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step}: loss {float(loss):.2e}")
    x, t = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, 41), np.linspace(0, 1, 21)))
    with xpnet.no_grad():
        u = xpnet.to_numpy(model(xpnet.asarray(np.stack([x, t], 1), "float32")))[:, 0]
    error = float(np.linalg.norm(u - exact(x, t)) / np.linalg.norm(exact(x, t)))
    print(f"relative error against the exact solution: {error:.4f}")
    return error


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
