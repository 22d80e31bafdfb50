"""A training run as one page: curves, mistakes, what went on inside, and how to repeat it. Extra `plot`."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.core import random
from xpnet.core.backend import get_backend
from xpnet.core.convert import to_numpy
from xpnet.core.renamed import renamed
from xpnet.core.version import __version__
from xpnet.data import DataLoader, Dataset
from xpnet.diagnostics import Diagnostics, Finding, Observation
from xpnet.io.writing import atomic_write, check_writable
from xpnet.report.page import (
    classification_part,
    curves_part,
    findings_part,
    inside_part,
    metadata_part,
    page,
    regression_part,
    summary_part,
)
from xpnet.train.evaluation import as_dataset, predict
from xpnet.train.history import History

if TYPE_CHECKING:
    from xpnet.train.run import Run


def check_report(path: str | PathLike[str]) -> None:
    """Refuse, before training, what would fail after it.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the path cannot be written.
    """
    if find_spec("matplotlib") is None:
        raise ImportError(f'the report {path} needs matplotlib: pip install "xpnet[plot]"')
    check_writable(path)


@renamed(facts="metadata")
def write_report(
    path: str | PathLike[str],
    history: History,
    *,
    title: str = "Training report",
    metadata: Mapping[str, Any] | None = None,
    observations: Sequence[Observation] = (),
    findings: Iterable[Finding] = (),
    scores: Any = None,
    targets: Any = None,
    pictures: Any = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a run as one HTML page that needs no other file, no network and no script.

    Args:
        path: the file, replaced if it exists.
        history: what `Trainer.fit` returned.
        title: the heading.
        metadata: rows of a table, before those of `environment`, whose rows of the same name they replace.
        observations: what a `Diagnostics` callback saw.
        findings: diagnostics, such as `Diagnostics.findings()` or those of `doctor`.
        scores: (n, K) class scores, for the confusion matrix and the worst mistakes; or (n, 1) predicted
            numbers.
        targets: (n,) labels; or the true numbers, floats.
        pictures: (n, C, H, W) or (n, H, W), values from 0 to 1: the samples, to show the worst mistakes.
        class_names: names of the K classes.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
        ValueError: scores without targets, or of another number of samples.

    >>> import os, tempfile
    >>> from xpnet.train import History, write_report
    >>> history = History()
    >>> history.append({"train_loss": 2.3, "lr": 0.1})
    >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
    >>> write_report(path, history, title="One epoch")
    >>> open(path).read()[:15]
    '<!doctype html>'
    """
    check_report(path)
    rows = {**(metadata or {}), **{k: v for k, v in environment().items() if k not in (metadata or {})}}
    parts = [*summary_part(history), *metadata_part(rows), *findings_part(findings), *curves_part(history)]
    if scores is not None and targets is not None and to_numpy(targets).dtype.kind == "f":
        parts += regression_part(to_numpy(scores), to_numpy(targets))
    elif scores is not None:
        parts += classification_part(to_numpy(scores), targets, pictures, class_names)
    if observations:
        parts += inside_part(observations)
    with atomic_write(path) as file:
        file.write(page(title, parts).encode())


def environment() -> dict[str, str]:
    """What a run depended on: command, seed, backend, versions and machine."""
    backend = get_backend()
    place = str(backend) if backend.device is None else f"{backend}, device {backend.device}"
    if backend.name == "cupy":
        runtime = backend.xp.cuda.runtime
        place += f", {runtime.getDeviceProperties(runtime.getDevice())['name'].decode()}"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ("numpy", "array-api-compat", "matplotlib")
    return {
        "command": shlex.join(sys.orig_argv),
        "folder": os.getcwd(),
        "seed": str(random.generators[random.INIT].state[0]),
        "backend": place,
        "versions": ", ".join(
            [f"xpnet {__version__}", f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in packages]
        ),
        "machine": f"{platform.platform()}, {_processor()}, {cpus} CPUs",
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _processor() -> str:
    try:  # platform.processor() is empty on Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Report(Diagnostics):
    """Watch a run as `Diagnostics` does, and write a report when it ends, however it ends.

    Args:
        path: the HTML file.
        data: a Dataset, a pair of arrays or a DataLoader, for the confusion matrix and the worst mistakes,
            taken with the weights that training ends with; default: the validation data.
        title: the heading.
        metadata: rows of a table, such as hyperparameters.
        every: updates between two looks inside.

    Raises:
        ImportError: matplotlib is missing; when training begins, not after it.
        OSError: the path cannot be written; likewise.

    >>> import os, tempfile
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Report, Trainer
    >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
    >>> model = nn.Sequential(nn.Linear(64, 10))
    >>> trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.001), [Report(path)])
    >>> history = trainer.fit(load_digits(), epochs=1)
    >>> os.path.getsize(path) > 10_000
    True
    """

    last = True  # after the callbacks that put the best weights back

    @renamed(facts="metadata")
    def __init__(
        self,
        path: str | PathLike[str],
        data: Any = None,
        title: str = "Training report",
        metadata: Mapping[str, Any] | None = None,
        every: int = 100,
    ) -> None:
        super().__init__(every)
        self.path, self.data, self.title, self.metadata = path, data, title, metadata

    def on_fit_begin(self, trainer: Run) -> None:
        """See that the report can be written."""
        self._observer = None
        check_report(self.path)
        super().on_fit_begin(trainer)

    def on_fit_end(self, trainer: Run) -> None:
        """Write it."""
        if self._observer is None:  # training did not begin
            return
        super().on_fit_end(trainer)
        write_report(
            self.path,
            trainer.history,
            title=self.title,
            metadata={"optimizer": _describe(trainer.optimizer), **(self.metadata or {})},
            observations=self.observations,
            findings=self.findings(),
            **_scored(trainer.model, as_dataset(trainer.validation if self.data is None else self.data)),
        )


def _describe(optimizer: Any) -> str:
    if isinstance(optimizer, Mapping):
        return ", ".join(f"{name}: {_describe(part)}" for name, part in optimizer.items())
    options = ", ".join(f"{k}={v}" for k, v in optimizer.defaults.items())
    return f"{type(optimizer).__name__}({options})"


def _scored(model: Any, data: Any) -> dict[str, Any]:
    """Scores, targets and pictures of a classifier's data; nothing for other data."""
    transform = data.transform if isinstance(data, DataLoader) else None
    data = data.dataset if isinstance(data, DataLoader) else data
    if not isinstance(data, Dataset) or "int" not in str(data.y.dtype) or data.y.ndim != 1:
        return {}
    scores = to_numpy(predict(model, data if transform is None else data.map(transform)))
    if scores.ndim != 2:
        return {}
    x = to_numpy(data.x) if data.x.ndim in (3, 4) else None
    if x is not None:
        low, high = float(x.min()), float(x.max())
        x = (x - low) / (high - low or 1.0)
    return {
        "scores": scores,
        "targets": to_numpy(data.y),
        "pictures": x if x is None or x.ndim == 3 or x.shape[1] in (1, 3) else None,
        "class_names": data.class_names,
    }
