from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from causalmix.data.columns import as_category, clean_columns, is_code, natural_order, notes_on
from causalmix.data.dataset import load_dataset
from causalmix.errors import DataError, UnknownNameError


def clean(values, name="x", **options):
    """Clean one column beside one that is always kept."""
    frame = pd.DataFrame({"other": np.arange(len(values)) + 0.5, name: pd.Series(values)})
    cleaned, diagnoses = clean_columns(frame, **options)
    return cleaned.get(name), notes_on(diagnoses)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["3.5", "1", "-2e3"], [3.5, 1.0, -2000.0]),
        (["1,200", "3", "1,234,567.5"], [1200.0, 3.0, 1234567.5]),
        ([" 7.5 ", "8", "+9"], [7.5, 8.0, 9.0]),
        (["1.5", "?", "2"], [1.5, np.nan, 2.0]),
        (["1.5", "NA", "2", "", "nan", "NULL", "N/A"], [1.5, np.nan, 2.0] + [np.nan] * 4),
        ([Decimal("1.5"), Decimal(2), None], [1.5, 2.0, np.nan]),
        (np.array([1.5, 2], dtype=np.float16), [1.5, 2.0]),
        (pd.array([10, None, 30, 70], dtype="Int64"), [10.0, np.nan, 30.0, 70.0]),
        (pd.arrays.SparseArray([0.0, 0.0, 2.5]), [0.0, 0.0, 2.5]),
    ],
)
def test_numbers_are_read_from_text_and_odd_types(cells, expected):
    column, notes = clean(cells)
    assert column.dtype == np.float64
    np.testing.assert_array_equal(column, expected)
    assert notes == []


@pytest.mark.parametrize("cells", [["10", "20", "40"], [10, 20, 40], np.array([10, 20, 40], "u1")])
def test_complete_whole_numbers_are_int64(cells):
    column, _ = clean(cells)
    assert column.dtype == np.int64
    assert column.tolist() == [10, 20, 40]


def test_decimal_commas():
    column, _ = clean(["1,5", "2", "1.234,5"], decimal_comma=True)
    assert column.tolist() == [1.5, 2.0, 1234.5]
    column, _ = clean(["1.5", "2.25"], decimal_comma=True)
    assert column.tolist() == [1.5, 2.25]


@pytest.mark.parametrize(
    ("cells", "categories"),
    [
        (["yes", "no", "yes"], ["no", "yes"]),
        ([True, False, True], ["False", "True"]),
        ([True, None, False], ["False", "True"]),
        (["True", "False", ""], ["False", "True"]),
        (["007", "012", "100"], ["007", "012", "100"]),
        (["c10", "c2", "c1"], ["c1", "c2", "c10"]),
        (["-", "yoga", "aqua"], ["-", "aqua", "yoga"]),
        ([0, 1, 1], ["0", "1"]),
        (["1.0", "", "0.0"], ["0", "1"]),
        ([2, 7, 7], ["2", "7"]),
        ([3, "a", 2.5], ["2.5", "3", "a"]),
    ],
)
def test_categories(cells, categories):
    column, notes = clean([*cells, *cells])
    assert column.cat.categories.tolist() == categories
    assert notes == []


def test_missing_markers_are_missing_categories():
    column, _ = clean(["a", "?", "b", "NA", None, "b"])
    assert column.isna().tolist() == [False, True, False, True, True, False]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({0: 90, 1: 10}, True),
        ({5: 3, 9: 4}, True),
        ({1: 30, 2: 50, 3: 20}, True),
        ({0: 10, 1: 5, 2: 30, 3: 7, 4: 8}, True),
        ({0: 60, 1: 30, 2: 9, 3: 1}, False),  # falls steadily: a count
        ({1: 20, 2: 20, 3: 20}, False),
        ({1: 10, 2: 5, 4: 30}, False),  # a gap
        ({2: 10, 3: 5, 4: 30}, False),  # does not start at 0 or 1
        ({0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6}, False),  # more than MAX_CODES
        ({0.5: 10, 1.5: 10}, False),
        ({4: 10}, False),
    ],
)
def test_code_rule(counts, expected):
    assert is_code(pd.Series(np.repeat(list(counts), list(counts.values())))) is expected


def test_stated_types_win_over_the_code_rule():
    column, _ = clean([0, 1, 1, 0], typed=True)
    assert column.dtype == np.int64


