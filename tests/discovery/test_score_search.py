"""The score-based search against statsmodels, causal-learn and graphs that are known."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, product

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from causallearn.graph.Dag import Dag
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.PermutationBased.BOSS import boss
from causallearn.utils.DAG2CPDAG import dag2cpdag

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DegenerateGaussian
from causalmix.discovery.edge_probabilities import ARROW, TAIL
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.discovery.orientation import orient_dag
from causalmix.discovery.score_search import DegenerateGaussianScore, search_orders
from causalmix.errors import CausalMixError
from causalmix.scm.random_scm import random_dag, random_scm_table


def linear_table(dag: nx.DiGraph, n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = {}
    for node in nx.topological_sort(dag):
        values[node] = rng.normal(size=n)
        for parent in dag.predecessors(node):
            values[node] = (
                values[node] + rng.choice([-1, 1]) * rng.uniform(0.6, 1.4) * values[parent]
            )
    return pd.DataFrame(values)[list(dag)]


def score_of(values: np.ndarray, **options: object) -> DegenerateGaussianScore:
    d = values.shape[1]
    return DegenerateGaussianScore(
        DegenerateGaussian(values, **options), NO_KNOWLEDGE.constraints(range(d)), discount=1.0
    )


def test_the_score_of_a_number_is_the_gain_in_bic_of_its_regression_with_bartletts_factor():
    values = linear_table(random_dag(5, 3, np.random.default_rng(0)), 200, 0).to_numpy()
    score = score_of(values)
    for parents in ([1], [1, 3], [2, 3, 4]):
        alone = sm.OLS(values[:, 0], np.ones(200)).fit()
        given = sm.OLS(values[:, 0], sm.add_constant(values[:, parents])).fit()
        gain = score.score_nocache(0, parents) - score.score_nocache(0, [])
        factor = (200 - 1 - (1 + len(parents) + 1) / 2) / 200
        expected = factor * (given.llf - alone.llf) - np.log(200) / 2 * len(parents)
        assert gain == pytest.approx(expected, abs=1e-2)  # the ridge


def test_chance_does_not_make_dense_graphs_of_few_rows():
    """With the BIC's own factor the search joins more than five times as many pairs as are."""
    frame, dag = random_scm_table(30, 100, seed=0)
    edges = discover(frame, algorithms=["boss"], n_bootstraps=1)
    assert (edges.matrix + edges.matrix.T > 0.5).sum() / 2 < 2.5 * dag.number_of_edges()


def test_the_score_of_a_category_is_that_of_the_regression_of_its_indicators():
    rng = np.random.default_rng(0)
    number = rng.normal(size=300)
    codes = (number + rng.normal(size=300) > 0).astype(int) + (rng.random(300) < 0.3)
    score = score_of(np.column_stack([codes, number]), categorical=[0])
    indicators = np.column_stack([codes == k for k in (0, 1)]).astype(float)
    centred = indicators - indicators.mean(axis=0)
    predictors = sm.add_constant(number)
    rest = centred - predictors @ np.linalg.lstsq(predictors, centred, rcond=None)[0]
    factor = 300 - 1 - (2 + 1 + 1) / 2
    log_ratio = np.log(np.linalg.det(centred.T @ centred) / np.linalg.det(rest.T @ rest))
    likelihood = factor / 2 * log_ratio
    expected = likelihood - 2 * np.log(300) / 2
    assert score.score_nocache(0, [1]) == pytest.approx(expected, abs=1e-2)
    assert score.score_nocache(1, [0]) == pytest.approx(expected, abs=1e-2)  # equivalent graphs


@pytest.mark.parametrize("seed", [2, 3, 4])  # with others the search can end beside the best order
def test_the_graph_is_the_equivalence_class_of_the_true_one_and_that_of_causal_learn(
    seed, monkeypatch
):
    monkeypatch.setattr("causalmix.discovery.score_search.PENALTY_DISCOUNT", 1.0)
    dag = random_dag(7, 2.5, np.random.default_rng(seed))
    values = linear_table(dag, 5000, seed).to_numpy()
    none = NO_KNOWLEDGE.constraints(range(7))
    rng = np.random.default_rng(0)
    found, ended = search_orders(DegenerateGaussian(values), none, rng)
    assert ended
    true = nx.to_numpy_array(dag, nodelist=list(dag)) > 0
    np.testing.assert_array_equal(found, orient_dag(true, none))
    theirs = boss(values, parameters={"lambda_value": 0.5}, verbose=False).graph
    np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize("seed", range(6))
def test_equivalence_classes_are_those_of_causal_learn(seed):
    dag = random_dag(9, 3, np.random.default_rng(seed))
    nodes = [GraphNode(name) for name in dag]
    theirs = Dag(nodes)
    for cause, effect in dag.edges:
        theirs.add_directed_edge(*(nodes[list(dag).index(name)] for name in (cause, effect)))
    matrix = nx.to_numpy_array(dag) > 0
    found = orient_dag(matrix, NO_KNOWLEDGE.constraints(range(9)))
    np.testing.assert_array_equal(found, dag2cpdag(theirs).graph)


