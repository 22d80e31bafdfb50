"""Recurrent layers, and their single steps."""

from __future__ import annotations

import warnings
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import probability, size
from xpnet.core.operators import getitem, reshape, transpose
from xpnet.core.recording import depends_on
from xpnet.core.structure import concat
from xpnet.core.tensor import Tensor
from xpnet.functional.recurrence import CELLS, check_state, initial, recurrence
from xpnet.nn.module import Module
from xpnet.nn.parameter import Parameter
from xpnet.nn.utils.rnn import PackedSequence, pad_packed_sequence


class _Recurrent(Module):
    """Layers of one kind of cell, in one direction or both."""

    _cell = "lstm"

    def _set(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: str,
    ) -> None:
        name = type(self).__name__
        self.input_size, self.hidden_size = (
            size(name, "input_size", input_size),
            size(name, "hidden_size", hidden_size),
        )
        self.num_layers = size(name, "num_layers", num_layers)
        self.dropout = probability(name, "dropout", dropout)
        if self.dropout and self.num_layers == 1:
            advice = f"{name}: dropout={dropout} drops between layers, and there is one; make num_layers 2"
            warnings.warn(advice, stacklevel=4)  # behind `_set`, the constructor and what takes device=
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        n, width = self.hidden_size, CELLS[self._cell].gates * self.hidden_size
        draw = lambda *shape: Parameter(init.uniform(shape, -(n**-0.5), n**-0.5, dtype))
        for layer in range(self.num_layers):
            inputs = n * len(self.directions()) if layer else self.input_size
            for suffix in self.directions():
                setattr(self, f"weight_ih_l{layer}{suffix}", draw(width, inputs))
                setattr(self, f"weight_hh_l{layer}{suffix}", draw(width, n))
                for part in ("ih", "hh") if bias else ():
                    setattr(self, f"bias_{part}_l{layer}{suffix}", draw(width))

    def directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def parameters_of(self, name: str) -> list[Any]:
        """Weights and biases of one direction of a layer."""
        weights = [getattr(self, f"weight_{part}_{name}") for part in ("ih", "hh")]
        return [
            *weights,
            *(getattr(self, f"bias_{part}_{name}") if self.bias else None for part in ("ih", "hh")),
        ]

    def _run(self, x: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
        """The outputs, and the last of each kind of state: (layers directions, N, H)."""
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise TypeError(f"{type(self).__name__}: packed sequences have lengths: leave lengths= out")
            padded, lengths = pad_packed_sequence(x, self.batch_first)
            y, ends = self._run(padded, states, lengths)
            return x.packs(y, self.batch_first), ends
        alone, lstm = x.ndim == 2, self._cell == "lstm"
        if alone:
            x, states = (
                reshape(x, (x.shape[0], 1, x.shape[1])),
                [reshape(s, (s.shape[0], 1, s.shape[1])) for s in states],
            )
        elif self.batch_first and x.ndim == 3:
            x = transpose(x, (1, 0, 2))
        name, ways = type(self).__name__, self.directions()
        shape = (self.num_layers * len(ways), x.shape[1], self.hidden_size)
        check_state(name, x, self.input_size, dict(zip(("h_0", "c_0"), states, strict=False)), shape)
        depends_on(self, "training", "dropout")
        zeros = None if states else initial(x, shape[1:])
        last: list[list[Any]] = [[] for _ in range(1 + lstm)]
        steps = x.shape[0]
        for layer in range(self.num_layers):
            outputs = []
            for way, suffix in enumerate(ways):
                first = [
                    zeros if zeros is not None else getitem(s, layer * len(ways) + way)
                    for s in states or last
                ]
                arguments = (
                    *self.parameters_of(f"l{layer}{suffix}"),
                    first[0],
                    first[1] if lstm else None,
                    lengths,
                )
                y = recurrence(x, *arguments, cell=self._cell, reverse=way == 1)
                outputs.append(getitem(y, slice(0, steps)))
                for i, found in enumerate(last):
                    found.append(getitem(y, slice(steps + i, steps + i + 1)))
            x = outputs[0] if len(outputs) == 1 else concat(*outputs, axis=2)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        ends = [found[0] if len(found) == 1 else concat(*found, axis=0) for found in last]
        if alone:
            return reshape(x, (steps, x.shape[2])), [reshape(e, (shape[0], self.hidden_size)) for e in ends]
        return transpose(x, (1, 0, 2)) if self.batch_first else x, ends

    def flatten_parameters(self) -> None:
        """Nothing: all parameters of a model lie in one vector already, which PyTorch calls this for."""

    def extra_repr(self) -> str:
        """The sizes."""
        more = f"num_layers={self.num_layers}, bidirectional={self.bidirectional}"
        return f"{self.input_size}, {self.hidden_size}, {more}"


class RNN(_Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) (Elman, 1990).

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        num_layers: each has the states of the one before as its input.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: inputs and outputs are (N, L, ...) and not (L, N, ...).
        dropout: in training, of what one layer gives to the next.
        bidirectional: a second set of states, from the last step to the first, beside the first.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or another nonlinearity; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, h = nn.RNN(3, 5, 2)(xpnet.asarray([[[0.1, 0.2, 0.3]]] * 4))
    >>> y.shape, h.shape
    ((4, 1, 5), (2, 1, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'RNN: nonlinearity must be "tanh" or "relu", got {nonlinearity!r}')
        self.nonlinearity = self._cell = nonlinearity
        self._set(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def forward(self, x: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Outputs and last states.

        Args:
            x: (L, N, input_size), (N, L, input_size) if `batch_first`, (L, input_size), or packed.
            hx: the states before the first step, (layers directions, N, H) or without N; default 0.
            lengths: (N,) integers, the steps of each sequence; behind them outputs are 0.

        Returns:
            The last layer's states, (L, N, directions H), packed if x is, and each layer's last, like `hx`.
        """
        y, ends = self._run(x, [] if hx is None else [hx], lengths)
        return y, ends[0]


class GRU(_Recurrent):
    """Gated recurrent units: h' = (1 - z) n + z h, n = tanh(W x + r (W h)) (Cho et al., 2014).

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        num_layers: each has the states of the one before as its input.
        bias: whether there are b_ih and b_hh.
        batch_first: inputs and outputs are (N, L, ...) and not (L, N, ...).
        dropout: in training, of what one layer gives to the next.
        bidirectional: a second set of states, from the last step to the first, beside the first.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, h = nn.GRU(3, 5, bidirectional=True)(xpnet.asarray([[[0.1, 0.2, 0.3]]] * 4))
    >>> y.shape, h.shape
    ((4, 1, 10), (2, 1, 5))
    """

    _cell = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        self._set(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def forward(self, x: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Outputs and last states, as of `RNN`."""
        y, ends = self._run(x, [] if hx is None else [hx], lengths)
        return y, ends[0]


class LSTM(_Recurrent):
    """Long short-term memory: c' = f c + i g, h' = o tanh(c') (Hochreiter & Schmidhuber, 1997).

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        num_layers: each has the states of the one before as its input.
        bias: whether there are b_ih and b_hh.
        batch_first: inputs and outputs are (N, L, ...) and not (L, N, ...).
        dropout: in training, of what one layer gives to the next.
        bidirectional: a second set of states, from the last step to the first, beside the first.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, (h, c) = nn.LSTM(3, 5, 2)(xpnet.asarray([[[0.1, 0.2, 0.3]]] * 4))
    >>> y.shape, h.shape, c.shape
    ((4, 1, 5), (2, 1, 5), (2, 1, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        self._set(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def forward(self, x: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs and last states, as of `RNN`; `hx` and the second result are pairs of states and cells."""
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise TypeError(f"LSTM: expected hx as a pair (h_0, c_0), got {type(hx).__name__}")
        y, ends = self._run(x, [] if hx is None else list(hx), lengths)
        return y, (ends[0], ends[1])


class _Cell(Module):
    """One step of a recurrent layer."""

    _cell = "lstm"

    def _set(self, input_size: int, hidden_size: int, bias: bool, dtype: str) -> None:
        name = type(self).__name__
        self.input_size, self.hidden_size = (
            size(name, "input_size", input_size),
            size(name, "hidden_size", hidden_size),
        )
        n, width = self.hidden_size, CELLS[self._cell].gates * self.hidden_size
        draw = lambda *shape: Parameter(init.uniform(shape, -(n**-0.5), n**-0.5, dtype))
        self.weight_ih, self.weight_hh = draw(width, self.input_size), draw(width, n)
        self.bias = bias
        self.bias_ih = draw(width) if bias else None
        self.bias_hh = draw(width) if bias else None

    def _step(self, x: Any, states: list[Any]) -> list[Any]:
        """The next states, (N, H) or (H,)."""
        alone, lstm = x.ndim == 1, self._cell == "lstm"
        if alone:
            x, states = reshape(x, (1, *x.shape)), [reshape(s, (1, *s.shape)) for s in states]
        if x.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: expected x of shape (N, {self.input_size}) or ({self.input_size},), "
                f"one step, got {tuple(x.shape)}"
            )
        x = reshape(x, (1, *x.shape))
        shape = (x.shape[1], self.hidden_size)
        check_state(type(self).__name__, x, self.input_size, dict(zip("hc", states, strict=False)), shape)
        states = states or [initial(x, shape)] * (1 + lstm)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        y = recurrence(x, *weights, states[0], states[1] if lstm else None, cell=self._cell)
        return [getitem(y, (i, 0) if alone else i) for i in range(1, 2 + lstm)]

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(_Cell):
    """One step h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or another nonlinearity; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.RNNCell(3, 5)(xpnet.asarray([[0.1, 0.2, 0.3]])).shape
    (1, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: str = "float32",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'RNNCell: nonlinearity must be "tanh" or "relu", got {nonlinearity!r}')
        self.nonlinearity = self._cell = nonlinearity
        self._set(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, hx: Any = None) -> Tensor:
        """(N, input_size) and (N, H) -> (N, H)."""
        return self._step(x, [] if hx is None else [hx])[0]


class GRUCell(_Cell):
    """One step of gated recurrent units.

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        bias: whether there are b_ih and b_hh.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.GRUCell(3, 5)(xpnet.asarray([[0.1, 0.2, 0.3]])).shape
    (1, 5)
    """

    _cell = "gru"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: str = "float32"
    ) -> None:
        self._set(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, hx: Any = None) -> Tensor:
        """(N, input_size) and (N, H) -> (N, H)."""
        return self._step(x, [] if hx is None else [hx])[0]


class LSTMCell(_Cell):
    """One step of long short-term memory.

    Args:
        input_size: features of x.
        hidden_size: H, features of the state.
        bias: whether there are b_ih and b_hh.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> h, c = nn.LSTMCell(3, 5)(xpnet.asarray([[0.1, 0.2, 0.3]]))
    >>> h.shape, c.shape
    ((1, 5), (1, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: str = "float32"
    ) -> None:
        self._set(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """(N, input_size) and the pair of (N, H) -> another such pair, states and cells."""
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise TypeError(f"LSTMCell: expected hx as a pair (h, c), got {type(hx).__name__}")
        h, c = self._step(x, [] if hx is None else list(hx))
        return h, c
