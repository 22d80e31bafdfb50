"""A Wasserstein GAN with gradient penalty (Gulrajani et al., 2017) on eight Gaussians in the plane.

The critic is held to gradients of norm 1 by its input: the penalty differentiates a gradient.

    python docs/examples/wgan_gp.py [steps]
"""

from __future__ import annotations

import sys

import numpy as np

import xpnet
from xpnet import nn, optim

N = 128


def real(rng: np.random.Generator) -> np.ndarray:
    """Points around a circle."""
    angle = 2 * np.pi * rng.integers(0, 8, N) / 8
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * rng.normal(size=(N, 2))


def penalty(critic, x):
    """The mean of (|gradient by x| - 1)^2."""
    gradient = xpnet.grad(lambda x: critic(x).sum())(x)
    return (((gradient**2).sum(axis=1) + 1e-12).sqrt() - 1).square().mean()


def main(steps: int = 1500) -> tuple[float, float]:
    """Train, and give the mean distance of samples from the circle, and the share of the modes they reach."""
    xpnet.manual_seed(0)
    rng = np.random.default_rng(0)
    generator = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    of_critic = optim.Adam(critic, lr=1e-3, betas=(0.5, 0.9))
    of_generator = optim.Adam(generator, lr=1e-3, betas=(0.5, 0.9))
    noise = lambda: xpnet.asarray(rng.normal(size=(N, 4)), "float32")
    for step in range(steps):
        for _ in range(5):
            with xpnet.no_grad():
                fake = generator(noise())
            x = xpnet.asarray(real(rng), "float32")
            share = xpnet.asarray(rng.uniform(size=(N, 1)), "float32")
            between = fake * share + x * (1 - share)
            of_critic.zero_grad()
            loss = critic(fake).mean() - critic(x).mean() + 0.1 * penalty(critic, between)
            loss.backward()
            of_critic.step()
        of_generator.zero_grad()
        (-critic(generator(noise())).mean()).backward()
        of_generator.step()
        if step % 500 == 0:
            print(f"step {step}: distance of the distributions {-float(loss):.3f}")
    with xpnet.no_grad():
        samples = np.concatenate([xpnet.to_numpy(generator(noise())) for _ in range(8)])
    off = float(np.abs(np.linalg.norm(samples, axis=1) - 1).mean())
    modes = np.unique(np.round(np.arctan2(samples[:, 1], samples[:, 0]) * 8 / (2 * np.pi)).astype(int) % 8)
    print(f"mean distance from the circle {off:.3f}, modes reached {len(modes)} of 8")
    return off, len(modes) / 8


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
