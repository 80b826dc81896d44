"""Seconds of discovery: against a loop over causal-learn in one run, and by rows and columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.atomic import check_writable
from causalmix.benchmarks.plain_discovery import PLAIN, PlainSearcher, integer_codes
from causalmix.benchmarks.timing import processor_seconds, write_measured
from causalmix.data.dataset import load_dataset
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.options import PAPER_ALGORITHMS
from causalmix.errors import DataError
from causalmix.scm.random_scm import random_scm_table

COST_ROWS = (250, 500, 1000, 2500, 5000, 10_000)
"""Rows at which the cost is measured, with `COST_BASE` columns."""

COST_COLUMNS = (10, 20, 40, 60, 80, 100)
"""Columns at which the cost is measured, with `COST_BASE` rows."""

COST_BASE = {"rows": 500, "columns": 20}

_N_ROWS = 500  # drawn from the table for the comparison with the loop
_LOOP_LIMIT, _COST_LIMIT = 10.0, 30.0  # processor seconds that a search of causal-learn may take

_OURS = {"bootstrap": None, "bootstrap_pc_fci": PAPER_ALGORITHMS}


def measure_bootstrap_speed(
    frame: pd.DataFrame, *, n_bootstraps: int = 20, progress: bool = False
) -> dict[str, object]:
    """Time bootstrap PC and FCI against a loop over causal-learn's on as many bootstraps.

    The loop runs each algorithm with its defaults (Fisher's z on integer codes) on every bootstrap,
    without permuted columns. A search that is stopped after 10 processor seconds counts with the
    time that it had, so where any is, the ratio is a lower bound.

    Parameters
    ----------
    frame : pandas.DataFrame
    n_bootstraps : int, default=20
        PC and FCI run once on each.
    progress : bool, default=False
        Whether to show progress bars.

    Returns
    -------
    dict
        ``ratio`` (causal-learn's processor seconds divided by ours, one process each),
        ``bootstrap_seconds`` (ours), ``pc_seconds`` and ``fci_seconds`` (sums over bootstraps),
        ``pc_unfinished`` and ``fci_unfinished`` (searches that were stopped or failed),
        ``ratio_pc`` (PC's loop against our PC alone) and the settings.
    """
    quiet = {"n_bootstraps": n_bootstraps, "progress": progress}
    ours = processor_seconds(lambda: discover(frame, algorithms=PAPER_ALGORITHMS, **quiet))
    our_pc = processor_seconds(lambda: discover(frame, algorithms=["pc"], **quiet))
    codes = integer_codes(frame)
    drawn = [
        np.random.default_rng([0, b]).integers(len(codes), size=len(codes))
        for b in range(n_bootstraps)
    ]
    result: dict[str, object] = {"bootstrap_seconds": ours}
    with PlainSearcher(_LOOP_LIMIT) as searcher:
        for algorithm in PLAIN:
            done = [searcher.search(algorithm, codes[rows]) for rows in drawn]
            result[f"{algorithm}_seconds"] = sum(each.seconds for each in done)
            result[f"{algorithm}_unfinished"] = sum(each.graph is None for each in done)
    result["ratio"] = sum(result[f"{algorithm}_seconds"] for algorithm in PLAIN) / ours
    result["ratio_pc"] = result["pc_seconds"] / our_pc
    n, d = frame.shape
    return result | {"rows": n, "columns": d, "n_bootstraps": n_bootstraps, "limit": _LOOP_LIMIT}


def measure_cost(
    *,
    rows: Sequence[int] = COST_ROWS,
    columns: Sequence[int] = COST_COLUMNS,
    n_bootstraps: int = 3,
) -> list[dict[str, object]]:
    """Time a bootstrap of discovery, and single searches of causal-learn, by rows and columns.

    Parameters
    ----------
    rows, columns : sequence of int, default=COST_ROWS and COST_COLUMNS
        Sizes of random mixed models; one of the two varies while the other stays at `COST_BASE`.
    n_bootstraps : int, default=3
        Of which the mean is taken.

    Returns
    -------
    list of dict
        ``varied`` (rows or columns), ``rows``, ``columns``, ``method`` (one resample by ours:
        ``bootstrap``, `discover` with its defaults, and ``bootstrap_pc_fci``; and ``pc`` and
        ``fci``), ``seconds`` and ``finished``.
    """
    sizes = [("rows", n, COST_BASE["columns"]) for n in rows]
    sizes += [("columns", COST_BASE["rows"], d) for d in columns]
    found = []
    with PlainSearcher(_COST_LIMIT) as searcher:
        for varied, n, d in sizes:
            frame, _ = random_scm_table(d, n, seed=0)
            size = {"varied": varied, "rows": n, "columns": d}
            for method, algorithms in _OURS.items():
                search = partial(discover, frame, algorithms=algorithms, n_bootstraps=n_bootstraps)
                seconds = processor_seconds(search) / n_bootstraps
                found.append(size | {"method": method, "seconds": seconds, "finished": True})
            for algorithm in PLAIN:
                done = searcher.search(algorithm, integer_codes(frame))
                cost = {"seconds": done.seconds, "finished": done.graph is not None}
                found.append(size | {"method": algorithm} | cost)
    return found


def write_discovery_speed(
    table: str | Path,
    path: Path,
    *,
    target: str | None = None,
    progress: bool = False,
) -> Path:
    """Measure both and write them down.

    Parameters
    ----------
    table : str or Path
        Dataset for the comparison with the loop, as :func:`causalmix.data.dataset.load_dataset`
        takes it.
    path : Path
        JSON file to write; its folder is made.
    target : str, optional
        Target column of the table.
    progress : bool, default=False
        Whether to show progress bars.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DataError
        If the table cannot be read or has fewer rows.
    """
    check_writable(path)
    dataset = load_dataset(table, target=target)
    if dataset.n_rows < _N_ROWS:
        raise DataError(f"{dataset.name} has {dataset.n_rows} rows, fewer than {_N_ROWS}.")
    frame = dataset.frame().sample(_N_ROWS, random_state=0).reset_index(drop=True)
    with warnings.catch_warnings(action="ignore"):
        measured = {
            "loop": {"dataset": dataset.name} | measure_bootstrap_speed(frame, progress=progress),
            "cost": measure_cost(),
        }
    settings = {"table": dataset.name, "n_rows": _N_ROWS}
    return write_measured(path, measured, settings, {dataset.name: dataset.content_hash})
