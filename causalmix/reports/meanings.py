"""What the columns of a table mean, where its source says so."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import pandas as pd
import yaml

from causalmix.data.dataset import TabularDataset
from causalmix.data.datasets import EMBEDDED


def describe_columns(table: TabularDataset) -> pd.DataFrame:
    """Describe every column, and say what it means where the source does.

    Parameters
    ----------
    table : TabularDataset

    Returns
    -------
    pandas.DataFrame
        As :meth:`causalmix.data.dataset.TabularDataset.summary` has it. Embedded tables get a
        column ``meaning``, units included; nothing is guessed of others.
    """
    described = table.summary()
    if table.name in EMBEDDED and table.provenance == EMBEDDED[table.name][1]:
        known = _meanings()[table.name]
        described.insert(1, "meaning", [_meaning(name, known) for name in described["column"]])
    return described


@cache
def _meanings() -> dict[str, dict[str, str]]:
    text = files("causalmix.data").joinpath("meanings.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _meaning(column: str, known: dict[str, str]) -> str:
    """Return what is known by the column's name, or by the first pattern that it fits."""
    return known.get(column) or next(
        (text for pattern, text in known.items() if fnmatchcase(column, pattern)), ""
    )
