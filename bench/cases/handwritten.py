"""The yardstick: operations and training steps written by hand in NumPy, buffers reused, nothing general.

Every function works in the dtype of its inputs, so the same code in float64 is the reference of the checks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

CHUNK = 1 << 15  # elements: theta, gradient, moments and temporaries of one piece stay in the cache
EPS = 1e-5  # of batch norm
BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
MOMENTUM = 0.9


def cross_entropy(z: np.ndarray, y: np.ndarray, out: np.ndarray) -> tuple[Any, np.ndarray]:
    """mean(log sum exp(z) - z[y]) and its gradient, in `out`."""
    rows = np.arange(len(y), like=y)
    np.subtract(z, z.max(1, keepdims=True), out=out)
    picked = out[rows, y]
    np.exp(out, out=out)
    total = out.sum(1, keepdims=True)
    loss = (np.log(total[:, 0]) - picked).mean()
    out *= (1 / len(y)) / total
    out[rows, y] -= 1 / len(y)
    return loss, out


class BatchNorm:
    """Batch norm in training over the first axis of (N, C), or all but the second of (N, C, H, W)."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, ndim: int = 2) -> None:
        self.weight, self.bias = weight, bias
        self.axes = (0, *range(2, ndim))
        self.shape = (1, -1) + (1,) * (ndim - 2)
        self.dot = "nc,nc->c" if ndim == 2 else "nchw,nchw->c"
        self.running_mean, self.running_var = np.zeros_like(weight), np.ones_like(weight)

    def forward(self, x: np.ndarray) -> np.ndarray:
        n = self.n = x.size // len(self.weight)
        mean = x.mean(self.axes)
        normal = x - mean.reshape(self.shape)
        var = np.einsum(self.dot, normal, normal) / n
        self.inverse = 1 / np.sqrt(var + EPS)
        normal *= self.inverse.reshape(self.shape)
        self.normal = normal
        self.running_mean += 0.1 * (mean - self.running_mean)
        self.running_var += 0.1 * (var * (n / (n - 1)) - self.running_var)
        y = normal * self.weight.reshape(self.shape)
        y += self.bias.reshape(self.shape)
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """dx, dweight, dbias."""
        dbias = dy.sum(self.axes)
        dweight = np.einsum(self.dot, dy, self.normal)
        dx = self.normal * (dweight / -self.n).reshape(self.shape)
        dx += dy
        dx -= (dbias / self.n).reshape(self.shape)
        dx *= (self.inverse * self.weight).reshape(self.shape)
        return dx, dweight, dbias


