"""A graph for each row: the rows are the mixture of the graphs' own."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.errors import CausalMixError
from causalmix.scm import counterfactual
from causalmix.scm.mixed import MixedModel, within_budget
from causalmix.scm.model import StructuralCausalModel


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """b = 2a + noise of the same variance as 2a; a class that b decides; gaps in b."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    b = 2 * a + 2 * rng.normal(size=300)
    c = pd.Categorical(np.where(b + rng.normal(size=300) > 0, "yes", "no"))
    return pd.DataFrame({"a": a, "b": np.where(rng.random(300) < 0.1, np.nan, b), "c": c})


def graph(*edges: str) -> nx.DiGraph:
    dag = nx.DiGraph()
    dag.add_nodes_from("abc")
    dag.add_edges_from(edges)
    return dag


def test_one_graph_gives_the_rows_of_its_model(table):
    dag = graph("ab", "bc")
    one = StructuralCausalModel(dag).fit(table)
    mixed = MixedModel([dag, dag]).fit(table)
    rows, own = mixed.sample(4000, 0), one.sample(4000, 0)
    assert rows["c"].value_counts(normalize=True)["yes"] == pytest.approx(
        (own["c"] == "yes").mean(), abs=0.03
    )
    assert rows[["a", "b"]].corr().loc["a", "b"] == pytest.approx(
        own[["a", "b"]].corr().loc["a", "b"], abs=0.03
    )
    assert rows["b"].isna().mean() == pytest.approx(0.1, abs=0.04)
    pd.testing.assert_frame_equal(rows, mixed.sample(4000, 0))


def test_a_dependence_is_as_frequent_as_its_edge(table):
    """In three quarters of the rows a causes b, in the others b causes nothing and is caused by c.

    Order differs too: c comes before b there, and after it elsewhere.
    """
    with_edge, without = graph("ab", "bc"), graph("cb")
    model = MixedModel([with_edge] * 3 + [without], missing="none").fit(table)
    rows = model.sample(8000, 1)
    full = StructuralCausalModel(with_edge, missing="none").fit(table).sample(8000, 1)
    slope, whole = (np.polyfit(each["a"], each["b"], 1)[0] for each in (rows, full))
    assert slope == pytest.approx(0.75 * whole, abs=0.1)
    effect = model.average_treatment_effect("a", 1.0, -1.0, "b", n=4000)
    assert effect == pytest.approx(0.75 * 4, abs=0.4)
    assert model.average_treatment_effect("b", 3.0, -3.0, "a", n=500) == 0


def test_equal_mechanisms_are_fitted_once_and_evaluated_together(table, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "causalmix.scm.counterfactual._value_at",
        lambda mechanism, parents, levels: calls.append(mechanism) or np.zeros(len(levels)),
    )
    dags = [graph("ab"), graph("ac"), graph("ab", "ac"), graph("ab")]
    model = MixedModel(dags, missing="none").fit(table.fillna({"b": 0.0}))
    model._draw(200, 0, {})
    assert len(calls) == len(set(map(id, calls))) == 5  # a; b and c with and without a


def test_an_effect_draws_only_what_the_outcome_depends_on(table, monkeypatch):
    """Of a → b → c, b → d: to set b makes a idle, and d plays no part in c."""
    table = table.fillna({"b": 0.0}).assign(d=np.random.default_rng(1).normal(size=len(table)))
    dag = nx.DiGraph(["ab", "bc", "bd"])
    model = StructuralCausalModel(dag, missing="none").fit(table)
    calls = []
    value_at = counterfactual._value_at
    monkeypatch.setattr(
        counterfactual, "_value_at", lambda *given: calls.append(given[0]) or value_at(*given)
    )
    effect = model.average_treatment_effect("b", 3.0, -3.0, "c", outcome_class="yes", n=2000)
    assert calls == [model.model_.causal_mechanism("c")]
    direct = [(model.sample(2000, 1, do={"b": value})["c"] == "yes").mean() for value in (3, -3)]
    assert effect == pytest.approx(direct[0] - direct[1], abs=0.03)


def test_within_budget():
    first, second, third = graph("ab", "bc"), graph("ac"), graph("ab")
    assert within_budget([first, second, third, first], 4) == [first, third, first]
    assert within_budget([first, second], 1) == [first]


def test_mistakes(table):
    with pytest.raises(CausalMixError, match="dags is empty"):
        MixedModel([])
    with pytest.raises(CausalMixError, match=r"noise_correlation is 0\.5"):
        MixedModel([graph("ab")]).fit(table).sample(5, 0, noise_correlation=0.5)
    with pytest.raises(CausalMixError, match="temperature is 0; a number above 0"):
        MixedModel([graph("ab")], temperature=0)
    with pytest.raises(CausalMixError, match="not fitted"):
        MixedModel([graph("ab")]).sample(5, 0)
