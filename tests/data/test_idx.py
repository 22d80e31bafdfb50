"""The idx reader and MNIST."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from xpnet.data import load_mnist, read_idx

pytestmark = pytest.mark.host

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """The file format, written from its definition."""
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder, n=50, classes=10, ending="", dash="-"):
    rng = np.random.default_rng(0)
    for part, count in (("train", n), ("t10k", n // 2)):
        images = rng.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % classes).astype(np.uint8)
        for stem, array in ((f"images{dash}idx3", images), (f"labels{dash}idx1", labels)):
            content = idx(array)
            (folder / f"{part}-{stem}-ubyte{ending}").write_bytes(
                gzip.compress(content, mtime=0) if ending else content
            )


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 0), (1, 2, 3, 4)])
def test_every_type_and_shape_reads_back(tmp_path, kind, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) - 2).astype(kind)
    for name, content in (("plain", idx(array)), ("zipped", gzip.compress(idx(array)))):
        (tmp_path / name).write_bytes(content)
        found = read_idx(tmp_path / name)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


CONTENT = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
ZIPPED = gzip.compress(CONTENT, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file: it starts with nothing"),
        (b"\x89PNG\r\n\x1a\n", "not an idx file: it starts with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "not an idx file"),
        (CONTENT[:9], "truncated inside its header"),
        (CONTENT[:-1], r"truncated: 23 bytes, expected 24 for an array of shape \(3, 4\)"),
        (CONTENT + b"x", "too long: 25 bytes, expected 24"),
        (ZIPPED[:-9], "truncated or damaged"),
        (ZIPPED[:5], "truncated or damaged"),
        (ZIPPED[:20] + bytes([ZIPPED[20] ^ 255]) + ZIPPED[21:], "truncated or damaged"),
        (gzip.compress(b"hello", mtime=0), "not an idx file"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_idx(tmp_path / "none")


@pytest.mark.parametrize(("ending", "dash"), [("", "-"), (".gz", "-"), ("", ".")])
def test_load_mnist(tmp_path, ending, dash):
    write_mnist(tmp_path, ending=ending, dash=dash)
    train, test = load_mnist(tmp_path)
    assert (train.x.shape, train.x.dtype, test.x.shape) == ((50, 784), np.float32, (25, 784))
    assert train.y.tolist() == [i % 10 for i in range(50)]
    assert train.y.dtype == np.int64
    pictures, _ = load_mnist(tmp_path, flatten=False)
    assert np.array_equal(pictures.x.reshape(50, 784), train.x)


def test_load_mnist_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_mnist(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no train-images-idx3-ubyte or train"):
        load_mnist(tmp_path)
    write_mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(49, dtype=np.uint8)))
    with pytest.raises(ValueError, match="x has 50 samples and y has 49"):
        load_mnist(tmp_path)
    labels.write_bytes(idx(np.zeros((50, 2), dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"expected images \(n, height, width\) and labels \(n,\)"):
        load_mnist(tmp_path)


def real_mnist():
    folder = Path(os.environ.get("XPNET_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"MNIST is not in {folder}; set XPNET_DATA to the folder that has mnist/")
    return folder


def test_the_real_mnist():
    train, test = load_mnist(real_mnist())
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # as published with the data
    assert np.bincount(train.y).tolist() == counts
    assert (len(test), test.x.shape[1]) == (10000, 784)
    # the mean and deviation that everybody normalises with
    assert train.x.mean(dtype=np.float64) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.x.std(dtype=np.float64) / 255 == pytest.approx(0.3081, abs=5e-5)
