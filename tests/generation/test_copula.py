"""The copula has the correlations and margins of tables made with known ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, norm, spearmanr

from causalmix.generation.copula import CopulaGenerator, within_class_correlation

R = np.array(
    [[1.0, 0.7, -0.5, 0.6], [0.7, 1.0, 0.0, 0.3], [-0.5, 0.0, 1.0, -0.4], [0.6, 0.3, -0.4, 1]]
)


def made(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Skewed numbers, a count, and levels cut from scores with the correlation R; one class."""
    z = np.random.default_rng(seed).multivariate_normal(np.zeros(4), R, n)
    X = pd.DataFrame(
        {
            "skewed": np.exp(z[:, 0]),
            "bounded": norm.cdf(z[:, 1]),
            "count": np.floor(np.exp(1 + 0.7 * z[:, 2])).astype(int),
            "level": pd.Categorical(np.select([z[:, 3] < -0.5, z[:, 3] < 0.8], ["a", "b"], "c")),
        }
    )
    return X, pd.Series(np.zeros(n), name="y")


def test_the_correlation_of_the_scores_is_found_through_margins_and_ties():
    X, y = made(4000)
    found = CopulaGenerator().fit(X, y).correlation_
    np.testing.assert_allclose(found, R, atol=0.05)


def test_few_rows_are_shrunk_towards_independence_and_stay_a_correlation():
    X, _ = made(12)
    wide = pd.concat([X.drop(columns="level").add_suffix(str(k)) for k in range(8)], axis=1)
    found = within_class_correlation(wide.astype(float), np.zeros(12)).to_numpy()
    plain = wide.corr("spearman").to_numpy()
    off = ~np.eye(len(found), dtype=bool)
    assert np.abs(found[off]).mean() < np.abs(plain[off]).mean()
    assert np.linalg.eigvalsh(found).min() > 0
    np.testing.assert_allclose(np.diag(found), 1)


def test_samples_have_the_margins_and_rank_correlations_of_the_table():
    X, y = made(1500)
    X_new, _ = CopulaGenerator().fit(X, y).sample(4000, seed=1)
    for name in ("skewed", "bounded"):
        assert ks_2samp(X[name], X_new[name]).statistic < 0.03
    assert set(X_new["count"]) <= set(X["count"])
    for name in ("count", "level"):
        real, new = (frame[name].value_counts(normalize=True) for frame in (X, X_new))
        assert real.sub(new, fill_value=0).abs().max() < 0.03
    codes = [frame.assign(level=frame.level.cat.codes) for frame in (X, X_new)]
    real, new = (spearmanr(frame).statistic for frame in codes)
    np.testing.assert_allclose(real, new, atol=0.05)


def test_margins_are_those_of_the_class():
    """Classes without an order: of three, the middle code is the one that stands out."""
    rng = np.random.default_rng(0)
    y = pd.Series(rng.choice(list("abc"), 600, p=[0.45, 0.1, 0.45]), name="y")
    X = pd.DataFrame({"x": rng.normal(size=600) + 6 * (y == "b"), "u": rng.normal(size=600)})
    X_new, y_new = CopulaGenerator().fit(X, y).sample(2000, seed=0)
    assert X_new.x[y_new == "b"].mean() == pytest.approx(X.x[y == "b"].mean(), abs=0.2)
    assert (X_new.x[y_new == "b"] > X_new.x[y_new != "b"].max() - 2).mean() > 0.95
    assert abs(np.corrcoef(X_new.x, X_new.u)[0, 1]) < 0.1


def test_numbers_that_are_missing_do_not_weaken_the_correlation():
    X, y = made(4000)
    gone = np.random.default_rng(1).random((4000, 3)) < 0.4
    numbers = X.drop(columns="level").astype(float).mask(gone)
    found = CopulaGenerator().fit(numbers, y).correlation_
    np.testing.assert_allclose(found, R[:3, :3], atol=0.07)
