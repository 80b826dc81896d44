"""Rows generated on CSuite against real ones, beside the published scores of TabPFN-based rows.

Every repetition draws training rows, fits structural causal models on the true graph or on graphs
discovered from those rows, draws as many synthetic rows as there are test rows, and scores them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.benchmarks.comparison import mean_and_interval
from causalmix.benchmarks.csuite_data import CSuiteDataset, load_csuite_folder, load_published
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.errors import DataError, check_names
from causalmix.generation.causal import fit_models, sample_mixture
from causalmix.manifest import make_manifest
from causalmix.quality.fidelity import (
    correlation_matrix_difference,
    k_marginal_tvd,
    nearest_neighbour_adversarial_accuracy,
)
from causalmix.scm.mechanisms import MECHANISMS
from causalmix.scm.model import StructuralCausalModel

GRAPHS = {"true": "dag", "discovered": "cpdag_discovered"}
"""Where the graph comes from, and the published algorithm that has it from there."""

REAL = "real"
"""Method of rows that were not generated but are real: the floor of every score."""

MEASURES = {
    "cmd": "correlation_matrix_difference",
    "kmtvd": "k_marginal_tvd",
    "nnaa_distance": "nnaa",
    "ate_error": "ate_abs_error",
}
"""Measures, less being better, and the published columns they are held against."""

N_DAGS = 5
N_BOOTSTRAPS = 20

_KEY = ("dataset", "n_train", "repetition", "graph", "method")
_VALUES = ("cmd", "kmtvd", "nnaa", "ate_error", "seconds")


def benchmark_csuite(
    folder: str | Path,
    out: str | Path,
    *,
    n_train: Sequence[int] = (20, 50, 100, 200, 500),
    repetitions: int = 20,
    graphs: Sequence[str] = tuple(GRAPHS),
    mechanisms: Sequence[str] = ("gp",),
    **computing: Any,
) -> pd.DataFrame:
    """Score synthetic rows on every dataset of a folder.

    Parameters
    ----------
    folder : str or Path
        With a subfolder for each dataset (`causalmix.benchmarks.csuite_data`) and
        ``published.csv``.
    out : str or Path
        CSV file for the rows; what goes beside it is said in `causalmix.benchmarks.rows`. It has
        all rows of today's code and data: sizes and graphs may be run one after the other.
    n_train : sequence of int, default=(20, 50, 100, 200, 500)
        Training rows.
    repetitions : int, default=20
        Draws of training rows.
    graphs : sequence of {"true", "discovered"}, default=both
        Discovered graphs are 5 DAGs drawn from the edge probabilities of 20 bootstraps, with the
        edges that they lack (`causalmix.discovery.dag_completion`).
    mechanisms : sequence of str, default=("gp",)
        Of `causalmix.scm.model.StructuralCausalModel`.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    pandas.DataFrame
        The summary, as `summarise_csuite` gives it.

    Raises
    ------
    DataError
        If a dataset cannot be read or has too few rows, or a number makes no sense.
    UnknownNameError
        If a graph or mechanism is unknown.
    CausalMixError
        If a run fails.
    """
    out = csv_path(out)
    check_counts(least=5, n_train=n_train)
    check_counts(repetitions=repetitions)
    check_names(graphs, GRAPHS, "graph")
    check_names(mechanisms, MECHANISMS, "mechanism")
    datasets, published = load_csuite_folder(folder), load_published(folder)
    hashes = {name: _content_hash(dataset) for name, dataset in datasets.items()}
    for name, dataset in datasets.items():
        if (n := len(dataset.train)) < max(n_train):
            raise DataError(f"{name} has {n} training rows, fewer than {max(n_train)}.")
    runs = [
        keyed_run("csuite", _KEY, (name, n, repetition, *way), name, data=data)
        for name, data in hashes.items()
        for n in n_train
        for repetition in range(repetitions)
        for way in [*product(graphs, mechanisms), ("none", REAL)]
    ]
    columns = [*_KEY, *_VALUES, "data"]
    rows = make_rows(out, runs, datasets, columns, also=[*hashes.values()], **computing)
    summary = summarise_csuite(rows, published)
    settings = {
        **{name: sorted(rows[name].unique().tolist()) for name in ("n_train", "graph", "method")},
        "repetitions": int(rows["repetition"].max()) + 1,
        "n_dags": N_DAGS,
        "n_bootstraps": N_BOOTSTRAPS,
    }
    write_beside(out, summary, make_manifest(settings, hashes))
    return summary


def perform(run: Run, dataset: CSuiteDataset, _: object = None) -> Outcome:
    """Score rows in place of those of a dataset."""
    n_train, seed = run.settings["n_train"], run.settings["repetition"]
    order = np.random.default_rng(seed).permutation(len(dataset.train))
    table = dataset.train.iloc[order[:n_train]].reset_index(drop=True)
    n = len(dataset.test)
    started, ate_error = time.perf_counter(), np.nan
    if run.settings["method"] == REAL:
        others = order[n_train:][:n]  # without repeats, which would be near each other
        rows = dataset.train.iloc[others].reset_index(drop=True)
    else:
        models = _fit(run.settings, dataset, table)
        rows = sample_mixture(models, n, seed)
        ate_error = abs(_effect(models, dataset, seed) - dataset.ate)
    seconds = time.perf_counter() - started
    scores = {
        "cmd": correlation_matrix_difference(dataset.test, rows),
        "kmtvd": k_marginal_tvd(dataset.test, rows),
        "nnaa": nearest_neighbour_adversarial_accuracy(dataset.test, rows, seed=seed),
        "ate_error": ate_error,
    }
    rounded = {name: round(float(value), 6) for name, value in scores.items()}
    return Outcome(rounded, timings={"seconds": round(seconds, 6)})


def _fit(
    settings: Mapping[str, Any], dataset: CSuiteDataset, table: pd.DataFrame
) -> list[StructuralCausalModel]:
    dags = [dataset.dag]
    if settings["graph"] == "discovered":
        seed = settings["repetition"]
        edges = discover(table, n_bootstraps=N_BOOTSTRAPS, seed=seed)
        dags = complete_dags(sample_dags(edges, N_DAGS, seed), table)
    return fit_models(dags, table, mechanism=settings["method"])


def _effect(models: Sequence[StructuralCausalModel], dataset: CSuiteDataset, seed: int) -> float:
    """Mean over the graphs of the effect of the dataset's intervention."""
    values = (dataset.treatment_value, dataset.reference_value)
    asked, n = (dataset.treatment, *values, dataset.outcome), 4000 // len(models)
    effects = [model.average_treatment_effect(*asked, n=n, seed=seed) for model in models]
    return float(np.mean(effects))


