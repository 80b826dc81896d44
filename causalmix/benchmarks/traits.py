"""What the tables of a benchmark are like, and whether that goes with what fine-tuning gains.

The file ``tables.csv`` beside the runs has a row a table, so that its traits are known where the
table itself is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.atomic import make_folder, replace_file, sole_writer
from causalmix.benchmarks.analysis import gains_over, holm, over_seeds
from causalmix.benchmarks.claims import BEFORE
from causalmix.data.dataset import TabularDataset
from causalmix.errors import naming

_FILE = "tables.csv"
_COLUMNS = ["dataset", "data", "rows", "features", "categorical", "classes"]


def note_traits(folder: str | Path, tables: Mapping[str, TabularDataset]) -> None:
    """Add tables to the file of traits in a folder.

    Parameters
    ----------
    folder : str or Path
        Of a :class:`~causalmix.benchmarks.store.Store`.
    tables : mapping of str to TabularDataset
        By name; of a table there already, the new row stays.
    """
    rows = [
        (
            *(name, table.content_hash, table.n_rows, table.n_features),
            *(round(len(table.categorical) / table.n_features, 4), table.n_classes),
        )
        for name, table in tables.items()
    ]
    write_traits(folder, pd.DataFrame(rows, columns=_COLUMNS))


def write_traits(folder: str | Path, new: pd.DataFrame) -> None:
    """Put rows of `read_traits` into the file of a folder, in the place of those of their tables.

    Parameters
    ----------
    folder : str or Path
    new : DataFrame
    """
    make_folder(Path(folder))
    with sole_writer(Path(folder), wait=True):  # another benchmark may begin in the same moment
        old = read_traits(folder)
        both = pd.concat([old, new]) if len(old) else new
        both = both.drop_duplicates("dataset", keep="last").sort_values("dataset")
        replace_file(Path(folder) / _FILE, partial(both.to_csv, index=False))


def read_traits(folder: str | Path | None) -> pd.DataFrame:
    """Read the traits of tables from a folder.

    Parameters
    ----------
    folder : str or Path or None

    Returns
    -------
    DataFrame
        A row a table: ``dataset``, ``data`` (content hash), ``rows``, ``features``, ``categorical``
        (share of the features), ``classes``. Empty where there is no such file.
    """
    if folder is None or not (path := Path(folder) / _FILE).exists():
        return pd.DataFrame(columns=_COLUMNS)
    with naming(path, "a table of traits", "Delete it; the benchmark writes it again."):
        texts = {"dataset": str, "data": str}  # a table may be called 31, or NA
        return pd.read_csv(path, dtype=texts, keep_default_na=False)[_COLUMNS]


def correlate_traits(runs: pd.DataFrame, traits: pd.DataFrame) -> pd.DataFrame:
    """Correlate what fine-tuning gains on a table with what the table is like.

    Parameters
    ----------
    runs : DataFrame
        As :meth:`causalmix.benchmarks.store.Store.runs` returns them.
    traits : DataFrame
        As `read_traits` returns them; of tables that it lacks only zero-shot's error is known.

    Returns
    -------
    DataFrame
        A row per ``arm`` and ``trait`` (``rows``, ``features``, ``categorical``, ``classes``,
        ``zero_shot_error`` (1 - ROC-AUC)): Spearman's ``rho`` with the gain in ROC-AUC over
        zero-shot, ``p``, ``p_holm`` (over the arm's traits) and ``tables``; NaN below four tables,
        and where a trait is the same for all.
    """
    before = over_seeds(runs[runs["arm"] == BEFORE]).groupby("dataset")["auc"].mean()
    known = traits.set_index("dataset").drop(columns="data").astype(float)
    known = known.join((1.0 - before).rename("zero_shot_error"), how="outer")
    rows = []
    for arm, gains in gains_over(runs).groupby("arm"):
        gain = gains.groupby("dataset")["auc_gain"].mean()
        for trait in known:
            both = pd.concat([known[trait], gain], axis=1).dropna().to_numpy()
            rho = p = math.nan
            if len(both) > 3 and np.ptp(both, axis=0).all():
                rho, p = stats.spearmanr(both)
            rows.append((arm, trait, rho, p, len(both)))
    table = pd.DataFrame(rows, columns=["arm", "trait", "rho", "p", "tables"])
    return table.assign(p_holm=table.groupby("arm")["p"].transform(holm))
