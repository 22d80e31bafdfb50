"""Transformer layers, and stacks of them (Vaswani et al., 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from xpnet import functional as F
from xpnet.core.checks import number, probability, size
from xpnet.core.operators import add
from xpnet.nn.activation import GELU, ReLU
from xpnet.nn.attention import MultiheadAttention
from xpnet.nn.dropout import Dropout
from xpnet.nn.fuse import row
from xpnet.nn.gates import SiLU
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer, Module
from xpnet.nn.normalization import LayerNorm

FEED_FORWARD: dict[str, tuple[Callable[[Any], Any], Module]] = {
    "relu": (F.relu, ReLU()),
    "gelu": (F.gelu, GELU()),
    "silu": (F.silu, SiLU()),
}


class _Block(Layer):
    """What both layers share: attention, and two affine maps with an activation between them."""

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm

    def _set(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: str | Callable[[Any], Any],
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        dtype: str,
        attentions: tuple[str, ...],
    ) -> None:
        name = type(self).__name__
        word = next((k for k, (f, _) in FEED_FORWARD.items() if activation in (k, f)), None)
        if word is None:
            raise ValueError(
                f"{name}: activation must be one of {', '.join(FEED_FORWARD)}, got {activation!r}"
            )
        self.d_model, self.nhead = size(name, "d_model", d_model), size(name, "nhead", nhead)
        self.dim_feedforward = size(name, "dim_feedforward", dim_feedforward)
        self.layer_norm_eps = number(name, "layer_norm_eps", layer_norm_eps, 0)
        self.activation, self.batch_first, self.norm_first, self.bias = word, batch_first, norm_first, bias
        self.p = probability(name, "dropout", dropout)
        for part in attentions:
            attention = MultiheadAttention(
                self.d_model, self.nhead, self.p, bias, batch_first=batch_first, dtype=dtype
            )
            setattr(self, part, attention)
        self.linear1 = Linear(self.d_model, self.dim_feedforward, bias, dtype=dtype)
        self.linear2 = Linear(self.dim_feedforward, self.d_model, bias, dtype=dtype)
        for i in range(len(attentions) + 1):
            setattr(
                self, f"norm{i + 1}", LayerNorm(self.d_model, self.layer_norm_eps, bias=bias, dtype=dtype)
            )
        self.drop = Dropout(self.p)

    @property
    def dropout(self) -> float:
        """The probability of dropping."""
        return self.p

    def _around(self, x: Any, branch: Callable[[Any], Any], norm: Module) -> Any:
        """x + branch(x), with the norm before the branch or after the sum."""
        if self.norm_first:
            return add(x, self.drop(branch(norm(x))))
        return norm(add(x, self.drop(branch(x))))

    def _feed_forward(self, x: Any) -> Any:
        return row((self.linear1, FEED_FORWARD[self.activation][1], self.drop, self.linear2), x)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.d_model}, {self.nhead}, {self.dim_feedforward}"


class TransformerEncoderLayer(_Block):
    """x + attention(x), then x + W2 activation(W1 x), each with a layer norm after it or before.

    Args:
        d_model: features.
        nhead: heads of the attention.
        dim_feedforward: features between the two affine maps.
        dropout: the probability of dropping, of weights of the attention, too.
        activation: "relu", "gelu" or "silu", or the function of `xpnet.functional`.
        layer_norm_eps: added to the variance.
        batch_first: inputs are (N, L, D) and not (L, N, D).
        norm_first: norm before each branch (Xiong et al., 2020), not after the sum.
        bias: whether affine maps and norms have one.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, the heads do not divide the features, or another activation.

    >>> import xpnet
    >>> from xpnet import nn
    >>> layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    >>> layer(xpnet.asarray([[[0.1, 0.2, 0.3, 0.4]] * 3]), is_causal=True).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        options = (dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype)
        self._set(d_model, nhead, dim_feedforward, *options, ("self_attn",))

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Any:
        """The same shape; masks as for `MultiheadAttention`."""

        def attention(x: Any) -> Any:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self._around(src, attention, self.norm1)
        return self._around(x, self._feed_forward, self.norm2)


