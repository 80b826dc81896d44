from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, UnknownNameError

NAMES = list("abcde")


def chain(n: int = 300) -> pd.DataFrame:
    """a → b → c, and d and e apart from them and from each other."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    return pd.DataFrame(
        {"a": a, "b": b, "c": b + rng.normal(size=n), "d": rng.normal(size=n)}
    ).assign(e=rng.choice(["x", "y"], n))


def graph(*edges: str) -> nx.DiGraph:
    dag = nx.DiGraph()
    dag.add_nodes_from(NAMES)
    dag.add_edges_from(edges)
    return dag


def test_a_true_graph_gets_no_edge():
    (completed,) = complete_dags([graph("ab", "bc")], chain(), alpha=0.01)
    assert set(completed.edges) == {("a", "b"), ("b", "c")}


def test_a_chain_turned_into_a_collider_gets_the_edge_between_the_causes():
    """a → b ← c says that a and c are independent; they are not."""
    (completed,) = complete_dags([graph("ab", "cb")], chain(), alpha=0.01)
    assert {frozenset(edge) for edge in completed.edges} == {
        frozenset(pair) for pair in ("ab", "bc", "ac")
    }
    assert {("a", "b"), ("c", "b")} <= set(completed.edges)
    assert nx.is_directed_acyclic_graph(completed)


def test_missing_edges_come_back_and_needless_ones_do_not():
    (completed,) = complete_dags([graph()], chain(), alpha=0.01)
    assert {frozenset(edge) for edge in completed.edges} in (
        {frozenset("ab"), frozenset("bc")},
        {frozenset("ab"), frozenset("bc"), frozenset("ac")},
    )
    assert not completed.in_degree("d")
    assert not completed.out_degree("e")


def test_columns_that_identify_the_rows_get_no_edge():
    frame = chain().assign(d=[f"row{i}" for i in range(300)])
    (completed,) = complete_dags([graph()], frame, alpha=1)
    assert completed.degree("d") == 0
    assert completed.degree("a") == 3


def test_bounds_and_knowledge_are_kept():
    (nothing,) = complete_dags([graph("ab")], chain(), alpha=0)
    assert set(nothing.edges) == {("a", "b")}
    (certain,) = complete_dags([graph()], chain(9000), alpha=0)  # p-values of 0
    assert not certain.edges
    (full,) = complete_dags([graph()], chain(), alpha=1)
    assert full.number_of_edges() == 10
    (few,) = complete_dags([graph()], chain(), alpha=1, max_parents=1)
    assert max(dict(few.in_degree()).values()) == 1
    (sink,) = complete_dags([graph("ab")], chain(), alpha=1, fixed=["b"])
    assert set(sink.predecessors("b")) == {"a"}
    forbid = BackgroundKnowledge(forbidden=[("a", "b"), ("b", "a")])
    (known,) = complete_dags([graph()], chain(), alpha=0.01, knowledge=forbid)
    assert not known.has_edge("a", "b")
    assert not known.has_edge("b", "a")


def test_errors_name_what_is_wrong():
    with pytest.raises(UnknownNameError, match="node of the graph: 'z'"):
        complete_dags([graph("az")], chain())
    with pytest.raises(UnknownNameError, match="node in fixed: 'z'"):
        complete_dags([graph()], chain(), fixed=["z"])
    with pytest.raises(DataError, match="cycle: a → b → a"):
        complete_dags([graph("ab", "ba")], chain())
    with pytest.raises(DataError, match="no node for these columns: b, c, d, e"):
        complete_dags([nx.DiGraph({"a": []})], chain())
    with pytest.raises(CausalMixError, match="alpha is 2"):
        complete_dags([graph()], chain(), alpha=2)
