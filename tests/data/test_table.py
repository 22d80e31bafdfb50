"""Text tables: what a column is, what is refused by line and column, and one reader for all commands."""

import warnings

import numpy as np
import pytest

from xpnet.cli.samples import read_samples
from xpnet.data import load_csv
from xpnet.data.table import is_number

pytestmark = pytest.mark.host


@pytest.fixture
def file(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        return tmp_path / "t.csv"

    return write


def column(file, fields, **options):
    return load_csv(file("".join(f"1,{field}\n" for field in fields)), **options)


@pytest.mark.parametrize(
    ("fields", "y", "names"),
    [
        (["0", "1", "2"], [0, 1, 2], None),
        (["0.0", "1.0", "2.0"], [0, 1, 2], None),  # as data frames write them once a value was missing
        (["0", "1.0", "2"], [0, 1, 2], None),
        (["-1", "+1", "1e1"], [-1, 1, 10], None),
        (["0.5", "1", "2"], [0.5, 1, 2], None),
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
    ],
)
def test_the_type_of_a_target(file, fields, y, names):
    data = column(file, fields)
    assert (data.y.tolist(), data.class_names) == (y, names)
    assert data.y.dtype == (np.float32 if 0.5 in y else np.int64)


ODD = ["n/a", "?", "1,234.5", "nan", "NaN", "inf", "1_000", "x", "12.5.1", "0x10", "1 000", "five", "--", "٣"]


@pytest.mark.parametrize("numbers", [["10.5", "11.0"], ["0", "1", "2", "10", "11", "12"]])
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_one_odd_field_among_numbers_is_named(file, numbers, odd, place):
    fields = list(numbers)
    at = place % len(fields) if place >= 0 else len(fields)
    fields.insert(at, f'"{odd}"')
    with pytest.raises(ValueError, match=rf"line {at + 1}, column 1: .* is not a number"):
        column(file, fields, header=False)
    with pytest.raises(ValueError, match=rf"line {at + 1}, column 1: .* is not a number"):
        column(file, fields, header=False, classes=False)
    data = column(file, fields, header=False, classes=True)
    assert data.class_names == [*sorted(numbers, key=float), odd]  # 2 before 10


@pytest.mark.parametrize(
    "fields", [["0", "1", ""], ["a", "", "b"], ["", "a"], ["0.5", " ", "1"], ["a", '""']]
)
@pytest.mark.parametrize("classes", [None, True, False])
def test_an_empty_field_is_never_a_class(file, fields, classes):
    with pytest.raises(ValueError, match=r"is empty: fill it or drop the line|'a' is not a number"):
        column(file, fields, header=False, classes=classes)


@pytest.mark.parametrize("word", ["?", "NA", "n/a", "NaN", "null"])
def test_what_says_missing_is_no_class_unless_asked_for(file, word):
    with pytest.raises(ValueError, match=r"line 2, column 1: .* is missing.*classes=True"):
        column(file, ["a", word])
    assert column(file, ["a", word], classes=True).class_names == sorted(["a", word])


@pytest.mark.parametrize("fields", [["$5", "$7"], ["1,234.5", "2,000"], ["5%", "7%"], ["1/2/24", "3/2/24"]])
def test_amounts_and_dates_written_otherwise_are_no_classes_unless_asked_for(file, fields):
    quoted = [f'"{field}"' for field in fields]
    with pytest.raises(ValueError, match=r"line 1, column 1: .* is a (number|date).*classes=True"):
        column(file, quoted, header=False)
    assert column(file, quoted, header=False, classes=True).class_names == sorted(fields)


def test_classes_are_asked_for_or_denied(file):
    assert column(file, ["10", "20"], classes=False).y.dtype == np.float32
    assert column(file, ["0.5", "1.5", "0.50"], classes=True).class_names == ["0.5", "1.5"]
    assert column(file, ["10", "20"], classes=True).class_names is None


@pytest.mark.parametrize("field", ["", "n/a", "1,5", "1_0", "inf", "nan", "1e999"])
def test_a_feature_that_is_no_number_is_named(file, field):
    text = f'a,b,y\n1,2,0\n1,"{field}",1\n'
    with pytest.raises(ValueError, match=r"line 3, column 1 \(b\): .* is (empty|not a number|too large)"):
        load_csv(file(text))


def test_numbers_are_those_of_every_program():
    assert all(map(is_number, ["1", "-1", "+.5", "2.", "1e-3", "1E5", " 7 "]))
    assert not any(map(is_number, ["", ".", "1_0", "inf", "nan", "0x1", "1,5", "e5", "٣"]))


def test_lines_are_counted_as_an_editor_does(file):
    with pytest.raises(ValueError, match="line 6, column 0: 'x'"):
        load_csv(file('1,"0"\n\n\n2,1\n  \nx,1\n'))


def test_float32_that_cannot_hold_a_column_warns(file):
    rows = "".join(f"{1_700_000_000 + i},{i % 2}\n" for i in range(50))
    with pytest.warns(UserWarning, match="float32 cannot tell the values of column 0 apart"):
        load_csv(file(rows))


# ---- one reader ----

LINE = "1,2.5,-3"
FORMS = {
    "plain": "1,2.5,-3\n4,5,6\n",
    "header": "a,b,c\n1,2.5,-3\n4,5,6\n",
    "byte order mark": "\ufeff1,2.5,-3\n4,5,6\n",
    "byte order mark, header": "\ufeffa,b,c\n1,2.5,-3\n4,5,6\n",
    "quotes": '"1","2.5","-3"\n"4","5","6"\n',
    "a comma ends each line": "1,2.5,-3,\n4,5,6,\n",
    "a comma ends each line, header": "a,b,c,\n1,2.5,-3,\n4,5,6,\n",
    "a comma ends each line but the header": "a,b,c\n1,2.5,-3,\n4,5,6,\n",
    "Windows": "1,2.5,-3\r\n4,5,6\r\n",
    "no newline at the end": "1,2.5,-3\n4,5,6",
    "empty lines": "\n1,2.5,-3\n\n4,5,6\n\n",
    "spaces": " 1, 2.5 ,-3\n4 ,5, 6\n",
    "comment": "# made by hand\n1,2.5,-3\n4,5,6\n",
    "semicolons": "1;2.5;-3\n4;5;6\n",
    "semicolons, header": "a;b;c\n1;2.5;-3\n4;5;6\n",
    "tabs": "1\t2.5\t-3\n4\t5\t6\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_training_and_prediction_read_alike(file, form):
    expected = [[1, 2.5, -3], [4, 5, 6]]
    path = file(FORMS[form])
    mark = ";" if ";" in FORMS[form] else "\t" if "\t" in FORMS[form] else ","
    data = load_csv(path, delimiter=mark)
    assert np.column_stack([data.x, data.y]).tolist() == expected
    assert read_samples(str(path), (3,)).tolist() == expected


def test_one_row_is_one_sample(file):
    assert read_samples(str(file("1,2,3\n")), (3,)).tolist() == [[1, 2, 3]]
    assert read_samples(str(file("a,b,c\n1,2,3\n")), (3,)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n", "2 values a sample, the model takes 3"),
        ("1,x,3\n", "line 1, column 1: 'x' is not a number"),
        ("1,,3\n", "line 1, column 1: '' is empty"),
        ("1;2,5;3\n", "the first line has ',' and ';': which separates"),
        ("a,b,c\n", "the table is empty"),
    ],
)
def test_prediction_refuses_by_line_and_column(file, text, message):
    with pytest.raises(ValueError, match=message):
        read_samples(str(file(text)), (3,))


def test_endings_in_capitals(tmp_path):
    np.save(tmp_path / "x.npy", np.float32([[1, 2, 3]]))
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    assert read_samples(str(tmp_path / "X.NPY"), (3,)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("library", ["polars", "none"])
def test_points_among_semicolons_are_said(library, file, monkeypatch):
    if library == "none":
        monkeypatch.setattr("xpnet.data.frame.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"column 0 \(a\): 1\.100 is taken for 1\.1; were it thousands"):
        assert load_csv(file("a;y\n1.100;0\n2;1\n3.250;1\n")).x[0, 0] == np.float32(1.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_csv(file("a;y\n1.100;0\n2;1\n0.250;1\n"))  # no thousands begin with 0


def test_labels_that_begin_with_a_zero(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1.5,007\n2.5,7\n3.5,12\n")
    with pytest.warns(UserWarning, match="label 007 begins with a zero, and is taken for the number 7"):
        assert load_csv(path).y.tolist() == [7, 7, 12]
    found = load_csv(path, classes=True)
    assert [found.class_names[k] for k in found.y] == ["007", "7", "12"]