def test_overrides():
    assert clean([10, 20, 40], categorical=["x"])[0].cat.categories.tolist() == ["10", "20", "40"]
    assert clean([0, 1, 1], numeric=["x"])[0].tolist() == [0, 1, 1]
    assert clean(["007", "012"], numeric=["x"])[0].tolist() == [7, 12]
    assert clean(pd.Categorical(["1", "3"]), numeric=["x"])[0].tolist() == [1, 3]
    for cells in (["2/1/1970", "n.a.", "13/1/1970"], pd.Categorical(["1970-01-02", "1970-01-13"])):
        assert clean(cells, date=["x"])[0].dropna().tolist() == [1, 12]
    assert clean(pd.to_datetime(["1970-01-02", "1970-01-13"]), date=["x"])[0].tolist() == [1, 12]
    dates = clean(["2024-01-01", "2024-01-02"], categorical=["x"])
    assert dates[0].cat.categories.tolist() == ["2024-01-01", "2024-01-02"]
    assert dates[1] == []


def test_wrong_overrides():
    with pytest.raises(UnknownNameError, match=r"categorical=.*Did you mean 'other'"):
        clean([1, 2], categorical=["othr"])
    with pytest.raises(DataError, match="Both categorical= and numeric= name 'x'"):
        clean([1, 2], categorical=["x"], numeric=["x"])
    with pytest.raises(DataError, match="Both numeric= and date= name 'x'"):
        clean([1, 2], numeric=["x"], date=["x"])
    for cells in (["2024-01-01", "soon"], [3, 4]):
        with pytest.raises(
            DataError, match=r"'x' is listed in date=, but '(soon|3)' is not a date"
        ):
            clean(cells, date=["x"])
    with pytest.raises(DataError, match=r"'x' is listed in numeric=, but 'low' is not a number"):
        clean(["1", "", "low"], numeric=["x"])


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (["1970-01-11", "1970-01-02"], [10, 1]),
        (["1970-01-02T12:00", "1970-01-04"], [1.5, 3]),
        (["2/1/1970", "11/1/1970", "13/1/1970"], [1, 10, 12]),  # 13 can only be a day
        (["1/2/1970", "1/11/1970", "1/13/1970"], [1, 10, 12]),
        (["02.01.1970", "13.01.1970"], [1, 12]),
        ([dt.date(1970, 1, 11), dt.date(1970, 1, 2)], [10, 1]),
        (pd.to_datetime(["1970-01-11", "1970-01-02"]), [10, 1]),
        (pd.to_datetime(["1970-01-11T02:00+02:00", "1970-01-02T02:00+02:00"]), [10, 1]),
    ],
)
def test_dates_become_days(cells, days):
    column, notes = clean([*cells, None])
    assert column.tolist()[:-1] == days
    assert np.isnan(column.iloc[-1])
    assert notes == ["Converted dates to days since 1970-01-01: 'x'."]


def test_what_only_looks_like_dates_is_text():
    column, notes = clean(["2024-13-45", "2024-01-02", "2024-01-02"])
    assert column.dtype == "category"
    assert notes == []


@pytest.mark.parametrize("cells", [[5, 5, 5, 5], ["a", "", "a", "?"], [None] * 4, [""] * 4])
def test_columns_with_one_value_or_none_are_dropped(cells):
    column, notes = clean(cells)
    assert column is None
    assert notes == ["Dropped columns with one value or none: 'x'."]


@pytest.mark.parametrize("name", ["id", "customer_id", "PassengerId", "ID", "Unnamed: 0"])
def test_numbered_rows_are_dropped(name):
    column, notes = clean(np.random.default_rng(0).permutation(50) + 1000, name=name)
    assert column is None
    assert notes == [f"Dropped columns that number or identify the rows: {name!r}."]


def test_distinct_whole_numbers_that_are_no_identifier_stay():
    values = np.random.default_rng(0).permutation(50) + 1000
    for name in ("income", "paid", "body_mass_index"):
        assert clean(values, name=name)[0] is not None
    assert clean(values, name="id", numeric=["id"])[0] is not None


def test_a_first_column_that_counts_the_rows_is_dropped():
    frame = pd.DataFrame({"n": range(1, 31), "x": np.random.default_rng(0).normal(size=30)})
    cleaned, diagnoses = clean_columns(frame)
    assert list(cleaned) == ["x"]
    assert "'n'" in notes_on(diagnoses)[0]


def test_identifiers_and_free_text_are_dropped():
    rng = np.random.default_rng(0)
    names = [f"person {i}" for i in range(100)]
    assert clean(names)[0] is None
    assert "'x'" in clean(names)[1][0]
    assert clean(names, categorical=["x"])[0] is not None
    assert clean(rng.choice([f"customer {i}" for i in range(70)], 500))[0] is not None
    assert clean([f"word {i}" for i in range(400)] * 5)[0] is None


def test_infinite_values_are_named():
    frame = pd.DataFrame({"a": [1.5, np.inf], "b": ["2.5", "-inf"], "c": [1.5, 2.5]})
    with pytest.raises(DataError, match="Infinite values in 'a', 'b'"):
        clean_columns(frame)


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, np.arange(2), (1, 2), b"ab", 1j])
def test_nested_values_are_named(cell):
    with pytest.raises(DataError, match="Column 'x' holds"):
        clean(pd.Series([cell, None, cell], dtype=object))


