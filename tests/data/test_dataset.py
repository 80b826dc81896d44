from __future__ import annotations

import gzip
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_breast_cancer
from statsmodels.datasets import fair, modechoice

from causalmix.data.cells import all_whole
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset, load_datasets
from causalmix.data.splitting import allocate, low_data_split
from causalmix.errors import CausalMixError, DataError, UnknownNameError

IRIS_HASH = "f82bbc6f1a7fbfaf46a9e41171b7350b86d509d644a0aa3dd355544b6ffd6ab4"


def write(folder, text, name="table.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def table_of(counts):
    """Make a dataset with so many rows of each class and a feature that numbers the rows."""
    y = np.repeat([f"class {i}" for i in range(len(counts))], counts)
    order = np.random.default_rng(0).permutation(len(y))
    X = pd.DataFrame({"row": np.arange(len(y)) + 0.5})
    categories = [f"class {i}" for i in range(len(counts))]
    return TabularDataset("t", X, pd.Series(pd.Categorical(y[order], categories), name="y"), "-")


# Embedded tables ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "n_classes", "categorical"),
    [
        ("anes96", (944, 9), 2, ("PID", "educ")),
        ("breast_cancer", (569, 30), 2, ()),
        ("digits", (1797, 61), 10, ()),
        ("fair", (6366, 8), 2, ("occupation", "occupation_husb")),
        ("iris", (150, 4), 3, ()),
        ("modechoice", (210, 17), 4, ()),
        ("randhie", (20190, 7), 4, ("idp",)),
        ("wine", (178, 13), 3, ()),
    ],
)
def test_embedded_tables(name, shape, n_classes, categorical):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load_dataset(name)
    assert dataset.X.shape == shape
    assert dataset.n_classes == n_classes
    assert dataset.categorical == categorical
    assert dataset.name == name
    assert ";" in dataset.provenance  # origin; licence
    assert dataset.X.notna().all(axis=None)


def test_every_embedded_name_loads():
    assert dataset_names() == sorted(
        ["anes96", "breast_cancer", "digits", "fair", "iris", "modechoice", "randhie", "wine"]
    )


def test_class_names_stand_for_the_right_rows():
    raw = load_breast_cancer()
    y = load_dataset("breast_cancer").y
    assert ((y == "benign") == (raw.target == 1)).all()

    raw = fair.load_pandas().data
    assert ((load_dataset("fair").y == "yes") == (raw["affairs"] > 0)).all()

    raw = modechoice.load_pandas().data
    chosen = raw[raw["choice"] == 1].reset_index(drop=True)
    dataset = load_dataset("modechoice")
    assert (
        dataset.y.astype(str) == chosen["mode"].map({1: "air", 2: "train", 3: "bus", 4: "car"})
    ).all()
    in_train = dataset.y == "train"
    assert (dataset.X["invc_train"][in_train] == chosen["invc"][in_train]).all()


def test_another_target_of_an_embedded_table():
    dataset = load_dataset("anes96", target="PID")
    assert dataset.class_names[0] == "strong Democrat"
    assert dataset.n_classes == 7
    assert "vote" in dataset.categorical


def test_unknown_names_give_the_nearest_and_the_other_forms():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'iris'.*\.parquet.*openml:<id"):
        load_dataset("irs")


# The dataset type --------------------------------------------------------------------------


def test_from_frame_take_and_frame():
    frame = pd.DataFrame(
        {"a": [1.5, 2.5, np.nan, 4.5], "b": list("xyyx"), "kind": ["u", "v", "u", "v"]}
    )
    dataset = TabularDataset.from_frame(frame, "kind", name="small")
    part = dataset.take([3, 3])
    assert part.X["a"].tolist() == [4.5, 4.5]
    assert part.X.index.tolist() == [0, 1]
    assert part.class_names == ("u", "v")
    assert part.X["b"].cat.categories.tolist() == ["x", "y"]
    assert list(dataset.frame()) == ["a", "b", "kind"]
    assert repr(dataset) == "TabularDataset('small': 4 rows, 2 features (1 categorical), 2 classes)"


def test_frame_keeps_a_feature_that_is_named_as_the_target():
    dataset = TabularDataset(
        "t", pd.DataFrame({"y": [1, 2]}), pd.Series(["a", "b"], name="y", dtype="category"), "-"
    )
    assert list(dataset.frame()) == ["y", "y_"]


