"""Drawn rows against DoWhy's own; moved noise: identity, same distribution, closed forms."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from dowhy import gcm
from scipy.stats import ks_2samp, kstest, norm

from causalmix.errors import CausalMixError
from causalmix.generation.causal import CausalGenerator
from causalmix.scm.counterfactual import even_levels
from causalmix.scm.model import StructuralCausalModel


def mixed_table(n: int = 300) -> tuple[pd.DataFrame, nx.DiGraph]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    group = np.where(x + rng.normal(size=n) > 0, "high", "low")
    y = 2 * x + 3 * (group == "high") + rng.normal(size=n)
    table = pd.DataFrame({"x": x, "group": pd.Categorical(group), "y": y})
    return table, nx.DiGraph([("x", "group"), ("x", "y"), ("group", "y")])


def test_rows_have_the_distribution_that_dowhy_draws_from():
    table, dag = mixed_table(1000)
    model = StructuralCausalModel(dag).fit(table)
    rows = model.sample(4000, 0)
    np.random.seed(0)  # noqa: NPY002 (DoWhy draws from this generator)
    theirs = model.codec_.decode(gcm.draw_samples(model.model_, 4000).astype(float), None)
    for name in ("x", "y"):
        assert ks_2samp(rows[name], theirs[name]).pvalue > 0.01
    for group in ("high", "low"):
        means = [each.loc[each["group"] == group, "y"].mean() for each in (rows, theirs)]
        assert means[0] == pytest.approx(means[1], abs=0.15)


def test_noise_is_spread_evenly_over_the_rows():
    """There is a level in each n-th, and so means vary less than those of independent rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    table["c"] += table["a"] + table["b"]
    model = StructuralCausalModel(nx.DiGraph([("a", "c"), ("b", "c")])).fit(table)
    root = model.model_.causal_mechanism("a")
    levels = root.levels(model.sample(100, 0)["a"].to_numpy(), rng)
    assert set((levels * 100).astype(int)) == set(range(100))
    means = [model.sample(100, seed).mean() for seed in range(20)]
    spread = pd.DataFrame(means).std() / (table.std() / np.sqrt(100))  # 1 for i.i.d. rows
    assert spread.max() < 0.3


@pytest.mark.parametrize("n", [1, 2, 100, 121, 125])
@pytest.mark.parametrize("n_nodes", [1, 2, 5, 30])
def test_even_levels_have_one_in_each_nth(n, n_nodes):
    levels = even_levels(n, n_nodes, np.random.default_rng(0))
    expected = np.repeat(np.arange(n)[:, None], n_nodes, axis=1)
    np.testing.assert_array_equal(np.sort((levels * n).astype(int), axis=0), expected)


def test_even_levels_fill_the_cells_of_every_pair():
    cells = (even_levels(121, 12, np.random.default_rng(0)) * 11).astype(int)
    for first, second in itertools.combinations(cells.T, 2):
        assert len(set(zip(first, second, strict=True))) == 121


