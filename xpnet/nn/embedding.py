"""Embedding layers, and the places of words in a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from xpnet import functional as F
from xpnet import init
from xpnet.core.arrays import INTEGER, kind
from xpnet.core.backend import dtype_name
from xpnet.core.checks import initializer, number, probability, size
from xpnet.core.convert import array_like, asarray
from xpnet.core.operators import add
from xpnet.core.places import backend_of, namespace
from xpnet.core.recording import depends_on
from xpnet.core.structure import concat
from xpnet.core.tensor import array_of
from xpnet.functional.bags import check_mode
from xpnet.nn.module import Layer, Module
from xpnet.nn.parameter import Buffer, Parameter


class Embedding(Layer):
    """A row of a table, which is learned, for each number.

    Args:
        num_embeddings: n, rows.
        embedding_dim: d, their length.
        padding_idx: the row of this number begins as 0 and has no gradient.
        max_norm: rows that are looked up and longer than this are made so long first, in the table itself.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up at once.
        sparse: False, as gradients are whole arrays.
        weight_init: makes the table from its shape; default N(0, 1), as in PyTorch.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, there is no row `padding_idx`, or sparse=True.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Embedding(10, 3)(xpnet.asarray([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        weight_init: init.Initializer | None = None,
        dtype: str = "float32",
    ) -> None:
        name = type(self).__name__
        if sparse:
            raise ValueError(f"{name}: sparse=True is not there: gradients are whole arrays; leave it out")
        self.max_norm = None if max_norm is None else number(name, "max_norm", max_norm)
        self.norm_type = number(name, "norm_type", norm_type)
        self.scale_grad_by_freq = scale_grad_by_freq
        self.num_embeddings = n = size(name, "num_embeddings", num_embeddings)
        self.embedding_dim = size(name, "embedding_dim", embedding_dim)
        if padding_idx is not None:
            padding_idx = size(name, "padding_idx", padding_idx, -n)
            if padding_idx >= n:
                raise ValueError(f"{name}: padding_idx={padding_idx} is not one of {n} rows")
            padding_idx %= n
        self.padding_idx = padding_idx
        make = (
            (lambda shape, dtype: init.normal(shape, 1.0, dtype=dtype))
            if weight_init is None
            else weight_init
        )
        self.weight = Parameter(initializer(name, "weight_init", make)((n, self.embedding_dim), dtype=dtype))
        if padding_idx is not None:
            self.weight.data[padding_idx, :] = 0.0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer whose table is a copy of `embeddings`.

        Args:
            embeddings: (n, d).
            freeze: whether it is not to be trained.
            padding_idx: the row of this number, which keeps its values, has no gradient.
            max_norm: as of the layer, like the next ones.
            norm_type: of `max_norm`.
            scale_grad_by_freq: divide gradients by counts.
            sparse: False.

        Raises:
            ValueError: the embeddings are no table.

        >>> from xpnet import nn
        >>> nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1])
        tensor([[3. 4.]])
        """
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        return _filled(lambda n, d, dtype: cls(n, d, *options, dtype=dtype), embeddings, freeze)

    def forward(self, x: Any) -> Any:
        """Integers of any shape -> (*shape, d)."""
        options = (self.max_norm, self.norm_type, self.scale_grad_by_freq)
        return F.embedding(x, self.weight, self.padding_idx, *options)

    def extra_repr(self) -> str:
        """The sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        longest = "" if self.max_norm is None else f", max_norm={self.max_norm:g}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{longest}"


def _filled(make: Callable[..., Any], embeddings: Any, freeze: bool) -> Any:
    """The layer that `make` makes of the size of a table, with its values."""
    table = array_like(embeddings)
    if table.ndim != 2:
        raise ValueError(f"from_pretrained: expected embeddings of shape (n, d), got {tuple(table.shape)}")
    layer = make(*table.shape, dtype_name(table.dtype) if kind(table) > INTEGER else "float32")
    weight = layer.weight
    weight.data[...] = asarray(table, dtype_name(weight.dtype), backend=backend_of(weight.data))
    weight.requires_grad = not freeze
    return layer


