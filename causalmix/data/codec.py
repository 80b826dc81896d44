"""From a table to numbers and back: dtypes, categories, ranges and missing cells restored."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from causalmix.data.backing import as_it_was, numpy_backed
from causalmix.data.cells import (
    all_whole,
    check_size,
    check_spread,
    distinct,
    has_infinity,
    refuse_complex,
)
from causalmix.errors import DataError, quoted


class TableCodec:
    """Learns the columns of a table, then codes such tables as numbers and decodes numbers to it.

    Numeric columns stay what they are, with NaN for a missing cell. Every other column (category,
    string, bool) becomes the codes of its levels, with −1 for a missing cell: "missing" is a level
    of its own, so that whatever models the codes also models when the cell is missing. Missing
    numeric cells are restored completely at random, at the share seen in the column.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table to learn; at least one row and one column, unique column names, no infinities
        or numbers whose squares are.

    Attributes
    ----------
    columns : pandas.Index
        Column names, in order.
    categorical : tuple of str
        Names of the columns that are coded as levels.
    missing : dict of str to float
        Share of missing cells in each numeric column.

    Raises
    ------
    DataError
        If the table is empty, repeats a column name or contains an infinity, nested cells or
        numbers too large or too alike to be computed with.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._given, frame = frame.dtypes, numpy_backed(frame)
        check_table(frame)
        self.columns = frame.columns
        self.categorical = tuple(name for name in frame if not is_number(frame[name].dtype))
        self._dtypes = frame.dtypes
        levels = {name: frame[name].astype("category") for name in self.categorical}
        self._levels = {name: column.dtype for name, column in levels.items()}
        self._seen = {name: set(column.cat.codes) for name, column in levels.items()}
        numeric = frame.drop(columns=list(self.categorical)).astype(float)
        self.missing = numeric.isna().mean().to_dict()
        self._low, self._high = numeric.min(), numeric.max()
        # As float64, the bounds of whole numbers beyond 2**53 may not fit into their dtype.
        self._wide = {
            name: (frame[name].min(), frame[name].max())
            for name in numeric
            if pd.api.types.is_integer_dtype(frame[name].dtype)
            and max(-self._low[name], self._high[name]) > 2**53
        }
        # Counts stored as floats, as columns with missing cells are, are whole numbers too.
        self._whole = {name for name in numeric if all_whole(numeric[name].dropna())}

    def range(self, name: str) -> tuple[float, float]:
        """Return the smallest and the largest observed number of a column."""
        return float(self._low[name]), float(self._high[name])

    def code(self, name: str, level: object) -> int:
        """Return the code of a level that rows of a categorical column have."""
        known = self._levels[name].categories
        try:
            code = int(known.get_indexer([level])[0])
        except TypeError:  # of a dictionary, say
            code = -1
        if code < 0 or code not in self._seen[name]:
            levels = ", ".join(quoted(known[k]) for k in sorted(self._seen[name]) if k >= 0)
            raise DataError(f"Column {quoted(name)} has no level {quoted(level)}; it has {levels}.")
        return code

    def number(self, name: Hashable, value: object) -> float:
        """Return a value as the number that a numeric column may take."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"Column {quoted(name)} is numeric and cannot be {value!r}; give a finite number."
            )
        return number

    def constant(self, name: str, value: object, n: int) -> pd.Series:
        """Return a column with one value in all of its n rows, of the learned dtype if that can."""
        if name in self._levels:
            codes = np.full(n, self.code(name, value))
            return as_it_was(self._decode_levels(name, pd.Series(codes)), self._given[name])
        number, dtype = self.number(name, value), self._dtypes[name]
        if not _holds(dtype, number):
            return pd.Series(np.full(n, number))
        # A float would round whole numbers beyond 2**53.
        exact = int(value) if isinstance(value, Integral) else number
        return as_it_was(pd.Series(np.full(n, exact)).astype(dtype), self._given[name])

    def encode(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return `frame` as float64 columns of the same names, with a new index 0..n−1."""
        frame = numpy_backed(frame)
        coded = {
            name: frame[name].astype(self._levels[name]).cat.codes.to_numpy(float)
            if name in self._levels
            else frame[name].to_numpy(float, na_value=np.nan)
            for name in self.columns
        }
        return pd.DataFrame(coded, columns=self.columns)

    def decode(self, coded: pd.DataFrame, rng: np.random.Generator | None = None) -> pd.DataFrame:
        """Return coded rows as a table like the one that was learned.

        Numeric values are clipped to the observed range, and rounded where all observed values are
        whole.

        Parameters
        ----------
        coded : pandas.DataFrame
            Numbers as `encode` gives them, in any column order.
        rng : numpy.random.Generator, optional
            If given, numeric cells are made missing at random, at the observed share.
        """
        decoded = {
            name: self._decode_levels(name, coded[name])
            if name in self._levels
            else self._decode_numbers(name, coded[name].to_numpy(float), rng)
            for name in self.columns
        }
        given = {name: as_it_was(column, self._given[name]) for name, column in decoded.items()}
        return pd.DataFrame(given, columns=self.columns)

    def _decode_levels(self, name: str, codes: pd.Series) -> pd.Series:
        levels = pd.Categorical.from_codes(codes.to_numpy(int), dtype=self._levels[name])
        dtype = self._dtypes[name]
        return pd.Series(levels if isinstance(dtype, pd.CategoricalDtype) else levels.astype(dtype))

    def _decode_numbers(
        self, name: str, values: np.ndarray, rng: np.random.Generator | None
    ) -> pd.Series:
        values = values.clip(self._low[name], self._high[name])
        if name in self._whole:
            values = values.round()
        if rng is not None and self.missing[name] > 0:
            values = np.where(rng.random(len(values)) < self.missing[name], np.nan, values)
        if name not in self._wide:
            return pd.Series(values).astype(self._dtypes[name])
        low, high = values <= self._low[name], values >= self._high[name]
        column = pd.Series(np.where(low | high, 0, values)).astype(self._dtypes[name])
        column[low], column[high] = self._wide[name]
        return column


