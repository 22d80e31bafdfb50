"""`xpnet generate`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from xpnet import manual_seed
from xpnet.cli.data import choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.options import add_backend, count, decay
from xpnet.cli.run_folder import read_model
from xpnet.cli.settings import BackendSettings
from xpnet.cli.text import shown_text
from xpnet.core.reading import reading
from xpnet.data import Vocabulary
from xpnet.nn.language import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Settings(BackendSettings):
    """The options of `xpnet generate`."""

    model: str
    prompt: str = "\n"
    length: int = 500
    temperature: float = 1.0
    top_k: int | None = None
    seed: int = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet generate`."""
    parser.description = "Go on with a text, token by token, as a network of `xpnet train text` would."
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train text` saved")
    parser.add_argument("--prompt", metavar="TEXT", help="how the text begins (default: with a new line)")
    parser.add_argument("--length", type=count, metavar="N", help="characters or bytes to add (default: 500)")
    parser.add_argument(
        "--temperature", type=decay, metavar="T", help="below 1 likely ones more often, 0 the likeliest"
    )
    parser.add_argument("--top-k", type=count, metavar="K", help="draw from the K likeliest (default: all)")
    parser.add_argument("--seed", type=int, help="of what is drawn (default: 0)")
    add_backend(parser)


def run(settings: Settings) -> int:
    """Print the prompt and what the model makes of it; the exit code."""
    with bad_input():
        choose_backend(settings)
        saved = read_model(settings.model)
        model, vocabulary = saved.model, saved.preprocessing
        if not isinstance(model, LanguageModel) or not isinstance(vocabulary, Vocabulary):
            raise BadInputError(f"{settings.model} is no model of a text, as `xpnet train text` saves it")
        if len(vocabulary) != model.vocab_size:
            raise BadInputError(
                f"{settings.model}: {len(vocabulary)} tokens, the model has {model.vocab_size}"
            )
        prompt = settings.prompt
        if prompt == Settings.prompt and vocabulary.symbols is not None and "\n" not in vocabulary.symbols:
            prompt = vocabulary.symbols[0]
        if not prompt:
            raise BadInputError("--prompt: expected a character or more")
        begin = vocabulary.transform(prompt)
    manual_seed(settings.seed)
    with bad_input(), reading(settings.model, "a model of a text"):
        made = model.generate(np.asarray(begin)[None], settings.length, settings.temperature, settings.top_k)
    print(shown_text(vocabulary.inverse(made[0])))
    return OK
