"""Distances to the closest record and near-copies, against a naive loop and known extremes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causalmix.data.gower import distance_to_closest_record
from causalmix.errors import CausalMixError, DataError
from causalmix.quality.privacy import membership_attack, near_copy_share


@pytest.fixture
def records() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(50, 20, 60),
            "count": rng.integers(0, 9, 60),
            "kind": pd.Categorical(rng.choice(list("abc"), 60)),
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::9, "kind"] = np.nan
    return frame


def naive_distance(row: pd.Series, record: pd.Series, records: pd.DataFrame) -> float:
    parts = []
    for name in ("size", "count"):
        known = records[name].dropna()
        values = [known.median() if pd.isna(v) else v for v in (row[name], record[name])]
        parts.append(abs(values[0] - values[1]) / (known.max() - known.min()))
    parts.append(float(pd.isna(row["size"]) != pd.isna(record["size"])))
    same = row["kind"] == record["kind"] or (pd.isna(row["kind"]) and pd.isna(record["kind"]))
    return sum([*parts, float(not same)]) / 3  # columns


def test_the_closest_record_is_the_one_a_loop_finds(records, monkeypatch):
    monkeypatch.setattr("causalmix.data.gower._CHUNK", 500)  # several chunks
    rows = records.iloc[20:].assign(count=lambda f: f["count"] + 3).reset_index(drop=True)
    expected = [
        min(naive_distance(row, record, records) for _, record in records.iterrows())
        for _, row in rows.iterrows()
    ]
    np.testing.assert_allclose(distance_to_closest_record(records, rows), expected)
    others = [
        min(naive_distance(row, records.loc[k], records) for k in records.index if k != i)
        for i, row in records.iterrows()
    ]
    np.testing.assert_allclose(distance_to_closest_record(records), others)


def test_copies_are_found_and_new_rows_of_the_same_distribution_are_not():
    rng = np.random.default_rng(0)
    real, new = (pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd")) for _ in range(2))
    shaken = real + 0.01 * rng.normal(size=real.shape)
    assert near_copy_share(real, real.iloc[::-1]) == 1
    assert near_copy_share(real, shaken) > 0.95
    assert near_copy_share(real, new) < 0.1
    half = pd.concat([shaken.iloc[:100], new.iloc[:100] + 100])
    assert near_copy_share(real, half) == pytest.approx(0.5, abs=0.03)
    assert near_copy_share(real, new, fraction=2.0) > 0.9


def test_among_duplicates_only_copies_count():
    real = pd.DataFrame({"x": [0.0, 0.0, 1.0, 1.0, 0.5]})
    assert near_copy_share(real, pd.DataFrame({"x": [0.0, 0.01, 0.99, 0.5]})) == 0.5


def test_too_few_rows_and_no_distance_are_refused():
    row = pd.DataFrame({"x": [1.0]})
    with pytest.raises(DataError, match="two or more records"):
        near_copy_share(row, row)
    two = pd.DataFrame({"x": [1.0, 2.0]})
    with pytest.raises(DataError, match="no rows"):
        near_copy_share(two, row.iloc[:0])
    for fraction in (0, "a"):
        with pytest.raises(CausalMixError, match=f"fraction is {fraction!r}; a number above 0"):
            near_copy_share(two, row, fraction=fraction)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[["a"]], "only one of the tables has: 'b'"),
        (lambda rows: rows.assign(c=1), "only one of the tables has: 'c'"),
        (lambda rows: rows.astype({"b": str}), "'b' holds numbers in one of the tables only"),
    ],
)
def test_tables_that_are_not_alike_are_refused(change, message):
    rows = pd.DataFrame({"a": range(1, 5), "b": range(1, 5)})
    with pytest.raises(DataError, match=message):
        near_copy_share(rows, change(rows))
    with pytest.raises(DataError, match=message):
        membership_attack(rows, change(rows), rows)


def test_an_attack_finds_who_was_copied_and_nobody_behind_rows_of_the_same_distribution():
    rng = np.random.default_rng(0)
    real, others, new = (
        pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd")) for _ in range(3)
    )
    assert membership_attack(real, others, real) == (1.0, 1.0)
    auc, found = membership_attack(real, others, new)
    assert auc == pytest.approx(0.5, abs=0.05)
    assert found == pytest.approx(0.05, abs=0.05)  # 2 SDs are .03
    half = pd.concat([real.iloc[:200], new.iloc[:200]])
    # Of the copied half all are found; of the others as many as by chance.
    auc, found = membership_attack(real, others, half)
    assert auc == pytest.approx(0.75, abs=0.04)
    assert found == pytest.approx(0.5 + 0.5 * 0.05, abs=0.05)


@pytest.mark.parametrize("gap_in", [0, 1])
def test_one_gap_gives_nobody_away(gap_in):
    """Distances to tables with a gap and without have the same unit."""
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc")) for _ in range(3)]
    without = membership_attack(*tables).auc
    near = [near_copy_share(*tables[:2])]
    tables[gap_in].loc[0, "a"] = np.nan
    assert membership_attack(*tables).auc == pytest.approx(without, abs=0.01)
    near.append(near_copy_share(*tables[:2]))
    assert near[1] == pytest.approx(near[0], abs=0.01)


def test_an_attack_on_rows_that_are_all_alike_is_chance():
    same = pd.DataFrame({"kind": pd.Categorical(["a"] * 30)})
    auc, found = membership_attack(same, same.iloc[:10], same.iloc[:5])
    assert (auc, found) == (0.5, pytest.approx(0.05))


def test_an_attack_needs_rows_of_all_three_kinds(records):
    with pytest.raises(DataError, match="60 records, 0 others and 3 synthetic"):
        membership_attack(records, records[:0], records[:3])
