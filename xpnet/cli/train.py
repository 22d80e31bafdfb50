"""`xpnet train`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import get_backend, manual_seed, optim, to_numpy
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import FAILED, INTERRUPTED, OK, BadInputError, bad_input
from xpnet.cli.model import MODELS, make_optimizer, save_model, versions
from xpnet.cli.pictures import standard_augmentation, write_preview, write_samples
from xpnet.data import ChannelMean, DataLoader, Dataset, Standardize, split
from xpnet.data.preprocessing import Preprocessing
from xpnet.functional import flatten
from xpnet.train import (
    Callback,
    EarlyStopping,
    LearningRate,
    Progress,
    Trainer,
    TrainingDivergedError,
    confusion_matrix,
)
from xpnet.train.checkpoint import check_writable, require_safetensors


def train(options: argparse.Namespace) -> int:
    """Check everything, train, test once, write the files; the exit code."""
    name = choose(options, "digits")
    kind = options.model or SOURCES[name].model
    _check(options, name, kind)
    files = _files(options, name)
    with bad_input():
        choose_backend(options)
        manual_seed(options.seed)
        size = options.size or SOURCES[name].size
        training, validation, test, scaler = _data(options, name, kind, size)
        augment = None
        if options.augment == "standard":
            augment = standard_augmentation(training, SOURCES[name].mirrored)
        write_samples(files.grid, training, scaler)
        write_preview(files.preview, training, scaler, augment)
        if kind == "mlp":  # takes flat samples; pictures to be augmented are flattened batch by batch
            validation, test = validation.map(flatten), test.map(flatten)
            training = training if augment is not None else training.map(flatten)
        shape = list(validation.x.shape[1:])
        network = _network(options, name, kind, shape, training.classes)
        model = MODELS[kind](**network)
        optimizer = make_optimizer(options.optimizer, model, options.lr, options.weight_decay)
    epochs = options.epochs or SOURCES[name].epochs
    batch_size = options.batch_size or min(SOURCES[name].batch_size, len(training))
    if batch_size > len(training):
        raise BadInputError(f"--batch-size {batch_size}: there are only {len(training)} training samples")
    stopping = EarlyStopping(options.patience)
    callbacks: list[Callback] = [stopping, Progress()]
    if options.schedule == "cosine":
        callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
    trainer = Trainer(model, F.cross_entropy, optimizer, callbacks)

    lr = optimizer.param_groups[0]["lr"]
    sizes = _describe(kind, network)
    loader = DataLoader(
        training,
        batch_size,
        drop_last=True,
        augment=augment,
        transform=flatten if augment is not None and kind == "mlp" else None,
        prefetch=2 if augment is not None else 0,
    )
    print(f"{name}: {len(training)} training, {len(validation)} validation, {len(test)} test samples")
    print(
        f"network {sizes}, {sum(p.size for p in model.parameters())} parameters; {options.optimizer}, "
        f"learning rate {lr:g}, batch {batch_size}, seed {options.seed}, on {get_backend()}"
    )
    start, code, failure = time.perf_counter(), OK, ""
    try:
        with np.errstate(all="ignore"):  # divergence is found, and said, once an epoch
            trainer.fit(loader, validation, epochs)
    except KeyboardInterrupt:
        code, failure = INTERRUPTED, "interrupted"
    except TrainingDivergedError as error:
        code, failure = FAILED, str(error)
    seconds = time.perf_counter() - start
    if stopping.best_epoch is None:
        failure = failure or "the validation loss was never a finite number"
        print(f"xpnet train: error: {failure}; nothing was written", file=sys.stderr)
        return code or FAILED

    report: dict[str, Any] = {
        "kind": kind,
        "model": network,
        "shape": shape,
        "data": name,
        "size": size,
        "class_names": training.class_names,
        "training": {
            "optimizer": options.optimizer,
            "lr": lr,
            "schedule": options.schedule,
            "weight_decay": options.weight_decay,
            "batch_size": batch_size,
            "epochs": trainer.history.epochs,
            "best_epoch": stopping.best_epoch + 1,
            "augment": options.augment,
            "seed": options.seed,
            "backend": str(get_backend()),
        },
        "versions": versions(),
    }
    kept = f"kept the weights of epoch {stopping.best_epoch + 1} (validation loss {stopping.best:.4f})"
    if failure:
        print(f"xpnet train: error: {failure}; {kept}, not tested", file=sys.stderr)
    else:
        print(f"{trainer.history.epochs} epochs in {seconds:.1f} s; {kept}")
        report["test"] = _test(trainer, test, network["classes"])
    with bad_input():
        _write(files, trainer, scaler, report, f"{name}, network {sizes}")
    return code


@dataclass(frozen=True)
class Files:
    """What is written at the end; None: not wanted."""

    model: str | None
    curves: str | None
    report: str | None
    grid: str | None  # pictures of the training data, written before training
    preview: str | None
    hint: str  # about the format of the curves


def _files(options: argparse.Namespace, name: str) -> Files:
    """Every path and package that the end of the run needs, checked at its beginning."""
    model = None if options.save == "none" else options.save or f"{name}.safetensors"
    curves = output.plot_path(options.plot, name)
    coloured = name in ("cifar10", "images")
    grid = output.picture_path(options.grid, f"{name}-samples.png", "--grid", coloured)
    augmented = options.augment != "none"
    preview = output.picture_path(options.preview, f"{name}-augmented.png", "--preview", augmented)
    with bad_input():
        if model is not None:
            require_safetensors()
        for path in (model, curves, options.json, grid, preview):
            if path is not None:
                check_writable(path)
    plain = options.plot is None and curves is not None and curves.endswith(".csv")
    hint = ' (for a picture: pip install "xpnet[plot]")' if plain else ""
    return Files(model, curves, options.json, grid, preview, hint)


def _check(options: argparse.Namespace, name: str, kind: str) -> None:
    """Options that do not go together."""
    if options.layers and kind != "mlp":
        raise BadInputError(f"--layers is for --model mlp; --width sets the channels of the {kind}")
    if options.size and SOURCES[name].size is None:
        raise BadInputError(f"--size is for images; the pictures of {name} have one size")
    if options.preview not in (None, "none") and options.augment == "none":
        raise BadInputError("--preview shows what --augment does; add --augment standard")


def _data(
    options: argparse.Namespace, name: str, kind: str, size: int | None
) -> tuple[Dataset, Dataset, Dataset, Preprocessing]:
    """Training, validation and test set, standardised and on the backend, and the statistics used."""
    source = SOURCES[name]
    rest, test = source.load(options.path, size)
    training, validation = split(rest, (1 - source.validation, source.validation), seed=options.seed)
    # one mean and deviation for all pixels: the borders that are never inked stay small
    scaler = Standardize(per_feature=False) if kind == "mlp" else ChannelMean()
    scaler.fit(training.x)
    training, validation, test = (d.map(scaler.transform).to_backend() for d in (training, validation, test))
    return training, validation, test, scaler


def _network(
    options: argparse.Namespace, name: str, kind: str, shape: list[int], classes: int
) -> dict[str, Any]:
    """The arguments that make the model."""
    if kind == "mlp":
        layers = options.layers or list(SOURCES[name].layers)
        return {"inputs": shape[0], "layers": layers, "classes": classes, "dropout": options.dropout}
    network = {"classes": classes, "channels": shape[0], "width": options.width}
    return {**network, "dropout": options.dropout} if kind == "cnn" else network


def _describe(kind: str, network: dict[str, Any]) -> str:
    if kind == "mlp":
        return "-".join(map(str, (network["inputs"], *network["layers"], network["classes"])))
    return f"{kind} of width {network['width']}"


def _test(trainer: Trainer, test: Dataset, classes: int) -> dict[str, Any]:
    """Use the test set, once."""
    scores = to_numpy(trainer.predict(test))
    labels, predicted = to_numpy(test.y), scores.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes)
    result = {
        "accuracy": float(np.mean(labels == predicted)),
        "loss": float(F.cross_entropy(scores, labels)),
        "samples": len(test),
        "confusion": matrix.tolist(),
    }
    print(f"\ntest accuracy {result['accuracy']:.2%} on {len(test)} samples, loss {result['loss']:.4f}")
    print("confusion matrix: true class by row, predicted class by column")
    if test.class_names:
        print(", ".join(f"{k} {name}" for k, name in enumerate(test.class_names)))
    print(output.confusion_table(matrix) + "\n")
    return result


def _write(files: Files, trainer: Trainer, scaler: Preprocessing, report: dict[str, Any], title: str) -> None:
    """The model, the curves and the report."""
    if files.model is not None:
        save_model(files.model, trainer.model, scaler, report)
        print(f"saved the model in {files.model}: apply it with  xpnet predict {files.model}")
    if files.curves is not None:
        output.write_curves(files.curves, trainer.history, title)
        print(f"saved the curves in {files.curves}{files.hint}")
    if files.report is not None:
        output.write_json(files.report, {**report, "history": dict(trainer.history)})
        print(f"saved the report in {files.report}")
    shown = [path for path in (files.grid, files.preview) if path is not None]
    if shown:
        print(f"pictures of the training data: {', '.join(shown)}")
