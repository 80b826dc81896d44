"""The report on synthetic rows: utility, the reference, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from causalmix.data.dataset import TabularDataset, load_dataset
from causalmix.data.splitting import Split, low_data_split
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.quality.fidelity import correlation_matrix_difference, k_marginal_tvd
from causalmix.quality.privacy import membership_attack
from causalmix.quality.report import LEARNERS, PRIVACY, REFERENCE, quality_report, transfer_auc
from causalmix.tfm.model import Limits, load_tfm


@pytest.fixture(scope="module")
def split() -> Split:
    return low_data_split(load_dataset("breast_cancer"), 100, 20, seed=0)


@pytest.fixture(scope="module")
def mixed() -> Split:
    """Numeric and categorical columns."""
    return low_data_split(load_dataset("anes96"), 100, 20, seed=0, n_test=150)


@pytest.fixture(scope="module")
def tfm():
    return load_tfm()


# Train on synthetic, test on real


@pytest.mark.parametrize("learner", LEARNERS)
def test_informative_rows_train_better_than_permuted_labels(split, learner, tfm):
    X, y = split.train.X, split.train.y
    wrong = pd.Series(y.sample(frac=1, random_state=0).array, name=y.name)
    assert transfer_auc((X, y), split.test, learner=learner, tfm=tfm) > 0.95
    assert transfer_auc((X, wrong), split.test, learner=learner, tfm=tfm) < 0.8


@pytest.mark.parametrize("learner", LEARNERS)
def test_absent_classes_and_values_are_borne(learner, tfm):
    split = low_data_split(load_dataset("iris"), 60, 15, seed=0)
    X, y = split.train.X, split.train.y
    first = y == split.train.class_names[0]
    options = {"learner": learner, "tfm": tfm}
    assert transfer_auc((X[first], y[first]), split.test, **options) == 0.5
    # the other two are still told apart; pairs with the first are ranked by their odds alone
    assert 0.5 < transfer_auc((X[~first], y[~first]), split.test, **options) < 1
    blank = X.assign(**{X.columns[0]: np.nan})
    assert transfer_auc((blank, y), split.test, **options) > 0.9


@pytest.mark.parametrize("learner", LEARNERS)
def test_categories_go_by_their_names_whatever_their_type(learner, tfm):
    rng, n = np.random.default_rng(0), 120
    level = pd.Series(rng.choice(["u", "v"], n), dtype="category")
    X = pd.DataFrame({"a": rng.normal(size=n), "c": level})
    y = pd.Series(np.where(level == "u", "p", "q"), name="y")
    test = TabularDataset("made", X, y.astype("category"), "made here")
    options = {"learner": learner, "tfm": tfm}
    for kind in ("category", "object", "string"):
        assert transfer_auc((X.astype({"c": kind}), y), test, **options) == 1
    with pytest.raises(DataError, match="'c' of 'rows' is bool, not category"):
        transfer_auc((X.assign(c=level == "u"), y), test, **options)


@pytest.mark.parametrize("learner", LEARNERS)
def test_classes_go_by_their_names(split, learner, tfm):
    """Whatever the order of the categories, or where labels are text."""
    rows, test = (split.train.X, split.train.y), split.test
    options = {"learner": learner, "tfm": tfm}
    turned = replace(test, y=test.y.cat.reorder_categories(test.class_names[::-1]))
    auc = transfer_auc(rows, test, **options)
    assert auc > 0.95
    assert transfer_auc(rows, turned, **options) == pytest.approx(auc, abs=0.01)
    assert transfer_auc((rows[0], rows[1].astype(str)), test, **options) == auc
    with pytest.raises(DataError, match="'rows' has levels that the test rows do not know: x"):
        transfer_auc((rows[0], rows[1].cat.rename_categories(["x", "y"])), test, **options)
    reports = [
        quality_report(split.train, each, {"val": (split.val.X, split.val.y)}, learners=["linear"])
        for each in (test, turned)
    ]
    pd.testing.assert_frame_equal(*reports)


def test_the_foundation_model_sees_no_more_rows_than_it_takes(split, tfm, monkeypatch):
    monkeypatch.setattr(type(tfm), "limits", Limits(max_rows=30, max_features=100, max_classes=10))
    X, y = split.train.X, split.train.y
    auc = transfer_auc((X, y), split.test, learner="tfm", tfm=tfm, seed=3)
    kept = np.random.default_rng(3).choice(len(y), 30, replace=False)
    model = tfm.classifier(random_state=3).fit(X.iloc[kept], y.iloc[kept].cat.codes.astype(int))
    expected = roc_auc_score(split.test.y.cat.codes, model.predict_proba(split.test.X)[:, 1])
    assert auc == pytest.approx(expected, abs=1e-6)


def test_a_foundation_model_has_to_be_given(split):
    with pytest.raises(CausalMixError, match=r"pass tfm=load_tfm\(\)"):
        transfer_auc((split.train.X, split.train.y), split.test, learner="tfm")


# The report


def test_the_report_tells_copies_from_fresh_rows(split):
    train, test = split.train, split.test
    fresh = test.take(range(0, 200)), test.take(range(200, test.n_rows))
    rows = {"copies": (train.X, train.y), "fresh": (fresh[0].X, fresh[0].y)}
    report = quality_report(train, fresh[1], rows, learners=["linear"], ate_error={"fresh": 0.25})
    assert list(report.index) == [REFERENCE, *rows]
    scores = [name for name in report if name not in (*PRIVACY, "ATE error")]
    pd.testing.assert_series_equal(
        report.loc["copies", scores[:-1]], report.loc[REFERENCE, scores[:-1]], check_names=False
    )
    assert report.loc["copies", "near-copies"] == 1
    assert report.loc["fresh", "near-copies"] < 0.15
    assert list(report.loc[REFERENCE, list(PRIVACY[1:])]) == [0.5, 0.05]
    assert list(report.loc["copies", list(PRIVACY[1:])]) == [1, 1]
    assert abs(report.loc["fresh", "membership AUC"] - 0.5) < 0.1
    assert abs(report.loc["fresh", "NNAA"] - 0.5) < 0.1
    assert report.loc["fresh", "ATE error"] == 0.25
    assert np.isnan(report.loc["copies", "ATE error"])


def test_every_measure_is_of_the_rows_that_it_should_be_of(mixed, tfm):
    train, val, test = mixed.train, mixed.val, mixed.test
    report = quality_report(train, test, {"val": (val.X, val.y)}, learners=LEARNERS, tfm=tfm)
    assert report.notna().all(axis=None)
    row = report.loc["val"]
    assert row["CMD"] == correlation_matrix_difference(test.frame(), val.frame())
    assert row["kMTVD"] == k_marginal_tvd(test.frame(), val.frame())
    attack = membership_attack(train.frame(), test.frame(), val.frame())
    assert tuple(row[["membership AUC", "members found"]]) == attack
    both = pd.concat([train.X, val.X]), pd.concat([train.y, val.y])
    for learner in LEARNERS:
        options = {"learner": learner, "tfm": tfm}
        assert row[f"{learner} TSTR"] == transfer_auc((val.X, val.y), test, **options)
        assert row[f"{learner} real + synthetic"] == transfer_auc(both, test, **options)


def test_a_seed_repeats_the_report_and_columns_may_come_in_any_order(mixed):
    X, y = mixed.val.X, mixed.val.y
    reports = [
        quality_report(mixed.train, mixed.test, {"g": (frame, y)}, learners=["boosting"], seed=5)
        for frame in (X, X[X.columns[::-1]])
    ]
    pd.testing.assert_frame_equal(*reports, check_exact=True)


def test_large_tables_are_thinned_out_for_nnaa(mixed, monkeypatch):
    sizes = []
    monkeypatch.setattr("causalmix.quality.report.MAX_NNAA_ROWS", 40)
    monkeypatch.setattr(
        "causalmix.quality.report.nearest_neighbour_adversarial_accuracy",
        lambda real, made, seed: sizes.append((len(real), len(made))),
    )
    quality_report(mixed.train, mixed.test, {"val": (mixed.val.X, mixed.val.y)}, learners=[])
    assert sizes == [(40, 40), (40, 20)]


def test_rows_that_do_not_fit_are_refused_by_name(mixed):
    X, y = mixed.train.X, mixed.train.y

    def report(X, y=y, **options):
        return quality_report(mixed.train, mixed.test, {"mine": (X, y)}, learners=[], **options)

    number, level = (X.select_dtypes(kind).columns[0] for kind in ("number", "category"))
    with pytest.raises(DataError, match=f"'mine' lack the columns {number}"):
        report(X.drop(columns=number))
    test = replace(mixed.test, X=mixed.test.X.drop(columns=number))
    with pytest.raises(DataError, match=f"'test' lack the columns {number}"):
        quality_report(mixed.train, test, {"mine": (X, y)}, learners=[])
    with pytest.raises(DataError, match=f"'{number}' of 'mine' is"):
        report(X.assign(**{number: X[number].astype(str)}))
    with pytest.raises(DataError, match=f"'{level}' of 'mine' has levels .*: Mars"):
        report(X.assign(**{level: "Mars"}))
    with pytest.raises(DataError, match=r"has levels .*: Nobody"):
        report(X, pd.Series(["Nobody"] * len(y), name=y.name))
    with pytest.raises(DataError, match="'mine' has no rows"):
        report(X.iloc[:0], y.iloc[:0])
    with pytest.raises(UnknownNameError, match="'min'"):
        report(X, ate_error={"min": 1.0})
    with pytest.raises(CausalMixError, match="names the reference"):
        quality_report(mixed.train, mixed.test, {REFERENCE: (X, y)})
    for rows, message in (
        ((X, y.where(y == y[0])), "of the rows have no label; drop them"),
        ((X.assign(z=1.0), y), "lack columns that the rows have: 'z'"),
        ((X, y[:-1]), "features of the rows are 100, their labels 99"),
        ((X, pd.Series([1, "x"] * 50, dtype=object)), "has levels .*: 1, x"),
    ):
        with pytest.raises(DataError, match=message):
            transfer_auc(rows, mixed.test)
    assert transfer_auc((X.select_dtypes("number") * np.nan, y), mixed.test) == 0.5
    with pytest.raises(UnknownNameError, match="'forest'"):
        quality_report(mixed.train, mixed.test, {}, learners=["forest"])
