"""Markdown of what is computed: code, numbers, lists and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def code_span(text: object) -> str:
    """Return a text of a user's, as a name or a value, so that Markdown shows it as it is.

    Parameters
    ----------
    text : object
        Anything; nothing of it is markup, HTML or mathematics on the page.

    Returns
    -------
    str
        Inline code on one line; white space of any length in it is one blank.
    """
    line = " ".join(str(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    # Code that begins or ends with a backtick, or is empty, needs a blank, which is not shown.
    pad = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def signed(value: float, digits: int) -> str:
    """Return a number as text has it, with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 4) -> str:
    """Return a number with its sign, and its interval in brackets."""
    shown, *ends = (signed(each, digits) for each in (value, low, high))
    return f"{shown} [{', '.join(ends)}]"


def enumerated(values: Iterable[object]) -> str:
    """Return values as a sentence lists them: ``1, 2 and 3``."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def markdown_table(head: list[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [
        list(head),
        ["---"] * len(head),
        *([str(c).replace("|", "\\|") for c in r] for r in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
