"""Columns of a table as features, and its target: what is found, what is refused, what comes back by name."""

import importlib
import importlib.util
import json
import re
from datetime import time, timedelta

import numpy as np
import pytest

from xpnet.data import Columns, as_frame, read_frame
from xpnet.data.pipeline import describe, from_description
from xpnet.data.target import describe_target, find_target

pytestmark = pytest.mark.host

TRAINING = {
    "id": [1, 2, 3, 4],
    "size": [1.0, 2.0, 3.0, 6.0],
    "color": ["red", "blue", "red", "green"],
    "sold": ["yes", "no", "yes", "yes"],
    "day": ["2024-01-01", "2024-01-03", "2024-01-02 12:00", "2024-01-01T12:00:00"],
    "same": ["a", "a", "a", "a"],
    "flat": [7, 7, 7, 7],
    "none": ["", "NA", "", "?"],
    "y": [1.5, 2.5, 3.5, 4.5],
}


def test_what_columns_are():
    columns = Columns().fit(TRAINING, target="y")
    assert columns.features == ["size", "color=blue", "color=green", "color=red", "sold", "day"]
    assert [note.split(" ", 2)[2] for note in columns.notes] == [
        "(id) counts the rows: left out",
        "(same) is 'a' everywhere: left out",
        "(flat) is 7 everywhere: left out",
        "(none) is empty: left out",
    ]
    x = columns.transform(TRAINING)
    size, days = np.array(TRAINING["size"]), np.array([0.0, 2, 1.5, 0.5])
    assert np.allclose(x[:, 0], (size - size.mean()) / size.std())
    assert np.allclose(x[:, 5], (days - days.mean()) / days.std())
    assert x[:, 1:5].tolist() == [[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]]


def test_statistics_are_of_the_training_rows_alone():
    columns = Columns(missing="mean").fit(TRAINING | {"size": [1.0, None, 100.0, 3.0]}, [0, 1, 3], "y")
    assert columns.mean[0] == 2.0
    assert "color=red" in columns.features
    x = columns.transform(TRAINING | {"size": [2.0, "", 2.0, 2.0]})
    assert np.array_equal(x[:, 0], np.zeros(4, np.float32))


def test_columns_are_found_by_name():
    columns = Columns().fit(TRAINING, target="y")
    expected = columns.transform(TRAINING)
    turned = {name: TRAINING[name] for name in reversed(TRAINING)} | {"more": [0, 0, 0, 0]}
    assert np.array_equal(columns.transform(turned), expected)
    without = {name: TRAINING[name] for name in ("day", "sold", "color", "size")}
    assert np.array_equal(columns.transform(without), expected)
    with pytest.raises(ValueError, match=r"no column 'size'; is it 'Size'\?"):
        columns.transform({("Size" if name == "size" else name): v for name, v in TRAINING.items()})


@pytest.mark.parametrize("with_target", [True, False])
def test_without_names_columns_are_found_by_place(with_target):
    table = np.array([[1.0, 5, 0], [2, 6, 1], [4, 9, 0]])
    columns = Columns().fit(table, target=1)
    expected = columns.transform(table)
    assert np.array_equal(columns.transform(table if with_target else table[:, [0, 2]]), expected)
    with pytest.raises(ValueError, match="4 columns, expected 2 as in training"):
        columns.transform(np.ones((2, 4)))


def test_a_description_makes_the_same_columns_again():
    columns = Columns(missing="indicator", text="hash").fit(TRAINING | {"size": [1.0, None, 3.0, 4.0]})
    again = from_description(json.loads(json.dumps(describe(columns))))
    again.load_state_dict(columns.state_dict())
    assert again.features == columns.features
    assert np.array_equal(again.transform(TRAINING), columns.transform(TRAINING))
    with pytest.raises(ValueError, match="statistics of another number"):
        again.load_state_dict({"mean": np.zeros(3), "std": np.ones(3)})


@pytest.mark.parametrize(
    ("policy", "size", "color"),
    [
        ("mean", [-1, 1, 0], ["color=(missing)", "color=blue", "color=red"]),
        ("median", [-1, 1, 0], ["color=(missing)", "color=blue", "color=red"]),
        ("indicator", [-1, 1, 0], ["color=(missing)", "color=blue", "color=red"]),
    ],
)
def test_policies_for_what_is_missing(policy, size, color):
    table = {"size": [1, 3, None], "color": ["red", "blue", ""]}
    columns = Columns(missing=policy).fit(table)
    extra = ["size is missing"] if policy == "indicator" else []
    assert columns.features == ["size", *extra, *color]
    x = columns.transform(table)
    assert np.allclose(x[:, 0], np.array(size) * np.sqrt(1.5))
    assert x[2, 1] == 1.0


