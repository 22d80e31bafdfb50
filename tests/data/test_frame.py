"""Tables of any origin: the fast reader and the plain one agree, and every library's table is the same."""

import bz2
import gzip
import itertools
import lzma
import random
import warnings

import numpy as np
import pytest

from xpnet.data import Columns, as_frame, load_csv, read_frame
from xpnet.data import frame as frames
from xpnet.data.text import is_number

pytestmark = pytest.mark.host


@pytest.fixture
def file(tmp_path):
    def write(content, name="t.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


def values(frame):
    """Names, numbers or texts, what is missing, and the line of the last row."""
    columns = []
    for c in frame.columns:
        known = c.texts.tolist() if c.numbers is None else c.numbers.tolist()
        columns.append([None if gone else v for v, gone in zip(known, c.missing, strict=True)])
    return frame.names, columns, str(frame.fault(len(frame) - 1, 0, "")).split(", column")[0]


def both(path, monkeypatch, **options):
    """The table by polars, or the error; and by the standard library."""
    results = []
    for found in (frames.find_spec, lambda name: None):
        monkeypatch.setattr(frames, "find_spec", found)
        try:
            results.append(values(read_frame(path, **options)))
        except ValueError as error:
            results.append(str(error))
    return results


def fields(draw):
    pools = (
        ["1", "-2.5", "+.5", "2.", "1e-3", "1E5", "007", "0.1", "123456789.123456789", "1e22", "4.9e-324"],
        ["red", "blue", "a b", "x#y", "ü", "yes"],
        ["", "NA", "nan", "?", "null", " "],
        ["1_000", "inf", "0x10", "1,5", "'q'", "--", "٣", "1e", "."],
    )
    return draw.choice(draw.choices(pools, [12, 3, 2, 1])[0])


@pytest.mark.filterwarnings("ignore:.*is taken for the header")
@pytest.mark.parametrize("seed", range(150))
def test_the_fast_reader_agrees_with_the_plain_one(seed, file, monkeypatch):
    pytest.importorskip("polars")
    draw = random.Random(seed)
    width, mark = draw.randint(2, 5), draw.choice([",", ";", "\t", "|"])
    pool = ["1", "2.5", "-3e-7"] if seed % 3 == 0 else None
    column = lambda: draw.choice(pool) if pool else fields(draw)
    rows = [[column() for _ in range(width)] for _ in range(draw.randint(1, 8))]
    if seed % 2:
        rows.insert(0, [f"c{j}" for j in range(width)])
    if seed % 11 == 0:
        rows[-1] = rows[-1][:-1]
    end = draw.choice(["\n", "\r\n"])
    text = end.join(mark.join(row) for row in rows) + draw.choice(["", end])
    fast, plain = both(file(text), monkeypatch, delimiter=mark)
    assert fast == plain


def test_the_fast_reader_takes_for_numbers_what_the_plain_one_does():
    pytest.importorskip("polars")
    for field in map("".join, (t for n in (1, 2, 3) for t in itertools.product("09eE+-.", repeat=n))):
        columns = frames._plain_columns(f"{field},1\n2,3\n".encode(), ",", 2, 2)
        assert (columns is not None) == is_number(field), field
        if columns is not None:
            assert columns[0].numbers.tolist() == [float(field), 2]
            assert columns[0].texts.tolist() == [field, "2"]


def test_the_fast_reader_is_used(file, monkeypatch):
    pytest.importorskip("polars")
    monkeypatch.setattr(frames, "table_of", None)
    assert values(read_frame(file("a,b\n1,red\n2.5,NA\n")))[1] == [[1, 2.5], ["red", None]]


FORMS = {
    "plain": b"a,b,y\n1,2.5,x\n3,4,z\n",
    "gz": gzip.compress(b"a,b,y\n1,2.5,x\n3,4,z\n"),
    "utf-8 mark": "\ufeffa,b,y\n1,2.5,x\n3,4,z\n".encode(),
    "utf-16": "a,b,y\n1,2.5,x\n3,4,z\n".encode("utf-16"),
    "utf-32": "a,b,y\n1,2.5,x\n3,4,z\n".encode("utf-32"),
    "semicolons, decimal commas": b"a;b;y\n1;2,5;x\n3;4;z\n",
    "tabs, decimal commas": b"a\tb\ty\n1\t2,5\tx\n3\t4\tz\n",
    "pipes": b"a|b|y\n1|2.5|x\n3|4|z\n",
    "Excel says how": b"sep=;\na;b;y\n1;2.5;x\n3;4;z\n",
    "quotes with spaces": b'a, "b" ,y\n1 , "2.5" ,"x"\n"3",4, z \n',
    "old Mac": b"a,b,y\r1,2.5,x\r3,4,z\r",
    "comments": b"# one\n# 9,9,9,9\na,b,y\n1,2.5,x\n3,4,z\n",
    "ends in delimiters": b"a,b,y,\n1,2.5,x,\n3,4,z,\n",
}


@pytest.mark.filterwarnings("ignore:.*decimal marks")
@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_many_forms(form, file):
    path = file(FORMS[form])
    assert values(read_frame(path))[:2] == (["a", "b", "y"], [[1, 3], [2.5, 4], ["x", "z"]])
    data = load_csv(path)
    assert (data.x.tolist(), data.y.tolist(), data.class_names) == ([[1, 2.5], [3, 4]], [0, 1], ["x", "z"])


def test_columns_of_spaces(file):
    assert load_csv(file("1  2.5 0\n3    4 1\n")).x.tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,é\n1,2\n".encode("latin-1"), {}, "line 1: not a text table in UTF-8: it has the byte e9"),
        (b"a,b\n1,2\n", {"encoding": "utf-9"}, "no encoding is called 'utf-9'"),
        (b"PK\x03\x04", {}, "a workbook or a zip file, not a text table: save it as CSV"),
        (b'a,b\n1,"x\n3,4\n', {}, "line 2: a quote that is not closed"),
        (b'a,b\n1,"x"y\n', {}, "line 2: a quote that is not closed, or text after it"),
        (b"a;b\n1,5;2.5\n", {"decimal": ","}, "'2.5' has a point, where numbers have a decimal comma"),
        (b"a;b\n1;2\n", {"decimal": "_"}, 'the decimal mark is "." or ",", got \'_\''),
        (b"0,1,2,3\n5,3,1,0\n", {}, "the first line, 0,1,2,3, may be a header"),
        (b",0,1,2\n0,3,1,0\n", {}, "the first line, ,0,1,2, may be a header"),
        (b"name,2019\nbob,3\nann,4\n", {}, "the first line, name,2019, may be a header"),
        (b"a,b\nb,a\na,b\n", {}, "its first line says a, b, as other lines do"),
        (b"a,b\n1\n", {}, "line 2: 1 fields, expected 2"),
        (b"a,b\n1,2,3\n4,5,6\n", {}, "header has 2 names, a,b, and each line below 3 fields: name every"),
        (b"a,b,c\n1,2\n4,5\n", {}, "the header has 3 names, a,b,c, and each line below 2 fields"),
        (bz2.compress(b"a,b\n1,2\n"), {}, "not a text table, but packed by bzip2: unpack it, or pack it by"),
        (lzma.compress(b"a,b\n1,2\n"), {}, "not a text table, but packed by xz: unpack it"),
        (b"PAR1\x15\x04", {}, "not a text table, but a Parquet file, which `read_frame` and the commands"),
        (b"1;2,5;3\n", {}, "the first line has ',' and ';': which separates"),
    ],
)
def test_what_cannot_be_read_surely_is_refused(content, options, message, file, monkeypatch):
    errors = both(file(content), monkeypatch, **options)
    assert [message in str(error) for error in errors] == [True, True]
    assert errors[0] == errors[1]


