"""The additive Gaussian process against scikit-learn's, brute force and constructed curves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from causalmix.scm.gaussian_process import AdditiveGaussianProcess


def curve(n: int, seed: int = 0, p: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, 3 + 2 * np.sin(2 * X[:, 0]) + X[:, -1] + 0.4 * rng.normal(size=n)


def test_one_parent_agrees_with_scikit_learn_at_the_same_hyperparameters():
    X, y = curve(60)
    ours = AdditiveGaussianProcess().fit(X, y)
    scale, a, b, noise = np.exp(ours.hyperparameters_)
    kernel = ConstantKernel(a) * RBF(scale) + ConstantKernel(b) * DotProduct(0.0)
    theirs = GaussianProcessRegressor(
        kernel + WhiteKernel(noise), alpha=1e-8, optimizer=None, normalize_y=True
    ).fit(X, y)
    new = np.linspace(-3, 3, 20)[:, None]
    for found, expected in zip(
        ours.predict(new, return_std=True), theirs.predict(new, return_std=True), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_hyperparameters_are_where_the_posterior_is_highest():
    """The marginal likelihood is SciPy's; a step in any direction lowers it with its prior."""
    from scipy.stats import multivariate_normal

    X, y = curve(80, p=2)
    model = AdditiveGaussianProcess().fit(X, y)
    z = (y - y.mean()) / y.std()
    differences = [(X[:, None, k] - X[None, :, k]) ** 2 for k in range(2)]

    def log_posterior(theta: np.ndarray) -> float:
        l0, l1, a0, a1, c, b, noise = np.exp(theta)
        r0, r1 = np.exp(-differences[0] / (2 * l0**2)), np.exp(-differences[1] / (2 * l1**2))
        covariance = a0 * r0 + a1 * r1 + c * r0 * r1 + b * X @ X.T + noise * np.eye(len(z))
        prior = -0.5 * np.sum(((theta - model._prior.mean) / model._prior.deviation) ** 2)
        return multivariate_normal(cov=covariance, allow_singular=True).logpdf(z) + prior

    best = log_posterior(model.hyperparameters_)
    for k in range(7):
        for step in (-0.3, 0.3):
            moved = model.hyperparameters_.copy()
            moved[k] += step
            assert log_posterior(moved) < best


def test_leaving_one_row_out_in_closed_form_equals_conditioning_on_the_others():
    X, y = curve(40, p=2)
    model = AdditiveGaussianProcess(groups=[[0], [1]]).fit(X, y)
    mean, deviation = model.leave_one_out()
    l0, l1, a0, a1, c, b, noise = np.exp(model.hyperparameters_)
    r0, r1 = (
        np.exp(-((X[:, None, k] - X[None, :, k]) ** 2) / (2 * scale**2))
        for k, scale in enumerate([l0, l1])
    )
    signal = a0 * r0 + a1 * r1 + c * r0 * r1 + b * X @ X.T
    covariance = signal + noise * np.eye(40)
    z = (y - y.mean()) / y.std()
    for i in range(0, 40, 9):
        rest = np.arange(40) != i
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], signal[rest, i])
        assert mean[i] == pytest.approx(y.mean() + y.std() * weights @ z[rest], rel=1e-5)
        variance = covariance[i, i] - weights @ signal[rest, i]
        assert deviation[i] == pytest.approx(y.std() * np.sqrt(variance), rel=1e-5)


def test_effects_of_parents_carry_over_to_combinations_that_are_rare():
    """Parents move together, effects add up: an interaction alone falls back to the mean."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=200)
    X = np.stack([shared, shared + 0.4 * rng.normal(size=200)], axis=1)
    y = np.tanh(2 * X[:, 0]) - 1.5 * X[:, 1] + 0.3 * rng.normal(size=200)
    new = np.array([[1.5, -1.5], [-1.5, 1.5]])
    truth = np.tanh(2 * new[:, 0]) - 1.5 * new[:, 1]
    interaction_only = GaussianProcessRegressor(
        ConstantKernel(1.0) * RBF([1.0, 1.0]) + WhiteKernel(0.3), normalize_y=True
    ).fit(X, y)
    ours = AdditiveGaussianProcess().fit(X, y)
    error = np.abs(ours.predict(new) - truth).max()
    assert error < 0.6
    assert error < 0.5 * np.abs(interaction_only.predict(new) - truth).max()


def test_an_interaction_is_learned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    model = AdditiveGaussianProcess().fit(X, X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=300))
    new = rng.uniform(-1, 1, size=(100, 2))
    assert np.sqrt(np.mean((model.predict(new) - new[:, 0] * new[:, 1]) ** 2)) < 0.15


def test_heavy_tails_are_told_from_signal():
    """Errors of the mean under Student noise fall below those of Gaussian noise, in most draws."""
    better = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(150, 1))
        y = np.sin(2 * X[:, 0]) + 0.4 * rng.standard_t(2.2, 150)
        robust = AdditiveGaussianProcess().fit(X, y)
        assert np.isfinite(robust.degrees_of_freedom_)
        gaussian = GaussianProcessRegressor(
            ConstantKernel(1.0) * RBF(1.0) + WhiteKernel(0.3), normalize_y=True
        ).fit(X, y)
        new = np.linspace(-2, 2, 50)[:, None]
        errors = [
            np.mean((m.predict(new) - np.sin(2 * new[:, 0])) ** 2) for m in (robust, gaussian)
        ]
        better += errors[0] < errors[1]
    assert better >= 4
    assert np.isinf(AdditiveGaussianProcess().fit(*curve(150)).degrees_of_freedom_)


def test_the_columns_of_a_category_share_one_scale():
    rng = np.random.default_rng(0)
    X = np.eye(3)[rng.integers(0, 3, 90)]
    model = AdditiveGaussianProcess(groups=[range(3)]).fit(X, X @ [0.0, 1.0, 3.0])
    assert len(model.hyperparameters_) == 4  # length scale, curve, trend, noise
    np.testing.assert_allclose(model.predict(np.eye(3)), [0, 1, 3], atol=0.05)
