"""A recurrent language model."""

from __future__ import annotations

from typing import Any

import numpy as np  # of the text, which is on the host

from xpnet.core.checks import probability, size
from xpnet.nn.dropout import Dropout
from xpnet.nn.embedding import Embedding
from xpnet.nn.language import LanguageModel
from xpnet.nn.linear import Linear
from xpnet.nn.recurrent import LSTM


class LSTMLanguageModel(LanguageModel):
    """Scores of the next token at each place of a text, by an LSTM (Graves, 2013).

    Args:
        vocab_size: tokens.
        width: features of a token, and of a state.
        depth: recurrent layers.
        dropout: the probability of dropping, of tokens, between layers and before the scores.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> import xpnet
    >>> from xpnet import nn
    >>> model = nn.LSTMLanguageModel(50, width=4, depth=1)
    >>> model(xpnet.asarray([[1, 2, 3]])).shape, model.generate([[7]], 5).shape
    ((1, 3, 50), (1, 6))
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 256,
        depth: int = 2,
        dropout: float = 0.0,
        *,
        dtype: str = "float32",
    ) -> None:
        whole = lambda name, value: size("LSTMLanguageModel", name, value)
        self.vocab_size, self.width = whole("vocab_size", vocab_size), whole("width", width)
        self.depth, self.dropout = whole("depth", depth), probability("LSTMLanguageModel", "dropout", dropout)
        self.token = Embedding(self.vocab_size, self.width, dtype=dtype)
        between = self.dropout if self.depth > 1 else 0.0
        self.lstm = LSTM(self.width, self.width, self.depth, dropout=between, batch_first=True, dtype=dtype)
        self.drop = Dropout(self.dropout)
        self.head = Linear(self.width, self.vocab_size, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Integers (N, L) -> scores (N, L, vocab_size)."""
        return self._run(x, None)[0]

    def _run(self, x: Any, state: Any) -> tuple[Any, Any]:
        if x.ndim != 2:
            raise ValueError(f"LSTMLanguageModel: expected numbers (N, L), got {tuple(x.shape)}")
        y, state = self.lstm(self.drop(self.token(x)), state)
        return self.head(self.drop(y)), state

    def _next(self, text: np.ndarray, state: Any) -> tuple[Any, Any]:
        return self._run(self._here(text if state is None else text[:, -1:]), state)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.vocab_size}, width={self.width}, depth={self.depth}"
