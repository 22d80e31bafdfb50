"""Readers: CIFAR-10 in each of its forms, class folders of pictures, tables, .npz; the cache."""

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from xpnet.data import (
    ChannelMean,
    DataLoader,
    ImageFolder,
    RandomFlip,
    load_cifar10,
    load_csv,
    load_npz,
)
from xpnet.data.cifar import CLASSES

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))


# ---- CIFAR-10 ----


def batches(per_batch=3):
    """Six batches with every colour value and label different from its neighbours'."""
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        x = (np.arange(per_batch * 3072) * 7 + i).astype(np.uint8).reshape(per_batch, 3072)
        yield name, x, [(i + j) % 10 for j in range(per_batch)]


def python_version(folder, protocol=2):
    folder.mkdir(parents=True, exist_ok=True)
    for name, x, y in batches():
        content = {b"batch_label": b"a batch", b"labels": y, b"data": x, b"filenames": [b"a.png"] * len(y)}
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def binary_version(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, x, y in batches():
        records = np.concatenate([np.array(y, dtype=np.uint8)[:, None], x], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def packed(folder, file):
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)


@pytest.mark.parametrize("form", ["python", "python 4", "binary", "subfolder", "archive", "archive inside"])
def test_every_form_of_cifar10_gives_the_same_arrays(tmp_path, form):
    source = tmp_path / "data"
    if form.startswith("python"):
        python_version(source, 4 if form.endswith("4") else 2)
    elif form == "binary":
        binary_version(source)
    else:
        python_version(source / "cifar-10-batches-py")
    if form.startswith("archive"):
        target = tmp_path / "inside" / "cifar-10-python.tar.gz"
        target.parent.mkdir()
        packed(source / "cifar-10-batches-py", target)
        source = target if form == "archive" else target.parent
    train, test = load_cifar10(source)
    pictures = np.concatenate([x for _, x, _ in batches()]).reshape(-1, 3, 32, 32)
    labels = [label for _, _, y in batches() for label in y]
    assert (train.x.dtype, train.y.dtype, len(train), len(test)) == (np.float32, np.int64, 15, 3)
    assert np.array_equal(np.concatenate([train.x, test.x]), pictures)
    assert [*train.y, *test.y] == labels
    assert train.class_names == list(CLASSES)
    flat, _ = load_cifar10(source, flatten=True, dtype="uint8")
    assert (flat.x.shape, flat.x.dtype) == ((15, 3072), np.uint8)


def test_a_pickle_of_python_2_is_read(tmp_path):
    # as Python 2 wrote it: byte strings, and the array's memory in one of them (opcode U)
    python_version(tmp_path)
    memory = bytes(range(256)) * 12
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01M\x00\x0ct"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = head + dtype + b"\x89T" + len(memory).to_bytes(4, "little") + memory + b"tb"
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x07eu.")
    _, test = load_cifar10(tmp_path)
    assert test.x.reshape(-1).astype(np.uint8).tobytes() == memory
    assert test.y.tolist() == [7]


def test_an_array_stored_by_columns_is_read(tmp_path):
    python_version(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": np.asfortranarray(x), "labels": [1] * 4}, 2))
    assert np.array_equal(load_cifar10(tmp_path)[1].x.reshape(4, -1), x)


class Attack:
    def __reduce__(self):
        return os.system, ("echo unsafe > /dev/null",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({b"data": Attack()}, 2), r"asks for (posix|nt)\.system, .* do not trust"),
        (b"cbuiltins\neval\n(S'1'\ntR.", r"asks for builtins\.eval"),
        (b"cnumpy\nload\n(S'1'\ntR.", r"asks for numpy\.load"),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, 2),
            "2 pictures and 1 labels",
        ),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [11]}, 2),
            "labels go from 11 to 11",
        ),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.int64), b"labels": [1]}, 2), "its dtype is i8"),
        (
            pickle.dumps({b"data": np.zeros((1, 99), np.uint8), b"labels": [1]}, 2),
            r"expected 'data' \(n, 3072\)",
        ),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [1]}, 2), "CIFAR-100"),
        (pickle.dumps([1], 2), "holds list, expected the dict"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}, 2)[:-40], "truncated"),
        (b"", "truncated or damaged"),
        (b"\x89PNG\r\n", "not a pickle"),
    ],
)
def test_foreign_and_dangerous_pickles_are_refused(tmp_path, content, message):
    python_version(tmp_path)
    (tmp_path / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_cifar10(tmp_path)
    assert "data_batch_3" in str(error.value)


def test_a_dangerous_pickle_does_not_run(tmp_path, monkeypatch):
    python_version(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Attack(), 2))
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises(ValueError, match="do not trust"):
        load_cifar10(tmp_path)
    assert ran == []


