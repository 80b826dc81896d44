"""A causal generator that is short of time, and counts of marks that stand for graphs."""

from __future__ import annotations

import math
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from causalmix.discovery import bootstrap
from causalmix.discovery.bootstrap import discover
from causalmix.errors import DataError, TimeLimitWarning
from causalmix.generation import causal
from causalmix.generation.causal import CausalGenerator
from causalmix.scm import missingness
from causalmix.scm.learners import CLASSIFIERS, REGRESSORS, held_out_mean_and_scale
from causalmix.scm.mechanisms import Pace
from causalmix.scm.missingness import MissingnessModel
from causalmix.scm.model import StructuralCausalModel


def table(n=60, d=12):
    values = np.random.default_rng(0).normal(size=(n, d)).cumsum(axis=1)
    return pd.DataFrame(values, columns=[f"c{j}" for j in range(d)])


def test_a_generator_without_time_still_draws_rows_and_says_what_it_left_out():
    X = table()
    y = pd.Series((X["c3"] > 0).map({True: "yes", False: "no"}), name="label")
    generator = CausalGenerator(time_limit=1e-6)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        rows, labels = generator.fit(X, y).sample(30, 0)
    told = " ".join(str(w.message) for w in heard if w.category is TimeLimitWarning)
    assert rows.shape == (30, 12)
    assert set(labels) == {"yes", "no"}
    for part in ("6 of 13 columns", "1 of 10 bootstraps", "1 of 10 graphs", "mechanisms linear"):
        assert part in told


@pytest.mark.parametrize("n_predictors", [1, 6])
def test_plain_ridge_leaves_each_row_out_as_fitting_the_others_does(n_predictors):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, n_predictors)) + 5
    y = X @ np.ones(n_predictors) + rng.normal(size=30)
    learner = REGRESSORS["plain"](30, []).fit(X, y)
    left_out, scale = held_out_mean_and_scale(learner, X, y)
    each = cross_val_predict(Ridge(learner.alpha_), X, y, cv=LeaveOneOut())
    np.testing.assert_allclose(left_out, each)
    assert (scale == 1).all()


def test_with_a_penalty_given_logistic_regression_searches_none():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] + rng.logistic(size=200) > 0).astype(int)
    given = CLASSIFIERS["plain"](None).fit(X, y)
    reference = LogisticRegression(C=0.1, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(given.predict_proba(X), reference.predict_proba(X), atol=1e-3)


def test_gaps_are_drawn_from_their_column_after_the_deadline_and_this_is_told():
    X = table()
    X = X.mask(np.random.default_rng(1).random(X.shape) < 0.2)
    late = MissingnessModel().fit(X, deadline=-math.inf)
    assert late.hurried
    assert not late.filled.isna().any(axis=None)
    assert all(late.filled[name].isin(X[name]).all() for name in X)
    assert not MissingnessModel().fit(X).hurried
    y = pd.Series(np.arange(60) % 2, name="label")
    with pytest.warns(TimeLimitWarning, match="gaps that depend less on other columns"):
        CausalGenerator(time_limit=1e-6).fit(X, y)


def test_gaps_count_as_hurried_only_where_a_regression_was_left_out(monkeypatch):
    X = table(d=3)
    X["c0"] = X["c0"].mask(np.random.default_rng(1).random(len(X)) < 0.3)
    now = [0.0]
    monkeypatch.setattr(missingness.time, "perf_counter", lambda: now[0])

    class Slow(LogisticRegression):
        def fit(self, *args):
            now[0] = 2.0
            return super().fit(*args)

    monkeypatch.setattr(missingness, "LogisticRegression", Slow)
    late = MissingnessModel().fit(X, deadline=1.0)
    assert now[0] == 2.0
    assert not late.hurried
    X["c1"] = X["c1"].mask(np.random.default_rng(2).random(len(X)) < 0.3)
    now[0] = 0.0
    assert MissingnessModel().fit(X, deadline=1.0).hurried  # one of two gaps was modelled


def test_a_graph_that_is_not_to_be_completed_is_not_said_to_lack_it(monkeypatch):
    X = table(d=4)
    y = pd.Series((X["c3"] > 0).map({True: "yes", False: "no"}), name="label")
    monkeypatch.setattr(causal, "_COMPLETION_SHARE", 0.0)  # that time is always over
    for options in ({"graph": [("c3", "label")], "resampled": True}, {"completion_alpha": 0.0}):
        with warnings.catch_warnings():
            warnings.simplefilter("error", TimeLimitWarning)
            CausalGenerator(n_dags=2, n_bootstraps=2, time_limit=1e3, **options).fit(X, y)
    with pytest.warns(TimeLimitWarning, match="2 graphs as they were drawn"):
        CausalGenerator(n_dags=2, n_bootstraps=2, time_limit=1e3).fit(X, y)


def test_time_is_kept_only_for_mechanisms_that_are_still_to_be_fitted():
    X = table(d=4)
    dag = nx.DiGraph([("c0", "c1"), ("c1", "c2"), ("c2", "c3")])
    fitted = {}
    StructuralCausalModel(dag, mechanism="linear").fit(X, fitted=fitted)
    dag.add_edge("c0", "c3")
    seen = []

    class Watched(Pace):
        def fit(self, node, *args, **options):
            seen.append((node, self.left))
            return super().fit(node, *args, **options)

    pace = Watched(math.inf, math.inf)
    StructuralCausalModel(dag, mechanism="linear").fit(X, fitted=fitted, pace=pace)
    assert seen == [("c3", 1)]
    assert pace.left == 0


def test_with_time_enough_the_limit_changes_nothing():
    X = table(d=4)
    y = pd.Series((X["c3"] > 0).map({True: "yes", False: "no"}))
    few = {"n_bootstraps": 2, "n_dags": 2}
    free, limited = (
        CausalGenerator(**few, time_limit=limit).fit(X, y).sample(50, 0)[0] for limit in (None, 1e6)
    )
    pd.testing.assert_frame_equal(free, limited)


def test_a_result_that_does_not_fit_into_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(bootstrap, "free_memory", lambda: 2.0**10)
    with pytest.raises(DataError, match=r"12 columns take .* GiB .* Select some of the columns"):
        discover(table())


def test_wide_tables_are_screened_in_parts_as_at_once(monkeypatch):
    values, categorical = table(200, 30).to_numpy(), np.zeros(30, dtype=bool)
    for target in (None, 7):
        at_once = bootstrap._most_dependent(values, categorical, np.arange(30), target, 9)
        with monkeypatch.context() as patch:
            patch.setattr(bootstrap, "_SCREENED_AT_ONCE", 8)
            parts = bootstrap._most_dependent(values, categorical, np.arange(30), target, 9)
        assert at_once.tolist() == parts.tolist()
