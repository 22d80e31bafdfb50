"""A language model: the decoder of a transformer, without an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np  # of the text, which is on the host

from xpnet import functional as F
from xpnet import init
from xpnet.core import random
from xpnet.core.backend import HOST
from xpnet.core.checks import probability, size
from xpnet.core.convert import asarray
from xpnet.core.operators import add, getitem
from xpnet.core.places import backend_of
from xpnet.core.recording import depends_on
from xpnet.nn.embedding import Embedding
from xpnet.nn.language import LanguageModel
from xpnet.nn.normalization import LayerNorm
from xpnet.nn.transformer import TransformerEncoderLayer


class GPT(LanguageModel):
    """Scores of the next token at each place of a text (Radford et al., 2019: GPT-2's form).

    Args:
        vocab_size: tokens.
        context: places at most.
        depth: transformer layers, norm first.
        heads: of the attention.
        width: features.
        dropout: the probability of dropping.
        bias: whether affine maps and norms have one.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or the heads do not divide the width; when called, a text too long.

    The scores are products with the table of tokens, which is one parameter with the first layer's.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.GPT(50, context=8, depth=1, heads=2, width=4)(xpnet.asarray([[1, 2, 3]])).shape
    (1, 3, 50)
    """

    def __init__(
        self,
        vocab_size: int,
        context: int = 128,
        depth: int = 6,
        heads: int = 6,
        width: int = 192,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.vocab_size, self.context = size("GPT", "vocab_size", vocab_size), size("GPT", "context", context)
        self.depth, self.heads = size("GPT", "depth", depth), size("GPT", "heads", heads)
        self.width, self.dropout, self.bias = (
            size("GPT", "width", width),
            probability("GPT", "dropout", dropout),
            bias,
        )
        small = lambda shape, dtype: init.normal(shape, 0.02, dtype=dtype)
        self.token = Embedding(self.vocab_size, self.width, weight_init=small, dtype=dtype)
        self.place = Embedding(self.context, self.width, weight_init=small, dtype=dtype)
        options = (4 * self.width, self.dropout, "gelu", 1e-5, True, True, bias)
        self.blocks: list[Any] = [
            TransformerEncoderLayer(self.width, self.heads, *options, dtype=dtype) for _ in range(self.depth)
        ]
        self.norm = LayerNorm(self.width, bias=bias, dtype=dtype)
        for block in self.blocks:
            for name, p in block.named_parameters():
                if p.ndim == 2:  # what is added to the way around, of 2 branches a layer, is kept small
                    last = name in ("self_attn.out_proj.weight", "linear2.weight")
                    std = 0.02 / (2 * self.depth) ** 0.5 if last else 0.02
                    p.data[...] = asarray(_normal(tuple(p.shape)) * std, dtype, backend=backend_of(p.data))
                elif name.endswith("bias") and "norm" not in name:
                    p.data[...] = 0.0

    def forward(self, x: Any) -> Any:
        """Integers (N, L) -> scores (N, L, vocab_size)."""
        length = x.shape[-1]
        if x.ndim != 2 or length > self.context:
            raise ValueError(f"GPT: expected numbers (N, L), L at most {self.context}, got {tuple(x.shape)}")
        depends_on(self, "training", "dropout")
        y = add(self.token(x), getitem(self.place.weight, slice(0, length)))
        y = F.dropout(y, self.dropout, self.training)
        for block in self.blocks:
            y = block(y, is_causal=True)
        return F.linear(self.norm(y), self.token.weight)

    def _next(self, text: np.ndarray, state: Any) -> tuple[Any, Any]:
        return self(self._here(text[:, -self.context :])), None

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.vocab_size}, context={self.context}, depth={self.depth}, width={self.width}"


def _normal(shape: tuple[int, ...]) -> Any:
    """N(0, 1) from the stream of initial weights, on the host."""
    return random.normal(shape, random.generators[random.INIT].next_key(), backend=HOST)
