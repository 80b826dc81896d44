"""Dates keep the order that they have in every row of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causalmix.data.schema import TableSchema
from causalmix.errors import DataError
from causalmix.reports.drawing import generate_table
from causalmix.reports.order import LEAST, date_order, sample_in_order


def stays(n, seed=0):
    """Dates of coming and leaving, the latter with a time, and of a birth in half of the rows."""
    rng = np.random.default_rng(seed)
    came = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D")
    left = came + pd.to_timedelta(rng.integers(0, 9, n) + rng.integers(0, 24, n) / 24, "D")
    born = pd.Series(pd.Timestamp("1990-05-01") - pd.to_timedelta(rng.integers(0, 9999, n), "D"))
    return pd.DataFrame(
        {
            "came": came.strftime("%d.%m.%Y"),
            "left": left.strftime("%Y-%m-%d %H:%M"),
            "born": born.dt.strftime("%Y-%m-%d").where(np.arange(n) % 2 == 0),
            "seen": rng.permutation(left.strftime("%Y-%m-%d")),
            "age": rng.integers(20, 90, n),
            "ward": rng.choice(["a", "b"], n),
        }
    )


class Mixed:
    """Draws each date by itself, so that half of the rows are out of order; classes 2 to 1."""

    def __init__(self, X, never=False):
        self.X, self.never = X, never

    def sample(self, n, seed):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame({name: rng.permutation(np.resize(x, n)) for name, x in self.X.items()})
        if self.never:
            X["left"] = X["came"] - 1
        return X, pd.Series(np.resize(["x", "x", "y"], n), dtype="category")


def read(table):
    schema, X, _ = TableSchema.learn(table.drop(columns=["age", "ward"]))
    return {"like": table, "schema": schema}, X


def test_the_order_is_that_of_all_rows_with_both_dates():
    expected = {("came", "left"), ("born", "came"), ("born", "left"), ("born", "seen")}
    for n, pairs in ((200, expected), (LEAST, {("came", "left")}), (LEAST - 1, set())):
        how, X = read(stays(n))
        assert {pair for pair in date_order(X, how["schema"]) if "seen" not in pair} == {
            pair for pair in pairs if "seen" not in pair
        }
    table = stays(200)
    table.loc[7, "came"] = "31.12.2024"  # one row is enough
    how, X = read(table)
    assert ("came", "left") not in date_order(X, how["schema"])


def test_rows_out_of_order_are_replaced_by_others_of_their_class():
    how, X = read(stays(200))
    order = date_order(X, how["schema"])
    generator = Mixed(X)
    drawn, y, said = sample_in_order(generator, 90, 3, order=order, **how)
    before, classes = generator.sample(90, 3)
    kept = (before["came"] <= before["left"]).to_numpy()
    assert (drawn["came"] <= drawn["left"]).all()
    assert y.tolist() == classes.tolist()
    pd.testing.assert_frame_equal(drawn[kept], before[kept])
    assert said == [
        f"{90 - kept.sum()} of 90 rows had 'left' before 'came', which no row of the table has: "
        "they were replaced by others of the same class."
    ]
    again, *_ = sample_in_order(generator, 90, 3, order=order, **how)
    pd.testing.assert_frame_equal(again, drawn)


def test_dates_are_compared_as_they_are_written():
    """Two dates of one day are in order as numbers; of the later one midnight is written."""
    table = stays(40).assign(came=lambda t: t["left"], left=lambda t: t["left"].str[:10])
    how, X = read(table)
    day = np.floor(X["left"].iloc[0])
    rows = X.assign(came=day + 0.3, left=day + 0.6)
    with pytest.raises(DataError, match=r"All rows .* 'left' before 'came'.*--drop"):
        sample_in_order(Mixed(rows), 1, 0, order=[("came", "left")], **how)


def test_where_none_is_in_order_it_is_said():
    how, X = read(stays(60))
    all_rows = "All rows that were drawn had 'left' before 'came', which no row of the table has:"
    for do, way_out in (((), "leave one"), (("left",), "set both .*another date, or leave one")):
        with pytest.raises(DataError, match=f"{all_rows} {way_out} of the two out"):
            sample_in_order(Mixed(X, never=True), 20, 0, order=[("came", "left")], do=do, **how)


def test_generated_rows_are_in_order(tmp_path):
    stays(120).to_csv(tmp_path / "stays.csv", index=False)
    said = []
    out = tmp_path / "rows.csv"
    quick = {"generator": "copula", "report": said.append}
    generate_table(tmp_path / "stays.csv", "ward", out, 200, **quick)
    rows = pd.read_csv(out)
    assert len(rows) == 200
    came, left = (
        pd.to_datetime(rows["came"], format="%d.%m.%Y"),
        pd.to_datetime(rows["left"], format="%Y-%m-%d %H:%M"),
    )
    assert (came <= left)[came.notna() & left.notna()].all()
    assert any("'left' before 'came'" in line for line in said)


class Rare(Mixed):
    """Draws one row in 2,000 that is in order."""

    def sample(self, n, seed):
        X, y = super().sample(n, seed)
        hit = np.random.default_rng(seed).random(n) < 1 / 2000
        return X.assign(left=X["came"] + np.where(hit, 1, -1)), y


def test_where_few_are_in_order_it_is_said_what_to_do():
    how, X = read(stays(60))
    drawn, _, said = sample_in_order(Rare(X), 90, 1, order=[("came", "left")], do=["came"], **how)
    assert 0 < len(drawn) < 90
    assert (drawn["came"] <= drawn["left"]).all()
    assert said[1] == (
        f"{90 - len(drawn)} of them were left out: 20 further draws had too few rows in order. For "
        "more, set both (--do), or choose another date."
    )


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    table = stays(120).drop(columns=["born", "seen"])
    table["ward"] = np.where(table["age"] > 55, "a", "b")
    path = tmp_path_factory.mktemp("visits") / "visits.csv"
    table.to_csv(path, index=False)
    return path


QUICK = {"options": {"n_dags": 2, "n_bootstraps": 2}}


@pytest.mark.parametrize("do", [{"came": "01.06.2024"}, {"left": "2024-06-01"}])
def test_the_other_date_follows_one_that_is_set(visits, tmp_path, do):
    generate_table(visits, "ward", tmp_path / "rows.csv", 100, do=do, **QUICK)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 100
    came, left = pd.to_datetime(rows["came"], dayfirst=True), pd.to_datetime(rows["left"])
    assert (came <= left).all()
    for name, days in (("came", came), ("left", left)):
        assert (days == pd.Timestamp(2024, 6, 1)).all() == (name in do)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (
            {"came": "31.12.2025"},
            r"'came' to 31.12.2025; 'left' would be before .*to 2024-1\d-\d\d ",
        ),
        ({"left": "2023-05-01"}, r"'left' to 2023-05-01 00:00; 'came' would be after .*\.01\.2024"),
    ],
)
def test_a_date_that_no_row_can_keep_the_order_with(visits, tmp_path, do, message):
    said, free = [], "left" if "came" in do else "came"
    with pytest.raises(DataError, match=f"{message}.*Set '{free}' too .--do.*--drop"):
        generate_table(visits, "ward", tmp_path / "a.csv", 50, do=do, report=said.append, **QUICK)
    assert not any("fitting" in line for line in said)  # before the work
    both = {"came": "31.12.2025", "left": "2023-05-01"}  # as asked
    generate_table(visits, "ward", tmp_path / "a.csv", 50, do=both, **QUICK)
    rows = pd.read_csv(tmp_path / "a.csv")
    assert set(rows["came"]) == {"31.12.2025"}
    assert set(rows["left"]) == {"2023-05-01 00:00"}


def test_a_day_is_set_in_the_zone_of_its_column_unless_it_names_its_own(tmp_path):
    rng = np.random.default_rng(0)
    days = pd.Series(pd.Timestamp(2024, 1, 1) + pd.to_timedelta(rng.integers(0, 300, 80), "D"))
    frame = pd.DataFrame({"came": days.dt.tz_localize("Europe/Berlin"), "x": rng.normal(size=80)})
    frame.assign(ward=["a", "b"] * 40).to_parquet(tmp_path / "visits.parquet")
    for text, hour in (("2024-07-01", 0), ("2024-07-01 08:00", 8), ("2024-07-01T08:00Z", 10)):
        out, do = tmp_path / "rows.parquet", {"came": text}
        generate_table(tmp_path / "visits.parquet", "ward", out, 4, do=do, **QUICK)
        summer = pd.Timestamp(2024, 7, 1, hour, tz="Europe/Berlin")
        assert set(pd.read_parquet(out)["came"]) == {summer}
