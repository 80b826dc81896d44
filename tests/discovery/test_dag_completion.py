from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from causalmix.discovery.citest import DegenerateGaussian
from causalmix.discovery.dag_completion import _p_value_to_rank, complete_dags
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


def test_a_fixed_node_gets_neither_parents_nor_children():
    (completed,) = complete_dags([graph("ab", "ac", "cd")], chain(), alpha=1, fixed=["b"])
    assert set(completed.in_edges("b")) == {("a", "b")}
    assert not completed.out_degree("b")


def test_missing_edges_come_back_and_needless_ones_do_not():
    (completed,) = complete_dags([graph()], chain(), alpha=0.01)
    assert {frozenset(edge) for edge in completed.edges} in (
        {frozenset("ab"), frozenset("bc")},
        {frozenset("ab"), frozenset("bc"), frozenset("ac")},
    )
    assert not completed.in_degree("d")
    assert not completed.out_degree("e")


def test_the_most_dependent_come_first_where_no_number_is_as_small_as_the_p_value():
    """c is a sum; a says less of it than b, and both p-values are 0."""
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, 9000))
    frame = pd.DataFrame({"a": a, "b": b, "c": a + 2 * b + 0.01 * noise})
    test = DegenerateGaussian(frame.to_numpy())
    assert test(0, 2) == test(1, 2) == 0
    (completed,) = complete_dags([nx.empty_graph("abc", nx.DiGraph)], frame, alpha=0.01)
    assert list(completed.predecessors("c")) == ["b", "a"]


@pytest.mark.parametrize("df", [1, 2, 9])
def test_p_values_that_are_no_numbers_are_ranked_as_chi_squared_ones(df):
    class Fixed:
        def __call__(self, x, y, given):
            return 0.0

        def statistic(self, x, y, given):
            return 900.0, df

    expected = chi2.logsf(900, df)  # which is a number still
    assert _p_value_to_rank(Fixed(), 0, 1, [])[1] == pytest.approx(expected, abs=0.02)


def test_columns_that_identify_the_rows_get_no_edge():
    frame = chain().assign(d=[f"row{i}" for i in range(300)])
    (completed,) = complete_dags([graph()], frame, alpha=1)
    assert completed.degree("d") == 0
    assert completed.degree("a") == 3


def test_bounds_and_knowledge_are_kept(monkeypatch):
    (nothing,) = complete_dags([graph("ab")], chain(), alpha=0)
    assert set(nothing.edges) == {("a", "b")}
    (certain,) = complete_dags([graph()], chain(9000), alpha=0)  # p-values of 0
    assert not certain.edges
    (full,) = complete_dags([graph()], chain(), alpha=1)
    assert full.number_of_edges() == 10
    with monkeypatch.context() as patch:
        patch.setattr("causalmix.discovery.dag_completion.MAX_PARENTS", 1)
        (few,) = complete_dags([graph()], chain(), alpha=1)
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
    with pytest.raises(DataError, match="DataFrame is needed, not Series"):
        complete_dags([graph()], chain()["a"])
    with pytest.raises(CausalMixError, match="alpha is 2"):
        complete_dags([graph()], chain(), alpha=2)