def test_commas_that_may_be_thousands_are_no_decimals(file):
    assert read_frame(file("a;b\n1,500;2\n3,250;4\n")).columns[0].numbers is None


def test_a_decimal_comma_is_said(file):
    with pytest.warns(UserWarning, match="commas are taken for decimal marks"):
        read_frame(file("a;b\n1,5;2\n"))


def test_the_line_of_a_fault_is_that_of_the_file(file):
    frame = read_frame(file('# head\na,b\n\n"1\n2",3\n\nx,4\n'))
    assert "line 4, column 0 (a)" in str(frame.fault(0, 0, "is odd"))
    assert "line 7, column 0 (a): 'x' is odd" in str(frame.fault(1, 0, "is odd"))
    assert "line 7, column 0 (a): 'x' is odd" in str(frame.take(np.array([1])).fault(0, 0, "is odd"))


@pytest.mark.parametrize(
    ("content", "names", "first", "left_out"),
    [
        ('shop,a\n"#1 shop",5.5\nother,6.5\n', ["shop", "a"], ["#1 shop", "other"], 0),
        ("shop,a\n#1 shop,5.5\nother,6.5\nlast,7\n", ["shop", "a"], ["#1 shop", "other", "last"], 0),
        ("# made\nshop,a\nx,1\n#2,5\ny,6\n", ["shop", "a"], ["x", "#2", "y"], 0),
        ("# made\nshop,a\nx,1\n# note\ny,6\n# end\n", ["shop", "a"], ["x", "y"], "2 lines among the rows"),
        ("#1 shop,5.5\nx,1\ny,6\n", None, ["x", "y"], "1 line above the table that begins with #"),
        ('# "made"\n"#",a\n"#9",1\n8,2\n', ["#", "a"], ["#9", "8"], 0),
        ("shop,a\nx,1\n# note\ny,6\n", "line 3: 1 fields, expected 2; if it is a comment", None, 0),
    ],
)
def test_a_row_is_no_comment(content, names, first, left_out, file, monkeypatch):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fast, plain = both(file(content), monkeypatch)
    assert fast == plain
    if first is None:
        assert names in fast
        return
    assert (fast[0], fast[1][0]) == (names, first)
    assert [str(warning.message).count(str(left_out)) for warning in said] == [1, 1] * bool(left_out)