def test_summary():
    frame = pd.DataFrame(
        {"a": [1.5, 2.5, np.nan, 4.5], "b": list("xyyy"), "kind": ["u", "v", "u", "v"]}
    )
    summary = TabularDataset.from_frame(frame, "kind").summary().set_index("column")
    assert summary["type"].to_dict() == {"a": "number", "b": "category", "kind": "target"}
    assert summary["missing"].to_dict() == {"a": 0.25, "b": 0, "kind": 0}
    assert summary["values"].to_dict() == {"a": "1.5 to 4.5", "b": "y, x", "kind": "u, v"}


@pytest.mark.parametrize(
    ("X", "y"),
    [
        ({"a": [1, 2, 3]}, ["u", "v"]),
        ({"a": np.array([1, 2], dtype=np.int32)}, ["u", "v"]),
        ({"a": ["text", "more"]}, ["u", "v"]),
        ({"a": pd.Categorical([1, 2])}, ["u", "v"]),
        ({"a": [1, 2]}, ["u", None]),
    ],
)
def test_wrong_parts_are_refused(X, y):
    with pytest.raises(DataError):
        TabularDataset("t", pd.DataFrame(X), pd.Series(y, dtype="category"), "-")


def test_integer_classes_are_refused():
    y = pd.Series([0, 1], dtype="category")
    with pytest.raises(DataError, match="from_frame"):
        TabularDataset("t", pd.DataFrame({"a": [1, 2]}), y, "-")


def test_content_hash_is_the_same_everywhere():
    assert load_dataset("iris").content_hash == IRIS_HASH


def test_content_hash_tells_contents_apart():
    X = pd.DataFrame({"a": [1.0, np.nan], "b": pd.Categorical(["x", "y"])})
    y = pd.Series(["u", "v"], name="y", dtype="category")
    base = TabularDataset("t", X, y, "-")
    same = TabularDataset("other", X.set_axis([7, 8]), y.set_axis([7, 8]), "elsewhere")
    assert same.content_hash == base.content_hash

    others = [
        (X.assign(a=[2.0, np.nan]), y),
        (X.assign(a=[1.0, 0.0]), y),
        (X.assign(a=[1, 2]), y),
        (X[["b", "a"]], y),
        (X.rename(columns={"a": "c"}), y),
        (X.assign(b=X["b"].cat.add_categories("z")), y),
        (X.assign(b=X["b"].cat.rename_categories({"x": "w"})), y),
        (X.iloc[::-1], y),
        (X, y.iloc[::-1]),
        (X, y.rename("z")),
    ]
    hashes = {TabularDataset("t", *parts, "-").content_hash for parts in others}
    assert len(hashes | {base.content_hash}) == len(others) + 1


# Files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("size,colour,target\n1.5,réd,u\n2.5,blue,v\n?,blue,u\n", "utf-8"),
        ("size,colour,target\n1.5,réd,u\n2.5,blue,v\n?,blue,u\n", "utf-8-sig"),
        ("size;colour;TARGET\n1,5;réd;u\n2,5;blue;v\n;blue;u\n", "utf-8"),
        ("size\tcolour\tTarget\r\n1.5\tréd\tu\r\n2.5\tblue\tv\r\nNA\tblue\tu\r\n", "utf-8"),
        ('size, "colour", target\n1.5, "réd", u\n\n2.5, blue, v\n, blue, u', "utf-8"),
    ],
)
def test_csv_dialects(tmp_path, text, encoding):
    dataset = load_dataset(write(tmp_path, text, encoding=encoding))
    assert dataset.X["size"].tolist()[:2] == [1.5, 2.5]
    assert dataset.X["size"].isna().tolist() == [False, False, True]
    assert dataset.X["colour"].tolist() == ["réd", "blue", "blue"]
    assert dataset.y.tolist() == ["u", "v", "u"]
    assert dataset.provenance == "file table.csv; licence not stated"


def test_csv_with_quoted_separators_and_line_breaks(tmp_path):
    text = 'a,b,target\n"1,200","x, y",u\n"3,400","two\nlines",v\n5.5,"x, y",u\n'
    dataset = load_dataset(write(tmp_path, text))
    assert dataset.X["a"].tolist() == [1200.0, 3400.0, 5.5]
    assert dataset.X["b"].tolist() == ["x, y", "two\nlines", "x, y"]


