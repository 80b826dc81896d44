"""Random structural causal models: reproducible tables that follow their graphs."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.data.codec import TableCodec
from causalmix.discovery.citest import DegenerateGaussian
from causalmix.scm.random_scm import random_dag, random_scm_table


def test_graphs_have_the_degree_asked_for():
    rng = np.random.default_rng(0)
    dags = [random_dag(20, 3.0, rng) for _ in range(200)]
    assert all(nx.is_directed_acyclic_graph(dag) for dag in dags)
    assert np.mean([2 * dag.number_of_edges() / 20 for dag in dags]) == pytest.approx(3, abs=0.15)
    forward = [int(a[1:]) < int(b[1:]) for dag in dags for a, b in dag.edges]
    assert np.mean(forward) == pytest.approx(0.5, abs=0.03)  # names say nothing about the order


def test_tables_are_mixed_and_reproducible():
    frame, dag = random_scm_table(20, 300, seed=1)
    again, _ = random_scm_table(20, 300, seed=1)
    longer, same = random_scm_table(20, 600, seed=1)
    pd.testing.assert_frame_equal(frame, again)
    assert list(frame) == list(dag)
    assert set(dag.edges) == set(same.edges)
    assert len(longer) == 600
    kinds = frame.dtypes.astype(str)
    assert set(kinds) == {"float64", "category"}
    assert 3 <= (kinds == "category").sum() <= 14
    assert frame.notna().all(axis=None)
    assert (frame.nunique() > 1).all()
    other, _ = random_scm_table(20, 300, seed=2)
    assert not frame.equals(other)


def test_tables_follow_their_graphs(monkeypatch):
    """Linear models: a column depends on each of its parents given
    the others; d-separated columns are independent at the level of the test."""
    monkeypatch.setattr("causalmix.scm.random_scm._CURVED_SHARE", 0.0)
    monkeypatch.setattr("causalmix.scm.random_scm._CATEGORICAL_SHARE", 0.3)
    false, missed = [], []
    for seed in range(6):
        frame, dag = random_scm_table(8, 4000, seed)
        codec = TableCodec(frame)
        columns = np.flatnonzero(np.isin(list(frame), codec.categorical))
        test = DegenerateGaussian(codec.encode(frame).to_numpy(), columns)
        place = {name: j for j, name in enumerate(frame)}
        for a, b in nx.non_edges(dag.to_undirected()):
            separator = nx.find_minimal_d_separator(dag, {a}, {b})
            p = test(place[a], place[b], [place[c] for c in separator])
            # A category is no linear function of what it depends on, and separates imperfectly.
            if not any(c in codec.categorical for c in (a, b, *separator)):
                false.append(p < 0.01)
        for a, b in dag.edges:
            others = [place[c] for c in dag.predecessors(b) if c != a]
            missed.append(test(place[a], place[b], others) > 0.01)
    assert len(false) > 20
    assert np.mean(false) < 0.1
    assert np.mean(missed) < 0.05
