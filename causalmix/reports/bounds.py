"""Numbers at the bound of a column in the share of the table: limits of detection, floors."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from causalmix.data.cells import all_whole
from causalmix.data.dataset import TabularDataset
from causalmix.data.diagnosis import read
from causalmix.data.schema import TableSchema
from causalmix.errors import quoted
from causalmix.reports.formats import written_like
from causalmix.scm.density import observed_quantiles

LEAST_SHARE = 0.05
"""Share of the known cells at the least or greatest number from which on it is kept."""


def with_bounds(
    X: pd.DataFrame,
    y: pd.Series,
    table: TabularDataset,
    *,
    like: pd.DataFrame,
    schema: TableSchema,
    seed: int,
) -> pd.DataFrame:
    """Move numbers to the bound of their column, or off it, so that it has the table's share.

    A generator whose noise is smooth draws too few of a number that many rows have. Where it has
    drawn too few, those nearest to the bound are moved to it; where too many, some at random get
    the numbers next to it. The order of the others, and so what they depend on, stays.

    Parameters
    ----------
    X : DataFrame, shape (n, n_features)
    y : Series, shape (n,)
        Rows that were drawn without an intervention. The share is that which the table has in each
        class, by the classes here.
    table : TabularDataset
        What they were drawn like.
    like : DataFrame
        The table as its source has it: numbers are compared as they will be written.
    schema : TableSchema
        How it is read.
    seed : int

    Returns
    -------
    DataFrame
        Only columns of numbers differ, those with `LEAST_SHARE` of their known cells at a bound.
    """
    X, rng = X.copy(), np.random.default_rng([seed, 2])
    weights = _weights(y.astype(str), table.y.astype(str))
    for name, diagnosis in schema.columns.items():
        known = table.X[name].notna().to_numpy()
        if diagnosis.kind != "number":
            continue
        real = table.X[name].to_numpy(float)[known]
        drawn = X[name].notna().to_numpy()
        for sign in (1, -1):  # the least number, then the greatest
            bound = (sign * real).min()
            at_bound = sign * real == bound
            if at_bound.mean() < LEAST_SHARE or at_bound.all() or not drawn.any():
                continue
            written = written_like(X[name], like[name], diagnosis)
            values = sign * read(written, diagnosis)[0].to_numpy(float)[drawn]
            share = np.average(at_bound, weights=weights[known])
            moved = _moved(values, bound, share, np.sort(sign * real[~at_bound]), rng)
            rows = np.flatnonzero(drawn)[moved != values]
            X.iloc[rows, X.columns.get_loc(name)] = (sign * moved[moved != values]).astype(
                X[name].dtype
            )
    return X


def cut_off(X: pd.DataFrame, real: pd.DataFrame, *, besides: Collection[str]) -> list[str]:
    """Say where the effects of an intervention would leave the table's range, and are cut off.

    Parameters
    ----------
    X : DataFrame, shape (n, n_features)
        Rows that were drawn with an intervention.
    real : DataFrame, shape (n_rows, n_features)
        The table, as it was read.
    besides : collection of str
        Columns that were set.

    Returns
    -------
    list of str
        One sentence, with the columns that have their least or greatest value in a share of the
        rows that is larger than the table's by `LEAST_SHARE` or more; none where there are none.
    """
    found = []
    for name in real.select_dtypes("number").columns.difference(list(besides), sort=False):
        known, drawn = real[name].dropna(), X[name].dropna()
        for end, value in (("least", known.min()), ("greatest", known.max())):
            share = (drawn == value).mean()
            if share - (known == value).mean() >= LEAST_SHARE:
                found.append(f"{quoted(name)} at its {end} in {share:.0%} of the rows")
    if not found:
        return []
    return [
        f"Rows stay within the range of the table, so effects are cut off: {', '.join(found)}. "
        "Take no means of these columns, or set a value nearer to those of the table."
    ]


def _weights(drawn: pd.Series, real: pd.Series) -> np.ndarray:
    """Weights of the table's rows under which its classes have the shares of the drawn ones."""
    shares = drawn.value_counts(normalize=True) / real.value_counts(normalize=True)
    return real.map(shares.fillna(0)).to_numpy(float) + 1e-9  # of which never all are zero


def _moved(
    values: np.ndarray, bound: float, share: float, others: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return values (n,), of which a share is at their least number; `others` are above it."""
    at_bound = values <= bound
    wanted = int(len(values) * share + rng.random())
    lacking = wanted - at_bound.sum()
    moved = values.copy()
    if lacking > 0:
        above = np.flatnonzero(~at_bound)
        nearest = np.lexsort([rng.random(len(above)), values[above]])[:lacking]
        moved[above[nearest]] = bound
    elif lacking < 0:
        surplus = rng.choice(np.flatnonzero(at_bound), -lacking, replace=False)
        # They fill the gap between the bound and what was drawn above it.
        top = -lacking / max(len(values) - wanted, 1)
        found = observed_quantiles(others, rng.uniform(0, top, -lacking))
        moved[surplus] = found.round() if all_whole(others) else found
    return moved
