"""Bootstrap discovery against causal-learn's PC and FCI, on tables whose graph is known.

All methods get the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.benchmarks.comparison import mean_and_interval
from causalmix.benchmarks.csuite_data import hash_with_graph, load_csuite_folder
from causalmix.benchmarks.engine import KINDS, Outcome, Run, code_hash
from causalmix.benchmarks.plain_discovery import PLAIN, PlainSearcher, integer_codes
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.citest import DEGENERATE_GAUSSIAN
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.discovery.graph_comparison import ROUNDING, compare_graphs
from causalmix.discovery.options import PAPER_ALGORITHMS
from causalmix.errors import DataError
from causalmix.manifest import file_hash, make_manifest
from causalmix.scm.random_scm import random_scm_table

BOOTSTRAP = "bootstrap"
"""Name of `causalmix.discovery.bootstrap.discover` among the methods."""

VARIANTS: dict[str, dict[str, object]] = {
    BOOTSTRAP: {},
    "bootstrap_boss": {"algorithms": ("boss",)},
    "bootstrap_pc_fci": {"algorithms": PAPER_ALGORITHMS},
    "bootstrap_linear": {"test": DEGENERATE_GAUSSIAN},
}
"""Ours, and what each sets in `causalmix.discovery.bootstrap.discover`."""

METHODS = (*VARIANTS, *PLAIN)

LABELS = {
    BOOTSTRAP: "bootstrap PC + BOSS",
    "bootstrap_boss": "bootstrap BOSS",
    "bootstrap_pc_fci": "bootstrap PC + FCI",
    "bootstrap_linear": "bootstrap PC + BOSS, linear",
    "pc": "causal-learn PC",
    "fci": "causal-learn FCI",
}
"""Names of the methods in tables and figures."""

SCORES = ("skeleton_f1", "arrow_f1", "coin_arrow_f1", "shd", "skeleton_brier", "arrow_brier")
"""What methods are compared by; see `run_discovery_benchmark`."""

_PARTS = ("skeleton_precision", "skeleton_recall", "arrow_precision", "arrow_recall")
_KEY = ("source", "dataset", "n_nodes", "n_rows", "seed", "method")


@dataclass(frozen=True)
class DiscoveryBenchmark:
    """Results of `run_discovery_benchmark`.

    Attributes
    ----------
    rows : DataFrame
        A row per table and method: ``source`` (csuite or random), ``dataset``, ``n_nodes``,
        ``n_rows``, ``seed``, ``method``, the scores, ``seconds`` (processor time), ``outcome``
        (ok, timeout, or an error), ``data`` (hash of the table and its graph) and ``code`` (hash of
        the code behind discovery and its scores, and settings).
    summary : DataFrame
        As `summarise` returns it.
    manifest : dict
        Settings, versions and data hashes.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    manifest: dict[str, object]


@dataclass(frozen=True)
class _Table:
    """One table with its graph."""

    source: str
    dataset: str
    seed: int
    frame: pd.DataFrame
    dag: nx.DiGraph

    @property
    def name(self) -> str:
        return f"{self.dataset} at {len(self.frame)} rows, seed {self.seed}"

    def runs(self, options: Mapping[str, Mapping[str, object]]) -> list[Run]:
        """Return the run of every method, given its settings."""
        key = (self.source, self.dataset, len(self.dag), len(self.frame), self.seed)
        data = hash_with_graph([self.frame], self.dag)[:16]
        return [
            keyed_run("discovery", _KEY, (*key, method), self.name, data=data, **options[method])
            for method in METHODS
        ]


