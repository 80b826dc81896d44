"""A causal generator that is short of time, and counts of marks that stand for graphs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from causalmix.discovery import bootstrap
from causalmix.discovery.bootstrap import discover
from causalmix.errors import DataError, TimeLimitWarning
from causalmix.generation.causal import CausalGenerator


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
