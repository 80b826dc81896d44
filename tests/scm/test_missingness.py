"""Gaps in synthetic rows come as those of the table do."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.scm.missingness import MissingnessModel, fill_gaps
from causalmix.scm.model import StructuralCausalModel


def table(n: int = 2000) -> pd.DataFrame:
    """`a` is missing where `b` is large, `c` together with `a`, `d` at random and `e` never."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    frame["g"] = rng.integers(0, 3, n).astype(float)
    gone = rng.random(n) < 1 / (1 + np.exp(-3 * frame["b"] + 2))
    frame.loc[gone, ["a", "c"]] = np.nan
    frame.loc[rng.random(n) < 0.1, "d"] = np.nan
    return frame


def test_gaps_depend_on_other_columns_and_come_together():
    real = table()
    whole = table().fillna(0.0)
    made = MissingnessModel().fit(real, ("g",)).mask(whole, np.random.default_rng(1))
    np.testing.assert_allclose(made.isna().mean(), real.isna().mean(), atol=0.03)
    for high in (True, False):
        rows = (whole["b"] > 0.5) == high
        share, expected = made["a"][rows].isna().mean(), real["a"][rows].isna().mean()
        assert abs(share - expected) < 0.06
    assert (made["a"].isna() == made["c"].isna()).mean() > 0.97
    assert abs(made["d"].isna().corr(made["a"].isna())) < 0.08
    assert made["e"].notna().all()


def test_a_column_with_few_gaps_and_one_without_numbers():
    frame = table(200)
    frame["few"] = np.r_[np.nan, np.nan, np.ones(198)]
    frame["none"] = np.nan
    made = MissingnessModel().fit(frame, ("g",)).mask(frame.fillna(0.0), np.random.default_rng(0))
    assert made["none"].isna().all()
    assert made["few"].isna().mean() < 0.06


def two_columns(gaps: str, n: int = 400) -> pd.DataFrame:
    """`age` is known; `income` rises with it and is missing as `gaps` says."""
    rng = np.random.default_rng(0)
    age = rng.normal(size=n)
    income = 0.5 * age + rng.exponential(size=n)
    gone = {
        "at random": rng.random(n) < 0.35,
        "where age is high": age > np.quantile(age, 0.65),
        "where income is high": income > np.quantile(income, 0.65),
    }[gaps]
    return pd.DataFrame({"age": age, "income": np.where(gone, np.nan, income)})


GAPS = ["at random", "where age is high", "where income is high"]
EDGES = [("age", "income"), ("income", "age")]


@pytest.mark.parametrize("correlation", [0.0, 0.95])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("gaps", GAPS)
def test_gaps_leave_the_columns_as_they_are(gaps, edge, correlation):
    data = two_columns(gaps)
    model = StructuralCausalModel(nx.DiGraph([edge])).fit(data)
    made = model.sample(4000, 0, noise_correlation=correlation)
    old = data["age"].quantile(0.65)
    assert (made["age"] > old).mean() == pytest.approx(0.35, abs=0.04)
    assert made["income"].isna().mean() == pytest.approx(0.35, abs=0.04)
    assert made["income"].mean() == pytest.approx(data["income"].mean(), abs=0.1)
    shares = [rows["income"].isna()[rows["age"] > old].mean() for rows in (made, data)]
    assert shares[0] == pytest.approx(shares[1], abs=0.15)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("gaps", GAPS)
def test_rows_with_the_noise_they_had_have_the_gaps_they_had(gaps, edge):
    data = two_columns(gaps)
    made = StructuralCausalModel(nx.DiGraph([edge])).fit(data).sample(400, 0, noise_correlation=1.0)
    for frame in (made, data):
        frame.sort_values("age", inplace=True, ignore_index=True)
    pd.testing.assert_frame_equal(made, data, check_exact=True)


def test_gaps_of_a_skewed_column_keep_their_share():
    """The column's own numbers, which the rows with a gap lack, say nothing of the gaps."""
    rng = np.random.default_rng(0)
    whole = pd.DataFrame({"a": rng.exponential(size=2000) ** 2, "b": rng.normal(size=2000)})
    gone = rng.random(2000) < 0.5
    real = whole.assign(a=whole["a"].mask(gone))
    made = MissingnessModel().fit(real).mask(whole, rng)
    assert made["a"].isna().mean() == pytest.approx(gone.mean(), abs=0.03)
    assert made["a"].mean() == pytest.approx(real["a"].mean(), rel=0.15)


def test_filled_gaps_depend_on_the_other_columns_as_known_numbers_do():
    rng = np.random.default_rng(0)
    n = 1000
    group = rng.integers(0, 2, n)
    a = rng.normal(size=n)
    whole = pd.DataFrame(
        {"a": a, "b": a + rng.normal(size=n), "c": np.round(2 * a + 3 * group), "group": group}
    ).astype(float)
    real = whole.copy()
    real.loc[a > 0.5, "b"] = np.nan
    real.loc[rng.random(n) < 0.3, "c"] = np.nan
    filled = fill_gaps(real, ("group",))
    known = real.notna()
    pd.testing.assert_frame_equal(filled.where(known), real)
    assert set(filled["c"]) <= set(real["c"].dropna())
    np.testing.assert_allclose(filled.corr(), whole.corr(), atol=0.06)
    np.testing.assert_allclose(filled.std(), whole.std(), rtol=0.1)
    pd.testing.assert_frame_equal(filled, fill_gaps(real, ("group",)))


def test_a_table_of_one_column_with_gaps():
    data = pd.DataFrame({"a": np.r_[np.full(40, np.nan), np.arange(60.0)]})
    dag = nx.DiGraph()
    dag.add_node("a")
    made = StructuralCausalModel(dag).fit(data).sample(1000, 0)
    assert made["a"].isna().mean() == pytest.approx(0.4, abs=0.05)
