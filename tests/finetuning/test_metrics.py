"""Scores against scikit-learn, closed forms and hand-counted examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.calibration import calibration_curve

from causalmix.finetuning.metrics import (
    N_BINS,
    RELIABILITY,
    log_loss,
    normalised_improvement,
    reliability,
    roc_auc,
    score,
    steps_to_converge,
    validation_test_gap,
)


@pytest.fixture
def three_classes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    logits = rng.normal(size=(200, 3)) + 1.5 * np.eye(3)[y]
    proba = np.exp(logits)
    return y, proba / proba.sum(axis=1, keepdims=True)


def test_multiclass_scores_equal_scikit_learn(three_classes):
    y, proba = three_classes
    assert roc_auc(y, proba) == pytest.approx(
        sklearn.metrics.roc_auc_score(y, proba, multi_class="ovo", average="macro")
    )
    assert log_loss(y, proba) == pytest.approx(sklearn.metrics.log_loss(y, proba))
    assert score(y, proba)["accuracy"] == sklearn.metrics.accuracy_score(y, proba.argmax(axis=1))


def test_reliability_equals_scikit_learn(three_classes):
    y, proba = three_classes
    found = reliability(y, proba)
    right, confidence = proba.argmax(axis=1) == y, proba.max(axis=1)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=N_BINS)
    filled = [k for k in range(N_BINS) if found[f"rows_{k}"]]
    assert [found[f"accuracy_{k}"] for k in filled] == pytest.approx(accuracies)
    assert [found[f"confidence_{k}"] for k in filled] == pytest.approx(confidences)
    assert sum(found[f"rows_{k}"] for k in filled) == len(y)
    empty = set(range(N_BINS)) - set(filled)
    assert all(np.isnan(found[f"accuracy_{k}"]) for k in empty)


def test_calibration_error_by_hand():
    sure = np.array([[0.0, 1.0], [1.0, 0.0], [0.65, 0.35], [0.35, 0.65]])
    # In the last bin both are right; in the sixth one of two is, at a confidence of .65.
    found = reliability(np.array([1, 0, 0, 0]), sure)
    assert found["calibration_error"] == pytest.approx(0.15 / 2)
    assert (found["rows_9"], found["rows_6"]) == (2, 2)
    assert tuple(found) == RELIABILITY


def test_ties_stay_ties(three_classes):
    y = three_classes[0]
    votes = np.random.default_rng(1).multinomial(10, [0.2, 0.3, 0.5], size=200)
    proba = np.mean([votes / 10] * 7, axis=0)  # rows sum to one up to rounding
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        for one, other in ((a, b), (b, a)):
            difference = votes[y == one, one][:, None] - votes[y == other, one][None, :]
            pairs.append((difference > 0).mean() + (difference == 0).mean() / 2)
    assert roc_auc(y, proba) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_binary_auc_counts_ordered_pairs():
    y = np.array([0, 0, 1, 1])
    p = np.array([0.1, 0.6, 0.5, 0.9])  # of the 4 pairs, only (0.6, 0.5) is out of order
    assert roc_auc(y, np.column_stack([1 - p, p])) == pytest.approx(0.75)


def test_auc_leaves_out_a_class_without_rows(three_classes):
    y, proba = three_classes
    kept = y != 1
    two = proba[kept][:, [0, 2]]
    expected = sklearn.metrics.roc_auc_score(y[kept] == 2, two[:, 1] / two.sum(axis=1))
    assert roc_auc(y[kept], proba[kept]) == pytest.approx(expected)


def test_auc_of_one_class_is_undefined():
    assert np.isnan(roc_auc(np.zeros(3, dtype=int), np.full((3, 2), 0.5)))


def test_log_loss_of_an_impossible_class_is_finite():
    assert log_loss(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize(
    ("auc", "zero_shot", "expected"),
    [(0.9, 0.8, 0.5), (0.7, 0.8, -0.5), (0.8, 0.8, 0.0), (0.9, 1.0, 0.0), (1.0, 0.6, 1.0)],
)
def test_normalised_improvement_is_the_share_of_error_removed(auc, zero_shot, expected):
    assert normalised_improvement(auc, zero_shot) == pytest.approx(expected)
    series = normalised_improvement(pd.Series([auc], index=["a"]), pd.Series([zero_shot]))
    assert series["a"] == pytest.approx(expected)


def test_gap_follows_the_order_of_the_two_curves():
    test = np.array([0.5, 0.6, 0.7, 0.8])
    assert validation_test_gap(test**2, test) == pytest.approx(0)
    assert validation_test_gap(-test, test) == pytest.approx(2)
    assert validation_test_gap(np.ones(4), test) == 1
    assert np.isnan(validation_test_gap(test, np.ones(4)))
    # ranks 1 2 4 3 against 1 2 3 4: rho = 1 - 6 * 2 / (4 * 15)
    assert validation_test_gap(np.array([1, 2, 4, 3]), test) == pytest.approx(0.2)


def test_convergence_is_the_first_step_near_the_best():
    steps = [0, 4, 8, 12]
    assert steps_to_converge(steps, [1.0, 0.6, 0.505, 0.5]) == 8  # gains 0, .4, .495, .5
    assert steps_to_converge(steps, [1.0, 1.1, 1.2, 1.3]) == 0
