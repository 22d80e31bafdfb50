"""What a run needs, made from the options: data, network, optimizer, loader."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet import manual_seed, nn, optim, to_numpy
from xpnet.cli.data import SOURCES, choose_backend, divided, usual_size
from xpnet.cli.errors import BadInputError, bad_input, say_warnings
from xpnet.cli.model import CODES, DROPOUT, FLAT, MODELS, RATES, TEXT, draw_weights
from xpnet.cli.notes import gathered
from xpnet.cli.pictures import augmentation
from xpnet.cli.settings import TABLE, NetworkSettings
from xpnet.cli.table import TableData, read_table_data
from xpnet.cli.text import next_token_accuracy, next_token_loss, read_text
from xpnet.core.convert import asarray
from xpnet.core.reading import printable
from xpnet.data import (
    Augmentation,
    ChannelMean,
    DataLoader,
    Dataset,
    Standardize,
    Vocabulary,
    patch_whitening,
)
from xpnet.data.duplicates import duplicates
from xpnet.data.preprocessing import Preprocessing
from xpnet.functional import cross_entropy, elbo_loss, flatten, mse_loss
from xpnet.optim.by_name import OPTIMIZERS, make_optimizer


@dataclass(frozen=True)
class Setup:
    """Data standardised and on the backend, with the network and its optimizer.

    `pictures` is the training set as pictures; in the others, samples have the shape that the network takes.
    """

    name: str
    kind: str
    size: int | None
    pictures: Dataset
    training: Dataset
    validation: Dataset
    test: Dataset
    scaler: Preprocessing
    augment: Augmentation | None
    shape: list[int]
    network: dict[str, Any]  # the arguments that make the model
    model: nn.Module
    optimizer: optim.Optimizer
    loader: DataLoader
    table: TableData | None = None  # what is known of the columns, if the data are a table
    label_smoothing: float = 0.0

    @property
    def task(self) -> str:
        """What the network does: "classification", "regression", "text" or "reconstruction"."""
        if self.table is not None and self.table.target.class_names is None:
            return "regression"
        return "text" if self.kind in TEXT else "reconstruction" if self.kind in CODES else "classification"

    @property
    def regression(self) -> bool:
        """Whether a number is predicted, not a class."""
        return self.task == "regression"

    @property
    def loss(self) -> Callable[..., Any]:
        """What training makes small."""
        if self.kind == "vae":
            return elbo_loss
        if self.task == "classification":
            smoothing = self.label_smoothing
            return partial(cross_entropy, label_smoothing=smoothing) if smoothing else cross_entropy
        return next_token_loss if self.task == "text" else mse_loss

    @property
    def metrics(self) -> list[Callable[..., Any]] | None:
        """What is measured beside the loss; None: what the Trainer finds."""
        return [next_token_accuracy] if self.task == "text" else None

    def in_units(self, model: nn.Module) -> None:
        """Have a network give the target as it is in the table: its last layer takes the scale.

        A table's target is standardised for training, so that any unit is learned alike.
        """
        if self.table is None or not self.regression:
            return
        state = {name: to_numpy(array) for name, array in model.state_dict().items()}
        weight, bias = [name for name in state if name.endswith((".weight", ".bias"))][-2:]
        state[weight] = state[weight] * np.float32(self.table.std)
        state[bias] = (state[bias].astype(np.float64) * self.table.std + self.table.mean).astype(np.float32)
        model.load_state_dict(state)

    def targets(self, part: Dataset) -> np.ndarray:
        """Those of a part of the data, as they are in the table."""
        y = to_numpy(part.y)
        if self.table is None or not self.regression:
            return y
        return y[:, 0].astype(np.float64) * self.table.std + self.table.mean

    def describe(self) -> str:
        """The network in a few words."""
        if self.kind == "mlp":
            sizes = (self.network["inputs"], *self.network["layers"], self.network["classes"])
            return "-".join(map(str, sizes))
        if self.kind in CODES:
            half = (self.network["inputs"], *self.network["layers"])
            return f"{self.kind} {'-'.join(map(str, (*half, self.network['latent'], *half[::-1])))}"
        depth = f" and depth {self.network['depth']}" if "depth" in self.network else ""
        return f"{self.kind} of width {self.network['width']}{depth}"


def say_notes(table: TableData | None) -> None:
    """Print what was found in a table, and what is left out of it; and what readers warned of."""
    say_warnings()
    for note in () if table is None else gathered(table.notes):
        print(f"note: {printable(note)}")


# options that only some kinds of model have
SMALLEST = {"cnn": 4, "resnet9": 9, "vit": 2}  # pixels of a side
ONLY = {
    "width": tuple(kind for kind in MODELS if kind not in FLAT),
    "depth": ("vit", *TEXT),
    "heads": ("vit", "gpt"),
    "latent": CODES,
    "context": TEXT,
    "tokens": TEXT,
}


def check_options(settings: NetworkSettings, name: str, kind: str) -> None:
    """Refuse options that do not go together."""
    if name == "table":
        if kind != "mlp":
            raise BadInputError(f"--model {kind} is for pictures; a table takes mlp")
        if settings.asked("augment"):
            raise BadInputError("--augment is for pictures")
    else:
        given = settings.asked(*TABLE)
        if name == "text" and "encoding" in given:
            given.remove("encoding")
        if given:
            raise BadInputError(f"--{given[0]} is for tables; the data are {name}")
    if (name == "text") != (kind in TEXT):
        fit = ", ".join(TEXT) if name == "text" else "gpt and lstm are for text"
        raise BadInputError(f"--model {kind}: {'for text it is one of ' if name == 'text' else ''}{fit}")
    if settings.asked("augment") and kind in (*TEXT, *CODES):
        raise BadInputError(f"--augment is for pictures with classes; the model is {kind}")
    if settings.layers and kind not in FLAT:
        raise BadInputError(f"--layers is for --model mlp; --width sets the channels of the {kind}")
    if isinstance(settings.dropout, tuple):
        hidden = len(settings.layers or SOURCES[name].layers) if kind == "mlp" else 0
        if len(settings.dropout) != hidden:
            what = f"this mlp has {hidden}" if hidden else f"the model is {kind}"
            raise BadInputError(
                f"--dropout: {len(settings.dropout)} probabilities are for an mlp with so many layers; {what}"
            )
    for option, kinds in ONLY.items():
        if getattr(settings, option) is not None and kind not in kinds:
            layers = ", whose sizes --layers sets" if option == "width" else ""
            raise BadInputError(f"--{option} is for --model {', '.join(kinds)}; the model is {kind}{layers}")
    if settings.asked("activation", "no_batch_norm") and kind != "mlp":
        raise BadInputError(f"--activation and --no-batch-norm are for --model mlp, not {kind}")
    if settings.skip_damaged and name != "images":
        raise BadInputError("--skip-damaged is for images")
    if settings.size and name in ("table", "text"):
        raise BadInputError("--size is for pictures")
    if settings.size and SOURCES[name].size is None:
        raise BadInputError(f"--size is for images; the pictures of {name} have one size")


class Data(NamedTuple):
    """The parts of a data set, and what they were scaled by; with what is known of a table.

    `size` is the side that pictures were scaled to, if they were.
    """

    training: Dataset
    validation: Dataset
    test: Dataset
    scaler: Preprocessing
    table: TableData | None = None
    size: int | None = None


def prepare(settings: NetworkSettings, name: str, data: Data | None = None, intervals: bool = False) -> Setup:
    """Choose the backend, seed, read the data, make the rest.

    Args:
        settings: what to train, and on what.
        name: of the data.
        data: what `read_data` gave for the same settings; default: read them.
        intervals: whether rows of a table are kept for intervals around predicted numbers.

    Raises:
        BadInputError: whatever is wrong with the settings, the files or the machine.
    """
    kind = settings.model or SOURCES[name].model
    with bad_input():
        choose_backend(settings)
        manual_seed(settings.seed)
        pictures, validation, test, scaler, table, size = data or read_data(settings, name, kind, intervals)
        augment = None
        if settings.augment != "none":
            augment = augmentation(pictures, SOURCES[name].mirrored, settings.augment == "strong")
        training, late_flatten = pictures, augment is not None and kind == "mlp"
        if kind in FLAT:  # takes flat samples; pictures to be augmented are flattened batch by batch
            validation, test = validation.map(flatten), test.map(flatten)
            training = training if late_flatten else training.map(flatten)
        if kind in CODES:  # samples are their own targets
            training, validation, test = (Dataset(d.x, d.x, d.name) for d in (training, validation, test))
        shape = list(validation.x.shape[1:])
        regression = table is not None and table.target.class_names is None
        if settings.label_smoothing and (regression or kind in (*TEXT, *CODES)):
            raise BadInputError("--label-smoothing is for classes: the network predicts none here")
        if kind in (*TEXT, *CODES):
            classes = len(scaler) if isinstance(scaler, Vocabulary) else 0
        else:
            classes = 1 if regression else training.classes
        if kind in SMALLEST and min(shape[1:]) < SMALLEST[kind]:
            raise BadInputError(
                f"--model {kind} is for pictures of {SMALLEST[kind]} pixels a side and more; these are "
                f"{shape[1]} x {shape[2]}: choose a larger --size, or another --model"
            )
        network = _network(settings, name, kind, shape, classes)
        embedding = ([], [], []) if table is None else table.columns.embedding()
        if embedding[0]:
            network["embedding"] = embedding
        model, optimizer = make_network(settings, kind, network, pictures)
    batch_size = settings.batch_size or min(SOURCES[name].batch_size, len(training))
    if batch_size > len(training):
        raise BadInputError(f"--batch-size {batch_size}: there are only {len(training)} training samples")
    loader = DataLoader(
        training,
        batch_size,
        drop_last=True,
        augment=augment,
        transform=flatten if late_flatten else None,
        prefetch=2 if augment is not None else 0,
    )
    return Setup(
        name, kind, size, pictures, training, validation, test, scaler, augment, shape, network, model,
        optimizer, loader, table, settings.label_smoothing,
    )  # fmt: skip


def make_network(
    settings: NetworkSettings, kind: str, network: dict[str, Any], training: Dataset
) -> tuple[nn.Module, optim.Optimizer]:
    """A network with new initial weights, and its optimizer."""
    model = MODELS[kind](**network)
    if settings.init is not None:
        draw_weights(model, settings.init)
    elif kind == "resnet9":
        whiten_patches(model, training)
    lr = settings.lr or OPTIMIZERS[settings.optimizer][2] * RATES.get(kind, 1.0)
    return model, make_optimizer(settings.optimizer, model, lr, settings.weight_decay)


def whiten_patches(model: nn.Module, training: Dataset) -> None:
    """Give the first layer weights that whiten the training pictures' patches, and freeze them."""
    first = dict(model.named_parameters())["0.weight"]
    first.data = asarray(patch_whitening(training.x[:5000, ...], first.shape[2]))
    nn.freeze(model, "0.weight")


