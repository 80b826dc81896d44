"""Which rule should choose the weights: all of them judged on the same recorded runs.

On every split each way of mixing is run once, to its last step, with all curves recorded. The
rules then judge these curves, as they would have stopped the run, against the test scores of the
step each of them keeps.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import pandas as pd

from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.benchmarks.rule_summary import count_validation_rows, judge_runs, summarise_rules
from causalmix.benchmarks.zero_shot import load_variant
from causalmix.data.dataset import TabularDataset
from causalmix.data.folder import read_tables
from causalmix.data.splitting import Split, low_data_split
from causalmix.errors import DataError, check_name, check_names
from causalmix.finetuning.config import MIXED_ROWS, FinetuneConfig
from causalmix.finetuning.run import finetune
from causalmix.finetuning.stopping import RULES
from causalmix.generation.causal import CausalGenerator
from causalmix.manifest import make_manifest
from causalmix.tfm.model import load_tfm

MIXINGS: dict[str, dict[str, object]] = {
    "real": MIXED_ROWS | {"synthetic_share": 0.0},
    "causal": MIXED_ROWS,
    "causal_tasks": MIXED_ROWS | {"synthetic_share": 0.0, "synthetic_tasks": 0.5},
}
"""Ways of mixing by name: what they set in the `FinetuneConfig`.

``"causal"`` mixes real and synthetic rows within every task.
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
    **computing: Any,
) -> pd.DataFrame:
    """Record runs on a folder of tables and judge them by every rule.

    A quarter as many rows as are trained on are validated with, as `CausalMixClassifier` does by
    default.

    Parameters
    ----------
    folder : str or Path
        Searched for CSV and Parquet files.
    out : str or Path
        CSV file for the runs; what goes beside it is said in `causalmix.benchmarks.rows`.
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
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

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
    check_names(mixings, MIXINGS, "mixing")
    check_names(rules, RULES, "rule")
    tables, _ = read_tables(folder)
    chosen = {check_name(name, tables, "dataset"): tables[name] for name in datasets} or tables
    model = load_tfm(tfm)
    hashes = {name: table.content_hash for name, table in chosen.items()}
    runs = [
        keyed_run(
            "rules",
            _KEY,
            (name, n, seed, mixing),
            name,
            {"tfm": str(tfm)},
            data=hashes[name][:16],
            tfm=model.run_hash,
            n_val=count_validation_rows(n),
            n_test=min(n_test, _left(table, n)),
            rules=list(rules),
            config=_recorded(config, mixing),
        )
        for seed in range(seeds)
        for name, table in chosen.items()
        for n in n_train
        if _left(table, n) >= _MIN_TEST_ROWS
        for mixing in mixings
    ]
    if not runs:
        raise DataError(
            f"No table of {folder} leaves {_MIN_TEST_ROWS} rows to test on beside "
            f"n_train={min(n_train)} and a quarter as many for validation."
        )
    columns = [*_KEY, "history", "generator_seconds", "seconds", "data", "tfm"]
    rows, origin = make_rows(out, runs, chosen, columns, **computing)
    summary = summarise_rules(judge_runs(rows, rules=rules, patience=config.patience))
    settings = {
        "n_train": list(n_train),
        "seeds": seeds,
        "n_test": n_test,
        "mixings": {name: MIXINGS[name] for name in mixings},
        "rules": list(rules),
        "config": dataclasses.asdict(config),
        "checkpoint": model.content_hash,
    }
    used = {run.table: hashes[run.table] for run in runs}
    write_beside(out, summary, make_manifest(settings, used, origin))
    return summary


def _left(table: TabularDataset, n_train: int) -> int:
    return table.n_rows - n_train - count_validation_rows(n_train)


def _recorded(config: FinetuneConfig, mixing: str) -> dict[str, Any]:
    """Return the settings of a run, but for those on which nothing that is recorded depends."""
    settings = dataclasses.asdict(dataclasses.replace(config, **MIXINGS[mixing]))
    return {name: settings[name] for name in settings if name not in ("rule", "level", "patience")}


def _split(run: Run, table: TabularDataset) -> Split:
    names = ("n_train", "n_val", "seed")
    sizes = (run.settings[name] for name in names)
    return low_data_split(table, *sizes, n_test=run.settings["n_test"])


def prepare(run: Run, table: TabularDataset) -> tuple[CausalGenerator, float]:
    """Fit the generator that all ways of mixing of a split share; return its seconds too."""
    start, train = time.perf_counter(), _split(run, table).train
    generator = _FittedOnce(seed=run.settings["seed"]).fit(train.X, train.y)
    return generator, time.perf_counter() - start


def perform(run: Run, table: TabularDataset, prepared: tuple[CausalGenerator, float]) -> Outcome:
    """Record the curves of a run to its last step."""
    settings = run.settings
    generator, fit_seconds = prepared
    steps = settings["config"]["steps"]
    result = finetune(
        load_variant(run.places["tfm"], settings["tfm"]),
        _split(run, table),
        generator=copy(generator),  # which other splits are fitted to
        # Never stopped early: the rules are to judge the whole run.
        config=FinetuneConfig(**settings["config"], patience=steps + 1),
        seed=settings["seed"],
        record_test=True,
        record_rules=settings["rules"],
    )
    seconds = {
        "generator_seconds": round(fit_seconds + result.generator_seconds, 2),
        "seconds": round(float(result.history["seconds"].iloc[-1]), 2),
    }
    curves = result.history.drop(columns="seconds").round(_DIGITS).to_dict("list")
    return Outcome({}, curves, seconds)


class _FittedOnce(CausalGenerator):
    """Fits anew only to other rows: all ways of mixing of a split share one generator."""

    _X: pd.DataFrame | None = None

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        if self._X is None or not X.equals(self._X):
            super().fit(X, y)
            self._X = X
        return self
