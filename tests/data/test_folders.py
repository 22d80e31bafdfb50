"""Layouts of folders and tar files of pictures, bits of a pixel, and places where nothing can be kept."""

import errno
import io
import os
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_cli import fails
from tests.cli.test_images import bars
from tests.data.test_images import picture
from xpnet.cli import main
from xpnet.data import ImageFolder
from xpnet.data.folder import decode, layout_of, pictures_in
from xpnet.data.picture import decode_one

image = pytest.importorskip("PIL.Image")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.host
QUICK = ["--width", "2", "--size", "8", "--epochs", "1", "--plot", "none", "--grid", "none", "--save", "none"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def tree(root, *names):
    for i, name in enumerate(names):
        (Path(root) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(root) / name).write_bytes(picture(10 * i))
    return Path(root)


def packed(root):
    with tarfile.open("packed.tar", "w") as archive:
        archive.add(root, arcname=Path(root).name)
    return Path("packed.tar")


LAYOUTS = {
    "class folders": (["a/1.png", "b/2.png"], {"a": 1, "b": 1}),
    "one folder around": (["flowers/a/1.png", "flowers/b/2.png"], {"a": 1, "b": 1}),
    "two folders around": (["x/flowers/a/1.png", "x/flowers/b/2.png"], {"a": 1, "b": 1}),
    "deeper in the classes": (["a/2024/1.png", "b/2024/2.png", "b/2025/x/3.png"], {"a": 1, "b": 2}),
    "some deeper": (["a/1.png", "a/2024/2.png", "b/3.png"], {"a": 2, "b": 1}),
    "around and deeper": (["f/a/x/1.png", "f/a/y/2.png", "f/b/x/3.png"], {"a": 2, "b": 1}),
    "one part": (["train/a/1.png", "train/b/2.png"], {"a": 1, "b": 1}),
    "a hidden copy": (["a/1.png", "b/2.png", "__MACOSX/a/._1.png", ".b/2.png"], {"a": 1, "b": 1}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_layouts(layout, form, recwarn):
    names, expected = LAYOUTS[layout]
    root = tree("data", *names)
    data = ImageFolder(root if form == "folder" else packed(root), cache=False)
    found = {name: int((data.y == k).sum()) for k, name in enumerate(data.class_names)}
    assert found == expected
    assert not recwarn.list


def test_links_are_followed_but_not_in_circles():
    tree("real/rose", "1.png", "2.png")
    tree("real/tulip", "3.png")
    Path("linked").mkdir()
    for name in ("rose", "tulip"):
        os.symlink(Path("real", name).resolve(), Path("linked", name))
    os.symlink(Path("linked").resolve(), Path("real/rose/back"))
    data = ImageFolder("linked", cache=False)
    assert (data.class_names, data.y.tolist()) == (["rose", "tulip"], [0, 0, 1])


@pytest.mark.parametrize(
    ("extra", "count"), [("outside.png", 1), ("a/notes.txt", 1), ("a/photo.heic", 1), ("README.md", 0)]
)
def test_what_is_left_out_is_counted(extra, count, recwarn):
    tree("data", "a/1.png", "b/2.png", extra)
    ImageFolder("data", cache=False)
    said = [str(w.message) for w in recwarn]
    assert len(said) == count
    assert all(f"1 files are left out, such as {extra}" in line for line in said)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/1.png", "b/2.png", "c/notes.txt"], "no pictures are in c: no class"),
        (["a/1.png", "b/2.png", "c/"], "no pictures are in c: no class"),
        (["set/a/1.png", "set/b/2.png", "set/c/x.heic", "set/d/x.heic"], "no pictures are in c, d: no class"),
        (["Cat/1.png", "cat/2.png"], "classes 'Cat' and 'cat' are called alike"),
        (["\u00e9/1.png", "e\u0301/2.png"], "are called alike, and count as two"),
        (["a/1.png", "b/2.gif"], "of 1 files the first picture is taken, such as data: b/2.gif"),
        (["a/1.png", "b/2.tif"], "of 1 files the first picture is taken, such as data: b/2.tif"),
    ],
)
def test_what_counts_otherwise_than_it_looks_is_said(names, said):
    image = pytest.importorskip("PIL.Image")
    for name in names:
        path = Path("data", name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if path.suffix in (".gif", ".tif"):
            pages = [image.fromarray(np.full((8, 8), v, dtype=np.uint8)) for v in (9, 200)]
            pages[0].save(path, save_all=True, append_images=pages[1:])
        elif path.suffix:
            image.fromarray(np.full((8, 8), 9, dtype=np.uint8)).save(path, format="PNG")
    for _ in range(2):  # from the cache, too
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            data = ImageFolder("data")
        assert [str(w.message) for w in heard if said in str(w.message)] != []
        assert (len(data), set(data.x.ravel())) == (2, {9.0})


def test_a_zip_file_of_windows():
    tree("data", "a/1.png", "b/2.png")
    with zipfile.ZipFile("w.zip", "w") as archive:
        for name in ("a/1.png", "b/2.png"):
            inside = zipfile.ZipInfo("x")
            inside.filename = "data\\" + name.replace("/", "\\")
            archive.writestr(inside, Path("data", name).read_bytes())
    assert ImageFolder("w.zip", cache=False).class_names == ["a", "b"]


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (["train", "TEST"], ["train", "TEST"]),
        (["training_set", "test_set"], ["training_set", "test_set"]),
        (["seg_train/seg_train", "seg_test/seg_test"], ["seg_train", "seg_test"]),
        (["train", "eval"], ["train", "eval"]),
        (["training", "Dev", "tEsT"], ["training", "Dev", "tEsT"]),
        (["TRAIN", "evaluation"], ["TRAIN", "evaluation"]),
        (["TrainImages", "ValImages", "TestImages"], ["TrainImages", "ValImages", "TestImages"]),
        (["train", "bus"], []),  # a train is a train
        (["train_station", "test_tube"], []),
        (["train", "test_set"], []),
    ],
)
def test_folders_that_are_parts(folders, parts):
    tree("data", *(f"{folder}/{kind}/1.png" for folder in folders for kind in "ab"))
    if parts:
        assert [*layout_of(Path("data")).parts.values()] == parts
        assert ImageFolder("data", part=parts[0], cache=False).class_names == ["a", "b"]
    else:
        assert ImageFolder("data", cache=False).class_names == sorted(folders)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/1.png", "test/2.png"], "train, test are called as parts.*expected such as test/cat/1.jpg"),
        (["train/a/1.png", "train/b/2.png", "c/3.png"], "train is called as a part.*c beside it none"),
        (["val/a/1.png", "dev/a/2.png", "train/a/3.png"], "dev and val are called as the same part"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_folders_called_as_parts_that_are_none_are_refused(names, said, form, capsys):
    root = tree("data", *names)
    path = str(root if form == "folder" else packed(root))
    assert re.search(
        said.replace("train, test", "test, train"), fails(["train", "images", path, *QUICK], capsys)
    )


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["test/1.png"], "parts of a data set are train; left out: test"),
        (["test/1.png", "docs/1.png"], "parts of a data set are train; left out: docs, test"),
        (["val/lying/1.png", "val/standing/1.png", "misc/c/2.png"], "are train, val; left out: misc"),
    ],
)
def test_folders_beside_parts_are_said_to_be_left_out(others, said):
    bars(Path("data/train"), 20)
    tree("data", *others)
    with pytest.warns(UserWarning, match=said):
        assert main(["train", "images", "data", *QUICK]) == 0