class EmbeddingBag(Embedding):
    """The sum, mean or maximum of the rows of a bag: `F.embedding_bag` with a table that is learned.

    Args:
        num_embeddings: n, rows.
        embedding_dim: d, their length.
        max_norm: rows that are looked up and longer than this are made so long first, in the table itself.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up at once.
        mode: "mean", "sum" or "max".
        sparse: False, as gradients are whole arrays.
        include_last_offset: offsets have one more, the end of the last bag.
        padding_idx: the row of this number begins as 0, counts for nothing and has no gradient.
        weight_init: makes the table from its shape; default N(0, 1), as in PyTorch.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, there is no row `padding_idx`, or another mode.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.EmbeddingBag(10, 3)(xpnet.asarray([1, 2, 4, 5]), xpnet.asarray([0, 1])).shape
    (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        *,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        weight_init: init.Initializer | None = None,
        dtype: str = "float32",
    ) -> None:
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        super().__init__(num_embeddings, embedding_dim, *options, weight_init=weight_init, dtype=dtype)
        self.mode, self.include_last_offset = check_mode("EmbeddingBag", mode), include_last_offset

    @classmethod
    def from_pretrained(  # type: ignore[override]  # PyTorch has them in another order
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A layer whose table is a copy of `embeddings`, as of `Embedding`.

        Args:
            embeddings: (n, d).
            freeze: whether it is not to be trained.
            max_norm: as of the layer, like the next ones.
            norm_type: of `max_norm`.
            scale_grad_by_freq: divide gradients by counts.
            mode: "mean", "sum" or "max".
            sparse: False.
            include_last_offset: offsets have one more.
            padding_idx: the row of this number counts for nothing.

        Raises:
            ValueError: the embeddings are no table.
        """
        options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse)
        make = partial(cls, include_last_offset=include_last_offset, padding_idx=padding_idx)
        return _filled(lambda n, d, dtype: make(n, d, *options, dtype=dtype), embeddings, freeze)

    def forward(self, x: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """(B, L), or (n,) with offsets (B,) -> (B, d); `per_sample_weights` like x."""
        return F.embedding_bag(
            x,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        """The sizes and the mode."""
        return f"{super().extra_repr()}, mode={self.mode!r}"


_SPREAD = 0.1  # of the initial vectors: standardised numbers beside them have 1


class CategoryEmbedding(Module):
    """Put learned vectors where columns of a row hold the numbers of categories; the others stay.

    Args:
        places: of those columns, in order.
        counts: how many categories each has, with number 0: an unknown one, whose vector is 0 and stays so.
        dims: the length of each one's vectors.
        dtype: default float32.

    Rows are (N, F) floats, as `xpnet.data.Columns(text="embed")` makes them. A number is cut to a whole one
    that there is. See Guo & Berkhahn, 2016, "Entity embeddings of categorical variables".

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, places are not in order, or the lists have several lengths; when it is
            called, a row has no such place.

    >>> import xpnet
    >>> from xpnet import nn
    >>> layer = nn.CategoryEmbedding([1], [4], [3])
    >>> layer(xpnet.asarray([[0.5, 2.0, 1.5], [0.5, 0.0, 2.5]]))[1].tolist()
    [0.5, 0.0, 0.0, 0.0, 2.5]
    """

    def __init__(
        self, places: Sequence[int], counts: Sequence[int], dims: Sequence[int], *, dtype: str = "float32"
    ) -> None:
        name = type(self).__name__
        self.places = [size(name, "places", place, 0) for place in places]
        if not len(places) == len(counts) == len(dims) or self.places != sorted({*self.places}):
            raise ValueError(f"{name}: expected places in order, a count and a length for each")
        self.counts, self.dims = [*counts], [*dims]
        self.tables = [
            Embedding(n, d, 0, weight_init=lambda s, dtype: init.normal(s, _SPREAD, dtype=dtype), dtype=dtype)
            for n, d in zip(counts, dims, strict=True)
        ]

    def forward(self, x: Any) -> Any:
        """(N, F) -> (N, F - columns + sum(dims))."""
        if x.ndim != 2 or (self.places and x.shape[1] <= self.places[-1]):
            raise ValueError(f"CategoryEmbedding: no column {self.places[-1]} in rows {tuple(x.shape)}")
        parts, start = [], 0
        for place, table in zip(self.places, self.tables, strict=True):
            codes = array_of(x[:, place])
            xp = namespace(codes)
            rows = xp.astype(xp.clip(codes, 0, table.num_embeddings - 1), xp.int64)
            parts += [x[:, start:place], F.embedding(rows, table.weight, 0)]
            start = place + 1
        return concat(*parts, x[:, start:], axis=1)

    def extra_repr(self) -> str:
        """The places and sizes."""
        return f"{self.places}, {self.counts}, {self.dims}"


class SinusoidalEncoding(Layer):
    """x + the sines and cosines of each place (Vaswani et al., 2017), and dropout.

    Args:
        d_model: D, even.
        dropout: the probability of dropping a feature of the sum.
        max_len: places at most.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: an odd `d_model`; when it is called, x does not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.SinusoidalEncoding(2, 0.0)(xpnet.asarray([[[0.0, 0.0], [0.0, 0.0]]]))[0, 0]
    array([0., 1.], dtype=float32)
    """

    def __init__(
        self, d_model: int, dropout: float = 0.1, max_len: int = 5000, *, dtype: str = "float32"
    ) -> None:
        self.d_model = size("SinusoidalEncoding", "d_model", d_model)
        self.max_len = size("SinusoidalEncoding", "max_len", max_len)
        self.dropout = probability("SinusoidalEncoding", "dropout", dropout)
        table = F.sinusoidal_encoding(self.max_len, self.d_model, dtype=dtype)
        self.encoding = Buffer(table, persistent=False)

    def forward(self, x: Any) -> Any:
        """(N, L, D), the same shape."""
        if x.ndim < 2 or x.shape[-1] != self.d_model or x.shape[-2] > self.max_len:
            raise ValueError(
                f"SinusoidalEncoding: expected (..., L, {self.d_model}), L at most {self.max_len}, got "
                f"{tuple(x.shape)}"
            )
        depends_on(self, "training", "dropout")
        return F.dropout(add(x, self.encoding.data[: x.shape[-2], :]), self.dropout, self.training)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.d_model}, dropout={self.dropout}, max_len={self.max_len}"


class RotaryEmbedding(Layer):
    """Turns each pair of features of queries and keys by their place (Su et al., 2021).

    Args:
        base: pair i turns by base^(-2i / D) a place.
        interleaved: pairs are neighbours (2i, 2i + 1), as in the paper; else (i, i + D / 2), as in LLaMA.

    Raises:
        TypeError: base is not a number.
        ValueError: when it is called, the last axis is odd.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.RotaryEmbedding()(xpnet.asarray([[1.0, 0.0], [1.0, 0.0]])).shape
    (2, 2)
    """

    def __init__(self, base: float = 10000.0, interleaved: bool = True) -> None:
        self.base, self.interleaved = number("RotaryEmbedding", "base", base), interleaved

    def forward(self, x: Any, offset: int = 0) -> Any:
        """(..., L, D), the same shape; `offset` is the number of the first place."""
        return F.rotary_embedding(x, self.base, offset, self.interleaved)

    def extra_repr(self) -> str:
        """The base."""
        return f"base={self.base:g}, interleaved={self.interleaved}"
