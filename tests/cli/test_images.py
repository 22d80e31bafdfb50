"""The commands on pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.cli.test_cli import fails, names
from tests.data.test_idx import write_mnist
from tests.data.test_images import binary_version
from xpnet.cli import main
from xpnet.cli.model import load_model
from xpnet.data import load_digits

pytest.importorskip("safetensors")
image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with xpnet.use_backend("numpy"):
        yield work


def bars(folder, per_class=20, sizes=((24, 20), (18, 30))):
    """Two classes that differ at a glance: bright bars that lie, and bars that stand."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("lying", "standing")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            picture = rng.integers(0, 60, (*sizes[i % len(sizes)], 3), dtype=np.uint8)
            place = 8 + i % 4
            picture[(slice(place, place + 4), slice(None))[:: 1 if k == 0 else -1]] = [200, 220, 180]
            image.fromarray(picture).save(folder / name / f"{i}.png")
    return folder


def test_the_shallow_residual_network_whitens_patches_and_looks_twice(capsys):
    pictures = bars(Path("pictures"))
    network = ["--model", "resnet9", "--width", "4", "--size", "16", "--batch-size", "7", "--mirrored"]
    rule = ["--epochs", "15", "--lr", "0.01", "--schedule", "onecycle", "--json", "r.json", "--plot", "none"]
    assert main(["train", "images", "--path", str(pictures), *network, *rule]) == 0
    assert "learning rate 0.01, batch 7" in capsys.readouterr().out
    report = json.loads(Path("r.json").read_text())
    rates = report["history"]["lr"]  # of 60 steps, the first 12 go up
    assert len(rates) == 15
    assert rates[2] == max(rates) > 3 * rates[0]
    assert rates[-1] < 1e-4
    model = load_model("images.safetensors")[0]
    assert isinstance(model, xpnet.nn.Mirrored)
    weight = xpnet.to_numpy(model.module[0].weight)
    np.testing.assert_array_equal(weight[12:], -weight[:12])  # not trained
    x = xpnet.asarray(np.random.default_rng(0).normal(0, 0.1, (3, 3, 16, 16)).astype(np.float32))
    scores = xpnet.to_numpy(model.module(x)), xpnet.to_numpy(model.module(x[..., ::-1]))
    probabilities = [np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in scores]
    np.testing.assert_allclose(np.exp(xpnet.to_numpy(model(x))), sum(probabilities) / 2, rtol=1e-5)
    assert not np.allclose(*probabilities, rtol=1e-3, atol=0)
    assert main(["predict", "images.safetensors", "--path", str(pictures)]) == 0
    assert report["test"]["accuracy"] > 0.8
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["digits"], ["images", "--model", "mlp"]])
def test_a_mirror_is_for_things_in_pictures(words, capsys):
    bars(Path("pictures"))
    path = ["--path", "pictures"] if words[0] == "images" else []
    assert main(["train", *words, *path, "--mirrored"]) == 2
    assert "--mirrored is for pictures of things" in capsys.readouterr().err
    assert names() == ["pictures"]


def test_own_pictures_are_told_apart(capsys):
    pictures = bars(Path("pictures"))
    options = ["--width", "4", "--size", "16", "--epochs", "8", "--batch-size", "8", "--augment", "standard"]
    assert main(["train", "images", "--path", str(pictures), *options, "--json", "r.json"]) == 0
    printed = capsys.readouterr().out
    assert "28 training, 4 validation, 8 test samples" in printed
    assert "cnn of width 4" in printed
    assert "\n0 lying, 1 standing\n" in printed
    written = {"images-augmented.png", "images-samples.png", "images.png", "images.safetensors", "r.json"}
    assert set(names()) == {*written, "pictures"}
    report = json.loads(Path("r.json").read_text())
    assert report["test"]["accuracy"] == 1.0
    assert (report["class_names"], report["shape"]) == (["lying", "standing"], [3, 16, 16])
    assert main(["predict", "images.safetensors", "--path", str(pictures)]) == 0
    assert "accuracy 100.00%" in capsys.readouterr().out
    one = ["predict", "images.safetensors", "--input", "pictures/standing/3.png", "--output", "p.csv"]
    assert main(one) == 0
    assert Path("p.csv").read_text().splitlines()[1].startswith("0,standing,0.")
    assert "1 samples from pictures/standing/3.png" in capsys.readouterr().out


