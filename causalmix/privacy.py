"""How near synthetic rows come to the real rows that their generator has seen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from causalmix.errors import CausalMixError, DataError
from causalmix.gower import code_columns, gower_distances

_CHUNK = 2_000_000  # distances at a time: 16 MB


def distance_to_closest_record(
    records: pd.DataFrame, rows: pd.DataFrame | None = None
) -> np.ndarray:
    """Gower's distance of rows to the nearest of the records (DCR).

    Numbers are scaled to the records' range. A missing category is a category of its own; a
    missing number counts as the median, and as different from a number that is there.

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
    """
    alone = rows is None
    (coded, others), categorical = code_columns([records, records if alone else rows], records)
    nearest = np.empty(len(others))
    step = max(1, _CHUNK // max(len(coded), 1))
    for start in range(0, len(others), step):
        part = slice(start, start + step)
        distances = gower_distances(others.iloc[part], coded, categorical)
        if alone:
            distances[np.arange(len(distances)), start + np.arange(len(distances))] = np.inf
        nearest[part] = distances.min(axis=1)
    return nearest


def near_copy_share(records: pd.DataFrame, rows: pd.DataFrame, *, fraction: float = 0.5) -> float:
    """Share of rows that lie suspiciously near a record.

    A row is a near-copy if its distance to the closest record is at most `fraction` of the median
    distance between a record and the closest other one. Real rows that no generator has seen have
    some near-copies too, so their share is the one to compare with: a generator well above it
    repeats what it was fitted on.

    Parameters
    ----------
    records : DataFrame, shape (n_records, n_columns)
        Real rows that the generator was fitted on, two or more.
    rows : DataFrame, shape (n_rows, n_columns)
        Synthetic rows, or real ones held out.
    fraction : float, default=0.5
        Positive. Where more than half of the records have a duplicate, the median is 0 and only
        exact copies count.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If there are fewer than two records, or no rows.
    CausalMixError
        If `fraction` is not positive.

    References
    ----------
    Distances to the closest record, held against those of held-out rows: Platzer and Reutterer
    (2021), "Holdout-based empirical assessment of mixed-type synthetic data", Frontiers in Big
    Data 4. The distance between neighbouring records as the unit: Yoon, Drumright, van der Schaar
    (2020), "Anonymization through data synthesis using generative adversarial networks
    (ADS-GAN)", IEEE Journal of Biomedical and Health Informatics 24.
    """
    if len(records) < 2:
        raise DataError(
            f"Near-copies need two or more records to compare with, got {len(records)}."
        )
    if len(rows) == 0:
        raise DataError("There are no rows to search for near-copies.")
    if not fraction > 0:
        raise CausalMixError(f"fraction must be positive, got {fraction}.")
    typical = np.median(distance_to_closest_record(records))
    near = distance_to_closest_record(records, rows) <= fraction * typical + 1e-12
    return float(near.mean())