def test_a_class_called_as_a_part_is_said(recwarn):
    data = ImageFolder(tree("data", "train/1.png", "bus/2.png"), cache=False)
    assert data.class_names == ["bus", "train"]
    assert "train count as classes, as bus, and not as parts of a data set" in str(recwarn[0].message)


def test_parts_are_not_classes():
    tree("data", "Train/a/1.png", "Train/b/2.png", "val/a/3.png", "val/b/4.png", "misc/a/5.png")
    with pytest.raises(ValueError, match=r"holds the parts Train, val of a data set.*part='Train'"):
        ImageFolder("data")
    for root in ("data", packed("data")):
        assert len(ImageFolder(root, part="val", cache=False)) == 2
        with pytest.raises(ValueError, match="none: no pictures in class folders"):
            ImageFolder(root, part="none", cache=False)


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        (["train", "test"], (35, 5, 8)),
        (["train", "val"], (32, 8, 8)),
        (["train", "val", "test"], (40, 8, 8)),
        (["Training", "Valid", "TEST"], (40, 8, 8)),
        (["flowers/train", "flowers/test"], (35, 5, 8)),
        (["."], (28, 4, 8)),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_the_command_line_takes_the_parts_that_are_there(parts, sizes, form, capsys):
    for part in parts:
        bars(Path("data") / part, 4 if part.lower() in ("val", "valid", "test") or "/test" in part else 20)
    path = "data" if form == "folder" else str(packed("data"))
    assert main(["train", "images", "--path", path, *QUICK]) == 0
    expected = "images: {} training, {} validation, {} test samples".format(*sizes)
    assert expected in capsys.readouterr().out


