"""Gower's distance between rows of mixed tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from causalmix.data.codec import check_columns_differ
from causalmix.data.columns import listed
from causalmix.errors import DataError, quoted

_CHUNK = 2_000_000  # distances at a time: 16 MB


def code_columns(
    frames: Sequence[pd.DataFrame], scale: pd.DataFrame
) -> tuple[list[pd.DataFrame], list[str]]:
    """Turn tables of the same columns into numbers between which Gower's distance is taken.

    Parameters
    ----------
    frames : sequence of DataFrame
        Numeric columns and columns of any other type, taken as categories.
    scale : DataFrame
        Rows whose numbers get the range 0 to 1 and whose medians stand in for missing ones.

    Returns
    -------
    coded : list of DataFrame
        Numbers on that scale, codes of categories (a missing one is a category), and for every
        numeric column with a missing cell a further one that says where.
    categorical : list of str
        Columns whose values are codes.
    """
    everything = pd.concat(frames, ignore_index=True)
    columns: dict[str, pd.Series | np.ndarray] = {}
    categorical = []
    for name in everything:
        values = everything[name]
        if not pd.api.types.is_numeric_dtype(values.dtype):
            columns[name] = pd.factorize(values.astype(object), use_na_sentinel=False)[0]
            categorical.append(name)
            continue
        if values.isna().any():
            where = f"{name} is missing"
            while where in everything:
                where += "'"
            columns[where] = values.isna().astype(int)
            categorical.append(where)
        known = scale[name].dropna().astype(float)
        low, width, median = (
            (known.min(), np.ptp(known) or 1.0, known.median()) if len(known) else (0.0, 1.0, 0.0)
        )
        columns[name] = (values.astype(float).fillna(median) - low) / width
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    parts = np.split(np.arange(len(everything)), ends)
    coded = pd.DataFrame(columns)
    return [coded.iloc[part].reset_index(drop=True) for part in parts], categorical


def gower_distances(a: pd.DataFrame, b: pd.DataFrame, categorical: Sequence[str]) -> np.ndarray:
    """Distances of all pairs of rows.

    Parameters
    ----------
    a, b : DataFrame, shapes (n_a, n_columns) and (n_b, n_columns)
        As `code_columns` gives them.
    categorical : sequence of str
        Columns of codes.

    Returns
    -------
    ndarray of float, shape (n_a, n_b)
        Mean over columns of the absolute difference of numbers, and of 0 for equal and 1 for
        different categories.

    References
    ----------
    Gower (1971), "A general coefficient of similarity and some of its properties", Biometrics 27.
    """
    numeric = [name for name in a if name not in set(categorical)]
    total = np.zeros((len(a), len(b)))
    if numeric:
        total += cdist(a[numeric].to_numpy(float), b[numeric].to_numpy(float), "cityblock")
    if categorical:
        codes = (frame[list(categorical)].to_numpy(float) for frame in (a, b))
        total += cdist(*codes, "hamming") * len(categorical)
    return total / a.shape[1]


def check_same_columns(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Raise DataError, which names them, if one of two tables has columns that the other lacks."""
    for frame in (a, b):
        check_columns_differ(frame)
    if different := list(a.columns.symmetric_difference(b.columns, sort=False)):
        raise DataError(
            f"Columns that only one of the tables has: {listed(different)}. Give both the same."
        )


def check_alike(records: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Raise DataError, which names it, if a column is not of the same kind in two tables."""
    check_same_columns(records, rows)
    for name in records:
        kinds = {pd.api.types.is_numeric_dtype(table[name].dtype) for table in (records, rows)}
        if len(kinds) == 2 and records[name].notna().any() and rows[name].notna().any():
            raise DataError(
                f"Column {quoted(name)} holds numbers in one of the tables only. Give both alike."
            )


def distance_to_closest_record(
    records: pd.DataFrame, rows: pd.DataFrame | None = None
) -> np.ndarray:
    """Gower's distance of rows to the nearest of the records (DCR).

    Numbers are scaled to the records' range. A missing category is a category of its own; a
    missing number counts as the median, and by a further 1 as different from one that is there.
    The sum is divided by the number of columns, with gaps or without.

    Parameters
    ----------
    records : DataFrame, shape (n_records, n_columns)
        Real rows.
    rows : DataFrame, shape (n_rows, n_columns), optional
        With the same columns. Without it, every record is compared with the other ones.

    Returns
    -------
    ndarray of float, shape (n_rows,) or (n_records,)
        0 for a copy; infinite where there is no other record.

    Raises
    ------
    DataError
        If only one of the tables has a column, or holds numbers in it.
    """
    alone = rows is None
    if not alone:
        check_alike(records, rows)
    (coded, others), categorical = code_columns([records, records if alone else rows], records)
    nearest = np.empty(len(others))
    step = max(1, _CHUNK // max(len(coded), 1))
    for start in range(0, len(others), step):
        part = slice(start, start + step)
        distances = gower_distances(others.iloc[part], coded, categorical)
        if alone:
            distances[np.arange(len(distances)), start + np.arange(len(distances))] = np.inf
        nearest[part] = distances.min(axis=1)
    # By the tables' own columns: of gaps others come, and not with all tables that are compared.
    return nearest * coded.shape[1] / max(records.shape[1], 1)
