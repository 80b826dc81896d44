"""What synthetic rows are worth to other learners: generators compared on a folder of tables.

On every split each generator is fitted to the training rows; a linear model and boosted trees then
learn from its rows alone (train on synthetic, test on real), and from real and synthetic rows
together. And the rows are asked who was among the training rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.benchmarks.comparison import mean_and_interval, mean_ranks
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset
from causalmix.data.folder import read_tables
from causalmix.data.splitting import holdout_split
from causalmix.errors import DataError, check_filled, check_name, check_names
from causalmix.generation.registry import Generator, make_generator
from causalmix.manifest import make_manifest
from causalmix.quality.privacy import membership_attack
from causalmix.quality.report import transfer_auc

REAL = "real"
"""Method of the training rows themselves."""

GENERATORS: dict[str, Callable[[int], Generator]] = {
    "causal": lambda seed: make_generator("causal", seed=seed),
    "causal_close": lambda seed: make_generator("causal", noise_correlation=0.95, seed=seed),
    "causal_sampled": lambda seed: make_generator("causal_sampled", seed=seed),
    "causal_paper": lambda seed: make_generator("causal_paper", seed=seed),
    "smote_nc": lambda seed: make_generator("smote_nc"),
    "perturbation": lambda seed: make_generator("perturbation"),
    "mixup": lambda seed: make_generator("mixup"),
    "copula": lambda seed: make_generator("copula"),
    "ctgan": lambda seed: make_generator("ctgan", epochs=CTGAN_EPOCHS, seed=seed),
    "tabebm": lambda seed: make_generator("tabebm", seed=seed),
    "tfm_conditional": lambda seed: make_generator("tfm_conditional"),
    "tfm_conditional_dag": lambda seed: make_generator("tfm_conditional_dag", seed=seed),
    "causal_purified": lambda seed: make_generator("causal", purified=True, seed=seed),
} | {
    f"ctgan_{n}": lambda seed, n=n: make_generator("ctgan", epochs=n, seed=seed)
    for n in (50, 150, 400, 1200)
}
"""Generators by name, given a seed; ``ctgan_N`` trains for N epochs."""

DEFAULT_GENERATORS = (
    "causal",
    "causal_sampled",
    "causal_paper",
    "smote_nc",
    "perturbation",
    "mixup",
    "copula",
    "ctgan",
)
"""Those that take seconds."""

CTGAN_EPOCHS = 150

LEARNERS = ("linear", "boosting")
"""Learners of `causalmix.quality.report.transfer_auc`."""

SOURCES = ("synthetic", "both")

SCORES = tuple(f"{learner}_{source}" for learner in LEARNERS for source in SOURCES)
"""Columns with the test ROC-AUC of a learner trained on synthetic, or on all rows."""

PRIVACY = ("membership_auc", "members_found")
"""Columns of `causalmix.quality.privacy.membership_attack` with as many other rows, if there are;
NaN for the training rows themselves."""

_KEY = ("dataset", "n_train", "seed", "generator")
_MIN_TEST_ROWS = 100


def benchmark_utility(
    folder: str | Path | None,
    out: str | Path,
    *,
    datasets: Sequence[str] = (),
    n_train: Sequence[int] = (100, 300),
    seeds: int = 3,
    n_synthetic: int = 1000,
    n_test: int = 1000,
    generators: Sequence[str] = DEFAULT_GENERATORS,
    **computing: Any,
) -> pd.DataFrame:
    """Compare generators by what learners make of their rows.

    Parameters
    ----------
    folder : str or Path, optional
        Searched for CSV and Parquet files; without it the tables are embedded ones.
    out : str or Path
        CSV file for the rows; what goes beside it is said in `causalmix.benchmarks.rows`.
    datasets : sequence of str, default=()
        Names of tables; all by default, or all embedded ones.
    n_train : sequence of int, default=(100, 300)
        Training rows; tables that leave fewer than 100 rows to test on are left out.
    seeds : int, default=3
        Splits of every table and size.
    n_synthetic : int, default=1000
        Rows that each generator draws.
    n_test : int, default=1000
        Test rows at most.
    generators : sequence of str, default=DEFAULT_GENERATORS
        Of `GENERATORS`.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    pandas.DataFrame
        The summary, as `summarise_utility` gives it.

    Raises
    ------
    DataError
        If there is no table of this size, or a number makes no sense.
    UnknownNameError
        If a generator or dataset is unknown.
    CausalMixError
        If a generator fails.
    """
    out = csv_path(out)
    check_counts(n_train=n_train, seeds=seeds, n_synthetic=n_synthetic, n_test=n_test)
    check_filled(generators, "generators")
    check_names(generators, GENERATORS, "generator")
    tables = (
        {name: load_dataset(name) for name in datasets or dataset_names()}
        if folder is None
        else read_tables(folder)[0]
    )
    chosen = {check_name(name, tables, "dataset"): tables[name] for name in datasets} or tables
    runs = [
        keyed_run(
            "utility",
            _KEY,
            (name, n, seed, generator),
            name,
            data=data,
            n_synthetic=n_synthetic,
            n_test=min(n_test, table.n_rows - n),
        )
        for name, table in chosen.items()
        for data in [table.content_hash[:16]]
        for n in n_train
        if table.n_rows - n >= _MIN_TEST_ROWS and n >= table.n_classes
        for seed in range(seeds)
        for generator in (REAL, *generators)
    ]
    if not runs:
        raise DataError(
            f"No table of {folder or 'those embedded'} has {min(n_train) + _MIN_TEST_ROWS} rows, "
            "as n_train needs."
        )
    rows, origin = make_rows(
        out, runs, chosen, [*_KEY, *SCORES, *PRIVACY, "seconds", "data"], **computing
    )
    summary = summarise_utility(rows)
    settings = {
        "n_train": list(n_train),
        "seeds": seeds,
        "n_synthetic": n_synthetic,
        "n_test": n_test,
        "generators": list(generators),
        "ctgan_epochs": CTGAN_EPOCHS,
    }
    used = {run.table: chosen[run.table].content_hash for run in runs}
    write_beside(out, summary, make_manifest(settings, used, origin))
    return summary


def perform(run: Run, table: TabularDataset, _: object = None) -> Outcome:
    """Score what learners make of a generator's rows; the seconds are the generator's."""
    settings = run.settings
    name, seed = settings["generator"], settings["seed"]
    train, test = holdout_split(table, settings["n_train"], settings["n_test"], seed)
    started = time.perf_counter()
    X, y = train.X, train.y
    if name != REAL:
        X, y = GENERATORS[name](seed).fit(X, y).sample(settings["n_synthetic"], seed)
    seconds = time.perf_counter() - started
    sources = {"synthetic": (X, y), "both": (X, y)}
    if name != REAL:
        sources["both"] = (pd.concat([train.X, X]), pd.concat([train.y, y]))
    scores = {
        f"{learner}_{source}": transfer_auc(rows, test, learner=learner, seed=seed)
        for learner in LEARNERS
        for source, rows in sources.items()
    }
    attack = (np.nan, np.nan)
    if name != REAL:
        others = test.frame().iloc[: train.n_rows]
        attack = membership_attack(train.frame(), others, X.join(y))
    scores |= dict(zip(PRIVACY, attack, strict=True))
    rounded = {name: round(float(score), 6) for name, score in scores.items()}
    return Outcome(rounded, timings={"seconds": round(seconds, 3)})


def summarise_utility(rows: pd.DataFrame, reference: str = "causal") -> pd.DataFrame:
    """Compare generators over datasets, paired.

    Parameters
    ----------
    rows : pandas.DataFrame
        As `benchmark_utility` writes them. Every dataset counts once: its scores are averaged over
        seeds first.
    reference : str, default="causal"
        The generator whose differences from the others are asked for; NaN without its rows.

    Returns
    -------
    pandas.DataFrame
        A row per n_train, ``score`` (one of `SCORES`; ``mean`` of the learners for each source;
        ``membership_auc``, if the rows have it, of which less is better) and generator:
        ``datasets``, ``auc`` (mean), ``mean_rank`` (among generators, the largest first), and the
        mean paired ``difference`` of the reference minus the generator with its 95 % interval
        ``low`` to ``high`` (`causalmix.benchmarks.comparison.bootstrap_interval` over datasets).
    """
    means = {f"mean_{source}": [f"{each}_{source}" for each in LEARNERS] for source in SOURCES}
    averaged = rows.assign(**{name: rows[scores].mean(axis=1) for name, scores in means.items()})
    records = []
    for n, at_size in averaged.groupby("n_train"):
        for score in (*SCORES, *means, *(PRIVACY[:1] if PRIVACY[0] in rows else ())):
            auc = at_size.pivot_table(index="dataset", columns="generator", values=score)
            ranks = mean_ranks(auc.drop(columns=REAL, errors="ignore"))
            for generator in auc:
                record = {"n_train": n, "score": score, "generator": generator}
                record |= {"datasets": len(auc), "auc": auc[generator].mean()}
                record["mean_rank"] = ranks.get(generator, np.nan)
                against = auc.get(reference, pd.Series(np.nan, auc.index))
                difference = (against - auc[generator]).to_numpy()
                records.append(record | mean_and_interval(difference, "difference"))
    return pd.DataFrame(records)
