"""Several stores of runs made one, with the plans and the traits of tables that lie beside them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from causalmix.atomic import check_writable, replace_file
from causalmix.benchmarks.store import Disagreement, Store
from causalmix.benchmarks.traits import read_traits, write_traits
from causalmix.errors import CausalMixError


def merge_stores(
    folder: str | Path, others: Iterable[str | Path]
) -> tuple[int, list[Disagreement]]:
    """Take the runs of other stores into one.

    Parameters
    ----------
    folder : str or Path
        Of the store that gets them.
    others : iterable of str or Path
        Folders of the others; not changed.

    Returns
    -------
    int
        Runs that ended well and are new, those in the place of failed ones among them.
    list of Disagreement
        As :meth:`causalmix.benchmarks.store.Store.merge` returns them.

    Raises
    ------
    CausalMixError
        If one of the others has no runs, or two have different plans of one name and version;
        nothing has changed then.
    """
    folder = Path(folder)
    check_writable(folder, folder=True)
    stores = [Store(other) for other in others]
    for store in stores:
        if not len(store):
            raise CausalMixError(f"{store.folder} has no runs: name the folder of a benchmark.")
    plans = _plans([folder, *(store.folder for store in stores)])
    kept = Store(folder)
    before, found = len(kept.runs()), []
    for store in stores:
        found += kept.merge(store)
        write_traits(folder, read_traits(store.folder))
    for name, path in plans.items():
        if not (folder / name).exists():
            replace_file(folder / name, partial(shutil.copyfile, path))
    kept.compact()
    return len(kept.runs()) - before, found


def _plans(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the plans of folders by name; two of one name are the same."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yml")):
            known = found.setdefault(path.name, path)
            if known.read_bytes() != path.read_bytes():
                raise CausalMixError(
                    f"{path} is another plan than {known}, of the same name and version. Their "
                    "runs are of different benchmarks: keep them apart."
                )
    return found
