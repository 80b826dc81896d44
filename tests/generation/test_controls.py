"""Controls of the causal generator, given edges, and the posterior of models."""

from __future__ import annotations

import math
import pickle

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.generation import causal
from causalmix.generation.causal import CausalGenerator
from causalmix.generation.registry import GENERATORS, make_generator

FEW = {"n_dags": 3, "n_bootstraps": 3, "noise": "stacked"}
TARGET = "label"


def chain(n: int = 120) -> tuple[pd.DataFrame, pd.Series]:
    """a → b → c → label, d by itself with gaps, and three classes, one of them of two rows."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=n)
    b = a + 0.5 * rng.normal(size=n)
    c = b + 0.5 * rng.normal(size=n)
    d = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))
    y = np.where(c + 0.3 * rng.normal(size=n) > 0, "high", "low")
    y[:2] = "rare"
    X = pd.DataFrame({"a": a, "b": b, "c": c, "d": d})
    return X, pd.Series(pd.Categorical(y, ["high", "never", "rare", "low"]), name=TARGET)


def features(dag: nx.DiGraph) -> nx.DiGraph:
    return dag.subgraph(name for name in dag if name != TARGET)


def test_without_edges_features_are_independent_and_the_label_still_follows_them():
    X, y = chain()
    empty = make_generator("causal_empty", n_dags=1, noise_correlation=0.0).fit(X, y)
    rows, labels = empty.sample(4000, seed=0)
    correlation = rows.corr().to_numpy() - np.eye(4)
    assert abs(X[["a", "b", "c"]].corr().loc["a", "c"]) > 0.7
    assert abs(correlation).max() < 0.06  # three standard errors are .05
    high = rows["c"][labels == "high"].mean() - rows["c"][labels == "low"].mean()
    assert high > 0.5 * X["c"].std()


def test_an_empty_or_complete_graph_takes_no_search(monkeypatch):
    X, y = chain()
    monkeypatch.setattr(causal, "discover", None)
    for name in ("causal_empty", "causal_complete", "causal_complete_label"):
        made = make_generator(name, n_dags=2, noise="stacked").fit(X, y)
        assert made.edges_ is None
        assert math.isnan(made.n_changed_edges_)
        n_edges = 0 if name == "causal_empty" else 6
        assert [features(dag).number_of_edges() for dag in made.dags_] == [n_edges, n_edges]


@pytest.mark.parametrize("suffix", ["", "_label"])
def test_controls_stand_for_the_discovered_graphs(suffix):
    X, y = chain()
    edges = CausalGenerator(**FEW).discover(X, y)
    made = {
        graph: make_generator(f"causal_{graph}{suffix}", **FEW, edges=edges).fit(X, y)
        for graph in ("empty", "shuffled", "random", "complete")
    }
    found = make_generator(f"causal{suffix}", **FEW, edges=edges).fit(X, y)
    assert found.n_changed_edges_ == 0
    for k, dag in enumerate(found.dags_):
        assert not features(made["empty"].dags_[k]).edges
        assert nx.is_isomorphic(made["shuffled"].dags_[k], dag)
        assert made["random"].dags_[k].number_of_edges() == dag.number_of_edges()
        assert features(made["complete"].dags_[k]).number_of_edges() == 6
    for control in made.values():
        pairs = zip(control.dags_, found.dags_, strict=True)
        differ = [len(set(mine.edges) ^ set(its.edges)) for mine, its in pairs]
        assert control.n_changed_edges_ == np.mean(differ) > 0
        assert all(dag.in_degree(TARGET) for dag in control.dags_)
        if not suffix:
            assert all(dag.in_degree(TARGET) == 4 for dag in control.dags_)


@pytest.mark.parametrize("options", [{}, {"graph": "random"}, {"target_parents": "free"}])
def test_given_edges_make_no_difference(options):
    X, y = chain()
    edges = pickle.loads(pickle.dumps(CausalGenerator(**FEW, seed=3).discover(X, y)))
    searched = CausalGenerator(**FEW, **options, seed=3).fit(X, y)
    given = CausalGenerator(**FEW, **options, seed=3, edges=edges)
    given = pickle.loads(pickle.dumps(given)).fit(X, y)
    np.testing.assert_array_equal(searched.edges_.matrix, edges.matrix)
    for mine, its in zip(given.sample(200, 1), searched.sample(200, 1), strict=True):
        assert mine.equals(its)


def test_controls_keep_a_limit_of_time():
    X, y = chain()
    free, limited = (
        make_generator("causal_shuffled", **FEW, time_limit=limit).fit(X, y)
        for limit in (None, 1e6)
    )
    pd.testing.assert_frame_equal(free.sample(50, 0)[0], limited.sample(50, 0)[0])
    assert limited.n_changed_edges_ == free.n_changed_edges_


def test_models_of_a_posterior_have_their_own_rows_and_mechanisms():
    X, y = chain()
    posterior = make_generator("causal_posterior", n_dags=4, n_bootstraps=3).fit(X, y)
    mechanisms = [model.model_.causal_mechanism(TARGET) for model in posterior.models_]
    x = X.fillna(0.0).to_numpy(object)[:5]
    predicted = np.array([m.classifier_model.predict_probabilities(x) for m in mechanisms])
    assert predicted.shape == (len(mechanisms), 5, 3)  # every class in every resample
    for k, model in enumerate(posterior.models_):
        assert not any(np.array_equal(predicted[k], other) for other in predicted[:k])
        codes = pd.Series(model._observed[TARGET]).value_counts()
        assert sorted(codes) == sorted(y.value_counts()[lambda n: n > 0])
        assert set(model._observed["a"]) <= set(X["a"])
        # A bootstrap leaves about 1/e of the rows out.
        assert len(set(model._observed["a"])) == pytest.approx(0.63 * len(X), abs=15)
    rows, labels = posterior.sample(300, seed=0)
    assert rows["d"].isna().mean() == pytest.approx(0.2, abs=0.08)
    assert set(labels) == {"high", "low", "rare"}


def test_what_does_not_go_together_is_refused():
    X, y = chain()
    knowledge = BackgroundKnowledge(required=[("a", "b")])
    with pytest.raises(CausalMixError, match="knowledge does not apply to graph='random'"):
        CausalGenerator(graph="random", knowledge=knowledge)
    told = discover(X.assign(label=y), target=TARGET, n_bootstraps=1, knowledge=knowledge)
    with pytest.raises(CausalMixError, match="knowledge does not apply to graph='empty'"):
        CausalGenerator(graph="empty", edges=told)
    with pytest.raises(CausalMixError, match="knowledge is given together with edges"):
        CausalGenerator(edges=told, knowledge=knowledge)
    assert all(dag.has_edge("a", "b") for dag in CausalGenerator(edges=told).fit(X, y).dags_)
    with pytest.raises(CausalMixError, match=r"columns 'a', 'b', 'c', 'd', 'label'; the table"):
        CausalGenerator(edges=told).fit(X[["b", "a"]], y)
    with pytest.raises(UnknownNameError, match="Unknown graph 'full'"):
        CausalGenerator(graph="full")


def test_every_control_has_a_name():
    for graph in ("empty", "shuffled", "random", "complete"):
        assert {f"causal_{graph}", f"causal_{graph}_label"} <= set(GENERATORS)
    assert make_generator("causal_tfm_label").target_mechanism == "tfm"
    assert 16 <= make_generator("causal_posterior").n_dags <= 40
    assert make_generator("causal_label").target_parents == "adjacent"


# A graph that is known, and interventions

KNOWN = [("a", "b"), ("b", "c"), ("c", TARGET)]


@pytest.fixture(scope="module")
def known():
    X, y = chain()
    return CausalGenerator(graph=KNOWN, noise="stacked", noise_correlation=0.0).fit(X, y)


def test_a_known_graph_is_used_as_it_is_without_a_search(known, monkeypatch):
    (dag,) = known.dags_
    assert set(dag.edges) == set(KNOWN)
    assert set(dag) == {"a", "b", "c", "d", TARGET}
    assert known.edges_.matrix.sum() == 3
    assert known.n_changed_edges_ == 0
    monkeypatch.setattr(causal, "discover", None)
    X, y = chain()
    options = {"graph": nx.DiGraph(KNOWN), "noise": "stacked", "time_limit": 60, "n_dags": 2}
    again = CausalGenerator(**options, resampled=True).fit(X, y)
    assert [set(dag.edges) for dag in again.dags_] == [set(KNOWN)] * 2


def test_an_intervention_has_the_effects_of_the_graph_and_no_others(known):
    """In the chain b does not cause a; c is b and more noise, so its mean is what b is set to."""
    X, y = chain()
    fresh, _ = known.sample(4000, 0)
    for correlation in (0.0, 0.9):
        done = CausalGenerator(
            graph=KNOWN, noise="stacked", noise_correlation=correlation, do={"b": 1.0}
        ).fit(X, y)
        rows, labels = done.sample(4000, 0)
        assert (rows["b"] == 1.0).all()
        assert rows["a"].mean() == pytest.approx(fresh["a"].mean(), abs=0.1)
        assert rows["c"].mean() == pytest.approx(1.0, abs=0.15)
        assert (labels == "high").mean() > 0.9
    shares = CausalGenerator(
        graph=KNOWN, noise="stacked", do={"b": 0.3}, class_shares={"high": 0.8, "low": 0.2}
    ).fit(X, y)
    rows, labels = shares.sample(100, 0)
    assert (rows["b"] == 0.3).all()
    assert labels.value_counts()["low"] == 20


def test_a_level_that_a_resample_lacks_is_refused_before_any_row_is_drawn():
    X, y = chain()
    X["kind"] = np.where(np.arange(len(X)) == 5, "seldom", np.where(X["a"] > 0, "up", "down"))
    options = {"graph": [*KNOWN, ("kind", "b")], "noise": "stacked", "do": {"kind": "seldom"}}
    rows, _ = CausalGenerator(**options).fit(X, y).sample(10, 0)
    assert (rows["kind"] == "seldom").all()
    with pytest.raises(
        DataError, match=r"resample of model \d of 4: .*no level 'seldom'.*resampled"
    ):
        CausalGenerator(**options, resampled=True, n_dags=4).fit(X, y)


ISOLATED = nx.DiGraph([("a", "b")])
ISOLATED.add_node(TARGET)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph": [("a", "b"), ("b", "a")]}, "cycle: a → b → a"),
        ({"graph": [("a", "bb"), ("a", TARGET)]}, "Unknown column in the graph: 'bb'"),
        ({"graph": [("a", "b")]}, "no edge with the target 'label'"),
        ({"graph": ISOLATED}, "no edge with the target 'label'"),
        ({"graph": KNOWN, "knowledge": {"required": [("a", "b")]}}, "apply to graph=a known graph"),
        ({"graph": KNOWN, "do": {"z": 1}}, "no column 'z'"),
        ({"graph": KNOWN, "do": {"a": "much"}}, "'a' is numeric and cannot be 'much'"),
        ({"graph": KNOWN, "do": {TARGET: "high"}}, "by class_shares"),
    ],
)
def test_a_graph_or_intervention_that_does_not_fit_is_refused(options, message):
    X, y = chain(60)
    with pytest.raises(CausalMixError, match=message):
        CausalGenerator(**options, noise="stacked").fit(X, y)


def test_a_fit_that_fails_leaves_nothing_to_draw_from():
    X, y = chain(60)
    generator = CausalGenerator(graph=KNOWN, noise="stacked").fit(X, y)
    with pytest.raises(CausalMixError, match="Unknown column in the graph"):
        generator.fit(X.rename(columns={"a": "other"}), y)
    with pytest.raises(CausalMixError, match="not fitted"):
        generator.sample(3, 0)
