"""Edge probabilities beside published searches by PC, on as many draws of CSuite's rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.benchmarks.comparison import mean_and_interval
from causalmix.benchmarks.csuite_data import CSuiteDataset, load_csuite_folder, read_scores
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.plain_discovery import PlainSearcher, integer_codes
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.graph_comparison import compare_graphs
from causalmix.errors import DataError
from causalmix.manifest import make_manifest

METHODS = ("bootstrap", "pc")
"""Our edge probabilities, with the defaults of `causalmix.discovery.bootstrap.discover`; and
causal-learn's PC with Fisher's z at 0.05, one graph of all rows."""

PUBLISHED = {
    "skeleton_recall": "skeleton_recall_mean",
    "skeleton_precision": "skeleton_precision_mean",
    "arrow_recall": "direction_recall_mean",
    "arrow_precision": "direction_precision_mean",
}
"""Scores (`causalmix.discovery.graph_comparison.compare_graphs`) by the columns of
``published_discovery.csv`` that they stand beside."""

SCORES = (
    *PUBLISHED,
    *(
        f"{kind}_{name}"
        for kind in ("skeleton", "arrow")
        for name in ("brier", "calibration_error")
    ),
)

_KEY = ("dataset", "n_rows", "draw", "method")
_LIMIT = 60.0  # processor seconds of a search by PC


def compare_with_published(
    csuite: str | Path,
    out: str | Path,
    *,
    n_rows: Sequence[int] = (100, 200),
    draws: int = 100,
    **computing: Any,
) -> pd.DataFrame:
    """Score discovery on tables of CSuite, as many and as large as those of published searches.

    Parameters
    ----------
    csuite : str or Path
        Folder of CSuite, with ``published_discovery.csv``: means over the draws of the searches of
        Tugnoli et al. by PC, by ``dataset`` and ``train_size``.
    out : str or Path
        CSV file for the rows; the summary goes beside it (`causalmix.benchmarks.rows`).
    n_rows : sequence of int, default=(100, 200)
        Rows of a table.
    draws : int, default=100
        Tables of every dataset and number of rows.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    pandas.DataFrame
        As `summarise` gives it.

    Raises
    ------
    DataError
        If a file cannot be read or lacks a column, a dataset has too few rows, or a number makes no
        sense.
    CausalMixError
        If `out` is another file, or a run fails.

    References
    ----------
    Tugnoli, De Lorenzo, Virgolin, Cinà (2026), arXiv 2603.10254.
    """
    out, folder = csv_path(out), Path(csuite)
    check_counts(20, n_rows=n_rows)
    check_counts(draws=draws)
    columns = ["dataset", "train_size", *PUBLISHED.values()]
    published = read_scores(folder / "published_discovery.csv", columns)
    datasets = load_csuite_folder(folder)
    hashes = {name: dataset.content_hash[:16] for name, dataset in datasets.items()}
    for name, dataset in datasets.items():
        if (n := len(dataset.train)) < max(n_rows):
            raise DataError(f"{name} has {n} training rows, fewer than {max(n_rows)}.")
    runs = [
        keyed_run("published_discovery", _KEY, (name, n, draw, method), name, data=hashes[name])
        for draw in range(draws)
        for name in datasets
        for n in n_rows
        for method in METHODS
    ]
    rows, origin = make_rows(out, runs, datasets, (*_KEY, *SCORES, "data"), **computing)
    summary = summarise(rows, published)
    settings = {"n_rows": list(n_rows), "draws": draws}
    write_beside(out, summary, make_manifest(settings, hashes, origin))
    return summary


def perform(run: Run, dataset: CSuiteDataset, _: object = None) -> Outcome:
    """Score a method on a draw of rows; NaN where PC did not end."""
    settings = run.settings
    draw = settings["draw"]
    table = dataset.train.sample(settings["n_rows"], random_state=draw).reset_index(drop=True)
    if settings["method"] == "pc":
        done = _searcher(_LIMIT).search("pc", integer_codes(table))
        if done.graph is None:
            return Outcome(dict.fromkeys(SCORES, np.nan))
        edges = EdgeProbabilities.from_graphs(list(table), {"pc": [done.graph]})
    else:
        edges = discover(table, seed=draw)
    scores = compare_graphs(edges, dataset.dag).scores
    return Outcome({name: round(float(scores[name]), 6) for name in SCORES})


_searcher = lru_cache(maxsize=1)(PlainSearcher)  # whose process takes seconds to start


def summarise(rows: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Average scores, beside the published averages.

    Parameters
    ----------
    rows : pandas.DataFrame
        As `compare_with_published` writes them.
    published : pandas.DataFrame
        By ``dataset`` and ``train_size``, with the columns of `PUBLISHED`.

    Returns
    -------
    pandas.DataFrame
        A row per ``n_rows``, ``dataset`` (and ``all`` of them), ``method`` and ``score``: ``draws``
        that ended, the ``mean`` with its 95 % interval ``low`` to ``high``
        (`causalmix.benchmarks.comparison.bootstrap_interval` over graphs and the draws of each;
        of all datasets the mean over these), and ``published``, the mean of the published
        searches, or the mean of that over datasets. Precision without any find counts as 0 in ours,
        and is left out of theirs; PC has for probabilities what the marks of its graph add to them.
    """
    names = {"train_size": "n_rows"} | {column: score for score, column in PUBLISHED.items()}
    shown = published.rename(columns=names).merge(rows[["dataset", "n_rows"]].drop_duplicates())
    ours, theirs = (
        pd.concat([each, each.assign(dataset="all")]).assign(graph=[*each["dataset"]] * 2)
        for each in (rows, shown)
    )
    averages = theirs.groupby(["n_rows", "dataset"])[[*PUBLISHED]].mean()
    records = []
    for (n, dataset, method), part in ours.groupby(["n_rows", "dataset", "method"]):
        ended = part.dropna(subset=[*SCORES])
        for score in SCORES:
            record = {"n_rows": n, "dataset": dataset, "method": method, "score": score}
            values, graphs = ended[score].to_numpy(), ended["graph"].to_list()
            record |= {"draws": len(ended), **mean_and_interval(values, "mean", clusters=graphs)}
            known = score in PUBLISHED and (n, dataset) in averages.index
            record["published"] = averages.loc[(n, dataset), score] if known else np.nan
            records.append(record)
    return pd.DataFrame(records)