def _holds(dtype: Any, number: float) -> bool:
    plain = getattr(dtype, "numpy_dtype", dtype)
    if not pd.api.types.is_integer_dtype(dtype):
        return abs(number) <= np.finfo(plain).max
    bounds = np.iinfo(plain)
    return number.is_integer() and bounds.min <= number <= bounds.max


def names_as_text(names: Iterable[Hashable]) -> dict[Hashable, str]:
    """Return column names as other libraries take them, by the names themselves.

    Raises
    ------
    DataError
        If two of them, as 1 and "1", are the same text.
    """
    owner: dict[str, Hashable] = {}
    for name in names:
        if (other := owner.setdefault(str(name), name)) != name:
            raise DataError(
                f"The columns {quoted(other)} and {quoted(name)} look the same; rename one."
            )
    return {name: text for text, name in owner.items()}


def is_number(dtype: np.dtype) -> bool:
    """Say whether a column of this type holds numbers; truth values are categories."""
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)


def check_columns_differ(frame: pd.DataFrame) -> None:
    """Raise DataError if this is no table, or names columns twice or by several levels."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"A pandas DataFrame is needed, not {type(frame).__name__}.")
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"Column {quoted(name)} appears more than once; rename or drop one.")
    if frame.columns.nlevels > 1:
        raise DataError("Columns have names of several levels; join each to one, as 'a b'.")


def check_table(frame: pd.DataFrame) -> None:
    """Check that a table can be learned.

    Parameters
    ----------
    frame : pandas.DataFrame

    Raises
    ------
    DataError
        If it is no table, is empty, repeats a column name or has names of several levels, or holds
        complex numbers, nested cells, infinities, or numbers too large or too alike to be computed
        with.
    """
    check_columns_differ(frame)
    if frame.empty:
        raise DataError(
            f"The table has {frame.shape[0]} rows and {frame.shape[1]} columns; "
            "at least one of each is needed."
        )
    for name, column in frame.items():
        refuse_complex(column)
        numeric = is_number(column.dtype)
        if has_infinity(column) if numeric else _has_infinite_level(column):
            raise DataError(
                f"Column {quoted(name)} contains infinities; replace or drop those rows."
            )
        if numeric:
            check_size(column)
            check_spread(column)


def _has_infinite_level(column: pd.Series) -> bool:
    """Say whether a level of a column of no numeric dtype is infinite; refuse nested cells."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.remove_unused_categories().cat.categories
    else:
        levels = distinct(column)[1] if column.dtype == object else ()
    return any(isinstance(level, Real) and math.isinf(level) for level in levels)
