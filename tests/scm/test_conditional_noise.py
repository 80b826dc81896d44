"""Noise that depends on the parents: found where it is, not where it is not, and inverted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.ensemble import RandomForestRegressor

from causalmix.scm.conditional_noise import ConditionalNoise, _ranked_score


def parents(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal(size=n), rng


def test_independent_noise_is_left_as_it_is():
    for seed in range(8):
        X, noise, _ = parents(150, seed)
        assert ConditionalNoise().fit(X, noise).gain_ < 1


def test_two_modes_that_part_with_the_parent_are_found():
    X, noise, rng = parents(300, 0)
    sign = rng.choice([-1, 1], 300)
    model = ConditionalNoise().fit(X, sign * np.abs(X[:, 0]) + 0.1 * noise)
    assert model.gain_ > 2
    drawn = model.quantiles(np.tile([1.5, 0.0], (1000, 1)), rng.random(1000))
    assert (np.abs(np.abs(drawn) - 1.5) < 0.6).mean() > 0.7  # not between the modes
    assert (drawn > 0).mean() == pytest.approx(0.5, abs=0.15)


def test_a_spread_that_grows_with_the_parent_is_reproduced():
    X, noise, _ = parents(500, 1)
    model = ConditionalNoise().fit(X, noise * np.exp(X[:, 0]))
    assert model.gain_ > 1
    narrow, wide = (
        np.ptp(model.quantiles(np.tile([x, 0.0], (2, 1)), np.array([0.1, 0.9]))) for x in (-1, 1)
    )
    assert wide / narrow > 3  # exp(2) = 7.4 but for what leaves average


def test_levels_invert_quantiles():
    X, noise, _ = parents(120, 0)
    model = ConditionalNoise().fit(X, noise * np.exp(X[:, 0]))
    noise = 0.9 * model._residuals[::-1]  # between observed ones
    levels = model.levels(X, noise)
    assert ((levels >= 0) & (levels <= 1)).all()
    np.testing.assert_allclose(model.quantiles(X, levels), noise)


def test_the_score_is_the_integral_that_defines_it():
    rng = np.random.default_rng(0)
    residuals = np.sort(rng.normal(size=6))
    weights = rng.dirichlet(np.ones(6), size=6)
    grid = np.linspace(-12, 12, 240_001)
    for i in range(6):
        cdf = (weights[i][:, None] * (residuals[:, None] <= grid)).sum(axis=0)
        expected = np.trapezoid((cdf - (grid >= residuals[i])) ** 2, grid)
        assert _ranked_score(weights, residuals)[i] == pytest.approx(expected, abs=1e-3)


def test_more_rows_than_weights_are_held_for_are_drawn_from():
    X, noise, rng = parents(5000, 0)
    model = ConditionalNoise().fit(X, noise * np.exp(X[:, 0]))
    assert len(model._residuals) == 1000
    assert np.isin(model._residuals, noise * np.exp(X[:, 0])).all()
    assert model.quantiles(X, rng.random(5000)).shape == (5000,)


@pytest.mark.parametrize(("dependent", "trees"), [(True, 100), (False, 25)])
def test_the_forest_is_that_of_scikit_learn_and_grows_only_where_it_may_help(dependent, trees):
    X, noise, _ = parents(400, 0)
    residuals = np.sort(noise)
    X = X[np.argsort(X[:, 0] if dependent else noise)]
    model = ConditionalNoise().fit(X, residuals)
    assert len(model._trees) == trees
    scores = norm.ppf((rankdata(residuals) - 0.5) / 400)
    forest = RandomForestRegressor(
        trees, min_samples_leaf=10, max_features=0.7, random_state=0
    ).fit(X, np.column_stack([scores, np.abs(scores)]))
    for tree, ours, counts, rows in zip(
        forest.estimators_, model._trees, model._in_bag.T, forest.estimators_samples_, strict=True
    ):
        np.testing.assert_array_equal(tree.tree_.threshold, ours.threshold)
        np.testing.assert_array_equal(np.bincount(rows, minlength=400), counts)


def test_weights_are_those_of_rows_in_the_same_leaves_of_trees_that_lack_the_row():
    X, noise, _ = parents(60, 0)
    model = ConditionalNoise().fit(X, noise * np.exp(X[:, 0]))
    found = model._weights(model._leaves, held_out=True)
    for i in range(0, 60, 7):
        expected, used = np.zeros(60), 0
        for leaves, counts in zip(model._leaves.T, model._in_bag.T, strict=True):
            if counts[i] == 0:
                shared = counts * (leaves == leaves[i])
                expected, used = expected + shared / shared.sum(), used + 1
        np.testing.assert_allclose(found[i], expected / used)
