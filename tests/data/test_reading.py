"""The reading boundary: one line for whatever is wrong with a file, and no memory for what it only claims."""

import csv
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import threading
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.data.test_images import class_folders, picture, python_version
from tests.fuzz.run import EXTRA, forget_peak, memory
from xpnet import nn
from xpnet.cli import main
from xpnet.cli.output import write_csv
from xpnet.core.reading import MissingFileError, UnreadableFileError, printable, read_exactly, reading
from xpnet.data import ImageFolder, Standardize, load_cifar10, load_csv, load_npz, read_frame
from xpnet.data.folder import decode
from xpnet.data.idx import read_idx
from xpnet.data.npy import read_npy, read_npz
from xpnet.io.files import load_arrays, save_arrays
from xpnet.search.trial import Outcome
from xpnet.train import load_checkpoint

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            MemoryError(),
            UnreadableFileError,
            "f: not a list, or a truncated or damaged one (it needs more memory",
        ),
        (RecursionError("deep"), UnreadableFileError, "(it is nested too deeply)"),
        (KeyError("layers"), UnreadableFileError, "(KeyError: 'layers')"),
        (zlib.error("Error -3"), UnreadableFileError, "(error: Error -3)"),
        (struct.error("unpack"), UnreadableFileError, "(error: unpack)"),
        (zipfile.BadZipFile("bad"), UnreadableFileError, "(BadZipFile: bad)"),
        (OverflowError("large"), UnreadableFileError, "(OverflowError: large)"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "start"), UnreadableFileError, "(UnicodeDecodeError: "),
        (ValueError("its shape is odd"), UnreadableFileError, "damaged one (its shape is odd)"),
        (ValueError("f: in a reader's words"), UnreadableFileError, "f: in a reader's words"),
        (ValueError("two\nlines \x1b[31m"), UnreadableFileError, r"(two lines \x1b[31m)"),
        (ValueError("x" * 10**6), UnreadableFileError, "xxx ...)"),
        (FileNotFoundError(2, "No such file or directory"), MissingFileError, "f: no such file"),
        (PermissionError(13, "Permission denied"), UnreadableFileError, "f: Permission denied"),
    ],
)
def test_every_error_is_one_of_the_file(error, kind, message):
    with pytest.raises(kind) as found, reading("f", "a list"):
        raise error
    text = str(found.value)
    assert message in text
    assert text.startswith("f: ")
    assert "\n" not in text
    assert len(text) < 800
    assert found.value.__cause__ is error
    assert isinstance(found.value, ValueError)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ImportError("no Pillow"), UnreadableFileError("g: bad")]
)
def test_what_is_not_the_files_fault_passes(error):
    with pytest.raises(type(error)) as found, reading("f", "a list"):
        raise error
    assert found.value is error


def test_a_missing_file_is_both():
    with pytest.raises(FileNotFoundError, match="none: no such file"):
        read_idx("none")
    assert issubclass(MissingFileError, UnreadableFileError)
    with pytest.raises(xpnet.UnreadableFileError):
        read_idx("none")


def test_names_are_printed_without_what_a_terminal_obeys():
    assert printable("cat\x1b]0;x\x07\r\n\x9b\u202e") == r"cat\x1b]0;x\x07\r\n\x9b\u202e"
    assert printable("éléphant カモ 🐱") == "éléphant カモ 🐱"


# ---- pipes and devices ----

READERS = {
    ".npy": read_npy,
    ".npz": load_npz,
    ".csv": load_csv,
    ".idx": read_idx,
    ".tar": lambda path: ImageFolder(path),
    ".tar.gz": load_cifar10,
    ".safetensors": load_arrays,
    ".model": xpnet.load,
    ".checkpoint": load_checkpoint,
}


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_not_waited_for(ending, kind):
    path = Path(f"input{ending}")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    done = []

    def read():
        with pytest.raises(
            UnreadableFileError, match=r"expected a file|no such file|no CIFAR-10|no pictures"
        ):
            READERS[ending](path)
        done.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert done == [True], "it waits"


# ---- sizes that are only claimed ----


