"""MNIST as it is distributed: names, folders, EMNIST, QMNIST and Kaggle's tables."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_idx import idx, write_mnist
from xpnet.data import load_mnist

pytestmark = pytest.mark.host

RNG = np.random.default_rng(0)
IMAGES = {
    part: RNG.integers(0, 256, size=(n, 28, 28), dtype=np.uint8) for part, n in (("train", 30), ("test", 15))
}


def put(folder, prefix, test="test", low=0, classes=10, labels="labels-idx1-ubyte", kind=np.uint8):
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in IMAGES.items():
        y = (low + np.arange(len(images)) % classes).astype(kind)
        if "idx2" in labels:
            y = np.stack([y, *(np.full_like(y, 9) for _ in range(7))], axis=1)
        name = f"{prefix}{test if part == 'test' else part}"
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{name}-{labels}.gz").write_bytes(gzip.compress(idx(y)))


def test_qmnist(tmp_path):
    put(tmp_path, "qmnist-", labels="labels-idx2-int", kind=np.int32)
    train, test = load_mnist(tmp_path)
    assert train.y.tolist() == [i % 10 for i in range(30)]
    assert np.array_equal(test.x, IMAGES["test"].reshape(15, 784))


def test_emnist_letters_are_upright_and_named(tmp_path):
    put(tmp_path, "emnist-letters-", low=1, classes=26)
    train, test = load_mnist(tmp_path, flatten=False)
    assert np.array_equal(train.x[:, 0], IMAGES["train"].transpose(0, 2, 1))
    assert train.y.tolist() == [i % 26 for i in range(30)]
    assert train.class_names == test.class_names == [chr(65 + k) for k in range(26)]


def test_a_mapping_names_the_labels(tmp_path):
    put(tmp_path, "emnist-balanced-", classes=12)
    (tmp_path / "emnist-balanced-mapping.txt").write_text("".join(f"{k} {100 + k}\n" for k in range(12)))
    assert load_mnist(tmp_path)[0].class_names == [chr(100 + k) for k in range(12)]


def test_labels_from_1(tmp_path):
    put(tmp_path, "", "t10k", low=1)
    train, test = load_mnist(tmp_path)
    assert (train.y.min(), test.y.max()) == (0, 9)
    assert train.class_names == [str(k) for k in range(1, 11)]


def test_one_of_several_sets_is_chosen(tmp_path):
    put(tmp_path, "emnist-letters-", low=1, classes=26)
    put(tmp_path, "emnist-digits-")
    with pytest.raises(ValueError, match=r"holds 2 data sets: .*emnist-digits, .*emnist-letters"):
        load_mnist(tmp_path)
    assert load_mnist(tmp_path / "emnist-digits")[0].class_names is None
    assert load_mnist(tmp_path / "emnist-letters")[0].classes == 26


@pytest.mark.parametrize("below", ["MNIST/raw", "a"])
def test_files_in_folders_below(tmp_path, below):
    (tmp_path / below).mkdir(parents=True)
    write_mnist(tmp_path / below)
    assert len(load_mnist(tmp_path)[0]) == 50


def test_a_folder_for_each_file(tmp_path):
    write_mnist(tmp_path)
    for file in [*tmp_path.iterdir()]:
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        (file / file.name).write_bytes(content)
    assert len(load_mnist(tmp_path)[1]) == 25


@pytest.mark.parametrize("labelled", [True, False])
def test_tables_of_kaggle(tmp_path, labelled):
    header = ",".join(f"pixel{k}" for k in range(784))
    for part, images in IMAGES.items():
        flat = images.reshape(len(images), -1)
        named = part == "train" or labelled
        rows = np.column_stack([np.arange(len(flat)) % 3, flat]) if named else flat
        text = ("label," if named else "") + header
        np.savetxt(tmp_path / f"{part}.csv", rows, fmt="%d", delimiter=",", header=text, comments="")
    train, test = load_mnist(tmp_path, flatten=False)
    assert (len(train), len(test)) == ((30, 15) if labelled else (24, 6))
    if labelled:
        assert np.array_equal(train.x[:, 0], IMAGES["train"])
        assert test.y.tolist() == [i % 3 for i in range(15)]


def test_what_is_wrong_is_one_line(tmp_path):
    (tmp_path / "train.csv").write_text("label,a,b\n1,2,3\n")
    with pytest.raises(ValueError, match="2 pixels a line, which make no square"):
        load_mnist(tmp_path)
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column called label"):
        load_mnist(tmp_path)
    put(Path(tmp_path / "e"), "emnist-digits-")
    (tmp_path / "e" / "emnist-digits-mapping.txt").write_text("0 x\n")
    with pytest.raises(ValueError, match=r"mapping\.txt: not a mapping of labels"):
        load_mnist(tmp_path / "e")
