"""Learners of a node: which of them is chosen, and with what penalty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from causalmix.gaussian_process import AdditiveGaussianProcess
from causalmix.learners import (
    CLASSIFIERS,
    CalibratedLogistic,
    FoundationModelClassifier,
    choose_classifier,
    choose_regressor,
)
from causalmix.tfm import load_tfm


def wave(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.2 * rng.normal(size=n)


def test_the_regressor_that_predicts_best_is_chosen():
    X, y = wave(250)
    columns = [[0], [1]]

    def chosen(names: list[str], y: np.ndarray) -> BaseEstimator:
        return choose_regressor(names, X, y, columns).learner

    assert isinstance(chosen(["linear", "gp"], y), AdditiveGaussianProcess)
    line = X @ [1.0, -2.0] + np.random.default_rng(1).normal(size=250)
    steps = np.where(X[:, 0] > 0.3, 5.0, 0.0) * np.where(X[:, 1] > -0.2, 1, -1) + 0.05 * y
    assert isinstance(chosen(["linear", "boosting"], line), RidgeCV)
    assert isinstance(chosen(["linear", "boosting"], steps), HistGradientBoostingRegressor)


def test_drawn_labels_depend_on_the_parent_as_strongly_as_observed_ones():
    """Of two groups, 9 in 10 and 1 in 10 are positive; a shrunken model has less contrast."""
    rng = np.random.default_rng(0)
    contrasts = []
    for _ in range(10):
        group = rng.integers(0, 2, 100)
        y = np.where(rng.random(100) < np.where(group, 0.9, 0.1), "1", "0")
        learner = CalibratedLogistic().fit(np.eye(2)[group], y)
        low, high = learner.predict_proba(np.eye(2))[:, 1]
        observed = (y[group == 1] == "1").mean() - (y[group == 0] == "1").mean()
        contrasts.append((high - low) / observed)
    assert np.mean(contrasts) == pytest.approx(1, abs=0.04)


def test_noise_columns_do_not_drive_the_penalty_away():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 40))
    y = np.where(X[:, 0] + rng.logistic(size=80) > 0, "1", "0")
    learner = CalibratedLogistic().fit(X, y)
    assert learner.predict_proba(X).max(axis=1).mean() < 0.99  # not separated perfectly


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_a_class_of_one_row_is_no_obstacle(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = np.where(X[:, 0] > 0, "a", "b").astype(object)
    y[0] = "c"
    learner = choose_classifier([name, "linear"], X, y.astype(str), [[0], [1], [2]])
    proba = learner.predict_proba(X)
    assert proba.shape == (40, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)


def test_the_foundation_model_leaves_what_it_does_not_take_to_logistic_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 2))
    y = np.repeat([f"{k:02d}" for k in range(12)], 20)  # more classes than it knows
    learner, logistic = FoundationModelClassifier().fit(X, y), CalibratedLogistic().fit(X, y)
    np.testing.assert_allclose(learner.predict_proba(X), logistic.predict_proba(X))
    assert learner.classes_.tolist() == logistic.classes_.tolist()


def test_the_foundation_model_sees_the_levels_of_a_parent_as_one_category():
    """A level that no row has tells nothing; levels in one column agree with the frame itself."""
    rng = np.random.default_rng(0)
    level, x = rng.integers(0, 4, 120), rng.normal(size=120)
    y = np.where((level == 2) | (x > 1), "1", "0")
    predictors = np.column_stack([x, np.eye(4)[level]])
    learner = FoundationModelClassifier(groups=[[0], range(1, 5)]).fit(predictors, y)
    frame = pd.DataFrame({"0": x, "1": pd.Categorical(level, categories=range(4))})
    expected = load_tfm().classifier(random_state=0).fit(frame, y).predict_proba(frame)
    np.testing.assert_allclose(learner.predict_proba(predictors), expected, atol=1e-6)