def growth(read, size):
    """Bytes that reading takes beyond three times the file's size; it ends with an error or a value."""
    forget_peak()
    before = memory("VmRSS")
    with suppress(UnreadableFileError):
        read()
    return memory("VmHWM") - before - 3 * size


def png(width, height, rows):
    """A grey PNG that says it has this size, and holds `rows` rows."""

    def chunk(name, part):
        return struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(width + 1) * rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_long_thin_picture_is_cut_before_it_is_scaled():
    content = png(1, 200_000, 200_000)
    assert len(content) < 1000
    assert growth(lambda: decode(content, 64, "RGB", "p"), len(content)) < EXTRA
    assert decode(content, 64, "RGB", "p").shape == (3, 64, 64)


def test_the_centre_of_a_long_picture_is_what_is_kept():
    values = np.linspace(0, 255, 400).astype(np.uint8)[None].repeat(8, 0)
    found = decode(picture(values, mode="L"), 8, "L", "p")
    np.testing.assert_allclose(found[0], values[:, 196:204], atol=1)


def test_pixels_that_a_file_cannot_hold_are_refused():
    content = png(12_000, 12_000, 1)
    assert growth(lambda: decode(content, 64, "RGB", "p"), len(content)) < EXTRA
    with pytest.raises(ValueError, match=r"p: .*12000 by 12000 pixels, in a file of"):
        decode(content, None, "RGB", "p")


def zipped_idx(shape, zeros):
    head = bytes((0, 0, 8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(head + bytes(zeros), 9)


@pytest.mark.parametrize("shape", [(28, 28), (2**31, 2**31), (255,) * 4])
def test_a_gzip_bomb_is_not_held(shape):
    path = Path("a.gz")
    path.write_bytes(zipped_idx(shape, 400 * 2**20 if shape == (28, 28) else 1000))
    assert growth(lambda: read_idx(path), path.stat().st_size) < EXTRA
    with pytest.raises(UnreadableFileError, match=r"a\.gz: the idx file is (too long|truncated)"):
        read_idx(path)


def npy_header(shape, dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


@pytest.mark.parametrize("size", [100, 300 * 2**20])
def test_an_npz_bomb_is_not_held(size):
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, npy_header((10**9 if size == 100 else 3,)) + bytes(size))
    path = Path("a.npz")
    assert growth(lambda: load_npz(path), path.stat().st_size) < EXTRA
    with pytest.raises(UnreadableFileError, match=r"a\.npz: .*\(it has \d+ bytes, expected"):
        load_npz(path)


def test_an_npy_that_says_more_than_it_has():
    Path("a.npy").write_bytes(npy_header((10**9,)) + bytes(100))
    assert growth(lambda: read_npy("a.npy"), 228) < EXTRA
    with pytest.raises(UnreadableFileError, match=r"a\.npy: .*expected 4000000128"):
        read_npy("a.npy")
    Path("a.npy").write_bytes(npy_header((2,), "|O") + pickle.dumps([1, 2]))
    with pytest.raises(UnreadableFileError, match="pickled objects"):
        read_npy("a.npy")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.eye(3)),
        np.array(5),
        np.zeros((0, 3)),
        np.array([True]),
        np.arange(3, dtype=">i4"),
    ],
)
def test_numpys_own_files_come_back(array):
    np.save("a.npy", array)
    np.savez("a.npz", x=array, other=np.eye(2))
    np.savez_compressed("b.npz", x=array)
    for found in (
        read_npy("a.npy"),
        *(read_npz(name, lambda names: ["x"])[0] for name in ("a.npz", "b.npz")),
    ):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)


@pytest.mark.parametrize("kind", ["long name", "pax", "member"])
def test_a_tar_bomb_is_not_held(kind):
    size = 400 * 2**20
    member = tarfile.TarInfo("a/1.png")
    if kind != "member":
        member.type = tarfile.GNUTYPE_LONGNAME if kind == "long name" else tarfile.XHDTYPE
    member.size = size
    path = Path("a.tar.gz")
    with gzip.open(path, "wb", 9) as file:
        file.write(member.tobuf())
        file.write(bytes(size))
    assert growth(lambda: ImageFolder(path), path.stat().st_size) < EXTRA
    with pytest.raises(UnreadableFileError, match=r"a\.tar\.gz: not a tar file, .* bytes"):
        ImageFolder(path)


