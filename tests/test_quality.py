"""The report on synthetic rows: its measures, its reference, and bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causalmix.data import load_dataset, low_data_split
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.fidelity import correlation_matrix_difference, k_marginal_tvd
from causalmix.quality import BETTER, BOTH_AUC, REFERENCE, SYNTHETIC_AUC, quality_report
from causalmix.utility import LEARNERS, append_rows, held_out_auc


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("anes96"), 100, 20, seed=0, n_test=150)


@pytest.fixture(scope="module")
def synthetic(split):
    X, y = split.train.X, split.train.y
    other = split.val.X, split.val.y
    wrong = y.sample(frac=1, random_state=0).reset_index(drop=True)
    return {"copies": (X, y), "fresh": other, "wrong labels": (X, wrong)}


@pytest.fixture(scope="module")
def report(split, synthetic):
    return quality_report(split.train, split.test, synthetic)


def test_the_report_has_every_measure_for_every_generator_and_the_reference(report, synthetic):
    assert list(report.index) == [REFERENCE, *synthetic]
    assert list(report.columns) == [c for c in BETTER if c != ("effect", "ATE error")]
    assert report.notna().all(axis=None)


def test_copies_score_as_the_real_rows_but_for_being_copies(report):
    columns = [c for c in report if c[0] in ("fidelity", SYNTHETIC_AUC)]
    pd.testing.assert_series_equal(
        report.loc["copies", columns], report.loc[REFERENCE, columns], check_names=False
    )
    near = report["privacy", "near-copies"]
    assert near["copies"] == 1
    assert near[REFERENCE] < 0.3
    assert near["fresh"] < 0.3


def test_wrong_labels_cost_utility_and_fidelity(report):
    assert (report.loc["copies", SYNTHETIC_AUC] > report.loc["wrong labels", SYNTHETIC_AUC]).all()
    cmd = report["fidelity", "CMD"]
    assert cmd["wrong labels"] > cmd["copies"]


def test_fidelity_is_against_the_test_rows_and_utility_from_both_kinds(report, split):
    both = append_rows(split.train, split.val)
    for learner in LEARNERS:
        assert report.loc["fresh", (BOTH_AUC, learner)] == held_out_auc(learner, both, split.test)
    test, fresh = split.test.frame(), split.val.frame()
    assert report.loc["fresh", ("fidelity", "CMD")] == correlation_matrix_difference(test, fresh)
    assert report.loc["fresh", ("fidelity", "kMTVD")] == k_marginal_tvd(test, fresh)


def test_given_ate_errors_are_a_column_and_a_missing_one_is_not_a_number(split, synthetic):
    table = quality_report(
        split.train, split.test, synthetic, learners=(), ate_error={"copies": 0.25, REFERENCE: 0.5}
    )
    errors = table["effect", "ATE error"]
    assert errors[[REFERENCE, "copies"]].tolist() == [0.5, 0.25]
    assert errors[["fresh", "wrong labels"]].isna().all()
    with pytest.raises(UnknownNameError, match="'copy'"):
        quality_report(split.train, split.test, synthetic, learners=(), ate_error={"copy": 1.0})


def test_a_seed_repeats_the_report_and_columns_may_come_in_any_order(split, synthetic):
    X, y = synthetic["fresh"]
    tables = [
        quality_report(split.train, split.test, {"g": (frame, y)}, learners=("boosting",), seed=5)
        for frame in (X, X[X.columns[::-1]])
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_rows_that_do_not_fit_are_refused_by_name(split):
    X, y = split.train.X, split.train.y

    def report(X, y=y, **options):
        return quality_report(split.train, split.test, {"mine": (X, y)}, learners=(), **options)

    number, level = X.select_dtypes("number").columns[0], X.select_dtypes("category").columns[0]
    with pytest.raises(DataError, match=f"'mine' lack the columns {number}"):
        report(X.drop(columns=number))
    with pytest.raises(DataError, match=f"'{number}' of 'mine' is"):
        report(X.assign(**{number: X[number].astype(str)}))
    with pytest.raises(DataError, match=f"'{level}' of 'mine' has levels .*: Mars"):
        report(X.assign(**{level: "Mars"}))
    with pytest.raises(DataError, match="has levels .*: Nobody"):
        report(X, pd.Series(["Nobody"] * len(y), name=y.name))
    with pytest.raises(DataError, match="'mine' has no rows"):
        report(X.iloc[:0], y.iloc[:0])
    with pytest.raises(CausalMixError, match="names the reference"):
        quality_report(split.train, split.test, {REFERENCE: (X, y)})
    with pytest.raises(UnknownNameError, match="'forest'"):
        quality_report(split.train, split.test, {}, learners=("forest",))


def test_large_tables_are_thinned_out_for_nnaa_only(split, synthetic, monkeypatch):
    sizes = []
    monkeypatch.setattr("causalmix.quality.MAX_DISTANCE_ROWS", 40)
    monkeypatch.setattr(
        "causalmix.quality.nearest_neighbour_adversarial_accuracy",
        lambda real, made, seed: sizes.append((len(real), len(made))) or np.nan,
    )
    quality_report(split.train, split.test, {"fresh": synthetic["fresh"]}, learners=())
    assert sizes == [(40, 40), (40, 20)]
