"""Train on synthetic, test on real: against the learners themselves and known extremes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from causalmix.data import load_dataset, low_data_split
from causalmix.errors import UnknownNameError
from causalmix.tfm import Limits, load_tfm
from causalmix.utility import LEARNERS, append_rows, held_out_auc


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("iris"), 60, 15, seed=0)


@pytest.mark.parametrize("learner", LEARNERS)
def test_rows_are_worth_what_their_labels_are(split, learner):
    labels = split.train.y.sample(frac=1, random_state=0).reset_index(drop=True)
    assert held_out_auc(learner, split.train, split.test) > 0.95
    assert held_out_auc(learner, replace(split.train, y=labels), split.test) < 0.9


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_class_without_rows_is_never_predicted(split, learner):
    kept = split.train.take(np.flatnonzero(split.train.y != split.train.class_names[0]))
    # the two pairs with the absent class are ranked by the other two's odds alone
    assert 0.5 < held_out_auc(learner, kept, split.test) < 1
    alone = split.train.take(np.flatnonzero(split.train.y == split.train.class_names[0]))
    assert held_out_auc(learner, alone, split.test) == 0.5


def test_the_foundation_model_sees_no_more_rows_than_it_accepts(split, monkeypatch):
    tfm = load_tfm()
    limits = Limits(max_rows=30, max_features=100, max_classes=10)
    monkeypatch.setattr(type(tfm), "limits", limits)
    rows = append_rows(split.train, split.train)
    auc = held_out_auc("TFM", rows, split.test, tfm=tfm, seed=3)
    kept = rows.take(np.random.default_rng(3).choice(rows.n_rows, 30, replace=False))
    codes = kept.y.cat.codes.to_numpy(np.int64)
    model = tfm.classifier(random_state=3).fit(kept.X, codes)
    proba = model.predict_proba(split.test.X)
    expected = roc_auc_score(split.test.y.cat.codes, proba, multi_class="ovo", average="macro")
    assert auc == pytest.approx(expected, abs=1e-6)


def test_rows_without_a_value_in_a_column_can_be_learned_from(split):
    blank = replace(split.train, X=split.train.X.assign(**{split.train.X.columns[0]: np.nan}))
    for learner in LEARNERS:
        assert held_out_auc(learner, blank, split.test) > 0.9


def test_appended_rows_follow_the_real_ones(split):
    both = append_rows(split.train, split.val)
    assert both.n_rows == split.train.n_rows + split.val.n_rows
    pd.testing.assert_frame_equal(both.X.iloc[: split.train.n_rows], split.train.X)
    assert list(both.y.iloc[split.train.n_rows :]) == list(split.val.y)
    assert both.class_names == split.train.class_names


def test_an_unknown_learner_is_named(split):
    with pytest.raises(UnknownNameError, match="'forest'"):
        held_out_auc("forest", split.train, split.test)
