"""Tables as people have them: read as they are meant, or refused, or said; never wrong without a word."""

import gzip
import warnings

import numpy as np
import pytest

from xpnet.cli.settings import TrainSettings
from xpnet.cli.table import read_table_data

pytestmark = pytest.mark.host

X = np.random.default_rng(0).normal(size=60).round(3)


def lines(header, line, n=40):
    """A header, and a line a row, made from its number and a value."""
    return f"{header}\n" + "".join(line(i, f"{X[i]}") + "\n" for i in range(n))


def feature(make, name="c"):
    """A column of what is made from the number of the row, a plain one, and a target of two classes."""
    return lines(f"{name},a,y", lambda i, x: f"{make(i)},{x},{i // 2 % 2}")


def target(make):
    """A plain column, and a target of what is made from the number of the row."""
    return lines("a,y", lambda i, x: f"{x},{make(i)}")


some = lambda odd, plain: lambda i: odd if i % 9 == 5 else plain(i)
turn = lambda *values: lambda i: values[i % len(values)]
FEW, MANY = "mend it", "as no program reads it surely"
# what the file holds, the options, and what an error, a warning or a note says; None: nothing but the task
TABLES = {
    "an empty price": (
        target(some("", lambda i: i + 0.5)),
        {},
        "line 7, column 1 (y): '' in the target is empty",
    ),
    "n/a among prices": (
        target(some("n/a", lambda i: i + 0.5)),
        {},
        "line 7, column 1 (y): 'n/a' in the target",
    ),
    "1_1 among prices": (
        target(some("1_1", lambda i: i + 0.5)),
        {},
        "line 7, column 1 (y): '1_1' is not a number",
    ),
    "<10 among prices": (target(some("<10", lambda i: i + 0.5)), {}, "'<10' is not a number"),
    "(5.00) among prices": (target(some("(5.00)", lambda i: i + 0.5)), {}, "'(5.00)' is not a number"),
    "5- among prices": (target(some("5-", lambda i: i + 0.5)), {}, "'5-' is not a number"),
    "prices in dollars": (target(lambda i: f"${i}.50"), {}, MANY),
    "prices with spaces": (target(lambda i: f"1 {i + 100}"), {}, MANY),
    "prices with thousands": (target(lambda i: f'"1,{i + 100}"'), {}, MANY),
    "prices in k": (target(lambda i: f"{i}k"), {}, "has 40 different texts in 40 rows"),
    "percents": (target(lambda i: f"{i}%"), {}, MANY),
    "dates to predict": (target(lambda i: f"2024-01-{1 + i % 28:02}"), {}, "is a date: write 1234.5"),
    "whole prices": (target(lambda i: i * 1000), {}, "are they classes or amounts?"),
    "amounts beyond float64": (
        target(lambda i: 2**64 + i),
        {"task": "regression"},
        "is 1.84467e+19 everywhere",
    ),
    "True and TRUE": (target(turn("True", "FALSE", "TRUE", "False")), {}, "'TRUE' and 'True' differ in case"),
    "a total": (
        target(lambda i: i + 0.5) + "Total,800\n",
        {},
        "line 42, column 0 (a): 'Total' is not a number",
    ),
    "units": (
        "a,y\nm,kg\n" + target(lambda i: i + 0.5)[4:],
        {},
        "line 2, column 1 (y): 'kg' is not a number",
    ),
    "the header again": (
        target(lambda i: i + 0.5) + target(lambda i: i + 0.5),
        {},
        "its first line says a, y, as other",
    ),
    "commas at the end": (target(lambda i: i % 2) + ",\n", {}, "'' in the target is empty"),
    "1_0": (feature(lambda i: f"1_{i}"), {}, MANY),
    "currencies": (feature(lambda i: f"{i} €"), {}, MANY),
    "single quotes": (feature(lambda i: f"'{i}.5'"), {}, MANY),
    "a minus that is none": (feature(lambda i: f"\u2212{i}"), {}, MANY),
    "a space without width": (feature(lambda i: f"\u200b{i}.5"), {}, MANY),
    "digits of full width": (feature(turn("\uff11", "\uff12")), {}, MANY),
    "Arabic digits": (feature(turn("\u0661", "\u0662", "\u0663")), {}, MANY),
    "inf": (feature(some("inf", lambda i: i / 2)), {}, FEW),
    "1e400": (feature(some("1e400", lambda i: i / 2)), {}, "is too large a number"),
    "a dash": (feature(some("-", lambda i: i / 2)), {}, FEW),
    "None": (feature(some("None", lambda i: i / 2)), {}, FEW),
    "SQL's null": (feature(some("\\N", lambda i: i / 2)), {"missing": "mean"}, FEW),
    "a point": (feature(some(".", lambda i: i / 2)), {"missing": "mean"}, FEW),
    "-999": (feature(some("-999", lambda i: i / 2)), {}, "-999 is its only value below 0: if it stands for"),
    "1 and TRUE": (feature(turn("TRUE", "1", "FALSE", "0")), {}, FEW),
    "30 February": (
        feature(lambda i: f"2024-02-{1 + i % 30:02}"),
        {},
        "line 31, column 0 (c): '2024-02-30' is no date",
    ),
    "NaT": (
        feature(some("NaT", lambda i: f"2024-01-{1 + i % 28:02}")),
        {"missing": "mean"},
        "'NaT' is no date",
    ),
    "dates of America": (
        feature(lambda i: f"{1 + i % 12}/{1 + i % 28}/2024"),
        {},
        "is a date: write 2024-01-31",
    ),
    "some with zones": (
        feature(lambda i: f"2024-01-01T{i % 24:02}:00" + ("Z" if i == 7 else "")),
        {},
        "line 9, column 0 (c): '2024-01-01T07:00Z' has a time zone, or none",
    ),
    "dates as numbers": (
        feature(lambda i: f"202401{1 + i % 28:02}"),
        {},
        "if they are dates, write 2024-01-31",
    ),
    "times of day": (feature(lambda i: f"{i % 24:02}:{i:02}"), {}, "'kind': 'date', 'form': 'time'"),
    "months": (feature(lambda i: f"20{10 + i // 12}-{1 + i % 12:02}"), {}, "'kind': 'date', 'form': 'month'"),
    "a time that is none": (
        feature(some("25:10", lambda i: f"{i % 24}:05")),
        {},
        "'25:10' is no time of day",
    ),
    "times of America": (feature(lambda i: f"{1 + i % 12}:05 PM"), {}, "is a time of day: write 13:05"),
    "months in words": (feature(turn('"Jan 5, 2024"', "Feb 6 2024")), {}, "is a date: write 2024-01-31"),
    "months in the middle": (feature(turn("5 Mai 2024", "6-Dec-24", "7. Okt. 2024")), {}, "is a date: write"),
    "days of the week": (feature(turn('"Monday, January 5th, 2024"', "Jan 2024")), {}, "is a date: write"),
    "months with slashes": (feature(turn("2024/01", "02/2024")), {}, "is a date: write"),
    "no dates": (feature(turn("May", "June 5", "Marcel 7")), {}, "'kind': 'onehot'"),
    "Red and red": (feature(turn("Red", "red", "blue")), {}, "'Red' and 'red' differ in case only"),
    "an index": (feature(lambda i: i, ""), {}, "column 0 () counts the rows: left out"),
    "an index that was shuffled": (
        feature(lambda i: i * 7 % 40, "Unnamed: 0"),
        {},
        "numbers the rows: left out",
    ),
    "ids with gaps": (feature(lambda i: 5 + 3 * i, "customer_id"), {}, "numbers the rows: left out"),
    "ids of letters": (feature(lambda i: f"k{i:03}", "id"), {}, "too many different texts"),
    "a column called #": (feature(lambda i: i + 1, "#"), {}, "column 0 (#) counts the rows: left out"),
    "points among semicolons": (
        lines("a;y", lambda i, x: f"{x};1.{i + 100}"),
        {},
        "1.100 is taken for 1.1; were it thousands",
    ),
    "numbers as names": (
        lines("1,2,3", lambda i, x: f"{x},{x},{i % 2}"),
        {"target": "2"},
        "the first line, 1,2,3, may be a header",
    ),
    "years as names": (
        lines("2019,2020,2021", lambda i, x: f"{x},{x},{i % 2}"),
        {"target": "2021"},
        "{'name': '2021', 'index': 2}",
    ),
    "whole years as names": (
        lines("2019,2020,2021", lambda i, x: f"{i * i},{-i},{i % 2}"),
        {"target": "2"},
        "its first line, 2019,2020,2021, was read as data; --header yes",
    ),
    "a year that is no column": (
        lines("2019,2020,2021", lambda i, x: f"{i * i},{-i},{i % 2}"),
        {"target": "2022"},
        "no column 2022: there are 3, from 0; if the first line has the names, say --header yes",
    ),
    "names of which some are numbers": (
        lines("x1,1,2", lambda i, x: f"{x},{x},{i % 2}"),
        {"target": "2"},
        "its first line, x1,1,2, is taken for the header; --header no",
    ),
    "a price among places": (
        lines("1,2,price", lambda i, x: f"{x},{x},{i % 2}"),
        {"target": "price"},
        "{'name': 'price', 'index': 2}",
    ),
    "a first row that is odd": (
        "k,0.5,1\n" + lines("1,2.5,0", lambda i, x: f"{x},{x},{i % 2}"),
        {"target": "2"},
        "line 1, column 0: 'k' is not a number",
    ),
    "two columns of a name": (
        lines("a,a,y", lambda i, x: f"{x},{i},{i % 2}"),
        {},
        "2 columns are called 'a'",
    ),
    "another encoding": (
        feature(turn("ä", "ß")).encode("cp1252"),
        {},
        "not a text table in UTF-8: it has the byte e4",
    ),
    "UTF-8 as another": (
        feature(turn("ä", "ß")),
        {"encoding": "cp1252"},
        "it is written in UTF-8, but read as cp1252",
    ),
    "UTF-16 without a mark": (target(turn(0, 1)).encode("utf-16-le"), {}, "bytes that no text has"),
    "gzipped twice": (gzip.compress(gzip.compress(target(turn(0, 1)).encode())), {}, "not a text table"),
    "an end of DOS": (target(turn(0, 1)) + "\x1a", {}, "bytes that no text has"),
    "colons": (target(turn(0, 1)).replace(",", ":"), {}, "which column is to be predicted?"),
    "ARFF": ("@relation x\n@data\n" + target(turn(0, 1))[4:], {}, "lines above the header have to go"),
    "two marks of bytes": ("\ufeff\ufeff" + target(turn(0, 1)), {}, None),
    "a header with #": ("#" + target(turn(0, 1)), {"target": "y"}, None),
    "three ends of lines": (
        target(turn(0, 1)).replace("\n", "\r\n", 9)[:-1].replace("\n", "\r", 1),
        {},
        None,
    ),
    "labels 1.0": (target(turn("0.0", "1.0")), {}, None),
    "labels 1 and 1.0": (target(turn("0", "1.0", "0.0", "1")), {}, None),
    "labels -0": (target(turn("-0", "1", "0", "1e0")), {}, None),
    "spaces without break": (lines("a,y", lambda i, x: f"\u00a0{x},{i % 2}"), {}, None),
    "spaces beside tabs": (lines("a\ty", lambda i, x: f"{x} \t {i % 2}"), {}, None),
    "decimal commas": (
        lines("a;y", lambda i, x: f"{x};{i % 2}").replace(".", ","),
        {},
        "its commas are taken",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_never_wrong_without_a_word(name, tmp_path):
    content, options, said = TABLES[name]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    heard = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            table = read_table_data(TrainSettings(path=str(path), **options), 0)
            heard += [*table.notes, str(table.columns.target), str(table.columns.columns)]
        except ValueError as error:
            heard.append(str(error))
            table = None
    heard += [str(warning.message) for warning in warned]
    if said is not None:
        assert [text for text in heard if said in text], heard
        return
    assert table is not None, heard
    assert table.target.class_names == ["0", "1"]
    assert table.columns.features == ["a"]
    found = np.concatenate([part.x[:, 0] for part in (table.training, table.validation, table.test)])
    values = found * table.columns.std[0] + table.columns.mean[0]
    assert np.allclose(sorted(values), sorted(X[:40]), atol=1e-5)
