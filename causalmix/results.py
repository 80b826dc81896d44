"""Committed results of the long benchmarks, for the pages that show them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from causalmix.errors import CausalMixError

_RESULTS = Path(__file__).resolve().parents[1] / "results"  # of a checkout


def load_result(name: str) -> pd.DataFrame:
    """Read a table of results.

    Parameters
    ----------
    name : str
        Path below the folder of results without its ending, as ``"generation/csuite_summary"``.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    CausalMixError
        If there is no such file, as in an installation without the checkout.
    """
    path = _RESULTS / f"{name}.csv"
    if not path.is_file():
        known = sorted(
            p.relative_to(_RESULTS).with_suffix("").as_posix() for p in _RESULTS.rglob("*.csv")
        )
        raise CausalMixError(
            f"There are no results {name!r}; there are: {', '.join(known) or 'none'}. Results are "
            "part of the checkout, not of the installed package."
        )
    return pd.read_csv(path)
