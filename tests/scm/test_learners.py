"""Learners of a node: which of them is chosen, and with what penalty."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict

from causalmix.scm import learners
from causalmix.scm.gaussian_process import AdditiveGaussianProcess
from causalmix.scm.learners import (
    CLASSIFIERS,
    CalibratedLogistic,
    FoundationModelClassifier,
    StackedClassifier,
    choose_classifier,
    choose_regressor,
)
from causalmix.scm.mechanisms import Columns, Pace
from causalmix.tfm.model import load_tfm


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


@pytest.mark.parametrize("classes", [2, 4])
def test_with_many_rows_the_weakest_penalty_within_an_error_of_the_best_is_taken(classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = (X @ rng.normal(size=(3, classes)) + rng.gumbel(size=(120, classes))).argmax(axis=1)
    search = GridSearchCV(
        LogisticRegression(max_iter=1000),
        {"C": [0.01, 0.1, 1, 10, 100]},
        scoring="neg_log_loss",
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).fit(X, y)
    scores = np.stack([search.cv_results_[f"split{k}_test_score"] for k in range(5)])
    behind = scores[:, [search.best_index_]] - scores
    near = behind.mean(axis=0) <= behind.std(axis=0, ddof=1) / np.sqrt(5)
    weakest = [0.01, 0.1, 1, 10, 100][np.flatnonzero(near)[-1]]
    expected = LogisticRegression(C=weakest, max_iter=1000).fit(X, y).predict_proba(X)
    found = CalibratedLogistic().fit(X, y).predict_proba(X)
    assert found == pytest.approx(expected, abs=1e-3)
    assert weakest > search.best_params_["C"]  # so that the two rules differ here


@pytest.mark.parametrize("classes", [2, 5])
def test_many_coefficients_are_found_in_another_way_and_are_the_same(classes, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 12))
    y = (X @ rng.normal(size=(12, classes)) + rng.gumbel(size=(150, classes))).argmax(axis=1)
    few = CalibratedLogistic().fit(X, y).predict_proba(X)
    monkeypatch.setattr(learners, "_HESSIAN", 0)
    assert CalibratedLogistic().fit(X, y).predict_proba(X) == pytest.approx(few, abs=1e-3)


def test_the_stack_weighs_its_learners_as_the_labels_ask():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    line = np.where(X @ [2.0, -2.0] + rng.logistic(size=300) > 0, "1", "0")
    corners = np.where(X[:, 0] * X[:, 1] > 0, "1", "0")
    assert StackedClassifier([[0], [1]]).fit(X, line).weights_["linear"] > 0.7
    trees = StackedClassifier([[0], [1]]).fit(X, corners)
    assert trees.weights_.get("linear", 0) < 0.1
    few = StackedClassifier([[0], [1]]).fit(X[:150], corners[:150])
    assert few.weights_ == {"linear": 1.0}
    new = rng.normal(size=(500, 2))
    assert (trees.predict(new) == np.where(new[:, 0] * new[:, 1] > 0, "1", "0")).mean() > 0.9


def test_the_weights_of_the_stack_are_the_most_likely_of_all():
    """Held against a grid over all weights of three learners, on scikit-learn's held-out rows."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 2))
    y = np.where(X[:, 0] + 2 * (X[:, 1] > 0) + rng.logistic(size=200) > 1, "1", "0")
    stack = StackedClassifier([[0], [1]]).fit(X, y)
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    chances = np.column_stack(
        [
            cross_val_predict(
                CLASSIFIERS[name]([[0], [1]]), X, y, cv=split, method="predict_proba"
            )[np.arange(200), (y == "1").astype(int)]
            for name in ("linear", "forest", "boosting")
        ]
    ).clip(1e-3)
    found = np.array([stack.weights_.get(k, 0) for k in ("linear", "forest", "boosting")])
    steps = np.linspace(0, 1, 21)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1]
    best = max(np.log(chances @ np.array(w)).mean() for w in grid)
    assert np.log(chances @ found).mean() > best - 1e-3


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
    """A level that no row has tells nothing; levels in one column agree with the frame itself.

    Rows are told one by one, or with others and twice, to be alike.
    """
    rng = np.random.default_rng(0)
    level, x = rng.integers(0, 4, 120), rng.normal(size=120)
    y = np.where((level == 2) | (x > 1), "1", "0")
    predictors = np.column_stack([x, np.eye(4)[level]])
    learner = FoundationModelClassifier(groups=[[0], range(1, 5)]).fit(predictors, y)
    frame = pd.DataFrame({"0": x, "1": pd.Categorical(level, categories=range(4))})
    one_member = load_tfm().classifier(n_estimators=1, random_state=0).fit(frame, y)
    expected, twice = (
        one_member.predict_proba(frame),
        learner.predict_proba(np.tile(predictors, (2, 1))),
    )
    np.testing.assert_allclose(twice, np.tile(expected, (2, 1)), atol=1e-5)
    alone = np.concatenate([learner.predict_proba(row[None]) for row in predictors[:5]])
    np.testing.assert_allclose(alone, expected[:5], atol=1e-5)


@pytest.mark.parametrize("first_is_known", [True, False])
def test_a_stack_has_its_own_time_whether_or_not_the_first_label_is_known(first_is_known):
    x = np.arange(60.0)
    label = np.where(x > 30, 1.0, 0.0)
    label[0] = 0.0 if first_is_known else -1.0
    coded = pd.DataFrame({"x": x, "label": label})
    columns = Columns.learn(coded, ["label"], missing_level=False)
    now = time.perf_counter()
    for ends, simple in (((now + 900, now), 1), ((now, now + 900), 0)):
        pace = Pace(*ends)
        pace.fit("label", ["x"], columns, "stacked", "empirical")
        assert pace.simple == simple


def test_without_a_parent_of_two_values_each_class_has_its_share_of_rows():
    y = np.array(["a"] * 6 + ["b"] * 3 + ["c"])
    learner = FoundationModelClassifier().fit(np.ones((10, 2)), y)
    np.testing.assert_allclose(learner.predict_proba(np.zeros((2, 2))), [[0.6, 0.3, 0.1]] * 2)
