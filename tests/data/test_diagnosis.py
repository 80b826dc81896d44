from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from causalmix.data.cells import read_date
from causalmix.data.columns import clean_columns, notes_on
from causalmix.data.dataset import read_classes
from causalmix.data.diagnosis import Diagnosis, Odd, diagnose, read
from causalmix.errors import DataError

MANY = [f"{x:.1f}" for x in np.random.default_rng(0).normal(40, 9, 200)]


def with_cells(cells, every=10):
    """Put some cells among two hundred numbers, in turn at every so many."""
    column = list(MANY)
    for k, i in enumerate(range(0, len(column), every)):
        column[i] = cells[k % len(cells)]
    return pd.Series(column, name="x")


def cleaned(column, **options):
    """Clean one column beside one that is always kept; return also what is said of it."""
    frame = pd.DataFrame({"other": np.arange(len(column)) + 0.5, "x": column})
    frame, diagnoses = clean_columns(frame, **options)
    return frame.get("x"), notes_on(diagnoses), diagnoses["x"]


# Numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("<5", 5),
        ("> 100", 100),
        ("≤0.1", 0.1),
        (">=7", 7),
        ("90+", 90),
        ("12 %", 12),
        ("$1,200.50", 1200.5),
        ("EUR 5", 5),
        ("70 kg", 70),
        ("37.2°C", 37.2),
        ("<0.1 mg/l", 0.1),
        ("1,234,567", 1234567),
        ("1 234", 1234),
        ("1'234.5", 1234.5),
        ("\u22125", -5),
        ("\u20135", -5),
        ("1,23,456", 123456),
        ("-$5.50", -5.5),
        ("$-5.50", -5.5),
        ("R$ 5", 5),
        ("(5.5)", -5.5),
        ("($5.50)", -5.5),
        ("5.5-", -5.5),
        ("12\u066b5", 12.5),
        ('="7.25"', 7.25),
        ("'7.25", 7.25),
        ("\u200b7.25\ufeff", 7.25),
        ("n.a.", np.nan),
        ("\\N", np.nan),
        ("(null)", np.nan),
        ("1.#QNAN", np.nan),
        ("\u200b", np.nan),
        ("\u2014", np.nan),
        ("-", np.nan),
        ("unknown", np.nan),
        ("#DIV/0!", np.nan),
        ("#N/A", np.nan),
        ("#WERT!", np.nan),
        ("Err:502", np.nan),
    ],
)
def test_odd_cells_of_numbers_whatever_their_share(cell, value):
    for every in (2, 100):
        column, notes, _ = cleaned(with_cells([cell], every))
        assert column.dtype == np.float64
        np.testing.assert_array_equal(column[::every], [value] * (200 // every))
        rest = np.arange(200) % every > 0
        np.testing.assert_array_equal(column[rest], np.array(MANY, float)[rest])
        assert sum(repr(cell) in note for note in notes) <= 1


def test_odd_cells_are_named_once_with_what_they_were_taken_as():
    _, notes, found = cleaned(with_cells(["<5", "#DIV/0!", "70 kg", "see note"], every=40))
    assert notes == [
        "Read odd cells of columns of numbers or dates: 'x' ('<5' as 5 in 2 cells; '70 kg' as 70 "
        "in 1 cell; '#DIV/0!' as missing in 1 cell; 'see note' as missing in 1 cell)."
    ]
    assert found.kind == "number"
    assert found.unit == "kg"
    assert found.odd[0] == Odd("bound", 2, {"<5": 5.0})


def test_markers_that_may_be_a_category_are_named():
    cells = pd.Series(["EU", "NA", "Asia", "n/a", "NA", ""] * 10)
    column, notes, found = cleaned(cells)
    assert list(column.cat.categories) == ["Asia", "EU"]
    said = "'x' ('NA' as missing, 'n/a' as missing in 30 cells)"
    assert notes == [
        f"Took markers among categories for missing values: {said}. If one is a category of its "
        "own, write it in other words, such as 'none'."
    ]
    assert Diagnosis.from_json(found.as_json()) == found
    assert not cleaned(cells.replace({"NA": "", "n/a": "?"}))[1]
    numbers = pd.Series(["1", "NA", "2.5", "3", "n/a", "4"] * 10)
    assert not cleaned(numbers)[1]


def test_other_cells_are_gaps_up_to_a_twentieth():
    column, _, _ = cleaned(with_cells(["see note", "ill"], every=20))
    assert column.isna().sum() == 10
    column, notes, found = cleaned(with_cells(["see note", "ill"], every=19))
    assert column is None
    assert found.dropped == "mixed"
    assert "would be numbers or dates but for some cells: 'x' ('see note', 'ill' in 11" in notes[0]
    few, notes, _ = cleaned(pd.Series([*map(str, range(11)), "a", "b"] * 8))
    assert "a" in few.cat.categories
    assert notes == [
        "Kept as categories, because too many cells are no numbers or dates: 'x' ('a', 'b' in 16 "
        "cells)."
    ]


@pytest.mark.parametrize(
    "cells",
    [
        ["<50K", ">50K"],
        ["<5", ">5"],
        ["under 18", "18-65", "over 65"],
        ["1st", "2nd", "3rd"],
        ["5 mg", "5 g"],
        ["500", "1k", "2k"],
        ["low", "3", "high"],
        ["none", "unknown"],
    ],
)
def test_names_that_hold_numbers_stay_categories(cells):
    column, _, _ = cleaned(pd.Series(cells * 30))
    assert set(column.cat.categories) == set(cells)


@pytest.mark.parametrize(
    ("texts", "comma", "values", "notes"),
    [
        (["1,5", "22,75", "1.234,5"], False, [1.5, 22.75, 1234.5], 0),
        (["1.5", "1,234.5", "1,234"], True, [1.5, 1234.5, 1234], 0),
        (["0,123", "1,234"], False, [0.123, 1.234], 0),
        (["1.234.567", "12"], False, [1234567, 12], 0),
        (["1,234", "12,345"], False, [1234, 12345], 1),
        (["1,234", "12,345"], True, [1.234, 12.345], 1),
        (["1.234", "2.345"], False, [1.234, 2.345], 0),
        (["1.234", "2.345"], True, [1234, 2345], 1),
    ],
)
def test_commas_by_what_the_column_shows(texts, comma, values, notes):
    column, said, _ = cleaned(pd.Series(texts * 9), decimal_comma=comma, numeric=["x"])
    assert column.tolist() == values * 9
    assert len(said) == notes


def test_numbers_among_texts_are_not_read_as_text():
    column, _, _ = cleaned(pd.Series(["1,5", 1.234, Decimal("2.345"), "3,25"], dtype=object))
    assert column.tolist() == [1.5, 1.234, 2.345, 3.25]


def test_whole_numbers_beyond_2_53_are_exact():
    large = [2**53 + 1, 2**53, 2**63 - 1, -(2**63)]
    for cells in (large, list(map(str, large)), pd.array(large, "Int64")):
        column, _, _ = cleaned(pd.Series(cells))
        assert column.tolist() == large
    labels, found = diagnose(pd.Series(["9007199254740993", "9007199254740992", ""]), want="label")
    assert found.kind == "text"
    assert labels.nunique() == 2
    labels, _ = diagnose(pd.Series(np.array([2**64 - 1, 2**64 - 2], "u8")), want="label")
    assert labels.tolist() == ["18446744073709551615", "18446744073709551614"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1.0, 1e300, 2.0], r"'x' holds 1e\+300 \(at position 1\)"),
        (["1", "-1e160", "2"], r"'x' holds -1e\+160"),
        ([1e-200, 2e-200, 3e-200], r"'x' holds numbers from 1e-200 to 3e-200"),
        ([1j, 2j, 3j], "'x' holds complex numbers"),
        ([[1], [2], [3]], "'x' holds values of type list"),
    ],
)
def test_what_cannot_be_computed_with_is_named(cells, message):
    with pytest.raises(DataError, match=message):
        cleaned(pd.Series(cells))


