"""As large a share of the rows is at a limit of detection, or a floor, as of the table's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from causalmix.data.dataset import TabularDataset
from causalmix.data.schema import TableSchema
from causalmix.reports.bounds import cut_off, with_bounds
from causalmix.reports.drawing import generate_table


def assays(n, seed=0):
    """Numbers that are cut off below, above or at both ends, more so of the young, and one more."""
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 90, n)
    level = np.exp(0.03 * (age - 50) + rng.normal(0, 0.8, n)) * 8
    crp = np.where(level < 5, "<5", level.round(1).astype(str))
    crp[(level < 5) & (rng.random(n) < 0.2)] = "5.0"
    return pd.DataFrame(
        {
            "age": age,
            "crp": crp,
            "titre": np.minimum(level * 10, 150).round(),
            "hours": (level - 6).clip(0, 9).round(2),
            "free": rng.normal(0, 1, n).round(3),
            "died": np.where(age + rng.normal(0, 15, n) > 60, "yes", "no"),
        }
    )


def shares(rows):
    crp = rows["crp"].astype(str).str.lstrip("<").astype(float)
    return {
        "crp": (crp == 5).mean(),
        "titre": (rows["titre"] == 150).mean(),
        "hours, least": (rows["hours"] == 0).mean(),
        "hours, greatest": (rows["hours"] == 9).mean(),
    }


def read(table):
    schema, X, _ = TableSchema.learn(table.drop(columns="died"))
    whole = TabularDataset("table", X, table["died"].astype("category"), "made")
    return whole, {"like": table, "schema": schema}


@pytest.mark.parametrize("noise", [0.05, 0.5])
@pytest.mark.parametrize("change", ["too few", "too many"])
def test_rows_get_the_share_of_the_table_and_keep_their_order(change, noise):
    table = assays(400)
    whole, how = read(table)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 400, 3000)
    X, y = whole.X.iloc[rows].reset_index(drop=True), whole.y.iloc[rows].reset_index(drop=True)
    for name in ("crp", "titre", "hours"):
        low, high = whole.X[name].min(), whole.X[name].max()
        sign = 1 if change == "too few" else -1  # smooth noise stays within the range, or is cut
        away = np.where(X[name] > (low + high) / 2, -sign, sign) * np.abs(rng.normal(size=3000))
        X[name] = (X[name] + noise * (high - low) * away).clip(low, high)
    X.loc[:99, "crp"] = np.nan
    found = with_bounds(X, y, whole, seed=0, **how)
    again = with_bounds(X, y, whole, seed=0, **how)
    pd.testing.assert_frame_equal(found, again)
    pd.testing.assert_frame_equal(found[["age", "free"]], X[["age", "free"]])
    assert found["crp"].isna().equals(X["crp"].isna())
    assert found["titre"].dtype == X["titre"].dtype
    decimals = {"crp": 1, "titre": 0, "hours": 2}  # as the table is written
    found, X = found.round(decimals), X.round(decimals)
    expected = {
        "crp": (whole.X["crp"] == 5).mean(),
        "titre": (whole.X["titre"] == 150).mean(),
        "hours, least": (whole.X["hours"] == 0).mean(),
        "hours, greatest": (whole.X["hours"] == 9).mean(),
    }
    got = shares(found) | {"crp": (found["crp"].dropna() == 5).mean()}
    for name, share in expected.items():
        assert share > 0.08
        assert abs(got[name] - share) < 0.03, name  # classes of the rows differ by chance
    if change == "too few":  # none of those above the bound has overtaken another one
        for name in ("crp", "hours"):
            at_bound = (found[name] == whole.X[name].min()) & (X[name] > whole.X[name].min())
            inside = found[name].between(whole.X[name].min(), whole.X[name].max(), "neither")
            assert X[name][at_bound].max() <= X[name][inside].min()


def test_the_share_is_that_of_the_classes():
    """Rows of one class have its share, not that of all."""
    table = assays(400)
    whole, how = read(table)
    ones = (whole.y == "yes").to_numpy()
    X = whole.X[ones].reset_index(drop=True).assign(crp=30.0)
    y = whole.y[ones].reset_index(drop=True)
    found = with_bounds(X, y, whole, seed=0, **how)
    assert (found["crp"] == 5).sum() == pytest.approx((whole.X["crp"][ones] == 5).sum(), abs=1)
    assert abs((whole.X["crp"] == 5).mean() - (found["crp"] == 5).mean()) > 0.08


def test_a_column_without_such_a_share_stays():
    table = assays(400)[["age", "free", "died"]]
    whole, how = read(table)
    X = whole.X.sample(200, random_state=0, ignore_index=True)
    y = whole.y.sample(200, random_state=0, ignore_index=True)
    pd.testing.assert_frame_equal(with_bounds(X, y, whole, seed=0, **how), X)


@pytest.mark.parametrize("generator", ["causal", "smote_nc"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_generated_rows_are_at_the_bound_as_often(tmp_path, generator, ending):
    table = assays(200)
    path, out = tmp_path / f"table.{ending}", tmp_path / f"rows.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    options = {"n_dags": 2, "n_bootstraps": 2} if generator == "causal" else {}
    generate_table(path, "died", out, 600, generator=generator, options=options)
    rows = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    for name, share in shares(table).items():
        assert share > 0.08
        # The share of each class is kept; how many rows a class has is left to chance.
        assert abs(shares(rows)[name] - share) < 4 * np.sqrt(share * (1 - share) / 600), name
    older = rows["age"][rows["crp"] != "<5"].mean() - rows["age"][rows["crp"] == "<5"].mean()
    assert older > 5  # what depends on the number still does
    below = (rows["crp"] == "<5").sum() / rows["crp"].isin(["<5", "5.0"]).sum()
    assert 0.6 < below < 0.95


def test_effects_that_are_cut_off_are_named(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 300).round(3)
    b = (2 * a + rng.normal(0, 0.3, 300)).round(3)
    table = pd.DataFrame({"a": a, "b": b, "floor": a.clip(0), "y": np.where(a > 0, "u", "v")})
    table.to_csv(tmp_path / "table.csv", index=False)
    within, beyond, said = tmp_path / "within.csv", tmp_path / "beyond.csv", []
    how = {"report": said.append, "graph": [("a", "b"), ("a", "y"), ("a", "floor")]}
    generate = partial(generate_table, tmp_path / "table.csv", "y", n=400, **how)
    generate(out=within, do={"a": "0"})
    assert not [line for line in said if "cut off" in line]
    generate(out=beyond, do={"a": str(a.max() + 1)})
    (line,) = (line for line in said if "cut off" in line)
    rows = pd.read_csv(beyond)
    share = (rows["b"] == b.max()).mean()
    assert share > 0.9
    assert f"'b' at its greatest in {share:.0%} of the rows" in line
    assert any("no row shows what follows" in line for line in said)
    rare = pd.DataFrame({"a": a, "b": b, "floor": a.clip(0)})
    assert not cut_off(rare.sample(300, replace=True, random_state=0), rare, besides=[])
