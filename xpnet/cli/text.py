"""`xpnet train text`: a text as windows of numbers, what is measured of it, and how text is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from xpnet import functional as F
from xpnet.cli.errors import BadInputError
from xpnet.cli.settings import NetworkSettings
from xpnet.core.operators import reshape
from xpnet.core.places import namespace
from xpnet.core.reading import read_file, reading
from xpnet.core.tensor import array_of
from xpnet.data import Dataset, Vocabulary
from xpnet.data.decoding import decoded
from xpnet.data.vocabulary import LEVELS, windows
from xpnet.train import accuracy

CONTEXT = 128


def next_token_loss(output: Any, target: Any) -> Any:
    """The cross-entropy of scores (N, L, V) and the tokens that follow, (N, L)."""
    return F.cross_entropy(*_in_rows(output, target))


def next_token_accuracy(output: Any, target: Any) -> Any:
    """How many of them have the largest score."""
    scores, tokens = _in_rows(array_of(output), target)
    if scores.shape[1] == 1:  # of the only token, and no logit that says which of two
        xp = namespace(scores)
        scores = xp.concat([scores, xp.full_like(scores, -math.inf)], axis=1)
    return accuracy(scores, tokens)


next_token_accuracy.__name__ = "accuracy"  # under which it is recorded


def _in_rows(output: Any, target: Any) -> tuple[Any, Any]:
    return reshape(output, (-1, output.shape[-1])), reshape(target, (-1,))


def read_text(settings: NetworkSettings) -> tuple[Dataset, Dataset, Dataset, Vocabulary]:
    """The first 80 % of the text, the next 10 % and the last 10 %, in windows, and the numbers of its tokens.

    Raises:
        BadInputError: no path, or a text that is too short.
        OSError: it cannot be read.
    """
    if settings.path is None:
        raise BadInputError("text needs --path FILE, a file with any text, a megabyte or so")
    level = settings.tokens or LEVELS[0]
    if level == "byte" and settings.encoding is None:
        text: str | bytes = read_file(settings.path)
    else:
        with reading(settings.path, "a text (--tokens byte takes any file)"):
            text = decoded(settings.path, settings.encoding, table=False)
    if not text:
        raise BadInputError(f"{settings.path} is empty")
    vocabulary = Vocabulary(level).fit(text)
    numbers, length = vocabulary.transform(text), settings.context or CONTEXT
    ends = 8 * len(numbers) // 10, 9 * len(numbers) // 10
    least = 10 * (length + 1)
    if len(numbers) < least:
        raise BadInputError(
            f"{settings.path}: {len(numbers)} {vocabulary.level}s are too few for windows of {length}: give "
            f"{least} or more, or a smaller --context"
        )
    parts = numbers[: ends[0]], numbers[ends[0] : ends[1]], numbers[ends[1] :]
    training, validation, test = (Dataset(*windows(part, length), settings.path) for part in parts)
    return training, validation, test.guarded(), vocabulary


def test_text(trainer: Any, setup: Any) -> dict[str, Any]:
    """What is measured on the last part of the text."""
    found = trainer.evaluate(setup.test)
    bits = found["loss"] / math.log(2)
    return {
        **found,
        "bits": bits,
        "perplexity": math.exp(min(found["loss"], 700)),
        "samples": len(setup.test),
    }


def text_line(result: Mapping[str, Any]) -> str:
    """In words."""
    return (
        f"loss {result['loss']:.4f}, {result['bits']:.3f} bits a token, perplexity "
        f"{result['perplexity']:.2f}, accuracy {result['accuracy']:.2%}"
    )


def shown_text(text: str) -> str:
    """A text for a terminal: what would control it is replaced."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
