"""Bounded FCI: the possible-d-sep stage against d-separation in graphs with latent variables."""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.discovery.bootstrap import discover
from causalmix.discovery.edge_probabilities import ARROW, CIRCLE
from causalmix.discovery.independence import IndependenceTest
from causalmix.discovery.knowledge import NO_KNOWLEDGE, BackgroundKnowledge
from causalmix.discovery.options import ALGORITHMS, PAPER_ALGORITHMS
from causalmix.discovery.possible_dsep import OutOfTimeError, possible_dsep, remove_by_possible_dsep
from causalmix.discovery.skeleton import search_skeleton


class Oracle(IndependenceTest):
    """Independence as d-separation in a graph, of whose nodes the first are observed."""

    def __init__(self, dag: nx.DiGraph) -> None:
        self.dag = dag

    def __call__(self, x: int, y: int, given=()) -> float:
        return float(nx.is_d_separator(self.dag, x, y, set(given)))

    def determines(self, given, x: int) -> bool:
        return False


def graph_with_latents(seed: int, d: int) -> nx.DiGraph:
    """Observed nodes 0 to d − 1, and latent ones with two observed children each."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(d)
    pairs = itertools.combinations(order.tolist(), 2)
    dag = nx.DiGraph(pair for pair in pairs if rng.random() < 0.3)
    dag.add_nodes_from(range(d))
    for latent in range(d, 2 * d - 2):
        dag.add_edges_from((latent, int(child)) for child in rng.choice(d, 2, replace=False))
    return dag


def inseparable(dag: nx.DiGraph, d: int) -> np.ndarray:
    """Whether no set of observed nodes separates two of them."""
    joined = np.zeros((d, d), dtype=bool)
    for x, y in itertools.combinations(range(d), 2):
        others = [node for node in range(d) if node not in (x, y)]
        sets = itertools.chain(*(itertools.combinations(others, k) for k in range(d - 1)))
        joined[x, y] = joined[y, x] = not any(nx.is_d_separator(dag, x, y, set(s)) for s in sets)
    return joined


# Whatever separates x and y blocks x ↔ b → p → y and y ↔ d → q → x; that opens the colliders b and
# d, so that c must be given as well, which is adjacent to neither.
X, Y, B, C, D, P, Q = range(7)
NEEDS_STAGE = nx.DiGraph(
    [("l", X), ("l", B), ("m", Y), ("m", D), (C, B), (C, D), (B, P), (P, Y), (D, Q), (Q, X)]
)


def test_removes_what_neighbours_do_not_separate():
    test, known = Oracle(NEEDS_STAGE), NO_KNOWLEDGE.constraints(range(7))
    skeleton = search_skeleton(test, known, 0.5, max_conditioning=5)
    narrowed = remove_by_possible_dsep(skeleton, test, 0.5, known, 5, math.inf)
    assert skeleton.adjacent[X, Y]
    assert (inseparable(NEEDS_STAGE, 7) == narrowed.adjacent).all()
    assert narrowed.separators[X, Y] == narrowed.separators[Y, X]
    assert C in narrowed.separators[X, Y]
    assert not test(X, Y, narrowed.separators[X, Y] - {C})


def test_larger_sets_of_neighbours_than_the_skeleton_tried_are_tried():
    """Three paths from 0 to 4 need three columns; the skeleton's sets have two at most."""
    dag = nx.DiGraph([(0, middle) for middle in (1, 2, 3)] + [(middle, 4) for middle in (1, 2, 3)])
    test, known = Oracle(dag), NO_KNOWLEDGE.constraints(range(5))
    skeleton = search_skeleton(test, known, 0.5, max_conditioning=2)
    assert skeleton.adjacent[0, 4]
    assert not remove_by_possible_dsep(skeleton, test, 0.5, known, 2, math.inf).adjacent[0, 4]


def test_removes_no_edge_of_the_true_skeleton():
    for seed in range(30):
        dag = graph_with_latents(seed, 6)
        test, known = Oracle(dag), NO_KNOWLEDGE.constraints(range(6))
        skeleton = search_skeleton(test, known, 0.5, max_conditioning=1)
        narrowed = remove_by_possible_dsep(skeleton, test, 0.5, known, 1, math.inf)
        assert not (inseparable(dag, 6) & ~narrowed.adjacent).any()
        for x, y in np.argwhere(skeleton.adjacent & ~narrowed.adjacent).tolist():
            assert test(x, y, narrowed.separators[x, y])


def test_paths_end_at_three_edges_and_need_colliders_or_triangles():
    marks = np.zeros((7, 7), dtype=int)
    for i, j in [(0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6)]:
        marks[i, j] = marks[j, i] = CIRCLE
    for node in (1, 2, 3):  # 0 → 1 ↔ 2 ↔ 3 ← 4
        marks[node, [node - 1, node + 1]] = ARROW
    assert possible_dsep(marks, 0, 6) == [1, 5, 2, 3]  # 4 is four edges away
    assert possible_dsep(marks, 0, 1) == [5]  # 6 is behind 5, which is no collider
    marks[0, 6] = marks[6, 0] = CIRCLE
    assert possible_dsep(marks, 0, 5) == [1, 6, 2, 3]
    assert 6 in possible_dsep(marks, 0, 1)


def test_required_edges_stay_and_time_runs_out():
    test, free = Oracle(NEEDS_STAGE), NO_KNOWLEDGE.constraints(range(7))
    known = BackgroundKnowledge(required=[(X, Y)]).constraints(range(7))
    skeleton = search_skeleton(test, known, 0.5, max_conditioning=5)
    assert remove_by_possible_dsep(skeleton, test, 0.5, known, 5, math.inf).adjacent[X, Y]
    with pytest.raises(OutOfTimeError):
        remove_by_possible_dsep(skeleton, test, 0.5, free, 5, -math.inf)


def latent_table(n: int = 300, d: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    weights = np.triu(rng.normal(size=(2 * d, 2 * d)) * (rng.random((2 * d, 2 * d)) < 0.2), 1)
    x = rng.normal(size=(n, 2 * d)) @ np.linalg.inv(np.eye(2 * d) - weights)
    return pd.DataFrame(x[:, ::2], columns=[f"x{j}" for j in range(d)])


def test_out_of_time_is_plain_fci_and_is_counted():
    frame = latent_table()
    plain = discover(frame, algorithms=["fci"], n_bootstraps=3)
    with pytest.warns(UserWarning, match="ran out of time in 3 of 3 bootstraps"):
        late = discover(
            frame, algorithms=["bounded_fci"], n_bootstraps=3, possible_dsep_seconds=1e-9
        )
    np.testing.assert_array_equal(plain.matrix, late.matrix)
    assert (plain.timeouts, late.timeouts) == (0, 3)


def test_bounded_fci_narrows_the_skeleton_of_fci():
    frame = latent_table()
    edges = discover(frame, algorithms=["fci", "bounded_fci"], n_bootstraps=4)
    assert edges.timeouts == 0
    pairs = edges.marks.groupby("algorithm").frequency.sum()
    assert pairs["bounded_fci"] < pairs["fci"]
    assert set(edges.marks.algorithm) == {"fci", "bounded_fci"}
    assert "bounded_fci" not in (*ALGORITHMS, *PAPER_ALGORITHMS)  # it is no default
