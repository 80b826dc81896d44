"""A checkpoint without fine-tuning against the usual classifiers, on every table of a folder.

All methods get the same stratified training and test rows of every table, size and seed. A new
checkpoint leaves the baselines' rows as they are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pandas as pd
from tabpfn.preprocessing import PreprocessorConfig

from causalmix.atomic import replace_file
from causalmix.benchmarks.checkpoints import load_checkpoint
from causalmix.benchmarks.comparison import compare_methods
from causalmix.benchmarks.engine import Outcome, Run
from causalmix.benchmarks.rows import check_counts, csv_path, keyed_run, make_rows, write_beside
from causalmix.data.dataset import TabularDataset
from causalmix.data.folder import read_tables
from causalmix.data.splitting import holdout_split
from causalmix.errors import CausalMixError, DataError, check_name, check_names, check_range
from causalmix.finetuning.metrics import RELIABILITY, SCORES, reliability, score
from causalmix.finetuning.run import predict_proba
from causalmix.manifest import make_manifest
from causalmix.quality.baselines import BASELINES, fit_predict_proba
from causalmix.tfm.model import FoundationModel, TabPFNModel, load_tfm

TFM = "tfm"
"""Name of the checkpoint among the methods."""

METHODS = (TFM, *BASELINES)

DEFAULT_METHODS = (TFM, *(name for name, each in BASELINES.items() if each.extra != "boosting"))
"""Those whose libraries are always there."""

LABELS = {TFM: "CausalMix TFM"} | {name: each.label for name, each in BASELINES.items()}
"""Names of the methods in tables and figures."""

MIN_TEST_ROWS = 50
"""A table that leaves fewer rows for testing is skipped: its ranks would be drawn by lot."""

MAX_SHARED = 1000
"""Most labelled rows where these are a share of the table."""

TRAITS: dict[str, Callable[[TabularDataset], str]] = {
    "rows": lambda table: _band(table.n_rows, (1000, 5000), "rows"),
    "columns": lambda table: _band(table.n_features, (10, 30), "columns"),
    "classes": lambda table: "two classes" if table.n_classes == 2 else "more classes",
    "categories": lambda table: _part(len(table.categorical) / table.n_features, "categories"),
    "missing": lambda table: _part(table.X.isna().to_numpy().mean(), "missing cells"),
}
"""What tables are grouped by: name of the trait → the group of a table."""

_VARIANT = re.compile(
    rf"{TFM}(?::(?P<members>[1-9]\d*))?(?:@(?P<temperature>\d*\.?\d+))?(?:/(?P<preparations>[\w+-]+))?"
)

_KEY = ("dataset", "n_train", "n_test", "seed", "method")


@dataclass(frozen=True)
class Evaluation:
    """Results of `evaluate_tfm`.

    Attributes
    ----------
    rows : DataFrame
        A row per dataset, training size, seed and method: ``dataset``, ``n_train``, ``n_test``,
        ``seed``, ``method``, ``auc``, ``log_loss`` (nats), ``accuracy``, ``seconds`` (fit and
        predict), ``data`` (content hash of the table) and ``model`` (hash of the checkpoint, or
        library and version).
    summary : DataFrame
        As :func:`causalmix.benchmarks.comparison.compare_methods` returns it, for the tables that
        the checkpoint was not tuned on and, where there are any, for the others and for all.
    traits : DataFrame
        As `summarise_traits` returns it.
    manifest : dict
        Settings, versions, data and checkpoint hashes, and what was skipped with the reason.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    traits: pd.DataFrame
    manifest: dict[str, object]


