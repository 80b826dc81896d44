"""Column-by-column generation keeps dependence that no additive model has."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from made_tables import collider
from scipy.stats import kstest

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.generation.by_column import (
    TFMConditionalGenerator,
    TFMCPDAGGenerator,
    TFMDrawnGenerator,
    complete_dag,
    drawn_dags,
)
from causalmix.generation.registry import make_generator
from causalmix.scm.mechanisms import BinnedModel, Columns, make_mechanism
from causalmix.scm.model import StructuralCausalModel


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    """A cause, a number with two branches that grow apart with it, and a label that it decides."""
    rng = np.random.default_rng(0)
    cause = rng.uniform(0, 2, 300)
    sign = rng.choice([-1.0, 1.0], 300)
    X = pd.DataFrame({"cause": cause, "branch": sign * (1 + cause) + 0.1 * rng.normal(size=300)})
    label = np.where(np.abs(X.branch) + 0.2 * rng.normal(size=300) > 2, "far", "near")
    return X, pd.Series(label, dtype="category", name="y")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfm_conditional", {}),
        ("tfm_conditional_reverse", {}),
        ("tfm_conditional_random", {"seed": 1}),
        ("tfm_conditional_dag", {"n_dags": 2, "n_bootstraps": 4}),
        ("tfm_conditional_cpdag", {}),
        ("tfm_conditional_drawn", {"n_bootstraps": 4, "mechanisms_per_column": 2}),
    ],
)
def test_columns_depend_on_those_before_them(table, name, options):
    X_new, y_new = make_generator(name, **options).fit(*table).sample(600, seed=0)
    far = y_new == "far"
    assert np.abs(X_new.branch[far]).median() > np.abs(X_new.branch[~far]).median() + 0.5
    assert 0.35 < far.mean() < 0.65


def test_both_branches_are_drawn_and_nothing_between_them(table):
    X, _ = table
    X_new, _ = TFMConditionalGenerator().fit(*table).sample(600, seed=0)
    assert (X_new.branch > 0).mean() == pytest.approx((X.branch > 0).mean(), abs=0.1)
    assert (np.abs(X_new.branch) < 0.7).mean() < 0.03  # X has none; a mean of branches would be 0
    assert np.corrcoef(X_new.cause, np.abs(X_new.branch))[0, 1] > 0.7


def mechanism(parents: np.ndarray, child: np.ndarray) -> BinnedModel:
    coded = pd.DataFrame({"p": parents, "c": child})
    return make_mechanism("c", ["p"], Columns.learn(coded, ()), "tfm_bins", "stacked")


def test_a_number_without_dependence_keeps_its_distribution():
    rng = np.random.default_rng(0)
    child = rng.exponential(size=400)
    model = mechanism(rng.normal(size=400), child)
    drawn = model.evaluate(rng.normal(size=(2000, 1)), rng.random((2000, 1))).ravel()
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(
        np.quantile(drawn, levels), np.quantile(child, levels), rtol=0.2, atol=0.05
    )
    assert ((drawn < child.min()) | (drawn > child.max())).mean() < 0.05


@pytest.fixture(scope="module")
def line() -> BinnedModel:
    """c = 2p + N(0, 0.5), of 500 rows."""
    rng = np.random.default_rng(0)
    parent = rng.normal(size=500)
    return mechanism(parent, 2 * parent + 0.5 * rng.normal(size=500))


def drawn_at(model: BinnedModel, value: float) -> np.ndarray:
    return model.evaluate(np.full((2000, 1), value), np.linspace(0, 1, 2002)[1:-1, None]).ravel()


@pytest.mark.parametrize("value", [-1.5, 0.0, 1.0])
def test_a_line_keeps_its_mean_and_spread_everywhere(line, value):
    drawn = drawn_at(line, value)
    assert drawn.mean() == pytest.approx(2 * value, abs=0.1)
    assert drawn.std() == pytest.approx(0.5, rel=0.1)


def test_temperature_narrows_a_gaussian_as_its_density_to_a_power(line, monkeypatch):
    """The density to the power 1 / T has √T times the deviation."""
    monkeypatch.setattr(line, "temperature", 0.5)
    assert drawn_at(line, 0.0).std() == pytest.approx(0.5 * np.sqrt(0.5), rel=0.1)


def test_a_spread_and_modes_that_depend_on_the_parent():
    """c = p + N(0, 0.2) below 0, and p ± 2 + N(0, 0.2) above."""
    rng = np.random.default_rng(0)
    parent = rng.normal(size=500)
    branch = np.where(parent > 0, 2 * rng.choice([-1, 1], 500), 0)
    model = mechanism(parent, parent + branch + 0.2 * rng.normal(size=500))
    below, above = drawn_at(model, -0.8) + 0.8, drawn_at(model, 0.8) - 0.8
    assert below.std() < 0.5
    assert np.abs(np.abs(above) - 2).mean() < 0.5  # one bump would be 1.2 away, N(0, 2)
    assert (above > 0).mean() == pytest.approx(0.5, abs=0.15)


def test_values_of_their_own_bins_and_few_values():
    """A parent that decides the child: only the bin's own values are drawn."""
    child = np.repeat(np.arange(4.0), 30) * 10
    model = mechanism(child / 10, child)
    parents = np.repeat(np.arange(4.0), 50)[:, None]
    drawn = model.evaluate(parents, np.random.default_rng(0).random((200, 1)))
    assert set(drawn.ravel()) <= set(child)
    assert (drawn == parents * 10).mean() > 0.9


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_noise_explains_the_values(decimals):
    """Evaluated at the noise that was found, the model gives every value back; ties too."""
    rng = np.random.default_rng(0)
    parent = rng.normal(size=300)
    child = (3 * parent + rng.normal(size=300)).round(decimals)
    model = mechanism(parent, child)
    noise = model.estimate_noise(child, parent[:, None])
    assert ((noise > 0) & (noise < 1)).all()
    np.testing.assert_allclose(model.evaluate(parent[:, None], noise).ravel(), child, atol=1e-6)
    higher = model.evaluate(parent[:, None], np.minimum(noise + 0.3, 1)).ravel()
    assert (higher >= child).all()
    assert kstest(noise.ravel(), "uniform").statistic < 0.12


