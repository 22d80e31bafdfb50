"""The commands, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.data.test_idx import real_mnist, write_mnist
from xpnet.cli import main
from xpnet.cli.model import load_model
from xpnet.data import load_digits, split

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]

QUICK = ["train", "digits", "--epochs", "2"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.safetensors"
    assert main([*QUICK, "--save", str(path), "--plot", "none"]) == 0
    return str(path)


def names():
    return sorted(p.name for p in Path().iterdir())


# ---- train ----


@pytest.mark.parametrize("seed", range(5))
def test_the_default_run_reaches_97_percent(seed, capsys):
    assert main(["train", "digits", "--seed", str(seed), "--json", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["test"]["accuracy"] >= 0.97
    matrix = np.array(report["test"]["confusion"])
    assert matrix.sum() == report["test"]["samples"] == 359
    assert np.trace(matrix) / 359 == report["test"]["accuracy"]
    printed = capsys.readouterr().out
    assert f"test accuracy {report['test']['accuracy']:.2%} on 359 samples" in printed
    assert printed.count("val accuracy") == report["training"]["epochs"] == len(report["history"]["val_loss"])


def test_the_saved_model_is_the_one_that_was_tested(capsys):
    assert main([*QUICK, "--json", "r.json", "--plot", "curves.csv"]) == 0
    assert names() == ["curves.csv", "digits.safetensors", "r.json"]
    model, scaler, metadata = load_model("digits.safetensors")
    test = split(load_digits(), (0.8, 0.2), seed=0)[1]
    predicted = xpnet.to_numpy(model(scaler.transform(test.x))).argmax(axis=1)
    report = json.loads(Path("r.json").read_text())
    assert (predicted == test.y).mean() == report["test"]["accuracy"] == metadata["test"]["accuracy"]
    table = Path("curves.csv").read_text().splitlines()
    assert table[0].startswith("epoch,train_loss,val_loss,val_accuracy")
    assert len(table) == 3
    capsys.readouterr()
    assert main(["predict", "digits.safetensors"]) == 0
    assert f"accuracy {report['test']['accuracy']:.2%}" in capsys.readouterr().out


def test_runs_repeat_and_seeds_differ():
    def arrays(*options):
        assert main([*QUICK, "--plot", "none", *options]) == 0
        return load_model("digits.safetensors")[0].theta.copy()

    first = arrays()
    assert np.array_equal(first, arrays())
    assert not np.array_equal(first, arrays("--seed", "1"))


@pytest.mark.parametrize("backend", ["array_api_strict", "torch"])
def test_another_backend_trains_the_same_network(backend, capsys):
    pytest.importorskip(backend)
    losses = []
    for options in ([], ["--backend", backend]):
        assert main([*QUICK, "--save", "none", "--plot", "none", "--json", "r.json", *options]) == 0
        losses.append(json.loads(Path("r.json").read_text())["history"]["train_loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_every_option_at_once():
    options = ["--layers", "16,8", "--optimizer", "nesterov", "--lr", "0.05", "--schedule", "constant"]
    options += ["--batch-size", "64", "--dropout", "0", "--weight-decay", "0.001", "--patience", "1"]
    assert main([*QUICK, *options, "--save", "a.safetensors", "--plot", "a.svg", "--json", "a.json"]) == 0
    assert names() == ["a.json", "a.safetensors", "a.svg"]
    report = json.loads(Path("a.json").read_text())
    assert report["model"] == {"inputs": 64, "layers": [16, 8], "classes": 10, "dropout": 0.0}
    assert report["history"]["lr"] == [0.05, 0.05]
    assert Path("a.svg").read_text().startswith("<?xml")


def test_the_decks_options():
    """S2's settings: tanh, small weights, no batch norm, L1 and L2, a rate that is halved."""
    options = [
        "train",
        "digits",
        "--layers",
        "12",
        "--activation",
        "tanh",
        "--init",
        "small",
        "--no-batch-norm",
    ]
    options += ["--lr", "1e-9", "--optimizer", "sgd", "--dropout", "0", "--plot", "none"]
    schedule = ["--schedule", "step", "--epochs", "6", "--save", "a.safetensors", "--json", "a.json"]
    assert main([*options, "--l1", "0.25", *schedule]) == 0
    report = json.loads(Path("a.json").read_text())
    assert report["history"]["lr"] == pytest.approx([1e-9 * 0.5**k for k in range(6)])
    model = xpnet.load("a.safetensors").model
    assert [type(layer).__name__ for layer in model] == ["Linear", "Tanh", "Linear"]
    weights = [p.numpy() for p in model.parameters() if p.ndim == 2]
    assert np.concatenate([w.ravel() for w in weights]).std() == pytest.approx(0.01, rel=0.1)
    penalty = 0.25 * sum(np.abs(w).sum() for w in weights)
    assert report["history"]["train_penalty"] == pytest.approx([penalty] * 6, rel=1e-4)
    assert report["training"]["l1"] == 0.25