# Dates -------------------------------------------------------------------------------------

LAST_DAY = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_dates_beyond_nanoseconds(unit):
    stamps = pd.Series(np.array(["9999-12-31", "1970-01-11", "NaT", "0001-01-01"], f"M8[{unit}]"))
    first = (dt.date(1, 1, 1) - dt.date(1970, 1, 1)).days
    for column in (
        stamps,
        stamps.astype(f"timestamp[{unit}][pyarrow]"),
        pd.Series(["9999-12-31", "1970-01-11", None, "0001-01-01"]),
        pd.Series(["31.12.9999", "11.01.1970", "", "01.01.0001"]),
        pd.Series([dt.datetime(9999, 12, 31), dt.date(1970, 1, 11), None, dt.date(1, 1, 1)]),
    ):
        days, found = diagnose(column)
        np.testing.assert_array_equal(days, [LAST_DAY, 10, np.nan, first])
        assert found.kind == "date"
        assert found.furthest == LAST_DAY


def test_time_zones():
    stamps = pd.Series(pd.to_datetime(["1970-01-02T02:00+02:00", "1970-01-11T02:00+02:00"]))
    for column in (
        stamps,
        stamps.astype("timestamp[us, tz=Europe/Berlin][pyarrow]"),
        stamps.astype(str),
        stamps.astype(object),
    ):
        assert diagnose(column)[0].tolist() == [1, 10]