def test_csv_written_by_pandas_loses_its_index_with_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=30), "target": rng.choice(["u", "v"], 30)})
    frame.to_csv(tmp_path / "table.csv")
    with pytest.warns(UserWarning, match="'Unnamed: 0'"):
        dataset = load_dataset(tmp_path / "table.csv")
    assert list(dataset.X) == ["x"]
    np.testing.assert_array_equal(dataset.X["x"], frame["x"])


def test_csv_and_parquet_without_categories_agree(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "real": rng.normal(size=40),
            "count": rng.poisson(20, 40),
            "flag": rng.integers(0, 2, 40),
            "text": rng.choice(["p", "q", None], 40),
            "target": rng.choice(["u", "v"], 40),
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet")
    a, b = load_dataset(tmp_path / "a.csv"), load_dataset(tmp_path / "b.parquet")
    assert a.categorical == ("flag", "text")
    assert a.content_hash == b.content_hash


def test_parquet_with_categories_states_its_types(tmp_path):
    frame = pd.DataFrame(
        {
            3: [0, 1, 1, 0],
            "size": pd.Categorical(list("abba")),
            "stage": pd.Categorical([1, 3, 2, 2]),
            "target": [True, False, True, True],
        }
    )
    frame.columns = frame.columns.astype(str)
    frame.to_parquet(tmp_path / "table.parquet")
    dataset = load_dataset(str(tmp_path / "table.parquet"))
    assert dataset.categorical == ("size", "stage")
    assert dataset.class_names == ("False", "True")


def test_named_index_of_a_parquet_file_is_a_column(tmp_path):
    frame = pd.DataFrame({"x": [1.5, 2.5, 3.5], "target": list("uvu")}, index=list("ppq"))
    frame.rename_axis("place").to_parquet(tmp_path / "table.parquet")
    assert load_dataset(tmp_path / "table.parquet").categorical == ("place",)


def test_lines_that_end_in_carriage_returns_alone(tmp_path):
    dataset = load_dataset(write(tmp_path, "a,target\r1.5,x\r2.5,y\r0.5,x\r"))
    assert dataset.X["a"].tolist() == [1.5, 2.5, 0.5]
    assert dataset.y.tolist() == ["x", "y", "x"]


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
def test_the_separator_that_excel_states(tmp_path, first):
    dataset = load_dataset(write(tmp_path, first + "a;b;target\n1,5;2,3;x\n2,5;x;y\n3,5;x;y\n"))
    assert dataset.X["a"].tolist() == [1.5, 2.5, 3.5]
    assert dataset.categorical == ("b",)
    with pytest.raises(DataError, match="line 3: 2 cells, but the header has 3"):
        load_dataset(write(tmp_path, first + "a;b;target\n1,5;2\n"))


def test_a_cell_that_is_too_long_is_named_by_line_and_column(tmp_path):
    long = "x" * 140_000
    with pytest.raises(DataError, match=r"table\.csv, line 3, column 'b': a cell of 140000 "):
        load_dataset(write(tmp_path, f"a,b,target\n1.5,u,x\n2.5,{long},y\n"))
    unclosed = 'a,b,target\n1.5,"u,x\n' + "2.5,v,y\n" * 20_000
    with pytest.raises(DataError, match=r"line 20002, column 'b': .* opened and not closed"):
        load_dataset(write(tmp_path, unclosed))


def test_numbers_that_cannot_be_computed_with_are_named_by_line(tmp_path):
    with pytest.raises(DataError, match=r"'a' holds 1e\+200 \(line 4\)"):
        load_dataset(write(tmp_path, "a,target\n1.5,u\n\n1e200,v\n2.5,v\n"))


def test_decimal_commas_between_tabs(tmp_path):
    path = write(tmp_path, "a\tb\ttarget\n1,5\t1,234\tu\n2,25\t2,345\tv\n", "table.tsv")
    with pytest.warns(UserWarning, match="'b' .*'1,234' as 1.234"):
        dataset = load_dataset(path)
    assert dataset.X["a"].tolist() == [1.5, 2.25]
    assert dataset.X["b"].tolist() == [1.234, 2.345]


@pytest.mark.filterwarnings("ignore:table")
def test_points_between_commas_are_decimal_whatever_commas_are_quoted(tmp_path):
    """Answers that were ticked, 1 and 3, do not make thousandths of incomes."""
    rows = """1,445",1.3,"1,3",u\n962,2.3,2,v\n"2,116",3.3,"1,2",u\n"""
    dataset = load_dataset(write(tmp_path, "income,bmi,ticked,target\n" + 4 * f'"{rows}'))
    assert dataset.X["income"].tolist() == [1445, 962, 2116] * 4
    assert dataset.X["bmi"].tolist() == [1.3, 2.3, 3.3] * 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"a,target\n1,x\n", mtime=0), "compressed by gzip"),
        (b"PK\x03\x04\xff", "Excel workbook"),
        (b"PAR1\xff", "a Parquet file"),
        ("a,target\n1,x\n".encode("utf-16-le"), "UTF-16LE"),
        ("a,target\n1,x\n".encode("utf-16-be"), "UTF-16BE"),
        ("a,target\n1,x\n".encode("utf-32"), "UTF-32"),
        (b"a,target\n1,x\n2\x00,y\n", "line 3: there is a null byte"),
        (b"a,target\n1,x\n2,y\na,target\n3,x\n", "line 4 is the header again"),
        (b"a,Target,TARGET\n1,x,y\n", "say which column is the target"),
    ],
)
def test_files_that_are_no_table_say_what_they_are(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(path)


def test_lines_of_blanks_invisible_characters_and_the_end_of_a_dos_file(tmp_path):
    text = "\u200ba,Target,target\u00a0\r\n1.5,u,x\r\n   \r\n2.5,v,y\r\n3.5,v,y\r\n\x1a"
    dataset = load_dataset(write(tmp_path, text))
    assert list(dataset.X) == ["a", "Target"]
    assert list(dataset.y) == ["x", "y", "y"]


@pytest.mark.parametrize(
    ("other", "value"), [("0,5", [1234, 2345]), ("0.5", [1.234, 2.345]), ("u", [1234, 2345])]
)
def test_points_between_semicolons_are_what_the_file_shows(tmp_path, other, value):
    rows = "".join(
        f"{cell};{other};{'xy'[i % 2]}\n" for i, cell in enumerate(["1.234", "2.345"] * 9)
    )
    dataset = load_dataset(write(tmp_path, "a;b;target\n" + rows), numeric=["a"])
    assert list(dataset.X["a"]) == value * 9


def test_a_path_that_no_system_takes():
    with pytest.raises(DataError, match="There is no file"):
        load_dataset("a" * 5000 + ".csv")


def test_a_class_that_is_a_missing_marker_is_named(tmp_path):
    text = "a,target\n" + "".join(f"{i}.5,{'EU' if i % 2 else 'NA'}\n" for i in range(6))
    with pytest.raises(DataError, match=r"only the class EU;.*3 of the cells are 'NA'.*line 2\)"):
        load_dataset(write(tmp_path, text))
    with pytest.warns(UserWarning, match=r"3 rows without .*are 'NA', the first line 2\)"):
        dataset = load_dataset(write(tmp_path, text + "7.5,US\n"))
    assert dataset.class_names == ("EU", "US")


def test_labels_beyond_2_53_are_kept_apart(tmp_path):
    labels = [2**53, 2**53 + 1, None, 2**53 + 1]
    frame = pd.DataFrame({"a": [1.5, 2.5, 3.5, 4.5], "target": pd.array(labels, "Int64")})
    frame.to_parquet(tmp_path / "table.parquet")
    frame.to_csv(tmp_path / "table.csv", index=False)
    for name in ("table.parquet", "table.csv"):
        with pytest.warns(UserWarning, match="Dropped 1 row"):
            dataset = load_dataset(tmp_path / name)
        assert dataset.y.tolist() == [str(labels[i]) for i in (0, 1, 3)]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_dates_of_parquet_beyond_nanoseconds(tmp_path, unit):
    until = np.array(["2024-01-01", "9999-12-31", "2024-01-03"], f"M8[{unit}]")
    pd.DataFrame({"until": until, "target": list("uvu")}).to_parquet(tmp_path / "t.parquet")
    with pytest.warns(UserWarning, match="Converted dates"):
        dataset = load_dataset(tmp_path / "t.parquet")
    assert dataset.X["until"].tolist() == [19723, 2932896, 19725]


def test_a_table_as_a_hospital_keeps_it(shared_data):
    path = shared_data.parent / "cases" / "patients.csv"
    if not path.is_file():
        pytest.skip("the measuring cases are not beside this checkout")
    raw = pd.read_csv(path)
    with pytest.warns(UserWarning, match="^patients: ") as caught:
        dataset = load_dataset(path, target="discharge")
    odd = [str(each.message) for each in caught if "odd cells" in str(each.message)]
    assert odd == [
        "patients: Read odd cells of columns of numbers or dates: 'crp_mg_l' ('<5' as 5 in 71 "
        "cells), 'weight_kg' ('n.a.' as missing in 10 cells)."
    ]
    crp = raw["crp_mg_l"].str.replace("<", "").astype(float)
    np.testing.assert_array_equal(dataset.X["crp_mg_l"], crp)
    assert dataset.X["weight_kg"].dtype == np.float64
    for name, form in (("admitted", "%d.%m.%Y"), ("last_seen", "%Y-%m-%d")):
        days = (pd.to_datetime(raw[name], format=form) - pd.Timestamp("1970-01-01")).dt.days
        np.testing.assert_array_equal(dataset.X[name], days)
    assert dataset.categorical == ("sex", "ward", "smoker")


def test_rows_without_a_target_are_dropped_with_a_warning(tmp_path):
    path = write(tmp_path, "x,target\n1.5,u\n2.5,\n3.5,?\n4.5,v\n")
    with pytest.warns(UserWarning, match="Dropped 2 rows without a value of the target 'target'"):
        dataset = load_dataset(path)
    assert dataset.X["x"].tolist() == [1.5, 4.5]
    assert dataset.X.index.tolist() == [0, 1]


HOSTILE = "<script>alert(1)</script>"


def test_columns_that_are_dropped_on_request(tmp_path):
    path = write(
        tmp_path, "a,b,id,target\n" + "".join(f"{i}.5,{i % 7},x{i},{i % 2}\n" for i in range(30))
    )
    assert list(load_dataset(path, drop=["id", "b"]).X) == ["a"]
    for name, message in (
        ("bb", r"Unknown column in drop= 'bb'\. Did you mean 'b'\?"),
        ("target", r"^The target 'target' must stay; take it out of drop=\.$"),
    ):
        with pytest.raises(CausalMixError, match=message):
            load_dataset(path, drop=[name])
    with pytest.raises(DataError, match=r"^Both categorical= and drop= name 'b': choose one\.$"):
        load_dataset(path, drop=["b"], categorical=["b"])
    with pytest.raises(DataError, match=r"drop='b' must be a list"):
        load_dataset(path, drop="b")


def test_what_is_said_of_columns_goes_to_the_tables_that_have_them(tmp_path):
    rows = "".join(f"{i},{i % 7},{i % 2}\n" for i in range(30))
    path = write(tmp_path, "a,b,kind\n" + rows)
    iris, own = load_datasets(["iris", path], target="kind", drop=["a"], categorical=["b"])
    assert iris.content_hash == load_dataset("iris").content_hash
    assert list(own.X) == ["b"]
    assert own.categorical == ("b",)
    with pytest.raises(UnknownNameError, match="Unknown column in numeric= 'c'"):
        load_datasets(["iris", path], target="kind", numeric=["c"])
    with pytest.raises(DataError, match="say which column is the target"):
        load_datasets(["iris", path])


def test_dates_are_described_as_dates(tmp_path):
    rows = "".join(f"2024-01-{day:02},{day % 2}\n" for day in range(1, 29))
    with pytest.warns(UserWarning, match="Converted dates"):
        table = load_dataset(write(tmp_path, "day,target\n" + rows))
    assert table.take(range(9)).summary()["values"][0] == "2024-01-01 to 2024-01-09"
    assert list(table.summary()["type"]) == ["date", "target"]


def test_a_table_shows_itself_in_notebooks_and_names_are_no_markup():
    frame = pd.DataFrame({f"x{i}": [1.5, 2.5, np.nan] for i in range(25)})
    frame = frame.assign(**{HOSTILE: [0.1, 0.2, 0.3]})[[HOSTILE, *frame]]
    frame["kind"] = ["a", HOSTILE, "a"]
    table = TabularDataset.from_frame(frame, "kind", name=HOSTILE, provenance=HOSTILE)
    html = table._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4  # name, column, class, provenance
    assert "3 rows, 26 features (0 categorical), 2 classes" in html
    assert "33%" in html
    assert "and 7 more" in html
    assert repr(table).startswith("TabularDataset(")


def test_one_warning_names_all_constant_columns(tmp_path):
    path = write(tmp_path, "x,one,none,target\n1.5,7,,u\n2.5,7,?,v\n")
    with pytest.warns(UserWarning, match="'one', 'none'") as caught:
        load_dataset(path)
    assert len(caught) == 1
    assert caught[0].filename == __file__


BAD_CSV = {
    "empty": ("", "is empty"),
    "header only": ("a,target\n", "no rows"),
    "ragged long": ("a,target\n1,u\n2,v,3\n", "line 3: 3 cells, but the header has 2"),
    "ragged short": ("a,b,target\n1,2,u\n2,v\n", "line 3: 2 cells, but the header has 3"),
    "duplicate names": ("a,b,a,target\n1,2,3,u\n", "more than one column named 'a'"),
    "no target": ("a,b\n1,2\n2,3\n", r"target=.*Columns: 'a', 'b'"),
    "one class": ("a,target\n1.5,u\n2.5,u\n", "only the class u"),
    "no class": ("a,target\n1.5,\n2.5,?\n", "has no values"),
    "only target": ("target\nu\nv\n", "no column besides"),
    "infinite": ("a,b,target\ninf,1.5,u\n2,2.5,v\n", "Infinite values in 'a'"),
    "dates": ("a,target\n1.5,2024-01-01\n2.5,2024-01-02\n", "holds dates"),
    "fractions": ("a,target\n" + "".join(f"{i}.5,{i}.25\n" for i in range(20)), "Regression"),
    "counts": ("a,target\n" + "".join(f"{i}.5,{i}\n" for i in range(40)), "40 distinct values"),
    "names": ("a,target\n" + "".join(f"{i}.5,p{i}\n" for i in range(40)), "no class"),
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_dataset(write(tmp_path, text))


def test_numeric_classes_can_be_declared(tmp_path):
    text = "a,target\n" + "".join(f"{i}.5,{i % 20}.25\n" for i in range(60))
    assert load_dataset(write(tmp_path, text), categorical=["target"]).n_classes == 20
    with pytest.raises(DataError, match="'target' must be classes"):
        load_dataset(write(tmp_path, text), numeric=["target"])
    with pytest.raises(DataError, match=r"\['a'\]"):
        load_dataset(write(tmp_path, text), categorical="a")


def test_few_numbers_are_classes(tmp_path):
    path = write(tmp_path, "a,risk\n1.5,0\n2.5,0.5\n3.5,1\n4.5,10\n")
    assert load_dataset(path, target="risk").class_names == ("0", "0.5", "1", "10")


def test_missing_target_gives_the_nearest_names(tmp_path):
    path = write(tmp_path, "age,outcome\n1.5,u\n2.5,v\n")
    with pytest.raises(UnknownNameError, match=r"target column 'outcom'.*Did you mean 'outcome'"):
        load_dataset(path, target="outcom")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("cp1252", r"byte 0xe9 at position 18 \(line 2\).*iconv -f WINDOWS-1252"),
        ("utf-16", "iconv -f UTF-16"),
    ],
)
def test_other_encodings_are_named(tmp_path, encoding, message):
    path = write(tmp_path, "colour,target\n1.5,é\n2.5,b\n", encoding=encoding)
    with pytest.raises(DataError, match=message):
        load_dataset(path)


