"""A text as numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.data.preprocessing import Preprocessing

LEVELS = ("character", "byte")


class Vocabulary(Preprocessing):
    """The number of each character, or of each byte, of a text.

    Args:
        level: "character": those of the text it is fitted on; "byte": all 256, those of UTF-8 in a str.
        symbols: the characters in the order of their numbers; default: those that `fit` finds, sorted.

    Raises:
        ValueError: another level, symbols that are no characters, or a character twice.

    >>> from xpnet.data import Vocabulary
    >>> vocabulary = Vocabulary().fit("hello")
    >>> vocabulary.transform("hole"), vocabulary.inverse([1, 0, 2, 2, 3])
    (array([1, 3, 2, 0]), 'hello')
    """

    def __init__(self, level: str = "character", symbols: Sequence[str] | None = None) -> None:
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"Vocabulary: level must be {' or '.join(map(repr, LEVELS))}, got {level!r}")
        self.level, self.symbols = level, None if symbols is None else list(symbols)
        if not all(isinstance(symbol, str) and len(symbol) == 1 for symbol in self.symbols or ()):
            raise ValueError("Vocabulary: the symbols are characters, each a str of length 1")
        if len(set(self.symbols or ())) < len(self.symbols or ()):
            raise ValueError("Vocabulary: a character is there twice")

    def __len__(self) -> int:
        return 256 if self.level == "byte" else len(self.symbols or ())

    def fit(self, x: Any) -> Vocabulary:
        """Take the characters of a text. Returns self.

        Raises:
            ValueError: the text is empty.
        """
        if not x:
            raise ValueError("Vocabulary: nothing to fit: the text is empty")
        if self.level == "character":
            self.symbols = sorted(set(x))
        return self

    def transform(self, x: Any) -> np.ndarray:
        """The numbers of a text, (n,) int64.

        Raises:
            RuntimeError: `fit` has not been called.
            ValueError: a character that is not in the vocabulary.
        """
        if self.level == "byte":
            return np.frombuffer(x.encode() if isinstance(x, str) else x, np.uint8).astype(np.int64)
        if self.symbols is None:
            raise RuntimeError("Vocabulary: no characters yet; call fit(text) with the training text")
        points = np.frombuffer(x.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
        known = np.array([ord(symbol) for symbol in self.symbols], np.int64)
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], points), max(len(known) - 1, 0))
        numbers = order[place] if len(known) else points
        strange = points[known[numbers] != points] if len(known) else points
        if strange.size:
            raise ValueError(
                f"Vocabulary: the model knows no {chr(int(strange[0]))!r}: it was not trained on it"
            )
        return numbers

    def inverse(self, x: Any) -> Any:
        """The text of numbers (n,): a str; bytes that are no UTF-8 become U+FFFD."""
        numbers = np.asarray(to_numpy(x), np.int64)
        if self.level == "byte":
            return numbers.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return "".join(self.symbols[number] for number in numbers) if self.symbols is not None else ""

    @property
    def settings(self) -> dict[str, Any]:
        """Level and characters."""
        return {"level": self.level, "symbols": self.symbols}


def windows(numbers: np.ndarray, length: int) -> tuple[Array, Array]:
    """A text in parts that follow each other: (n, length), and the tokens after each of them, likewise.

    Both are views of one array, whose rest that fills no window is left out.

    Raises:
        ValueError: not one window fits.

    >>> import numpy as np
    >>> from xpnet.data.vocabulary import windows
    >>> x, y = windows(np.arange(6), 2)
    >>> x.tolist(), y.tolist()
    ([[0, 1], [2, 3]], [[1, 2], [3, 4]])
    """
    n = (len(numbers) - 1) // length
    if n < 1:
        raise ValueError(f"a text of {len(numbers)} tokens is too short for windows of {length} and the next")
    return numbers[: n * length].reshape(n, length), numbers[1 : n * length + 1].reshape(n, length)
