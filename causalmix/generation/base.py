"""What every generator of synthetic rows does, and the part that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from copy import copy
from typing import Protocol, Self

import numpy as np
import pandas as pd

from causalmix.data.backing import as_it_was, numpy_backed
from causalmix.data.codec import TableCodec, check_table
from causalmix.data.own_settings import own_settings
from causalmix.errors import CausalMixError, DataError, check_seed, check_whole, quoted
from causalmix.scm.missingness import MissingnessModel


class Generator(Protocol):
    """What every generator of synthetic rows does.

    Samples have the dtypes, categories, column order and target name of the training table, an
    index 0..n−1, and only classes and values within the range that training has shown.
    """

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        """Learn from features (n_rows, n_features) and the target (n_rows,); return itself."""
        ...

    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        """Draw exactly `n` rows; equal seeds give equal rows."""
        ...


class TableGenerator(ABC):
    """The common part: one table with the target as its last column, checked and decoded."""

    @own_settings()
    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        """Learn from a table.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_features)
            Features; missing cells are allowed.
        y : pandas.Series of shape (n_rows,)
            Classes, none missing. The n-th is that of the n-th row of X, whatever the indices.

        Returns
        -------
        Generator
            Itself.

        Raises
        ------
        DataError
            If X and y differ in length, a class is missing, a column has no name or one of several
            levels, or X is not as :func:`causalmix.data.codec.check_table` demands.
        """
        table, target = labelled_table(X, y)
        self._dtypes, self._target_name, self._target_dtype = X.dtypes, y.name, y.dtype
        self.target_ = target
        try:
            self._fit(table)
        except BaseException:
            del self.target_  # no half of an earlier fit is left to draw from
            raise
        return self

    @own_settings()
    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows, at least 1.
        seed : int
            Equal seeds give equal rows.

        Returns
        -------
        X : pandas.DataFrame of shape (n, n_features)
        y : pandas.Series of shape (n,)

        Raises
        ------
        CausalMixError
            If `n` is no whole number of at least 1, `seed` is none, or the generator is not fitted.
        """
        self._check_draw(n, seed)
        rows = self._sample(n, seed)
        y = rows.pop(self.target_).astype(self._target_dtype).rename(self._target_name)
        drawn = rows.set_axis(self._dtypes.index, axis=1)
        for name, dtype in self._dtypes.items():
            drawn[name] = as_it_was(drawn[name], dtype)
        return drawn, y

    def _check_fitted(self) -> None:
        if not hasattr(self, "target_"):
            raise CausalMixError("The generator is not fitted; call fit(X, y) before sample.")

    def _check_draw(self, n: int, seed: int) -> None:
        self._check_fitted()
        check_whole(n, 1, "n")
        check_seed(seed)

    @abstractmethod
    def _fit(self, table: pd.DataFrame) -> None:
        """Learn from the table, target included."""

    @abstractmethod
    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw `n` rows of the table, target included."""


class WrappingGenerator(TableGenerator):
    """One that changes what another generator draws: the one in its field ``generator``."""

    def dag_of_rows(self, n: int, seed: int) -> np.ndarray:
        """Which model of the generator each row of ``sample(n, seed)`` comes from, shape (n,).

        As `causalmix.generation.causal.CausalGenerator.dag_of_rows`; all 0 for a generator that has
        no several models.
        """
        self._check_draw(n, seed)
        if not hasattr(self.generator, "dag_of_rows"):
            return np.zeros(n, dtype=int)
        return self.generator.dag_of_rows(n, seed)

    def detached(self) -> Self:
        """Return this with its generator's rows starting from no training row, where they do.

        See `causalmix.generation.causal.CausalGenerator.detached`.
        """
        other = copy(self)
        if hasattr(self.generator, "detached"):
            other.generator = self.generator.detached()
        return other


class ByClassGenerator(TableGenerator):
    """One that draws coded rows of each class apart, in the shares of training."""

    _gaps: MissingnessModel | None = None  # of the coded table, where rows are drawn without gaps

    def _fit(self, table: pd.DataFrame) -> None:
        self._codec = TableCodec(table)
        coded = self._codec.encode(table)
        self._classes = coded[self.target_].to_numpy(int)
        self._learn(coded)

    def _sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        known, counts = np.unique(self._classes, return_counts=True)
        wanted = apportion(n, counts, rng)
        parts = [
            self._sample_class(int(c), int(m), int(rng.integers(2**31)))
            for c, m in zip(known, wanted, strict=True)
            if m
        ]
        order = rng.permutation(n)
        rows = pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)
        rows[self.target_] = np.repeat(known, wanted)[order]
        return self._decode(rows, rng)

    @abstractmethod
    def _learn(self, coded: pd.DataFrame) -> None:
        """Learn from the coded table, target included."""

    @abstractmethod
    def _sample_class(self, c: int, m: int, seed: int) -> pd.DataFrame:
        """Draw `m` coded rows, at least one, of the class with code `c`, without the target."""

    def _decode(self, rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Return the coded rows, target included, as rows of the table."""
        if self._gaps is not None:
            rows = self._gaps.mask(rows, rng)
        return self._codec.decode(rows)


