"""Results in a CSV file, one row at a time: what is written survives a kill."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from numbers import Integral, Number
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from causalmix.atomic import check_writable, make_folder, replace_file
from causalmix.errors import CausalMixError, DataError, file_problem, naming
from causalmix.manifest import write_json


@dataclass(frozen=True)
class Task:
    """What one row is computed from.

    Attributes
    ----------
    row : dict
        Key and origin of the row.
    data : object
        The table, with all that belongs to it.
    options : mapping
        What else decides the result.
    """

    row: dict[str, object]
    data: Any
    options: Mapping[str, Any] = field(default_factory=dict)


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
        Columns that say with which data and model, in text: a row of another origin is out of date.
    text : sequence of str
        The other columns that hold text; the rest holds numbers.

    Raises
    ------
    CausalMixError
        If the file exists and has other columns.
    """

    def __init__(
        self,
        path: Path,
        key: Sequence[str],
        values: Sequence[str],
        *,
        origin: Sequence[str],
        text: Sequence[str],
    ) -> None:
        self.path = path
        self._key, self._identity = tuple(key), (*key, *origin)
        self.columns = [*key, *values, *origin]
        self._numeric = [name for name in self.columns if name not in (*origin, *text)]
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
        make_folder(self.path.parent)
        line = io.StringIO(newline="")
        writer = csv.DictWriter(line, self.columns, lineterminator="\n")
        before = self.path.stat().st_size if self.path.exists() else 0
        if not before:
            writer.writeheader()
        writer.writerow(row)
        try:
            with self.path.open("ab") as file:
                file.write(line.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):  # no half of a line, nor an empty file
                os.truncate(self.path, before) if before else self.path.unlink()
            raise CausalMixError(
                f"{self.path} cannot be written: {file_problem(error)}. What was there is kept."
            ) from error
        self._rows[self._name(row)] = {name: str(value) for name, value in row.items()}

    def compute(
        self,
        tasks: Sequence[Task],
        run: Callable[[Task], dict[str, object]],
        description: str,
        *,
        workers: int = 1,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Run the tasks whose rows are not there yet, and add each row when it is known.

        Parameters
        ----------
        tasks : sequence of Task
        run : callable
            Takes a task and returns its row with all columns; its key is shown beside the bar.
        description : str
            What the progress bar calls it.
        workers : int, default=1
            Processes, with one thread each.
        progress : bool, default=False
            Whether to show a progress bar on standard error.

        Returns
        -------
        DataFrame
            The rows of all tasks, as `finish` gives them.
        """
        missing = [task for task in tasks if not self.has(task.row)]
        bar = count_runs(len(tasks), len(missing), description, progress)
        with bar, parallel_config("loky", inner_max_num_threads=1):
            jobs = (delayed(run)(task) for task in missing)
            for row in Parallel(workers, return_as="generator_unordered")(jobs):
                self.add(row)
                bar.set_postfix_str(" ".join(str(row[name]) for name in self._key), refresh=False)
                bar.update()
        return self.finish(task.row for task in tasks)

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
        n = len(self._key)
        kept = [name for name in self._rows if name in current or name[:n] not in keys]
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
        with naming(self.path, "a file of results", "Choose another file."):
            text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(whole.splitlines())
        rows = list(reader)
        if whole and reader.fieldnames != self.columns:
            raise CausalMixError(
                f"{self.path} holds other columns than these results have; choose another file."
            )
        if whole != text:
            replace_file(self.path, lambda path: path.write_text(whole, encoding="utf-8"))
        return rows


def count_runs(n_tasks: int, n_missing: int, description: str, progress: bool) -> tqdm:
    """Return a progress bar of runs, some of which are done already; hidden without `progress`."""
    done = n_tasks - n_missing
    return tqdm(total=n_tasks, initial=done, desc=description, unit="run", disable=not progress)


def csv_path(out: str | Path) -> Path:
    """Return the path of a CSV file to write.

    Raises
    ------
    DataError
        If it has another ending.
    CausalMixError
        If it cannot be written there.
    """
    out = Path(out)
    if out.suffix != ".csv":
        raise DataError(f"The results are written as CSV; name a file ending in .csv, not {out}.")
    check_writable(out)
    return out


def check_counts(least: int = 1, **settings: int | Sequence[int]) -> None:
    """Check settings, each of which is one or several different whole numbers.

    Parameters
    ----------
    least : int, default=1
        Smallest number allowed.
    **settings : int or sequence of int
        By name.

    Raises
    ------
    DataError
        If one holds none, a smaller one, or one twice.
    """
    which = "positive whole numbers" if least == 1 else f"whole numbers from {least}"
    for name, given in settings.items():
        values = [given] if isinstance(given, Number) else given
        whole = all(isinstance(v, Integral) and not isinstance(v, bool) for v in values)
        if not values or not whole or min(values) < least or len(set(values)) < len(values):
            shown = ", ".join(map(str, values)) or "nothing"
            raise DataError(f"{name} takes {which}, each once, not {shown}.")


@contextmanager
def name_failure(what: str, task: Task, advice: str = "") -> Iterator[None]:
    """Say what failed on which split, and that all that is done is kept.

    Parameters
    ----------
    what : str
        What is run in the ``with`` statement.
    task : Task
        For what; its row has ``dataset``, ``n_train`` and ``seed``.
    advice : str, default=""
        What else a user can do.

    Raises
    ------
    CausalMixError
        Instead of any other error.
    """
    try:
        yield
    except Exception as error:
        where = "{dataset} with n_train={n_train}, seed={seed}".format(**task.row)
        raise CausalMixError(
            f"{what} failed on {where}: {error!r}. What is done is kept{advice}."
        ) from error


def write_beside(out: Path, summary: pd.DataFrame, manifest: Mapping[str, object]) -> None:
    """Write summary and manifest of a file of rows beside it.

    Parameters
    ----------
    out : Path
        The file of rows; ``.csv`` gives way to ``_summary.csv`` and ``_manifest.json``.
    summary : pandas.DataFrame
        Its index is not written.
    manifest : mapping
        As `causalmix.manifest.make_manifest` returns it.
    """
    replace_file(
        out.with_name(f"{out.stem}_summary.csv"),
        lambda path: summary.to_csv(path, index=False, float_format="%.6f"),
    )
    write_json(out.with_name(f"{out.stem}_manifest.json"), manifest)