def test_parts_of_other_classes_are_refused(capsys):
    tree("data", "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/c/4.png")
    message = fails(["train", "images", "--path", "data", *QUICK], capsys)
    assert "train and val have different class folders" in message


# ---- bits of a pixel ----


def encoded(array, kind, mode=None):
    file = io.BytesIO()
    made = (
        image.fromarray(array) if mode is None else image.frombytes(mode, array.shape[::-1], array.tobytes())
    )
    made.save(file, kind)
    return file.getvalue()


RAMP = np.tile(np.arange(16), (16, 1))


@pytest.mark.parametrize(
    "content",
    [
        lambda: encoded((RAMP * 17).astype(np.uint8), "PNG"),
        lambda: encoded((RAMP * 4369).astype(np.uint16), "PNG"),
        lambda: encoded((RAMP * 4369).astype(np.uint16), "TIFF"),
        lambda: encoded((RAMP * 4369).astype(">u2"), "TIFF", "I;16B"),
    ],
    ids=["8", "16", "16 TIFF", "16 TIFF, big-endian"],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_depth_gives_the_same_shades(content, mode):
    array = decode(content(), None, mode, "x")
    assert (array == RAMP * 17).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_depths_without_a_white_are_refused(dtype):
    with pytest.raises(ValueError, match=r"x: values of .* whose white is not known"):
        decode(encoded((RAMP * 4369).astype(dtype), "TIFF"), None, "L", "x")


@pytest.mark.parametrize(("bits", "said"), [(10, True), (12, True), (14, True), (16, False)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_fewer_bits_than_the_file_has_are_said(bits, said, kind, recwarn):
    for name, white in (("a", 2**bits - 1), ("b", 2 ** (bits - 1))):  # it is the brightest of all that counts
        (Path("data") / name).mkdir(parents=True)
        content = encoded((RAMP / 15 * white).astype(np.uint16), kind)
        (Path("data") / name / f"1.{kind.lower()}").write_bytes(content)
    warnings.simplefilter("always")
    for _ in range(2):  # from the cache, too
        ImageFolder("data")
    line = (
        f"none above {2**bits - 1}, and white is 65535: were they of {bits} bits, save them with values times"
    )
    assert [line in str(w.message) for w in recwarn] == [True, True] * said
    notes = pictures_in(Path("data"), None, "L").notes
    assert [line in note and note.endswith(str(2 ** (16 - bits))) for note in notes] == [True] * said


def test_one_picture_is_doubted_as_a_folder_is():
    from PIL import Image

    frames, file = [Image.fromarray(np.full((8, 8), v, dtype=np.uint8)) for v in (9, 200)], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="of 1 files the first picture is taken, such as x.gif"):
        assert (decode_one(file.getvalue(), None, "L", "x.gif") == 9).all()


@pytest.mark.parametrize("wide", [False, True])
def test_grey_maps_of_8_and_16_bits(wide):
    values = RAMP * (4369 if wide else 17)
    head = f"P5 16 16 {65535 if wide else 255}\n".encode()
    array = decode(head + values.astype(">u2" if wide else np.uint8).tobytes(), None, "L", "x.pgm")
    assert (array == RAMP * 17).all()


# ---- nowhere to keep anything ----


@pytest.mark.parametrize("where", ["/proc/none", "file", "file/below"])
def test_a_cache_that_cannot_be_kept_warns(where, monkeypatch):
    tree("data", "a/1.png", "b/2.png")
    Path("file").write_text("")
    monkeypatch.setenv("XPNET_CACHE", where)
    with pytest.warns(UserWarning, match="decoded data cannot be kept .*; set XPNET_CACHE"):
        assert len(ImageFolder("data")) == 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_warns(number, monkeypatch):
    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    tree("data", "a/1.png", "b/2.png")
    monkeypatch.setattr("xpnet.data.cache.tempfile.mkdtemp", refuse)
    monkeypatch.setattr("xpnet.data.cache.tempfile.TemporaryDirectory", Scratch)
    with pytest.warns(UserWarning, match="decoded data cannot be kept"):
        assert len(ImageFolder("data")) == 2


class Scratch:
    """A temporary directory that does not go through mkdtemp."""

    def __enter__(self):
        Path("scratch").mkdir()
        return "scratch"

    def __exit__(self, *error):
        pass


def test_a_full_disk_is_noticed_before_it_is_written_to(monkeypatch):
    tree("data", "a/1.png", "b/2.png")
    full = type("Usage", (), {"free": 10})
    calls = []

    def usage(folder):
        calls.append(folder)
        return full if len(calls) == 1 else type("Usage", (), {"free": 10**9})

    monkeypatch.setattr("xpnet.data.folder.shutil.disk_usage", usage)
    with pytest.warns(UserWarning, match="decoded data cannot be kept .*no space left"):
        assert len(ImageFolder("data")) == 2


def test_no_home(tmp_path):
    code = (
        "import os, pwd, sys\n"
        "for k in ('HOME', 'XPNET_CACHE', 'XDG_CACHE_HOME'): os.environ.pop(k, None)\n"
        "def no(*a): raise KeyError\n"
        "pwd.getpwuid = no\n"
        "from xpnet.data import ImageFolder\n"
        "print(len(ImageFolder(sys.argv[1])))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tree("data", "a/1.png", "b/2.png")], capture_output=True, text=True
    )
    assert run.stdout == "2\n", run.stderr


# ---- consoles that cannot show a name ----


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_that_the_console_cannot_show(encoding):
    bars(Path("data"))
    for old, new in (("lying", "éléphant"), ("standing", "カモ")):
        Path("data", old).rename(Path("data", new))
    env = {**os.environ, "PYTHONIOENCODING": encoding}

    def run(*command):
        return subprocess.run([sys.executable, "-m", "xpnet", *command], env=env, capture_output=True)

    trained = run("train", "images", "--path", "data", *QUICK[:-1], "m.safetensors", "--json", "r.json")
    assert trained.returncode == 0, trained.stderr
    assert Path("m.safetensors").exists()
    assert ("カモ" if encoding == "utf-8" else "\\u30ab\\u30e2") in trained.stdout.decode(encoding)
    applied = run("predict", "m.safetensors", "--input", "data/カモ/0.png", "--output", "p.csv")
    assert applied.returncode == 0, applied.stderr
    assert Path("p.csv").read_text(encoding="utf-8").count("\n") == 2
    assert run("train", "images", "--path", "none カモ", *QUICK).returncode == 2