@pytest.mark.parametrize(
    ("texts", "first", "day_first", "note"),
    [
        (["02.01.1970", "03.04.1970"], 1, True, "day first"),
        (["2/1/1970", "3/4/1970"], 31, False, "month first"),
        (["2/1/1970", "13/4/1970"], 1, True, ""),
        (["2/1/1970", "4/13/1970"], 31, False, ""),
        (["2.1.1970", "4.13.1970"], 31, False, ""),
        (["1970-01-02", "1970-02-01"], 1, None, ""),
    ],
)
def test_order_of_dates(texts, first, day_first, note):
    column, notes, found = cleaned(pd.Series(texts))
    assert column[0] == first
    assert found.day_first is day_first
    assert [f"Read dates {note}" in each for each in notes[1:]] == [True] * bool(note)


def test_odd_cells_of_dates():
    days = pd.Series(pd.date_range("2024-01-01", periods=200).strftime("%d.%m.%Y"))
    days[[3, 50]], days[7] = "n.a.", "31.02.2024"
    column, notes, _ = cleaned(days)
    assert column.isna().sum() == 3
    assert "'n.a.' as missing in 2 cells; '31.02.2024' as missing in 1 cell" in notes[1]


FORMATS = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S"]
BROKEN = ["2024-02-31", "31.02.2024", "13/32/2024", "2024-13-01", "yesterday", "2024-02-10 25:00"]


@pytest.mark.parametrize("n", [11, 60])
@pytest.mark.parametrize("form", [*FORMATS, "%m/%d/%Y %I:%M %p"])
@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_cell_among_dates_is_missing_and_named(form, broken, n):
    truth = pd.Series(pd.date_range("2024-03-14 06:00", periods=n, freq="31h")).dt.floor("D")
    column = truth.dt.strftime(form)
    days = (truth - pd.Timestamp(0)) / pd.Timedelta(days=1)
    days[4], changed = np.nan, column.where(column.index != 4, broken)
    values, found = diagnose(changed.rename("x"))
    assert found.kind == "date"
    np.testing.assert_array_equal(values, days)
    assert [str(odd) for odd in found.odd] == [f"'{broken}' as missing in 1 cell"]
    values, unread = read(changed, diagnose(column)[1])  # where fit saw none
    np.testing.assert_array_equal(values, days)
    assert unread.cells == {broken: 1}


# Later tables ------------------------------------------------------------------------------


