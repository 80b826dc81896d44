"""Rows of finished runs in a CSV file.

Beside ``scores.csv`` go ``scores.runs``, the store of the runs, which are not made again; the
summary, ``scores_summary.csv``; and ``scores_manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Number
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.atomic import check_writable, replace_file
from causalmix.benchmarks.engine import Run, compute
from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError, DataError
from causalmix.manifest import write_json


def csv_path(out: str | Path) -> Path:
    """Return the path of a CSV file to write.

    Raises
    ------
    DataError
        If it has another ending.
    CausalMixError
        If it cannot be written there, or is a file whose runs are not beside it.
    """
    out = Path(out)
    if out.suffix != ".csv":
        raise DataError(f"The results are written as CSV; name a file ending in .csv, not {out}.")
    check_writable(out)
    if out.exists() and not _store_folder(out).is_dir():
        raise CausalMixError(
            f"{out} would be written anew: the runs behind it are not in {_store_folder(out)}. "
            "Choose another file, or delete this one."
        )
    return out


def _store_folder(out: Path) -> Path:
    return out.with_suffix(".runs")


def keyed_run(
    kind: str,
    key: Sequence[str],
    values: Sequence[object],
    table: str,
    places: Mapping[str, str] | None = None,
    **settings: Any,
) -> Run:
    """Describe a run that is named by some of its settings.

    Parameters
    ----------
    kind, table, places
        Of :class:`~causalmix.benchmarks.engine.Run`.
    key, values : sequence
        Names and values of the settings that name it.
    **settings
        The others.

    Returns
    -------
    Run
    """
    named = dict(zip(key, values, strict=True))
    label = ", ".join(f"{name}={value}" for name, value in named.items())
    return Run(kind, named | settings, table, places or {}, label)


def make_rows(
    out: Path,
    runs: Sequence[Run],
    tables: Mapping[str, Any],
    columns: Sequence[str],
    *,
    also: Collection[str] = (),
    **computing: Any,
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Make the runs that the store of a CSV file lacks, and write a row for each.

    Parameters
    ----------
    out : Path
        The file; written only if no run failed or is missing, and sorted by its columns.
    runs : sequence of Run
    tables : mapping of str to object
        By the names that the runs have.
    columns : sequence of str
        Of settings, outcome and timings, and ``history``, the curves in JSON.
    also : collection of str, default=()
        Hashes of data. All runs of the store that are of these, of the same kind and of today's
        code have rows too.
    **computing
        ``workers``, ``scheduler``, ``hours``, ``retry`` and ``progress``, as
        :func:`causalmix.benchmarks.engine.compute` takes them.

    Returns
    -------
    rows : DataFrame
        In the order of the runs.
    origin : dict
        Of them, as `make_manifest` takes it.

    Raises
    ------
    CausalMixError
        If a run failed or the time was up. What is done is kept.
    """
    store = Store(_store_folder(out))
    compute_all(runs, store, tables, **computing)
    wanted = _kept(store, runs[0], also) if also else runs
    frame = pd.DataFrame([_cells(run, store[run.key]) for run in wanted], columns=list(columns))
    in_order = frame.sort_values(list(columns), kind="stable")
    replace_file(out, lambda path: in_order.to_csv(path, index=False))
    return frame, store.origin(run.key for run in wanted)


def compute_all(
    runs: Sequence[Run], store: Store, tables: Mapping[str, Any], **computing: Any
) -> None:
    """Make the runs that a store lacks, as :func:`causalmix.benchmarks.engine.compute` does.

    Parameters
    ----------
    runs, store, tables, **computing
        As `compute` takes them.

    Raises
    ------
    CausalMixError
        If a run failed or the time was up. What is done is kept.
    """
    done = compute(runs, store, tables, **computing)
    store.compact()
    kept = f"{done.done} of {len(runs)} runs are done and kept in {store.folder}"
    if done.missing:
        raise CausalMixError(f"{kept}. The time was up; the same command goes on.")
    if done.failed:
        failed = next(run for run in runs if store[run.key]["status"] == "failed")
        raise CausalMixError(
            f"{failed.label} failed: {store.why(failed.key).rstrip('.')}. {kept}, {done.failed} "
            "failed. Make those again with --retry, or ask for fewer methods or tables."
        )


def _kept(store: Store, like: Run, data: Collection[str]) -> list[Run]:
    keys = store.runs(like.kind).index
    runs = {key: Run(like.kind, json.loads(store[key]["settings"])) for key in keys}
    return [r for key, r in runs.items() if r.key == key and r.settings.get("data") in data]


def _cells(run: Run, row: Mapping[str, Any]) -> dict[str, object]:
    found = (json.loads(row[name]) for name in ("outcome", "timings"))
    return {"history": row["curves"], **run.settings, **next(found), **next(found)}


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