@pytest.mark.parametrize(
    ("first", "rows", "asked", "names", "said"),
    [
        ("2019,2020", "1,2\n3,4\n5,6\n", ["2020"], True, ""),
        ("2019,2020", "1,2\n3,4\n5,6\n", [1], False, "was read as data; --header yes"),
        ("1,2,kind", "1,2,a\n3,4,b\n", ["kind"], True, ""),
        ("1,2,price", "1,2,5\n3,4,6\n", ["2"], True, "is taken for the header; --header no"),
        ("x1,1,2", "1,2,5\n3,4,6\n", [], True, "is taken for the header; --header no"),
        ("1,2,kind", "1.5,2.5,a\n1.5,2.5,b\n1.5,2.5,b\n1.5,2.5,b\n", [], None, "1,2,kind, may be a header"),
        ("5,3,bob", "1,2,ann\n3,4,joe\n", ["1"], False, ""),
        ("5,3,2.5", "1,2,1.5\n3,4,4.5\n", ["1"], False, ""),
        ("NA,3", "1,2\n3,4\n", [], False, ""),
        ("inf,3.5", "1,2\n3,4\n", [], False, ""),
    ],
)
def test_a_first_line_with_numbers(first, rows, asked, names, said, file, monkeypatch):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = both(file(f"{first}\n{rows}"), monkeypatch, asked=asked)
    assert found[0] == found[1]
    if names is None:
        assert said in found[0]
        return
    assert found[0][0] == (first.split(",") if names else None)
    assert len(found[0][1][0]) == rows.count("\n") + (not names)
    assert [said in str(warning.message) for warning in heard] == [True, True] * bool(said)