def test_no_column_left():
    with pytest.raises(DataError, match=r"No usable feature column.*'a'"):
        clean_columns(pd.DataFrame({"a": [1, 1]}))


def test_ordered_categories_keep_their_order_and_unused_ones_go():
    sizes = pd.CategoricalDtype(["small", "medium", "large", "huge"], ordered=True)
    column = as_category(pd.Series(["large", None, "small"], dtype=sizes))
    assert column.cat.categories.tolist() == ["small", "large"]
    assert not column.cat.ordered
    assert column.isna().tolist() == [False, True, False]


def test_categories_of_numbers_are_named_plainly():
    column = as_category(pd.Series(pd.Categorical([2.0, 10.0, 0.5])))
    assert column.cat.categories.tolist() == ["0.5", "2", "10"]
    assert column.tolist() == ["2", "10", "0.5"]


def test_natural_order():
    assert natural_order(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert natural_order(["c10", "c9", "b"]) == ["b", "c9", "c10"]
    assert natural_order(["10 a", "9 a", "x"]) == ["9 a", "10 a", "x"]
    orders = {tuple(natural_order(names)) for names in permutations(["3", "nan", "1", "20"])}
    assert orders == {("1", "3", "20", "nan")}


def test_agreement_with_published_types(shared_data, tmp_path):
    """Written to CSV with codes for categories, most columns get their published type back."""
    agree, called, n_called, found = [], 0, 0, []
    for name in ("cc18/credit-g", "cc18/diabetes", "cc18/pc4", "cc18/tic-tac-toe", "tabarena/MIC"):
        table = pd.read_parquet(shared_data / "classification" / f"{name}.parquet")
        stated = set(table.columns[:-1][table.dtypes.iloc[:-1] == "category"])
        for column in stated:
            codes = table[column].cat.remove_unused_categories().cat.codes
            table[column] = codes.astype("Int64").mask(codes < 0)
        table.to_csv(tmp_path / "codes.csv", index=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load_dataset(tmp_path / "codes.csv")
        for column in dataset.X:
            is_category = column in dataset.categorical
            agree.append(is_category == (column in stated))
            n_called += is_category
            called += is_category and column in stated
            if column in stated:
                found.append(is_category)
    assert np.mean(agree) > 0.9
    assert called / n_called > 0.9
    assert np.mean(found) > 0.8


def named(sizes):
    """Return names, each in as many rows as the list of sizes says."""
    return np.repeat([f"Family {k}" for k in range(len(sizes))], sizes).tolist()


@pytest.mark.parametrize(
    ("cells", "category"),
    [
        *((named([2] * k), False) for k in (5, 8, 20, 50, 300)),  # households of two
        (named([1, 2, 2, 2, 1, 2]), False),
        (named([1, 2, 2, 3, 4] * 8), False),  # of 2.4 rows on average
        (["none"] * 70 + named([1] * 30), False),  # notes on some rows
        (["none"] * 20 + named([2] * 20), False),
        (named([2] * 3), True),  # of 6 rows, which may be chance
        (named([5] * 20), True),  # 20 towns of 100 rows
        (named([28, 14, 9, 7, 6, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1]), True),
        (named([4] * 8 + [1] * 2), True),
        (named([3, 2, 2, 2, 1]), True),  # blood groups of 10 rows
        (["yes", "no"] * 20 + ["not known"], True),
    ],
)
def test_text_that_hardly_repeats_is_no_category(cells, category):
    cells = list(np.random.default_rng(0).permutation(np.array(cells, dtype=object)))
    for gaps in (0, 15):
        column, notes = clean([*cells, *[None] * gaps])
        assert (column is not None) == category
        assert notes == [] if category else "'x'" in notes[0]
        assert clean([*cells, *[None] * gaps], categorical=["x"])[0] is not None
        stated = pd.Series([*cells, *[None] * gaps], dtype="category")
        assert clean(stated)[0] is not None


@pytest.mark.parametrize("n", [2, 5, 10, 20])
def test_text_that_is_another_in_every_row_names_the_rows_however_few(n):
    frame = pd.DataFrame({"name": [f"K-{k * 7}" for k in range(n)], "x": np.arange(n) % 3 + 0.5})
    frame["note"] = ["fell at home", "came back", *[None] * (n - 2)]  # in two rows only
    frame["ward"] = ["a"] * (n - 1) + ["b"] if n > 2 else "a"
    assert list(clean_columns(frame)[0]) == ["x", "ward"][: 1 + (n > 2)]
    kept, _ = clean_columns(frame, categorical=["name"])
    assert "name" in kept
