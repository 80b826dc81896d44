"""Seconds of fitting models to sampled graphs, against DoWhy's own way, and of the whole generator.

Both in one run, in processor seconds of one process.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd
from dowhy import gcm

from causalmix.atomic import check_writable
from causalmix.benchmarks.timing import processor_seconds, write_measured
from causalmix.data.codec import TableCodec
from causalmix.data.dataset import load_dataset
from causalmix.discovery.bootstrap import discover
from causalmix.discovery.dag_completion import complete_dags
from causalmix.discovery.dag_sampling import sample_dags
from causalmix.errors import DataError, check_filled
from causalmix.generation.causal import CausalGenerator, fit_models
from causalmix.scm.random_scm import random_scm_table

COST_SIZES = (
    *(("rows", n, 10) for n in (300, 1000, 2000, 5000, 10_000)),
    *(("columns", 300, d) for d in (10, 25, 50, 100)),
)
"""Sizes at which the generator's cost is measured: what varies, rows and columns."""

_LEAST_LEVEL = 20

PRESETS = {"default": CausalGenerator(), "paper": CausalGenerator.paper()}
"""Generators whose mechanisms are timed, by name."""


def measure_fitting(frame: pd.DataFrame, target: str, *, n_dags: int = 20) -> dict[str, object]:
    """Time fitting models to graphs drawn from what `discover` finds with its defaults.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows without missing numbers and without rare levels, which DoWhy does not take.
    target : str
        A column; every other is its parent in all graphs, as in the default generator's.
    n_dags : int, default=20

    Returns
    -------
    dict
        ``dowhy_seconds``: processor seconds of ``gcm.auto.assign_causal_mechanisms`` with its
        defaults and ``gcm.fit`` for each graph; and under ``mechanisms``, for those of each of
        `PRESETS`, ``seconds`` (all graphs, with shared mechanisms, as
        `causalmix.generation.causal.fit_models` does it) and ``ratio`` (DoWhy's divided by ours).
    """
    edges = discover(frame, n_bootstraps=5, target=target)
    dags = sample_dags(edges, n_dags, 0, target=target, target_parents="all")
    dags = complete_dags(dags, frame, fixed=[target])
    gcm.config.disable_progress_bars()
    gcm.config.set_default_n_jobs(1)  # processor seconds are those of this process
    dowhy = sum(processor_seconds(partial(_fit_with_dowhy, dag, frame)) for dag in dags)
    ours = {}
    for name, generator in PRESETS.items():
        options = {name: getattr(generator, name) for name in ("mechanism", "noise", "missing")}
        options["node_mechanisms"] = {target: generator.target_mechanism}
        seconds = processor_seconds(partial(fit_models, dags, frame, **options))
        ours[name] = {"seconds": seconds, "ratio": dowhy / seconds}
    size = {"rows": len(frame), "columns": frame.shape[1], "n_dags": n_dags}
    return size | {"dowhy_seconds": dowhy, "mechanisms": ours}


def measure_generator_cost(
    sizes: Sequence[tuple[str, int, int]] = COST_SIZES,
) -> list[dict[str, object]]:
    """Time `causalmix.generation.causal.CausalGenerator` with its defaults on random mixed models.

    Parameters
    ----------
    sizes : sequence of (str, int, int), default=COST_SIZES
        What varies, rows, and columns, of which a categorical one is the target.

    Returns
    -------
    list of dict
        ``varied`` (rows or columns), ``rows``, ``columns``, and processor seconds:
        ``fit_seconds`` (discovery, 10 graphs and their models) and ``sample_seconds`` (as many
        rows as there are).
    """
    found = []
    most = max(n for _, n, _ in sizes)
    for varied, n, d in sizes:
        # With another number of rows, a seed gives another model.
        frame = random_scm_table(d, most, seed=0)[0].head(n)
        target = frame.select_dtypes("category").columns[-1]
        generator = CausalGenerator()
        fit = partial(generator.fit, frame.drop(columns=target), frame[target])
        seconds = {"fit_seconds": processor_seconds(fit)}
        seconds["sample_seconds"] = processor_seconds(partial(generator.sample, n, 0))
        found.append({"varied": varied, "rows": n, "columns": d} | seconds)
    return found