def evaluate_tfm(
    folder: str | Path,
    out: str | Path,
    *,
    tfm: str | Path = "embedded",
    n_train: Sequence[int] = (64, 128, 256, 512),
    share: float | None = None,
    seeds: int = 5,
    n_test: int = 1000,
    methods: Sequence[str] = DEFAULT_METHODS,
    calibration: bool = False,
    tuning: Collection[str] = (),
    target: str | None = None,
    **computing: Any,
) -> Evaluation:
    """Score a checkpoint and the baselines on every table of a folder.

    Parameters
    ----------
    folder : str or Path
        Searched for CSV and Parquet files, subfolders included.
    out : str or Path
        CSV file for the rows; what goes beside it is said in `causalmix.benchmarks.rows`. Here it
        is ``_traits.csv`` too.
    tfm : str or Path, default="embedded"
        Checkpoint as :func:`causalmix.tfm.model.load_tfm` takes it.
    n_train : sequence of int, default=(64, 128, 256, 512)
        Numbers of labelled rows, all of them context or training rows.
    share : float, optional
        Labelled rows as a share of each table's, in the place of `n_train`: at most `MAX_SHARED`
        of them. 0.5 is the protocol of Hollmann et al. (2023), "TabPFN: A transformer that solves
        small tabular classification problems in a second", ICLR, on tables of OpenML-CC18.
    seeds : int, default=5
        Splits of every table and size, from seed 0.
    n_test : int, default=1000
        Test rows at most.
    methods : sequence of str, optional
        Of `METHODS`, by default `DEFAULT_METHODS`; and ``"tfm:MEMBERS@TEMPERATURE"`` for the
        checkpoint with other inference settings than its own, as ``"tfm:8"``, ``"tfm@0.9"`` or
        ``"tfm:8@0.9"``. At the end, ``"/none-onehot+none-numeric"`` lists other preparations of a
        table, over which the members take turns: TabPFN's names for numbers and for categories.
    calibration : bool, default=False
        Whether the rows also hold the expected calibration error and what it is made of
        (`RELIABILITY`).
    tuning : collection of str, default=()
        Names of tables that the checkpoint was chosen on, to be summed up apart.
    target : str, optional
        Target column of all tables; by default the one named ``target``.
    **computing
        As :func:`causalmix.benchmarks.rows.make_rows` takes them.

    Returns
    -------
    Evaluation
        Rows, summary and manifest, also written to files.

    Raises
    ------
    DataError
        If the folder holds no table that can be evaluated, or a number makes no sense.
    UnknownNameError
        If a method or a tuning table is unknown.
    CausalMixError
        If a method fails, a library is missing, or `out` is another file.
    """
    out = csv_path(out)
    check_counts(n_train=n_train, seeds=seeds, n_test=n_test)
    if n_test < MIN_TEST_ROWS:
        raise DataError(f"n_test={n_test} is too few rows to compare on; take {MIN_TEST_ROWS}.")
    if share is not None and not 0 < share < 1:
        raise DataError(f"share is {share}; it lies between 0 and 1.")
    variants = [name for name in methods if _VARIANT.fullmatch(name)]
    check_names([name for name in methods if name not in variants], METHODS, "method")
    model = load_tfm(tfm) if variants else None
    versions = {name: BASELINES[name].version for name in methods if name not in variants}
    versions |= {name: _variant(model, name).run_hash for name in variants}
    tables, skipped = read_tables(folder, target)
    known = [*tables, *(entry["dataset"] for entry in skipped)]
    check_names(tuning, known, "tuning dataset")

    ordered = sorted(set(methods), key=[*METHODS, *variants].index)
    sizes = {
        name: _sizes(table, _wanted(table, n_train, share), model, skipped)
        for name, table in tables.items()
    }
    runs = [
        keyed_run(
            "baseline" if method in BASELINES else "zero_shot",
            _KEY,
            (name, n, min(n_test, table.n_rows - n), seed, method),
            name,
            {"tfm": str(tfm)},
            data=data,
            model=versions[method],
        )
        for name, table in tables.items()
        for data in [table.content_hash[:16]]
        for n in sizes[name]
        for seed in range(seeds)
        for method in ordered
    ]
    if not runs:
        raise DataError(f"Nothing to evaluate in {folder}:\n{describe_skipped(skipped)}")
    values = (*SCORES, *(RELIABILITY if calibration else ()), "seconds")
    rows, origin = make_rows(out, runs, tables, [*_KEY, *values, "data", "model"], **computing)
    compared = rows if share is None else rows.assign(n_train=f"{share:.0%}")
    summary = _summarise(compared, tuning)
    traits = summarise_traits(compared, tables)
    manifest = make_manifest(
        {
            "folder": Path(folder).resolve().name,
            "n_train": list(n_train) if share is None else None,
            "share": share,
            "seeds": seeds,
            "n_test": n_test,
            "methods": versions,
            "tfm": model and model.source,
            "checkpoint": model
            and {"file_hash": model.file_hash, "content_hash": model.content_hash},
            "tuning": sorted(tuning),
        },
        {name: table.content_hash for name, table in tables.items() if sizes[name]},
        origin,
    )
    manifest["skipped"] = skipped
    write_beside(out, summary, manifest)
    replace_file(out.with_name(f"{out.stem}_traits.csv"), lambda p: traits.to_csv(p, index=False))
    return Evaluation(rows, summary, traits, manifest)