def test_mean_and_median_differ():
    table = {"size": [1.0, 2.0, 9.0, None]}
    fills = [Columns(missing=policy).fit(table).columns[0]["fill"] for policy in ("mean", "median")]
    assert fills == [4.0, 2.0]


@pytest.mark.parametrize(
    ("values", "more", "form", "days"),
    [
        (["2024-01", "1970-02", "1970-01"], "1970-03", "month", 59),
        (["12:00", "6:30:00.5", "00:00"], "18:00", "time", 0.75),
        ([time(12), time(6, 30), time(0)], time(18), "time", 0.75),
    ],
)
def test_months_and_times_are_numbers(values, more, form, days):
    columns = Columns().fit({"t": values})
    again = from_description(json.loads(json.dumps(describe(columns))))
    again.load_state_dict(columns.state_dict())
    for known in (columns, again):
        assert known.columns[0]["form"] == form
        x = float(known.transform({"t": [more]})[0, 0]) * known.std[0] + known.mean[0]
        assert x == pytest.approx(days, abs=1e-3)  # float32
    with pytest.raises(ValueError, match=f"is not a {form}, as in the training set"):
        columns.transform({"t": ["2024-01-31"]})


def _durations():
    yield "python", [timedelta(1), None, timedelta(0, 1.5)]
    yield "numpy", np.array([86400_000, "NaT", 1500], "m8[ms]")
    if (pl := _module("polars")) is not None:
        yield "polars", pl.Series([timedelta(1), None, timedelta(0, 1.5)])
    if (pd := _module("pandas")) is not None:
        yield "pandas", pd.Series([timedelta(1), None, timedelta(0, 1.5)])


def _module(name):
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


@pytest.mark.parametrize(("library", "values"), list(_durations()))
def test_durations_are_seconds(library, values):
    column = as_frame({"t": values}).columns[0]
    assert column.missing.tolist() == [False, True, False]
    assert column.numbers[[0, 2]].tolist() == [86400, 1.5]


@pytest.mark.parametrize(
    "value",
    [[1], (1, 2), {"a": 1}, {1}, b"a", 1j, np.complex64(1), np.ones(2)],
    ids=lambda v: type(v).__name__,
)
def test_what_is_nothing_to_learn_from_is_refused_by_name(value):
    table = {"a": [value, None, value], "b": [1.0, 2.0, 3.0]}
    kind = type(value).__name__
    with pytest.raises(ValueError, match=rf"column 0 .a. holds values of type {kind}, expected numbers"):
        Columns("mean").fit(table)
    with pytest.raises(ValueError, match=f"holds values of type {kind}"):
        describe_target(as_frame(table).take(np.array([0, 2])), 0, None)
    assert Columns(drop=["a"]).fit(table).features == ["b"]


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("refuse", "trained without a rule for missing values: fill it, or train with --missing mean|median"),
        ("drop", "the model was trained without such rows: fill it, or leave out the row"),
    ],
)
def test_a_model_says_how_it_was_trained_where_a_value_is_missing(missing, advice):
    columns = Columns(missing).fit({"a": [1.0, 2.0, 4.0]})
    with pytest.raises(ValueError, match=re.escape(advice)) as error:
        columns.transform({"a": [1.0, None]})
    assert "choose --missing" not in str(error.value)


def test_rows_to_drop_are_known():
    table = {"size": [1, 3, None], "color": ["red", "", "blue"], "y": [None, 1, 2]}
    columns = Columns(missing="drop").fit(table, target="y")
    assert columns.complete(table).tolist() == [True, False, False]
    with pytest.raises(ValueError, match=r"row 2, column 0 .size.: '' says that the value is missing"):
        columns.transform(table)


MANY = {"name": [f"person {i}" for i in range(150)], "n": list(np.linspace(0, 1, 150))}


def test_many_texts_are_a_question():
    with pytest.raises(ValueError, match=r"too many different .* 0 \(name\): leave it out \(--drop name\)"):
        Columns().fit(MANY)
    assert Columns(drop=["name"]).fit(MANY).features == ["n"]
    assert len(Columns(text="onehot").fit(MANY).features) == 151
    hashed = Columns(text="hash").fit(MANY)
    x = hashed.transform(MANY)
    assert (np.abs(x[:, :32]).sum(axis=0) > 0).sum() > 25  # 150 names in 32 places
    assert (x.shape, set(np.abs(x[:, :32]).sum(axis=1))) == ((150, 33), {1.0})
    assert np.array_equal(hashed.transform({"name": ["new"], "n": [0.5]})[:, :32].any(axis=1), [True])


