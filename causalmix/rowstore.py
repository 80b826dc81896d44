"""Results in a CSV file, one row at a time: what is written survives a kill."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from causalmix.atomic import replace_file
from causalmix.errors import CausalMixError


class RowStore:
    """Rows of a CSV file that are added one by one and never computed twice.

    Parameters
    ----------
    path : Path
        The file; made with its folder when the first row comes. A last line that a kill has cut
        short is dropped.
    key : sequence of str
        Columns that name what was computed.
    values : sequence of str
        Columns that hold the result.
    origin : sequence of str
        Columns that say with which data and model: a row of another origin is out of date.
    text : sequence of str
        The columns that hold text; the others hold numbers.

    Raises
    ------
    CausalMixError
        If the file exists and has other columns.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: Sequence[str],
        values: Sequence[str],
        origin: Sequence[str],
        text: Sequence[str],
    ) -> None:
        self.path = path
        self._key, self._identity = tuple(key), (*key, *origin)
        self.columns = [*key, *values, *origin]
        self._numeric = [name for name in self.columns if name not in text]
        self._rows: dict[tuple[str, ...], dict[str, object]] = {}
        if path.exists():
            for row in self._read():
                self._rows[self._name(row)] = row

    def has(self, row: Mapping[str, object]) -> bool:
        """Say whether there is a result of this key and origin.

        Parameters
        ----------
        row : mapping
            With the columns of key and origin.

        Returns
        -------
        bool
        """
        return self._name(row) in self._rows

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row; it is on the disk when this returns.

        Parameters
        ----------
        row : mapping
            With all columns.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        self._rows[self._name(row)] = {name: str(value) for name, value in row.items()}

    def finish(self, wanted: Iterable[Mapping[str, object]]) -> pd.DataFrame:
        """Sort the file, drop what `wanted` rows have replaced, and return those.

        Parameters
        ----------
        wanted : iterable of mapping
            Key and origin of rows, all of which are there. Rows of the same key and another
            origin are out of date and dropped; rows of other keys stay.

        Returns
        -------
        DataFrame
            The wanted rows in their order, with typed columns.
        """
        names = [self._name(row) for row in wanted]
        current, keys = set(names), {name[: len(self._key)] for name in names}
        kept = [
            name for name in self._rows if name in current or name[: len(self._key)] not in keys
        ]
        frame = self._frame(kept).sort_values(list(self._key), kind="stable")
        replace_file(self.path, lambda path: frame.to_csv(path, index=False))
        self._rows = {name: self._rows[name] for name in kept}
        return self._frame(names)

    def _frame(self, names: Iterable[tuple[str, ...]]) -> pd.DataFrame:
        frame = pd.DataFrame([self._rows[name] for name in names], columns=self.columns)
        return frame.assign(
            **{name: pd.to_numeric(frame[name], errors="coerce") for name in self._numeric}
        )

    def _name(self, row: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(str(row[column]) for column in self._identity)

    def _read(self) -> list[dict[str, object]]:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(whole.splitlines()))
        header = next(csv.reader(whole.splitlines()), [])
        if header != self.columns:
            raise CausalMixError(
                f"{self.path} holds other columns than these results have; choose another file."
            )
        if whole != text:
            replace_file(self.path, lambda path: path.write_text(whole, encoding="utf-8"))
        return rows