def later(column, cells, dtype=None):
    """Read cells as the column; return them as a list, and what was not read."""
    _, found = diagnose(pd.Series(column, name="x"))
    values, unread = read(pd.Series(cells, name="x", dtype=dtype), found)
    return values.tolist(), unread


def test_dates_are_read_one_by_one_as_in_fit():
    column = ["02/01/1970", "25/12/1970"]
    for text, day in (("02/01/1970", 1), ("13/01/1970", 12), ("1970-01-03", 2), ("", np.nan)):
        np.testing.assert_array_equal(later(column, [text])[0], [day])
    with pytest.raises(DataError, match=r"'x' held dates .* holds '12/25/1970'.* day first: write"):
        later(column, ["12/25/1970"])
    iso = ["1970-01-02", "1970-12-25"]
    assert later(iso, ["02.01.1970", "13/01/1970", "3/3/1970"])[0] == [1, 12, 61]
    with pytest.raises(DataError, match="now holds '02/01/1970'"):
        later(iso, ["13/01/1970", "02/01/1970", "03/01/1970"])


@pytest.mark.parametrize("per_day", [1, 86_400, 86_400_000, 86_400_000_000])
@pytest.mark.parametrize("as_type", [int, float, str])
def test_numbers_among_dates_are_times_since_1970(per_day, as_type):
    stamps = pd.Series(pd.date_range("2020-01-01", periods=30))
    days, unread = later(stamps, [as_type(19_700 * per_day), None])
    np.testing.assert_array_equal(days, [19_700, np.nan])
    assert unread.times


def test_durations_are_not_confused_with_numbers():
    column = pd.Series(pd.to_timedelta([1, 2, 3], "D"))
    assert later(column, pd.to_timedelta([36], "h"))[0] == [1.5]
    assert later(column, ["2 days 12:00:00", dt.timedelta(1)])[0] == [2.5, 1]
    for number in (86_400_000, "86400000"):
        with pytest.raises(DataError, match=r"'x' held durations .* now holds '?86400000"):
            later(column, [number])
    with pytest.raises(DataError, match="'x' is to be dates, but holds durations"):
        diagnose(column.rename("x"), want="date")


def test_levels_are_found_as_the_table_writes_them():
    for texts, comma in ((["1,00", "2,00"], True), (["1.00", "2.00"], False), (["1", "2"], False)):
        column = pd.Series(texts * 9, name="x")
        learned, diagnoses = clean_columns(
            column.to_frame(), categorical=["x"], decimal_comma=comma
        )
        again, unread = read(column, diagnoses["x"])
        assert not unread.cells
        assert again.tolist() == learned["x"].tolist()
        assert read(pd.Series([2.0, "2"], dtype=object), diagnoses["x"])[0].tolist() == ["2", "2"]
    _, diagnoses = clean_columns(
        pd.DataFrame({"x": ["1", "2", "3", "3"] * 9, "other": range(36)}), decimal_comma=True
    )
    assert read(pd.Series(["2,00", "3"]), diagnoses["x"])[0].tolist() == ["2", "3"]


def test_a_declared_category_keeps_its_zeros():
    codes = pd.Series(["01067", "1067", "04109", "7", "07"] * 9, name="x")
    for options in ({}, {"categorical": ["x"]}):
        column, notes, _ = cleaned(codes, **options)
        assert set(column.cat.categories) == set(codes)
        assert not notes
    for declared in (False, True):
        assert set(read_classes(codes, declared, False).cat.categories) == set(codes)
    assert cleaned(codes, numeric=["x"])[0].tolist()[:2] == [1067, 1067]


def test_a_column_without_a_mark_has_that_of_its_table():
    whole = pd.Series(["150", "989", "312"] * 9, name="x")
    new = ["1.250", "300,125", "1.250,5", "7,5", "12"]
    _, _, found = cleaned(whole, decimal_comma=True)
    assert read(pd.Series(new), found)[0].tolist() == [1250, 300.125, 1250.5, 7.5, 12]
    _, _, found = cleaned(whole)
    assert read(pd.Series(["1,250", "7.5"]), found)[0].tolist() == [1250, 7.5]
    with pytest.raises(DataError, match=r"now holds '300,125'. Their decimal mark was '\.'"):
        read(pd.Series(["300,125", "310,500"]), found, decimal_comma=True)


