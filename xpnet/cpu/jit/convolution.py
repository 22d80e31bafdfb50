"""Direct convolution with stride 1: no columns, every plane of images one long vector.

Images are laid row after row with p zeros before each row and p rows of zeros above each image, so that a
row's right margin is the next row's left one. With rows of S = W + p elements, what output q meets of the
window's element (i, j) in channel c is then at a fixed distance d from it, and the whole convolution is

    y[o, q] = sum_t w[o, t] x[q + d[t]],    t = (c, i, j),    d[t] = c length + i S + j    (dilation 1).

The q at the end of a row belong to no output, and are left out of y. (A window of zeros around the image is
part of the sum: an infinite weight makes NaN there, as in the body.)

A thread takes some rows at a time, so that x stays in its second-level cache, and sums a tile of 8 outputs by
2 vectors in registers over all t. Goto & van de Geijn (2008), "Anatomy of high-performance matrix
multiplication", give the reasons.
"""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop
from xpnet.cpu.jit.vector import LANES, add_sums, copy, fma, load, splat, store

TILE = 2 * LANES
TERMS = 576  # at a time: 64 channels of 3 by 3, whose part of x and w stays in the first-level cache
_part = numba.njit(fastmath={"contract"}, error_model="numpy")


@_part
def _pack(images, rows, start, count, top, left, stride, length, out):
    """`count` rows of the planes, from row `start` on, to out[c length + k stride + left + w]."""
    samples, channels, height, width = images.shape
    flat = images.reshape(-1)
    for c in range(channels):
        n, h = start // rows, start % rows - top
        for to in range(c * length + left, c * length + left + count * stride, stride):
            if n < samples and 0 <= h < height:
                copy(flat, ((n * channels + c) * height + h) * width, out, to, width)
            else:
                out[to : to + width] = 0
            h += 1
            if h == rows - top:
                n, h = n + 1, -top


@_part
def _unpack(tiles, rows, start, count, stride, length, first, images):
    """The way back: rows of 8 planes to the outputs first, first + 1, ..."""
    samples, channels, height, width = images.shape
    flat = images.reshape(-1)
    for c in range(first, min(first + 8, channels)):
        n, h = start // rows, start % rows
        for at in range((c - first) * length, (c - first) * length + count * stride, stride):
            if n < samples and h < height:
                copy(tiles, at, flat, ((n * channels + c) * height + h) * width, width)
            h += 1
            if h == rows:
                n, h = n + 1, 0


@_part
def _distances(channels, kernel, dilation, stride, length):
    """d[t] of the window's elements t = (c, i, j)."""
    d = np.empty((channels, kernel[0], kernel[1]), np.int64)
    for c in range(channels):
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                d[c, i, j] = c * length + i * dilation[0] * stride + j * dilation[1]
    return d.reshape(-1)


@_part
def _two(array, at):
    return load(array, at), load(array, at + LANES)


@_part
def _add(sums, w, x):
    v = splat(w)
    return fma(v, x[0], sums[0]), fma(v, x[1], sums[1])


@_part
def _outer(sums, a, b):
    return fma(a, b[0], sums[0]), fma(a, b[1], sums[1]), fma(a, b[2], sums[2]), fma(a, b[3], sums[3])


@_part
def _geometry(x, kernel, padding, dilation, count):
    """Rows of an image, elements of a row, rows read beyond the last, elements of a plane of y and of x."""
    rows, stride = x.shape[2] + padding[0], x.shape[3] + padding[1]
    halo, overlap = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    span = (count * stride + TILE - 1) // TILE * TILE
    return rows, stride, halo, span, span + halo * stride + overlap + padding[1]


