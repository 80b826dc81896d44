from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from causalmix.data.schema import TableSchema
from causalmix.errors import DataError

RNG = np.random.default_rng(0)
N = 60


def table():
    """A column of every kind, with gaps."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 366, N), "D")
    frame = pd.DataFrame(
        {
            "slashed": days.strftime("%d/%m/%Y"),
            "dotted": days.strftime("%d.%m.%Y"),
            "stamp": days.astype("M8[us]"),
            "flag": pd.array(RNG.random(N) < 0.5, "boolean"),
            "sex": pd.Categorical(RNG.choice(["f ", "m"], N)),
            "ward": RNG.choice(["NA ward", "B"], N),
            "rating": pd.Categorical(RNG.choice([1, 2, 3], N)),
            "crp": RNG.choice(["<5", "7", "12.5", "n.a."], N),
            "size": RNG.choice(["1,5 kg", "2,25 kg", "3,5 kg"], N),
            "count": RNG.integers(0, 50, N),
        }
    )
    frame.loc[::9, ["flag", "ward"]] = None
    return frame


def learned(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema, cleaned, _ = TableSchema.learn(frame)
    return TableSchema.from_json(json.loads(json.dumps(schema.as_json()))), cleaned


def assert_same(read, cleaned):
    floats = {name: float for name in cleaned.select_dtypes("number")}
    pd.testing.assert_frame_equal(read, cleaned.astype(floats))


@pytest.mark.parametrize(
    "way",
    [
        lambda frame: frame,
        lambda frame: frame.astype(object),
        lambda frame: frame.astype("category"),
        lambda frame: frame.astype("string"),
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: pd.read_csv(io.StringIO(frame.to_csv(index=False))),
        lambda frame: pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str),
        lambda frame: pd.read_csv(
            io.StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False
        ),
        lambda frame: pd.read_json(io.StringIO(frame.to_json(date_format="iso"))),
    ],
)
def test_every_way_of_keeping_a_table_reads_the_same(way):
    frame = table()
    schema, cleaned = learned(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(schema.read(way(frame)), cleaned)
        alone = [schema.read(way(frame.iloc[[i]]).set_axis([i])) for i in range(12)]
    assert_same(pd.concat(alone), cleaned.iloc[:12])


def test_times_of_json_are_dates_with_a_warning():
    frame = table()
    schema, cleaned = learned(frame)
    back = pd.read_json(io.StringIO(frame.to_json()), convert_dates=False)
    assert back["stamp"].dtype == np.int64
    with pytest.warns(UserWarning, match=r"Read numbers among dates .* 'stamp' \(17"):
        assert_same(schema.read(back), cleaned)


def test_numbers_that_come_as_categories_with_a_gap_are_read():
    schema, _ = learned(pd.DataFrame({"k": [1.5, 2.0, 3.0, 4.5], "l": [1.0, 2.5, 3.5, 4.0]}))
    later = pd.DataFrame({"k": pd.Categorical([1, 2, None]), "l": [1.0, 2.0, 3.0]})
    assert schema.read(later)["k"].tolist()[:2] == [1, 2]
    assert schema.read(later)["k"].isna().tolist() == [False, False, True]


def test_unseen_values_are_warned_of_by_column():
    frame = table()
    schema, _ = learned(frame)
    with pytest.warns(UserWarning, match=r"None of the known .*'sex' \(60 of 60: 'w'\)\. Are"):
        read = schema.read(frame.assign(sex="w"))
    assert read["sex"].isna().all()
    changed = frame.assign(ward=frame["ward"].replace("B", "C"))
    n_changed, n_known = (frame["ward"] == "B").sum(), frame["ward"].notna().sum()
    with pytest.warns(UserWarning, match=rf"'ward' \({n_changed} of {n_known}: 'C'\)"):
        schema.read(changed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema.read(frame.assign(ward=None, sex=""))


@pytest.mark.parametrize("first", [1, 1.0, True, np.bool_(True)])
def test_a_truth_value_is_no_number_whichever_comes_first(first):
    cells = [first, True, 1, "x", np.bool_(False), 0, "x", "true"] * 4
    frame = pd.DataFrame({"mixed": pd.Series(cells, dtype=object)})
    schema, read, _ = TableSchema.learn(frame)
    one = "1.0" if isinstance(first, float) else "1"  # numbers that are equal are one level
    assert list(read["mixed"][1:8]) == ["True", one, "x", "False", "0", "x", "true"]
    together = schema.read(frame)["mixed"]
    alone = [schema.read(frame.iloc[[i]])["mixed"].iloc[0] for i in range(8)]
    assert alone == list(together[:8])


def test_what_a_number_cannot_be_is_refused_by_column():
    frame = table()
    schema, _ = learned(frame)
    for value, message in ((np.inf, "Infinite values in 'count'"), (1e200, r"'count' holds 1e\+2")):
        with pytest.raises(DataError, match=message):
            schema.read(frame.assign(count=value))
    schema.read(frame.iloc[:2].assign(count=[1e-200, 0]))  # two rows say nothing of the spread