def summarise_traits(rows: pd.DataFrame, tables: Mapping[str, TabularDataset]) -> pd.DataFrame:
    """Compare the checkpoint with the best other method by traits of the tables.

    Parameters
    ----------
    rows : DataFrame
        As in `Evaluation`.
    tables : mapping of str to TabularDataset
        The tables behind them, by name.

    Returns
    -------
    DataFrame
        A row per trait of `TRAITS`, group and training size: ``datasets``, ``auc`` of the
        checkpoint, ``rival`` (the other method with the highest mean ROC-AUC on these tables,
        picked after the fact), ``auc_difference`` and its 95 % interval over tables ``auc_low``
        and ``auc_high``. Empty where there is no other method.
    """
    found = []
    for trait, group_of in TRAITS.items():
        groups = rows["dataset"].map({name: group_of(table) for name, table in tables.items()})
        for group, part in rows.groupby(groups):
            for n_train, table in compare_methods(part, reference=TFM).groupby("n_train"):
                others = table[table["method"] != TFM]
                if len(others) and len(others) < len(table):
                    rival = others.loc[others["auc"].idxmax()]
                    ours = table.loc[table["method"] == TFM, ["datasets", "auc"]].iloc[0]
                    kept = rival[["auc_difference", "auc_low", "auc_high"]]
                    named = {"trait": trait, "group": group, "n_train": n_train, **ours}
                    found.append(named | {"rival": rival["method"], **kept})
    return pd.DataFrame(found)


def read_variant(method: str) -> tuple[int | None, float | None, str | None]:
    """Read the inference settings in the name of a method, as ``"tfm:8@0.9"``.

    Parameters
    ----------
    method : str
        A variant of the checkpoint.

    Returns
    -------
    members : int or None
        Of the ensemble; None for the checkpoint's own number.
    temperature : float or None
        Of the softmax; None for the checkpoint's own.
    preparations : str or None
        Of the table; None for the checkpoint's own.
    """
    members, temperature, preparations = _VARIANT.fullmatch(method).groups()
    return members and int(members), temperature and float(temperature), preparations


def describe_skipped(skipped: Sequence[dict[str, object]]) -> str:
    """Write down what was skipped and why.

    Parameters
    ----------
    skipped : sequence of dict
        With ``dataset``, ``n_train`` and ``reason``.

    Returns
    -------
    str
        One line an entry.
    """
    return "\n".join(
        f"  {entry['dataset']}{_at(entry['n_train'])}: {entry['reason']}" for entry in skipped
    )


def _at(sizes: Sequence[int] | None) -> str:
    return f" at {', '.join(map(str, sizes))} rows" if sizes else ""


def describe(evaluation: Evaluation) -> str:
    """Write down the outcome in a few lines.

    Parameters
    ----------
    evaluation : Evaluation
        Of one or more methods.

    Returns
    -------
    str
        Mean rank and mean scores per training size, and what was skipped.
    """
    columns = ["tables", "n_train", "method", "datasets", "mean_rank", *SCORES, "auc_difference"]
    lines = [evaluation.summary[columns].round(4).to_string(index=False, na_rep="")]
    if evaluation.manifest["skipped"]:
        lines += ["Skipped:", describe_skipped(evaluation.manifest["skipped"])]
    return "\n".join(lines)


def _variant(model: FoundationModel, name: str) -> FoundationModel:
    """Give a checkpoint the inference settings in the name of a method."""
    return model.with_settings(**_settings(name, model))