def test_a_first_row_that_begins_with_a_mark_is_one_if_there_is_no_header(file):
    assert read_frame(file("#1 shop,5.5\nx,1\ny,6\n"), header=False).columns[0].texts[0] == "#1 shop"


# ---- tables of libraries ----

TABLE = {
    "size": [1.5, 2.0, None, 4.0],
    "rooms": [1, 2, 3, 4],
    "color": ["red", None, "blue", "red"],
    "sold": [True, False, True, True],
    "day": ["2024-01-31", "2024-02-01", "2024-02-02", "2023-12-31"],
}


def tables():
    text = "size,rooms,color,sold,day\n1.5,1,red,True,2024-01-31\n2.0,2,,False,2024-02-01\n"
    text += ",3,blue,True,2024-02-02\n4.0,4,red,True,2023-12-31\n"
    yield "dict", lambda file: TABLE
    yield "csv", lambda file: read_frame(file(text))

    def pandas(file):
        found = pytest.importorskip("pandas")
        return found.DataFrame(TABLE).assign(day=lambda t: found.to_datetime(t["day"]))

    def nullable(file):
        table = pandas(file)
        table["color"] = table["color"].astype("category")
        return table.convert_dtypes()

    def objects(file):
        table = nullable(file)
        return {name: table[name].to_numpy(dtype=object) for name in table}

    def polars(file):
        return (
            pytest.importorskip("polars")
            .DataFrame(TABLE)
            .with_columns(day=pytest.importorskip("polars").col("day").str.to_date())
        )

    def arrow(file):
        return pytest.importorskip("pyarrow").Table.from_pydict(TABLE)

    def parquet(file):
        path = file(b"", "t.parquet")
        polars(file).write_parquet(path)
        return read_frame(path)

    def feather(file):
        path = file(b"", "t.feather")
        polars(file).write_ipc(path)
        return read_frame(path)

    yield from (("pandas", pandas), ("nullable", nullable), ("objects", objects))
    yield from (("polars", polars), ("arrow", arrow))
    yield from (("parquet", parquet), ("feather", feather))


@pytest.mark.parametrize(("name", "make"), [*tables()], ids=[name for name, _ in tables()])
def test_tables_of_every_library_are_the_same_features(name, make, file):
    columns = Columns(missing="indicator").fit(as_frame(TABLE))
    assert columns.features == [
        "size", "size is missing", "rooms", "color=(missing)", "color=blue", "color=red", "sold", "day"
    ]  # fmt: skip
    expected = columns.transform(as_frame(TABLE))
    assert np.array_equal(columns.transform(make(file)), expected)
    assert np.array_equal(Columns(missing="indicator").fit(make(file)).transform(make(file)), expected)
    assert expected.dtype == np.float32


def test_parquet_without_polars_names_the_extra(file, monkeypatch):
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[tables\]"'):
        read_frame(file(b"PAR1", "t.parquet"))


def test_rows_that_are_dicts_are_a_table():
    rows = [{"size": 50, "city": "Graz"}, {"city": "Wien", "size": 60.5}, {"city": "Linz"}]
    frame = as_frame(rows)
    assert frame.names == ["size", "city"]
    assert frame.columns[0].missing.tolist() == [False, False, True]
    assert frame.columns[0].numbers[:2].tolist() == [50, 60.5]
    assert frame.columns[1].texts.tolist() == ["Graz", "Wien", "Linz"]


def test_a_damaged_parquet_file_is_one_line(file):
    pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"t\.parquet: not a Parquet or Feather file"):
        read_frame(file(b"PAR1 and more", "t.parquet"))


