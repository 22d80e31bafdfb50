"""What a run needs, made from the options: data, network, optimizer, loader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet import manual_seed, nn, optim
from xpnet.cli.data import SOURCES, choose_backend
from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.model import MODELS
from xpnet.cli.pictures import standard_augmentation
from xpnet.cli.settings import NetworkSettings
from xpnet.data import Augmentation, ChannelMean, DataLoader, Dataset, Standardize, split
from xpnet.data.preprocessing import Preprocessing
from xpnet.functional import flatten
from xpnet.optim.by_name import make_optimizer


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

    def describe(self) -> str:
        """The network in a few words."""
        if self.kind == "mlp":
            sizes = (self.network["inputs"], *self.network["layers"], self.network["classes"])
            return "-".join(map(str, sizes))
        return f"{self.kind} of width {self.network['width']}"


def check_options(settings: NetworkSettings, name: str, kind: str) -> None:
    """Refuse options that do not go together."""
    if settings.layers and kind != "mlp":
        raise BadInputError(f"--layers is for --model mlp; --width sets the channels of the {kind}")
    if settings.size and SOURCES[name].size is None:
        raise BadInputError(f"--size is for images; the pictures of {name} have one size")


Data = tuple[
    Dataset, Dataset, Dataset, Preprocessing
]  # training, validation, test, and what they were scaled by


def prepare(settings: NetworkSettings, name: str, data: Data | None = None) -> Setup:
    """Choose the backend, seed, read the data, make the rest.

    Args:
        settings: what to train, and on what.
        name: of the data.
        data: what `read_data` gave for the same settings; default: read them.

    Raises:
        BadInputError: whatever is wrong with the settings, the files or the machine.
    """
    kind = settings.model or SOURCES[name].model
    with bad_input():
        choose_backend(settings)
        manual_seed(settings.seed)
        size = settings.size or SOURCES[name].size
        pictures, validation, test, scaler = data or read_data(settings, name, kind, size)
        augment = None
        if settings.augment == "standard":
            augment = standard_augmentation(pictures, SOURCES[name].mirrored)
        training, late_flatten = pictures, augment is not None and kind == "mlp"
        if kind == "mlp":  # takes flat samples; pictures to be augmented are flattened batch by batch
            validation, test = validation.map(flatten), test.map(flatten)
            training = training if late_flatten else training.map(flatten)
        shape = list(validation.x.shape[1:])
        network = _network(settings, name, kind, shape, training.classes)
        model = MODELS[kind](**network)
        optimizer = make_optimizer(settings.optimizer, model, settings.lr, settings.weight_decay)
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
        optimizer, loader,
    )  # fmt: skip


def read_data(settings: NetworkSettings, name: str, kind: str, size: int | None) -> Data:
    """Training, validation and test set, standardised and on the backend, and the statistics used."""
    source = SOURCES[name]
    training, validation, test = source.load(settings.path, size)
    if validation is None:
        training, validation = split(training, (1 - source.validation, source.validation), seed=settings.seed)
    # one mean and deviation for all pixels: the borders that are never inked stay small
    scaler = Standardize(per_feature=False) if kind == "mlp" else ChannelMean()
    scaler.fit(training.x)
    training, validation, test = (d.map(scaler.transform).to_backend() for d in (training, validation, test))
    return training, validation, test, scaler


def _network(
    settings: NetworkSettings, name: str, kind: str, shape: list[int], classes: int
) -> dict[str, Any]:
    """The arguments that make the model."""
    if kind == "mlp":
        layers = list(settings.layers or SOURCES[name].layers)
        return {"inputs": shape[0], "layers": layers, "classes": classes, "dropout": settings.dropout}
    network = {"classes": classes, "channels": shape[0], "width": settings.width}
    return {**network, "dropout": settings.dropout} if kind == "cnn" else network
