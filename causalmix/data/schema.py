"""What a fitted model remembers of its table's columns, to read later tables the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.data.cells import MISSING, MISSING_AMONG_NUMBERS, has_infinity, parse_column
from causalmix.data.columns import as_category, clean_columns, levels_of, listed
from causalmix.errors import DataError


@dataclass(frozen=True)
class TableSchema:
    """Names and types of the feature columns that a model uses.

    Attributes
    ----------
    columns : dict of str to (list of str or None)
        The used columns in order: the names of the categories, None for a column of numbers.
    """

    columns: dict[str, list[str] | None]

    @classmethod
    def learn(cls, frame: pd.DataFrame) -> tuple[TableSchema, pd.DataFrame, list[str]]:
        """Give every column its type and drop those that say nothing.

        Columns of numbers stay numbers, dates become days; text, categories and truth values
        become categories. Text that reads as numbers is numbers.

        Parameters
        ----------
        frame : DataFrame
            Feature columns with distinct string names.

        Returns
        -------
        schema : TableSchema
        cleaned : DataFrame
            The used columns as int64, float64 or category with string names; NaN is missing.
        notes : list of str
            What was dropped or converted, one sentence a kind.

        Raises
        ------
        DataError
            If a column holds infinities or nested values, or if no column is left.
        """
        cleaned, notes = clean_columns(frame, typed=True)
        return cls({name: levels_of(cleaned[name]) for name in cleaned}), cleaned, notes

    def read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Read the used columns of another table.

        Parameters
        ----------
        frame : DataFrame
            Has the used columns, in any order and with others among them.

        Returns
        -------
        DataFrame
            float64 and category columns with the index of `frame`; a category that was not
            learned is missing.

        Raises
        ------
        DataError
            If a column of numbers holds something else, or infinities.
        """
        read = {
            name: _numbers(frame[name]) if levels is None else _categories(frame[name], levels)
            for name, levels in self.columns.items()
        }
        infinite = [n for n, each in read.items() if self.columns[n] is None and has_infinity(each)]
        if infinite:
            raise DataError(
                f"Infinite values in {listed(infinite)}. Replace them with numbers, or with NaN "
                "where the value is unknown."
            )
        return pd.DataFrame(read, index=frame.index)


def _numbers(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(column.dtype):
        column = column.astype("Int8")
    values, kind = parse_column(column)
    if kind in ("number", "date"):
        return values.astype(np.float64)
    present = values.dropna()
    is_gap = present.astype(str).str.lower().isin(MISSING | MISSING_AMONG_NUMBERS)
    wrong = present[~is_gap & pd.to_numeric(present, errors="coerce").isna()]
    if len(wrong):
        raise DataError(
            f"Column {column.name!r} held numbers when the model was fitted and now holds "
            f"{wrong.iloc[0]!r}. Correct the cell, or leave it empty."
        )
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def _categories(column: pd.Series, levels: list[str]) -> pd.Series:
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        # Only text is stripped and searched for gaps, exactly as parse_column does in training.
        texts = column.astype(object).map(str, na_action="ignore").str.strip()
        column = texts.mask(texts.str.lower().isin(MISSING))
    names = as_category(column).astype(object)
    return pd.Series(pd.Categorical(names, categories=levels), column.index, name=column.name)