def test_other_ways_for_cifar10_to_be_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_cifar10(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no CIFAR-10 here: expected data_batch_1"):
        load_cifar10(tmp_path)
    binary_version(tmp_path)
    whole = (tmp_path / "test_batch.bin").read_bytes()
    (tmp_path / "test_batch.bin").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="expected a multiple of 3073"):
        load_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(ValueError, match=r"labels go from .* to 10"):
        load_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_batch is missing; found data_batch_1.bin"):
        load_cifar10(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"not a tar file")
    with pytest.raises(ValueError, match="not a tar file"):
        load_cifar10(tmp_path / "a.tar.gz")


# ---- pictures in class folders ----


def picture(value, size=(6, 4), kind="PNG", mode="RGB"):
    """One colour, or what `value` holds, encoded."""
    image = pytest.importorskip("PIL.Image")
    array = value if isinstance(value, np.ndarray) else np.full((size[1], size[0], 3), value, np.uint8)
    file = io.BytesIO()
    image.fromarray(array).convert(mode).save(file, kind)
    return file.getvalue()


def class_folders(folder, counts=(("cat", 2), ("ant", 3))):
    value = 0
    for name, count in counts:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            value += 10
            (folder / name / f"{i}.png").write_bytes(picture(value))
    return folder


def colours(data):
    return data.x[:, 0, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("form", ["folder", ".tar", ".tar.gz", ".tar.xz"])
def test_classes_are_sorted_folders(tmp_path, form):
    source = class_folders(tmp_path / "pictures")
    (source / "notes.txt").write_text("no picture")
    (source / "cat" / "notes.txt").write_text("no picture")
    (source / "cat" / "._0.png").write_bytes(b"of macOS")
    (source / "outside.png").write_bytes(picture(1))
    if form != "folder":
        with tarfile.open(tmp_path / f"pictures{form}", f"w:{form[5:]}") as archive:
            archive.add(source, arcname=".")
        source = tmp_path / f"pictures{form}"
    data = ImageFolder(source)
    assert (data.x.shape, data.x.dtype, data.y.dtype) == ((5, 3, 4, 6), np.float32, np.int64)
    assert data.class_names == ["ant", "cat"]
    assert data.y.tolist() == [0, 0, 0, 1, 1]
    assert colours(data) == [30, 40, 50, 10, 20]


def test_pixels_channels_and_rows_are_where_they_were(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(picture(array))
    assert np.array_equal(ImageFolder(tmp_path).x[0], array.transpose(2, 0, 1))
    grey = ImageFolder(tmp_path, mode="L").x
    assert grey.shape == (1, 1, 5, 7)
    np.testing.assert_allclose(grey[0, 0], array @ [0.299, 0.587, 0.114], atol=1)


def test_size_scales_the_shorter_side_and_cuts_the_centre(tmp_path):
    array = np.zeros((40, 80, 3), np.uint8)
    array[:, 20:60] = 200  # the centre
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "wide.png").write_bytes(picture(array))
    (tmp_path / "a" / "tall.png").write_bytes(picture(array.transpose(1, 0, 2).copy()))
    data = ImageFolder(tmp_path, size=10)
    assert data.x.shape == (2, 3, 10, 10)
    assert (data.x[..., 1:-1, 1:-1] == 200).all()
    with pytest.raises(ValueError, match=r"wide.png has height and width \(40, 80\).*pass size="):
        ImageFolder(tmp_path)


def test_jpeg(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(picture(100, kind="JPEG"))
    np.testing.assert_allclose(ImageFolder(tmp_path).x, 100, atol=1)


def test_damaged_pictures_and_archives_are_named(tmp_path):
    source = class_folders(tmp_path / "pictures")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    whole = tmp_path / "whole.tar.gz"
    (source / "cat" / "0.png").write_bytes(picture(noise))
    packed(source / "cat", whole)
    (tmp_path / "part.tar.gz").write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"part.tar.gz: not a tar file, or a truncated"):
        ImageFolder(tmp_path / "part.tar.gz")
    for content in (picture(noise)[:3000], b"hello", b""):
        (source / "ant" / "1.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"ant/1.png: not a picture, or a truncated"):
            ImageFolder(source)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"hello"))
    for file in (tmp_path / "text.gz", source / "cat" / "0.png"):
        with pytest.raises(ValueError, match="not a tar file"):
            ImageFolder(file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in class folders"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        ImageFolder(tmp_path / "none")
    assert list((tmp_path / "cache").iterdir()) == []  # nothing half-built stays


def test_pictures_are_decoded_once(tmp_path, monkeypatch):
    source = class_folders(tmp_path / "pictures")
    first = ImageFolder(source, dtype="uint8")
    calls = []
    monkeypatch.setattr("xpnet.data.folder.decode", lambda *args: calls.append(args))
    again = ImageFolder(source, dtype="uint8")
    assert calls == []
    assert isinstance(again.x.base, np.memmap)
    assert np.array_equal(first.x, again.x)
    assert (again.class_names, again.y.tolist()) == (first.class_names, first.y.tolist())
    monkeypatch.undo()
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    (source / "cat" / "0.png").write_bytes(picture(99))  # another time of change
    assert colours(ImageFolder(source)) == [30, 40, 50, 99, 20]
    (source / "cat" / "9.png").write_bytes(picture(98))  # another file
    assert colours(ImageFolder(source)) == [30, 40, 50, 99, 20, 98]
    assert ImageFolder(source, size=2).x.shape == (6, 3, 2, 2)  # another option


def test_pictures_on_disk_are_trained_on_in_batches(tmp_path):
    data = ImageFolder(class_folders(tmp_path / "pictures"), dtype="uint8")
    scaler = ChannelMean().fit(data.x)
    loader = DataLoader(data, 2, seed=0, augment=RandomFlip(), transform=scaler.transform, prefetch=1)
    batches = list(loader)
    assert all((type(x), x.dtype) == (np.ndarray, np.float32) for x, _ in batches)
    shown = np.concatenate([x for x, _ in batches])[:, 0, 0, 0]
    expected = scaler.transform(data.x)[loader.order(0)][:, 0, 0, 0]
    np.testing.assert_allclose(shown, expected, atol=1e-5)


def test_the_cache_can_be_elsewhere_or_off(tmp_path):
    source = class_folders(tmp_path / "pictures")
    ImageFolder(source, cache=tmp_path / "here")
    assert len(list((tmp_path / "here").iterdir())) == 1
    data = ImageFolder(source, dtype="uint8", cache=False)
    assert colours(data) == [30, 40, 50, 10, 20]
    assert not (tmp_path / "cache").exists()


def test_cifar10_of_pictures(tmp_path):
    for part in ("train", "test"):
        for k, name in enumerate(CLASSES):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "0.png").write_bytes(picture(k, size=(32, 32)))
    train, test = load_cifar10(tmp_path)
    assert colours(train) == colours(test) == train.y.tolist() == list(range(10))
    (tmp_path / "test" / "truck").rename(tmp_path / "test" / "lorry")
    with pytest.raises(ValueError, match="expected the 10 class folders airplane"):
        load_cifar10(tmp_path)


