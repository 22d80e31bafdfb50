"""The networks that the command line trains, and the file that one is saved in."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import __version__, init, nn
from xpnet.cli.errors import BadInputError
from xpnet.core.backend import dtype_name
from xpnet.core.reading import reading
from xpnet.data.preprocessing import Preprocessing
from xpnet.io.model import Saved, load


def mlp(
    inputs: int,
    layers: list[int],
    classes: int,
    dropout: float | list[float],
    embedding: list[list[int]] | None = None,
    **options: Any,
) -> nn.Sequential:
    """The perceptron of the command line: ReLU, with batch norm, unless the options of `nn.mlp` say else.

    Vectors for categories come before it.
    """
    options = {"dropout": dropout, "batch_norm": True, **options}
    if embedding is None:
        return nn.mlp(inputs, layers, classes, **options)
    vectors = nn.CategoryEmbedding(*embedding)
    inputs += sum(vectors.dims) - len(vectors.dims)
    return nn.Sequential(vectors, *nn.mlp(inputs, layers, classes, **options))


def vit(classes: int, channels: int, size: int, depth: int, heads: int, width: int, dropout: float) -> nn.ViT:
    """A small transformer of square pictures, of about 8 x 8 patches."""
    patch = min((n for n in range(2, size + 1) if size % n == 0), key=lambda n: abs(n - size / 8))
    return nn.ViT(size, patch, depth, heads, width, 4 * width, dropout, 0.0, classes, channels)


def gpt(classes: int, context: int, depth: int, heads: int, width: int, dropout: float) -> nn.GPT:
    """A GPT of as many tokens as there are classes."""
    return nn.GPT(classes, context, depth, heads, width, dropout)


def lstm(classes: int, depth: int, width: int, dropout: float) -> nn.LSTMLanguageModel:
    """Likewise an LSTM."""
    return nn.LSTMLanguageModel(classes, width, depth, dropout)


def autoencoder(inputs: int, layers: list[int], latent: int) -> nn.Autoencoder:
    """An autoencoder of flat samples."""
    return nn.Autoencoder(inputs, layers, latent)


def vae(inputs: int, layers: list[int], latent: int) -> nn.VAE:
    """Likewise a variational one."""
    return nn.VAE(inputs, layers, latent)


# what `xpnet train --model` offers; each is made from arguments that the saved model keeps
MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": nn.small_cnn,
    "resnet": nn.small_resnet,
    "resnet9": nn.resnet9,
    "vit": vit,
    "autoencoder": autoencoder,
    "vae": vae,
    "gpt": gpt,
    "lstm": lstm,
}
TEXT, CODES = ("gpt", "lstm"), ("autoencoder", "vae")
FLAT = ("mlp", *CODES)  # whose samples have one axis

# the learning rate that suits a kind of model, in that of its optimizer, which suits a small mlp or cnn
RATES = {"vit": 0.2, "gpt": 0.2, "lstm": 0.4}
DROPOUT = {"mlp": 0.2, "cnn": 0.2, "gpt": 0.1, "lstm": 0.1}


def use_of(task: str, path: str) -> str:
    """What to do with the file of a model that was trained."""
    return {
        "text": f"go on with a text by  xpnet generate {path}",
        "reconstruction": f"use it as xpnet.load({path!r}).model",
    }.get(task, f"apply it with  xpnet predict {path}")


def check_kind(saved: Saved, path: str) -> None:
    """Refuse what has no classes or amounts to predict.

    Raises:
        BadInputError: saying what to do with it.
    """
    try:
        task = saved.task
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error
    if task == "text":
        raise BadInputError(f"{path} is a model of a text: use it with  xpnet generate {path}")
    if task == "reconstruction":
        raise BadInputError(
            f"{path} gives samples back, not classes or amounts: use it as xpnet.load({path!r}).model"
        )


# what `xpnet train --init` offers
INITS: dict[str, init.Initializer] = {
    "glorot": init.glorot_normal,
    "he": init.he_normal,
    "lecun": init.lecun_normal,
    "orthogonal": init.orthogonal,
    "small": init.normal,
    "torch": init.torch_default,
    "xavier": init.xavier_fan_in,
    "zeros": init.zeros,
}


def draw_weights(model: nn.Module, name: str) -> None:
    """Draw all weights anew, by a rule of `INITS`; biases and norms stay as they are."""
    for p in model.parameters():
        if p.ndim >= 2:
            p.data = INITS[name](p.shape, dtype=dtype_name(p.dtype))


def load_model(path: str) -> tuple[nn.Module, Preprocessing, dict[str, Any]]:
    """A network of `xpnet train` on the default backend, its preprocessing, and its metadata.

    `metadata["kind"]` names the model, `metadata["model"]` are its arguments, `metadata["shape"]` is that of
    a sample.

    Raises:
        ValueError: the file is damaged or holds something else.
        OSError: it cannot be read.
        ImportError: safetensors is missing.
    """
    with reading(path, "a model of `xpnet train`"):
        saved = load(path)
        if saved.metadata.get("kind") not in MODELS or saved.preprocessing is None:
            raise ValueError(f"{path}: holds a model, but not one of `xpnet train`")
        return saved.model, saved.preprocessing, _checked(saved.metadata)


def _checked(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a model, if the commands can work with them.

    Raises:
        ValueError: naming what is not as `xpnet train` writes it.
    """

    def sizes(value: Any) -> bool:
        return isinstance(value, list) and all(type(n) is int and n > 0 for n in value) and value != []

    names, classes = metadata.get("class_names"), dict(metadata["model"]).get("classes")
    parts = {
        "shape": sizes(metadata["shape"]),
        "picture": sizes(metadata.get("picture", metadata["shape"])),
        "size": sizes([metadata.get("size") or 1]),
        "data": isinstance(metadata["data"], str),
        "classes": type(classes) is int and classes > 0,
        "class_names": names is None
        or (isinstance(names, list) and len(names) == classes and all(isinstance(n, str) for n in names)),
    }
    wrong = [name for name, good in parts.items() if not good]
    if wrong:
        raise ValueError(f"its {wrong[0]} cannot be used")
    return {**metadata, "class_names": names}


def versions() -> dict[str, str]:
    """What a run depended on."""
    return {"xpnet": __version__, "python": platform.python_version(), "numpy": np.__version__}
