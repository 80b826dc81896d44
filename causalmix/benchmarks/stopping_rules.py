"""Which rule should choose the weights: all of them judged on the same recorded runs.

On every split each way of mixing is run once, to its last step, with all curves recorded. The
rules then judge these curves, as they would have stopped the run, against the test scores of the
step each of them keeps.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

import pandas as pd

from causalmix.benchmarks.rowstore import (
    RowStore,
    Task,
    check_counts,
    csv_path,
    name_failure,
    write_beside,
)
from causalmix.benchmarks.rule_summary import count_validation_rows, judge_runs, summarise_rules
from causalmix.data.dataset import TabularDataset
from causalmix.data.folder import read_tables
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, DataError, check_jobs, check_name, check_names
from causalmix.finetuning.config import MIXED_ROWS, FinetuneConfig
from causalmix.finetuning.run import finetune
from causalmix.finetuning.stopping import RULES
from causalmix.generation.causal import CausalGenerator
from causalmix.manifest import make_manifest
from causalmix.tfm.model import load_tfm

MIXINGS: dict[str, dict[str, object]] = {
    "real": {"synthetic_share": 0.0, "synthetic_tasks": 0.0},
    "causal": MIXED_ROWS,
    "causal_decaying": MIXED_ROWS | {"schedule": "decaying"},
    "causal_first": MIXED_ROWS | {"schedule": "synthetic_first"},
    "causal_context": MIXED_ROWS | {"synthetic_query_share": 0.0},
    "causal_fresh": MIXED_ROWS | {"fresh_rows": True},
    "causal_tasks": {"synthetic_share": 0.0, "synthetic_tasks": 0.5},
}
"""Ways of mixing by name: what they set in the `FinetuneConfig`.

All but ``"real"`` and ``"causal_tasks"`` mix real and synthetic rows within every task.
"""

_KEY = ("dataset", "n_train", "seed", "mixing")
_MIN_TEST_ROWS = 100
_DIGITS = 6  # of the recorded curves


def benchmark_rules(
    folder: str | Path,
    out: str | Path,
    *,
    datasets: Sequence[str] = (),
    n_train: Sequence[int] = (120,),
    seeds: int = 5,
    n_test: int = 600,
    mixings: Sequence[str] = ("real", "causal"),
    rules: Sequence[str] = tuple(RULES),
    config: FinetuneConfig | None = None,
    tfm: str | Path = "embedded",
    workers: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Record runs on a folder of tables and judge them by every rule.

    A quarter as many rows as are trained on are validated with, as `CausalMixClassifier` does by
    default.

    Parameters
    ----------
    folder : str or Path
        Searched for CSV and Parquet files.
    out : str or Path
        CSV file for the runs; what it holds already is not computed again. Summary and manifest go
        beside it, with ``_summary.csv`` and ``_manifest.json`` in place of ``.csv``.
    datasets : sequence of str, default=()
        Names of tables; all by default.
    n_train : sequence of int, default=(120,)
        Training rows; tables that leave fewer than 100 rows to test on are left out.
    seeds : int, default=5
        Splits of every table and size.
    n_test : int, default=600
        Test rows at most.
    mixings : sequence of str, default=("real", "causal")
        Of `MIXINGS`. The causal generator makes the synthetic validation rows of all of them.
    rules : sequence of str, default=all
        Of `causalmix.finetuning.stopping.RULES`; a run takes ``n_splits`` times as long where
        ``"repeated_splits"`` is among them.
    config : FinetuneConfig, optional
        Settings of the runs, and the patience that the rules have.
    tfm : str or Path, default="embedded"
        Checkpoint as :func:`causalmix.tfm.model.load_tfm` takes it.
    workers : int, default=1
        Processes, with one thread each.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    DataFrame
        The summary, as `summarise_rules` gives it.

    Raises
    ------
    DataError
        If there is no table of this size, or a number makes no sense.
    UnknownNameError
        If a mixing, rule or dataset is unknown.
    CausalMixError
        If a run fails.
    """
    out, config = csv_path(out), config or FinetuneConfig()
    check_counts(n_train=n_train, seeds=seeds, n_test=n_test)
    check_jobs(workers, "workers")
    check_names(mixings, MIXINGS, "mixing")
    check_names(rules, RULES, "rule")
    tables, _ = read_tables(folder)
    chosen = {check_name(name, tables, "dataset"): tables[name] for name in datasets} or tables
    checkpoint = load_tfm(tfm).content_hash
    model = {"tfm": str(tfm), "checkpoint": checkpoint[:16]}
    tasks = [
        _task(table, n, seed, mixing, config=config, n_test=n_test, rules=tuple(rules), **model)
        for seed in range(seeds)
        for table in chosen.values()
        for n in n_train
        if _left(table, n) >= _MIN_TEST_ROWS
        for mixing in mixings
    ]
    if not tasks:
        raise DataError(
            f"No table of {folder} leaves {_MIN_TEST_ROWS} rows to test on beside "
            f"n_train={min(n_train)} and a quarter as many for validation."
        )
    values = ("history", "generator_seconds", "seconds")
    text = ("dataset", "mixing", "history")
    store = RowStore(out, _KEY, values, origin=("data", "tfm", "config"), text=text)
    runs = store.compute(tasks, _record, "runs", workers=workers, progress=progress)
    summary = summarise_rules(judge_runs(runs, rules=rules, patience=config.patience))
    settings = {
        "n_train": list(n_train),
        "seeds": seeds,
        "n_test": n_test,
        "mixings": {name: MIXINGS[name] for name in mixings},
        "rules": list(rules),
        "config": dataclasses.asdict(config),
        "checkpoint": checkpoint,
    }
    used = {task.data.name: task.data.content_hash for task in tasks}
    write_beside(out, summary, make_manifest(settings, used))
    return summary


