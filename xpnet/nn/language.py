"""What models of the next token share: texts that go on."""

from __future__ import annotations

from typing import Any

import numpy as np  # of what the host samples

from xpnet.core import random
from xpnet.core.checks import size
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of
from xpnet.nn.embedding import Embedding
from xpnet.nn.inference import evaluating
from xpnet.nn.module import Layer


class LanguageModel(Layer):
    """Integers (N, L) -> scores (N, L, vocab_size) of the token that follows each place."""

    token: Embedding
    vocab_size: int

    def generate(self, x: Any, count: int, temperature: float = 1.0, top_k: int | None = None) -> np.ndarray:
        """Texts that go on: `count` more tokens, drawn one by one from what the model gives.

        Args:
            x: integers (N, L), the beginnings.
            count: tokens to add.
            temperature: below 1 the likely ones are drawn more often; 0 takes the likeliest.
            top_k: draw from so many of the likeliest.

        Returns:
            (N, L + count) int64, on the host.

        Raises:
            ValueError: the count or the temperature is negative, top_k is below 1, or x is empty.
            TypeError: the count is no whole number.
        """
        name, text, state = type(self).__name__, np.asarray(to_numpy(x), np.int64), None
        count = size(name, "count", count, 0)
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"{name}: temperature must be a number of at least 0, got {temperature}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"{name}: top_k must be at least 1, got {top_k}")
        if text.ndim != 2 or not text.size:
            raise ValueError(f"{name}: expected beginnings (N, L) of a token or more, got {text.shape}")
        with evaluating(self):
            for _ in range(count):
                scores, state = self._next(text, state)
                last = to_numpy(scores)[:, -1].astype(np.float64)
                text = np.concatenate([text, _drawn(last, temperature, top_k)], axis=1)
        return text

    def _next(self, text: np.ndarray, state: Any) -> tuple[Any, Any]:
        """Scores (N, ..., vocab_size), the next token's last, and what the next call is to be given."""
        raise NotImplementedError

    def _here(self, text: np.ndarray) -> Any:
        """The text where the model is."""
        return asarray(text, backend=backend_of(self.token.weight.data))


def _drawn(scores: np.ndarray, temperature: float, top_k: int | None) -> np.ndarray:
    """One token a row, (N, 1)."""
    if not temperature:
        return scores.argmax(axis=1)[:, None]
    if top_k is not None and top_k < scores.shape[1]:
        least = np.partition(scores, -top_k, axis=1)[:, -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    p = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    ends = np.cumsum(p, axis=1)
    u = random.doubles(len(scores), random.generators[random.NOISE].next_key())[:, None] * ends[:, -1:]
    return np.minimum((ends <= u).sum(axis=1, keepdims=True), scores.shape[1] - 1)