def test_a_pickle_takes_no_memory_for_the_numbers_it_names():
    python_version(Path("data"))
    batch = Path("data/test_batch")
    batch.write_bytes(b"\x80\x02}r\xff\xff\xff\x3f.")  # "remember this as number 1073741823"
    assert growth(lambda: load_cifar10("data"), 9) < EXTRA
    twins = (
        b"\x80\x02}"
        + b"N"
        + b"q\x002\x86q\x01"
        + b"".join(b"0h\x012\x86q\x01" for _ in range(60))
        + b"K\x01s."
    )
    batch.write_bytes(twins)  # a key whose hash takes 2^60 steps
    with pytest.raises(UnreadableFileError, match="test_batch"):
        load_cifar10("data")


def test_a_long_field_is_looked_at_once():
    Path("a.csv").write_text(
        "1,2\n3," + "9" * 10**6 + "x\n"
    )  # a number that ends wrong, after a million digits
    csv.field_size_limit(2 * 10**6)
    try:
        with pytest.raises(
            UnreadableFileError, match=r"a\.csv, line 2, column 1: '9{100} \.\.\.' is not a number"
        ):
            load_csv("a.csv")
    finally:
        csv.field_size_limit(131_072)


def test_a_label_beyond_int64_is_refused():
    python_version(Path("data"))
    x = np.zeros((1, 3072), np.uint8)
    Path("data/test_batch").write_bytes(pickle.dumps({"data": x, "labels": [2**70]}, 2))
    with pytest.raises(UnreadableFileError, match="test_batch: labels go from"):
        load_cifar10("data")


def model_file(name="m.safetensors", change=lambda content: None, layers=None):
    x = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    facts = {"kind": "mlp", "model": {"classes": 2}, "shape": [4], "data": "digits", "class_names": None}
    xpnet.save(nn.Sequential(nn.Linear(4, 2)), name, Standardize().fit(x), facts)
    arrays, content = load_arrays(name)
    change(content)
    save_arrays(name, arrays, content)
    np.save("x.npy", x)
    return name


def test_a_model_larger_than_its_file_is_not_made():
    def grow(content):
        content["layers"]["layers"][0] |= {"in_features": 12_000, "out_features": 12_000}

    path = model_file(change=grow)
    assert growth(lambda: xpnet.load(path), Path(path).stat().st_size) < EXTRA
    with pytest.raises(UnreadableFileError, match="more values than there are to put in"):
        xpnet.load(path)


def test_a_margin_that_no_layer_needs_is_refused():
    xpnet.save(nn.Sequential(nn.Conv2d(1, 2, 3, padding=512)), "wide")
    assert xpnet.load("wide").model[0].padding == 512
    xpnet.save(nn.Sequential(nn.MaxPool2d(3), nn.Conv2d(1, 2, 3, padding=(1, 12_000))), "wide")
    with pytest.raises(UnreadableFileError, match=r"wide: .*\(Conv2d: padding 12000, expected 512 at most\)"):
        xpnet.load("wide")


def test_loading_draws_nothing_and_gives_the_saved_values():
    path = model_file()
    xpnet.manual_seed(3)
    expected = nn.Linear(4, 2).weight.numpy()
    xpnet.manual_seed(3)
    first, second = xpnet.load(path), xpnet.load(path)
    assert np.array_equal(nn.Linear(4, 2).weight.numpy(), expected)
    assert np.array_equal(first.model[0].weight.numpy(), second.model[0].weight.numpy())
    assert np.abs(first.model[0].weight.numpy()).min() > 0


# ---- content that is odd, with the right checksum ----

