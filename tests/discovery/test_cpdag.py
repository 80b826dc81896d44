"""CPDAGs: what is one, and what a column is given by one."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, product

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.graph.Edge import Edge
from causallearn.graph.Endpoint import Endpoint
from causallearn.graph.GeneralGraph import GeneralGraph
from causallearn.graph.GraphNode import GraphNode

from causalmix.discovery.cpdag import (
    check_cpdag,
    conditioning_dag,
    cpdag_of,
    discover_cpdag,
    read_cpdag,
)
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, UnknownNameError


def graph(*edges: str, nodes: str = "abcd") -> nx.DiGraph:
    """From edges such as "a>b" and "a-b"."""
    made = nx.DiGraph()
    made.add_nodes_from(nodes)
    for edge in edges:
        made.add_edge(edge[0], edge[2])
        if edge[1] == "-":
            made.add_edge(edge[2], edge[0])
    return made


def all_dags(nodes: str) -> list[nx.DiGraph]:
    pairs = list(combinations(nodes, 2))
    ways = product(["", ">", "<"], repeat=len(pairs))
    made = [
        graph(
            *(f"{a}>{b}" if way == ">" else f"{b}>{a}" for (a, b), way in each if way), nodes=nodes
        )
        for each in (list(zip(pairs, way, strict=True)) for way in ways)
    ]
    return [dag for dag in made if nx.is_directed_acyclic_graph(dag)]


def equivalence(dag: nx.DiGraph) -> tuple[frozenset, frozenset]:
    """Verma and Pearl: the skeleton, and the colliders of nodes that are not adjacent."""
    pairs = frozenset(map(frozenset, dag.edges))
    colliders = nx.dag.v_structures(dag)
    return pairs, frozenset((frozenset((a, b)), node) for a, node, b in colliders)


def test_of_all_graphs_on_four_nodes_the_cpdags_are_accepted_and_no_other():
    """Classes of all DAGs; a seventh of the ways to mark every pair, and all that are right."""
    classes: dict[tuple, set] = {}
    for dag in all_dags("abcd"):
        classes.setdefault(equivalence(dag), set()).add(frozenset(dag.edges))
    essential = {frozenset().union(*members) for members in classes.values()}
    for members in list(classes.values())[::7]:
        made = graph()
        made.add_edges_from(next(iter(members)))
        assert frozenset(cpdag_of(made).edges) == frozenset().union(*members)
    right = essential | set().union(*classes.values())
    ways = list(product(["", ">", "<", "-"], repeat=6))[::7]
    marked = {
        frozenset(
            graph(
                *(
                    f"{b}>{a}" if mark == "<" else f"{a}{mark}{b}"
                    for (a, b), mark in zip(combinations("abcd", 2), marks, strict=True)
                    if mark
                )
            ).edges
        )
        for marks in ways
    }
    assert len(marked - right) > 300
    accepted = set()
    for edges in marked | essential:
        made = graph()
        made.add_edges_from(edges)
        with suppress(DataError):
            check_cpdag(made, "abcd")
            accepted.add(edges)
    assert accepted == (marked | essential) & right


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (["a>b", "b>c", "c>a"], "cycle: a → b → c → a"),
        (["a>b", "b-c"], "'b' --- 'c'|'c' --- 'b'|'a' --> 'b'|'b' <-- 'a'"),
        (["a-b", "b-c", "c-d", "d-a"], "neither a DAG nor a CPDAG: the edge '.' --- '.'"),
        (["a>b", "b-c", "c-a"], "'a' --> 'b'|'b' <-- 'a'|'.' --- '.'"),
        (["a>a"], "cycle: a → a"),
    ],
)
def test_the_offending_edge_is_named(edges, message):
    with pytest.raises(DataError, match=message):
        check_cpdag(graph(*edges), "abcd")


def test_other_graphs_are_refused():
    with pytest.raises(DataError, match=r"MultiDiGraph; a networkx\.DiGraph"):
        check_cpdag(nx.MultiDiGraph(graph("a>b")), "abcd")
    with pytest.raises(DataError, match=r"a Graph; a networkx\.DiGraph"):
        check_cpdag(nx.Graph([("a", "b")]), "ab")
    with pytest.raises(DataError, match="no node for these columns: e"):
        check_cpdag(graph("a-b"), "abcde")
    with pytest.raises(UnknownNameError, match="'d'"):
        check_cpdag(graph("a-b"), "abc")
    with pytest.raises(CausalMixError, match="alpha"):
        discover_cpdag(pd.DataFrame({"a": [1.0]}), alpha=0)


def test_files(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text("Graph Nodes:\na;b;c;d\n\nGraph Edges:\n1. a --> b\n2. c --- d\n")
    assert set(read_cpdag(path).edges) == {("a", "b"), ("c", "d"), ("d", "c")}
    # Tetrad says behind an edge what it knows of latent causes
    edges = "1. fasting glucose --> age\n2. age <-- age at onset dd nl\n"
    path.write_text(f"Graph Nodes:\nage;age at onset;fasting glucose\n\nGraph Edges:\n{edges}")
    expected = {("fasting glucose", "age"), ("age at onset", "age")}
    assert set(read_cpdag(path).edges) == expected
    path.write_text("Graph Nodes:\na;b\n\nGraph Edges:\n1. a --> b\n2. b --> a\n")
    with pytest.raises(DataError, match="the edge b --> a joins two nodes that another edge"):
        read_cpdag(path)
    path.write_text("Graph Nodes:\na;b\n\nGraph Edges:\n1. a o-> b\n")
    with pytest.raises(DataError, match="the edge a o-> b is of no DAG or CPDAG"):
        read_cpdag(path)
    path.write_text("Graph Nodes:\na;b\n\nGraph Edges:\n1. a <-> b\n")
    with pytest.raises(DataError, match="the edge a <-> b"):
        read_cpdag(path)
    for text in ("a,b\n1,2\n", "Graph Nodes:\na\n\nGraph Edges:\n1. a --> z\n", ""):
        path.write_text(text)
        with pytest.raises(DataError, match=r"graph\.txt cannot be read as a graph"):
            read_cpdag(path)
    with pytest.raises(DataError, match="No such file"):
        read_cpdag(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("edges", "given"),
    [
        # The paper's own example: a collider's cause, and the open edge behind the other.
        (["a>b", "c>b", "c-d"], {"a": "", "b": "ac", "c": "a", "d": "abc"}),
        ([], {"a": "", "b": "a", "c": "ab", "d": "abc"}),
        (["a-b", "b-c", "c-d"], {"a": "", "b": "a", "c": "ab", "d": "abc"}),
        (["d>c", "d>b"], {"d": "", "b": "d", "c": "d", "a": "bcd"}),
        (["b>a", "c>a", "a>d"], {"b": "", "c": "", "a": "bc", "d": "a"}),
        (["a>c", "b>c", "c>d", "a-b", "a>d"], {"a": "", "b": "a", "c": "ab", "d": "ac"}),
    ],
)
def test_what_a_column_is_given(edges, given):
    """By hand, from the rule: open edges: all before; only a cause: nothing; else the parents."""
    dag = conditioning_dag(graph(*edges))
    assert {node: "".join(sorted(dag.pred[node])) for node in dag} == given


def test_a_collider_is_discovered_and_a_chain_is_left_open():
    rng = np.random.default_rng(0)
    a, b, e = rng.normal(size=(3, 2000))
    c = a + b + 0.5 * e
    d = c + rng.normal(size=2000)
    table = pd.DataFrame({"a": a, "b": b, "c": c, "d": d})
    assert set(discover_cpdag(table).edges) == {("a", "c"), ("b", "c"), ("c", "d")}
    chain = discover_cpdag(table[["b", "c", "d"]])
    assert chain.has_edge("c", "d")
    assert chain.has_edge("d", "c")


def test_columns_that_identify_the_rows_are_not_searched():
    names = pd.DataFrame({"id": [f"a{k}" for k in range(60)], "name": [f"b{k}" for k in range(60)]})
    with pytest.raises(DataError, match="Every column identifies the rows: 'id', 'name'"):
        discover_cpdag(names)
    x = np.random.default_rng(0).normal(size=60)
    assert set(discover_cpdag(names.assign(x=x, y=x + 1)).edges) == {("x", "y"), ("y", "x")}


def test_a_cycle_that_is_opened_keeps_what_is_forbidden():
    """In these forty rows PC's arrows close a cycle through an edge that may not be turned."""
    rng, d = np.random.default_rng(56), 6
    weights = np.triu(rng.normal(size=(d, d)) * (rng.random((d, d)) < 0.6), 1)
    values = rng.normal(size=(40, d))
    for j in range(d):
        values[:, j] += values @ np.where(np.arange(d) < j, weights[:, j], 0)
    names = rng.permutation(list("abcdef"))
    (cause, effect), (before, after), (first, second) = names.reshape(3, 2)
    known = BackgroundKnowledge([(cause, effect)], [(before, after)], [[first], [second]])
    rows = pd.DataFrame(values, columns=list("abcdef"))
    found = discover_cpdag(rows, alpha=0.2, knowledge=known)
    assert found.has_edge(cause, effect)
    assert not {(effect, cause), (before, after), (second, first)} & set(found.edges)
    mapping = {"required": known.required, "forbidden": known.forbidden, "tiers": known.tiers}
    assert set(discover_cpdag(rows, alpha=0.2, knowledge=mapping).edges) == set(found.edges)
    with pytest.raises(DataError, match="DataFrame is needed, not Series"):
        discover_cpdag(rows["a"])


def test_what_causal_learn_writes_is_read(tmp_path):
    nodes = [GraphNode(name) for name in ("resting pulse", "age", "dose")]
    written = GeneralGraph(nodes)
    written.add_directed_edge(nodes[1], nodes[0])
    written.add_edge(Edge(nodes[0], nodes[2], Endpoint.TAIL, Endpoint.TAIL))
    path = tmp_path / "graph.txt"
    path.write_text(str(written))
    expected = {("age", "resting pulse"), ("resting pulse", "dose"), ("dose", "resting pulse")}
    assert set(read_cpdag(path).edges) == expected
