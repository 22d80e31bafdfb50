"""`xpnet train table`: from a file to a model, a report, predictions and ONNX."""

import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import nn
from xpnet.cli import main
from xpnet.cli.measures import regression_measures
from xpnet.cli.settings import TrainSettings
from xpnet.cli.table import read_table_data, stem_of
from xpnet.io.intervals import calibration

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]

N = 300


def houses(n=N):
    """A price that a network can learn from size, city and garden; and whether it is dear."""
    rng = np.random.default_rng(0)
    size, city = rng.uniform(30, 200, n), rng.choice(["Wien", "Graz", "Linz"], n)
    garden = rng.choice(["yes", "no"], n)
    price = 1e6 + 3000 * size + 90_000 * (city == "Wien") + 60_000 * (garden == "yes") + 0.5
    kind = np.where(price > np.median(price), "dear", "cheap")
    return {
        "id": [str(i + 1) for i in range(n)],
        "size": [f"{v:.2f}" for v in size],
        "city": city.tolist(),
        "garden": garden.tolist(),
        "price": [f"{v:.2f}" for v in price],
        "kind": kind.tolist(),
    }


def write(path, table, leave=()):
    names = [name for name in table if name not in leave]
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "wt", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if ".tsv" in str(path) else ",")
        writer.writerow(names)
        writer.writerows(zip(*(table[name] for name in names), strict=True))