ODD = {
    "shape": lambda f: f.update(shape="4"),
    "shape of nothing": lambda f: f.update(shape=[]),
    "negative shape": lambda f: f.update(shape=[-4]),
    "names": lambda f: f.update(class_names="ab"),
    "one name": lambda f: f.update(class_names=["a"]),
    "lists as names": lambda f: f.update(class_names=[[1], [2]]),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_metadata_end_with_one_line(case, capsys):
    path = model_file(change=lambda content: ODD[case](content["facts"]))
    assert main(["predict", path, "--input", "x.npy"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("xpnet predict: error: m.safetensors: ")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("number", "1"),
        ("number", True),
        ("number", [1]),
        ("round", 3),
        ("params", [1]),
        ("budget", "2"),
        ("score", "high"),
        ("score", None),
        ("status", "done"),
        ("reason", None),
        ("info", []),
        ("seconds", "1"),
        ("values", [["x", 1]]),
        ("values", 3),
    ],
)
def test_a_trial_of_wrong_types_is_refused(part, value):
    row = Outcome(0, "coarse", {"lr": 0.1}, 2, "complete", 0.5, values=[(1, 0.25)]).to_dict()
    assert Outcome.from_dict(row).to_dict() == row
    with pytest.raises((ValueError, TypeError)):
        Outcome.from_dict({**row, part: value})


@pytest.mark.parametrize("part", ["state", "settings", "facts", "tree"])
def test_odd_checkpoints_are_refused(part):
    tree = {"kind": "training checkpoint", "state": {"step": 1}, "settings": {}, "facts": {}}
    save_arrays("c", {}, {"tree": [] if part == "tree" else {**tree, part: 3}})
    with pytest.raises(UnreadableFileError, match=r"^c: "):
        load_checkpoint("c")


# ---- names that do harm where they are printed ----


def test_hostile_names_do_not_reach_the_terminal(capsys):
    for k, name in enumerate(("\x1b[2Jcat", "=cmd|' '!A1")):
        Path("data", name).mkdir(parents=True)
        for i in range(12):
            Path("data", name, f"{i}.png").write_bytes(picture(40 + 150 * k, (8, 8)))
    words = [
        "train",
        "images",
        "--path",
        "data",
        "--model",
        "mlp",
        "--layers",
        "4",
        "--size",
        "8",
        "--epochs",
        "2",
    ]
    assert main([*words, "--batch-size", "4", "--plot", "none", "--grid", "none", "--save", "m"]) == 0
    assert main(["predict", "m", "--path", "data", "--output", "p.csv"]) == 0
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed
    assert r"\x1b[2Jcat" in printed
    text = Path("p.csv").read_text()
    assert "'=cmd" in text
    assert ",=" not in text
    assert main(["train", "images", "--path", "no\x1b[31m", "--save", "none"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@a", "'@a"),
        ("\tx", "'\tx"),
        ("cat", "cat"),
        ("-1.5", "-1.5"),
        (-1, "-1"),
        (0.5, "0.5"),
        ("a=b", "a=b"),
        ("-", "-"),
        ("+", "+"),
    ],
)
def test_a_table_of_predictions_starts_no_formula(field, written):
    said = write_csv("t.csv", ["a", "b"], [[0, field]])
    assert said == (field if written == f"'{field}" else None)
    assert Path("t.csv").read_text() == f"a,b\n0,{written}\n"


# ---- the cache of pictures ----


def test_a_damaged_cache_is_made_again(tmp_path):
    source, kept = class_folders(tmp_path / "pictures"), tmp_path / "kept"
    whole = ImageFolder(source, cache=kept)
    (entry,) = kept.iterdir()
    names = sorted(p.name for p in entry.iterdir())
    assert names == ["checksums.json", "classes.npy", "x.npy", "y.npy"]
    for name in names:
        for damage in ("flip", "cut", "remove", "empty"):
            content = bytearray((entry / name).read_bytes())
            if damage == "flip":
                content[-1] ^= 1
            (entry / name).write_bytes({"cut": content[:-1], "empty": b""}.get(damage, content))
            if damage == "remove":
                (entry / name).unlink()
            with pytest.warns(UserWarning, match="what was kept of it in .* is damaged: it is read again"):
                again = ImageFolder(source, cache=kept)
            assert np.array_equal(again.x, whole.x)
            assert again.class_names == whole.class_names
    ImageFolder(source, cache=kept)  # no warning
    shutil.rmtree(entry)
    entry.mkdir()  # a crash before anything was on the disk
    with pytest.warns(UserWarning, match="is damaged"):
        ImageFolder(source, cache=kept)


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr("xpnet.data.cache.sync", lambda path: events.append(path.name))
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda a, b: (events.append("rename"), rename(a, b))[1])
    ImageFolder(class_folders(tmp_path / "pictures"), cache=tmp_path / "kept")
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    assert set(before) >= {"x.npy", "y.npy", "classes.npy", "checksums.json"}
    assert len(before) == 5  # and the folder
    assert after == ["kept"]
    (entry,) = (tmp_path / "kept").iterdir()
    assert set(json.loads((entry / "checksums.json").read_text())) == {"x.npy", "y.npy", "classes.npy"}