def summarise_csuite(rows: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Hold medians over repetitions against the published ones.

    Parameters
    ----------
    rows : pandas.DataFrame
        As `benchmark_csuite` writes them.
    published : pandas.DataFrame
        As `causalmix.benchmarks.csuite_data.load_published` gives it.

    Returns
    -------
    pandas.DataFrame
        A row per dataset, n_train, graph, method and ``measure`` (a key of `MEASURES`;
        ``nnaa_distance`` is ``|NNAA - 0.5|``): ``median``, its 95 % interval ``low`` to ``high``
        (percentile bootstrap over repetitions), ``repetitions``, ``floor`` (median of real rows
        in place of synthetic ones), ``published`` (median of the algorithm with the graph from the
        same source) and ``better`` (whether the median is below the published one).
    """
    scored = rows.assign(nnaa_distance=(rows["nnaa"] - 0.5).abs())
    groups = ["dataset", "n_train", "graph", "method"]
    floors = scored[scored["method"] == REAL].groupby(["dataset", "n_train"])[list(MEASURES)]
    floor = floors.median()
    reference = _published_scores(published)
    records = []
    for key, group in scored[scored["method"] != REAL].groupby(groups):
        dataset, n, graph, _ = key
        for measure in MEASURES:
            record = dict(zip(groups, key, strict=True)) | {"measure": measure}
            record |= mean_and_interval(group[measure].to_numpy(), "median", statistic=np.median)
            record |= {"repetitions": len(group), "floor": floor.loc[(dataset, n), measure]}
            shown = reference.get((dataset, n, GRAPHS[graph], measure), np.nan)
            better = bool(record["median"] < shown)
            records.append(record | {"published": shown, "better": better})
    return pd.DataFrame(records)


def _published_scores(published: pd.DataFrame) -> Mapping[tuple[str, int, str, str], float]:
    scores = published.assign(nnaa=(published["nnaa"] - 0.5).abs())
    return {
        (row["dataset"], row["train_size"], row["algorithm"], measure): row[column]
        for row in scores.to_dict("records")
        for measure, column in MEASURES.items()
    }


def _content_hash(dataset: CSuiteDataset) -> str:
    digest = hashlib.sha256()
    for frame in (dataset.train, dataset.test):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