def _fit_with_dowhy(dag: nx.DiGraph, frame: pd.DataFrame) -> None:
    codec = TableCodec(frame)
    # DoWhy takes strings for categories.
    data = codec.encode(frame)
    for name in codec.categorical:
        data[name] = data[name].astype(int).astype(str)
    model = gcm.StructuralCausalModel(nx.DiGraph(dag.edges))
    model.graph.add_nodes_from(dag)
    gcm.auto.assign_causal_mechanisms(model, data)
    gcm.fit(model, data)


def write_fitting_speed(
    tables: list[str],
    path: Path,
    *,
    n_rows: int = 500,
    n_dags: int = 20,
    sizes: Sequence[tuple[str, int, int]] = COST_SIZES,
) -> Path:
    """Measure on several tables, and the generator's cost, and write both down.

    Parameters
    ----------
    tables : list of str
        Datasets, as :func:`causalmix.data.dataset.load_dataset` takes them. Rows with missing
        numbers are left out; levels of fewer than 20 rows count as the most frequent one.
    path : Path
        JSON file to write; its folder is made.
    n_rows : int, default=500
        Rows that are drawn from each, or all where there are fewer.
    n_dags : int, default=20
    sizes : sequence of (str, int, int), default=COST_SIZES
        Of `measure_generator_cost`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DataError
        If a table cannot be read or has no complete row.
    """
    check_writable(path)
    check_filled(tables, "tables")
    measured, hashes = {}, {}
    for dataset in map(load_dataset, tables):
        frame = dataset.frame()
        frame = frame.dropna(subset=list(frame.select_dtypes("number")))
        if frame.empty:
            raise DataError(f"{dataset.name} has no row without missing numbers.")
        frame = frame.sample(min(n_rows, len(frame)), random_state=0).reset_index(drop=True)
        frame = _merge_rare_levels(frame)
        with warnings.catch_warnings(action="ignore"):
            measured[dataset.name] = measure_fitting(frame, dataset.y.name, n_dags=n_dags)
        hashes[dataset.name] = dataset.content_hash
    with warnings.catch_warnings(action="ignore"):
        cost = measure_generator_cost(sizes)
    settings = {"n_rows": n_rows, "n_dags": n_dags}
    return write_measured(path, {"tables": measured, "cost": cost}, settings, hashes)


def tabulate_fitting(measured: Mapping[str, Any]) -> pd.DataFrame:
    """Lay out seconds and ratios by table.

    Parameters
    ----------
    measured : mapping
        What `write_fitting_speed` wrote.

    Returns
    -------
    pandas.DataFrame
        A row for each table: ``rows``, ``columns``, DoWhy's processor seconds, and for each of
        `PRESETS` ours and the ratio.
    """
    records = {}
    for name, found in measured["tables"].items():
        record = {k: found[k] for k in ("rows", "columns")}
        record["DoWhy (s)"] = round(found["dowhy_seconds"], 1)
        for preset, ours in found["mechanisms"].items():
            record[f"{preset} (s)"] = round(ours["seconds"], 1)
            record[f"{preset}: times faster"] = round(ours["ratio"], 1)
        records[name] = record
    return pd.DataFrame.from_dict(records, orient="index").rename_axis("table")


def _merge_rare_levels(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the levels of fewer than 20 rows to the most frequent one.

    DoWhy's choice of a classifier validates on folds, and fails where one of them lacks a level.
    """
    merged = frame.copy()
    for name in frame.select_dtypes("category"):
        counts = frame[name].value_counts()
        column = frame[name].where(frame[name].map(counts).astype(float) >= _LEAST_LEVEL)
        merged[name] = column.fillna(counts.index[0]).cat.remove_unused_categories()
    return merged