def test_some_rows_are_read_as_all_of_them():
    rng, n = np.random.default_rng(0), 90
    frame = pd.DataFrame(
        {
            "odd": np.where(np.arange(n) < 4, "see note", rng.normal(0, 1, n).round(2).astype(str)),
            "whole": rng.integers(100, 999, n).astype(str),
            "gappy": np.where(np.arange(n) == 50, "", rng.integers(0, 50, n).astype(str)),
            "numbers": rng.integers(0, 50, n),
            "share": rng.normal(0, 1, n),
            "code": rng.integers(1, 5, n),
            "text": rng.choice(["b", "a", "10", "9"], n),
            "ordered": pd.Categorical(rng.choice(["low", "mid", "top"], n), ["top", "mid", "low"]),
            "day": rng.choice(["3.4.2024", "13.4.2024"], n),
            "stay": pd.to_timedelta(rng.integers(1, 9, n), "D"),
        }
    )
    whole, known = clean_columns(frame)
    assert known["odd"].kind == "number"
    for rows in (slice(0, 30), slice(30, 60), slice(60, 90)):
        part, found = clean_columns(frame.iloc[rows], known=known)
        assert {name: part[name].dtype.kind for name in ("whole", "numbers", "share")} == {
            "whole": "i",
            "numbers": "i",
            "share": "f",
        }
        for name in part:
            expected = whole[name].iloc[rows]
            if found[name].levels is not None:
                expected = expected.cat.remove_unused_categories()
                assert found[name].levels == tuple(expected.cat.categories)
            pd.testing.assert_series_equal(part[name], expected, check_dtype=name != "gappy")
    with pytest.raises(DataError, match="'odd' is listed in numeric=, but 'see note'"):
        clean_columns(frame.iloc[:30], numeric=["odd"])


def test_numbers_with_another_decimal_mark_are_not_multiplied():
    commas, points = ["3,231", "0,701", "12,5"], ["3.231", "0.701", "12.5"]
    for learned, new, mark in ((commas, points, ","), (points, commas, ".")):
        with pytest.raises(DataError, match=f"Their decimal mark was '{mark}'"):
            later(learned, new)
        assert later(learned, learned)[0] == [3.231, 0.701, 12.5]
    for kind, text in (("number", "many"), ("date", "March 3, 2024")):  # nor is it hinted at
        column = {"number": points, "date": ["2024-01-01", "2024-02-02"]}[kind]
        with pytest.raises(DataError, match="now holds") as told:
            later(column, [text])
        assert "decimal mark" not in str(told.value)
    # The column's own mark beside them, or in the column that was learned: thousands.
    assert later(commas, ["1.234", "0,5"])[0] == [1234, 0.5]
    assert later(["1.234,5", "0,5"], ["1.234", "2"])[0] == [1234, 2]


def test_later_numbers():
    column = ["1,5", "2,5", "3,5 kg"]
    cells = ["1.234", "2,5", 1.234, "<5", "7 kg", "n.a.", "#N/A", None]
    values, _ = later(column, cells)
    np.testing.assert_array_equal(values, [1234, 2.5, 1.234, 5, 7] + [np.nan] * 3)
    for cell in ("7 g", "many", dt.date(2024, 1, 1)):
        with pytest.raises(DataError, match=r"'x' held numbers .* now holds"):
            later(column, [cell])
    assert later([0, 1, 5], [True, "True", "false", np.True_], object)[0] == [1, 1, 0, 1]
    values, unread = later(with_cells(["see note"], 50), ["1.5", "ill"])
    np.testing.assert_array_equal(values, [1.5, np.nan])
    assert unread.cells == {"ill": 1}


