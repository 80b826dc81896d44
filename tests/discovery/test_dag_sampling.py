"""Graphs drawn from edge probabilities: acyclic, as frequent as said, and the target in them."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.data.dataset import load_dataset
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.dag_sampling import TARGET_PARENTS, describe_dags, sample_dags
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, UnknownNameError


def random_edges(d: int, seed: int, density: float) -> EdgeProbabilities:
    rng = np.random.default_rng(seed)
    joined = np.triu(rng.random((d, d)) * (rng.random((d, d)) < density), 1)
    share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (d, d))
    matrix = joined * share + (joined * (1 - share)).T
    return EdgeProbabilities(tuple(f"v{j}" for j in range(d)), matrix, pd.DataFrame())


@pytest.mark.parametrize(("d", "density"), [(5, 1.0), (10, 0.5), (30, 0.2)])
def test_sampled_graphs_are_acyclic_and_keep_the_marginals(d, density):
    edges = random_edges(d, 0, density)
    dags = sample_dags(edges, 500, seed=1)
    assert all(nx.is_directed_acyclic_graph(dag) for dag in dags)
    assert all(list(dag) == list(edges.names) for dag in dags)
    mean = np.mean([nx.to_numpy_array(dag, nodelist=edges.names) for dag in dags], axis=0)
    off = ~np.eye(d, dtype=bool)
    assert np.abs(mean - edges.matrix)[off].mean() <= 0.02
    assert not mean[edges.matrix == 0].any()


def test_sampling_repeats_with_its_seed():
    edges = random_edges(8, 0, 0.6)
    first, again, other = (sample_dags(edges, 5, seed) for seed in (0, 0, 1))
    assert [sorted(g.edges) for g in first] == [sorted(g.edges) for g in again]
    assert [sorted(g.edges) for g in first] != [sorted(g.edges) for g in other]


def test_target_is_a_sink_with_the_union_of_its_adjacencies():
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[3, 0], matrix[1, 3] = 0.5, 0.1, 0.2
    edges = EdgeProbabilities(("a", "b", "c", "y"), matrix, pd.DataFrame())
    for dag in sample_dags(edges, 20, 0, target="y"):
        assert set(dag.predecessors("y")) == {"a", "b"}
        assert dag.out_degree("y") == 0
    for dag in sample_dags(edges, 3, 0, target="y", target_parents="all"):
        assert set(dag.predecessors("y")) == {"a", "b", "c"}


def test_target_without_adjacencies_gets_all_nodes_as_parents():
    edges = EdgeProbabilities(("a", "b", "y"), np.zeros((3, 3)), pd.DataFrame())
    (dag,) = sample_dags(edges, 1, 0, target="y")
    assert set(dag.predecessors("y")) == {"a", "b"}


def test_a_target_whose_only_neighbour_may_not_be_its_cause_gets_the_others():
    matrix = np.zeros((3, 3))
    matrix[2, 0] = 0.6
    known = BackgroundKnowledge(forbidden=[("a", "y")])
    edges = EdgeProbabilities(("a", "b", "y"), matrix, pd.DataFrame(), known)
    (dag,) = sample_dags(edges, 1, 0, target="y", target_parents="adjacent")
    assert list(dag.edges) == [("b", "y")]


@pytest.mark.parametrize("target_parents", ["all", "adjacent"])
def test_columns_that_identify_the_rows_are_parents_only_where_required(target_parents):
    def parents(**knowledge) -> set[str]:
        edges = EdgeProbabilities.from_graphs(
            ("id", "a", "b", "y"),
            {"pc": [np.zeros((4, 4))]},
            knowledge=BackgroundKnowledge(**knowledge),
            identifiers=["id"],
        )
        (dag,) = sample_dags(edges, 1, 0, target="y", target_parents=target_parents)
        return set(dag.predecessors("y"))

    assert parents() == {"a", "b"}
    assert "id" in parents(required=[("id", "y")])


def test_sampling_errors():
    edges = random_edges(3, 0, 1.0)
    with pytest.raises(UnknownNameError, match="v9"):
        sample_dags(edges, 1, 0, target="v9")
    with pytest.raises(UnknownNameError, match="adjacent, all, markov_blanket, free"):
        sample_dags(edges, 1, 0, target="v0", target_parents="some")
    for n_dags in (0, 1.5):
        with pytest.raises(CausalMixError, match=f"n_dags is {n_dags}"):
            sample_dags(edges, n_dags, 0)


def test_weights_on_the_edges_of_a_graph_do_not_count():
    edges = random_edges(4, 0, 0.8)
    dags = sample_dags(edges, 20, 0)
    weighted = [nx.DiGraph(dag) for dag in dags]
    for dag in weighted:
        nx.set_edge_attributes(dag, 7.0, "weight")
    described = describe_dags(edges, {"plain": dags, "weighted": weighted}, "v0")
    assert described.loc["plain"].equals(described.loc["weighted"])


# --- the target's choices ------------------------------------------------------------------------


@pytest.mark.parametrize("target_parents", TARGET_PARENTS)
def test_marginals_of_a_real_table_are_kept(target_parents):
    frame = load_dataset("anes96").frame()
    edges = discover(frame.iloc[:300], n_bootstraps=4)
    target = frame.columns[-1]
    dags = sample_dags(edges, 500, 0, target=target, target_parents=target_parents)
    assert all(nx.is_directed_acyclic_graph(dag) for dag in dags)
    described = describe_dags(edges, {"drawn": dags}, target).loc["drawn"]
    if target_parents != "markov_blanket":  # which adds edges
        assert described["distortion"] <= 0.02
    if target_parents != "free":
        assert not any(dag.out_degree(target) for dag in dags)


def test_a_free_target_is_a_node_like_the_others():
    edges = random_edges(6, 0, 0.8)
    free = sample_dags(edges, 10, 0, target="v2", target_parents="free")
    assert [set(g.edges) for g in free] == [set(g.edges) for g in sample_dags(edges, 10, 0)]


def test_markov_blanket_becomes_the_parents():
    edges = random_edges(9, 1, 0.5)
    sinks = sample_dags(edges, 40, 0, target="v4", target_parents="markov_blanket")
    spouses = 0
    for drawn, sink in zip(sample_dags(edges, 40, 0), sinks, strict=True):
        children = set(drawn.successors("v4"))
        married = {p for child in children for p in drawn.predecessors(child)}
        blanket = (set(drawn.predecessors("v4")) | children | married) - {"v4"}
        assert set(sink.predecessors("v4")) == blanket
        assert sink.out_degree("v4") == 0
        assert nx.is_directed_acyclic_graph(sink)
        spouses += len(married - children - {"v4"})
    assert spouses > 0


def test_markov_blanket_graphs_imply_no_new_independence():
    edges = random_edges(6, 3, 0.6)
    sinks = sample_dags(edges, 15, 0, target="v2", target_parents="markov_blanket")
    for drawn, sink in zip(sample_dags(edges, 15, 0), sinks, strict=True):
        for x, y in itertools.combinations(edges.names, 2):
            others = [name for name in edges.names if name not in (x, y)]
            for size in range(len(others) + 1):
                for given in map(set, itertools.combinations(others, size)):
                    if nx.is_d_separator(sink, x, y, given):
                        assert nx.is_d_separator(drawn, x, y, given)


# --- knowledge -----------------------------------------------------------------------------------


def known_edges(**knowledge) -> EdgeProbabilities:
    graph = np.full((5, 5), 2) * ~np.eye(5, dtype=bool)  # o-o between all
    return EdgeProbabilities.from_graphs(
        tuple("abcdy"), {"fci": [graph]}, knowledge=BackgroundKnowledge(**knowledge)
    )


def test_sampled_graphs_keep_knowledge():
    edges = known_edges(
        required=[("d", "c"), ("c", "b")],
        forbidden=[("a", "d"), ("d", "a")],
        tiers=[["d", "c"], ["y"]],
    )
    for target_parents in ("adjacent", "all", "free", "markov_blanket"):
        dags = sample_dags(edges, 100, 0, target="y", target_parents=target_parents)
        found = set.union(*(set(dag.edges) for dag in dags))
        for dag in dags:
            assert nx.is_directed_acyclic_graph(dag)
            assert dag.has_edge("d", "c")
            assert dag.has_edge("c", "b")
        forbidden = {("a", "d"), ("d", "a"), ("b", "d"), ("y", "d"), ("y", "c")}
        assert not found & forbidden
        assert ("b", "a") in found


def test_required_edges_survive_likely_ones_that_oppose_them():
    matrix = np.zeros((3, 3))
    matrix[0, 1] = matrix[1, 2] = matrix[2, 0] = 1
    knowledge = BackgroundKnowledge(required=[("b", "c")])
    edges = EdgeProbabilities(tuple("abc"), matrix, pd.DataFrame(), knowledge)
    dags = sample_dags(edges, 50, 0)
    assert all(dag.has_edge("b", "c") for dag in dags)
    assert not all(dag.has_edge("a", "b") for dag in dags)


def test_knowledge_limits_the_parents_of_the_target():
    edges = known_edges(forbidden=[("a", "y")], required=[("b", "y")])
    for target_parents in ("adjacent", "all"):
        (dag,) = sample_dags(edges, 1, 0, target="y", target_parents=target_parents)
        assert set(dag.predecessors("y")) == {"b", "c", "d"}
    edges = known_edges(required=[("y", "a")])
    with pytest.raises(CausalMixError, match="requires y → a, but target_parents='all'"):
        sample_dags(edges, 1, 0, target="y", target_parents="all")
    (dag,) = sample_dags(edges, 1, 0, target="y", target_parents="free")
    assert dag.has_edge("y", "a")


@pytest.mark.parametrize("target_parents", ["all", "adjacent", "markov_blanket"])
def test_a_sink_that_knowledge_cuts_off_is_refused(target_parents):
    edges = known_edges(tiers=[["y"], ["a", "b", "c", "d"]])
    with pytest.raises(CausalMixError, match=r"every edge into y, .* Use target_parents='free'"):
        sample_dags(edges, 1, 0, target="y", target_parents=target_parents)
    assert any(
        dag.out_degree("y") for dag in sample_dags(edges, 5, 0, target="y", target_parents="free")
    )
    (dag,) = sample_dags(known_edges(tiers=[["y"], ["a", "b", "c"]]), 1, 0, target="y")
    assert set(dag.predecessors("y")) == {"d"}
