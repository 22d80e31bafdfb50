"""Attention of several heads."""

from __future__ import annotations

import math
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.arrays import BOOL, cast, kind
from xpnet.core.backend import Array, dtype_name
from xpnet.core.checks import probability, size
from xpnet.core.convert import asarray
from xpnet.core.operators import add, getitem, matmul, mean, reshape, transpose
from xpnet.core.places import backend_of, device, namespace
from xpnet.core.recording import depends_on
from xpnet.core.structure import broadcast_to, concat
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional.attention import attention_matrix, check_mask, self_attention
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads, each of E / heads features (Vaswani et al., 2017).

    Args:
        embed_dim: E, of queries and outputs.
        num_heads: divides E.
        dropout: the probability that a weight is dropped in training.
        bias: whether the four affine maps have one.
        add_bias_kv: one more key and value, which are learned.
        add_zero_attn: one more key and value of zeros.
        kdim: features of the keys; default E.
        vdim: features of the values; default E.
        batch_first: inputs are (N, L, E) and not (L, N, E).
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or the heads do not divide E.

    >>> import xpnet
    >>> from xpnet import nn
    >>> x = xpnet.asarray([[[0.1, 0.2, 0.3, 0.4]] * 3])
    >>> y, weights = nn.MultiheadAttention(4, 2, batch_first=True)(x, x, x)
    >>> y.shape, weights.shape
    ((1, 3, 4), (1, 3, 3))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        name = "MultiheadAttention"
        self.embed_dim = e = size(name, "embed_dim", embed_dim)
        self.num_heads = size(name, "num_heads", num_heads)
        if e % self.num_heads:
            raise ValueError(f"{name}: num_heads={num_heads} does not divide embed_dim={embed_dim}")
        self.dropout = probability(name, "dropout", dropout)
        self.bias, self.batch_first = bias, batch_first
        self.add_bias_kv, self.add_zero_attn = add_bias_kv, add_zero_attn
        self.kdim = e if kdim is None else size(name, "kdim", kdim)
        self.vdim = e if vdim is None else size(name, "vdim", vdim)
        glorot = lambda *shape: Parameter(init.glorot_uniform(shape, dtype))
        if self.kdim == self.vdim == e:
            self.in_proj_weight = glorot(3 * e, e)
        else:
            self.q_proj_weight = glorot(e, e)
            self.k_proj_weight = glorot(e, self.kdim)
            self.v_proj_weight = glorot(e, self.vdim)
        self.in_proj_bias = Parameter(init.zeros((3 * e,), dtype)) if bias else None
        extra = lambda: Parameter(init.normal((1, 1, e), math.sqrt(2 / (2 * e)), dtype=dtype))
        self.bias_k = extra() if add_bias_kv else None
        self.bias_v = extra() if add_bias_kv else None
        self.out_proj = Linear(e, e, bias, bias_init=init.zeros, dtype=dtype)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs, and the weights if they are asked for.

        Args:
            query: (L, N, E), (N, L, E) if `batch_first`, or (L, E).
            key: likewise, with S and `kdim`.
            value: likewise, with S and `vdim`.
            key_padding_mask: (N, S) or (S); True for a key that nobody may look at, or numbers to add.
            need_weights: give them; without them less memory is needed.
            attn_mask: (L, S) or (N heads, L, S); True where a query may *not* look, or numbers to add.
            average_attn_weights: the mean of the heads, else each head's.
            is_causal: query l looks at keys 0 to l; `attn_mask`, if there is one, says so already.

        Returns:
            Outputs like the queries, and weights (N, L, S), (N, heads, L, S), or None.
        """
        self._check(query, key, value)
        itself = query is key is value and not need_weights and self._is_plain
        alone = query.ndim == 2
        if alone:
            query, key, value = (reshape(x, (1, *x.shape)) for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (transpose(x, (1, 0, 2)) for x in (query, key, value))
        mask = self._mask(array_of(query), key.shape[1], attn_mask, key_padding_mask, is_causal)
        depends_on(self, "training", "dropout")
        p = self.dropout if self.training else 0.0
        weights: Any = None
        if itself:
            y = self._of_itself(query, mask, p, is_causal and mask is None)
        else:
            y, weights = self._of_others(query, key, value, mask, p, is_causal, need_weights)
            weights = mean(weights, axis=1) if need_weights and average_attn_weights else weights
        y = self.out_proj(y)
        if alone:
            return getitem(y, 0), None if weights is None else getitem(weights, 0)
        return y if self.batch_first else transpose(y, (1, 0, 2)), weights

    @property
    def _is_plain(self) -> bool:
        """Whether queries, keys and values come from one weight, and nothing is added to them."""
        return self.kdim == self.vdim == self.embed_dim and self.bias_k is None and not self.add_zero_attn

    def _of_itself(self, x: Any, mask: Any, p: float, causal: bool) -> Any:
        """Of one sequence: one product makes queries, keys and values."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        return self_attention(packed, self.num_heads, mask, p, causal)

    def _of_others(
        self, query: Any, key: Any, value: Any, mask: Any, p: float, is_causal: bool, need_weights: bool
    ) -> tuple[Any, Any]:
        """(N, L, E), the heads side by side, and the weights of each head."""
        q, k, v = self._projected(query, key, value)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (_with_row(x, row) for x, row in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            k, v = (_with_row(x, namespace(array_of(x)).zeros_like(array_of(x)[:1, :1, :])) for x in (k, v))
        q, k, v = map(self._heads, (q, k, v))
        if mask is not None and mask.shape[-1] < k.shape[2]:
            mask = _lengthened(mask, k.shape[2])
        causal = is_causal and mask is None
        weights: Any = None
        if need_weights:
            y, weights = self._with_weights(q, k, v, mask, causal, p)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, p, causal)
        n, heads, length, d = y.shape
        return reshape(transpose(y, (0, 2, 1, 3)), (n, length, heads * d)), weights

    def _check(self, query: Any, key: Any, value: Any) -> None:
        widths = (self.embed_dim, self.kdim, self.vdim)
        fit = all(
            x.ndim in (2, 3) and x.shape[-1] == n for x, n in zip((query, key, value), widths, strict=True)
        )
        batch = 0 if self.batch_first else 1
        if (
            not fit
            or len({x.ndim for x in (query, key, value)}) > 1
            or key.shape[:-1] != value.shape[:-1]
            or (query.ndim == 3 and query.shape[batch] != key.shape[batch])
        ):
            axes = ("N, L", "N, S") if self.batch_first else ("L, N", "S, N")
            raise ValueError(
                f"MultiheadAttention: expected query ({axes[0]}, {widths[0]}), key ({axes[1]}, "
                f"{widths[1]}) and value ({axes[1]}, {widths[2]}), or without N, got {tuple(query.shape)}, "
                f"{tuple(key.shape)} and {tuple(value.shape)}"
            )

    def _projected(self, *inputs: Any) -> list[Any]:
        """The affine maps of queries, keys and values, (N, L, E) each; their weights may be one array."""
        e = self.embed_dim
        parts = [slice(i * e, (i + 1) * e) for i in range(3)]
        if self.kdim == self.vdim == e:
            whole = self.in_proj_weight
            weights: list[Any] = [getitem(whole, part) for part in parts]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        bias = self.in_proj_bias
        biases = [None] * 3 if bias is None else [getitem(bias, part) for part in parts]
        return [F.linear(*together) for together in zip(inputs, weights, biases, strict=True)]

    def _heads(self, x: Any) -> Any:
        """(N, L, E) -> (N, heads, L, E / heads)."""
        n, length, e = x.shape
        return transpose(reshape(x, (n, length, self.num_heads, e // self.num_heads)), (0, 2, 1, 3))

    def _mask(self, q: Array, keys: int, attn_mask: Any, padding: Any, causal: bool) -> Any:
        """All masks as one, (N or 1, heads or 1, L, S): True where a query may look, or numbers to add."""
        n, length, _ = q.shape
        masks = []
        if attn_mask is not None:
            mask = _beside("attn_mask", attn_mask, q)
            shapes = ((length, keys), (n * self.num_heads, length, keys))
            if tuple(mask.shape) not in shapes:
                raise ValueError(
                    f"MultiheadAttention: attn_mask must have shape {shapes[0]} or {shapes[1]}, got "
                    f"{tuple(mask.shape)}"
                )
            lead = (1, 1) if mask.ndim == 2 else (n, self.num_heads)
            masks.append(reshape(mask, (*lead, length, keys)))
        if padding is not None:
            mask = _beside("key_padding_mask", padding, q)
            if tuple(mask.shape) not in ((n, keys), *([(keys,)] if n == 1 else [])):
                raise ValueError(
                    f"MultiheadAttention: key_padding_mask must have shape {(n, keys)}, got "
                    f"{tuple(mask.shape)}"
                )
            masks.append(reshape(mask, (n, 1, 1, keys)))
        if causal and attn_mask is None and (masks or self.add_bias_kv or self.add_zero_attn):
            masks.append(_later(q, length, keys))
        if not masks:
            return None
        if all(kind(mask) == BOOL for mask in masks):
            blocked = masks[0]
            for mask in masks[1:]:
                blocked = blocked | mask
            return ~array_of(blocked)
        total = _numbers(masks[0], q)
        for mask in masks[1:]:
            total = add(total, _numbers(mask, q))
        return total

    def _with_weights(self, q: Any, k: Any, v: Any, mask: Any, causal: bool, p: float) -> tuple[Any, Any]:
        """As `scaled_dot_product_attention`, and the weights: of a query that may look nowhere 0."""
        w = F.dropout(attention_matrix(q, k, mask, causal), p, self.training)
        return matmul(w, v), w

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"


def _with_row(x: Any, row: Any) -> Any:
    """(N, S, E) and one more row for each sample."""
    return concat(x, broadcast_to(row, (x.shape[0], 1, x.shape[2])), axis=1)


def _lengthened(mask: Any, keys: int) -> Any:
    """A mask for keys that were added, at which everybody may look."""
    xp = namespace(array_of(mask))
    shape = (*mask.shape[:-1], keys - mask.shape[-1])
    make = xp.ones if kind(mask) == BOOL else xp.zeros
    return concat(mask, make(shape, dtype=mask.dtype, device=device(array_of(mask))), axis=-1)


def _later(q: Array, length: int, keys: int) -> Array:
    """True where the key comes after the query."""
    xp = namespace(q)
    place = lambda n: xp.arange(n, dtype=xp.int64, device=device(q))
    return xp.reshape(place(keys)[None, :] > place(length)[:, None], (1, 1, length, keys))


def _beside(name: str, mask: Any, q: Array) -> Any:
    """A mask where q is; a Tensor of numbers keeps its history."""
    mask = check_mask(f"MultiheadAttention: {name}", mask)
    if isinstance(mask, Tensor) and kind(mask) != BOOL:
        return mask
    mask = asarray(array_of(mask) if isinstance(mask, Tensor) else mask, backend=backend_of(q))
    return mask if kind(mask) == BOOL else cast(mask, dtype_name(q.dtype))


def _numbers(mask: Any, q: Array) -> Any:
    """What a mask adds to scores: -infinity where it is True."""
    if kind(mask) != BOOL:
        return mask
    xp = namespace(q)
    number = lambda x: xp.full((), x, dtype=q.dtype, device=device(q))
    return xp.where(array_of(mask), number(-math.inf), number(0.0))
