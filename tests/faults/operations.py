"""What is done while a system call fails, and what must hold afterwards.

An operation has `run(folder)`, which may end with an error, and `check(folder)`, which goes on from whatever
there is, without a fault, and gives what must be equal to that of a run that was left alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset, ImageFolder
from xpnet.functional import cross_entropy
from xpnet.search import RandomSearch, search, uniform
from xpnet.train import Checkpoint, CSVLogger, ModelCheckpoint, Trainer, load_checkpoint

REFUSALS = (OSError, ValueError, MemoryError)
"""How an operation may end: with a message, and not with a bug's traceback."""


def digest(arrays: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(name.encode() + xpnet.to_numpy(array).tobytes())
    return found.hexdigest()


def data() -> DataLoader:
    chance = np.random.default_rng(0)
    return DataLoader(Dataset(chance.standard_normal((12, 3)).astype(np.float32), np.arange(12) % 2), 4)


class Training:
    """Two epochs of three updates; the state after each update, two generations, and the log."""

    def __init__(self, background: bool) -> None:
        self.background = background

    def trainer(self, folder: Path) -> Trainer:
        xpnet.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 2))
        checkpoint = Checkpoint(folder / "c", every_steps=1, keep=2, background=self.background)
        callbacks = [CSVLogger(folder / "log"), checkpoint]
        return Trainer(model, cross_entropy, optim.Adam(model), callbacks, verbose=False)

    def prepare(self, folder: Path) -> None:
        """Nothing is there."""

    def run(self, folder: Path) -> Trainer:
        path, trainer = folder / "c", self.trainer(folder)
        trainer.fit(data(), epochs=2, resume=path if path.exists() else None)
        return trainer

    def check(self, folder: Path) -> Any:
        path = folder / "c"
        if path.exists():
            load_checkpoint(path)
        trainer = self.run(folder)
        assert load_checkpoint(path)["state"]["step"] == trainer.step == 6
        rows = (folder / "log").read_text().splitlines()
        log = [row.split(",")[:2] for row in rows]
        return digest(trainer.model.state_dict()), log


class Resuming(Training):
    """The same from a checkpoint of the first epoch."""

    def prepare(self, folder: Path) -> None:
        self.trainer(folder).fit(data(), epochs=1)


class BestAndLast(Training):
    """The same with `ModelCheckpoint`, whose files share their content."""

    def trainer(self, folder: Path) -> Trainer:
        trainer = super().trainer(folder)
        trainer.callbacks = [ModelCheckpoint(folder, keep=2, background=self.background)]
        return trainer

    def run(self, folder: Path) -> Trainer:
        path, trainer = folder / "last.safetensors", self.trainer(folder)
        trainer.fit(data(), data(), epochs=2, resume=path if path.exists() else None)
        return trainer

    def check(self, folder: Path) -> Any:
        for name in ("best", "last"):
            if (path := folder / f"{name}.safetensors").exists():
                load_checkpoint(path)
        return digest(self.run(folder).model.state_dict())


class Saving:
    """A model over another one."""

    def models(self) -> list[nn.Linear]:
        xpnet.manual_seed(0)
        return [nn.Linear(3, 2), nn.Linear(3, 2)]

    def prepare(self, folder: Path) -> None:
        xpnet.save(self.models()[0], folder / "m")

    def run(self, folder: Path) -> None:
        xpnet.save(self.models()[1], folder / "m")

    def check(self, folder: Path) -> Any:
        found = digest(xpnet.load(folder / "m").model.state_dict())
        assert found in [digest(model.state_dict()) for model in self.models()]
        self.run(folder)
        return digest(xpnet.load(folder / "m").model.state_dict())


class Loading(Saving):
    """That model is read."""

    def run(self, folder: Path) -> None:
        xpnet.load(folder / "m")

    def check(self, folder: Path) -> Any:
        return digest(xpnet.load(folder / "m").model.state_dict())


class Searching:
    """Four trials; one of them is in the journal already."""

    def prepare(self, folder: Path) -> None:
        self.search(folder, 1)

    def search(self, folder: Path, trials: int) -> Any:
        objective = lambda params, trial: params["x"] ** 2
        space = {"x": uniform(0, 1)}
        return search(objective, space, RandomSearch(trials), journal=folder / "j", resume=True)

    def run(self, folder: Path) -> None:
        self.search(folder, 4)

    def check(self, folder: Path) -> Any:
        content = (folder / "j").read_bytes().splitlines(keepends=True)
        assert len(content) >= 2
        result = self.search(folder, 4)
        assert len((folder / "j").read_bytes().splitlines()) == 5
        return result.to_json()


class Caching:
    """Pictures, decoded and kept."""

    def prepare(self, folder: Path) -> None:
        from PIL import Image

        for name in ("cat/1", "dog/1"):
            path = folder.with_name("pictures") / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((2, 2, 3), len(name) * 9, np.uint8)).save(path)

    def run(self, folder: Path) -> Any:
        return ImageFolder(folder.with_name("pictures"), cache=folder, dtype="uint8")

    def check(self, folder: Path) -> Any:
        found = self.run(folder)
        return digest({"x": np.array(found.x), "y": np.array(found.y)})


OPERATIONS = {
    "train": Training(background=False),
    "train in the background": Training(background=True),
    "resume": Resuming(background=False),
    "best and last": BestAndLast(background=False),
    "save": Saving(),
    "load": Loading(),
    "journal": Searching(),
    "cache": Caching(),
}