def _left(table: TabularDataset, n_train: int) -> int:
    return table.n_rows - n_train - count_validation_rows(n_train)


def _task(
    table: TabularDataset,
    n_train: int,
    seed: int,
    mixing: str,
    *,
    config: FinetuneConfig,
    n_test: int,
    rules: tuple[str, ...],
    tfm: str,
    checkpoint: str,
) -> Task:
    n_val, n_test = count_validation_rows(n_train), min(n_test, _left(table, n_train))
    # Never stopped early: the rules are to judge the whole run.
    config = dataclasses.replace(config, patience=config.steps + 1, **MIXINGS[mixing])
    recorded = dataclasses.asdict(config)
    for name in ("rule", "level", "patience"):  # nothing that is recorded depends on them
        del recorded[name]
    text = json.dumps([recorded, n_val, n_test, rules], sort_keys=True)
    row = {"dataset": table.name, "n_train": n_train, "seed": seed, "mixing": mixing}
    row |= {"data": table.content_hash[:16], "tfm": checkpoint}
    row["config"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    options = {"config": config, "n_val": n_val, "n_test": n_test, "rules": rules, "tfm": tfm}
    return Task(row, table, options)


def _record(task: Task) -> dict[str, object]:
    options, seed = task.options, task.row["seed"]
    # Hushed: discovery in few rows.
    with name_failure(task.row["mixing"], task), warnings.catch_warnings(action="ignore"):
        sizes = (task.row["n_train"], options["n_val"])
        split = low_data_split(task.data, *sizes, seed, n_test=options["n_test"])
        result = finetune(
            _model(options["tfm"]),
            split,
            generator=_generator(seed),
            config=options["config"],
            seed=seed,
            record_test=True,
            record_rules=options["rules"],
        )
    curves = result.history.drop(columns="seconds").round(_DIGITS).to_dict("list")
    return task.row | {
        "history": json.dumps(curves, separators=(",", ":")),
        "generator_seconds": round(result.generator_seconds, 2),
        "seconds": round(float(result.history["seconds"].iloc[-1]), 2),
    }


class _FittedOnce(CausalGenerator):
    """Fits anew only to other rows: all ways of mixing of a split share one generator."""

    _X: pd.DataFrame | None = None

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        if self._X is None or not X.equals(self._X):
            super().fit(X, y)
            self._X = X
        return self


@lru_cache(maxsize=1)
def _generator(seed: int) -> _FittedOnce:
    return _FittedOnce(seed=seed)


_model = lru_cache(maxsize=1)(load_tfm)


def config_of(settings: Sequence[str]) -> FinetuneConfig:
    """Make a config of settings as a command line has them.

    Parameters
    ----------
    settings : sequence of str
        Each ``name=value``, a parameter of `FinetuneConfig`.

    Returns
    -------
    FinetuneConfig

    Raises
    ------
    UnknownNameError
        If there is no such parameter.
    CausalMixError
        If a value makes no sense for it.
    """
    defaults = dataclasses.asdict(FinetuneConfig())
    values: dict[str, object] = {}
    for name, _, text in (setting.partition("=") for setting in settings):
        kind = type(defaults[check_name(name, defaults, "setting")])
        try:
            values[name] = text if kind is str else json.loads(text)
        except json.JSONDecodeError:
            raise CausalMixError(f"{name} takes a number, true or false, not {text!r}.") from None
    return FinetuneConfig(**values)