class TransformerDecoderLayer(_Block):
    """As the encoder's layer, with attention to an encoder's output, the memory, between its two parts.

    Args:
        d_model: features.
        nhead: heads of the attention.
        dim_feedforward: features between the two affine maps.
        dropout: the probability of dropping, of weights of the attention, too.
        activation: "relu", "gelu" or "silu", or the function of `xpnet.functional`.
        layer_norm_eps: added to the variance.
        batch_first: inputs are (N, L, D) and not (L, N, D).
        norm_first: norm before each branch (Xiong et al., 2020), not after the sum.
        bias: whether affine maps and norms have one.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, the heads do not divide the features, or another activation.

    >>> import xpnet
    >>> from xpnet import nn
    >>> x = xpnet.asarray([[[0.1, 0.2, 0.3, 0.4]] * 3])
    >>> nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)(x, x[:, :2, :], tgt_is_causal=True).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        options = (dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype)
        self._set(d_model, nhead, dim_feedforward, *options, ("self_attn", "multihead_attn"))

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """The shape of `tgt`; masks as for `MultiheadAttention`."""

        def own(x: Any) -> Any:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def other(x: Any) -> Any:
            masks: Any = (memory_key_padding_mask, False, memory_mask)
            return self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal)[0]

        x = self._around(tgt, own, self.norm1)
        x = self._around(x, other, self.norm2)
        return self._around(x, self._feed_forward, self.norm3)


class _Stack(Layer):
    def __init__(self, layer: Any, num_layers: int, norm: Module | None = None) -> None:
        name = type(self).__name__
        if not isinstance(layer, Module):
            raise TypeError(f"{name}: expected a layer, got {layer!r}")
        self.num_layers = size(name, "num_layers", num_layers)
        self.layers = [copy.deepcopy(layer) for _ in range(self.num_layers)]
        self.norm = norm

    def _through(self, x: Any, *arguments: Any, **options: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *arguments, **options)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Copies of a layer, one after the other; they begin with its weights, as in PyTorch.

    Args:
        encoder_layer: such as a `TransformerEncoderLayer`.
        num_layers: copies.
        norm: a module at the end, or None.
        enable_nested_tensor: taken for PyTorch's sake; it changes nothing.
        mask_check: likewise.

    Raises:
        TypeError: no layer, or a number that is not whole.
        ValueError: no copies.

    >>> import xpnet
    >>> from xpnet import nn
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2, nn.LayerNorm(4))
    >>> encoder(xpnet.asarray([[[0.1, 0.2, 0.3, 0.4]] * 3])).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    @property
    def encoder_layer(self) -> Module:
        """The first of the layers."""
        return self.layers[0]

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Any:
        """The same shape; the arguments go to each layer."""
        return self._through(src, mask, src_key_padding_mask, is_causal=bool(is_causal))


class TransformerDecoder(_Stack):
    """Copies of a layer, one after the other, which all attend to one memory.

    Args:
        decoder_layer: such as a `TransformerDecoderLayer`.
        num_layers: copies.
        norm: a module at the end, or None.

    Raises:
        TypeError: no layer, or a number that is not whole.
        ValueError: no copies.

    >>> import xpnet
    >>> from xpnet import nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2)
    >>> x = xpnet.asarray([[[0.1, 0.2, 0.3, 0.4]] * 3])
    >>> decoder(x, x).shape
    (1, 3, 4)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    @property
    def decoder_layer(self) -> Module:
        """The first of the layers."""
        return self.layers[0]

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """The shape of `tgt`; the arguments go to each layer."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        causal = {"tgt_is_causal": bool(tgt_is_causal), "memory_is_causal": memory_is_causal}
        return self._through(tgt, memory, *masks, **causal)