def dropout(x: np.ndarray, p: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x * mask and the mask, which is 0 or 1 / (1 - p)."""
    mask = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype)
    mask *= 1 / (1 - p)
    return x * mask, mask


class Adam:
    """Adam over one vector, in pieces that fit the cache; AdamW with a weight decay, which is decoupled."""

    def __init__(self, theta: np.ndarray, lr: float, weight_decay: float = 0.0) -> None:
        self.theta, self.lr, self.t = theta, lr, 0
        self.keep = 1 - lr * weight_decay
        self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)
        self.buffer = np.empty_like(theta[:CHUNK])

    def step(self, grad: np.ndarray) -> None:
        self.t += 1
        scale = self.lr / (1 - BETA1**self.t)
        root = 1 / math.sqrt(1 - BETA2**self.t)
        for i in range(0, self.theta.size, CHUNK):
            s = slice(i, i + CHUNK)
            g, m, v = grad[s], self.m[s], self.v[s]
            t = self.buffer[: g.size]
            np.subtract(g, m, out=t)
            t *= 1 - BETA1
            m += t
            np.multiply(g, g, out=t)
            t -= v
            t *= 1 - BETA2
            v += t
            np.sqrt(v, out=t)
            t *= root
            t += ADAM_EPS
            np.divide(m, t, out=t)
            t *= scale
            if self.keep != 1:
                self.theta[s] *= self.keep
            self.theta[s] -= t


class SGD:
    """theta <- theta - lr g, or Nesterov's momentum with weight decay, over one vector."""

    def __init__(
        self, theta: np.ndarray, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.theta, self.lr, self.momentum, self.weight_decay = theta, lr, momentum, weight_decay
        self.v = np.zeros_like(theta) if momentum else theta[:0]
        self.buffer = np.empty_like(theta[:CHUNK])

    def step(self, grad: np.ndarray) -> None:
        for i in range(0, self.theta.size, CHUNK):
            s = slice(i, i + CHUNK)
            theta, g, t = self.theta[s], grad[s], self.buffer[: grad[s].size]
            if not self.momentum:
                np.multiply(g, self.lr, out=t)
                theta -= t
                continue
            v = self.v[s]
            np.multiply(theta, self.weight_decay, out=t)
            t += g
            v *= self.momentum
            v += t
            theta -= np.multiply(t, self.lr, out=t)
            theta -= np.multiply(v, self.lr * self.momentum, out=t)


def optimizer(rule: str, theta: np.ndarray, lr: float, weight_decay: float) -> Adam | SGD:
    """The update rule `"adam"`, `"adamw"`, `"nesterov"` or `"sgd"`."""
    if rule in ("adam", "adamw"):
        return Adam(theta, lr, weight_decay if rule == "adamw" else 0.0)
    return SGD(theta, lr, MOMENTUM if rule == "nesterov" else 0.0, weight_decay)


def flat(arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A copy of all arrays as one vector, and its views of their shapes."""
    vector = np.concatenate([a.ravel() for a in arrays])
    ends = np.cumsum([a.size for a in arrays])
    return vector, [vector[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]


class MLP:
    """Linear, optional batch norm, ReLU, optional dropout; cross-entropy; one update of one vector.

    Args:
        parameters: weight and bias (and gamma, beta) of each layer in turn.
        batch: rows of a batch.
        norm: whether hidden layers have batch norm.
        p: drop probability after the first hidden layer; 0 for none.
        rule, lr, weight_decay: as for `optimizer`.
    """

    def __init__(
        self,
        parameters: list[np.ndarray],
        batch: int,
        norm: bool,
        p: float,
        rule: str,
        lr: float,
        weight_decay: float,
    ) -> None:
        dtype = parameters[0].dtype
        self.theta, views = flat(parameters)
        self.grad, gradients = flat(parameters)
        self.weights: list[np.ndarray] = []
        self.dweights: list[np.ndarray] = []
        self.biases: list[np.ndarray] = []
        self.dbiases: list[np.ndarray] = []
        self.norms: list[BatchNorm] = []
        self.dnorms = []
        while views:
            self.weights.append(views.pop(0))
            self.biases.append(views.pop(0))
            self.dweights.append(gradients.pop(0))
            self.dbiases.append(gradients.pop(0))
            if norm and views:
                self.norms.append(BatchNorm(views.pop(0), views.pop(0)))
                self.dnorms.append((gradients.pop(0), gradients.pop(0)))
        self.outputs = [np.empty((batch, len(w)), dtype) for w in self.weights]
        self.slopes = [np.empty((batch, w.shape[1]), dtype) for w in self.weights]
        self.p, self.rng = p, np.random.default_rng(0)
        self.optimizer = optimizer(rule, self.theta, lr, weight_decay)

    def step(self, x: np.ndarray, y: np.ndarray) -> Any:
        """One training step; the loss."""
        last = len(self.weights) - 1
        h, inputs, mask = x, [], None
        for i, (w, b, z) in enumerate(zip(self.weights, self.biases, self.outputs, strict=True)):
            inputs.append(h)
            np.matmul(h, w.T, out=z)
            z += b
            h = z
            if i < last:
                if self.norms:
                    h = self.norms[i].forward(h)
                np.maximum(h, 0, out=h)
                if self.p and i == 0:
                    h, mask = dropout(h, self.p, self.rng)
        loss, d = cross_entropy(h, y, out=h)
        for i in range(last, -1, -1):
            np.matmul(d.T, inputs[i], out=self.dweights[i])
            np.sum(d, 0, out=self.dbiases[i])
            if i == 0:
                break
            d = np.matmul(d, self.weights[i], out=self.slopes[i])
            if mask is not None and i == 1:
                d *= mask
            d *= inputs[i] > 0  # a dropped unit has slope 0 already
            if self.norms:
                d, dgamma, dbeta = self.norms[i - 1].backward(d)
                self.dnorms[i - 1][0][...] = dgamma
                self.dnorms[i - 1][1][...] = dbeta
        self.optimizer.step(self.grad)
        return loss


def convolution(
    x: np.ndarray, dy: np.ndarray, weight: np.ndarray, stride: int = 1, groups: int = 1
) -> tuple[np.ndarray, ...]:
    """A convolution padded by half its window, and the gradients of x and weight: a product for each tap."""
    (n, c, _, _), (o, _, kernel, _) = x.shape, weight.shape
    (h, w), p = dy.shape[2:], kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    y = np.zeros_like(dy).reshape(n, groups, o // groups, h * w)
    slopes = dy.reshape(y.shape)
    for i in range(kernel):
        for j in range(kernel):
            rows, columns = (slice(k, k + stride * (size - 1) + 1, stride) for k, size in ((i, h), (j, w)))
            place = (slice(None), slice(None), rows, columns)
            seen = padded[place].reshape(n, groups, c // groups, h * w)
            tap = weight[:, :, i, j].reshape(groups, o // groups, c // groups)
            y += np.matmul(tap, seen)
            dpadded[place] += np.matmul(tap.swapaxes(1, 2), slopes).reshape(n, c, h, w)
            dweight[:, :, i, j] = np.matmul(slopes, seen.swapaxes(2, 3)).sum(0).reshape(o, c // groups)
    inner = slice(p, -p or None)
    return y.reshape(dy.shape), dpadded[:, :, inner, inner], dweight


class CNN:
    """3x3 convolutions with batch norm and ReLU, a 2x2 maximum after every second but the last; mean; linear.

    Args:
        parameters: weight, gamma and beta of each convolution in turn, then weight and bias.
        rule, lr: as for `optimizer`.
    """

    def __init__(self, parameters: list[np.ndarray], rule: str, lr: float) -> None:
        self.theta, views = flat(parameters)
        self.grad, self.gradients = flat(parameters)
        self.weight, self.bias = views[-2:]
        self.kernels = views[:-2:3]
        self.norms = [BatchNorm(g, b, 4) for g, b in zip(views[1:-2:3], views[2:-2:3], strict=True)]
        self.optimizer = optimizer(rule, self.theta, lr, 0.0)

    def step(self, x: np.ndarray, y: np.ndarray) -> Any:
        """One training step; the loss."""
        last, h, kept = len(self.kernels) - 1, x, []
        for i, (w, norm) in enumerate(zip(self.kernels, self.norms, strict=True)):
            windows = _windows(h)
            h = np.ascontiguousarray(np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2))
            h = norm.forward(h)
            active = h > 0
            h *= active
            winner = None
            if i % 2 and i < last:
                h, winner = max_pool(h)
            kept.append((windows, active, winner))
        mean = h.mean((2, 3))
        logits = mean @ self.weight.T + self.bias
        loss, d = cross_entropy(logits, y, out=logits)
        np.matmul(d.T, mean, out=self.gradients[-2])
        np.sum(d, 0, out=self.gradients[-1])
        slope = d @ self.weight / (h.shape[2] * h.shape[3])
        dh = np.broadcast_to(slope[:, :, None, None], h.shape)
        for i in range(last, -1, -1):
            windows, active, winner = kept[i]
            if winner is not None:
                dh = max_unpool(dh, winner)
            dh, self.gradients[3 * i + 1][...], self.gradients[3 * i + 2][...] = self.norms[i].backward(
                dh * active
            )
            self.gradients[3 * i][...] = np.tensordot(dh, windows, ((0, 2, 3), (0, 2, 3)))
            if i:  # the transpose of a convolution is the one with the kernel turned by half
                turned = self.kernels[i][:, :, ::-1, ::-1]
                dh = np.tensordot(_windows(dh), turned, ((1, 4, 5), (0, 2, 3))).transpose(0, 3, 1, 2)
        self.optimizer.step(self.grad)
        return loss


def _windows(x: np.ndarray) -> np.ndarray:
    """The 3x3 surroundings of every pixel, zeros outside: a view (N, C, H, W, 3, 3)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))


def max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each 2x2 block, and which of the four it was."""
    n, c, h, w = x.shape
    blocks = (
        x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    )
    winner = blocks.argmax(-1)[..., None]
    return np.take_along_axis(blocks, winner, -1)[..., 0], winner


def max_unpool(dy: np.ndarray, winner: np.ndarray) -> np.ndarray:
    n, c, h, w = dy.shape
    blocks = np.zeros((n, c, h, w, 4), dy.dtype)
    np.put_along_axis(blocks, winner, dy[..., None], -1)
    return blocks.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)
