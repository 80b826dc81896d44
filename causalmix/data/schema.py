"""What a fitted model remembers of its table's columns, to read later tables the same way."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from causalmix.data.cells import check_size, has_infinity
from causalmix.data.columns import clean_columns, listed, notes_on
from causalmix.data.diagnosis import Diagnosis, Unread, read
from causalmix.errors import DataError, check_name, quoted

ROLES = ("categorical", "numeric", "date", "drop")
"""What a user may say that a column is: a category, a number, a date, or nothing to learn from."""


@dataclass(frozen=True)
class TableSchema:
    """What the feature columns that a model uses mean.

    Attributes
    ----------
    columns : dict of str to Diagnosis
        The used columns in order.
    """

    columns: dict[str, Diagnosis]

    @property
    def levels(self) -> dict[str, tuple[str, ...] | None]:
        """Names of the categories by column, None for a column of numbers."""
        return {name: each.levels for name, each in self.columns.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the schema as JSON can hold it."""
        return {name: each.as_json() for name, each in self.columns.items()}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Undo `as_json`."""
        return cls({name: Diagnosis.from_json(each) for name, each in state.items()})

    @classmethod
    def learn(
        cls,
        frame: pd.DataFrame,
        columns: Mapping[str, str] | None = None,
        *,
        decimal_comma: bool = False,
        known: Mapping[str, Diagnosis] | None = None,
    ) -> tuple[Self, pd.DataFrame, list[str]]:
        """Give every column its type and drop those that say nothing.

        Columns of numbers stay numbers, dates become days; text, categories and truth values
        become categories. Text that reads as numbers is numbers.

        Parameters
        ----------
        frame : DataFrame
            Feature columns with distinct string names.
        columns : mapping of str to str, optional
            What columns are, by name: one of `ROLES`.
        decimal_comma, known
            As `clean_columns` takes them.

        Returns
        -------
        schema : TableSchema
        cleaned : DataFrame
            The used columns as int64, float64 or category with string names; NaN is missing.
        notes : list of str
            What was dropped, converted or assumed, one sentence a kind.

        Raises
        ------
        UnknownNameError
            If `columns` names a column or a role that there is not.
        DataError
            As :func:`causalmix.data.columns.clean_columns`.
        """
        named: dict[str, list[str]] = {role: [] for role in ROLES}
        for name, role in ((str(name), role) for name, role in (columns or {}).items()):
            check_name(name, list(frame.columns), "column in columns=")
            named[check_name(role, ROLES, f"role of the column {quoted(name)}")].append(name)
        if len(named["drop"]) == frame.shape[1]:
            raise DataError("columns= drops every column of the table: leave one to learn from.")
        cleaned, diagnoses = clean_columns(
            frame.drop(columns=named["drop"]),
            categorical=named["categorical"],
            numeric=named["numeric"],
            date=named["date"],
            typed=True,
            decimal_comma=decimal_comma,
            known=known,
        )
        return cls({name: diagnoses[name] for name in cleaned}), cleaned, notes_on(diagnoses)

    def read(self, frame: pd.DataFrame, *, decimal_comma: bool = False) -> pd.DataFrame:
        """Read the used columns of another table, every cell for itself.

        Parameters
        ----------
        frame : DataFrame
            Has the used columns, in any order and with others among them.
        decimal_comma : bool, default=False
            Whether the table's source has decimal commas. A column that has points then holds no
            number with a comma.

        Returns
        -------
        DataFrame
            float64 and category columns with the index of `frame`; a category that was not
            learned is missing.

        Warns
        -----
        UserWarning
            With the columns that hold values that were not learned, and those of dates that hold
            numbers.

        Raises
        ------
        DataError
            If more than a few cells of a column of numbers or dates are something else, or it holds
            infinities, or numbers too large to be computed with.
        """
        columns, unread = {}, {}
        for name, diagnosis in self.columns.items():
            columns[name], unread[name] = read(frame[name], diagnosis, decimal_comma=decimal_comma)
        numbers = [name for name, levels in self.levels.items() if levels is None]
        if infinite := [name for name in numbers if has_infinity(columns[name])]:
            raise DataError(
                f"Infinite values in {listed(infinite)}. Replace them with numbers, or with NaN "
                "where the value is unknown."
            )
        for name in numbers:
            check_size(columns[name])
        for note in _notes_on(unread, numbers):
            warnings.warn(note, stacklevel=3)  # to the caller of what predicts
        return pd.DataFrame(columns, index=frame.index)


def _notes_on(unread: Mapping[str, Unread], numbers: Collection[str]) -> list[str]:
    """Say which columns hold what was not learned; some are of numbers or dates."""
    times = [f"{quoted(name)} ({each.times})" for name, each in unread.items() if each.times]
    entire, partly, broken = [], [], []
    for name, each in unread.items():
        if n := each.cells.total():
            examples = listed([text for text, _ in each.cells.most_common(3)])
            said = f"{quoted(name)} ({n} of {each.known}: {examples})"
            (entire if n == each.known else broken if name in numbers else partly).append(said)
    notes = {
        "None of the known values is one that was seen in fit; all count as missing: {}. Are they "
        "written in another way?": entire,
        "Values that were not seen in fit count as missing: {}.": partly,
        "Cells that are no number or date, as their column's are, count as missing: {}.": broken,
        "Read numbers among dates as time since 1970-01-01: {}.": times,
    }
    return [note.format(", ".join(names)) for note, names in notes.items() if names]