def test_the_real_cifar10(monkeypatch):
    pytest.importorskip("PIL")
    folder = Path(os.environ.get("XPNET_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"CIFAR-10 is not in {folder}; set XPNET_DATA to the folder that has cifar10/")
    monkeypatch.delenv("XPNET_CACHE")  # decoded once for all runs of the tests
    train, test = load_cifar10(folder, dtype="uint8")
    assert (train.x.shape, test.x.shape) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert np.bincount(train.y).tolist() == [5000] * 10
    assert np.bincount(test.y).tolist() == [1000] * 10
    # the means that everybody normalises with; the pictures here may be JPEGs
    np.testing.assert_allclose(train.x.mean(axis=(0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=2e-3)


# ---- tables and .npz ----


def csv_file(tmp_path, text):
    (tmp_path / "table.csv").write_text(text)
    return tmp_path / "table.csv"


def test_csv_of_numbers(tmp_path):
    data = load_csv(csv_file(tmp_path, "1,2.5,0\n\n3,-4e1,2\n"))
    assert (data.x.tolist(), data.y.tolist()) == ([[1, 2.5], [3, -40]], [0, 2])
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int64)


def test_csv_with_header_and_names(tmp_path):
    data = load_csv(csv_file(tmp_path, 'kind;a;b\nrose;1;2\n"oak";3;4\nrose;5;6\n'), "kind", delimiter=";")
    assert (data.x.tolist(), data.y.tolist()) == ([[1, 2], [3, 4], [5, 6]], [1, 0, 1])
    assert data.class_names == ["oak", "rose"]
    values = load_csv(csv_file(tmp_path, "y,x\n0.5,1\n2,2\n"), 0)
    assert (values.y.tolist(), values.y.dtype) == ([0.5, 2.0], np.float32)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "no samples"),
        ("a,b\n", {}, "no samples"),
        ("1,2\n1,2,3\n", {}, "line 2: 3 fields, expected 2"),
        ("1,2\n1,2\nx,2\n", {}, "line 3, column 0: 'x' is not a number"),
        ("1,2\n", {"target": "y"}, "no column 'y': there is no header"),
        ("a,b\n1,2\n", {"target": "y"}, "columns are a, b"),
        ("1,2\n", {"target": 2}, "no target column 2"),
        ("1\n2\n", {}, "a line has 1 fields"),
        ("nan,1\n", {}, "line 1, column 0: 'nan' is not a number"),
    ],
)
def test_bad_tables(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        load_csv(csv_file(tmp_path, text), **options)


def test_csv_of_another_format(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(ValueError, match="not a text table"):
        load_csv(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_csv(tmp_path / "none.csv")


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3), objects=np.array([{}], dtype=object))
    data = load_npz(tmp_path / "a.npz")
    assert (data.x.tolist(), data.x.dtype, data.y.tolist()) == (np.eye(3).tolist(), np.float32, [0, 1, 2])
    with pytest.raises(ValueError, match="no array 'labels', but x, y, objects"):
        load_npz(tmp_path / "a.npz", y="labels")
    with pytest.raises(ValueError, match="pickled objects"):
        load_npz(tmp_path / "a.npz", x="objects")
    np.save(tmp_path / "b.npy", np.eye(3))
    content = (tmp_path / "a.npz").read_bytes()
    for name, part in (("b.npy", None), ("c.npz", content[:200]), ("d.npz", b"hello"), ("e.npz", b"")):
        if part is not None:
            (tmp_path / name).write_bytes(part)
        with pytest.raises(ValueError, match=r"not an .npz file, or a truncated or damaged one"):
            load_npz(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_npz(tmp_path / "none.npz")