def test_texts_as_numbers_of_vectors():
    columns = Columns(text="embed", missing="indicator").fit(MANY | {"name": [*MANY["name"][:-1], None]})
    assert columns.features == ["name", "n"]
    assert columns.embedding() == ([0], [151], [26])
    with pytest.warns(UserWarning, match="1 values that were not in the training set, in 1 rows"):
        codes = columns.transform(MANY)[:, 0]
    assert sorted(codes) == [0, *range(2, 151)]  # 1 is a missing one
    names = columns.columns[0]["values"]
    assert [names[int(code) - 1] for code in codes if code] == MANY["name"][:-1]
    with pytest.warns(UserWarning, match="has 1 values that were not in the training set"):
        assert columns.transform({"name": ["new", None], "n": [0.5, 0.5]})[:, 0].tolist() == [0, 1]


def test_numbers_that_are_names():
    table = {"zip": ["01234", "501", "501.0", "1234"], "n": [0.5, 1, 2, 4]}
    assert Columns(categories=["zip"]).fit(table).features == ["zip=01234", "zip=1234", "zip=501", "n"]


def test_unknown_categories_are_said_and_count_as_none():
    columns = Columns().fit(TRAINING, target="y")
    with pytest.warns(UserWarning, match=r"column 2 \(color\) has 1 values .* in 2 rows, such as 'pink'"):
        x = columns.transform(TRAINING | {"color": ["pink", "pink", "red", "red"]})
    assert x[:, 1:4].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("color", ["red", None, None, "blue"], "none of the 3 known values"),
        ("sold", ["no", None, None, "yes"], "half true"),
    ],
)
def test_a_missing_text_that_training_never_missed_is_said(column, values, said):
    columns = Columns("mean").fit(TRAINING, target="y")
    with pytest.warns(UserWarning, match=f"no value in 2 rows, and had one in all .*: it counts as {said}"):
        columns.transform(TRAINING | {column: values})


NAIVE = ["2024-01-31", "2024-02-01 12:00", "2024-02-02", "2024-02-03"]
ZONED = ["2024-01-31T00:00Z", "2024-02-01T12:00+02:00", "2024-02-02T00:00Z", "2024-02-03T00:00Z"]


@pytest.mark.parametrize(
    ("trained", "values", "odd"),
    [
        (NAIVE, ZONED, "row 0, column 4 (day): '2024-01-31T00:00Z' has a time zone, and the others none"),
        (ZONED, NAIVE, "row 0, column 4 (day): '2024-01-31' has no time zone, and the others have one"),
        (NAIVE, [*NAIVE[:3], ZONED[3]], "row 3, column 4 (day): '2024-02-03T00:00Z' has a time zone"),
        (NAIVE, NAIVE, None),
        (ZONED, ZONED, None),
        (None, ZONED, None),
        (None, [*NAIVE[:3], ZONED[3]], "row 3, column 4 (day): '2024-02-03T00:00Z' has a time zone"),
    ],
)
def test_dates_have_time_zones_where_those_of_training_had(trained, values, odd):
    columns = Columns().fit(TRAINING | {"day": trained or NAIVE}, target="y")
    if trained is None:  # a file of an earlier version, which does not say
        next(column for column in columns.columns if column["name"] == "day").pop("zone")
    if odd is None:
        columns.transform(TRAINING | {"day": values})
    else:
        with pytest.raises(ValueError) as error:
            columns.transform(TRAINING | {"day": values})
        assert odd in str(error.value)


