"""Reverse mode needs one backward pass, forward mode one pass for each input."""

import time
from itertools import pairwise

import numpy as np

from xpnet import asarray, tensor, to_numpy
from xpnet import functional as F
from xpnet.core.op import differentiable
from xpnet.lab import Check, Picture, Result, Table, experiment

LAYERS, WIDTH = 5, 32
INPUTS = (1, 10, 100, 784)


class Counter:
    """A matrix product that counts how often it is computed, forwards and backwards."""

    def __init__(self):
        self.products = 0

        @differentiable
        def product(x, W):
            self.products += 1

            def pullback(dy):
                self.products += 1
                return dy @ W.T, None

            return x @ W, pullback

        self.product = product


def reverse_mode(x, weights):
    """The gradient of sum h_L with one forward and one backward pass."""
    count = Counter()
    x = tensor(x, requires_grad=True)
    h = x
    for W in weights:
        h = F.tanh(count.product(h, asarray(W)))
    h.sum().backward()
    return to_numpy(x.grad)[0], count.products


def forward_mode(x, weights):
    """The same gradient: values once, then a tangent for each input through all layers."""
    count = Counter()
    # core
    h, slopes = asarray(x), []
    for W in weights:
        h = F.tanh(count.product(h, asarray(W)))
        slopes.append(1 - h * h)
    gradient = []
    for i in range(x.shape[1]):
        dh = asarray(np.eye(1, x.shape[1], i))  # the direction of input i
        for W, slope in zip(weights, slopes, strict=True):
            dh = count.product(dh, asarray(W)) * slope
        gradient.append(float(to_numpy(dh).sum()))
    # end of core
    return np.array(gradient), count.products


@experiment("S3", "reverse-mode differentiation needs one pass, forward mode one for each input")
def run() -> Result:
    rng = np.random.default_rng(0)
    checks, rows = [], []
    for n in INPUTS:
        sizes = [n] + [WIDTH] * LAYERS
        weights = [rng.standard_normal((i, o)) / i**0.5 for i, o in pairwise(sizes)]
        x = rng.standard_normal((1, n))
        start = time.perf_counter()
        reverse, reverse_products = reverse_mode(x, weights)
        middle = time.perf_counter()
        forward, forward_products = forward_mode(x, weights)
        end = time.perf_counter()
        rows.append([n, reverse_products, forward_products, 1e3 * (middle - start), 1e3 * (end - middle)])
        checks += [
            Check(f"{n} inputs: products in reverse mode", reverse_products, exact=2 * LAYERS),
            Check(f"{n} inputs: products in forward mode", forward_products, exact=(1 + n) * LAYERS),
            Check(
                f"{n} inputs: largest difference of the gradients",
                np.abs(reverse - forward).max(),
                at_most=1e-12,
            ),
        ]

    def draw(figure):
        axis = figure.subplots()
        columns = list(zip(*rows, strict=True))
        axis.loglog(columns[0], columns[1], "o-", label="reverse mode")
        axis.loglog(columns[0], columns[2], "o-", label="forward mode")
        axis.set(xlabel="inputs", ylabel="vector-matrix products")
        axis.legend()

    return Result(
        "Reverse mode computes each layer's product once forwards and once backwards, whatever the number "
        "of inputs; forward mode sends a tangent for each input through all layers, so its cost grows with "
        "them. For a loss with a million parameters that is the difference between two passes and a "
        "million.",
        checks,
        [
            Table(
                "Vector-matrix products, and time in ms",
                ("inputs", "reverse", "forward", "reverse ms", "forward ms"),
                rows,
            )
        ],
        [Picture(f"Cost of the gradient of a network of {LAYERS} layers", draw, (6, 3))],
    )