def predictions(path="p.csv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["homes.csv", "homes.tsv", "homes.csv.gz", "homes.parquet"])
def test_regression_from_a_file_to_everything(name, capsys):
    table = houses()
    if name.endswith(".parquet"):
        polars = pytest.importorskip("polars")
        typed = {
            k: [*map(float, v)] if k in ("size", "price") else v for k, v in table.items() if k != "kind"
        }
        polars.DataFrame(typed).write_parquet(name)
    else:
        write(name, table, ["kind"])
    words = ["train", "table", name, "--target", "price", "--report", "r.html", "--json", "r.json"]
    assert main([*words, "--dropout", "0"]) == 0
    out = capsys.readouterr().out
    assert "note: column 0 (id) counts the rows: left out" in out
    assert "(price) has numbers that are not whole: regression; --task says otherwise" in out
    result = json.loads(Path("r.json").read_text())
    assert result["test"]["r2"] > 0.9
    assert f"test R2 {result['test']['r2']:.4f}" in out
    assert result["features"] == ["size", "city=Graz", "city=Linz", "city=Wien", "garden"]
    assert "Predicted against true" in Path("r.html").read_text()
    assert Path("homes.png").exists()
    assert main(["predict", "homes.safetensors", name, "--output", "p.csv"]) == 0
    found, truth = np.array([[float(r["prediction"]), float(r["label"])] for r in predictions()]).T
    assert np.allclose(truth, [*map(float, table["price"])])
    assert f"R2 {regression_measures(truth, found)['r2']:.4f}" in capsys.readouterr().out
    assert regression_measures(truth, found)["r2"] > 0.9
    # by name, in another order and without the target
    write("new.csv", {k: table[k][:5] for k in ("garden", "size", "city")})
    assert main(["predict", "homes.safetensors", "new.csv", "--output", "q.csv"]) == 0
    assert [r["prediction"] for r in predictions("q.csv")] == [r["prediction"] for r in predictions()[:5]]
    saved = xpnet.load("homes.safetensors")
    assert saved.task == "regression"
    with pytest.raises(ValueError, match="predicts numbers"):
        saved.predict_proba(table)


def test_classification_by_names(capsys):
    table = houses()
    write("homes.csv", table, ["price"])
    assert main(["train", "table", "homes.csv", "--target", "kind", "--report", "r.html"]) == 0
    out = capsys.readouterr().out
    assert "note: column 4 (kind) is of text: classification" in out
    assert "0 cheap, 1 dear" in out
    saved = xpnet.load("homes.safetensors")
    assert saved.class_names == ["cheap", "dear"]
    part = {k: table[k] for k in ("city", "garden", "size")}
    assert np.mean(np.array(saved.predict_class(part)) == table["kind"]) > 0.9
    assert main(["predict", "homes.safetensors", "homes.csv", "--output", "p.csv", "--probabilities"]) == 0
    proba = saved.predict_proba(part)
    assert np.allclose([[float(r["p(cheap)"]), float(r["p(dear)"])] for r in predictions()], proba, atol=1e-6)
    assert [r["label"] for r in predictions()] == table["kind"]
    pandas = pytest.importorskip("pandas")
    assert np.array_equal(saved.predict_proba(pandas.read_csv("homes.csv")), proba)
    polars = pytest.importorskip("polars")
    assert np.array_equal(saved.predict_proba(polars.read_csv("homes.csv")), proba)


@pytest.mark.parametrize("target", ["price", "kind"])
def test_onnx_takes_the_features(target, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    table = houses()
    write("homes.csv", table, [{"price": "kind", "kind": "price"}[target]])
    assert main(["train", "table", "homes.csv", "--target", target, "--epochs", "3"]) == 0
    assert main(["export", "homes.safetensors", "m.onnx"]) == 0
    assert "x are the features size, city=Graz, city=Linz, city=Wien, garden" in capsys.readouterr().out
    properties = {p.key: json.loads(p.value) for p in onnx.load("m.onnx").metadata_props}
    assert properties["features"] == ["size", "city=Graz", "city=Linz", "city=Wien", "garden"]
    row = [float(table["size"][0]), *(float(table["city"][0] == c) for c in ("Graz", "Linz", "Wien"))]
    x = np.float32([[*row, float(table["garden"][0] == "yes")]])
    found = onnxruntime.InferenceSession("m.onnx").run(None, {"x": x})[0]
    saved = xpnet.load("homes.safetensors")
    expected = saved.predict({k: v[:1] for k, v in table.items()})
    assert np.allclose(found, expected, rtol=1e-5)


def test_onnx_sees_the_seconds_of_a_timestamp(capsys):
    """In float32, times of 1.7e9 seconds are whole multiples of 128."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    time = 1.7e9 + np.arange(N)
    y = np.sin(time / 40)
    columns = {"time": [f"{t:.0f}" for t in time], "size": [str(i % 7) for i in range(N)]}
    write("t.csv", table := {**columns, "y": [f"{v:.4f}" for v in y]})
    assert main(["train", "table", "t.csv", "--target", "y", "--epochs", "3", "--plot", "none"]) == 0
    assert main(["export", "t.safetensors", "m.onnx"]) == 0
    out = capsys.readouterr().out
    assert "x is float64, tensor(double): float32 would lose digits" in out
    assert "in onnxruntime it gives what xpnet gives, to " in out
    session = onnxruntime.InferenceSession("m.onnx")
    assert session.get_inputs()[0].type == "tensor(double)"
    x = np.stack([time, np.arange(N) % 7], axis=1)
    found, expected = session.run(None, {"x": x})[0], xpnet.load("t.safetensors").predict(table)
    assert found.dtype == np.float32
    assert np.ptp(expected) > 0.01
    assert np.allclose(found, expected, atol=1e-5)


def test_an_export_that_loses_digits_is_no_success(monkeypatch, capsys):
    """The check has its samples in float64, whatever the graph takes."""
    pytest.importorskip("onnxruntime")
    model = pytest.importorskip("xpnet.io.onnx.model")
    rows = 1.7e9 + np.arange(100.0)[:, None]
    xpnet.save(nn.Sequential(nn.Linear(1, 2)), "m.st", xpnet.data.Standardize().fit(rows))
    assert main(["export", "m.st", "m.onnx"]) == 0
    monkeypatch.setattr(model, "needs_float64", lambda preprocessing: False)
    assert main(["export", "m.st", "m.onnx"]) == 1


def towns(n, seed, noise):
    """A price with an effect of each of 120 towns, and noise that grows with the size."""
    rng = np.random.default_rng(seed)
    town, size = rng.integers(0, 120, n), rng.uniform(50, 150, n)
    effect = np.random.default_rng(0).normal(size=120)
    price = 2 * effect[town] + size / 30 + noise * size / 100 * rng.normal(size=n)
    columns = {"town": town, "size": size.round(3), "price": price.round(4)}
    return {"town": [f"town {t}" for t in town], **{k: [*map(str, columns[k])] for k in ("size", "price")}}


def test_vectors_of_many_categories(capsys):
    pytest.importorskip("onnxruntime")
    table = towns(1500, 1, 0.1)
    write("t.csv", table)
    words = ["train", "table", "t.csv", "--target", "price", "--dropout", "0", "--plot", "none"]
    assert main(words) == 2
    assert "(town): leave it out (--drop town), or share" in capsys.readouterr().err
    scores = {}
    for option in (["--text", "embed"], ["--drop", "town"]):
        assert main([*words, *option, "--json", "r.json", "--save", f"{option[1]}.safetensors"]) == 0
        scores[option[1]] = json.loads(Path("r.json").read_text())["test"]["r2"]
    assert scores["embed"] > 0.95 > 0.5 > scores["town"]
    assert main(["export", "embed.safetensors", "m.onnx"]) == 0
    assert "town: 1 is town 0, and so on" in capsys.readouterr().out
    saved = xpnet.load("embed.safetensors")
    with pytest.warns(UserWarning, match="not in the training set"):
        unknown = saved.predict({"town": ["elsewhere", "Rome"], "size": ["70", "70"]})
    assert unknown[0] == unknown[1]
    codes = saved.preprocessing.transform(table)
    import onnxruntime

    raw = codes * saved.preprocessing.std + saved.preprocessing.mean
    found = onnxruntime.InferenceSession("m.onnx").run(None, {"x": raw.astype(np.float32)})[0]
    assert np.allclose(found, saved.predict(table), atol=1e-4)


def test_the_doctor_knows_numbers_of_categories(capsys):
    """They have no scale, and a vector whose number is in no batch is not dead."""
    write("t.csv", towns(1500, 1, 0.1))
    words = [
        "doctor",
        "table",
        "t.csv",
        "--target",
        "price",
        "--text",
        "embed",
        "--steps",
        "40",
        "--json",
        "d.json",
    ]
    main(words)
    status = {f["name"]: f["status"] for f in json.loads(Path("d.json").read_text())["findings"]}
    assert (status["input scale"], status["dead units"]) == ("PASS", "PASS")


def test_intervals_hold_the_true_numbers_as_often_as_they_say(capsys):
    """Of new rows: the coverage given the calibration is Beta(k, n + 1 - k), of the test binomial."""
    write("t.csv", towns(3000, 1, 1.0))
    write("new.csv", towns(4000, 2, 1.0))
    words = ["train", "table", "t.csv", "--target", "price", "--text", "embed", "--epochs", "6"]
    assert main([*words, "--ensemble", "3", "--plot", "none", "--json", "r.json"]) == 0
    assert "network 3 of 3: val_loss" in capsys.readouterr().out
    saved, truth = xpnet.load("t.safetensors"), np.array([*map(float, towns(4000, 2, 1.0)["price"])])
    rows = saved.metadata["intervals"]["rows"]
    assert rows == 300
    for level in (0.5, 0.8, 0.9, 0.95):
        assert (
            main(["predict", "t.safetensors", "new.csv", "--output", "p.csv", "--interval", str(level)]) == 0
        )
        low, middle, high = np.array(
            [[float(r[k]) for k in ("low", "prediction", "high")] for r in predictions()]
        ).T
        assert ((low < middle) & (middle < high)).all()
        inside = ((low <= truth) & (truth <= high)).mean()
        spread = np.sqrt(level * (1 - level) * (1 / rows + 1 / 4000))
        assert abs(inside - level) < 4 * spread + 1 / rows
        assert f"{level:.0%} intervals hold {inside:.1%} of the true numbers" in capsys.readouterr().out
    said = {
        found["level"]: found["coverage"]
        for found in json.loads(Path("r.json").read_text())["test"]["intervals"]
    }
    assert abs(said[0.9] - 0.9) < 0.1
    assert main(["report", "t.safetensors", "new.csv"]) == 0
    assert "90% intervals hold" in Path("t.html").read_text()
    capsys.readouterr()
    assert main(["predict", "t.safetensors", "new.csv", "--interval", "0.7"]) == 2
    assert (
        "xpnet predict: error: --interval 0.7: no interval of 0.7: 300 rows gave" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("rows", "level"), [(9, 0.9), (4, 0.8), (300, 0.95)])
def test_what_a_level_rests_on_is_a_beta_distribution(rows, level):
    stats = pytest.importorskip("scipy.stats")
    k = int(np.ceil((rows + 1) * level - 1e-9))
    spread = stats.beta(k, rows + 1 - k).std()
    assert f"on {rows} rows: {level:.0%} +- {spread:.0%}" in calibration({"rows": rows}, level)


@pytest.mark.parametrize(("rows", "level", "kept", "few"), [(40, "80%", 4, True), (100, "90%", 10, False)])
def test_intervals_of_few_rows_say_what_they_rest_on(rows, level, kept, few, capsys):
    write("t.csv", houses(rows), ["kind"])
    words = ["train", "table", "t.csv", "--target", "price", "--epochs", "2", "--ensemble", "2"]
    assert main([*words, "--plot", "none"]) == 0
    trained = capsys.readouterr().out
    assert f"\n{level} intervals hold" in trained
    assert main(["predict", "t.safetensors", "t.csv"]) == 0
    measured = capsys.readouterr().out
    write("new.csv", houses(rows), ["kind", "price"])
    assert main(["predict", "t.safetensors", "new.csv"]) == 0
    new = capsys.readouterr().out
    assert f"with a probability of {level} (calibrated on {kept} rows: {level} +- " in new
    for out in (trained, measured, new):
        assert f"(calibrated on {kept} rows: {level} +- " in out
        assert ("; 90% takes 9 rows)" in out) == few
    assert main(["predict", "t.safetensors", "new.csv", "--interval", "0.99"]) == 2
    assert f"no interval of 0.99: {kept} rows gave those of" in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["refuse", "drop"])
@pytest.mark.parametrize("target", ["price", "kind"])
def test_rows_without_a_label_are_predicted_and_counted(target, policy, capsys):
    table = houses()
    other = {"price": "kind", "kind": "price"}[target]
    write("homes.csv", table, [other])
    words = ["train", "table", "homes.csv", "--target", target, "--epochs", "3", "--missing", policy]
    assert main([*words, "--plot", "none"]) == 0
    write("known.csv", {k: v[100:] for k, v in table.items()}, [other])
    write("some.csv", {**table, target: ["", "n/a"] * 50 + table[target][100:]}, [other])
    write("none.csv", {**table, target: [""] * N}, [other])
    capsys.readouterr()
    measured = []
    for name in ("known.csv", "some.csv", "none.csv"):
        assert main(["predict", "homes.safetensors", name, "--output", "p.csv"]) == 0
        out = capsys.readouterr().out
        assert len(predictions()) == (200 if name == "known.csv" else N)
        measured.append([line for line in out.splitlines() if line.startswith(("accuracy", "R2"))])
        note = f" of 300 rows have no value in the target, column 4 ({target}): they are predicted, and "
        rest = {"some.csv": f"note: 100{note}what is measured is of the other 200"}
        rest["none.csv"] = f"note: 300{note}nothing is measured"
        assert [line for line in out.splitlines() if note in line] == [
            line for of, line in rest.items() if of == name
        ]
        if name == "some.csv":
            assert [r["label"] for r in predictions()[:100]] == [""] * 100
            assert "" not in [r["label"] for r in predictions()[100:]]
    assert measured[0] == measured[1] != []
    assert measured[2] == []
    assert main(["report", "homes.safetensors", "some.csv"]) == 0
    assert "what is measured is of the other 200" in capsys.readouterr().out
    assert main(["report", "homes.safetensors", "none.csv"]) == 2


def test_an_ensemble_of_classifiers_is_one_model(capsys):
    write("homes.csv", houses(), ["price"])
    words = ["train", "table", "homes.csv", "--target", "kind", "--epochs", "4", "--ensemble", "2"]
    assert main([*words, "--plot", "none"]) == 0
    saved = xpnet.load("homes.safetensors")
    assert "intervals" not in saved.metadata
    table = {k: houses()[k] for k in ("city", "garden", "size")}
    samples = saved.samples(table)
    each = [member(samples) for member in saved.model.layers]
    mean = np.mean(
        [np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in map(xpnet.to_numpy, each)], axis=0
    )
    assert np.allclose(saved.predict_proba(table), mean, atol=1e-6)
    assert main(["predict", "homes.safetensors", "homes.csv", "--interval", "0.9"]) == 2
    assert "--interval is for numbers; the model predicts classes" in capsys.readouterr().err
    assert main([*words, "--parallel"]) == 2


def test_the_test_set_is_the_same_fifth_whatever_the_seed():
    write("homes.csv", houses(), ["kind"])
    settings = TrainSettings(path="homes.csv", target="price")
    parts = [read_table_data(settings, seed) for seed in (0, 1)]
    units = [p.test.y[:, 0] * p.std + p.mean for p in parts]
    assert np.allclose(*units)
    assert len(parts[0].test) == N // 5
    assert not np.allclose(parts[0].training.y[:5] * parts[0].std, parts[1].training.y[:5] * parts[1].std)
    for p in parts:
        assert abs(p.training.y.mean()) < 1e-5
        assert p.training.y.std() == pytest.approx(1, abs=1e-5)
        assert np.abs(p.training.x[:, 0].mean()) < 1e-5


def test_labels_are_what_the_file_says(capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    big = [str(2**63 + 2 * int(v > 0)) for v in x]
    write("t.csv", {"x": [f"{v:.5f}" for v in x], "y": big})
    assert main(["train", "table", "t.csv", "--target", "y", "--task", "classification", "--seed", "1"]) == 0
    assert main(["predict", "t.safetensors", "t.csv", "--output", "p.csv"]) == 0
    assert {r["prediction"] for r in predictions()} == {"9223372036854775808", "9223372036854775810"}
    assert np.mean([r["prediction"] == r["label"] for r in predictions()]) > 0.9
    assert [r["label"] for r in predictions()] == big


@pytest.mark.parametrize("policy", ["mean", "median", "indicator", "drop"])
def test_missing_values(policy, capsys):
    table = houses()
    table["size"][7], table["city"][11], table["price"][13] = "", "NA", "100.5"
    write("homes.csv", table, ["kind"])
    words = ["train", "table", "homes.csv", "--target", "price", "--epochs", "2"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "homes.csv, line 9, column 1 (size): '' says that the value is missing, as 1 do" in error
    assert error.count("\n") == 1
    assert main([*words, "--missing", policy]) == 0
    out = capsys.readouterr().out
    assert ("2 rows with a missing value: dropped" in out) == (policy == "drop")
    assert main(["predict", "homes.safetensors", "homes.csv", "--output", "p.csv"]) == 0
    rows = [int(r["sample"]) for r in predictions()]
    assert rows == [i for i in range(N) if policy != "drop" or i not in (7, 11)]
    assert ("note: 2 rows with a missing value are left out" in capsys.readouterr().out) == (policy == "drop")


def test_a_missing_target_is_refused_or_dropped(capsys):
    table = houses()
    table["price"][13] = "n/a"
    write("homes.csv", table, ["kind"])
    words = ["train", "table", "homes.csv", "--target", "price", "--epochs", "1", "--missing"]
    assert main([*words, "mean"]) == 2
    assert (
        "line 15, column 4 (price): 'n/a' in the target says that the value is missing"
        in capsys.readouterr().err
    )
    assert main([*words, "drop"]) == 0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, [], "which column is to be predicted? give --target, one of id, size, city, garden, price"),
        ({}, ["--target", "Price"], "no column 'Price': columns are id, size, city, garden, price"),
        ({"price": ["1", "2", "3"] * 100}, ["--target", "price"], "3 different whole numbers, from 1 to 3"),
        ({"price": ["1.5"] * 299 + ["x"]}, ["--target", "price"], "line 301, column 4 (price): 'x' is not a"),
        ({"size": ["1.5"] * 299 + ["x"]}, ["--target", "price"], "line 301, column 1 (size): 'x' is not a"),
        ({"city": [f"c{i}" for i in range(300)]}, ["--target", "price"], "leave it out (--drop city)"),
        ({}, ["--target", "price", "--model", "cnn"], "--model cnn is for pictures; a table takes mlp"),
        ({}, ["--target", "price", "--augment", "standard"], "--augment is for pictures"),
        ({}, ["--target", "price", "--grid", "g.png"], "--grid is for pictures"),
        ({}, ["--target", "price", "--size", "8"], "--size is for pictures"),
        ({"price": [f"${i},000" for i in range(300)]}, ["--target", "price"], "no program reads it surely"),
        ({}, ["--target", "price", "--monitor", "accuracy"], "--monitor accuracy is for classes"),
        ({}, ["--target", "price", "--path", "b.csv"], "the path is given twice"),
        ({}, ["--target", "price", "--delimiter", "xx"], "expected one character, tab or space, got 'xx'"),
        ({"price": [f"{2e9 + i / 1e3:.3f}" for i in range(300)]}, ["--target", "price"], "float32 cannot"),
    ],
)
def test_bad_tables_are_one_line(change, options, message, capsys):
    write("homes.csv", houses() | change, ["kind"])
    assert main(["train", "table", "homes.csv", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
    assert [p.name for p in Path().iterdir()] == ["homes.csv"]


def test_rare_classes_are_said(capsys):
    write("homes.csv", houses() | {"kind": ["a", "b"] * 149 + ["rare", "b"]}, ["price"])
    assert main(["train", "table", "homes.csv", "--target", "kind", "--epochs", "1"]) == 0
    assert "note: classes of less than 5 rows can hardly be learned: 'rare' (1)" in capsys.readouterr().out


def test_options_of_tables_are_refused_elsewhere(capsys):
    assert main(["train", "digits", "--target", "y"]) == 2
    assert "--target is for tables; the data are digits" in capsys.readouterr().err
    assert main(["train", "table"]) == 2
    assert "table needs a file" in capsys.readouterr().err


def test_prediction_says_what_is_new_and_refuses_what_is_odd(capsys):
    table = houses()
    write("homes.csv", table, ["price"])
    assert main(["train", "table", "homes.csv", "--target", "kind", "--epochs", "2"]) == 0
    capsys.readouterr()
    first = {k: v[:2] for k, v in table.items()}
    write("new.csv", first | {"city": ["Ulm", "Wien"]}, ["price", "kind"])
    with pytest.warns(UserWarning, match=r"column 2 \(city\) has 1 values .* such as 'Ulm'"):
        assert main(["predict", "homes.safetensors", "new.csv"]) == 0
    for change, message in (
        ({"size": ["1", "big"]}, "line 3, column 1 (size): 'big' is not a number, as in the training set"),
        ({"kind": ["dear", "odd"]}, "'odd' is none of the classes of the training set"),
    ):
        write("new.csv", first | change, ["price"])
        assert main(["predict", "homes.safetensors", "new.csv"]) == 2
        assert message in capsys.readouterr().err
    write("new.csv", first, ["price", "size"])
    assert main(["predict", "homes.safetensors", "new.csv"]) == 2
    assert "no column 'size'" in capsys.readouterr().err
    np.save("x.npy", np.zeros((1, 3)))
    assert main(["predict", "homes.safetensors", "x.npy"]) == 2
    assert "the model is one of a table" in capsys.readouterr().err
    assert main(["predict", "homes.safetensors"]) == 2
    assert "give the samples: xpnet predict homes.safetensors FILE" in capsys.readouterr().err


def test_a_run_goes_on_from_its_checkpoint(capsys):
    write("homes.csv", houses(), ["kind"])
    words = ["train", "table", "homes.csv", "--target", "price", "--schedule", "constant", "--drop", "garden"]
    assert main([*words, "--epochs", "4", "--save", "whole.st", "--plot", "none"]) == 0
    assert main([*words, "--epochs", "2", "--save", "a.st", "--plot", "none", "--checkpoint", "c"]) == 0
    assert main(["train", "--resume", "c", "--epochs", "4", "--save", "part.st"]) == 0
    states = [xpnet.load(path).model.state_dict() for path in ("whole.st", "part.st")]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_many_notes_of_a_kind_are_few_lines(capsys):
    header = ",".join(["a", "wide", *(f"pixel{k}" for k in range(50)), "c", "y"])
    rows = [f"{i}.5,{i % 7 - 3}.5,{'0,' * 50}{('Red', 'red')[i % 2]},{i}.25" for i in range(40)]
    Path("flat.csv").write_text("\n".join([header, *rows]))
    assert main(["train", "table", "flat.csv", "--target", "y", "--epochs", "1", "--plot", "none"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes[:3] == [
        "note: column 2 (pixel0) is 0 everywhere: left out",
        "note: column 3 (pixel1) is 0 everywhere: left out",
        "note: 48 more like this one",
    ]
    assert "'Red' and 'red' differ in case only" in notes[3]
    assert "numbers that are not whole: regression" in notes[4]
    assert len(notes) == 5


@pytest.mark.parametrize(("target", "measure"), [("price", "R2"), ("kind", "accuracy")])
def test_search(target, measure, capsys):
    write("homes.csv", houses(), [{"price": "kind", "kind": "price"}[target]])
    words = ["search", "table", "homes.csv", "--target", target, "--trials", "2,2", "--epochs", "2,3"]
    assert main([*words, "--workers", "1", "--json", "s.json"]) == 0
    out = capsys.readouterr().out
    assert f"  trial  {measure:>8}  val loss" in out
    assert "note: column 0 (id) counts the rows: left out" in out
    assert f"{'regression' if target == 'price' else 'classification'}; --task says otherwise" in out
    best = json.loads(Path("s.json").read_text())["command"].split()[1:]
    assert main([*best, "--json", "r.json"]) == 0
    history = json.loads(Path("r.json").read_text())["history"]
    if target == "kind":
        assert f"best: {max(history['val_accuracy']):.2%} validation accuracy" in out
    else:
        y = read_table_data(TrainSettings(path="homes.csv", target="price"), 0).validation.y
        assert f"best: {1 - min(history['val_loss']) / y.var():.4f} R2" in out


def test_doctor_examines_a_regression(capsys):
    write("homes.csv", houses(), ["kind"])
    main(["doctor", "table", "homes.csv", "--target", "price", "--steps", "20"])
    assert "overfit 20 samples" in capsys.readouterr().out


# ---- one format ----


@pytest.mark.parametrize("preprocessing", [True, False])
def test_files_of_save_are_files_of_the_commands(preprocessing, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3)).astype(np.float32)
    scaler = xpnet.data.Standardize().fit(x) if preprocessing else None
    metadata = {"class_names": ["a", "b"], "columns": ["u", "v", "w"]}
    xpnet.save(nn.Sequential(nn.Linear(3, 2)), "m.st", scaler, metadata)
    saved = xpnet.load("m.st")
    np.savetxt("x.csv", x[:, ::-1], delimiter=",", header="w,v,u", comments="")
    assert main(["predict", "m.st", "x.csv", "--output", "p.csv"]) == 0
    assert [r["prediction"] for r in predictions()] == saved.predict_class(x)
    np.save("x.npy", x)
    assert main(["predict", "m.st", "x.npy", "--output", "q.csv"]) == 0
    assert [r["prediction"] for r in predictions("q.csv")] == saved.predict_class(x)
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(x[:, ::-1], columns=["w", "v", "u"]).assign(more="text")
    assert np.array_equal(saved.predict_proba(table), saved.predict_proba(x))
    with pytest.raises(ValueError, match="no column 'v'"):
        saved.predict_proba(table.drop(columns="v"))
    pytest.importorskip("onnxruntime")
    assert main(["export", "m.st", "m.onnx"]) == 0


@pytest.mark.parametrize(
    ("outputs", "task", "said"),
    [
        (1, "Regression", "m.st: its task is 'Regression', expected one of classification, regression, text"),
        (3, "regression", "m.st: it predicts (3,) numbers a sample, this command one: in Python"),
    ],
)
def test_a_task_that_is_none_of_the_command_is_refused(outputs, task, said, capsys):
    xpnet.save(nn.Linear(3, outputs), "m.st", metadata={"task": task})
    np.save("x.npy", np.ones((2, 3), np.float32))
    assert main(["predict", "m.st", "x.npy"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"xpnet predict: error: {said}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("names", "written"), [("+-", "+"), (["=a", "b"], "'=a")])
def test_names_that_a_spreadsheet_would_compute_are_said(names, written, capsys):
    xpnet.save(nn.Linear(3, 2), "m.st", metadata={"class_names": list(names)})
    np.save("x.npy", np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
    assert main(["predict", "m.st", "x.npy", "--output", "p.csv"]) == 0
    assert {row["prediction"] for row in predictions()} == {written, names[1]}
    said = "note: '=a' and the like have an apostrophe before them in p.csv" in capsys.readouterr().out
    assert said is written.startswith("'")


def test_one_logit_is_two_classes():
    xpnet.save(nn.Sequential(nn.Linear(3, 1)), "m.st")
    saved = xpnet.load("m.st")
    x = np.float32([[1, 2, 3], [0, 0, 0]])
    p = 1 / (1 + np.exp(-np.float64(saved.predict(x)[:, 0])))
    assert np.allclose(saved.predict_proba(x), np.stack([1 - p, p], axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("path", "stem"), [("a/b.csv", "b"), ("b.csv.gz", "b"), ("b", "b"), (".csv", ".csv"), ("b.c.tsv", "b.c")]
)
def test_files_are_called_as_the_table(path, stem):
    assert stem_of(path) == stem


def test_search_tries_no_batch_of_more_rows_than_there_are(tmp_path, capsys):
    path = tmp_path / "few.csv"
    path.write_text("a,kind\n" + "".join(f"{i}.5,{'uv'[i > 20]}\n" for i in range(40)))
    assert main(["search", "table", str(path), "--target", "kind", "--trials", "2,1"]) == 0
    size = re.search(r"--batch-size (\d+)", capsys.readouterr().out)
    assert size is not None
    assert 20 < int(size[1]) < 40  # all of the training part


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (("007", "7", "12"), ["7", "12", "007"], "classes '007' and '7' count as two, as codes do"),
        (("01", "02", "03"), ["01", "02", "03"], None),
        (
            ("yes", "no", "TRUE"),
            ["TRUE", "no", "yes"],
            "'TRUE', 'no', 'yes' count as 3 classes, not as",
        ),
    ],
)
@pytest.mark.parametrize("plain", [False, True], ids=["polars", "standard library"])
def test_labels_that_look_alike_are_classes_of_their_own(labels, names, said, plain, capsys, monkeypatch):
    if plain:
        monkeypatch.setattr("xpnet.data.frame.find_spec", lambda name: None)
    Path("t.csv").write_text("a,kind\n" + "".join(f"{i / 7:.3f},{labels[i % 3]}\n" for i in range(60)))
    words = [
        "--target",
        "kind",
        "--task",
        "classification",
        "--epochs",
        "1",
        "--plot",
        "none",
        "--json",
        "r.json",
    ]
    assert main(["train", "table", "t.csv", *words]) == 0
    assert json.loads(Path("r.json").read_text())["class_names"] == names
    out = capsys.readouterr().out
    assert said is None or f"note: {said}" in out
    assert ("note: classes" in out) == bool(said and "classes '" in said)
    assert main(["predict", "t.safetensors", "t.csv", "--output", "p.csv"]) == 0
    assert {line.split(",")[-1] for line in Path("p.csv").read_text().split()[1:]} == {*labels}