def test_label_smoothing_shares_a_part_of_each_target():
    losses = []
    for part in ("0", "0.25", "0.5"):
        assert main(["train", "digits", "--epochs", "1", "--lr", "1e-9", "--dropout", "0", "--plot", "none",
                     "--label-smoothing", part, "--json", "a.json"]) == 0  # fmt: skip
        losses.append(json.loads(Path("a.json").read_text())["history"]["val_loss"][0])
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-5)  # linear in the target
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)


@pytest.mark.parametrize("model", ["vae", "autoencoder"])
def test_label_smoothing_is_for_classes(model, capsys):
    assert main(["train", "digits", "--model", model, "--label-smoothing", "0.1"]) == 2
    assert "--label-smoothing is for classes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--activation", "tanh"], ["--no-batch-norm"]])
def test_options_of_the_mlp_are_for_it(words, capsys):
    assert main(["train", "digits", "--model", "cnn", *words]) == 2
    assert "--activation and --no-batch-norm are for --model mlp, not cnn" in capsys.readouterr().err


def test_a_dropout_for_each_hidden_layer(capsys):
    """H2O's hidden dropout ratios; the file remembers them."""
    words = ["train", "digits", "--epochs", "1", "--layers", "12,8,6", "--plot", "none"]
    assert main([*words, "--dropout", "0.5,0,0.25", "--save", "a.safetensors"]) == 0
    layers = list(xpnet.load("a.safetensors").model)
    linear = [i for i, layer in enumerate(layers) if type(layer).__name__ == "Linear"]
    dropped = {i: layer.p for i, layer in enumerate(layers) if type(layer).__name__ == "Dropout"}
    assert dropped == {linear[1] - 1: 0.5, linear[3] - 1: 0.25}
    for options, error in (
        (["--dropout", "0.5,0.5"], "2 probabilities are for an mlp with so many layers; this mlp has 3"),
        (["--dropout", "0.5,1,0"], "expected a probability of at least 0 and below 1, got '1'"),
    ):
        assert main([*words, *options]) == 2
        assert error in capsys.readouterr().err
    assert main(["train", "digits", "--model", "cnn", "--dropout", "0.5,0.5"]) == 2
    assert "the model is cnn" in capsys.readouterr().err


def test_mnist_from_its_files(capsys):
    write_mnist(Path(), n=600)
    for form in (["train", "mnist"], ["train", "--data", "mnist"]):
        assert main([*form, "--path", ".", "--epochs", "1", "--batch-size", "50", "--plot", "none"]) == 0
    assert "550 training, 50 validation, 300 test samples" in capsys.readouterr().out
    assert main(["predict", "mnist.safetensors", "--path", "."]) == 0


def test_the_real_mnist_learns_in_one_epoch(folder):
    path = real_mnist()
    options = ["--epochs", "1", "--save", "none", "--plot", "none", "--json", "r.json"]
    assert main(["train", "mnist", "--path", str(path), *options]) == 0
    assert json.loads(Path("r.json").read_text())["test"]["accuracy"] > 0.96


def test_divergence_exits_with_1(capsys):
    assert main([*QUICK, "--optimizer", "sgd", "--lr", "1e30"]) == 1
    captured = capsys.readouterr()
    assert "lower the learning rate" in captured.err
    assert captured.err.count("\n") == 1
    assert names() == []


