"""Committed results of the long benchmarks, for the pages that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError, naming
from causalmix.manifest import read_json
from causalmix.tfm.model import load_tfm

_RESULTS = Path(__file__).resolve().parents[2] / "results"  # of a checkout
_RESTORE = "Restore it from the repository (git checkout)."


def read_result(path: Path, **options: Any) -> pd.DataFrame:
    """Read a file of results that is a table, with options of `pandas.read_csv`."""
    with naming(path, "a table of results", _RESTORE):
        return pd.read_csv(path, **options)


def read_record(path: Path) -> dict[str, Any]:
    """Read a file of results that is no table."""
    return read_json(path, "a record of results", _RESTORE)


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
    return read_result(_find(name, "csv"))


def load_record(name: str) -> dict[str, object]:
    """Read measurements that are no table, as those of speed.

    Parameters
    ----------
    name : str
        Path below the folder of results without its ending, as ``"generation/speed"``.

    Returns
    -------
    dict
        What was measured, with the manifest.

    Raises
    ------
    CausalMixError
        If there is no such file, as in an installation without the checkout.
    """
    return read_record(_find(name, "json"))


def load_store(name: str) -> Store:
    """Read the runs of a benchmark.

    Parameters
    ----------
    name : str
        Path below the folder of results, as ``"finetuning/candidates"``, or of another folder.

    Returns
    -------
    Store

    Raises
    ------
    CausalMixError
        If there is no such folder, as in an installation without the checkout.
    """
    folder = _RESULTS / name if (_RESULTS / name).is_dir() else Path(name)
    if not any(folder.glob("part-*.parquet")):
        raise CausalMixError(
            f"There are no runs {name!r} among the results, nor in a folder of that name. Results "
            "are part of the checkout, not of the installed package."
        )
    return Store(folder)


def describe_base_model(name: str) -> str:
    """Say whether results were made with the foundation model that the package ships.

    Parameters
    ----------
    name : str
        Path below the folder of results without its ending, as ``"finetuning/rules"``.

    Returns
    -------
    str
        A sentence; it names both models by their content hashes where they differ.

    Raises
    ------
    CausalMixError
        If there is no such manifest.
    """
    made_with = str(load_record(f"{name}_manifest")["settings"]["checkpoint"])
    shipped = load_tfm().content_hash
    if made_with == shipped:
        return f"Made with the foundation model of this package (content hash {shipped[:8]})."
    return (
        f"Made with an earlier, weaker foundation model (content hash {made_with[:8]}), not with "
        f"the one of this package ({shipped[:8]}): the figures say nothing about fine-tuning that "
        "one."
    )


def _find(name: str, ending: str) -> Path:
    """Return the path of a file of results, or say which there are."""
    path = _RESULTS / f"{name}.{ending}"
    if not path.is_file():
        known = sorted(
            p.relative_to(_RESULTS).with_suffix("").as_posix()
            for p in _RESULTS.rglob(f"*.{ending}")
        )
        raise CausalMixError(
            f"There are no results {name!r}; there are: {', '.join(known) or 'none'}. Results are "
            "part of the checkout, not of the installed package."
        )
    return path