def test_what_is_cut_and_what_has_no_class_is_counted(capsys):
    bars(Path("pictures"), sizes=((16, 16),))
    options = ["--width", "2", "--size", "16", "--epochs", "1", "--plot", "none", "--grid", "none"]
    assert main(["train", "images", "pictures", *options]) == 0
    bars(Path("new"), per_class=4, sizes=((16, 16), (30, 18)))
    capsys.readouterr()
    assert main(["predict", "images.safetensors", "new", "--output", "all.csv"]) == 0
    out = capsys.readouterr().out
    assert "note: 4 of 8 pictures, such as new: lying/1.png (18 by 30): not of the model's 16 by 16" in out
    assert "no folder" not in out
    (Path("new") / "others").mkdir()
    for name in ("0.png", "2.png"):
        (Path("new/lying") / name).rename(Path("new/others") / name)
    assert main(["predict", "images.safetensors", "new", "--output", "some.csv"]) == 0
    out = capsys.readouterr().out
    assert (
        "note: 2 of 8 pictures are in no folder that is called as a class: they are predicted, and what is "
        "measured is of the other 6\n"
    ) in out
    rows = [line.split(",") for line in Path("some.csv").read_text().splitlines()[1:]]
    assert [row[-1] for row in rows if row[1].startswith("others")] == ["", ""]
    right = np.mean([row[2] == row[-1] for row in rows if row[-1]])
    assert f"accuracy {right:.2%}\n" in out
    assert main(["predict", "images.safetensors", "new/standing/0.png"]) == 0
    assert "centre" not in "".join(capsys.readouterr())
    with pytest.warns(
        UserWarning, match=r"1.png \(18 by 30\): not of the model's 16 by 16 pixels; the centre"
    ):
        assert main(["predict", "images.safetensors", "new/standing/1.png"]) == 0


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.array([0, -1, 1, -1]), "2 of 4 samples have a negative number in y: they are predicted"),
        (
            np.array([0.5, 1, 1, 0]),
            "y is float64 (4,), not a whole number, its class, for each of 4 samples: not used",
        ),
        (
            np.array([0, 1, 1]),
            "y is int64 (3,), not a whole number, its class, for each of 4 samples: not used",
        ),
        (np.array([0, 1, 1, 0]), None),
    ],
)
def test_labels_in_a_file_of_arrays_are_used_or_said(y, said, capsys):
    assert main(["train", "digits", "--epochs", "1", "--plot", "none"]) == 0
    np.savez("xy.npz", x=load_digits().x[:4], y=y)
    capsys.readouterr()
    assert main(["predict", "digits.safetensors", "xy.npz"]) == 0
    out = capsys.readouterr().out
    assert [said in line for line in out.splitlines() if line.startswith("note")] == (
        [] if said is None else [True]
    )
    assert ("accuracy" in out) == (said is None or "negative" in said)


@pytest.mark.parametrize(("side", "shown"), [(32, 32), (30, 28), (5, 8), (90, 64)])
def test_pictures_are_not_scaled_up_beyond_a_step(side, shown):
    image = pytest.importorskip("PIL.Image")
    for k, name in enumerate(("dark", "light")):
        (Path("pictures") / name).mkdir(parents=True)
        for i in range(20):
            image.new("RGB", (side, side + 3), (100 * k + i,) * 3).save(f"pictures/{name}/{i}.png")
    options = ["--width", "2", "--epochs", "1", "--plot", "none", "--grid", "none", "--json", "r.json"]
    assert main(["train", "images", "pictures", *options]) == 0
    assert json.loads(Path("r.json").read_text())["shape"] == [3, shown, shown]


def test_own_test_set():
    bars(Path("pictures/train"))
    bars(Path("pictures/test"), per_class=3)
    options = ["--width", "2", "--size", "8", "--epochs", "1", "--plot", "none", "--grid", "none"]
    assert main(["train", "images", "--path", "pictures", *options, "--json", "r.json"]) == 0
    assert json.loads(Path("r.json").read_text())["test"]["samples"] == 6
    assert names() == ["images.safetensors", "pictures", "r.json"]


def test_the_pictures_show_what_they_should():
    pictures = bars(Path("pictures"))
    options = ["--width", "2", "--size", "8", "--epochs", "1", "--save", "none", "--plot", "none"]
    options += ["--grid", "g.png", "--preview", "p.png", "--augment", "standard"]
    assert main(["train", "images", "--path", str(pictures), *options]) == 0
    for name, rows in (("g.png", 2), ("p.png", 5)):
        shown = np.asarray(image.open(name).convert("RGB")).astype(int)
        assert shown.shape[1] == pytest.approx(8 * 1.2 * 120, abs=2)
        assert shown.shape[0] == pytest.approx(rows * 1.4 * 120, abs=2)
        bright = np.abs(shown - [200, 220, 180]).max(axis=2) < 40  # the bars, in their colour
        assert bright.mean() > 0.03