def test_a_column_that_is_there_twice_is_refused_in_a_table_to_predict(tmp_path):
    columns = Columns().fit({"a": [1.5, 2.5], "b": [1.5, 3.5]})
    (tmp_path / "t.csv").write_text("a,b,a\n1.5,2.5,3.5\n")
    with pytest.raises(ValueError, match="2 columns are called 'a': leave one of them"):
        columns.transform(read_frame(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("size", [1, 2, "x", 4], "row 2, column 1 (size): 'x' is not a number, as in the training set"),
        ("size", [1, 2, None, 4], "row 2, column 1 (size): '' says that the value is missing"),
        ("size", ["1e999", 2, 3, 4], "row 0, column 1 (size): '1e999' is too large a number"),
        ("size", [1, 2, 3, -1e101], "row 3, column 1 (size): '-1e+101' is too large a number"),
        ("sold", ["no", "maybe", "no", "no"], "'maybe' is neither no nor yes"),
        ("day", ["2024-01-01", "31.1.2024", "2024-01-02", "2024-01-03"], "'31.1.2024' is not a date"),
    ],
)
def test_what_is_not_as_in_training_is_refused(column, values, message):
    columns = Columns().fit(TRAINING, target="y")
    with pytest.raises(ValueError) as error:
        columns.transform(TRAINING | {column: values})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "x", "4"], "row 2, column 0 (a): 'x' is not a number, as others in the column are"),
        (["1", "2", "1_1", "4"], "'1_1' is not a number, as others"),
        (["1,500", "2,500", "3,100", "x"], "'1,500' is a number as no program reads it surely"),
        (["5%", "7%", "8%", "9%"], "'5%' is a number as no program reads it surely"),
        (["$5", "$7", "$8", "$9"], "'$5' is a number as no program reads it surely"),
        (
            ["01/02/2024", "03/02/2024", "x", "02/02/2024"],
            "'01/02/2024' is a date: write 2024-01-31",
        ),
        (["1", "2", "", "4"], "row 2, column 0 (a): '' says that the value is missing, as 1 do"),
        (["1", "2", "1e999", "4"], "'1e999' is too large a number"),
        (["1", "2", "1e300", "4"], "'1e300' is too large a number"),
    ],
)
def test_what_cannot_be_read_surely_is_refused(values, message):
    with pytest.raises(ValueError) as error:
        Columns().fit({"a": values, "b": [1, 2, 3, 5]})
    assert message in str(error.value)


def test_names_that_are_given_twice_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,a,y\n1,2,0\n3,5,1\n")
    with pytest.raises(ValueError, match="2 columns are called 'a'"):
        Columns().fit(read_frame(tmp_path / "t.csv"), target="y")


# ---- targets ----


@pytest.mark.parametrize(
    ("values", "task", "found", "names"),
    [
        (["b", "a", "b"], None, "classification", ["a", "b"]),
        (["True", "False", "True"], None, "classification", ["False", "True"]),
        ([0, 1, 0], None, "classification", ["0", "1"]),
        (["0.0", "1.0", "0"], None, "classification", ["0", "1"]),
        ([1.5, 2.0, 3.0], None, "regression", None),
        ([10, 2, 1], "classification", "classification", ["1", "2", "10"]),
        ([10, 2, 1], "regression", "regression", None),
        (["9223372036854775809", "9223372036854775808"], "classification", "classification",
         ["9223372036854775808", "9223372036854775809"]),
        (["9007199254740993", "9007199254740992"], "classification", "classification",
         ["9007199254740992", "9007199254740993"]),
        ([-1, 1, -1], None, "classification", ["-1", "1"]),
        (["x", "1", "2"], "classification", "classification", ["1", "2", "x"]),
    ],
)  # fmt: skip
def test_the_task_is_found_or_asked_for(values, task, found, names):
    frame = as_frame({"y": values})
    target = describe_target(frame, 0, task)
    assert (target.task, target.class_names) == (found, names)
    assert bool(target.why) == (task is None)
    y = target.values(frame)
    if names:
        assert y.dtype == np.int64
        assert [names[k] for k in y] == [v if names[0] == "a" else str(v).removesuffix(".0") for v in values]
    else:
        assert y.tolist() == values


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([1, 2, 3], None, "3 different whole numbers, from 1 to 3: are they classes or amounts?"),
        (["1", "2", ""], None, "row 2, column 0 (y): '' in the target is empty"),
        (
            ["1", "2", "n/a"],
            "classification",
            "'n/a' in the target says that the value is missing: fill it, or drop the line",
        ),
        (["1.5", "x", "2"], None, "row 1, column 0 (y): 'x' is not a number, as others"),
        (["1.5", "x", "2"], "regression", "'x' is not a number to predict"),
        (["1.5", "1e999", "2"], "regression", "'1e999' is too large a number"),
        (["a", "a"], None, "has one class only, 'a'"),
        ([2.5, 2.5], None, "is 2.5 everywhere"),
        (["$1,200", "$900", "$7"], None, "row 0, column 0 (y): '$1,200' is a number as no program reads it"),
        (["1.234,5", "7,5", "8,25"], None, "'1.234,5' is a number as no program reads it"),
        (["2024-01-31", "2024-02-01", "2024-02-02"], None, "'2024-01-31' is a date: write"),
        (["31/1/2024", "1/2/2024", "2/2/2024"], None, "'31/1/2024' is a date: write"),
        ([f"text {i}" for i in range(30)], None, "has 30 different texts in 30 rows"),
        (["1e200", "1.5"], "regression", "'1e200' is too large a number"),
        (["a", "b"], "ranking", "task is one of classification, regression"),
    ],
)
def test_targets_that_are_refused(values, task, message):
    with pytest.raises(ValueError) as error:
        describe_target(as_frame({"y": values}), 0, task)
    assert message in str(error.value)


