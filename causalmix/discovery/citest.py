"""Degenerate-Gaussian test of conditional independence for numeric and categorical columns.

causal-learn has no test for mixed data. This one is registered with it under the name
`DEGENERATE_GAUSSIAN`, so that its algorithms find it like their own:
``pc(data, indep_test=DEGENERATE_GAUSSIAN, categorical=[2, 5])``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from causallearn.utils.cit import NO_SPECIFIED_PARAMETERS_MSG, CIT_Base, register_ci_test
from scipy.special import chdtrc

DEGENERATE_GAUSSIAN = "degenerate_gaussian"

# Squares are taken of values within this many standard deviations of the mean: a few outliers
# would make up most of their variance.
SQUARED_WITHIN = 3.0

# Keeps every determinant positive when columns are constant, duplicated or collinear: an exactly
# determined column is left with independent noise of this variance (columns have variance 1).
RIDGE = 1e-6

# A column is determined by others where they leave less than this share of its variance: more than
# the ridge leaves of an exact linear function, less than any measured column leaves.
DETERMINED = 1e-4

# Categories with indicators of their own, the most frequent ones after the reference; the others
# share its level, which bounds the size of a block.
MAX_LEVELS = 8

# Rows that a category needs for an indicator of its own; χ² does not hold below that.
MIN_LEVEL_ROWS = 5

_BATCH = 4096  # conditioning sets whose matrices are in memory at once


class DegenerateGaussian(CIT_Base):
    """Likelihood-ratio test that treats one-hot encoded categories as jointly Gaussian.

    Every column becomes a block of standardised dimensions: a numeric column itself, a categorical
    one an indicator for each frequent level but one (`MAX_LEVELS`, `MIN_LEVEL_ROWS`). With Σ the
    correlation matrix of all dimensions, the statistic for X ⊥ Y | Z is
    −c·log(|Σ_XYZ|·|Σ_Z| / (|Σ_XZ|·|Σ_YZ|)), Bartlett's c = n − 1 − |Z| − (|X| + |Y| + 1)/2,
    compared with χ² on |X|·|Y| degrees of freedom. The determinants are cached for the life of the
    test.

    A column without variance is independent of everything, and so is any pair for which the rows
    are too few to test at all (c ≤ 0).

    Parameters
    ----------
    data : numpy.ndarray of shape (n_rows, n_columns)
        Numbers without missing values; codes in the categorical columns.
    categorical : sequence of int, default=()
        Positions of the categorical columns.
    squares : bool, default=False
        Whether a numeric column of more than two values has its square as a second dimension: the
        test then sees dependence on a column's size and spread as well as on its value, and a
        column separates others that depend on it by a curve.
    sample_size : float, optional
        Independent rows that the data are worth; default: all. Rows drawn with replacement from a
        table of n are worth n/2: they vary about the table as the table about the population.

    Attributes
    ----------
    dimensions : numpy.ndarray of shape (n_rows, n_dimensions)
        All dimensions that vary, standardised.
    blocks : list of numpy.ndarray of int
        By column, the positions of its dimensions.

    References
    ----------
    Andrews, Ramsey, Cooper (2019), "Learning high-dimensional directed acyclic graphs with mixed
    data-types", Proceedings of Machine Learning Research 104. Bartlett (1938) for the factor c.
    Ramsey, Andrews, Spirtes (2025), "Scalable causal discovery from recursive nonlinear data via
    truncated basis function scores and tests", arXiv 2510.04276, for powers as further dimensions.
    """

    def __init__(
        self,
        data: np.ndarray,
        categorical: Sequence[int] = (),
        squares: bool = False,
        sample_size: float | None = None,
    ) -> None:
        super().__init__(data)
        self.sample_size = sample_size or len(data)
        self.check_cache_method_consistent(DEGENERATE_GAUSSIAN, NO_SPECIFIED_PARAMETERS_MSG)
        self.assert_input_data_is_valid()
        codes = set(categorical)
        blocks = [
            _indicators(column) if j in codes else _powers(column, squares)
            for j, column in enumerate(data.T)
        ]
        self.dimensions, owner = _standardise(blocks)
        self.blocks = [np.flatnonzero(owner == j) for j in range(len(blocks))]
        # What others determine of a column: all its levels, or its value. They seldom determine its
        # square as well, of which they have no products.
        self._values = [b if j in codes else b[:1] for j, b in enumerate(self.blocks)]
        self._correlation = self.dimensions.T @ self.dimensions / len(data)
        self._correlation += RIDGE * np.eye(len(owner))
        self._logdets = {0: 0.0}  # key: the set of columns as the bits of an integer
        # For many sets at once: all blocks as rows of one length, filled up with a dimension that
        # is correlated with none.
        n_dimensions = len(owner)
        widest = max((len(block) for block in self.blocks), default=0)
        self._padded = np.full((len(blocks), widest), n_dimensions)
        for j, block in enumerate(self.blocks):
            self._padded[j, : len(block)] = block
        self._extended = np.pad(self._correlation, (0, 1))

    def __call__(self, X: int, Y: int, condition_set: Iterable[int] | None = None) -> float:
        """Return the p-value of column `X` being independent of column `Y` given the others."""
        statistic, df = self.statistic(X, Y, condition_set or ())
        return float(chdtrc(df, statistic)) if df else 1.0

    def statistic(self, x: int, y: int, given: Iterable[int] = ()) -> tuple[float, int]:
        """Return the test statistic and its degrees of freedom (0: nothing to test)."""
        given = [int(j) for j in given]
        size_x, size_y = len(self.blocks[x]), len(self.blocks[y])
        size_z = sum(len(self.blocks[j]) for j in given)
        factor = self.sample_size - 1 - size_z - (size_x + size_y + 1) / 2
        if size_x * size_y == 0 or factor <= 0:
            return 0.0, 0
        z = sum(1 << j for j in given)
        xz, yz = z | 1 << int(x), z | 1 << int(y)
        log_ratio = self._logdet(xz | yz) + self._logdet(z) - self._logdet(xz) - self._logdet(yz)
        return max(0.0, -factor * log_ratio), size_x * size_y

    def log_ratio(self, x: int, given: Iterable[int]) -> float:
        """Return the logarithm of the variance of column x over that which `given` leave of it.

        Of the determinants, where a column has several dimensions.
        """
        z, alone = sum(1 << int(j) for j in given), 1 << int(x)
        return self._logdet(alone) + self._logdet(z) - self._logdet(z | alone)

    def dependence(self, x: int) -> np.ndarray:
        """Return how far the statistic of x with every column is above its mean without relation.

        Returns
        -------
        numpy.ndarray of float of shape (n_columns,)
            The statistic minus its degrees of freedom; 0 where there is nothing to test, and for x.
        """
        block = self.blocks[x]
        sizes = np.array([len(other) for other in self.blocks])
        factor = self.sample_size - 1 - (len(block) + sizes + 1) / 2
        alone = self._log_rest(np.empty((1, 0), dtype=int), block).sum()
        others = self._padded.copy()
        others[x] = len(self._correlation)  # nothing: given itself, a column leaves no determinant
        found = factor * (alone - self._log_rest(others, block).sum(axis=1)) - len(block) * sizes
        testable = (factor > 0) & (len(block) * sizes > 0) & (np.arange(len(sizes)) != x)
        return np.where(testable, found, 0.0)

    def separators(
        self, x: int, y: int, sets: Sequence[tuple[int, ...]], alpha: float
    ) -> list[tuple[int, ...]]:
        """Return those of the sets, all of one size, that separate x and y.

        Those are the sets given which the p-value is above `alpha`, unless they determine x or y.
        The factors of a correlation matrix give all determinants that a test needs, and the
        matrices of many sets are factored at once.
        """
        if len(sets) == 1:  # the cache is faster then
            (given,) = sets
            determined = self.determines(given, x) or self.determines(given, y)
            return sets if self(x, y, given) > alpha and not determined else []
        found = []
        for start in range(0, len(sets), _BATCH):
            batch = np.array(sets[start : start + _BATCH], dtype=int)
            p, determined = self._test_all(x, y, batch)
            found += [sets[start + i] for i in np.flatnonzero((p > alpha) & ~determined)]
        return found

    def _test_all(self, x: int, y: int, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return by set (m, size) the p-value, and whether it determines x or y."""
        block_x, block_y = self.blocks[x], self.blocks[y]
        z = np.sort(self._padded[sets].reshape(len(sets), -1), axis=1)
        size_z = (z < len(self._correlation)).sum(axis=1)
        z = z[:, : size_z.max(initial=0)]
        log_x, log_y = self._log_rest(z, block_x), self._log_rest(z, block_y)
        both = self._log_rest(z, np.concatenate([block_x, block_y]))
        size_x, size_y = len(block_x), len(block_y)
        factor = self.sample_size - 1 - size_z - (size_x + size_y + 1) / 2
        determined = np.zeros(len(sets), dtype=bool)
        for log, n_values in ((log_x, len(self._values[x])), (log_y, len(self._values[y]))):
            if n_values:
                determined |= log[:, :n_values].sum(axis=1) < n_values * np.log(DETERMINED)
        if size_x * size_y == 0:
            return np.ones(len(sets)), determined
        log_ratio = both.sum(axis=1) - log_x.sum(axis=1) - log_y.sum(axis=1)
        statistic = np.maximum(0.0, -factor * log_ratio)
        return np.where(factor > 0, chdtrc(size_x * size_y, statistic), 1.0), determined

    def _log_rest(self, z: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Return by row of `z` (m, n_z) and dimension of a block the logarithm of its variance.

        The variance is that which z and the block's dimensions before it leave; the sum over the
        block is the log-determinant of its covariance given z.
        """
        index = np.concatenate([z, np.broadcast_to(block, (len(z), len(block)))], axis=1)
        matrix = self._extended[index[:, :, None], index[:, None, :]]
        places = np.arange(index.shape[1])
        matrix[:, places, places] += index == len(self._correlation)
        diagonal = np.linalg.cholesky(matrix)[:, places, places]
        return 2 * np.log(diagonal[:, z.shape[1] :])

    def determines(self, given: Iterable[int], x: int) -> bool:
        """Say whether `given` determine column x up to rounding, linearly in their indicators."""
        given = [self.blocks[int(j)] for j in given]
        values = self._values[x]
        if not given or not len(values):
            return False
        rest = self._log_rest(np.concatenate(given)[None], values).sum()
        return bool(rest < len(values) * np.log(DETERMINED))

    def _logdet(self, columns: int) -> float:
        value = self._logdets.get(columns)
        if value is None:
            members = [j for j in range(columns.bit_length()) if columns >> j & 1]
            index = np.concatenate([self.blocks[j] for j in members])
            value = float(np.linalg.slogdet(self._correlation[index[:, None], index])[1])
            self._logdets[columns] = value
        return value


def _indicators(codes: np.ndarray) -> np.ndarray:
    """Return 0/1 indicators (n_rows, n_levels − 1) of the frequent levels of one column."""
    levels, counts = np.unique(codes, return_counts=True)
    ranked = levels[np.argsort(-counts, kind="stable")]
    # The most frequent level is the reference; rare levels fall to it as well.
    frequent = ranked[1 : MAX_LEVELS + 1]
    kept = [level for level in frequent if np.sum(codes == level) >= MIN_LEVEL_ROWS]
    return (codes[:, None] == np.array(kept, dtype=codes.dtype)).astype(float)


def _powers(column: np.ndarray, squares: bool) -> np.ndarray:
    """Return a numeric column, and its square if that is asked for and no function of it."""
    if not squares or len(np.unique(column)) <= 2:
        return column[:, None]
    away = (column - column.mean()) / column.std()
    return np.column_stack([column, away.clip(-SQUARED_WITHIN, SQUARED_WITHIN) ** 2])


def _standardise(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised dimensions that vary, and the block that each belongs to."""
    stacked = np.concatenate(blocks, axis=1)
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    centred = stacked - stacked.mean(axis=0)
    scale = centred.std(axis=0)
    # A constant column keeps rounding errors, of the order of its size, as its spread.
    varies = scale > 1e-10 * np.maximum(1.0, np.abs(stacked).max(axis=0, initial=0.0))
    return centred[:, varies] / scale[varies], owner[varies]


register_ci_test(DEGENERATE_GAUSSIAN, DegenerateGaussian)
