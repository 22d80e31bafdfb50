"""The data sets that the command line knows, and the settings that suit them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xpnet import asarray, set_backend
from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.settings import BackendSettings, DataSettings
from xpnet.core.reading import MissingFileError
from xpnet.data import Dataset, ImageFolder, load_cifar10, load_digits, load_mnist, split
from xpnet.data.folder import layout_of, shorter_sides
from xpnet.data.frame import COLUMNAR
from xpnet.data.picture import SUFFIXES

Parts = tuple[Dataset, Dataset | None, Dataset]


@dataclass(frozen=True)
class Source:
    """Where pictures come from, the fraction held out for validation, and default settings.

    `load(path, size)` gives a training set, a validation set if the data have one, and a test set; `size` is
    the side of pictures that can have any.
    """

    load: Callable[..., Parts]
    validation: float
    layers: tuple[int, ...]
    epochs: int
    batch_size: int
    model: str = "mlp"
    mirrored: bool = False  # whether a mirrored picture is of the same class
    size: int | None = None


def divided(
    data: Dataset, fractions: tuple[float, float], seed: int, stratify: bool = True
) -> tuple[Dataset, ...]:
    """Two parts of a data set.

    Raises:
        BadInputError: one of them would be empty.
    """
    if round(min(fractions) * len(data)) == 0:
        raise BadInputError(
            f"{data.name}: {len(data)} samples are too few to hold some out for validation and test: give 20 "
            "or more"
        )
    return split(data, fractions, stratify=stratify, seed=seed)


def _digits(path: str | None, size: int | None = None) -> Parts:
    """The test set is the same fifth in every run, whatever the seed, so that no search can see it."""
    if path is not None:
        raise BadInputError(
            f"digits ships with xpnet and takes no path, got {path!r}: leave it out, or name other data"
        )
    rest, test = split(load_digits(flatten=False), (0.8, 0.2), seed=0)
    return rest, None, test


def _mnist(path: str | None, size: int | None = None) -> Parts:
    if path is None:
        raise BadInputError("mnist needs --path DIR, the folder with MNIST's four idx files")
    train, test = load_mnist(path, flatten=False)
    return train, None, test


def _cifar10(path: str | None, size: int | None = None) -> Parts:
    if path is None:
        raise BadInputError("cifar10 needs --path, the folder or the tar file with CIFAR-10")
    train, test = load_cifar10(path)
    return train, None, test


def _images(path: str | None, size: int | None = None, skip_damaged: bool = False) -> Parts:
    """The parts that are there, such as PATH/train, val and test, in any case and below a single folder.

    Without a part for testing, a fifth of the rest is for that, the same in every run.
    """
    if path is None:
        raise BadInputError(
            "images needs --path, a folder or an archive with a folder of pictures for each class"
        )
    if not Path(path).exists():
        raise MissingFileError(f"{path}: no such file or folder")
    if Path(path).suffix.lower() in (".csv", ".tsv", *COLUMNAR):
        raise BadInputError(f"{path} is a table, which is trained on by: xpnet train table {path}")
    if Path(path).suffix.lower() in SUFFIXES:
        raise BadInputError(
            f"{path} is one picture: give a folder, or an archive, with a folder of pictures for each class"
        )
    _, names, left = layout_of(Path(path))
    if names and left:
        warnings.warn(left, stacklevel=2)
    if names and "train" not in names:
        raise BadInputError(f"{path} has {' and '.join(names.values())}, and no folder called train")
    whole: Dataset = ImageFolder(path, size, part=names.get("train"), skip_damaged=skip_damaged)
    parts: dict[str, Dataset] = {
        kind: ImageFolder(path, size, part=name, skip_damaged=skip_damaged)
        for kind, name in names.items()
        if kind != "train"
    }
    for kind, part in parts.items():
        if part.class_names != whole.class_names:
            ours, theirs = set(whole.class_names or ()), set(part.class_names or ())
            odd = sorted(ours ^ theirs)
            where = names["train"] if odd[0] in ours else names[kind]
            raise BadInputError(
                f"{path}: {names['train']} and {names[kind]} have different class folders: "
                f"{odd[0]!r} is in {where} only"
            )
    if "test" in parts:
        rest, test = whole, parts["test"].guarded()
    else:
        rest, test = divided(whole, (0.8, 0.2), 0)
    if len(rest.class_names or ()) < 2:
        raise BadInputError(f"{path}: one class folder, {rest.class_names}; there must be two or more")
    return rest, parts.get("validation"), test


def usual_size(name: str, path: str | None) -> int | None:
    """The side that pictures are scaled to if nobody says: no larger than they are, in steps of 4 pixels."""
    most = SOURCES[name].size
    if most is None or path is None:
        return most
    try:
        sides = shorter_sides(Path(path))
    except Exception:  # whatever it is: reading the pictures says it
        return most
    return min(most, max(8, max(sides) // 4 * 4)) if sides else most


def _table(path: str | None, size: int | None = None) -> Parts:
    raise BadInputError("a table needs its target: see xpnet.cli.table")


def _text(path: str | None, size: int | None = None) -> Parts:
    raise BadInputError("a text needs its vocabulary: see xpnet.cli.text")


SOURCES = {
    "digits": Source(_digits, 1 / 8, (128, 64), epochs=50, batch_size=32),
    "mnist": Source(_mnist, 1 / 12, (256, 128), epochs=10, batch_size=128),
    "cifar10": Source(_cifar10, 1 / 10, (256, 128), epochs=30, batch_size=128, model="cnn", mirrored=True),
    "images": Source(
        _images, 1 / 8, (256, 128), epochs=30, batch_size=32, model="cnn", mirrored=True, size=64
    ),
    "table": Source(_table, 1 / 10, (64, 32), epochs=100, batch_size=32),
    "text": Source(_text, 1 / 10, (), epochs=10, batch_size=32, model="gpt"),
}


def choose(settings: DataSettings, default: str) -> str:
    """The name of the data, given as an argument, as an option, or not at all."""
    dataset = getattr(settings, "dataset", None)
    given = {name for name in (dataset, settings.data) if name is not None}
    if len(given) > 1:
        raise BadInputError(f"the data is given twice: {dataset} and --data {settings.data}")
    return given.pop() if given else default


def choose_backend(settings: BackendSettings) -> None:
    """Set the backend and make one array there, so that a missing device shows now."""
    device = settings.device
    number = int(device) if device is not None and device.isdecimal() else None
    with bad_input():
        set_backend(settings.backend, device if number is None else number)
    with bad_input(f"--backend {settings.backend} --device {settings.device}: "):
        asarray([0.0])
