"""Noise whose distribution depends on the parents: quantiles weighted by a forest."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import norm, rankdata
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree

_TREES = 100
_FIRST_TREES = 25
_NO_GAIN = -1.0  # of the first trees; where it is less, all of them hardly ever gain
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
        against the same residuals without weights, over its standard error; of normal scores. Where
        it is below -1 with 25 trees, the forest stays as it is; else it grows to 100.

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
        self._residuals, X = residuals[order], X[order].astype(np.float32)
        # Outliers would decide the splits of the trees and the score: both are about ranks.
        n = len(residuals)
        scores = norm.ppf((rankdata(self._residuals) - 0.5) / n)
        targets = np.column_stack([scores, np.abs(scores)])
        even = np.full((n, n), 1 / (n - 1))
        np.fill_diagonal(even, 0)
        without = _ranked_score(even, scores)
        self._trees: list[Tree] = []
        self._in_bag = np.empty(
            (n, 0), dtype=np.uint8
        )  # small: every node of every graph keeps one
        seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=_TREES)
        for more in np.split(seeds, [_FIRST_TREES]):
            grown = [_grow_tree(X, targets, seed) for seed in more]
            self._trees += [tree for tree, _ in grown]
            bags = [counts.astype(np.uint8) for _, counts in grown]
            self._in_bag = np.column_stack([self._in_bag, *bags])
            self._leaves = self._leaves_of(X)
            gain = without - _ranked_score(self._weights(self._leaves, held_out=True), scores)
            self.gain_ = float(gain.mean() / (gain.std(ddof=1) / np.sqrt(n) + 1e-12))
            if self.gain_ < _NO_GAIN:
                break
        return self

    def quantiles(self, X: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Residual (n,) at a level (n,) in [0, 1] of its distribution given predictors (n, p)."""
        rows = zip(levels, self._middles(X), strict=True)
        return np.array([np.interp(level, middle, self._residuals) for level, middle in rows])

    def levels(self, X: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Level (n,) of residuals (n,), the inverse of `quantiles` within the observed range."""
        rows = zip(residuals, self._middles(X), strict=True)
        return np.array([np.interp(value, self._residuals, middle) for value, middle in rows])

    def _middles(self, X: np.ndarray) -> np.ndarray:
        weights = self._weights(self._leaves_of(X.astype(np.float32)))
        # A little of every residual keeps the levels strictly increasing, so that they invert.
        weights = 0.999 * weights + 0.001 / weights.shape[1]
        return weights.cumsum(axis=1) - weights / 2

    def _leaves_of(self, X: np.ndarray) -> np.ndarray:
        """Leaf of each row in each tree (n, trees), numbered through all trees."""
        starts = np.cumsum([0, *(tree.node_count for tree in self._trees[:-1])])
        leaves = np.column_stack([tree.apply(X) for tree in self._trees]) + starts
        return leaves.astype(np.int32)

    def _weights(self, leaves: np.ndarray, held_out: bool = False) -> np.ndarray:
        """Weights (n, n_train) of the training residuals for rows in these leaves (n, trees).

        With `held_out` the rows are the training rows, and only trees count that lack the row.
        """
        n_leaves = sum(tree.node_count for tree in self._trees)
        counts = _by_leaf(self._leaves, self._in_bag.astype(float), n_leaves)
        used = self._in_bag == 0 if held_out else np.ones(leaves.shape, dtype=bool)
        share = used / np.maximum(used.sum(axis=1, keepdims=True), 1)
        share /= np.maximum(counts.sum(axis=0), 1)[leaves]
        return (_by_leaf(leaves, share, n_leaves) @ counts.T).toarray()


def _grow_tree(X: np.ndarray, targets: np.ndarray, seed: int) -> tuple[Tree, np.ndarray]:
    """Return a tree of a random forest, and how often each row (n,) is in its bag.

    These are the trees of scikit-learn's `RandomForestRegressor` (``random_state=0``), without what
    it does besides for each, which takes longer than to grow a tree in a few hundred rows.
    """
    n = len(X)
    counts = np.bincount(np.random.RandomState(seed).randint(0, n, n), minlength=n).astype(float)
    tree = DecisionTreeRegressor(min_samples_leaf=_LEAST_LEAF, max_features=0.7, random_state=seed)
    return tree.fit(X, targets, sample_weight=counts, check_input=False).tree_, counts


def _by_leaf(leaves: np.ndarray, values: np.ndarray, n_leaves: int) -> csr_array:
    """Values (n, trees) of rows as a sparse matrix (n, n_leaves) of the leaves they are in."""
    rows, trees = np.nonzero(values)
    return csr_array((values[rows, trees], (rows, leaves[rows, trees])), (len(leaves), n_leaves))


def _ranked_score(weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score (n,) of weighted sorted residuals for each of them.

    The integral of the squared difference between their distribution function and that of the
    residual itself.
    """
    cdf = weights.cumsum(axis=1)[:, :-1]
    return (cdf - np.tri(len(residuals)).T[:, :-1]) ** 2 @ np.diff(residuals)