def _check(X: pd.DataFrame, y: pd.Series) -> None:
    if not isinstance(X, pd.DataFrame) or not isinstance(y, pd.Series):
        raise DataError(
            f"X is a {type(X).__name__} and y a {type(y).__name__}; a pandas DataFrame and Series "
            "are needed."
        )
    if len(X) != len(y):
        raise DataError(f"X has {len(X)} rows and y {len(y)}; they must have the same.")
    check_table(X)
    # As objects: classes may be numbers too large or too alike to be computed with.
    check_table(y.astype(object).to_frame("target" if y.name is None else str(y.name)))
    if X.columns.hasnans:
        raise DataError("A column of X has no name; name it or drop it.")
    if y.isna().any():
        raise DataError(
            f"The target {quoted(y.name)} is missing in {y.isna().sum()} rows; drop them."
        )


def labelled_table(X: pd.DataFrame, y: pd.Series) -> tuple[pd.DataFrame, Hashable]:
    """Check features and target, and join them as generators learn from them.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
    y : pandas.Series of shape (n_rows,)
        As `TableGenerator.fit` takes both.

    Returns
    -------
    table : pandas.DataFrame of shape (n_rows, n_features + 1)
        With the target, a category, as its last column.
    target : hashable
        The name of that column.

    Raises
    ------
    DataError
        As `TableGenerator.fit`.
    """
    _check(X, y)
    X, y = numpy_backed(X), numpy_backed(y)
    target = unused_name("target" if y.name is None else y.name, X.columns)
    return with_target(X, y.astype("category"), target), target


def with_target(X: pd.DataFrame, y: pd.Series, name: Hashable) -> pd.DataFrame:
    """Return features and target as one table, the n-th row with the n-th label.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
    y : pandas.Series of shape (n_rows,)
    name : hashable
        Of the target's column, the last.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_features + 1)
        With an index 0..n_rows−1.
    """
    table = X.reset_index(drop=True)
    table[name] = y.reset_index(drop=True)
    return table


def unused_name(name: Hashable, taken: pd.Index) -> Hashable:
    """Return a name that none taken looks like: this one, or with underscores at its end."""
    texts = set(map(str, taken))
    while str(name) in texts:
        name = f"{name}_"
    return name


def apportion(n: int, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how many of `n` rows each class gets: its share, the remainder drawn at random."""
    exact = n * counts / counts.sum()
    wanted = np.floor(exact).astype(int)
    rest = n - wanted.sum()
    if rest:
        fraction = (exact - wanted) / (exact - wanted).sum()
        wanted[rng.choice(len(counts), rest, replace=False, p=fraction)] += 1
    return wanted