def test_even_levels_are_uniform_in_every_row():
    """Over many seeds the first point has no preferred place, nor a tie between coordinates."""
    first = np.array([even_levels(10, 3, np.random.default_rng(seed))[0] for seed in range(1000)])
    for levels in first.T:
        assert kstest(levels, "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(first.T)[np.triu_indices(3, 1)]).max() < 0.1


def test_rows_with_the_noise_they_had_are_the_observed_ones():
    table, dag = mixed_table()
    rows = StructuralCausalModel(dag).fit(table).sample(len(table), 0, noise_correlation=1.0)
    for frame in (rows, table):
        frame.sort_values("x", inplace=True, ignore_index=True)
    pd.testing.assert_frame_equal(rows, table)


@pytest.mark.parametrize("correlation", [0.3, 0.95])
def test_the_distribution_is_that_of_the_model_whatever_the_correlation(correlation):
    """A model without misfit: every column of moved rows has the distribution of fresh ones."""
    table, dag = mixed_table(2000)
    model = StructuralCausalModel(dag).fit(table)
    fresh, moved = model.sample(4000, 1), model.sample(4000, 2, noise_correlation=correlation)
    assert kstest(fresh["x"], moved["x"]).statistic < 0.05
    assert kstest(fresh["y"], moved["y"]).statistic < 0.05
    shares = [(rows["group"] == "high").mean() for rows in (fresh, moved)]
    assert shares[0] == pytest.approx(shares[1], abs=0.04)


def test_noise_has_the_correlation_that_is_asked_for():
    """A row starts from a training row; two roots without edges show each the correlation."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"key": np.arange(500.0) / 500, "x": rng.normal(size=500)})
    dag = nx.DiGraph()
    dag.add_nodes_from(table.columns)
    model = StructuralCausalModel(dag).fit(table)
    order = np.random.default_rng(3)
    base = order.permutation(np.resize(order.permutation(500), 2000))  # as the model draws them
    rows = model.sample(2000, 3, noise_correlation=0.8)
    for name in table:
        assert np.corrcoef(rows[name], table[name].iloc[base])[0, 1] == pytest.approx(0.8, abs=0.04)


def test_labels_flip_as_often_as_two_correlated_levels_part():
    """For an even chance the levels are on two sides of the median: arccos(rho) / pi."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"x": rng.normal(size=400), "y": pd.Categorical(rng.choice(["a", "b"], 400))}
    )
    model = StructuralCausalModel(nx.DiGraph([("x", "y")])).fit(table)
    order = np.random.default_rng(5)
    base = order.permutation(np.resize(order.permutation(400), 4000))
    rows = model.sample(4000, 5, noise_correlation=0.9)
    flipped = (rows["y"].astype(str) != table["y"].astype(str).iloc[base].to_numpy()).mean()
    assert flipped == pytest.approx(np.arccos(0.9) / np.pi, abs=0.03)


def test_numbers_with_many_ties_keep_their_values():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"count": rng.poisson(1.0, 300).astype(float)})
    dag = nx.DiGraph()
    dag.add_node("count")
    rows = StructuralCausalModel(dag).fit(table).sample(3000, 0, noise_correlation=0.9)
    assert set(rows["count"]) <= set(table["count"])
    assert rows["count"].mean() == pytest.approx(table["count"].mean(), abs=0.1)


def test_missing_cells_are_drawn():
    table, dag = mixed_table()
    table.loc[:99, "y"] = np.nan
    table.loc[50:149, "group"] = None
    model = StructuralCausalModel(dag, missing="none").fit(table)
    rows = model.sample(300, 0, noise_correlation=0.9)
    assert rows.notna().all(axis=None)
    # What is not missing stays as it is where the noise does.
    same = model.sample(300, 0, noise_correlation=1.0)
    assert set(same["x"]) == set(table["x"])
    whole = table["y"].iloc[150:].to_numpy()  # with a group that is known
    assert np.abs(whole[:, None] - same["y"].to_numpy()).min(axis=1).max() < 1e-9
    assert rows["y"].std() == pytest.approx(table["y"].std(), rel=0.2)


def test_binned_mechanisms_have_noise_too():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 300)
    table = pd.DataFrame({"group": pd.Categorical(group), "y": rng.normal(size=300)})
    table["y"] += 3 * (group == "b")
    model = StructuralCausalModel(nx.DiGraph([("group", "y")]), mechanism="tfm_bins").fit(table)
    rows = model.sample(1000, 0, noise_correlation=0.8)
    means = rows.groupby("group", observed=True)["y"].mean()
    assert means["b"] - means["a"] == pytest.approx(3, abs=0.4)
    still = model.sample(300, 0, noise_correlation=0.9999)
    np.testing.assert_allclose(np.sort(still["y"]), np.sort(table["y"]), atol=0.3)


