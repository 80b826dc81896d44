"""Utility of synthetic rows and the report on them: known extremes."""

from __future__ import annotations

import pandas as pd
import pytest

from causalmix.data import load_dataset, low_data_split
from causalmix.errors import CausalMixError
from causalmix.quality import quality_report, transfer_auc
from causalmix.quality_plots import plot_quality
from causalmix.splitting import Split
from causalmix.tfm import load_tfm


@pytest.fixture(scope="module")
def split() -> Split:
    return low_data_split(load_dataset("breast_cancer"), 100, 20, seed=0)


@pytest.mark.parametrize("learner", ["linear", "boosting", "tfm"])
def test_informative_rows_train_better_than_permuted_labels(split, learner):
    X, y = split.train.X, split.train.y
    wrong = pd.Series(y.sample(frac=1, random_state=0).array, name=y.name)
    options = {"learner": learner, "tfm": load_tfm() if learner == "tfm" else None}
    assert transfer_auc((X, y), split.test, **options) > 0.95
    assert transfer_auc((X, wrong), split.test, **options) < 0.8


def test_rows_of_one_class_rank_nothing_and_a_tfm_has_to_be_given(split):
    one = split.train.y == split.train.class_names[0]
    assert transfer_auc((split.train.X[one], split.train.y[one]), split.test) == 0.5
    with pytest.raises(CausalMixError, match=r"pass tfm=load_tfm\(\)"):
        transfer_auc((split.train.X, split.train.y), split.test, learner="tfm")


def test_the_report_tells_copies_from_fresh_rows(split):
    train, test = split.train, split.test
    fresh = test.take(range(0, 200)), test.take(range(200, test.n_rows))
    rows = {"copies": (train.X, train.y), "fresh": (fresh[0].X, fresh[0].y)}
    report = quality_report(train, fresh[1], rows, learners=["linear"], ate_error={"fresh": 0.25})
    assert report.index[0] == "real training rows"
    assert report.loc["copies", "linear TSTR"] == report["linear TSTR"].iloc[0]
    assert report.loc["copies", "near-copies"] == 1
    assert report.loc["fresh", "near-copies"] < 0.15
    assert abs(report.loc["fresh", "NNAA"] - 0.5) < 0.1
    assert report.loc["fresh", "ATE error"] == 0.25
    titles = [ax.get_title() for ax in plot_quality(report).axes if ax.get_title()]
    assert titles == list(report.columns)
