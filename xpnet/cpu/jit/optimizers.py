"""Update rules in one pass; the formulas are in xpnet.optim.rules.

Every scalar arrives in the dtype of theta: a float64 constant would turn the loop into float64. Absent
moments are None, and Numba compiles those branches away.
"""

from __future__ import annotations

import math

import numba

from xpnet.cpu.jit import loop


@loop
def sgd(theta, grad, velocity, first, lr, momentum, rest, nesterov, decay):
    """`sgd_step`; `rest` is 1 - dampening, `first` whether the velocity starts here."""
    for i in numba.prange(theta.shape[0]):
        g = grad[i] + decay * theta[i]
        if velocity is not None:
            v = g if first else momentum * velocity[i] + rest * g
            velocity[i] = v
            g = g + momentum * v if nesterov else v
        theta[i] -= lr * g


@loop
def adagrad(theta, grad, total, lr, eps, inside, decay, zero):
    """`adagrad_step`."""
    for i in numba.prange(theta.shape[0]):
        g = grad[i] + decay * theta[i]
        total[i] += g * g
        theta[i] -= lr * g / (math.sqrt(total[i] + (eps if inside else zero)) + (zero if inside else eps))


@loop
def adadelta(theta, grad, square, delta, lr, rho, rest, eps, decay):
    """`adadelta_step`; `rest` is 1 - rho."""
    for i in numba.prange(theta.shape[0]):
        g = grad[i] + decay * theta[i]
        s = rho * square[i] + rest * g * g
        d = math.sqrt(delta[i] + eps) / math.sqrt(s + eps) * g
        square[i] = s
        delta[i] = rho * delta[i] + rest * d * d
        theta[i] -= lr * d


@loop
def rmsprop(theta, grad, square, velocity, average, lr, alpha, rest, eps, inside, momentum, decay, zero):
    """`rmsprop_step`; `rest` is 1 - alpha."""
    for i in numba.prange(theta.shape[0]):
        g = grad[i] + decay * theta[i]
        s = alpha * square[i] + rest * g * g
        square[i] = s
        if average is not None:
            a = average[i] + rest * (g - average[i])
            average[i] = a
            s = s - a * a
        d = g / (math.sqrt(s + (eps if inside else zero)) + (zero if inside else eps))
        if velocity is not None:
            d = momentum * velocity[i] + d
            velocity[i] = d
        theta[i] -= lr * d


@loop
def adam(theta, grad, mean, square, largest, size, root, rest1, beta2, rest2, eps, decay, shrink):
    """`adam_step`; size = lr / (1 - b1^t), root = 1 / sqrt(1 - b2^t), shrink = 1 - lr * decoupled decay."""
    for i in numba.prange(theta.shape[0]):
        w = theta[i] * shrink
        g = grad[i] + decay * w
        m = mean[i] + rest1 * (g - mean[i])
        v = beta2 * square[i] + rest2 * (g * g)
        mean[i] = m
        square[i] = v
        if largest is not None:
            v = max(largest[i], v)
            largest[i] = v
        theta[i] = w - size * m / (math.sqrt(v) * root + eps)