def test_files_that_cannot_be_read(tmp_path):
    write(tmp_path, "a,target\n", "data.csv")
    with pytest.raises(DataError, match=r"no file .*dta\.csv\. Did you mean 'data\.csv'"):
        load_dataset(tmp_path / "dta.csv")
    with pytest.raises(DataError, match="is a folder"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"type '\.xlsx'.*\.csv"):
        load_dataset(write(tmp_path, "x", "data.xlsx"))
    with pytest.raises(DataError, match="not a readable Parquet file"):
        load_dataset(write(tmp_path, "PAR1 not at all PAR1", "data.parquet"))
    with pytest.raises(DataError, match="not a readable Parquet file"):
        load_dataset(write(tmp_path, "", "empty.parquet"))


def test_parquet_with_bad_columns(tmp_path):
    target = pa.array(["u", "v"])
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_arrays([target, target], names=["a", "a"]), path)
    with pytest.raises(DataError, match="more than one column named 'a'"):
        load_dataset(path, target="a")
    pq.write_table(pa.table({"a": [[1, 2], [3]], "b": [1.5, 2.5], "target": target}), path)
    with pytest.raises(DataError, match="Column 'a' holds"):
        load_dataset(path)


def test_from_frame_with_bad_column_names():
    frame = pd.DataFrame([[1.5, 2.5, "u"], [2.5, 1.5, "v"]], columns=[1, "1", "y"])
    with pytest.raises(DataError, match="more than one column named '1'"):
        TabularDataset.from_frame(frame, "y")
    dataset = TabularDataset.from_frame(frame.set_axis([1, 2, "y"], axis=1), "y")
    assert list(dataset.X) == ["1", "2"]


