"""Controls keep what they say of a discovered graph, and lose the rest."""

from __future__ import annotations

from itertools import combinations, product

import networkx as nx
import numpy as np
import pytest

from causalmix.discovery.control_graphs import GRAPHS, control_dag, n_changed_edges
from causalmix.errors import UnknownNameError

FEATURES = ["a", 1, "c", "d", "e", "case"]
CONTROLS = [graph for graph in GRAPHS if graph != "discovered"]


def discovered(density: float, seed: int = 0, *, parents: int = 5) -> nx.DiGraph:
    """A DAG on the features and a sink "y"; "case" has no edge."""
    rng = np.random.default_rng(seed)
    dag = nx.DiGraph()
    dag.add_nodes_from([*FEATURES, "y"])
    dag.add_edges_from(pair for pair in combinations(FEATURES[:-1], 2) if rng.random() < density)
    dag.add_edges_from((name, "y") for name in FEATURES[:parents])
    return dag


def controls(dag: nx.DiGraph, graph: str, *, moved: bool = False, n: int = 60) -> list[nx.DiGraph]:
    rng = np.random.default_rng(0)
    return [control_dag(dag, graph, rng, target="y", moved=moved, apart=["case"]) for _ in range(n)]


@pytest.mark.parametrize(("graph", "moved", "density"), product(CONTROLS, [False, True], [0.4, 1]))
def test_every_control_is_a_dag_with_the_target_a_sink(graph, moved, density):
    dag = discovered(density, parents=2 if moved else 5)
    for control in controls(dag, graph, moved=moved):
        assert list(control) == list(dag)
        assert nx.is_directed_acyclic_graph(control)
        assert control.out_degree("y") == control.degree("case") == 0
        assert control.in_degree("y") >= 1
        if not moved:
            assert set(control.predecessors("y")) == set(dag.predecessors("y"))


def test_an_empty_graph_has_only_the_labels_edges():
    dag = discovered(0.5, parents=2)
    for moved in (False, True):
        (control,) = controls(dag, "empty", moved=moved, n=1)
        assert set(control.edges) == {("a", "y"), (1, "y")}
        assert n_changed_edges(dag, control) == dag.number_of_edges() - 2


@pytest.mark.parametrize("moved", [False, True])
def test_shuffled_graphs_are_the_discovered_one_by_other_names(moved):
    dag = discovered(0.5, parents=2 if moved else 5)
    shuffled = controls(dag, "shuffled", moved=moved)
    assert all(nx.is_isomorphic(control, dag) for control in shuffled)
    assert len({frozenset(control.edges) for control in shuffled}) > 10
    if moved:  # every feature gets to be a parent, and the target to another place
        assert set.union(*(set(c.predecessors("y")) for c in shuffled)) == set(FEATURES[:-1])
        sinks = {dag.in_degree(v) for v in dag if dag.in_degree(v) and not dag.out_degree(v)}
        assert {control.in_degree("y") for control in shuffled} == sinks


@pytest.mark.parametrize("moved", [False, True])
def test_random_graphs_have_as_many_edges_evenly_spread(moved):
    dag = discovered(0.5, parents=2 if moved else 5)
    drawn = controls(dag, "random", moved=moved, n=600)
    assert {control.number_of_edges() for control in drawn} == {dag.number_of_edges()}
    share = np.mean([nx.to_numpy_array(c, nodelist=FEATURES[:-1]) for c in drawn], axis=0)
    pairs = (share + share.T)[np.triu_indices(5, 1)]
    assert np.ptp(pairs) < 0.12
    assert abs(share - share.T).max() < 0.12  # either direction is as likely
    if not moved:
        assert pairs.mean() == pytest.approx((dag.number_of_edges() - 5) / 10)


def test_complete_graphs_are_complete_in_many_orders():
    dag = discovered(0.2)
    orders = set()
    for control in controls(dag, "complete"):
        features = control.subgraph(FEATURES[:-1])
        assert features.number_of_edges() == 10
        orders.add(tuple(nx.topological_sort(features)))
    assert len(orders) > 20
    degrees = {c.in_degree("y") for c in controls(dag, "complete", moved=True)}
    assert degrees == {1, 2, 3, 4, 5}


def test_graphs_without_edges_or_features_have_controls_too():
    bare = discovered(0, parents=0)
    for moved in (False, True):
        for graph in ("empty", "shuffled", "random"):
            assert not controls(bare, graph, moved=moved, n=1)[0].edges
    alone = nx.DiGraph()
    alone.add_nodes_from(["case", "y"])
    for graph, moved in product(CONTROLS, [False, True]):
        assert not controls(alone, graph, moved=moved, n=1)[0].edges


def test_changed_edges_are_counted_both_ways():
    dag, other = nx.DiGraph([(1, 2), (2, 3)]), nx.DiGraph([(2, 1), (2, 3), (1, 3)])
    assert n_changed_edges(dag, other) == 3  # 1→2 lost, 2→1 and 1→3 new
    assert controls(dag, "discovered", n=1)[0] is dag
    with pytest.raises(UnknownNameError, match="Unknown graph 'full'"):
        controls(dag, "full")