def test_the_generator_starts_from_training_rows_and_its_seed_decides():
    table, _ = mixed_table(120)
    X, y = table[["x", "y"]], table["group"]
    generator = CausalGenerator(n_dags=2, n_bootstraps=2, noise_correlation=0.999).fit(X, y)
    (rows, labels), (again, _), (other, _) = (generator.sample(500, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(rows, again)
    assert not rows.equals(other)
    nearest = np.abs(rows["x"].to_numpy()[:, None] - X["x"].to_numpy()).min(axis=1)
    step = norm.std() * np.sqrt(2 * (1 - 0.999))
    assert np.median(nearest) < step
    assert set(labels) == {"high", "low"}
    apart, _ = generator.detached().sample(500, 0)
    sampled = CausalGenerator(n_dags=2, n_bootstraps=2, noise_correlation=0.0).fit(X, y)
    pd.testing.assert_frame_equal(apart, sampled.sample(500, 0)[0])
    assert generator.noise_correlation == 0.999


@pytest.fixture(scope="module")
def gaussian():
    """x → m → y and x → y, linear with normal noise: m = 0.8 x + e, y = 1.5 m - 0.5 x + u."""
    rng, n = np.random.default_rng(1), 600
    x, e, u = rng.normal(size=(3, n))
    m = 0.8 * x + e
    table = pd.DataFrame({"x": x, "m": m, "y": 1.5 * m - 0.5 * x + u})
    dag = nx.DiGraph([("x", "m"), ("m", "y"), ("x", "y")])
    return table, u, StructuralCausalModel(dag).fit(table)


def bases(n_rows, n, seed):
    order = np.random.default_rng(seed)
    return order.permutation(np.resize(order.permutation(n_rows), n))  # as the model draws them


def test_an_intervention_on_rows_with_their_noise_is_the_closed_form_counterfactual(gaussian):
    """y under do(m = 0) is y - 1.5 m, row by row; what m does not cause stays."""
    table, _, model = gaussian
    rows = model.sample(600, 3, do={"m": 0.0}, noise_correlation=1.0)
    base = table.iloc[bases(600, 600, 3)].reset_index(drop=True)
    assert (rows["m"] == 0).all()
    np.testing.assert_array_equal(rows["x"], base["x"])
    np.testing.assert_allclose(rows["y"], base["y"] - 1.5 * base["m"], atol=0.25)  # 1.5 is fitted
    plain = np.abs(rows["y"] - base["y"]).mean()
    assert np.abs(rows["y"] - base["y"] + 1.5 * base["m"]).mean() < 0.1 * plain


def test_an_intervention_and_moved_noise_work_together(gaussian):
    """The noise of y keeps its correlation with that of the base row, and x its with x."""
    table, u, model = gaussian
    rows = model.sample(3000, 5, do={"m": 0.5}, noise_correlation=0.8)
    base = bases(600, 3000, 5)
    noise = rows["y"] - 1.5 * 0.5 + 0.5 * rows["x"]
    assert np.corrcoef(noise, u[base])[0, 1] == pytest.approx(0.8, abs=0.04)
    assert np.corrcoef(rows["x"], table["x"].iloc[base])[0, 1] == pytest.approx(0.8, abs=0.04)
    fresh = model.sample(3000, 6, do={"m": 0.5})
    assert kstest(rows["y"], fresh["y"]).statistic < 0.05


def test_an_intervention_on_a_category_moves_its_effects_alone():
    rng = np.random.default_rng(2)
    group = rng.choice(["a", "b"], 300)
    table = pd.DataFrame({"group": pd.Categorical(group), "y": rng.normal(size=300)})
    table["y"] += 3 * (group == "b")
    model = StructuralCausalModel(nx.DiGraph([("group", "y")])).fit(table)
    rows = model.sample(300, 0, do={"group": "b"}, noise_correlation=1.0)
    base = table.iloc[bases(300, 300, 0)].reset_index(drop=True)
    assert (rows["group"] == "b").all()
    moved = rows["y"] - base["y"]
    assert moved[base["group"] == "a"].mean() == pytest.approx(3, abs=0.4)
    np.testing.assert_array_equal(moved[base["group"] == "b"], 0)


def test_a_correlation_outside_zero_to_one_is_refused():
    table, dag = mixed_table(60)
    model = StructuralCausalModel(dag).fit(table)
    with pytest.raises(CausalMixError, match="noise_correlation is 2"):
        model.sample(5, 0, noise_correlation=2)