def _settings(variant: str, model: FoundationModel) -> dict[str, object]:
    members, temperature, preparations = read_variant(variant)
    if temperature is not None:
        check_range(temperature, "(0, inf)", f"temperature of {variant!r}")
    found = {"N_ESTIMATORS": members, "SOFTMAX_TEMPERATURE": temperature}
    if preparations is not None:
        if not isinstance(model, TabPFNModel):
            raise CausalMixError(f"{variant!r} names preparations that only TabPFN's models have.")
        own = model.inference_config.PREPROCESS_TRANSFORMS[0]
        known = get_type_hints(PreprocessorConfig)
        transforms = []
        for each in preparations.split("+"):
            numbers, _, categories = each.partition("-")
            check_name(numbers, get_args(known["name"]), "preparation of numbers")
            check_name(categories, get_args(known["categorical_name"]), "preparation of categories")
            transforms.append(replace(own, name=numbers, categorical_name=categories))
        found["PREPROCESS_TRANSFORMS"] = transforms
    return {name: value for name, value in found.items() if value is not None}


def _wanted(table: TabularDataset, n_train: Sequence[int], share: float | None) -> Sequence[int]:
    """Return the training sizes that are asked for of a table."""
    return n_train if share is None else [min(MAX_SHARED, round(share * table.n_rows))]


def _band(value: int, cuts: tuple[int, int], what: str) -> str:
    low, high = cuts
    if value <= low:
        return f"up to {low:,} {what}"
    return f"up to {high:,} {what}" if value <= high else f"over {high:,} {what}"


def _part(share: float, what: str) -> str:
    if share == 0:
        return f"no {what}"
    return f"up to half {what}" if share <= 0.5 else f"over half {what}"


def _sizes(
    table: TabularDataset,
    n_train: Sequence[int],
    model: FoundationModel | None,
    skipped: list[dict[str, object]],
) -> list[int]:
    """Return the training sizes that suit a table; note the others with the reason."""
    reasons: dict[str, list[int]] = {}
    for n in n_train:
        try:
            if model is not None:
                model.check(n, table.n_features, table.n_classes)
            if n < table.n_classes:
                raise DataError(f"Every one of {table.n_classes} classes needs a training row.")
            if (table.y.value_counts() >= 2).sum() < 2:
                raise DataError("Fewer than two classes have a row to train on and one to test on.")
            if table.n_rows - n < MIN_TEST_ROWS:
                raise DataError(
                    f"Of {table.n_rows} rows, fewer than {MIN_TEST_ROWS} are left for testing."
                )
        except DataError as error:
            reasons.setdefault(str(error), []).append(n)
    for reason, sizes in reasons.items():
        every = None if len(sizes) == len(n_train) else sizes
        skipped.append({"dataset": table.name, "n_train": every, "reason": reason})
    return [n for n in n_train if not any(n in sizes for sizes in reasons.values())]


def perform(run: Run, table: TabularDataset, _: object = None) -> Outcome:
    """Score a method on a split."""
    settings = run.settings
    method, seed = settings["method"], settings["seed"]
    train, test = holdout_split(table, settings["n_train"], settings["n_test"], seed)
    model = None
    if method not in BASELINES:
        model = load_variant(run.places["tfm"], settings["model"], method)
    start = time.perf_counter()
    if model is None:
        proba = fit_predict_proba(method, train, test.X, seed=seed)
    else:
        proba = predict_proba(model, train, test.X, random_state=seed)
    seconds = time.perf_counter() - start
    y = test.y.cat.codes.to_numpy()
    scores = score(y, proba) | reliability(y, proba)
    rounded = {name: round(float(value), 6) for name, value in scores.items()}
    return Outcome(rounded, timings={"seconds": round(seconds, 4)})


def load_variant(tfm: str, run_hash: str, method: str = TFM) -> FoundationModel:
    """Load the checkpoint of a run, once a process, with the settings in the name of a method."""
    return load_checkpoint(tfm, run_hash, change=partial(_variant, name=method))


def _summarise(rows: pd.DataFrame, tuning: Collection[str]) -> pd.DataFrame:
    """Compare the methods on tables that the checkpoint was not tuned on, on the others, on all."""
    tuned = rows["dataset"].isin(list(tuning))
    parts = {"held-out": rows[~tuned], "tuning": rows[tuned]}
    parts["all"] = rows if tuned.any() else rows[:0]
    summaries = {
        name: compare_methods(part, reference=TFM) for name, part in parts.items() if len(part)
    }
    return pd.concat(summaries, names=["tables"]).reset_index(0).reset_index(drop=True)