# The measuring datasets --------------------------------------------------------------------


def test_measuring_datasets_have_their_published_types(shared_data):
    index = pd.read_csv(shared_data / "classification" / "datasets.csv")
    assert len(index) == 41
    for row in index.itertuples():
        path = shared_data / "classification" / row.suite / f"{row.name}.parquet"
        raw = pd.read_parquet(path)
        varied = [c for c in raw.columns[:-1] if raw[c].nunique() > 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load_dataset(path)
        assert dataset.n_rows == row.rows, row.name
        assert dataset.n_classes == row.classes, row.name
        assert list(dataset.X) == varied, row.name
        stated = raw[varied].select_dtypes("category").columns
        assert dataset.categorical == tuple(stated), row.name
        n_constant = len(raw.columns) - 1 - len(varied)
        assert row.categorical_features - len(stated) in (0, n_constant), row.name


def test_csuite_tables(shared_data):
    folders = sorted(path.parent for path in (shared_data / "csuite").glob("*/train.parquet"))
    assert len(folders) == 6
    for folder in folders:
        raw = pd.read_parquet(folder / "train.parquet")
        classes = raw.select_dtypes("category").columns
        target = classes[0] if len(classes) else raw.columns[0]
        if len(classes) == 0 and raw[target].nunique() > 30:
            with pytest.raises(DataError, match="Regression"):
                load_dataset(folder / "train.parquet", target=target)
            continue
        dataset = load_dataset(folder / "train.parquet", target=target)
        assert dataset.n_rows == len(raw)
        assert dataset.categorical == tuple(classes[classes != target])


# Splits ------------------------------------------------------------------------------------


def random_splits(n_cases):
    """Draw class counts and sizes that leave a test row and fit every class."""
    rng = np.random.default_rng(1)
    while n_cases:
        counts = 1 + rng.geometric(1 / rng.uniform(2, 60), size=rng.integers(2, 12))
        k, n = len(counts), counts.sum()
        if n < 2 * k + 1:
            continue
        n_train = int(rng.integers(k, n - k))
        n_val = int(rng.integers(k, n - n_train)) if k < n - n_train else k
        if n_train + n_val < n:
            n_cases -= 1
            yield counts, n_train, n_val, int(rng.integers(1000))


def test_splits_are_exact_disjoint_and_stratified():
    for counts, n_train, n_val, seed in random_splits(300):
        dataset = table_of(counts)
        split = low_data_split(dataset, n_train, n_val, seed)
        parts = (split.train, split.val, split.test)
        assert [p.n_rows for p in parts] == [n_train, n_val, dataset.n_rows - n_train - n_val]
        rows = np.concatenate([p.X["row"] for p in parts])
        assert sorted(rows) == dataset.X["row"].tolist()

        train, val, _ = (np.bincount(p.y.cat.codes, minlength=len(counts)) for p in parts)
        assert (train >= 1).all()
        assert (val >= 1).all()
        # Proportions hold to within a row in every class if no bound can have mattered.
        quota = n_train * counts / counts.sum()
        if quota.min() >= 1 and (quota <= counts - 2).all():
            assert (np.abs(train - quota) < 1).all()


def test_rows_keep_their_class_and_features():
    dataset = load_dataset("iris")
    split = low_data_split(dataset, 30, 30, seed=3)
    whole = dataset.frame().value_counts().to_dict()
    for part in (split.train, split.val, split.test):
        assert all(whole[row] >= n for row, n in part.frame().value_counts().items())
        assert part.y.value_counts().to_dict() == {c: part.n_rows // 3 for c in part.class_names}


def test_splits_follow_the_seed():
    dataset = load_dataset("wine")
    a, b, c = (low_data_split(dataset, 20, 20, seed).train.content_hash for seed in (0, 0, 1))
    assert a == b != c


def test_allocation_is_that_of_largest_remainders():
    counts = np.array([47, 16, 16, 21])  # quotas 4.7, 1.6, 1.6, 2.1
    free = np.zeros(4, dtype=int), counts
    assert allocate(10, counts, *free).tolist() in ([5, 2, 1, 2], [5, 1, 2, 2])
    assert allocate(10, np.array([80, 20]), np.zeros(2, int), counts[:2]).tolist() == [8, 2]
    # Two classes pushed up to a row of their own take it from the class most above its quota.
    bounded = allocate(10, np.array([970, 15, 15]), np.ones(3, int), np.array([970, 15, 15]))
    assert bounded.tolist() == [8, 1, 1]


def test_test_part_of_a_given_size_is_stratified():
    split = low_data_split(table_of([100, 60, 40]), 20, 20, seed=0, n_test=50)
    assert np.bincount(split.test.y.cat.codes).tolist() == [25, 15, 10]


def test_a_class_with_one_row_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"one row only of 'class 1' in the target .* merge it"):
        low_data_split(table_of([50, 1, 30]), 10, 10, seed=0)


def test_a_small_validation_set_lacks_the_rarest_classes_with_a_warning():
    with pytest.warns(UserWarning, match="n_val=2 is too small.*'class 2'"):
        split = low_data_split(table_of([50, 40, 10]), 10, 2, seed=0)
    assert set(split.val.y) == {"class 0", "class 1"}


def test_splits_of_a_subset_that_lacks_a_class():
    dataset = table_of([20, 20, 20])
    part = dataset.take(np.flatnonzero(dataset.y != "class 1"))
    split = low_data_split(part, 4, 4, seed=0)
    assert split.train.y.value_counts().to_dict() == {"class 0": 2, "class 2": 2, "class 1": 0}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 5), "n_train must be a positive whole number, not 0"),
        ((5, -1), "n_val must be a positive whole number, not -1"),
        ((5.0, 5), "not 5.0"),
        ((True, 5), "not True"),
        ((5, 5, 0, 0), "n_test must be a positive"),
        ((30, 30), "leave none of 60 rows"),
        ((50, 30), "leave none of 60 rows"),
        ((2, 10), "n_train=2 is smaller than the number of classes, 3"),
    ],
)
def test_impossible_sizes(sizes, message):
    n_train, n_val, seed, n_test = (*sizes, 0, None)[:4] if len(sizes) == 2 else sizes
    with pytest.raises(DataError, match=message):
        low_data_split(table_of([20, 20, 20]), n_train, n_val, seed, n_test)


