"""Rows that keep noise: identity, closed forms in a linear model, gaps and categories."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.causal_generator import CausalGenerator
from causalmix.errors import CausalMixError
from causalmix.scm import StructuralCausalModel


def mixed_table(n: int = 300) -> tuple[pd.DataFrame, nx.DiGraph]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    group = np.where(x + rng.normal(size=n) > 0, "high", "low")
    y = 2 * x + 3 * (group == "high") + rng.normal(size=n)
    table = pd.DataFrame({"x": x, "group": pd.Categorical(group), "y": y})
    return table, nx.DiGraph([("x", "group"), ("x", "y"), ("group", "y")])


def test_rows_that_keep_all_their_noise_are_the_observed_ones():
    table, dag = mixed_table()
    model = StructuralCausalModel(dag).fit(table)
    rows = model.sample(len(table), 0, redrawn_share=0.0)
    for frame in (rows, table):
        frame.sort_values("x", inplace=True, ignore_index=True)
    pd.testing.assert_frame_equal(rows, table)


def test_rows_without_any_of_their_noise_are_distributed_as_the_model_has_it():
    table, dag = mixed_table()
    model = StructuralCausalModel(dag).fit(table)
    fresh = model.sample(4000, 1)
    redrawn = model.sample(4000, 2, redrawn_share=0.9999999)
    assert redrawn["y"].mean() == pytest.approx(fresh["y"].mean(), abs=0.2)
    assert redrawn["y"].std() == pytest.approx(fresh["y"].std(), rel=0.05)
    share = [(rows["group"] == "high").mean() for rows in (fresh, redrawn)]
    assert share[0] == pytest.approx(share[1], abs=0.04)


def test_a_share_of_the_noise_is_kept_where_the_parent_changes():
    """With y = 2x + e, three in eight of the e are those of observed rows, exactly."""
    table, _ = mixed_table()
    table = table[["x", "y"]].assign(y=lambda t: 2 * t["x"] + np.sin(1000 * t["x"]))
    model = StructuralCausalModel(nx.DiGraph([("x", "y")])).fit(table)
    rows = model.sample(2000, 0, redrawn_share=0.5)
    mechanism = model.model_.causal_mechanism("y")

    def noise(frame: pd.DataFrame) -> np.ndarray:
        y, x = frame["y"].to_numpy(), frame[["x"]].to_numpy(dtype=object)
        return mechanism.estimate_noise(y, x).ravel()

    def share_in(found: np.ndarray, observed: np.ndarray) -> float:
        return float((np.abs(found[:, None] - observed).min(axis=1) < 1e-9).mean())

    # A row that would keep both gets one anew. y stays in the observed range, which changes the
    # noise of a few rows.
    assert share_in(noise(rows), noise(table)) == pytest.approx(0.375, abs=0.05)
    assert share_in(rows["x"].to_numpy(), table["x"].to_numpy()) == pytest.approx(0.375, abs=0.05)


def test_no_row_is_a_copy():
    table, dag = mixed_table()
    rows = StructuralCausalModel(dag).fit(table).sample(3000, 0, redrawn_share=0.01)
    copies = rows.merge(table).shape[0]
    # Of three columns the category may come out as it was; the numbers cannot.
    assert copies / len(rows) < 0.34


def test_missing_cells_are_drawn():
    table, dag = mixed_table()
    table.loc[:99, "y"] = np.nan
    table.loc[50:149, "group"] = None
    rows = StructuralCausalModel(dag, missing="none").fit(table).sample(300, 0, redrawn_share=0.2)
    assert rows.notna().all(axis=None)
    assert rows["y"].std() == pytest.approx(table["y"].std(), rel=0.2)


def test_binned_mechanisms_keep_values_of_unchanged_parents():
    table, _ = mixed_table()
    model = StructuralCausalModel(nx.DiGraph([("x", "y")]), mechanism="tfm_bins")
    rows = model.fit(table[["x", "y"]]).sample(1000, 0, redrawn_share=0.5, kept=["y"])
    assert rows["x"].isin(table["x"]).mean() < 0.1  # the only node that is drawn
    rows = model.sample(1000, 0, redrawn_share=0.5, kept=["x"])
    assert rows["x"].isin(table["x"]).all()
    rows = model.sample(1000, 0, redrawn_share=0.0)
    pairs = rows.merge(table, on="x", suffixes=("", "_before"))
    np.testing.assert_allclose(pairs["y"], pairs["y_before"], atol=1e-6)
    rows = model.sample(1000, 0, redrawn_share=0.5)
    assert rows["y"].corr(rows["x"]) == pytest.approx(table["y"].corr(table["x"]), abs=0.1)


def test_the_generator_keeps_noise_and_its_seed_decides():
    table, _ = mixed_table(120)
    X, y = table[["x", "y"]], table["group"]
    generator = CausalGenerator(n_dags=2, n_bootstraps=2, redrawn_share=0.3).fit(X, y)
    (rows, labels), (again, _), (other, _) = (generator.sample(500, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(rows, again)
    assert not rows.equals(other)
    assert 0.2 < rows["x"].isin(X["x"]).mean() < 0.75
    assert set(labels) == {"high", "low"}


def test_a_share_outside_zero_to_one_or_beside_an_intervention_is_refused():
    table, dag = mixed_table(60)
    model = StructuralCausalModel(dag).fit(table)
    with pytest.raises(CausalMixError, match="redrawn_share is 2"):
        model.sample(5, 0, redrawn_share=2)
    with pytest.raises(CausalMixError, match="redrawn_share"):
        model.sample(5, 0, do={"x": 1.0}, redrawn_share=0.5)
