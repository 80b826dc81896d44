"""Noise that depends on the parents: found where it is, not where it is not, and inverted."""

from __future__ import annotations

import numpy as np
import pytest

from causalmix.conditional_noise import ConditionalNoise, _ranked_score


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