@pytest.mark.parametrize("model", ["cnn", "resnet", "mlp"])
def test_cifar10(model, capsys):
    binary_version(Path("data"))
    options = [
        "--model",
        model,
        "--epochs",
        "1",
        "--batch-size",
        "2",
        "--augment",
        "standard",
        *(() if model == "mlp" else ("--width", "2")),
    ]
    assert main(["train", "cifar10", "--path", "data", *options, "--plot", "none"]) == 0
    assert "3 test samples" in capsys.readouterr().out
    network, _, metadata = load_model("cifar10.safetensors")
    assert (metadata["kind"], metadata["training"]["augment"]) == (model, "standard")
    assert metadata["shape"] == ([3072] if model == "mlp" else [3, 32, 32])
    assert tuple(network(np.zeros((2, *metadata["shape"]), np.float32)).shape) == (
        2,
        metadata["model"]["classes"],
    )
    assert main(["predict", "cifar10.safetensors", "--path", "data"]) == 0


def test_mnist_and_digits_with_a_cnn(capsys):
    write_mnist(Path(), n=60)
    options = ["--model", "cnn", "--width", "2", "--epochs", "1", "--batch-size", "20", "--plot", "none"]
    assert main(["train", "mnist", "--path", ".", *options, "--augment", "standard"]) == 0
    assert "mnist-augmented.png" in names()
    assert main(["train", "digits", *options, "--grid", "digits.svg"]) == 0
    assert Path("digits.svg").read_text().startswith("<?xml")
    np.save("x.npy", load_digits().x[:3])  # flat samples get the shape that the model takes
    assert main(["predict", "digits.safetensors", "--input", "x.npy"]) == 0
    assert "3 samples from x.npy" in capsys.readouterr().out


def test_digits_are_not_mirrored():
    from xpnet.cli.pictures import augmentation
    from xpnet.data import Dataset, Draw

    left = np.zeros((50, 1, 8, 8), np.float32)
    left[..., 2:6, :4] = np.linspace(1, 2, 4)
    augment = augmentation(Dataset(left - 1, np.zeros(50)), mirrored=False, strong=False)
    out, _ = augment(left - 1, np.zeros(50), Draw(0, 0, np.arange(50)))
    assert out.min() == -1  # the empty ground goes on
    assert all((np.diff(row[row > -1]) > 0).all() for row in out[:, 0, 3])


def test_a_strong_augmentation_cuts_a_square_out():
    from xpnet.cli.pictures import augmentation
    from xpnet.data import Dataset, Draw

    x, y = np.ones((6, 3, 8, 8), np.float32), np.zeros(6)
    usual, strong = (
        augmentation(Dataset(x, y), True, strong)(x, y, Draw(0, 0, np.arange(6)))[0]
        for strong in (False, True)
    )
    cut = (usual != 0) & (strong == 0)
    assert 0 < cut.sum(axis=(1, 2, 3)).max() <= 3 * 4 * 4
    assert np.array_equal(np.where(cut, 0, usual), strong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cifar10"], "cifar10 needs --path"),
        (["cifar10", "--path", "none"], "none: no such file or folder"),
        (["cifar10", "--path", "."], "no CIFAR-10 here"),
        (["images"], "images needs --path"),
        (["images", "--path", "."], "no pictures in class folders"),
        (["digits", "--size", "9"], "--size is for images"),
        (["digits", "--model", "cnn", "--layers", "8"], "--layers is for --model mlp"),
        (["digits", "--preview", "a.png"], "add --augment standard"),
        (["digits", "--grid", "a.txt"], "ends in .png, .svg or .pdf"),
        (["digits", "--model", "tree"], "invalid choice"),
        (["digits", "--width", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys):
    assert message in fails(["train", *options], capsys)


def test_one_class_is_too_few(capsys):
    bars(Path("pictures"))
    for file in Path("pictures/lying").iterdir():
        file.unlink()
    assert "there must be two or more" in fails(["train", "images", "--path", "pictures"], capsys)
    Path("pictures/standing/0.png").write_bytes(b"hello")
    assert "standing/0.png: not a picture" in fails(["train", "images", "--path", "pictures"], capsys)
