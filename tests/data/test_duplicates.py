"""Samples of a test set that the training set has, too."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from xpnet.cli.data import SOURCES
from xpnet.cli.settings import TrainSettings
from xpnet.cli.setup import read_data
from xpnet.cli.table import read_table_data
from xpnet.data import Dataset
from xpnet.data.duplicates import repeated

pytestmark = pytest.mark.host


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4, 4)])
@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_counts_are_those_of_a_set_of_tuples(shape, targets):
    rng = np.random.default_rng(0)

    def part(n):
        x = rng.integers(0, 3, (n, *shape)).astype(np.float32)
        y = rng.integers(0, 2, n)
        return Dataset(x, y if targets == "classes" else y[:, None].astype(np.float32) / 3)

    test, *others = part(40), part(50), part(30)
    keys = lambda data: [(x.tobytes(), y.tobytes()) for x, y in zip(data.x, data.y, strict=True)]
    seen = {key for other in others for key in keys(other)}
    expected = sum(key in seen for key in keys(test))
    assert repeated(test, others) == expected
    assert (expected > 0) == (np.prod(shape) < 40)
    assert repeated(test, [test]) == 40


def notes(path, **options):
    found = read_table_data(TrainSettings(path=str(path), target="y", **options), 0).notes
    return [note for note in found if "value for value" in note]


def test_rows_of_a_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{rng.random():.6f},{rng.random():.6f},{'uv'[i % 2]}\n" for i in range(100)]
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(rows))
    assert notes(path) == []
    path.write_text("id,a,b,y\n" + "".join(f"{i},{row}" for i, row in enumerate(rows * 2)))
    (said,) = notes(path)
    count = int(said.split()[0])
    assert 25 < count <= 40
    assert said.startswith(f"{count} of the 40 rows of the test set are in the training set, too, value for ")


@pytest.mark.parametrize("parts", [True, False])
def test_pictures_of_a_folder(parts, tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for part in ("train", "test") if parts else ("",):
        for kind in "ab":
            folder = tmp_path / "pictures" / part / kind
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                image.fromarray(pixels).save(folder / f"{i}.png")
    heard(tmp_path / "pictures", [])
    copied = sorted((tmp_path / "pictures").rglob("*.png"))
    for path in copied if not parts else [p for p in copied if "train" in p.parts and p.stem in "012"]:
        goal = Path(*("test" if part == "train" else part for part in path.parts))
        (goal.parent / f"copy-{path.name}").write_bytes(path.read_bytes())
    said = "6 of the 26 pictures of the test set are" if parts else " of the 8 pictures of the test set are"
    heard(tmp_path / "pictures", [f"{said} in the training set, too"])


def heard(path, expected):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")  # other tests' files that are collected now
        warnings.simplefilter("always", UserWarning)
        SOURCES["images"].load(str(path), None)  # as `xpnet predict` does it, which does not count
        assert said == []
        read_data(TrainSettings(path=str(path)), "images", "cnn")
    assert [text in str(warning.message) for text, warning in zip(expected, said, strict=True)] == [
        True
    ] * len(expected)
