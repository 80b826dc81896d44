"""Stacked densities against the families that the values were drawn from."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from scipy import stats

from causalmix.scm.density import (
    FAMILIES,
    ObservedValues,
    StackedDensity,
    _held_out_densities,
    empirical,
    smooth,
    stacking_weights,
)


@pytest.fixture(autouse=True)
def seeded():
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


def fitted(values: np.ndarray) -> StackedDensity:
    density = smooth(values)
    assert isinstance(density, StackedDensity)
    return density


TRUTHS = {
    "normal": stats.norm(3, 2),
    "laplace": stats.laplace(-1, 0.5),
    "uniform": stats.uniform(10, 4),
    "exponential": stats.expon(-1, 2),
    "gumbel": stats.gumbel_r(0, 3),
}


@pytest.mark.parametrize("name", sorted(TRUTHS))
def test_a_family_recovers_its_own_parameters(name):
    values = TRUTHS[name].rvs(20_000, random_state=1)
    found = FAMILIES[name](values)
    grid = TRUTHS[name].ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(found.pdf(grid), TRUTHS[name].pdf(grid), rtol=0.04)


@pytest.mark.parametrize("name", ["exponential", "gamma", "gumbel"])
def test_a_reflected_family_is_that_of_the_negative_values(name):
    values = stats.expon.rvs(size=500, random_state=0)
    np.testing.assert_allclose(
        FAMILIES[f"reflected {name}"](-values).pdf(-values), FAMILIES[name](values).pdf(values)
    )


@pytest.mark.parametrize("truth", list(TRUTHS.values()), ids=list(TRUTHS))
def test_draws_lie_nearer_to_the_truth_than_the_observed_values(truth):
    closer = 0
    for seed in range(8):
        values = truth.rvs(150, random_state=seed)
        drawn = fitted(values).draw_samples(20_000).ravel()
        closer += (
            stats.kstest(drawn, truth.cdf).statistic < stats.kstest(values, truth.cdf).statistic
        )
    assert closer >= 6


def test_two_modes_are_kept():
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(-3, 0.5, 150), rng.normal(3, 0.5, 150)]
    density = fitted(values)
    assert density.weights_["kernel"] > 0.9
    assert (np.abs(density.draw_samples(2000)) < 1).mean() < 0.03


def test_weights_maximise_the_held_out_likelihood():
    values = stats.laplace.rvs(size=200, random_state=3)
    held_out = _held_out_densities((values - values.mean()) / values.std())
    weights = stacking_weights(held_out)
    best = np.log(held_out @ weights).sum()
    rng = np.random.default_rng(0)
    others = np.log(held_out @ rng.dirichlet(np.ones(len(weights)), 500).T).sum(axis=0)
    singles = np.log(held_out).sum(axis=0)
    assert weights.sum() == pytest.approx(1)
    assert best >= max(others.max(), singles.max()) - 0.02


@pytest.mark.parametrize("values", [np.repeat([1.0, 2.0, 7.0], 40), np.arange(8.0), np.zeros(50)])
def test_ties_and_few_values_are_drawn_as_observed(values):
    density = smooth(values)
    assert isinstance(density, ObservedValues)
    assert set(density.draw_samples(300).ravel()) <= set(values)


def test_one_seed_gives_one_sample():
    density = fitted(stats.norm.rvs(size=100, random_state=0))
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002
        drawn.append(density.draw_samples(50))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("truth", list(TRUTHS.values()), ids=list(TRUTHS))
def test_quantiles_are_those_of_the_truth_in_many_values(truth):
    density = fitted(truth.rvs(5000, random_state=0))
    levels = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
    quantiles = density.quantiles(levels)
    assert np.abs(quantiles - truth.ppf(levels)).max() < 0.06 * truth.std()
    np.testing.assert_allclose(
        density.levels(quantiles, np.random.default_rng(0)), levels, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_distribution_function_is_the_integral_of_the_density(name):
    found = FAMILIES[name](stats.gamma.rvs(3, size=200, random_state=0) / np.sqrt(3))
    grid = np.linspace(1, 3, 20_001)
    integral = np.trapezoid(found.pdf(grid), grid)
    assert np.diff(found.cdf(grid[[0, -1]])).item() == pytest.approx(integral, abs=1e-5)


def test_observed_values_have_as_many_levels_as_their_share():
    observed = empirical(np.array(["b", "a", "b", "b"], dtype=object))
    even = (np.arange(400) + 0.5) / 400
    values, counts = np.unique(observed.quantiles(even).astype(str), return_counts=True)
    assert dict(zip(values, counts, strict=True)) == {"a": 100, "b": 300}
    levels = observed.levels(np.full(2000, "b", dtype=object), np.random.default_rng(0))
    assert stats.kstest(levels, stats.uniform(0.25, 0.75).cdf).statistic < 0.04


def test_of_many_values_a_part_decides_the_weights_and_all_the_parameters():
    values = stats.gumbel_r.rvs(2, 3, size=20_000, random_state=0)
    density = fitted(values)
    assert density.weights_["gumbel"] > 0.5
    drawn = density.draw_samples(200_000).ravel()
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.03)
    assert drawn.std() == pytest.approx(values.std(), rel=0.01)


@pytest.mark.parametrize("kind", [StackedDensity, ObservedValues])
def test_what_is_fitted_anew_forgets_what_it_was_fitted_to(kind):
    first, second = np.random.default_rng(0).normal(size=(2, 200)) * [[1], [9]]
    levels, used, fresh = np.array([0.1, 0.5, 0.9]), kind(), kind()
    used.fit(first)
    used.quantiles(levels)
    used = deepcopy(used)
    for model in (used, fresh):
        model.fit(second)
    np.testing.assert_array_equal(used.quantiles(levels), fresh.quantiles(levels))