def read_data(settings: NetworkSettings, name: str, kind: str, intervals: bool = False) -> Data:
    """Training, validation and test set, standardised and on the backend, and the statistics used."""
    if name == "table":
        table = read_table_data(settings, settings.seed, intervals)
        parts = table.training.to_backend(), table.validation.to_backend(), table.test.to_backend()
        return Data(*parts, table.columns, table)
    if name == "text":
        first, middle, last, vocabulary = read_text(settings)
        return Data(first.to_backend(), middle.to_backend(), last.to_backend(), vocabulary)
    source = SOURCES[name]
    size = settings.size or usual_size(name, settings.path)
    skip = {"skip_damaged": True} if settings.skip_damaged else {}
    training, validation, test = source.load(settings.path, size, **skip)
    if name == "images":
        trained = [training] if validation is None else [training, validation]
        for note in duplicates(test, trained, "pictures"):
            warnings.warn(f"{settings.path}: {note}", stacklevel=2)
    if validation is None:
        fractions = 1 - source.validation, source.validation
        training, validation = divided(training, fractions, settings.seed)
    # one mean and deviation for all pixels: the borders that are never inked stay small
    scaler = Standardize(per_feature=False) if kind in FLAT else ChannelMean()
    scaler.fit(training.x)
    training, validation, test = (d.map(scaler.transform).to_backend() for d in (training, validation, test))
    return Data(training, validation, test, scaler, size=size)