def test_knowledge_directs_all_that_follows_from_it():
    """Against all graphs with the skeleton and the colliders of one that have the known edges."""
    pairs = np.array(np.triu_indices(4, 1)).T

    def colliders(dag: np.ndarray) -> set[tuple[int, int, int]]:
        return {
            (a, b, c)
            for b in range(4)
            for a, c in combinations(np.flatnonzero(dag[:, b]), 2)
            if not dag[a, c] and not dag[c, a]
        }

    class_of = defaultdict(list)
    for ways in product((None, False, True), repeat=6):
        dag = np.zeros((4, 4), dtype=bool)
        for (i, j), turned in zip(pairs, ways, strict=True):
            if turned is not None:
                dag[(j, i) if turned else (i, j)] = True
        if nx.is_directed_acyclic_graph(nx.from_numpy_array(dag, create_using=nx.DiGraph)):
            class_of[(dag | dag.T).tobytes(), frozenset(colliders(dag))].append(dag)
    needed = 0
    for graphs in class_of.values():
        for dag in graphs[:3]:
            for edge in np.argwhere(dag):
                fit = np.array([each for each in graphs if each[tuple(edge)]])
                always = fit.all(axis=0)
                known = BackgroundKnowledge(required=[tuple(map(int, edge))])
                marks = orient_dag(dag, known.constraints(range(4)))
                np.testing.assert_array_equal((marks == TAIL) & (marks.T == ARROW), always)
                needed += len(fit) < len(graphs)
    assert needed > 100


def test_what_is_known_is_kept():
    dag = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d")])
    frame = linear_table(dag, 500, 0)
    free = discover(frame, algorithms=["boss"], n_bootstraps=3)
    assert (free.marks.loc[free.marks.frequency == 1, "mark"] == "---").all()
    known = BackgroundKnowledge(required=[("d", "a")], forbidden=[("b", "c"), ("c", "b")])
    edges = discover(frame, algorithms=["boss"], n_bootstraps=3, knowledge=known)
    marks = edges.marks.set_index(["source", "target"])
    assert marks.loc[("d", "a"), "mark"] == "-->"
    assert not marks.index.isin([("b", "c"), ("c", "b")]).any()
    tiers = discover(
        frame, algorithms=["boss"], knowledge=BackgroundKnowledge(tiers=[["d"], ["c"], ["b"]])
    )
    arrows = {(s, t) for s, t in zip(tiers.marks.source, tiers.marks.target, strict=True)}
    assert {("d", "c"), ("c", "b")} <= arrows
    assert tiers.matrix[2, 3] == tiers.matrix[1, 2] == 0
    assert (tiers.marks.loc[tiers.marks.source == "d", "mark"] == "-->").all()


def test_categories_take_part_and_order_and_company_do_not_matter(capfd):
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    group = pd.Categorical(np.where(x + rng.normal(size=600) > 0, "high", "low"))
    y = 2.0 * (group == "high") + rng.normal(size=600)
    frame = pd.DataFrame({"x": x, "group": group, "y": y})
    alone, with_pc = (
        discover(frame, algorithms=algorithms, n_bootstraps=5)
        for algorithms in (["boss"], ["pc", "boss"])
    )
    joined = alone.matrix + alone.matrix.T
    assert joined[0, 1] == joined[1, 2] == 1
    assert joined[0, 2] < 0.5
    shared = with_pc.marks.query("algorithm == 'boss'").reset_index(drop=True)
    pd.testing.assert_frame_equal(shared, alone.marks)
    assert capfd.readouterr() == ("", "")


def test_constant_and_copied_columns_do_no_harm():
    frame = linear_table(nx.DiGraph([("a", "b")]), 100, 0)
    frame = frame.assign(copy=frame["a"], constant=1.0)
    edges = discover(frame, algorithms=["boss"], n_bootstraps=3)
    assert edges.matrix[0, 2] + edges.matrix[2, 0] == 1
    assert not edges.matrix[3].any()
    assert not edges.matrix[:, 3].any()


def test_a_test_without_a_score_is_refused():
    frame = linear_table(nx.DiGraph([("a", "b")]), 50, 0)
    with pytest.raises(CausalMixError, match=r"'boss' has no score .* 'fisherz'"):
        discover(frame, algorithms=["pc", "boss"], test="fisherz")


def test_marks_are_tails_and_arrowheads_only():
    frame = linear_table(random_dag(8, 3, np.random.default_rng(1)), 150, 1)
    known = NO_KNOWLEDGE.constraints(range(8))
    test = DegenerateGaussian(frame.to_numpy())
    graph, _ = search_orders(test, known, np.random.default_rng(0))
    assert set(np.unique(graph)) <= {0, TAIL, ARROW}
    assert ((graph == 0) == (graph.T == 0)).all()


def test_a_search_that_runs_out_of_time_gives_the_best_so_far_and_is_counted():
    dag = random_dag(8, 3, np.random.default_rng(0))
    frame = linear_table(dag, 200, 0)
    options = {"algorithms": ["boss"], "n_bootstraps": 3}
    assert discover(frame, **options).timeouts == 0
    with pytest.warns(UserWarning, match="BOSS ran out of time in 3 of 3 .* boss_seconds=1e-09"):
        late = discover(frame, boss_seconds=1e-9, **options)
    assert late.timeouts == 3
    assert late.matrix.sum() > 0  # the parents that the first order of the columns allows
    with pytest.warns(UserWarning, match="boss_seconds=60 and time_limit=1e-09"):
        hurried = discover(frame, time_limit=1e-9, **options)
    with pytest.warns(UserWarning, match="in 1 of 1"):
        first = discover(frame, boss_seconds=1e-9, **options | {"n_bootstraps": 1})
    np.testing.assert_array_equal(hurried.matrix, first.matrix)
    with pytest.raises(CausalMixError, match="boss_seconds is 0"):
        discover(frame, boss_seconds=0, **options)


def test_the_default_algorithms_are_those_that_the_test_allows():
    frame = linear_table(random_dag(4, 2, np.random.default_rng(0)), 60, 0)
    for test, algorithms in (("basis_function", {"pc", "boss"}), ("fisherz", {"pc", "fci"})):
        edges = discover(frame, test=test, n_bootstraps=2)
        assert set(edges.marks["algorithm"]) == algorithms