def test_ctrl_c_keeps_the_best_epoch():
    command = [sys.executable, "-m", "xpnet", "train", "--epochs", "100000", "--patience", "100000"]
    environment = {**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    # a test run in the background ignores Ctrl-C, and so would its children
    default = (
        {}
        if sys.platform == "win32"
        else {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    )
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **default
    )
    for line in process.stdout:
        if line.startswith("epoch   3"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("xpnet train: error: interrupted; kept the weights of epoch ")
    assert err.count("\n") == 1
    assert names() == ["digits.png" if "digits.png" in out else "digits.csv", "digits.safetensors"]
    assert "test" not in load_model("digits.safetensors")[2]


# ---- bad input ----


def fails(arguments, capsys):
    """The one line that a command ends with; nothing else was printed or written."""
    before = names()
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert names() == before
    return captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["train", "cats"], "invalid choice: 'cats'"),
        (["train", "--fast"], "unrecognized arguments: --fast"),
        (["train", "--layers", "64,x"], "expected sizes such as 64,32, got '64,x'"),
        (["train", "--layers", "64,0"], "expected sizes such as 64,32"),
        (["train", "--lr", "fast"], "expected a number above 0, got 'fast'"),
        (["train", "--lr", "0"], "expected a number above 0"),
        (["train", "--lr", "inf"], "expected a number above 0"),
        (["train", "--epochs", "0"], "expected a whole number of at least 1"),
        (["train", "--epochs", "1.5"], "expected a whole number of at least 1"),
        (["train", "--batch-size", "1"], "at least 2, since batch norm needs two"),
        (["train", "--batch-size", "1259"], "there are only 1258 training samples"),
        (["train", "--dropout", "1"], "at least 0 and below 1"),
        (["train", "--weight-decay", "-1"], "a number of at least 0"),
        (["train", "--optimizer", "magic"], "invalid choice: 'magic'"),
        (["train", "--seed", "x"], "invalid int value: 'x'"),
        (["train", "--path", "."], "digits ships with xpnet"),
        (["train", "digits", "--data", "mnist"], "the data is given twice"),
        (["train", "mnist"], "mnist needs --path DIR"),
        (["train", "mnist", "--path", "none"], "none: no such folder"),
        (["train", "mnist", "--path", "."], "there is no train-images-idx3-ubyte"),
        (["train", "--save", "no/m"], "cannot write no/m"),
        (["train", "--save", "."], "cannot write .: it is a folder"),
        (["train", "--plot", "no/c.png"], "cannot write no/c.png"),
        (["train", "--plot", "curves.gif"], "ends in .png, .svg, .pdf or .csv"),
        (["train", "--json", "no/r.json"], "cannot write no/r.json"),
        (["train", "--save", "m", "--json", "./m"], "m is to be written twice, with different content"),
        (["train", "--save", "m", "--checkpoint", "m"], "m is to be written twice, with different content"),
        (["search", "--json", "j", "--journal", "j"], "j is to be written twice, with different content"),
        (["predict", "m", "--output", "m"], "m is read, and would be overwritten; name another file"),
        (["predict", "m", "--input", "a.csv", "--output", "./a.csv"], "a.csv is read, and would be"),
        (["export", "m", "m"], "m is read, and would be overwritten; name another file"),
        (["train", "--device", "gpu"], "backend 'numpy' has one device, 'cpu', not 'gpu'"),
        (["train", "--backend", "array_api_strict", "--device", "gpu"], "not 'gpu'"),
        (["predict", "none"], "none: no such file"),
        (["predict"], "arguments are required: FILE"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys):
    assert message in fails(options, capsys)


def test_a_missing_backend_says_what_to_install(capsys):
    if "cupy" in xpnet.available_backends():
        pytest.skip("cupy works here")
    assert "backend 'cupy' cannot be used: " in fails(["train", "--backend", "cupy"], capsys)


def test_missing_extras_show_before_training(monkeypatch, capsys):
    monkeypatch.setattr("xpnet.io.files.find_spec", lambda name: None)
    assert 'need safetensors: pip install "xpnet[save]"' in fails(["train"], capsys)
    assert main([*QUICK, "--save", "none", "--plot", "none"]) == 0


def test_without_matplotlib_the_curves_are_numbers(monkeypatch, folder, capsys):
    monkeypatch.setattr("xpnet.cli.output.find_spec", lambda name: None)
    assert 'pip install "xpnet[plot]"' in fails(["train", "--plot", "a.png"], capsys)
    assert main([*QUICK, "--save", "none"]) == 0
    assert names() == ["digits.csv"]
    assert 'digits.csv (for a picture: pip install "xpnet[plot]")' in capsys.readouterr().out


def test_damaged_mnist(capsys):
    write_mnist(Path())
    images = Path("train-images-idx3-ubyte")
    images.write_bytes(images.read_bytes()[:-1])
    assert "the idx file is truncated" in fails(["train", "mnist", "--path", "."], capsys)


# ---- predict ----


def test_predict_reads_every_format(model_file, capsys):
    x = load_digits().x[:3]
    np.save("a.npy", x)
    np.savez("b.npz", x=x, y=np.zeros(3))
    np.savez("c.npz", anything=x)
    np.savetxt("d.csv", x, delimiter=",")
    np.save("e.npy", x.reshape(3, 8, 8).astype(np.uint8))
    tables = []
    for name in ("a.npy", "b.npz", "c.npz", "d.csv", "e.npy"):
        assert main(["predict", model_file, "--input", name, "--output", "p.csv"]) == 0
        tables.append(Path("p.csv").read_text())
    assert len(set(tables)) == 1
    assert tables[0].splitlines()[0] == "sample,prediction,probability"
    # the first three digits of the set are 0, 1, 2, and easy
    assert [line.split(",")[1] for line in tables[0].splitlines()[1:]] == ["0", "1", "2"]
    np.save("one.npy", x[1].reshape(8, 8))
    capsys.readouterr()
    assert main(["predict", model_file, "--input", "one.npy"]) == 0
    assert "1 samples from one.npy" in capsys.readouterr().out


def test_predict_refuses(model_file, capsys):
    np.save("wide.npy", np.zeros((2, 65)))
    np.save("nan.npy", np.full((2, 64), np.nan))
    np.save("empty.npy", np.zeros((0, 64)))
    np.save("pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("two.npz", a=np.zeros(2), b=np.zeros(2))
    Path("words.csv").write_text("pixel,pixel\n")
    Path("damaged").write_bytes(Path(model_file).read_bytes()[:-9] + b"123456789")

    def message(*options):
        return fails(["predict", model_file, *options], capsys)

    assert "wide.npy: 65 values a sample, the model takes 64" in message("--input", "wide.npy")
    assert "nan.npy holds nan at [0, 0]" in message("--input", "nan.npy")
    assert "holds no samples" in message("--input", "empty.npy")
    assert "pickle.npy: not an .npy file, or a truncated or damaged one (it holds pickled objects" in message(
        "--input", "pickle.npy"
    )
    assert "none is called x" in message("--input", "two.npz")
    assert "words.csv: no samples: the table is empty" in message("--input", "words.csv")
    assert "none.npy: no such file" in message("--input", "none.npy")
    assert "not both" in message("--input", "wide.npy", "--data", "digits")
    assert "cannot write no/p.csv" in message("--output", "no/p.csv")
    assert "does not match its checksum" in fails(["predict", "damaged"], capsys)
    write_mnist(Path())
    assert "784 values a sample, the model takes 64" in message("--data", "mnist", "--path", ".")


# ---- info ----


def test_info(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"xpnet {xpnet.__version__}" in printed
    for name in ("numpy", "cupy", "array_api_strict", "torch"):
        assert f"\n  {name}" in printed
    assert main(["info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    working = [name for name, backend in info["backends"].items() if backend["devices"]]
    assert working == xpnet.available_backends()
    assert all(b["devices"] or b["reason"] for b in info["backends"].values())
    assert info["packages"]["numpy"] == np.__version__


def test_python_m_xpnet():
    environment = {**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", "--version"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout == f"xpnet {xpnet.__version__}\n"


@pytest.mark.host
def test_info_knows_a_cupy_by_its_plain_name(monkeypatch, capsys):
    import xpnet.cli.info as command

    monkeypatch.setattr(command, "version", lambda package: f"version of {package}")
    assert main(["info"]) == 0
    assert "version of cupy\n" in capsys.readouterr().out