def test_an_intervention_has_its_effect():
    """d = a + b + noise: setting a from 0 to 1 adds 1."""
    dag = nx.DiGraph([("a", "c"), ("b", "c"), ("c", "d")])
    model = StructuralCausalModel(dag, mechanism="tfm_bins").fit(collider(400))
    effect = model.average_treatment_effect("a", 1.0, 0.0, "d", n=2000, seed=0)
    assert effect == pytest.approx(1, abs=0.2)


def test_unknown_missing_option():
    with pytest.raises(UnknownNameError, match="modelled"):
        TFMConditionalGenerator(missing="modeled")


def test_the_orders_are_those_asked_for(table):
    orders = {}
    for order in ("table", "reverse", "random"):
        fitted = TFMConditionalGenerator(order=order, seed=5).fit(*table)
        orders[order] = "".join(node[0] for node in nx.topological_sort(fitted._model.dag))
    assert orders == {"table": "cby", "reverse": "ybc", "random": orders["random"]}
    assert orders["random"] not in ("cby", "ybc")  # with this seed


def test_temperature_sharpens_and_flattens_known_probabilities():
    """P(c = yes | x) = 0.8 for x > 0, so that of p^(1/T) 0.8^2 / (0.8^2 + 0.2^2) = 0.94 at 1/2."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], 600)
    c = np.where(rng.random(600) < 0.5 + 0.3 * x, "yes", "no")
    frame = pd.DataFrame({"x": x, "c": pd.Categorical(c)})
    shares = {}
    for temperature in (0.5, 1.0, 2.0, 1e-6):
        model = StructuralCausalModel(complete_dag(["x", "c"]), temperature=temperature)
        rows = model.fit(frame).sample(4000, 0)
        shares[temperature] = (rows["c"][rows["x"] > 0] == "yes").mean()
    assert shares[1.0] == pytest.approx(0.8, abs=0.05)
    assert shares[0.5] == pytest.approx(0.94, abs=0.03)
    assert shares[2.0] == pytest.approx(0.667, abs=0.05)
    assert shares[1e-6] == 1


def test_a_given_graph_decides_what_a_column_depends_on(table, tmp_path):
    """The label is a cause of nothing, then of all; or undirected, and given all before it."""
    X, y = table
    dag = nx.DiGraph([("cause", "branch"), ("branch", "y")])
    fitted = TFMCPDAGGenerator(graph=dag).fit(X, y)
    assert set(fitted._model.dag.edges) == set(dag.edges)
    of_pairs = TFMCPDAGGenerator(graph=list(dag.edges)).fit(X, y)
    assert set(of_pairs._model.dag.edges) == set(dag.edges)
    either_way = TFMCPDAGGenerator(graph=[("branch", "y"), ("y", "branch")]).fit(X, y)
    with pytest.raises(CausalMixError, match="The graph contains 3; an edge is a pair"):
        TFMCPDAGGenerator(graph=[3]).fit(X, y)
    path = tmp_path / "graph.txt"
    path.write_text("Graph Nodes:\ncause;branch;y\n\nGraph Edges:\n1. branch --- y\n")
    fitted = TFMCPDAGGenerator(graph=path).fit(X, y)
    for model in (fitted._model, either_way._model):
        assert set(model.dag.edges) == set(complete_dag(["cause", "branch", "y"]).edges)
    path.write_text("Graph Nodes:\ncause;y\n\nGraph Edges:\n1. cause --- y\n")
    with pytest.raises(DataError, match="no node for these columns: branch"):
        TFMCPDAGGenerator(graph=path).fit(X, y)
    dag.add_edge("y", "cause")
    with pytest.raises(DataError, match="cycle: "):
        TFMCPDAGGenerator(graph=dag).fit(X, y)


def test_parents_are_as_frequent_as_the_edges_are_probable(table):
    X, y = table
    options = {"n_bootstraps": 6, "mechanisms_per_column": 50, "completion_alpha": 0.0}
    drawn = TFMDrawnGenerator(**options).fit(X, y)
    dags, edges = drawn._model.dags, drawn.edges_
    share = np.mean([dag.has_edge("cause", "branch") for dag in dags])
    assert share == pytest.approx(edges.matrix[0, 1], abs=0.12)
    completed = drawn_dags(edges, X.assign(y=y), 0, target="y")
    assert not any(dag.out_degree("y") for dag in (*dags, *completed))


@pytest.mark.parametrize(("alpha", "edges"), [(0.0, 0), (0.1, 1)])
def test_drawn_graphs_get_the_dependence_that_a_search_missed(table, alpha, edges):
    """No edge was found; the branch depends on its cause in size, and its size is a column."""
    X, _ = table
    data = pd.DataFrame({"cause": X.cause, "size": X.branch.abs()})
    found = EdgeProbabilities(tuple(data), np.zeros((2, 2)), pd.DataFrame())
    dags = drawn_dags(found, data, 0, completion_alpha=alpha)
    assert {dag.number_of_edges() for dag in dags} == {edges}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TFMConditionalGenerator(order="sideways"), "table, reverse, random"),
        (lambda: TFMConditionalGenerator(temperature=-1), "temperature is -1"),
        (lambda: TFMConditionalGenerator(seed=-1), "seed is -1"),
        (lambda: TFMCPDAGGenerator(alpha=1.5), r"alpha is 1\.5"),
        (lambda: TFMDrawnGenerator(mechanisms_per_column=0), "mechanisms_per_column is 0"),
        (lambda: TFMDrawnGenerator(completion_alpha=2), "completion_alpha is 2"),
        (lambda: TFMDrawnGenerator(n_bootstraps=0), "n_bootstraps is 0"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(CausalMixError, match=message):
        make()
