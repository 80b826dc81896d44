"""How results show in notebooks: short tables without colours, so that they fit any theme."""

from __future__ import annotations

from html import escape

import pandas as pd


def as_html(title: str, about: str, table: pd.DataFrame, notes: list[str], limit: int = 20) -> str:
    """Return a titled table as HTML in which every text of a user's is escaped.

    Parameters
    ----------
    title, about : str
        Above the table; the first is set bold.
    table : DataFrame
        Its index is not shown.
    notes : list of str
        Below the table, a paragraph each; empty ones are left out.
    limit : int, default=20
        Rows at most; a note counts the others.

    Returns
    -------
    str
    """
    if len(table) > limit:
        notes = [f"… and {len(table) - limit} more.", *notes]
    shown = table.head(limit).to_html(index=False, escape=True, border=0, na_rep="–")
    paragraphs = (f"<p>{escape(note)}</p>" for note in notes if note)
    return "".join([f"<p><b>{escape(title)}</b>: {escape(about)}</p>", shown, *paragraphs])
