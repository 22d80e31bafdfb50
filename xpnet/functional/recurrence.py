"""Recurrent layers: one op for a whole sequence, with backpropagation through time as its pullback."""

from __future__ import annotations

from typing import Any

from xpnet.core.arrays import INTEGER, arange, carries_gradients, keep, kind, matmul, meeting, narrow, widen
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_name, backend_of, device, namespace


def _sigmoid(xp: Any, z: Array) -> Array:
    """1 / (1 + exp(-z)) with one transcendental function and no overflow."""
    return 0.5 * xp.tanh(0.5 * z) + 0.5


class RNNTanh:
    """h' = tanh(x + h), of projected inputs x and states h."""

    gates = 1

    @staticmethod
    def step(xp: Any, gx: Array, gh: Array, h: Array, c: Any) -> tuple[Array, Any, tuple[Any, ...]]:
        """The next state, the next cell, and what `back` needs."""
        y = xp.tanh(gx + gh)
        return y, c, (y,)

    @staticmethod
    def back(xp: Any, kept: tuple[Any, ...], dh: Array, dc: Any) -> tuple[Array, Array, Any, Any]:
        """Gradients of gx, gh, of h where it does not pass through gh, and of c."""
        dz = dh * (1 - kept[0] * kept[0])
        return dz, dz, None, None


class RNNReLU:
    """h' = max(x + h, 0)."""

    gates = 1

    @staticmethod
    def step(xp: Any, gx: Array, gh: Array, h: Array, c: Any) -> tuple[Array, Any, tuple[Any, ...]]:
        """The next state, the next cell, and what `back` needs."""
        z = gx + gh
        y = xp.where(z > 0, z, xp.zeros_like(z))
        return y, c, (y,)

    @staticmethod
    def back(xp: Any, kept: tuple[Any, ...], dh: Array, dc: Any) -> tuple[Array, Array, Any, Any]:
        """As of RNNTanh."""
        dz = keep(dh, kept[0] > 0)
        return dz, dz, None, None


class GRU:
    """h' = (1 - z) n + z h, n = tanh(x_n + r h_n), gates r and z (Cho et al., 2014)."""

    gates = 3

    @staticmethod
    def step(xp: Any, gx: Array, gh: Array, h: Array, c: Any) -> tuple[Array, Any, tuple[Any, ...]]:
        """The next state, the next cell, and what `back` needs."""
        n = h.shape[-1]
        s = _sigmoid(xp, gx[:, : 2 * n] + gh[:, : 2 * n])
        r, z, inner = s[:, :n], s[:, n:], gh[:, 2 * n :]
        new = xp.tanh(gx[:, 2 * n :] + r * inner)
        return new + z * (h - new), c, (r, z, inner, new, h)

    @staticmethod
    def back(xp: Any, kept: tuple[Any, ...], dh: Array, dc: Any) -> tuple[Array, Array, Any, Any]:
        """As of RNNTanh."""
        r, z, inner, new, h = kept
        dnew = dh * (1 - z) * (1 - new * new)
        dz = dh * (h - new) * z * (1 - z)
        dr = dnew * inner * r * (1 - r)
        return xp.concat([dr, dz, dnew], axis=1), xp.concat([dr, dz, dnew * r], axis=1), dh * z, None


class LSTM:
    """c' = f c + i g, h' = o tanh(c'), gates i, f, o and input g (Hochreiter & Schmidhuber, 1997)."""

    gates = 4

    @staticmethod
    def step(xp: Any, gx: Array, gh: Array, h: Array, c: Any) -> tuple[Array, Any, tuple[Any, ...]]:
        """The next state, the next cell, and what `back` needs."""
        n, a = h.shape[-1], gx + gh
        s = _sigmoid(xp, a[:, : 2 * n])
        i, f, g = s[:, :n], s[:, n:], xp.tanh(a[:, 2 * n : 3 * n])
        o = _sigmoid(xp, a[:, 3 * n :])
        new = f * c + i * g
        t = xp.tanh(new)
        return o * t, new, (i, f, g, o, c, t)

    @staticmethod
    def back(xp: Any, kept: tuple[Any, ...], dh: Array, dc: Any) -> tuple[Array, Array, Any, Any]:
        """As of RNNTanh."""
        i, f, g, o, c, t = kept
        dc = dc + dh * o * (1 - t * t)
        parts = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
        dz = xp.concat(parts, axis=1)
        return dz, dz, None, dc * f


CELLS: dict[str, Any] = {"tanh": RNNTanh, "relu": RNNReLU, "gru": GRU, "lstm": LSTM}


