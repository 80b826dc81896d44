"""A causal generator that is short of time, and counts of marks that stand for graphs."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from causalmix.discovery import bootstrap
from causalmix.discovery.bootstrap import discover
from causalmix.errors import DataError, TimeLimitWarning
from causalmix.generation.causal import CausalGenerator
from causalmix.scm import mechanisms
from causalmix.scm.learners import REGRESSORS, held_out_mean_and_scale


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


@pytest.mark.parametrize(("deadline", "searches"), [(100.0, True), (0.0, False)])
def test_the_penalty_of_a_category_is_searched_where_that_fits_into_the_time(
    monkeypatch, deadline, searches
):
    """A fit takes a second here, and the search many."""
    made, now = [], [0.0]

    def make(node, parents, columns, mechanism, noise, pace=None):
        made.append(mechanism)
        now[0] += 1.0

    monkeypatch.setattr(mechanisms, "make_mechanism", make)
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(mechanisms, "time", clock)
    columns = mechanisms.Columns({"c": np.array(["0", "1"], dtype=object)}, {})
    pace = mechanisms.Pace(deadline, deadline, nodes=1, _seconds=[1000.0])
    pace.fit("c", ["p"], columns, "linear", "conditional")
    assert made == ["plain", "linear"][: 1 + searches]
    assert pace.simple == 1


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
