"""The made hospital has the graph, the effect and the paradox that it says it has."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.generation.causal import CausalGenerator
from causalmix.scm.hospital import (
    EFFECT,
    effect_error,
    hospital_dag,
    hospital_knowledge,
    hospital_rows,
    tabulate_effects,
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return hospital_rows(4000, seed=0).frame()


def test_the_treatment_helps_though_the_treated_do_worse(rows):
    yes, no = (hospital_rows(500, seed=1, treated=value).X["recovery"] for value in (True, False))
    np.testing.assert_allclose(yes - no, EFFECT)
    means = rows.groupby("treated", observed=True)["recovery"].mean()
    assert means["yes"] < means["no"]


def test_seeing_and_doing_are_told_apart(rows):
    seen, done, true = tabulate_effects(rows)
    means = rows.groupby("treated", observed=True)["recovery"].mean()
    assert seen == means["yes"] - means["no"] < 0
    assert done == pytest.approx(true, abs=0.5)
    assert true == EFFECT
    assert effect_error(rows) == pytest.approx(abs(done - EFFECT))


def test_columns_are_independent_where_the_graph_says_so(rows):
    """Each pair without an edge, given the parents of both, by the residuals of a regression."""
    dag = hospital_dag()
    assert set(dag) == set(rows)
    codes = rows.assign(treated=rows["treated"].cat.codes).astype(float)
    for a, b in combinations(rows, 2):
        if dag.has_edge(a, b) or dag.has_edge(b, a):
            continue
        later, earlier = (a, b) if nx.has_path(dag, b, a) or a == "pressure" else (b, a)
        given = codes[list(dag.predecessors(later))].assign(one=1.0).to_numpy()
        left = [codes[c] - given @ np.linalg.lstsq(given, codes[c])[0] for c in (later, earlier)]
        assert abs(np.corrcoef(left)[0, 1]) < 0.04


def test_the_error_is_small_on_many_real_rows_and_large_where_rows_are_wrong(rows):
    rows = rows.head(1000)
    assert effect_error(rows) < 0.6
    shuffled = rows.assign(treated=rows["treated"].sample(frac=1, random_state=0).array)
    assert effect_error(shuffled) == pytest.approx(EFFECT, abs=0.6)


def test_a_search_that_knows_the_graph_returns_it():
    generator = CausalGenerator(
        target_parents="free", completion_alpha=0, n_dags=2, knowledge=hospital_knowledge()
    )
    patients = hospital_rows(60, seed=0)
    for dag in generator.fit(patients.X, patients.y).dags_:
        assert set(dag.edges) == set(hospital_dag().edges)
