"""Noise whose distribution depends on the parents: quantiles weighted by a forest."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.ensemble import RandomForestRegressor

_TREES = 100
_LEAST_LEAF = 10
_MOST_ROWS = 1000  # the weights of all rows for all rows take memory and time with their square


class ConditionalNoise:
    """Distribution of a residual given the parents, where it depends on them.

    A random forest that predicts the residual's normal score and the size of that gives every set
    of parents weights over the training rows (those that share its leaves); the weighted residuals,
    interpolated, are the quantile function (Meinshausen 2006). So spread, skew and number of modes
    may change with the parents, as they do wherever a graph has an edge the wrong way round.

    Attributes
    ----------
    gain_ : float
        Mean reduction of the continuous ranked probability score of rows outside the trees' bags,
        against the same residuals without weights, over its standard error; of normal scores.

    References
    ----------
    Meinshausen (2006), "Quantile regression forests", JMLR 7. Gneiting, Raftery (2007), "Strictly
    proper scoring rules, prediction, and estimation", JASA 102, eq. 21, for the score.
    """

    def fit(self, X: np.ndarray, residuals: np.ndarray) -> Self:
        """Fit to predictors (n, p) and residuals (n,), of 1,000 rows at random where n is more."""
        if len(residuals) > _MOST_ROWS:
            kept = np.random.default_rng(0).choice(len(residuals), _MOST_ROWS, replace=False)
            X, residuals = X[kept], residuals[kept]
        order = np.argsort(residuals)
        self._residuals = residuals[order]
        # Outliers would decide the splits of the trees and the score: both are about ranks.
        n = len(residuals)
        scores = norm.ppf((rankdata(self._residuals) - 0.5) / n)
        self._forest = RandomForestRegressor(
            _TREES, min_samples_leaf=_LEAST_LEAF, max_features=0.7, bootstrap=True, random_state=0
        ).fit(X[order], np.column_stack([scores, np.abs(scores)]))
        self._in_bag = _in_bag_counts(self._forest, n)
        self._leaves = self._forest.apply(X[order])
        weights = self._weights(self._leaves, held_out=True)
        even = np.full_like(weights, 1 / (n - 1))
        np.fill_diagonal(even, 0)
        gain = _ranked_score(even, scores) - _ranked_score(weights, scores)
        self.gain_ = float(gain.mean() / (gain.std(ddof=1) / np.sqrt(n) + 1e-12))
        return self

    def quantiles(self, X: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Residual (n,) at a level (n,) in [0, 1] of its distribution given predictors (n, p)."""
        middle = self._middles(X)
        return np.array(
            [np.interp(u, m, self._residuals) for u, m in zip(levels, middle, strict=True)]
        )

    def levels(self, X: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Level (n,) of residuals (n,), the inverse of `quantiles` within the observed range."""
        middle = self._middles(X)
        return np.array(
            [np.interp(r, self._residuals, m) for r, m in zip(residuals, middle, strict=True)]
        )

    def _middles(self, X: np.ndarray) -> np.ndarray:
        weights = self._weights(self._forest.apply(X))
        # A little of every residual keeps the levels strictly increasing, so that they invert.
        weights = 0.999 * weights + 0.001 / weights.shape[1]
        return weights.cumsum(axis=1) - weights / 2

    def _weights(self, leaves: np.ndarray, held_out: bool = False) -> np.ndarray:
        """Weights (n, n_train) of the training residuals for rows in these leaves (n, trees).

        With `held_out` the rows are the training rows, and only trees count that lack the row.
        """
        total = np.zeros((len(leaves), len(self._residuals)))
        used = np.zeros(len(leaves))
        for tree in range(leaves.shape[1]):
            shared = leaves[:, tree, None] == self._leaves[None, :, tree]
            weights = shared * self._in_bag[:, tree]
            weights = weights / weights.sum(axis=1, keepdims=True)
            outside = self._in_bag[:, tree] == 0 if held_out else slice(None)
            total[outside] += weights[outside]
            used[outside] += 1
        return total / np.maximum(used, 1)[:, None]


def _in_bag_counts(forest: RandomForestRegressor, n: int) -> np.ndarray:
    """How often each row is in the bag of each tree, (n, trees)."""
    return np.column_stack([np.bincount(s, minlength=n) for s in forest.estimators_samples_])


def _ranked_score(weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score (n,) of weighted residuals for each residual itself."""
    distance = np.abs(residuals[:, None] - residuals[None, :])
    return np.sum(weights * distance, axis=1) - 0.5 * np.einsum(
        "ij,jk,ik->i", weights, distance, weights, optimize=True
    )