class Short(io.BytesIO):
    """A stream that gives less than it is asked for, as gzip's do."""

    def read(self, size=-1):
        return super().read(min(size, 3))


def test_exactly_so_many_bytes_are_read():
    content = np.random.default_rng(0).bytes(2 * 2**20 + 5)
    stream = io.BytesIO(content + b"rest")
    assert read_exactly(stream, len(content)) == content
    assert stream.read() == b"rest"
    assert read_exactly(Short(b"abcdefgh"), 7) == b"abcdefg"
    assert read_exactly(io.BytesIO(b""), 0) == b""
    with pytest.raises(EOFError, match="ends after 8 bytes, expected 9"):
        read_exactly(Short(b"abcdefgh"), 9)
    with pytest.raises(EOFError, match="ends after 3 bytes, expected 5"):
        read_exactly(io.BytesIO(b"abc"), 5)


@pytest.mark.parametrize("form", ["sparse", "backwards", "past the end"])
def test_members_of_a_tar_file_that_lie(form):
    content = picture(9)
    member = tarfile.TarInfo("a/1.png")
    member.size = len(content)
    if form == "sparse":
        member.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(member.tobuf())
    if form != "sparse":
        # a size below 0 turns back to the same member for ever; one of 8 GB is not there
        number = -(len(content) + 1024) if form == "backwards" else 2**33
        head[124:136] = (
            b"\x80\0\0\0" + number.to_bytes(8, "big")
            if number > 0
            else b"\xff" * 4 + number.to_bytes(8, "big", signed=True)
        )
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
    Path("a.tar").write_bytes(bytes(head) + content + bytes(-len(content) % 512 + 1024))
    with pytest.raises(UnreadableFileError, match=r"a\.tar: "):
        ImageFolder("a.tar")


GAPS = {  # a table of two rows, and what is said of its empty lines
    "none": ("a,b\n1,2\n3,4\n", None),
    "around": ("\n\na,b\n1,2\n3,4\n\n\n", None),
    "one": ("a,b\n1,2\n\n3,4\n", "1 empty line among the rows, such as line 3, is passed over"),
    "of spaces": ("a,b\r\n1,2\r\n  \r\n\r\n3,4\r\n\r\n", "2 empty lines among the rows, such as line 3"),
    "beside quotes": ('a,b\n"x\n\ny",2\n\n"z",4\n', "1 empty line among the rows, such as line 5, is"),
    "below comments": ("# by hand\n\n# in May\na,b\n1,2\n3,4\n", None),
}


@pytest.mark.parametrize("name", GAPS)
def test_empty_lines_among_the_rows_are_counted(name, tmp_path):
    content, said = GAPS[name]
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        frame = read_frame(path, header=True)
    assert (len(frame), frame.names) == (2, ["a", "b"])
    assert [said in str(warning.message) for warning in heard] == ([] if said is None else [True])


def test_a_delimiter_that_the_header_has_not(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;2\n2,5;3\n")
    with pytest.raises(
        ValueError, match=r"line 2: 2 fields, expected 1; it has ';' between its fields: --delimiter ';'"
    ):
        load_csv(path, delimiter=",")
