"""The readers, each with small whole files, the ways to damage them, and what reads them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from tests.fuzz import mutate
from tests.fuzz.mutate import Mutation, blind
from xpnet import nn, optim
from xpnet.cli import main
from xpnet.data import (
    Columns,
    DataLoader,
    Dataset,
    ImageFolder,
    Standardize,
    Vocabulary,
    load_cifar10,
    load_csv,
    load_npz,
    read_frame,
)
from xpnet.data.idx import read_idx
from xpnet.functional import cross_entropy
from xpnet.io.files import load_arrays, save_arrays
from xpnet.search.journal import Journal
from xpnet.search.trial import Outcome
from xpnet.train import Checkpoint, EarlyStopping, Trainer


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: of the kind of file.
        ending: of its name.
        seeds: whole files.
        mutations: how they are damaged.
        read: reads the file; raises a ValueError of one line, or ends a command with code 2, if it cannot.
    """

    name: str
    ending: str
    seeds: list[bytes]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], Any]


class CommandError(Exception):
    """A command that did not end as it should."""


def command(*words: str) -> None:
    """Run `xpnet WORDS`: all is well, or one line and code 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    lines = err.getvalue()
    if code == 2 and lines.count("\n") == 1:
        raise ValueError(lines.strip())
    if code != 0 or "Traceback" in lines:
        raise CommandError(f"code {code}, {lines!r}")


def of_array(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
    )


def tar_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def foreign_weights() -> bytes:
    from safetensors.numpy import save

    return bytes(save({"weight": np.ones((2, 4), np.float32), "bias": np.zeros(2, np.float32)}))


FORMATS = (
    ("PNG", "RGB"),
    ("PNG", "L"),
    ("PNG", "P"),
    ("JPEG", "RGB"),
    ("GIF", "P"),
    ("BMP", "RGB"),
    ("WEBP", "RGB"),
    ("TIFF", "RGB"),
    ("PPM", "RGB"),
)


def pictures() -> dict[str, bytes]:
    from PIL import Image

    rng, found = np.random.default_rng(0), {}
    for kind, mode in FORMATS:
        file = io.BytesIO()
        image = Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).convert(mode)
        image.save(file, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
        found[f"{kind}-{mode}"] = file.getvalue()
    return found


def with_checksum(content: bytes, rng: random.Random) -> bytes:
    """The metadata of a safetensors file of ours changed as a tree, the checksum made right."""
    scratch = Path(f"scratch-{rng.random()}")
    try:
        scratch.write_bytes(content)
        arrays, metadata = load_arrays(scratch)
        metadata = mutate.changed(metadata, rng)
        if rng.random() < 0.15 and arrays:
            name = rng.choice(list(arrays))
            array = arrays.pop(name)
            if rng.random() < 0.7:
                other = rng.choice(
                    (array.reshape(-1), array.astype(np.int8), array[:0], np.full_like(array, 3))
                )
                arrays[name if rng.random() < 0.7 else "odd"] = other
        save_arrays(scratch, arrays, metadata if isinstance(metadata, dict) else {"tree": metadata})
        return scratch.read_bytes()
    finally:
        scratch.unlink(missing_ok=True)


def safetensors_header(content: bytes, rng: random.Random) -> bytes:
    """The header of a safetensors file changed as a tree."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(mutate.changed(json.loads(content[8 : 8 + length]), rng)).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def small_run(folder: Path) -> Trainer:
    """A run of two epochs whose checkpoint is `folder/run`."""
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3, 2))
    x = np.linspace(-1, 1, 48, dtype=np.float32).reshape(12, 4)
    callbacks = [EarlyStopping(9), Checkpoint(folder / "run")]
    trainer = Trainer(model, cross_entropy, optim.Adam(model), callbacks)
    loader = DataLoader(Dataset(x, np.arange(12) % 2), 6)
    trainer.again = lambda resume=None: trainer.fit(loader, (x, np.arange(12) % 2), 2, resume)  # type: ignore
    return trainer