def test_the_target_has_a_usual_name_or_is_asked_for():
    assert find_target(as_frame({"a": [1], "Label": [2]}), None) == 1
    assert find_target(as_frame({"a": [1], "b": [2]}), "0") == 0
    for names in (("a", "b"), ("target", "label")):
        with pytest.raises(ValueError, match=f"which column is to be predicted.* {names[0]}, {names[1]}"):
            find_target(as_frame({name: [1] for name in names}), None)
    with pytest.raises(ValueError, match="no column 'c': columns are a, b"):
        find_target(as_frame({"a": [1], "b": [2]}), "c")


def test_a_class_that_training_has_not_seen_is_refused():
    target = describe_target(as_frame({"y": ["a", "b"]}), 0, None)
    with pytest.raises(ValueError, match="'c' is none of the classes of the training set"):
        target.values(as_frame({"y": ["a", "c"]}))


def test_codes_that_are_taken_for_numbers_are_said():
    table = {"zip": ["007", "7", "12", "99"], "hour": ["0.5", "00.5", "0", "1"]}
    columns = Columns().fit(table)
    assert columns.notes == [
        "column 0 (zip): 007 begins with a zero, as codes do, and is taken for the number 7; --categories "
        "zip takes all as names"
    ]
    apart = Columns(categories=["zip"]).fit(table)
    assert apart.features[:4] == ["zip=007", "zip=12", "zip=7", "zip=99"]
    assert apart.transform(table)[:, :4].sum(axis=0).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("texts", "kind", "said"),
    [
        (
            ["yes", "no", "1", "FALSE", "True", "yes"],
            "bool",
            "'1', 'True', 'yes' are taken for true, 'FALSE', 'no'",
        ),
        (["yes", "no", "TRUE", "False", "on", "off"], "bool", "are taken for true"),
        (["yes", "no", "NO", "Yes", "no", "yes"], "bool", ""),
        (["y", "n", "t", "y", "n", "t"], "onehot", ""),
        (["yes", "no", "maybe", "true", "no", "yes"], "onehot", ""),
    ],
)
def test_ways_to_say_true_and_false_are_one(texts, kind, said):
    table = {"ok": texts, "n": [1.5, 2, 3, 4, 5, 6.5]}
    columns = Columns().fit(table)
    assert columns.columns[0]["kind"] == kind
    assert [said in note and "--categories ok keeps them apart" in note for note in columns.notes] == [
        True
    ] * bool(said)
    if said:
        truth = [float(text.lower() in ("yes", "true", "1", "on")) for text in texts]
        assert columns.transform(table)[:, 0].tolist() == truth
        gone = Columns(missing="mean").fit({"ok": [*texts, None], "n": [*table["n"], 7]})
        assert gone.transform({"ok": [None], "n": [1]})[0, 0] == 0.5
        assert Columns(categories=["ok"]).fit(table).columns[0]["kind"] == "onehot"


def test_one_word_among_ones_and_zeros_is_refused():
    with pytest.raises(ValueError, match="'yes' is not a number, as others in the column are"):
        Columns().fit({"ok": ["1", "0", "yes", "no", "1", "0"], "n": range(6)})


def test_numbers_that_a_float_does_not_tell_apart_are_said_to_be():
    frame = {"uid": [str(2**64 + k) for k in range(4)], "x": [1.5, 2.0, 3.0, 5.0], "y": [1.5, 2.5, 3.5, 4.5]}
    (note,) = Columns().fit(frame, target="y").notes
    assert "everywhere to the 16 digits of a number (--categories uid takes names): left out" in note


@pytest.mark.parametrize(
    ("texts", "said"),
    [(["0", "1"], "0 and 1"), ([str(2**53), str(2**53 + 2)], f"'{2**53}' and '{2**53 + 2}'")],
)
def test_two_values_of_a_target_are_told_apart(texts, said):
    found = describe_target(as_frame({"y": texts * 4}), 0, None)
    assert found.why.endswith(f"has two values, {said}")
