"""Pictures as people have them: transparency, floats, palettes, zip files, damaged ones."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.data.test_images import class_folders
from xpnet import nn
from xpnet.cli import main
from xpnet.data import ImageFolder
from xpnet.data.folder import pictures_in
from xpnet.data.picture import decode

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def encoded(picture, format="PNG", **options):
    file = io.BytesIO()
    picture.save(file, format=format, **options)
    return file.getvalue()


def transparent(ink, mode="RGBA"):
    """A stroke on nothing: the middle row of three."""
    pixels = np.zeros((3, 4, 4), np.uint8)
    pixels[1] = (*ink, 255)
    picture = Image.fromarray(pixels)
    return picture if mode == "RGBA" else picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (128, 255), (255, 0)])
def test_ink_on_nothing_shows(ink, ground, mode):
    x = decode(encoded(transparent((ink,) * 3, mode)), None, "L", "p.png")
    assert x[0].tolist() == [[ground] * 4, [ink] * 4, [ground] * 4]
    rgb = decode(encoded(transparent((ink,) * 3, mode)), None, "RGB", "p.png")
    assert np.array_equal(rgb, np.broadcast_to(x, (3, 3, 4)))


def test_a_palette_with_a_transparent_colour():
    picture = Image.fromarray(np.uint8([[0, 1], [1, 0]]), "P")
    picture.putpalette([0, 0, 0, 10, 20, 30])
    x = decode(encoded(picture, transparency=0), None, "RGB", "p.png")
    assert x[:, 0, 0].tolist() == [255, 255, 255]
    assert x[:, 0, 1].tolist() == [10, 20, 30]


def test_half_transparent_ink_is_mixed_with_the_ground():
    pixels = np.full((2, 2, 4), 100, np.uint8)
    pixels[..., 3] = 51  # a fifth
    x = decode(encoded(Image.fromarray(pixels)), None, "L", "p.png")
    assert abs(int(x[0, 0, 0]) - 224) <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5], [0.25, 1.0]], [[0, 128], [64, 255]]),
        ([[0, 17], [200, 255]], [[0, 17], [200, 255]]),
    ],
)
def test_float_pictures_are_scaled(values, expected):
    x = decode(encoded(Image.fromarray(np.float32(values)), "TIFF"), None, "L", "p.tif")
    assert x[0].tolist() == expected


@pytest.mark.parametrize("values", [[[0.0, 1.5]], [[-1.0, 0.5]], [[0.0, 65535.0]], [[np.nan, 0.5]]])
def test_floats_whose_white_is_not_known_are_refused(values):
    with pytest.raises(ValueError, match=r"p\.tif: .*floats, whose white is not known"):
        decode(encoded(Image.fromarray(np.float32(values)), "TIFF"), None, "L", "p.tif")


def zipped(source, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path(source).rglob("*")):
            if file.is_file():
                archive.write(file, prefix + str(file.relative_to(source)))
    return path


@pytest.mark.parametrize("prefix", ["", "flowers/", "./"])
def test_a_zip_file_is_the_folder_in_it(prefix):
    class_folders(Path("pictures"))
    x = ImageFolder("pictures")
    y = ImageFolder(zipped("pictures", "pictures.zip", prefix))
    assert np.array_equal(x.x, y.x)
    assert np.array_equal(x.y, y.y)
    assert x.class_names == y.class_names


def test_damaged_zip_files_are_named():
    class_folders(Path("pictures"))
    content = Path(zipped("pictures", "a.zip")).read_bytes()
    Path("a.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.zip: not a zip file, or a truncated or damaged one"):
        ImageFolder("a.zip")


def test_a_jfif_is_a_picture():
    class_folders(Path("pictures"))
    size = next(Path("pictures").rglob("*.png"))
    picture = Image.open(size)
    before = len(ImageFolder("pictures"))
    picture.convert("RGB").save(size.parent / "z.jfif", format="JPEG")
    assert len(ImageFolder("pictures")) == before + 1


def test_damaged_pictures_are_named_and_left_out_if_asked():
    class_folders(Path("pictures"))
    whole = ImageFolder("pictures")
    bad = sorted(Path("pictures").rglob("*.png"))[1]
    at = sorted(str(p) for p in Path("pictures").rglob("*.png")).index(str(bad))
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(ValueError, match=bad.name):
        ImageFolder("pictures")
    for _ in range(2):  # decoded, and from the cache
        with pytest.warns(UserWarning, match=f"1 damaged pictures are left out: .*{bad.name}"):
            rest = ImageFolder("pictures", skip_damaged=True)
        assert np.array_equal(rest.x, np.delete(whole.x, at, axis=0))
        assert np.array_equal(rest.y, np.delete(whole.y, at))
    for file in Path("pictures").rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="no picture in it can be read"):
        ImageFolder("pictures", skip_damaged=True)


def test_pictures_of_no_class():
    class_folders(Path("pictures"))
    Path("pictures/notes.txt").write_text("hello")
    found = pictures_in(Path("pictures"), None, "RGB")
    assert np.array_equal(found.x, ImageFolder("pictures").x)
    assert found.names == sorted(found.names)
    assert found.notes == ["1 other files are left out, such as notes.txt"]
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures"):
        pictures_in(Path("empty"), None, "RGB")


def many(path, n=12, side=8):
    """Two classes, dark and bright."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        Path(path, name).mkdir(parents=True)
        for i in range(n):
            pixels = (low + rng.integers(0, 80, (side, side, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(Path(path, name, f"{i}.png"))


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_a_folder_of_pictures_is_predicted(model, capsys):
    many("pictures")
    words = ["train", "images", "pictures", "--size", "8", "--epochs", "6", "--model", model, "--seed", "1"]
    words += [] if model == "mlp" else ["--width", "4"]
    assert main([*words, "--plot", "none", "--grid", "none", "--batch-size", "4"]) == 0
    capsys.readouterr()
    Path("pictures/dark/0.png").write_bytes(b"damaged")
    options = ["--output", "p.csv", "--top", "2", "--probabilities"]
    assert main(["predict", "images.safetensors", "pictures", *options]) == 2
    assert "pictures: dark/0.png: " in capsys.readouterr().err
    assert main(["predict", "images.safetensors", "pictures", "--skip-damaged", *options]) == 0
    assert "note: 1 damaged pictures are left out: pictures: dark/0.png" in capsys.readouterr().out
    lines = [line.split(",") for line in Path("p.csv").read_text().splitlines()]
    assert lines[0] == [
        "sample", "file", "prediction", "probability", "prediction 2", "probability 2", "label",
        "p(dark)", "p(light)"
    ]  # fmt: skip
    files = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert [row[1] for row in lines[1:]] == files[1:]
    assert np.mean([row[2] == row[1].split("/")[0] for row in lines[1:]]) > 0.9
    for row in lines[1:]:
        assert row[6] == row[1].split("/")[0]
        assert float(row[7]) + float(row[8]) == pytest.approx(1, abs=1e-5)
        assert {row[2], row[4]} == {"dark", "light"}


def test_training_leaves_damaged_pictures_out_if_asked(capsys):
    many("pictures")
    Path("pictures/dark/0.png").write_bytes(b"damaged")
    words = [
        "train",
        "images",
        "pictures",
        "--size",
        "8",
        "--epochs",
        "1",
        "--save",
        "none",
        "--plot",
        "none",
    ]
    words += ["--grid", "none", "--width", "4", "--batch-size", "4"]
    assert main(words) == 2
    assert "0.png" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="1 damaged pictures are left out"):
        assert main([*words, "--skip-damaged"]) == 0
    assert main(["train", "digits", "--skip-damaged"]) == 2
    assert "--skip-damaged is for images" in capsys.readouterr().err


def test_a_model_that_begins_with_a_convolution_takes_pictures_of_any_size(capsys):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(4, 2))
    xpnet.save(layers, "m.st", metadata={"class_names": ["dark", "light"]})
    many("pictures", n=2, side=9)
    assert main(["predict", "m.st", "pictures", "--output", "p.csv"]) == 0
    found = pictures_in(Path("pictures"), None, "RGB")
    expected = xpnet.load("m.st").predict_class(found.x.astype(np.float32))
    assert [line.split(",")[2] for line in Path("p.csv").read_text().splitlines()[1:]] == expected
    assert main(["predict", "m.st", "pictures/dark/0.png"]) == 0
    np.save("x.npy", found.x)
    assert main(["predict", "m.st", "x.npy", "--output", "q.csv"]) == 0
    assert [line.split(",")[1] for line in Path("q.csv").read_text().splitlines()[1:]] == expected
    np.save("x.npy", found.x[:, :1])
    capsys.readouterr()
    assert main(["predict", "m.st", "x.npy"]) == 2
    assert "the model takes (n, 3, H, W), got (4, 1, 9, 9)" in capsys.readouterr().err


def test_a_flat_model_says_how_to_take_pictures(capsys):
    many("pictures", n=1)
    for metadata, code in ((None, 2), ({"picture": [3, 8, 8]}, 0)):
        xpnet.save(nn.Sequential(nn.Linear(192, 2)), "m.st", metadata=metadata)
        assert main(["predict", "m.st", "pictures/dark/0.png"]) == code
    xpnet.save(nn.Sequential(nn.Linear(192, 2)), "m.st")
    capsys.readouterr()
    assert main(["predict", "m.st", "pictures/dark/0.png"]) == 2
    assert 'such as {"picture": [1, 28, 28]}' in capsys.readouterr().err
