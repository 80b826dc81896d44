"""Dates of a row in the order that they have in every row of the table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import permutations

import numpy as np
import pandas as pd

from causalmix.data.diagnosis import read
from causalmix.data.schema import TableSchema
from causalmix.errors import DataError, quoted
from causalmix.generation.base import Generator
from causalmix.reports.formats import written_like

LEAST = 20
"""Rows with both dates from which on an order that all of them have is no chance."""

_DRAWS, _FEWEST = 20, 100  # further draws at most, and their rows at least


def date_order(X: pd.DataFrame, schema: TableSchema) -> list[tuple[str, str]]:
    """Return the pairs of date columns of which the first is never after the second.

    Parameters
    ----------
    X : DataFrame
        Rows as `schema` reads them.
    schema : TableSchema

    Returns
    -------
    list of tuple of str
        Those that are both known in `LEAST` rows or more.
    """
    dates = [name for name, found in schema.columns.items() if found.kind == "date"]
    pairs = permutations(dates, 2)
    known = {(one, other): X[[one, other]].dropna() for one, other in pairs}
    return [
        (one, other)
        for (one, other), rows in known.items()
        if len(rows) >= LEAST and (rows[one] <= rows[other]).all()
    ]


def check_dates(
    do: Mapping[str, float],
    X: pd.DataFrame,
    *,
    like: pd.DataFrame,
    schema: TableSchema,
    order: Collection[tuple[str, str]],
) -> None:
    """Raise if a date is set to what no row can have that keeps the order.

    Parameters
    ----------
    do : mapping of str to float
        Columns that are set, and to what; dates to days since 1970-01-01.
    X : DataFrame
        Rows as `schema` reads them; drawn dates stay between the first and the last of these.
    like, schema, order
        As `sample_in_order` takes them.

    Raises
    ------
    DataError
        If the other date of a pair would have to be outside of that; says what to do.
    """
    for one, other in order:
        for name, free, side, end in (
            (one, other, "before", X[other].max()),
            (other, one, "after", X[one].min()),
        ):
            if name not in do or (do[name] <= end if side == "before" else do[name] >= end):
                continue
            value, last = (
                written_like(pd.Series([float(day)]), like[each], schema.columns[each])[0]
                for each, day in ((name, do[name]), (free, end))
            )
            raise DataError(
                f"do sets {quoted(name)} to {value}; {quoted(free)} would be {side} it in every "
                f"row, which no row of the table has: there it goes to {last}. Set {quoted(free)} "
                "too (--do), choose a date within that, or leave one of the two out (--drop)."
            )


def sample_in_order(
    generator: Generator,
    n: int,
    seed: int,
    *,
    like: pd.DataFrame,
    schema: TableSchema,
    order: Collection[tuple[str, str]],
    do: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """Draw rows; replace those whose dates are out of order by others of the same class.

    Parameters
    ----------
    generator : Generator
        Fitted.
    n, seed : int
    like : DataFrame
        The table as its source has it: dates are compared as they will be written.
    schema : TableSchema
        How it is read.
    order : collection of tuple of str
        As `date_order` gives it.
    do : collection of str, default=()
        Columns that were set.

    Returns
    -------
    X : DataFrame, shape (n, n_features)
        Fewer rows where `_DRAWS` further draws do not suffice.
    y : Series, shape (n,)
    said : list of str
        What was replaced or left out, and why, in sentences.

    Raises
    ------
    DataError
        If no row is in order.
    """
    X, y = generator.sample(n, seed)
    broken = {pair: _is_after(X, pair, like, schema) for pair in order}
    broken = {pair: rows for pair, rows in broken.items() if rows.any()}
    if not broken:
        return X, y, []
    wrong = np.logical_or.reduce(list(broken.values()))
    open_ = np.flatnonzero(wrong)
    for further in np.random.default_rng([seed, 1]).integers(2**31, size=_DRAWS):
        more_X, more_y = generator.sample(max(n, _FEWEST), int(further))
        right = ~np.logical_or.reduce([_is_after(more_X, pair, like, schema) for pair in order])
        rows = np.arange(n)
        for name in y.iloc[open_].unique():
            places = open_[(y.iloc[open_] == name).to_numpy()]
            found = np.flatnonzero(right & (more_y == name).to_numpy())[: len(places)]
            rows[places[: len(found)]] = n + found
        X = pd.concat([X, more_X], ignore_index=True).iloc[rows].reset_index(drop=True)
        open_ = open_[rows[open_] < n]
        if not len(open_):
            break
    names = ", ".join(f"{quoted(other)} before {quoted(one)}" for one, other in broken)
    said = [
        f"{wrong.sum()} of {n} rows had {names}, which no row of the table has: they were replaced "
        "by others of the same class."
    ]
    is_set = not set(do).isdisjoint(name for pair in broken for name in pair)
    if len(open_) == n:
        way_out = "set both (--do), choose another date, or " if is_set else ""
        raise DataError(
            f"All rows that were drawn had {names}, which no row of the table has: {way_out}leave "
            "one of the two out (--drop)."
        )
    if len(open_):
        said.append(
            f"{len(open_)} of them were left out: {_DRAWS} further draws had too few rows in order."
            + " For more, set both (--do), or choose another date." * is_set
        )
    kept = np.delete(np.arange(n), open_)
    return X.iloc[kept].reset_index(drop=True), y.iloc[kept].reset_index(drop=True), said


def _is_after(
    X: pd.DataFrame, pair: tuple[str, str], like: pd.DataFrame, schema: TableSchema
) -> np.ndarray:
    """Say in which rows the first of two dates is after the second, as they will be written."""
    days = (
        read(written_like(X[name], like[name], schema.columns[name]), schema.columns[name])[0]
        for name in pair
    )
    one, other = (each.to_numpy() for each in days)
    return one > other
