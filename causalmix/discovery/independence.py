"""The conditional-independence tests that a search can use: the mixed-data one and causal-learn's.

A test is called with the positions of two columns and of the columns given, and returns a p-value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from causallearn.utils.cit import CIT

from causalmix.data.columns import listed
from causalmix.data.numpy_seed import numpy_seed
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN, RIDGE, DegenerateGaussian
from causalmix.errors import DataError, check_name

BASIS_FUNCTION = "basis_function"
"""The degenerate-Gaussian test on numeric columns and their squares."""

MIXED_TESTS = (BASIS_FUNCTION, DEGENERATE_GAUSSIAN)
"""The tests that take columns of both kinds, and are told what a bootstrap is worth."""

TESTS = (*MIXED_TESTS, "fisherz", "kci", "rcit", "chisq")

# The kernel tests' null distributions hold for large samples; below this many rows they reject
# too often, and nothing is tested.
MIN_KERNEL_ROWS = 20

# Random Fourier features of RCIT's conditioning set. With causal-learn's 100 at every size, its
# level at .05 was .58 with 30 rows and .13 with 125; with a fifth of the rows, .11 and .08.
MAX_FEATURES, ROWS_PER_FEATURE = 100, 5


class IndependenceTest(Protocol):
    """What a search asks of a test."""

    def __call__(self, x: int, y: int, given: Iterable[int] = ()) -> float:
        """Return the p-value of columns x and y being independent given the others."""

    def determines(self, given: Iterable[int], x: int) -> bool:
        """Say whether `given` determine column x up to rounding, linearly in their indicators."""

    def separators(
        self, x: int, y: int, sets: Sequence[tuple[int, ...]], alpha: float
    ) -> list[tuple[int, ...]]:
        """Return those of the sets, all of one size, that separate x and y.

        A set separates them if they are independent given it, unless it determines one of them:
        given what determines it, a column is independent of everything, and without this exception
        copies of a column and the terms of an exact sum would lose their edges to all others.
        """
        return [
            given
            for given in sets
            if self(x, y, given) > alpha
            and not (self.determines(given, x) or self.determines(given, y))
        ]


def check_test(test: str, names: Sequence[str], categorical: np.ndarray, codes: np.ndarray) -> None:
    """Check that a test exists and fits the columns of a table.

    Parameters
    ----------
    test : str
        One of `TESTS`.
    names : sequence of str
        The d columns.
    categorical : numpy.ndarray of bool of shape (d,)
    codes : numpy.ndarray of shape (n_rows, d)
        The table as `causalmix.data.codec.TableCodec` codes it.

    Raises
    ------
    UnknownNameError
        If there is no such test.
    DataError
        If the test does not fit the type of a column; the columns are named.
    """
    check_name(test, TESTS, "independence test")
    if test == "chisq" and not categorical.all():
        numeric = [name for name, c in zip(names, categorical, strict=True) if not c]
        raise DataError(
            f"The test 'chisq' needs categories, but these columns are numeric: {listed(numeric)}. "
            f"Bin them (pandas.qcut), make them categories, or use test={BASIS_FUNCTION!r}, "
            "which takes columns of both kinds."
        )
    if test == "fisherz":
        levels = [len(np.unique(column)) for column in codes.T]
        unordered = [names[j] for j in np.flatnonzero(categorical) if levels[j] > 2]
        if unordered:
            raise DataError(
                "The test 'fisherz' needs numbers or two categories, but these columns have more "
                f"(missing counts as one): {listed(unordered)}. Use test={BASIS_FUNCTION!r}, "
                "or turn them into numbers if their categories have an order."
            )


def draw_rows(test: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of a resample of n: all with replacement, or half of them without.

    Both vary about the table by as much. Half without replacement are as many independent rows,
    which keeps the level of tests that cannot be told that a sample is worth less than its size.
    """
    if test in MIXED_TESTS:
        return rng.integers(n, size=n)
    return rng.permutation(n)[: (n + 1) // 2]


def make_test(test: str, sample: np.ndarray, categorical: np.ndarray) -> IndependenceTest:
    """Return a test on rows that `draw_rows` drew.

    Parameters
    ----------
    test : str
        One of `TESTS`.
    sample : numpy.ndarray of shape (n_rows, d)
        Numbers without missing values; codes in the categorical columns.
    categorical : numpy.ndarray of bool of shape (d,)
    """
    codes = np.flatnonzero(categorical)
    if test in MIXED_TESTS:
        squares = test == BASIS_FUNCTION
        return DegenerateGaussian(sample, codes, squares=squares, sample_size=len(sample) / 2)
    return CausalLearnTest(test, sample, codes)


class CausalLearnTest(IndependenceTest):
    """A test of causal-learn that survives few rows and constant, copied or collinear columns.

    The kernel tests (kci, rcit) see a categorical column as its indicators, as the
    degenerate-Gaussian test does. A column without variance is independent of everything and adds
    nothing to a conditioning set; so is any pair for which the rows are too few to test.

    Parameters
    ----------
    test : {"fisherz", "kci", "rcit", "chisq"}
    sample : numpy.ndarray of shape (n_rows, d)
        Numbers without missing values; codes in the categorical columns.
    categorical : sequence of int
        Positions of the categorical columns.
    """

    def __init__(self, test: str, sample: np.ndarray, categorical: Sequence[int]) -> None:
        self._linear = DegenerateGaussian(sample, categorical)
        self._varies = np.ptp(sample, axis=0) > 0
        self._kernel = test in ("kci", "rcit")
        self._min_rows = MIN_KERNEL_ROWS if self._kernel else 4
        options = {}
        if test == "rcit":
            options["num_f"] = max(5, min(MAX_FEATURES, len(sample) // ROWS_PER_FEATURE))
        with _quiet():
            self._test = CIT(self._linear.dimensions if self._kernel else sample, test, **options)
        if test == "fisherz":  # constant columns and singular matrices, see RIDGE
            correlation = np.nan_to_num(self._test.correlation_matrix)
            np.fill_diagonal(correlation, 1 + RIDGE)
            self._test.correlation_matrix = correlation

    def __call__(self, x: int, y: int, given: Iterable[int] = ()) -> float:
        """Return the p-value of columns x and y being independent given the others."""
        x, y = min(int(x), int(y)), max(int(x), int(y))
        given = sorted(int(j) for j in given if self._varies[j])
        enough = len(self._test.data) - len(given) >= self._min_rows
        if not (enough and self._varies[x] and self._varies[y]):
            return 1.0
        arguments = [x, y, given]
        if self._kernel:
            blocks = self._linear.blocks
            arguments = [blocks[x], blocks[y], [k for j in given for k in blocks[j]]]
            if not (len(blocks[x]) and len(blocks[y])):  # categories of a few rows each
                return 1.0
        try:
            # RCIT draws. Seeded by its columns, a p-value does not depend on the tests before it.
            with numpy_seed([x, y, *given]), _quiet():
                p = self._test(*arguments)
        except np.linalg.LinAlgError:  # a kernel matrix without an inverse: nothing to test
            return 1.0
        return 1.0 if np.isnan(p) else float(p)

    def determines(self, given: Iterable[int], x: int) -> bool:
        """Say whether `given` determine column x up to rounding, linearly in their indicators."""
        return self._linear.determines(given, x)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence numpy on what is handled afterwards: columns and kernel directions of no variance."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
