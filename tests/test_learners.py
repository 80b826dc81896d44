"""Learners of a node: held-out predictions against brute force, and how penalties are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor

from causalmix.learners import (
    CLASSIFIERS,
    choose_classifier,
    choose_regressor,
    gaussian_process,
    held_out_mean_and_scale,
    logistic,
)


def wave(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.2 * rng.normal(size=n)


def test_leaving_one_row_out_in_closed_form_equals_refitting_without_it():
    X, y = wave(30)
    learner = gaussian_process(*X.shape).fit(X, y)
    mean, scale = held_out_mean_and_scale(learner, X, y)
    fixed = clone(learner).set_params(kernel=learner.kernel_, optimizer=None, normalize_y=False)
    centre, unit = y.mean(), y.std()
    for i in range(0, 30, 7):
        rest = np.arange(30) != i
        without = clone(fixed).fit(X[rest], (y[rest] - centre) / unit)
        expected, deviation = without.predict(X[[i]], return_std=True)
        assert mean[i] == pytest.approx(centre + unit * expected[0], rel=1e-6)
        assert scale[i] == pytest.approx(unit * deviation[0], rel=1e-6)


def test_the_regressor_that_predicts_best_is_chosen():
    X, y = wave(250)
    assert isinstance(choose_regressor(["linear", "gp"], X, y).learner, GaussianProcessRegressor)
    line = X @ [1.0, -2.0] + np.random.default_rng(1).normal(size=250)
    steps = np.where(X[:, 0] > 0.3, 5.0, 0.0) * np.where(X[:, 1] > -0.2, 1, -1) + 0.05 * y
    assert "Ridge" in type(choose_regressor(["linear", "boosting"], X, line).learner).__name__
    assert "Boosting" in type(choose_regressor(["linear", "boosting"], X, steps).learner).__name__


def test_drawn_labels_depend_on_the_parent_as_strongly_as_observed_ones():
    """Of two groups, 9 in 10 and 1 in 10 are positive; a shrunken model has less contrast."""
    rng = np.random.default_rng(0)
    contrasts = []
    for _ in range(10):
        group = rng.integers(0, 2, 100)
        y = np.where(rng.random(100) < np.where(group, 0.9, 0.1), "1", "0")
        learner = logistic(np.eye(2)[group], y).fit(np.eye(2)[group], y)
        low, high = learner.predict_proba(np.eye(2))[:, 1]
        observed = (y[group == 1] == "1").mean() - (y[group == 0] == "1").mean()
        contrasts.append((high - low) / observed)
    assert np.mean(contrasts) == pytest.approx(1, abs=0.04)


def test_noise_columns_do_not_drive_the_penalty_away():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 40))
    y = np.where(X[:, 0] + rng.logistic(size=80) > 0, "1", "0")
    learner = logistic(X, y).fit(X, y)
    assert learner.predict_proba(X).max(axis=1).mean() < 0.99  # not separated perfectly


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_a_class_of_one_row_is_no_obstacle(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = np.where(X[:, 0] > 0, "a", "b").astype(object)
    y[0] = "c"
    learner = choose_classifier([name, "linear"], X, y.astype(str))
    proba = learner.predict_proba(X)
    assert proba.shape == (40, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