def test_fewer_test_rows_than_asked_for_are_taken_as_they_are():
    split = low_data_split(table_of([20, 20, 20]), 20, 20, seed=0, n_test=21)
    assert split.test.n_rows == 20


def test_errors_are_of_one_family():
    assert issubclass(DataError, CausalMixError)
    with pytest.raises(CausalMixError):
        load_dataset("no such thing")


@pytest.mark.filterwarnings("error")
def test_infinite_classes_are_read_without_a_warning_of_numpy():
    frame = pd.DataFrame({"a": np.arange(20.0) % 7, "b": np.arange(20.0) ** 0.5})
    target = pd.Series([0.0, 1.0, np.inf, -np.inf] * 5)
    with pytest.raises(DataError, match=r"'target' holds infinite values"):
        TabularDataset.from_frame(frame.assign(target=target), "target", name="t")
    for dtype in (object, str):  # names, as any text is
        made = TabularDataset.from_frame(frame.assign(target=target.astype(dtype)), "target")
        assert made.n_classes == 4


@pytest.mark.filterwarnings("error")
def test_whole_numbers_are_finite():
    assert all_whole([1, 2.0, -3e300])
    assert all_whole([])
    for odd in (0.5, np.nan, np.inf, -np.inf):
        assert not all_whole([1.0, odd])