def levels_of_later(levels, cells, **options):
    column, unread = read(pd.Series(cells, **options), Diagnosis("category", levels=levels))
    return column.astype(object).where(column.notna(), None).tolist(), unread


@pytest.mark.parametrize(
    ("levels", "cells", "expected"),
    [
        (("False", "True"), [0, 1.0, None], ["False", "True", None]),
        (("False", "True"), ["0", "TRUE", "1.0", "false"], ["False", "True", "True", "False"]),
        (("false", "true"), [True, False], ["true", "false"]),
        (("0", "1"), [True, False, "True"], ["1", "0", "1"]),
        (("0", "1"), pd.array([True, None], "boolean"), ["1", None]),
        (("1", "2"), ["1.0", 2.0, "2 "], ["1", "2", "2"]),
        (("1", "2"), [True], [None]),
        (("007", "012"), [7, "12"], ["007", "012"]),
        (("007", "7"), ["7", "7.0"], ["7", None]),
        (("EU", "NA"), ["NA", "na", ""], ["NA", None, None]),
        (("a ", "b"), ["a", "a ", " b "], ["a ", "a ", "b"]),
        (("9007199254740992", "9007199254740993"), [2**53 + 1], ["9007199254740993"]),
        (("(0, 1]", "(1, 2]"), pd.cut([0.5, 1.5], [0, 1, 2]), ["(0, 1]", "(1, 2]"]),
    ],
)
def test_levels_are_found_whatever_the_type(levels, cells, expected):
    assert levels_of_later(levels, cells)[0] == expected
    if isinstance(cells, list):
        assert levels_of_later(levels, cells, dtype=object)[0] == expected
        assert levels_of_later(levels, pd.Categorical(pd.Series(cells)))[0] == expected


def test_unseen_levels_are_counted_apart_from_gaps():
    _, unread = levels_of_later(("a", "b"), ["a", "c", "c", "NA", None])
    assert (unread.known, unread.cells) == (3, {"c": 2})


@pytest.mark.parametrize(
    "column",
    [MANY, with_cells(["<5", "x"], 40), ["2.1.1970", "4.3.1970"], ["a", "b"], ["1,5", "2,25 kg"]],
)
def test_a_diagnosis_survives_json(column):
    _, found = diagnose(pd.Series(column))
    assert Diagnosis.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["2D", "3D"], None),
        (["1\u00bd", "2\u00bd", "3"], None),
        (["5\u00b2", "6\u00b2", "7\u00b2"], None),
        (["(1)", "(2)", "(3)"], None),
        (["3.9", "3.10", "3.1"], "category"),
        (["12345678901234567890", "12345678901234567891", "12345678901234567892", "5"], None),
    ],
)
def test_no_two_names_become_one_number(cells, want):
    column, _, _ = cleaned(pd.Series(cells * 9), categorical=["x"] if want else [])
    assert list(column) == cells * 9


def test_texts_that_look_alike_are_one_level():
    looks = {
        "caf\u00e9": ["caf\u00e9", "cafe\u0301", "caf\u00e9\u200b"],
        "New York": ["New\u00a0York"],
    }
    column, _, diagnosis = cleaned(
        pd.Series([text for each in looks.values() for text in each] * 9)
    )
    assert list(column) == [name for name, each in looks.items() for _ in each] * 9
    later, unread = read(pd.Series([" cafe\u0301", "New\u202fYork", "New\u00a0York"]), diagnosis)
    assert list(later.cat.codes) == [1, -1, 0]
    assert unread.cells.total() == 1


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("3/13/1970 2:05 PM", 14 + 5 / 60),
        ("3/13/1970 12:05 am", 5 / 60),
        ("1970-03-13 14:00:00+02", 12),
        ("1970-03-13 14:00:00 -0230", 16.5),
        ("1970-03-13 14:00 UTC", 14),
        ("3/13/1970 13:05 PM", np.nan),
    ],
)
def test_clocks_and_zones(text, hours):
    assert read_date(text, day_first=False) == pytest.approx(71 + hours / 24, nan_ok=True)