def targets(folder: Path) -> list[Target]:
    """All of them; `folder` is for the files that they are made of."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    x, y = rng.random((3, 64), dtype=np.float32), np.arange(3)
    xpnet.manual_seed(0)
    layers = nn.mlp(64, [8], 10, dropout=0.1, batch_norm=True)
    facts = {
        "kind": "mlp",
        "model": {"inputs": 64, "layers": [8], "classes": 10, "dropout": 0.1},
        "shape": [64],
        "picture": [1, 8, 8],
        "data": "digits",
        "size": None,
        "class_names": None,
        "training": {"lr": 0.1},
    }
    model_file, sample_file = folder / "model.safetensors", folder / "x.npy"
    xpnet.save(layers, model_file, Standardize(per_feature=False).fit(x), facts)
    np.save(sample_file, x)
    cnn = folder / "cnn.safetensors"
    named = {**facts, "kind": "cnn", "class_names": [f"c{k}" for k in range(10)]}
    named |= {"model": {"classes": 10, "channels": 1, "width": 4, "dropout": 0.1}, "shape": [1, 8, 8]}
    xpnet.save(nn.small_cnn(10, 1, 4, dropout=0.1), cnn, Standardize(per_feature=False).fit(x), named)
    small_run(folder).again()  # type: ignore[attr-defined]
    table = b"a,b,kind\n" + b"".join(
        b"%d.5,%d,%s\n" % (i, i * i, b"red" if i % 2 else b"blue") for i in range(6)
    )
    numbers = b"\n".join(b",".join(b"%.3f" % v for v in row) for row in x) + b"\n"
    batch = {
        b"batch_label": b"b",
        b"labels": [1, 2],
        b"data": rng.integers(0, 256, (2, 3072), dtype=np.uint8),
    }
    python = [pickle.dumps(batch, protocol) for protocol in (2, 4)]
    pixels = bytes((1,)) + rng.bytes(3072)
    images = pictures()
    classes = tar_of(
        {"a/1.png": images["PNG-RGB"], "b/2.jpg": images["JPEG-RGB"], "b/3.gif": images["GIF-P"]}
    )
    outcomes = [
        Outcome(
            k, "coarse", {"lr": 0.1 * k, "layers": [3, 4]}, 2, "complete", 0.5, "", [(1, 0.4)], {"n": k}, 0.1
        )
        for k in range(3)
    ]
    journal = folder / "journal"
    written = Journal(journal, {"seed": 0, "space": {"lr": [0, 1]}}, resume=False)
    for outcome in outcomes:
        written.add(outcome)
    written.close()

    def cifar(kind: str) -> Callable[[Path], Any]:
        def read(path: Path) -> Any:
            source = path.parent / f"cifar-{kind}"
            source.mkdir(exist_ok=True)
            ending = "" if kind == "python" else ".bin"
            whole = python[0] if kind == "python" else pixels
            for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"):
                if not (source / f"{name}{ending}").exists():
                    (source / f"{name}{ending}").write_bytes(whole)
            path.replace(source / f"test_batch{ending}")
            return load_cifar10(source)

        return read

    def cached(path: Path) -> Any:
        """Damage what is kept of a folder: it comes back as it was."""
        source, kept = path.parent / "pictures", path.parent / "kept"
        if not source.exists():
            for name in ("a", "b"):
                (source / name).mkdir(parents=True)
                (source / name / "1.png").write_bytes(images["PNG-RGB"])
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = ImageFolder(source, cache=kept)
            (entry,) = (e for e in kept.iterdir() if not e.name.startswith("."))
            content = path.read_bytes()
            victim = sorted(entry.iterdir())[len(content) % 4]
            victim.write_bytes(content)
            again = ImageFolder(source, cache=kept)
        if not np.array_equal(again.x, whole.x) or again.class_names != ["a", "b"]:
            raise CommandError("another content of the cache was taken")

    def resume(path: Path) -> Any:
        return small_run(path.parent).again(path)  # type: ignore[attr-defined]

    def trials(path: Path) -> Any:
        Journal(path, {"seed": 0, "space": {"lr": [0, 1]}}, resume=True).close()

    text, letters = folder / "text.safetensors", Vocabulary().fit("\nabc")
    gpt = nn.GPT(4, context=5, depth=1, heads=2, width=4)
    xpnet.save(gpt, text, letters, {"task": "text", "data": "text", "shape": [5]})
    generate = lambda path: command("generate", str(path), "--length", "3", "--prompt", "ab")
    predict = lambda path: command("predict", str(model_file), "--input", str(path))
    predict_picture = lambda path: command("predict", str(cnn), "--input", str(path))
    apply = lambda path: command("predict", str(path), "--input", str(sample_file))
    array, arrays = of_array(np.save, x), of_array(np.savez_compressed, x=x, y=y)
    images_idx = idx_bytes(rng.integers(0, 256, (3, 28, 28), dtype=np.uint8))
    tensors, checkpoint = [model_file.read_bytes(), cnn.read_bytes()], (folder / "run").read_bytes()
    header = (blind, safetensors_header)
    packed = {".tar.gz": mutate.in_gzip, ".tar.bz2": mutate.in_bzip2, ".tar.xz": mutate.in_xz}
    import bz2
    import lzma

    pack = {".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
    in_gzip, gz = (mutate.in_gzip(blind), mutate.in_gzip(mutate.idx)), [gzip.compress(images_idx)]
    of_zip = (blind, mutate.in_zip(blind), mutate.in_zip(mutate.npy))
    in_folders = lambda path: ImageFolder(path, 8, cache=False)
    mixed = (
        b"size,city,garden,day,y\n1.5,Graz,yes,2024-01-31,0.5\n2,,no,2024-02-01,1\n3,Wien,yes,2024-02-02,2\n"
    )
    frame = lambda path: Columns(missing="mean").fit(read_frame(path)).transform(read_frame(path))
    mutate_table_gz = mutate.in_gzip(blind), mutate.in_gzip(mutate.text)
    zipped = zip_of({f"{name}/1.png": images["PNG-RGB"] for name in ("a", "b")})
    foreign = foreign_weights()
    return [
        Target("npy", ".npy", [array], (blind, mutate.npy), predict),
        Target("npz", ".npz", [arrays], of_zip, predict),
        Target("npz data", ".npz", [arrays], of_zip, load_npz),
        Target("csv", ".csv", [numbers], (blind, mutate.text), predict),
        Target("table", ".csv", [table], (blind, mutate.text), load_csv),
        Target("frame", ".csv", [mixed], (blind, mutate.text), frame),
        Target("frame gz", ".csv.gz", [gzip.compress(mixed)], (blind, *mutate_table_gz), frame),
        Target("zip", ".zip", [zipped], (blind, mutate.in_zip(blind)), in_folders),
        Target("foreign", ".safetensors", [foreign], header, lambda path: xpnet.load(path, nn.Linear(4, 2))),
        Target("idx", "", [images_idx], (blind, mutate.idx), read_idx),
        Target("idx gz", ".gz", gz, (blind, *in_gzip), read_idx),
        Target("cifar pickle", "", python, (blind, mutate.pickled), cifar("python")),
        Target("cifar binary", "", [pixels], (blind,), cifar("binary")),
        Target("picture", ".png", list(images.values()), (blind, blind), predict_picture),
        Target("png", ".png", [c for n, c in images.items() if "PNG" in n], (mutate.png,), predict_picture),
        Target("tar", ".tar", [classes], (blind, mutate.in_tar(blind)), in_folders),
        *(
            Target(
                f"tar {end[5:]}",
                end,
                [pack[end](classes)],
                (blind, change(blind), change(mutate.in_tar(blind))),
                in_folders,
            )
            for end, change in packed.items()
        ),
        Target("model", ".safetensors", tensors, (*header, with_checksum, with_checksum), apply),
        Target("text model", ".safetensors", [text.read_bytes()], (*header, with_checksum), generate),
        Target("checkpoint", ".safetensors", [checkpoint], (*header, with_checksum, with_checksum), resume),
        Target("journal", ".jsonl", [journal.read_bytes()], (blind, mutate.json_lines), trials),
        Target("cache", ".npy", [array], (blind,), cached),
    ]