@differentiable(anywhere=("lengths",))
def recurrence(
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    h0: Array,
    c0: Array | None = None,
    lengths: Any = None,
    *,
    cell: str = "tanh",
    reverse: bool = False,
) -> tuple[Array, Pullback]:
    """All states of a recurrent layer, h_t = cell(W_ih x_t + b_ih, W_hh h_{t-1} + b_hh, h_{t-1}, c_{t-1}).

    Args:
        x: (L, N, I).
        w_ih: (gates H, I).
        w_hh: (gates H, H).
        b_ih: (gates H,) or None.
        b_hh: (gates H,) or None.
        h0: (N, H), the state before the first step.
        c0: (N, H), the cell, of "lstm" alone.
        lengths: (N,) integers, the steps of each sequence, from 1 to L: behind them the state rests, and what
            is given is 0.
        cell: a key of `CELLS`.
        reverse: from the last step to the first.

    Returns:
        (L + 1, N, H): the states and once more the last of them; of "lstm" (L + 2, N, H), with the last cell.

    Raises:
        ValueError: shapes that do not fit, or a length outside 1 to L.
        TypeError: the arrays are not of one floating-point type, or lengths not of integers.
    """
    xp = meeting("recurrence", x, w_ih, w_hh)
    kind_of = CELLS[cell]
    length, batch, inputs = x.shape
    n = w_hh.shape[1]
    mask = None if lengths is None else _mask(lengths, x)
    wide, to_input, to_state = widen(x), widen(w_ih), widen(w_hh)
    rows = xp.reshape(wide, (length * batch, inputs))
    gx = matmul(rows, to_input.T)
    if b_ih is not None:
        gx = gx + widen(b_ih)
    gx = xp.reshape(gx, (length, batch, kind_of.gates * n))
    order = range(length - 1, -1, -1) if reverse else range(length)
    h, c = widen(h0), None if c0 is None else widen(c0)
    before: list[Any] = [None] * length
    kept: list[Any] = [None] * length
    states: list[Any] = [None] * length
    for t in order:
        gh = matmul(h, to_state.T)
        if b_hh is not None:
            gh = gh + widen(b_hh)
        before[t] = h
        new, cell_state, kept[t] = kind_of.step(xp, gx[t, ...], gh, h, c)
        if mask is None:
            h, c, states[t] = new, cell_state, new
        else:
            here = mask[t, ...]
            h = xp.where(here, new, h)
            c = c if c is None else xp.where(here, cell_state, c)
            states[t] = keep(new, here)
    y = narrow(xp.stack([*states, h] if c is None else [*states, h, c], axis=0), x)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dy = widen(dy)
        dh, dc = dy[length, ...], None if c0 is None else dy[length + 1, ...]
        to_x: list[Any] = [None] * length
        to_h: list[Any] = [None] * length
        for t in reversed(order):
            here = None if mask is None else mask[t, ...]
            # behind the end of a sequence its gradients rest, too
            at, rest = dh + dy[t, ...], None
            if here is not None:
                at, rest = keep(at, here), keep(dh, ~here)
            inner = dc if here is None or dc is None else keep(dc, here)
            to_x[t], to_h[t], direct, before_c = kind_of.back(xp, kept[t], at, inner)
            back = matmul(to_h[t], to_state)
            for part in (direct, rest):
                back = back if part is None else back + part
            dh = back
            if dc is not None:
                dc = before_c if here is None else before_c + keep(dc, ~here)
        width = kind_of.gates * n
        dgx = xp.reshape(xp.stack(to_x, axis=0), (length * batch, width))
        same = to_h[0] is to_x[0]
        dgh = dgx if same else xp.reshape(xp.stack(to_h, axis=0), (length * batch, width))
        past = lambda: xp.reshape(xp.stack(before, axis=0), (length * batch, n))
        return (
            lambda out: narrow(xp.reshape(matmul(dgx, to_input), x.shape), x),
            lambda out: narrow(matmul(dgx.T, rows), w_ih),
            lambda out: narrow(matmul(dgh.T, past()), w_hh),
            lambda out: narrow(xp.sum(dgx, axis=0), w_ih),
            lambda out: narrow(xp.sum(dgh, axis=0), w_ih),
            lambda out: narrow(dh, h0),
            lambda out: narrow(dc, h0),
        )

    return y, pullback


def _mask(lengths: Any, x: Array) -> Array:
    """(L, N, 1), True within the sequences."""
    like = x.data if carries_gradients(x) else x
    lengths, steps, batch = array_like(lengths), x.shape[0], x.shape[1]
    if tuple(lengths.shape) != (batch,) or kind(lengths) != INTEGER:
        raise ValueError(
            f"lengths: expected {batch} integers, one a sequence, got {tuple(lengths.shape)} of "
            f"{dtype_name(lengths.dtype)}"
        )
    if backend_name(lengths) != "cupy":
        host = to_numpy(lengths)
        if host.size and (host.min() < 1 or host.max() > steps):
            raise ValueError(f"lengths: expected 1 to {steps}, got {host.min()} to {host.max()}")
    ends = asarray(lengths, "int64", backend=backend_of(like))
    return (arange(steps, like)[:, None] < ends[None, :])[..., None]


def check_state(name: str, x: Array, inputs: int, states: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Refuse a sequence or a state of the wrong shape."""
    if x.ndim != 3 or x.shape[-1] != inputs or not x.shape[0]:
        raise ValueError(
            f"{name}: expected a sequence of at least one step of {inputs} features, (L, N, {inputs}), "
            f"(N, L, {inputs}) if batch_first, or (L, {inputs}), got (L, N, features) {tuple(x.shape)}"
        )
    for word, state in states.items():
        if tuple(state.shape) != shape:
            raise ValueError(f"{name}: expected {word} of shape {shape}, got {tuple(state.shape)}")


def initial(x: Any, shape: tuple[int, ...]) -> Array:
    """The state of zeros that goes with a sequence."""
    like = x.data if carries_gradients(x) else x
    return namespace(like).zeros(shape, dtype=like.dtype, device=device(like))
