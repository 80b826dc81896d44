"""Reading CSV and Parquet files strictly: what is wrong is said, not guessed around."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from causalmix.data.cells import tidy
from causalmix.data.columns import listed
from causalmix.data.memory import free_memory
from causalmix.errors import DataError, naming

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
"""File name endings that `read_table` knows."""

MAX_CELL = 131_072
"""Most characters in a cell of a CSV file."""

_STATED_SEPARATOR = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\n|\r)', re.IGNORECASE)  # of Excel
_FRACTION = {
    mark: re.compile(rf"[+-]?(0?{mark}\d+|\d+{mark}\d{{1,2}}|\d+{mark}\d{{4,}}|\d{{4,}}{mark}\d+)")
    for mark in (",", "[.]")
}
_OTHER_FILES = {
    b"\x1f\x8b": "compressed by gzip; unpack it: gunzip",
    b"PK\x03\x04": "an Excel workbook or zip archive; save the sheet as CSV (UTF-8), or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV (UTF-8)",
    b"PAR1": "a Parquet file; rename it to .parquet",
}
"""What files that are no text begin with."""
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


# A table is in memory as Arrow has it, as pandas has it, and again while its columns are read.
_COPIES = 4


class RawTable(NamedTuple):
    """A table as its source gives it, before `causalmix.data.columns` reads it.

    Parameters
    ----------
    frame : pd.DataFrame
        Features and target, with distinct string column names and at least one row; an index named
        ``line`` has the lines of the file.
    provenance : str
        One line: origin and licence.
    target : str, optional
        Default target column; none if the source states none.
    typed : bool, default=False
        Whether the source states which columns are numbers and which are categories.
    decimal_comma : bool, default=False
        Whether ``1,234`` means 1.234 where no cell of its column settles it.
    separator : str, default=","
        What a CSV file has between cells.
    """

    frame: pd.DataFrame
    provenance: str
    target: str | None = None
    typed: bool = False
    decimal_comma: bool = False
    separator: str = ","


def read_table(path: Path) -> RawTable:
    """Read a CSV or Parquet file.

    CSV files are UTF-8 with a header line; the separator (comma, semicolon, tab or ``|``) is
    found from the first lines, or stated by a line ``sep=;`` before the header, as Excel writes
    it, and all cells are returned as text.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    RawTable
        The table; its default target is the column ``target``, else the only one that is called so
        in upper case.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as a table with named columns and rows.
    """
    if os.path.isdir(path):  # unlike those of Path, these say no where the name is none
        raise DataError(f"{path} is a folder; give a file in it.")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path.name}: cannot read files of type {path.suffix or 'without an ending'!r}; "
            f"use one of {', '.join(SUFFIXES)}."
        )
    if not os.path.isfile(path):
        near = get_close_matches(path.name, (p.name for p in path.parent.glob("*")), n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise DataError(f"There is no file {path}.{hint}")
    read = _read_csv if path.suffix.lower() in (".csv", ".tsv") else _read_parquet
    frame, how = read(path)
    if frame.empty:
        raise DataError(f"{path.name} has columns but no rows.")
    named = [name for name in frame.columns if name.lower() == "target"]
    target = "target" if "target" in named else named[0] if len(named) == 1 else None
    return RawTable(frame, f"file {path.name}; licence not stated", target, **how)


def check_columns(names: list[object], source: str) -> list[str]:
    """Return column names as strings, after checking that they are distinct.

    Parameters
    ----------
    names : list
        Column names; other types than strings are converted.
    source : str
        What the columns belong to, for the message.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    DataError
        If two columns have one name.
    """
    columns = [str(name) for name in names]
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise DataError(f"{source} has more than one column named {listed(repeated)}; rename one.")
    return columns


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, bool]]:
    """Read a Parquet file; its types are taken as stated if it marks any column as a category."""
    try:
        file = pq.ParquetFile(path)
        _check_size(file.metadata, path)
        table = file.read()
        table.validate(full=True)  # the text of a damaged file may be none
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not a readable Parquet file: {error}") from error
    check_columns(table.column_names, path.name)
    frame = table.to_pandas()
    for name in _rounded(table):
        frame[name] = table[name].to_pandas(integer_object_nulls=True).to_numpy()
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame.columns = check_columns(list(frame.columns), path.name)
    # Arrow keeps categories of text; that of numbers stands in pandas' own notes.
    notes = (table.schema.pandas_metadata or {}).get("columns", [])
    stated = {str(each["name"]) for each in notes if each["pandas_type"] == "categorical"}
    frame = frame.astype(dict.fromkeys(stated & set(frame), "category"))
    typed = any(isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes)
    return frame.reset_index(drop=True), {"typed": typed}


def _check_size(metadata: pq.FileMetaData, path: Path) -> None:
    """Raise DataError if a Parquet file says of itself that its table does not fit into memory."""
    # By groups of rows: damaged records of columns end the process inside of pyarrow.
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    size = sum(
        max(group.total_byte_size, 8 * group.num_rows * metadata.num_columns) for group in groups
    )
    needed, free = _COPIES * size, free_memory()
    if needed > free:
        raise DataError(
            f"{path.name} has {path.stat().st_size:,} bytes and promises {rows:,} rows of "
            f"{metadata.num_columns:,} columns, which take {needed / 2**30:,.1f} GiB of memory "
            f"where {free / 2**30:,.1f} GiB are free. Give fewer rows or columns; if it should "
            "have no more of them, the file is damaged: get it again."
        )


def _rounded(table: pa.Table) -> list[str]:
    """Return the columns of whole numbers that float64, with which gaps come, does not hold."""
    gappy = (
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_integer(column.type) and column.null_count
    )
    ends = {name: pc.min_max(table[name]).as_py() for name in gappy}
    return [n for n, e in ends.items() if e["max"] is not None and max(-e["min"], e["max"]) > 2**53]


def _read_csv(path: Path) -> tuple[pd.DataFrame, dict[str, bool]]:
    """Read a CSV file as text; rows are labelled by the lines where they end."""
    text = _decode(path)
    stated = _STATED_SEPARATOR.match(text)
    text, n_before = (text[stated.end() :], 1) if stated else (text, 0)
    if not text.strip():
        raise DataError(f"{path.name} is empty; give a line of column names, then one a row.")
    header, rows, lines = [], [], []
    with _cells_of_any_size():
        separator = stated[1] if stated else _separator(text)
        source = io.StringIO(text, newline="")
        reader = csv.reader(source, delimiter=separator, skipinitialspace=True)
        try:
            for row in filter(None, reader):  # an empty line is no row
                line = reader.line_num + n_before
                if len(row) == 1 < len(header) and not tidy(row[0]):
                    continue
                _check_row(row, header, f"{path.name}, line {line}", separator)
                if header:
                    rows.append(row)
                    lines.append(line)
                else:
                    header = row
        except csv.Error as error:
            line = reader.line_num + n_before
            raise DataError(f"{path.name}, line {line}: {error}.") from error
    if len(header) > 2 and sum(not tidy(name) for name in header) == len(header) - 1:
        raise DataError(
            f"{path.name}: the header names one of {len(header)} columns. If it is a title, remove "
            "its line: names of columns come first."
        )
    names = [tidy(name) or f"Unnamed: {i}" for i, name in enumerate(header)]
    columns = check_columns(names, path.name)
    frame = pd.DataFrame(rows, pd.Index(lines, name="line"), columns, dtype=object)
    how = {"decimal_comma": _has_decimal_comma(rows, separator), "separator": separator}
    return frame, how


def _check_row(row: list[str], header: list[str], where: str, separator: str) -> None:
    """Raise if a row is not as wide as the header, or a cell is too long for one."""
    if max(map(len, row)) > MAX_CELL:
        sizes = list(map(len, row))
        j = sizes.index(max(sizes))
        column = f"column {header[j]!r}" if j < len(header) else f"cell {j + 1}"
        raise DataError(
            f"{where}, {column}: a cell of {sizes[j]} characters ends here, and {MAX_CELL} are the "
            "most. If a quote is opened and not closed, close it; else shorten the cell."
        )
    if row == header:
        raise DataError(
            f"{where} is the header again, as in files that were joined. Remove the line."
        )
    if header and len(row) != len(header):
        raise DataError(
            f"{where}: {len(row)} cells, but the header has {len(header)} (separator "
            f"{separator!r}). Add or remove cells, or quote those that contain the separator. "
            "If the first line is a title, remove it: names of columns come first."
        )


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    """Let the csv module read cells of any size, so that their place can be told."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _has_decimal_comma(rows: list[list[str]], separator: str) -> bool:
    """Say whether numbers have decimal commas, as the first rows or else the separator show.

    Between commas points are decimal where there are any: `1,3` is then a list of answers.
    """
    shown = {
        mark: any(pattern.fullmatch(cell.strip()) for row in rows[:1000] for cell in row)
        for mark, pattern in _FRACTION.items()
    }
    if shown["[.]"]:
        return shown[","] and separator != ","
    return shown[","] or separator == ";"