def run_discovery_benchmark(
    out: str | Path,
    *,
    csuite: str | Path | None = None,
    n_rows: Sequence[int] = (200, 1000),
    repetitions: int = 10,
    n_nodes: Sequence[int] = (10, 20, 30),
    n_scms: int = 8,
    n_bootstraps: int = 20,
    limit: float = 30.0,
    **computing: Any,
) -> DiscoveryBenchmark:
    """Score discovery on CSuite and on random mixed models.

    The scores are those of :func:`causalmix.discovery.graph_comparison.compare_graphs` at its
    default threshold, for one graph of PC or FCI as for the average of the bootstraps. An average
    leans to one direction of an edge where a single search leaves it undirected, which raises the
    arrow F1 even if it leans by chance; ``coin_arrow_f1`` is therefore the arrow F1 to be expected
    if every undirected edge is directed by a coin, which gives all methods the same number of
    guesses. The probabilities behind the Brier scores are, for a single graph, what its marks add
    to them.

    Parameters
    ----------
    out : str or Path
        CSV file for the rows; what goes beside it is said in `causalmix.benchmarks.rows`.
    csuite : str or Path, optional
        Folder of CSuite datasets; without it, random models only. A repetition is a draw of
        training rows without replacement.
    n_rows : sequence of int, default=(200, 1000)
        Rows of every table.
    repetitions : int, default=10
        Tables of every CSuite dataset and number of rows.
    n_nodes : sequence of int, default=(10, 20, 30)
        Columns of the random models (:func:`causalmix.scm.random_scm.random_scm_table`). The
        defaults of `discover` were chosen on models of other seeds, from 10,000 upward.
    n_scms : int, default=8
        Random models of every number of columns, from seed 0.
    n_bootstraps : int, default=20
        Of our discovery.
    limit : float, default=30.0
        Processor seconds that a search of causal-learn may take. One that takes longer has no
        scores; it is counted as failed and left out of the comparison.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    DiscoveryBenchmark
        Rows, summary and manifest, also written to files.

    Raises
    ------
    DataError
        If `csuite` cannot be read, has fewer rows than asked for, or a number makes no sense.
    CausalMixError
        If `out` is another file, or a run fails.
    """
    out = csv_path(out)
    check_counts(20, n_rows=n_rows)
    check_counts(2, n_nodes=n_nodes)
    check_counts(repetitions=repetitions, n_scms=n_scms, n_bootstraps=n_bootstraps)
    if not limit > 0:
        raise DataError(f"limit is {limit:g}; a number of seconds above 0 is needed.")
    tables = [*_random_tables(n_nodes, n_rows, n_scms)]
    if csuite is not None:
        tables = [*_csuite_tables(Path(csuite), n_rows, repetitions), *tables]
    code = code_hash(KINDS["discovery"].code)
    plain = f"{code} causal-learn {version('causal-learn')} {limit:g} s"
    ours = f"{code} {n_bootstraps} bootstraps"
    options = {name: {"limit": limit, "code": plain} for name in PLAIN}
    options |= {name: {"n_bootstraps": n_bootstraps, "code": ours} for name in VARIANTS}
    runs = [run for table in tables for run in table.runs(options)]
    columns = (*_KEY, *SCORES, *_PARTS, "seconds", "outcome", "data", "code")
    rows, origin = make_rows(
        out, runs, {table.name: table for table in tables}, columns, **computing
    )
    summary = summarise(rows)
    manifest = make_manifest(
        {
            "csuite": None if csuite is None else Path(csuite).resolve().name,
            "n_rows": list(n_rows),
            "repetitions": repetitions,
            "n_nodes": list(n_nodes),
            "n_scms": n_scms,
            "n_bootstraps": n_bootstraps,
            "limit": limit,
            "methods": {name: each["code"] for name, each in options.items()},
        },
        _data_hashes(csuite),
        origin,
    )
    write_beside(out, summary, manifest)
    return DiscoveryBenchmark(rows, summary, manifest)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum up scores by group of tables, number of rows and method.

    Parameters
    ----------
    rows : DataFrame
        As :class:`DiscoveryBenchmark` holds them.

    Returns
    -------
    DataFrame
        A row per ``source``, ``group`` (all; each CSuite dataset; each number of nodes),
        ``n_rows`` and ``method``: ``tables`` (how many), ``failed`` (how many of them without a
        result), means over the others of the `SCORES`, median of ``seconds``, and for methods
        other than ours, over the tables on which they finished, the mean paired difference ours
        minus theirs of each score with its 95 % interval ``_low`` to ``_high``
        (`causalmix.benchmarks.comparison.bootstrap_interval` over graphs and the tables drawn from
        each).
    """
    both = pd.concat([rows.assign(group="all"), rows.assign(group=name_groups(rows, "nodes"))])
    found = []
    for (source, name, n), part in both.groupby(["source", "group", "n_rows"], sort=False):
        tables = part.pivot(index=["dataset", "seed"], columns="method")
        for method in METHODS:
            entry = {"source": source, "group": name, "n_rows": n, "method": method}
            entry |= {"tables": len(tables), "failed": tables["shd"][method].isna().sum()}
            entry |= {score: tables[score][method].mean() for score in SCORES}
            entry["seconds"] = tables["seconds"][method].median()
            for score in SCORES if method != BOOTSTRAP else ():
                difference = (tables[score][BOOTSTRAP] - tables[score][method]).dropna()
                if len(difference):
                    graphs = _graphs_of(source, difference.index)
                    called = (f"{score}_difference", f"{score}_")
                    entry |= mean_and_interval(difference.to_numpy(), *called, clusters=graphs)
            found.append(entry)
    return pd.DataFrame(found)


def _graphs_of(source: str, tables: pd.MultiIndex) -> list[object]:
    """Name the graphs of tables: CSuite draws many tables from each, random models one."""
    return list(tables.get_level_values("dataset") if source == "csuite" else tables)


def name_groups(rows: pd.DataFrame, what: str) -> pd.Series:
    """Name the group of every row: its CSuite dataset, or how many nodes its random model has.

    Parameters
    ----------
    rows : DataFrame
        As :class:`DiscoveryBenchmark` holds them.
    what : str
        What the nodes are called.

    Returns
    -------
    Series
    """
    sizes = rows["n_nodes"].map(lambda d: f"{d} {what}")
    return rows["dataset"].where(rows["source"] == "csuite", sizes)


def describe(benchmark: DiscoveryBenchmark) -> str:
    """Write down the outcome in a few lines.

    Parameters
    ----------
    benchmark : DiscoveryBenchmark

    Returns
    -------
    str
        The summary over all tables of each source, and where our F1 is not above another.
    """
    summary = benchmark.summary
    shown = ["source", "n_rows", "method", "tables", "failed", *SCORES, "seconds"]
    lines = [summary.loc[summary["group"] == "all", shown].round(3).to_string(index=False)]
    line = "Not above {method}: {score}, {source} {group}, {n_rows} rows"
    for score in ("skeleton_f1", "arrow_f1"):
        if f"{score}_difference" in summary:
            behind = summary[summary[f"{score}_difference"] <= 0]
            lines += [line.format(score=score, **row) for row in behind.to_dict("records")]
    return "\n".join(lines)


def _csuite_tables(folder: Path, n_rows: Sequence[int], repetitions: int) -> Iterator[_Table]:
    for name, dataset in load_csuite_folder(folder).items():
        for n in n_rows:
            if n > len(dataset.train):
                raise DataError(f"{name} has {len(dataset.train)} rows, fewer than n_rows={n}.")
            for seed in range(repetitions):
                frame = dataset.train.sample(n, random_state=seed).reset_index(drop=True)
                yield _Table("csuite", name, seed, frame, dataset.dag)


def _random_tables(n_nodes: Sequence[int], n_rows: Sequence[int], n_scms: int) -> Iterator[_Table]:
    for d in n_nodes:
        for seed in range(n_scms):
            for n in n_rows:
                yield _Table("random", f"random-{d}", seed, *random_scm_table(d, n, seed))


def _data_hashes(csuite: str | Path | None) -> dict[str, str]:
    if csuite is None:
        return {}
    paths = sorted(Path(csuite).glob("*/train.parquet"))
    return {path.parent.name: file_hash(path) for path in paths}


def perform(run: Run, table: _Table, _: object = None) -> Outcome:
    """Score a method on a table; NaN where it did not finish."""
    edges, seconds, outcome = _search(table, run.settings)
    scores = dict.fromkeys((*SCORES, *_PARTS), np.nan)
    if edges is not None:
        compared = compare_graphs(edges, table.dag).scores
        compared["coin_arrow_f1"] = _coin_arrow_f1(edges, table.dag, compared)
        scores = {name: round(float(compared[name]), 6) for name in scores}
    return Outcome(scores | {"outcome": outcome}, timings={"seconds": round(seconds, 3)})


def _search(
    table: _Table, settings: Mapping[str, Any]
) -> tuple[EdgeProbabilities | None, float, str]:
    """Return what a method finds in a table, its processor seconds, and how it ended."""
    method = settings["method"]
    if method not in PLAIN:
        options = {"n_bootstraps": settings["n_bootstraps"], "seed": table.seed}
        start = time.process_time()
        edges = discover(table.frame, **options, **VARIANTS[method])
        return edges, time.process_time() - start, "ok"
    done, edges = _searcher(settings["limit"]).search(method, integer_codes(table.frame)), None
    if done.graph is not None:
        edges = EdgeProbabilities.from_graphs(list(table.frame), {method: [done.graph]})
    return edges, done.seconds, done.outcome


_searcher = lru_cache(maxsize=1)(PlainSearcher)  # whose process takes seconds to start


def _coin_arrow_f1(edges: EdgeProbabilities, dag: nx.DiGraph, scores: dict[str, float]) -> float:
    """Return the arrow F1 to be expected where a coin directs every undirected edge."""
    true = nx.to_numpy_array(dag, nodelist=edges.names) > 0
    likely = edges.matrix + edges.matrix.T > 0.5
    undirected = likely & (np.abs(edges.matrix - edges.matrix.T) <= ROUNDING)
    right = scores["arrow_recall"] * true.sum() + (undirected & true).sum() / 2
    guesses = likely.sum() / 2  # of both orders of every pair, one
    return float(2 * right / (true.sum() + guesses)) if true.any() or guesses else 1.0
