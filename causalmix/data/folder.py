"""All the tables of a folder."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from causalmix.data.dataset import TabularDataset, load_dataset
from causalmix.data.files import SUFFIXES
from causalmix.errors import CausalMixError, DataError


def read_tables(
    folder: str | Path, target: str | None = None
) -> tuple[dict[str, TabularDataset], list[dict[str, object]]]:
    """Read every table of a folder and its subfolders.

    Parameters
    ----------
    folder : str or Path
        Where to look for CSV and Parquet files.
    target : str, optional
        Target column of all tables; by default the one named ``target``.

    Returns
    -------
    tables : dict of str to TabularDataset
        By file name without its ending, in alphabetical order; files that would share a name
        are named by their path below the folder.
    skipped : list of dict
        Files that are no classification table: ``dataset`` (the file's name), ``n_train``
        (None: at any size) and ``reason``.

    Raises
    ------
    DataError
        If there is no such folder, or no file of a known type in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with CSV or Parquet files.")
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError(f"{folder} holds no file of a type in {', '.join(SUFFIXES)}.")
    stems = [path.stem for path in paths]
    tables, skipped = {}, []
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        name = path.stem if stems.count(path.stem) == 1 else relative
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is cleaned matters to every method alike
                table = load_dataset(path, target=target)
        except CausalMixError as error:
            skipped.append({"dataset": name, "n_train": None, "reason": str(error)})
            continue
        tables[name] = replace(table, name=name)
    return dict(sorted(tables.items(), key=lambda item: item[0].lower())), skipped
