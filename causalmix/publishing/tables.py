"""The page on the measuring tables: where each is from, under what licence, and its content."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from causalmix.benchmarks.results import read_result
from causalmix.publishing.blanks import fill_blanks
from causalmix.publishing.markdown import markdown_table


def fill_tables(page: Path, results: Path) -> None:
    """Fill the page on the measuring tables: see `causalmix.publishing.book.fill_page`."""
    listed = read_result(results / "tables" / "measuring.csv", keep_default_na=False)
    parts = {"benchmark": "benchmark", "tuning": "tuning", "earlier": "earlier choices"}
    fill_blanks(
        page, {name: lambda part=part: _of(listed, part) for name, part in parts.items()}, {}
    )


def _of(listed: pd.DataFrame, part: str) -> str:
    rows = [
        (
            f"`{row.table}`; {row.rows} rows, {row.n} columns, {row.classes} classes",
            # As code, places break at the end of a line.
            re.sub(r"\S+/[\w.-]*\w", r"`\g<0>`", f"{row.source}. Licence: {row.licence}.")
            + (f" Note: {row.note}." if row.note else ""),
            f"`{row.content}`",
        )
        for row in listed[listed["part"] == part].rename(columns={"columns": "n"}).itertuples()
    ]
    return markdown_table(["Table", "Source, licence, note", "Content hash"], rows)