def test_arrays_and_frames_without_names_go_by_place():
    x = np.float32([[1, 2], [3, 4], [5, 9]])
    columns = Columns().fit(x)
    assert np.allclose(columns.transform(x), (x - x.mean(0)) / x.std(0))
    pandas = pytest.importorskip("pandas")
    assert as_frame(pandas.DataFrame(x)).names is None
    masked = np.ma.masked_array(x, mask=[[0, 1], [0, 0], [0, 0]])
    assert as_frame(masked).columns[1].missing.tolist() == [True, False, False]
    with pytest.raises(ValueError, match=r"got an array of shape \(3,\)"):
        as_frame(x[:, 0])
    with pytest.raises(ValueError, match="several lengths: a 1, b 2"):
        as_frame({"a": [1], "b": [1, 2]})


def test_a_gzip_file_that_is_no_text_is_refused(file, monkeypatch):
    monkeypatch.setattr("xpnet.data.decoding.SMALL", 1000)
    with pytest.raises(ValueError, match=r"t\.csv: .*it unpacks to more than \d+ bytes"):
        read_frame(file(gzip.compress(b"1,2\n" * 1_000_000)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(120))
def test_load_csv_gives_the_same_by_either_reader(seed, file, monkeypatch):
    pytest.importorskip("polars")
    draw = random.Random(seed)
    kinds = (["1", "0", "2.0"], ["1", "2.5", "1e-3"], ["red", "blue", "a b"], ["9007199254740993", "1"])
    odd = ["NA", "", "inf", "1e40", "2024-01-31", "0.99999999999999999999", "$3", "1_0"]
    goal = draw.choice(kinds)
    field = lambda pool: draw.choice(odd) if draw.random() < 0.02 else draw.choice(pool)
    rows = [
        [draw.choice(["1", "-2.5", "3e4", "007"]), f"{i}.5", field(goal)] for i in range(draw.randint(1, 9))
    ]
    names = draw.choice([["a", "b", "y"], ["", "b", "y"], ["y", "b", "y"], None])
    path = file("\n".join(map(",".join, [*([names] if names else []), *rows])))
    options = {"target": draw.choice([-1, 2, "y", 5]), "classes": draw.choice([None, True, False])}

    def result():
        try:
            data = load_csv(path, **options)
        except ValueError as error:
            return str(error)
        return data.x.tolist(), data.y.tolist(), str(data.y.dtype), data.class_names

    fast = result()
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    assert fast == result()


@pytest.mark.parametrize("form", ["frame", "parquet", "feather"])
@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (lambda pd: pd.Index(["u", "v", "w"], name="city"), ["u", "v", "w"]),
        (lambda pd: pd.RangeIndex(10, 40, 10, name="city"), ["10", "20", "30"]),
        (lambda pd: pd.Index([5, 3, 9]), None),
        (lambda pd: pd.RangeIndex(3), None),
    ],
    ids=["texts", "range", "unnamed", "usual"],
)
def test_an_index_of_pandas_is_a_column_if_it_has_a_name(form, make, kept, tmp_path, recwarn):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("polars")
    feather = pytest.importorskip("pyarrow.feather")
    table, path = pd.DataFrame({"x": [1.5, 2.5, 3.5]}, index=make(pd)), tmp_path / f"t.{form}"
    if form == "parquet":
        table.to_parquet(path)
    elif form == "feather":
        feather.write_feather(table, path)
    frame = as_frame(table) if form == "frame" else read_frame(path)
    assert frame.names == (["x"] if kept is None else ["x", "city"])
    if kept is not None:
        assert frame.columns[1].texts.tolist() == kept
    unnamed = form != "frame" and not isinstance(table.index, pd.RangeIndex) and kept is None
    assert ["has no name, and is left out" in str(w.message) for w in recwarn] == [True] * unnamed


def test_two_levels_of_an_index_are_two_columns_but_not_twice():
    pd = pytest.importorskip("pandas")
    index = pd.MultiIndex.from_tuples([("u", 2019), ("v", 2020)], names=["city", "year"])
    frame = as_frame(pd.DataFrame({"x": [1.5, 2.5], "year": [1, 2]}, index=index))
    assert frame.names == ["x", "year", "city"]
    assert frame.columns[1].numbers.tolist() == [1, 2]
