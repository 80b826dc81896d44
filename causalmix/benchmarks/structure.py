"""Is it the causal structure? True, discovered, shuffled and no graphs where the truth is known.

The arms differ in the graphs that their synthetic rows come from. Test rows come from the same
distribution, and from the model with a cause of the label set to a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.atomic import check_writable
from causalmix.benchmarks.arms import ARMS as COMMON_ARMS
from causalmix.benchmarks.arms import Arm, Rows, make_run
from causalmix.benchmarks.comparison import COMPARED, mean_and_interval
from causalmix.benchmarks.engine import Run
from causalmix.benchmarks.known_models import KnownTable, known_tables
from causalmix.benchmarks.rows import compute_all
from causalmix.benchmarks.store import Store
from causalmix.data.own_settings import own_settings
from causalmix.errors import check_whole
from causalmix.finetuning.config import FinetuneConfig
from causalmix.manifest import make_manifest, write_json
from causalmix.tfm.model import load_tfm

KIND = "known_models"
"""Of these runs, in `causalmix.benchmarks.engine.KINDS`."""

SIZES = ((60, 15), (120, 30))
"""Training and validation rows."""

N_TEST = 500
"""Test rows of either kind."""

CONFIG = FinetuneConfig(
    steps=40,
    validate_every=40,
    tasks_per_step=2,
    learning_rate=1e-4,
    trained="columns",
    rehearsal=0.0,
    rule="last",
    level=1.0,
)
"""Settings of all arms: those of the preset ``tuning``, without a validation in between."""

_AS_IT_IS = {"completion_alpha": 0.0}
_TRUE = {
    "true": Arm("True graph", generator="causal", options=_AS_IT_IS),
    "true_label": Arm("True graph, label's too", generator="causal_label", options=_AS_IT_IS),
    "true_shuffled": Arm("True graph, shuffled", generator="causal_shuffled", options=_AS_IT_IS),
}
_COMMON = "zero_shot default causal causal_shuffled causal_empty causal_label causal_shuffled_label"

ARMS = {name: COMMON_ARMS[name] for name in _COMMON.split()} | _TRUE
"""By name. ``…_label`` has the label's parents from the graph; else they are all features."""

CONTRASTS = (
    ("true", "causal"),
    ("true", "causal_shuffled"),
    ("true", "true_shuffled"),
    ("true", "causal_empty"),
    ("causal", "causal_shuffled"),
    ("true_label", "causal_label"),
    ("true_label", "causal_shuffled_label"),
    ("causal_label", "causal_shuffled_label"),
    ("true", "default"),
    ("causal", "default"),
    ("default", "zero_shot"),
)
"""Arms that are compared, the one that should be better first."""


@own_settings()
def compare_known_models(
    out: str | Path,
    csuite: str | Path | None = None,
    *,
    splits: int = 2,
    **computing: Any,
) -> pd.DataFrame:
    """Run every arm on every table and size, and compare them.

    Parameters
    ----------
    out : str or Path
        Folder of a :class:`~causalmix.benchmarks.store.Store`, with a ``manifest.json``. Runs found
        there are not made again.
    csuite : str or Path, optional
        As `causalmix.benchmarks.known_models.known_tables` takes it.
    splits : int, default=2
        Draws of the rows of a table.
    **computing
        ``workers``, ``scheduler``, ``hours``, ``retry`` and ``progress``, as
        :func:`causalmix.benchmarks.engine.compute` takes them.

    Returns
    -------
    pandas.DataFrame
        As `structure_contrasts` gives it.

    Raises
    ------
    CausalMixError
        If a number or a file makes no sense, a run failed or the time was up. What is done is kept.
    """
    check_whole(splits, 1, "splits")
    check_writable(Path(out), folder=True)
    tables, store = known_tables(csuite), Store(out)
    runs = _plan(tables, splits)
    compute_all(runs, store, tables, **computing)
    settings = {"config": asdict(CONFIG), "sizes": SIZES, "n_test": N_TEST, "splits": splits}
    settings |= {"arms": list(ARMS), "checkpoint": load_tfm().content_hash}
    hashes = {name: table.content_hash for name, table in tables.items()}
    origin = store.origin(run.key for run in runs)
    write_json(Path(out) / "manifest.json", make_manifest(settings, hashes, origin))
    rows = store.runs(KIND)
    return structure_contrasts(rows[rows.index.isin([run.key for run in runs])])


# What arms have besides belongs to other studies.
_SETTINGS = (
    *("dataset", "data", "n_train", "n_val", "n_test", "split", "seed", "weights"),
    *("arm", "method", "generator", "options", "search", "config"),
)


def _plan(tables: Mapping[str, KnownTable], splits: int) -> list[Run]:
    """List the runs, split by split over all sizes, tables and arms."""
    weights, runs = load_tfm().run_hash, []
    hashes = {k: (t.content_hash, t.shifted.content_hash) for k, t in tables.items()}
    for split, size, (name, table) in product(range(splits), SIZES, tables.items()):
        data, shifted = hashes[name]
        model = {"shifted": shifted, "dag": sorted(map(list, table.dag.edges))}
        for arm in ARMS:
            rows = Rows(*size, N_TEST, split)
            run = make_run(arm, ARMS[arm], table, data, rows, split, weights, CONFIG)
            settings = {each: run.settings[each] for each in _SETTINGS} | model
            settings["known_graph"] = arm in _TRUE
            if arm in _TRUE:
                settings["search"] = None
            runs.append(replace(run, kind=KIND, settings=settings))
    return runs


def structure_contrasts(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare arms on the same splits.

    Parameters
    ----------
    runs : pandas.DataFrame
        As ``store.runs(KIND)`` gives them, all or those of a size.

    Returns
    -------
    pandas.DataFrame
        A row per pair of `CONTRASTS` (``better``, ``than``) and kind of test ``rows`` (``same`` or
        ``shifted``): ``graphs``, ``splits``, mean gains over graphs ``auc_gain`` and
        ``log_loss_gain`` (nats; positive where the first arm is better) with 95 % intervals
        ``auc_low`` to ``log_loss_high`` (`causalmix.benchmarks.comparison.bootstrap_interval`
        over graphs, the splits of one together).
    """
    split, records = ["dataset", "n_train", "split"], []
    for (better, than), prefix in product(CONTRASTS, ("", "shifted_")):
        columns = [f"{prefix}auc", f"{prefix}log_loss"]
        first, second = (
            runs[runs["arm"] == arm].set_index(split)[columns] for arm in (better, than)
        )
        gains = (first - second).dropna() * [1, -1]
        if gains.empty:
            continue
        graphs = gains.groupby("dataset").mean()
        record = {"better": better, "than": than, "rows": "shifted" if prefix else "same"}
        record |= {"graphs": len(graphs), "splits": len(gains)}
        for column, name in zip(columns, COMPARED, strict=True):
            record |= mean_and_interval(graphs[column].to_numpy(), f"{name}_gain", f"{name}_")
        records.append(record)
    return pd.DataFrame(records)