def _network(
    settings: NetworkSettings, name: str, kind: str, shape: list[int], classes: int
) -> dict[str, Any]:
    """The arguments that make the model."""
    p = DROPOUT.get(kind, 0.0) if settings.dropout is None else settings.dropout
    dropout: dict[str, Any] = {"dropout": list(p) if isinstance(p, tuple) else p}
    layers = list(settings.layers or SOURCES[name].layers)
    if kind == "mlp":
        return {
            "inputs": shape[0],
            "layers": layers,
            "classes": classes,
            **dropout,
            **_other_than_usual(settings),
        }
    if kind in CODES:
        return {"inputs": shape[0], "layers": layers, "latent": settings.latent or 8}
    if kind == "lstm":
        return {"classes": classes, "depth": settings.depth or 2, "width": settings.width or 256, **dropout}
    deep = {"depth": settings.depth or 4, "heads": settings.heads or 4}
    if kind == "gpt":
        return {"classes": classes, "context": shape[0], **deep, "width": settings.width or 128, **dropout}
    network = {"classes": classes, "channels": shape[0]}
    if kind == "vit":
        if shape[1] != shape[2]:
            raise BadInputError(f"--model vit is for square pictures; these are {shape[1]} x {shape[2]}")
        return {**network, "size": shape[1], **deep, "width": settings.width or 64, **dropout}
    network["width"] = settings.width or (64 if kind == "resnet9" else 16)
    return {**network, **dropout} if kind == "cnn" else network


def _other_than_usual(settings: NetworkSettings) -> dict[str, Any]:
    """What an mlp has that was asked for."""
    activation = {"activation": settings.activation} if settings.activation != "relu" else {}
    return {**activation, **({"batch_norm": False} if settings.no_batch_norm else {})}