@_part
def _correlate(x, weight, bias, y, kernel, padding, dilation, count, first, last):
    """Jobs `first` to `last` of `correlate`: `count` rows each."""
    rows, stride, halo, span, length = _geometry(x, kernel, padding, dilation, count)
    d = _distances(x.shape[1], kernel, dilation, stride, length)
    planes, out = np.zeros(x.shape[1] * length, np.float32), np.empty(8 * span, np.float32)
    for start in range(first * count, last * count, count):
        _pack(x, rows, start, count + halo, padding[0], padding[1], stride, length, planes)
        for block in range(weight.shape[0]):
            w = weight[block]
            for k in range(8):
                out[k * span : (k + 1) * span] = bias[block, k]
            for low in range(0, d.shape[0], TERMS):
                high = min(low + TERMS, d.shape[0])
                for q in range(0, span, TILE):
                    y0, y1, y2, y3 = (
                        _two(out, q),
                        _two(out, q + span),
                        _two(out, q + 2 * span),
                        _two(out, q + 3 * span),
                    )
                    y4, y5, y6, y7 = (
                        _two(out, q + 4 * span),
                        _two(out, q + 5 * span),
                        _two(out, q + 6 * span),
                        _two(out, q + 7 * span),
                    )
                    for t in range(low, high):
                        v = _two(planes, q + d[t])
                        y0, y1 = _add(y0, w[t, 0], v), _add(y1, w[t, 1], v)
                        y2, y3 = _add(y2, w[t, 2], v), _add(y3, w[t, 3], v)
                        y4, y5 = _add(y4, w[t, 4], v), _add(y5, w[t, 5], v)
                        y6, y7 = _add(y6, w[t, 6], v), _add(y7, w[t, 7], v)
                    for k, sums in enumerate((y0, y1, y2, y3, y4, y5, y6, y7)):
                        store(out, q + k * span, sums[0])
                        store(out, q + k * span + LANES, sums[1])
            _unpack(out, rows, start, count, stride, span, 8 * block, y)


@_part
def _weight_gradient(x, dy, kernel, padding, dilation, count, first, last, dw):
    """Jobs `first` to `last` of `weight_gradient`: `count` rows each."""
    rows, stride, halo, span, length = _geometry(x, kernel, padding, dilation, count)
    fours, terms, _ = dw.shape
    d = np.zeros(terms, np.int64)
    distances = _distances(x.shape[1], kernel, dilation, stride, length)
    d[: distances.shape[0]] = distances
    planes, gradients = np.zeros(x.shape[1] * length, np.float32), _aligned(4 * fours * span)
    zero, sums = splat(np.float32(0)), dw.reshape(-1)
    for start in range(first * count, last * count, count):
        _pack(x, rows, start, count + halo, padding[0], padding[1], stride, length, planes)
        _pack(dy, rows, start, count, 0, 0, stride, span, gradients)
        for block in range(fours):
            for t in range(0, terms, 4):
                w0 = w1 = w2 = w3 = (zero, zero, zero, zero)
                for q in range(0, span, LANES):
                    at = 4 * block * span + q
                    g = (load(gradients, at), load(gradients, at + span), load(gradients, at + 2 * span),
                         load(gradients, at + 3 * span))  # fmt: skip
                    w0 = _outer(w0, load(planes, q + d[t]), g)
                    w1 = _outer(w1, load(planes, q + d[t + 1]), g)
                    w2 = _outer(w2, load(planes, q + d[t + 2]), g)
                    w3 = _outer(w3, load(planes, q + d[t + 3]), g)
                for k, w in enumerate((w0, w1, w2, w3)):
                    add_sums(sums, 4 * (block * terms + t + k), w)


@_part
def _aligned(size):
    """Zeros that start where a cache line does: a load across two lines takes twice as long."""
    zeros = np.zeros(size + 15, np.float32)
    return zeros[-(zeros.ctypes.data // 4) % 16 :]


@loop
def correlate(x, weight, bias, y, kernel, padding, dilation, count, threads):
    """y = conv2d(x, weight, bias); weight as (O / 8, C kH kW, 8), bias as (O / 8, 8), rest zeros."""
    jobs = (x.shape[0] * (x.shape[2] + padding[0]) + count - 1) // count
    for i in numba.prange(threads):
        first, last = jobs * i // threads, jobs * (i + 1) // threads
        _correlate(x, weight, bias, y, kernel, padding, dilation, count, first, last)


@loop
def weight_gradient(x, dy, kernel, padding, dilation, count, parts):
    """dw[o / 4, t, o % 4] = sum_q dy[o, q] x[q + d[t]], float64, over a part of the rows each: dw[part].

    dy is zero where q belongs to no output. A tile of 4 outputs by 4 t is summed in float32 over the rows.
    """
    jobs = (x.shape[0] * (x.shape[2] + padding[0]) + count - 1) // count
    terms = x.shape[1] * kernel[0] * kernel[1]
    dw = np.zeros((parts, (dy.shape[1] + 3) // 4, (terms + 3) // 4 * 4, 4), np.float64)
    for i in numba.prange(parts):
        first, last = jobs * i // parts, jobs * (i + 1) // parts
        _weight_gradient(x, dy, kernel, padding, dilation, count, first, last, dw[i])
    return dw
