"""Predictions for a table in a file, in the order of its rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from causalmix.data.columns import MIN_IDENTIFIED_ROWS, identifiers, listed
from causalmix.data.dataset import find_table
from causalmix.errors import DataError
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.reports.formats import check_place_of_rows, write_rows


def predict_table(
    model: str | Path, table: str | Path, out: str | Path, *, device: str = "auto"
) -> list[str]:
    """Predict every row of a table.

    Parameters
    ----------
    model : str or Path
        Folder that :meth:`causalmix.finetuning.estimator.CausalMixClassifier.save` wrote.
    table : str or Path
        CSV or Parquet file with the columns that the model uses.
    out : str or Path
        CSV or Parquet file to write: a row for every row of the table, in its order, with the
        columns that identify rows, the most probable ``class``, and a column ``probability of ...``
        for each. A CSV file is separated as `table` is.
    device : str, default="auto"
        Where the network runs.

    Returns
    -------
    list of str
        What was not as in the rows that the model was fitted on, a sentence each.

    Raises
    ------
    CheckpointError
        If the folder is no saved classifier.
    DataError
        If the table lacks columns that the model uses; names them.
    CausalMixError
        If it cannot be read, or the file not be written.
    """
    out = check_place_of_rows(out, table)
    classifier = CausalMixClassifier.load(model, device=device)
    raw = find_table(table)[1]
    frame = raw.frame.reset_index(drop=True)
    frame.attrs["decimal_comma"] = raw.decimal_comma
    used = list(classifier.context_.X.columns)
    if missing := [name for name in used if name not in frame]:
        raise DataError(
            f"{table} lacks {len(missing)} of the {len(used)} columns that the model uses: "
            f"{listed(missing)}. Add them, with empty cells where the values are unknown; its "
            f"columns are {listed(list(frame.columns))}."
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = classifier.read_features(frame.reindex(columns=classifier.feature_names_in_))
        proba = classifier.predict_proba_of_read(rows)
    scores = pd.DataFrame(proba, columns=[f"probability of {c}" for c in classifier.classes_])
    best = pd.Series(classifier.classes_[proba.argmax(axis=1)], name="class")
    others = frame[[name for name in frame if name not in {*used, best.name, *scores}]]
    written = pd.concat([_identifying(others), best, scores], axis=1)
    write_rows(written, out, sep=raw.separator, float_format="%.6g")
    told = [str(each.message) for each in said if each.category is UserWarning]
    if known := _n_known(classifier, rows):
        told.append(
            f"{known} of {len(frame)} rows are among those that the model was fitted on: their "
            "predictions say nothing of how well it predicts others."
        )
    return told


def _n_known(classifier: CausalMixClassifier, rows: pd.DataFrame) -> int:
    """Count the rows, as they were read, that are like one that the classifier was fitted on."""
    tables = rows, classifier.context_.X
    keys = [pd.util.hash_pandas_object(_as_text(each), index=False) for each in tables]
    return int(keys[0].isin(keys[1]).sum())


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Write cells alike whatever the types of their columns."""
    floats = table.astype(dict.fromkeys(table.select_dtypes("number"), float))
    return floats.astype(object).where(floats.notna(), "").astype(str)


def _identifying(columns: pd.DataFrame) -> pd.DataFrame:
    """Return those of some columns that identify rows; of a few rows, all that are different."""
    if len(columns) < MIN_IDENTIFIED_ROWS:
        return columns[[name for name in columns if columns[name].is_unique]]
    return columns[list(identifiers(columns))]