def _decode(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark."""
    with naming(path, "a table", "Mend that, or give a copy of the file.", DataError):
        content = path.read_bytes().removesuffix(b"\x1a")  # the end of a text, to DOS
    if kind := next(
        (kind for start, kind in _OTHER_FILES.items() if content.startswith(start)), ""
    ):
        raise DataError(f"{path.name} is {kind}.")
    byte = max(content.find(b"\0"), 0)
    found = next((found for mark, found in _MARKS.items() if content.startswith(mark)), "")
    if not found and content[byte : byte + 1] == b"\0":
        if content[:64].count(b"\0") < len(content[:64]) // 3:
            line = content.count(b"\n", 0, byte) + 1
            raise DataError(
                f"{path.name}, line {line}: there is a null byte at position {byte}, which no text "
                "has. The file is damaged, or is no CSV file: get it again."
            )
        found = "UTF-16BE" if content.startswith(b"\0") else "UTF-16LE"
    if not found:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            found, byte = "WINDOWS-1252", error.start
    line = content.count(b"\n", 0, byte) + 1
    raise DataError(
        f"{path.name} is not UTF-8: byte 0x{content[byte]:02x} at position {byte} (line {line}); "
        f"it looks like {found}. Convert it: iconv -f {found} -t UTF-8 {path.name} > utf8.csv"
    )


def _separator(text: str) -> str:
    """Return the separator that splits the first lines into the most cells, all alike."""
    start = io.StringIO(text[:200_000], newline="")
    sample = [line for line in start if line.strip()][:20]

    def cells(separator: str) -> int:
        widths = {len(row) for row in csv.reader(sample, delimiter=separator) if row}
        return widths.pop() if len(widths) == 1 else 0

    # Ties, and files where no separator gives lines alike, go to the first: the comma.
    best = max(",;\t|", key=cells)
    if cells(best) > 1:
        return best
    return max(",;\t|", key=sample[0].count)
