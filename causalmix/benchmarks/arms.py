"""Arms compared on the same splits of several datasets.

An *arm* is a way to predict with the rows of a small table: the foundation model as it is, after
fine-tuning on real rows, after fine-tuning on real and other rows, or another classifier. All arms
of a split have the same rows and the same fine-tuning seed, so that their differences are paired.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.atomic import check_writable, replace_file
from causalmix.benchmarks.alternatives import ALTERNATIVES, zero_shot
from causalmix.benchmarks.checkpoints import load_checkpoint
from causalmix.benchmarks.engine import Outcome, Run, compute
from causalmix.benchmarks.store import Store
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset
from causalmix.data.splitting import Split, holdout_split, low_data_split
from causalmix.discovery.options import DiscoveryOptions
from causalmix.errors import (
    CausalMixError,
    check_filled,
    check_names,
    check_seed,
    check_whole,
)
from causalmix.finetuning.config import MIXED_ROWS, FinetuneConfig
from causalmix.finetuning.fit_input import seeded_generator
from causalmix.finetuning.metrics import score
from causalmix.finetuning.report import make_report
from causalmix.finetuning.run import finetune
from causalmix.finetuning.stopping import UNTESTED
from causalmix.generation.base import WrappingGenerator
from causalmix.generation.causal import CausalGenerator
from causalmix.generation.registry import Generator
from causalmix.manifest import make_manifest, write_json
from causalmix.quality.baselines import BASELINES, fit_predict_proba
from causalmix.tfm.device import device_name
from causalmix.tfm.model import load_tfm

ZERO_SHOT, FINETUNED = "zero_shot", "finetuned"
"""Two methods of an arm. The first is one of `causalmix.benchmarks.alternatives.ALTERNATIVES`; the
names of these and of `causalmix.quality.baselines.BASELINES` are the other methods."""


@dataclass(frozen=True)
class Arm:
    """One way to predict with the rows of a small table.

    Parameters
    ----------
    label : str
        As figures and tables name it.
    method : str, default="finetuned"
        ``"finetuned"``, or the name of an alternative or another classifier.
    generator : str or None, default=None
        Name of the generator whose rows are trained on.
    options : dict, optional
        Keyword arguments of the generator.
    config : dict, optional
        Settings of the `FinetuneConfig` that belong to the arm.
    members : int, optional
        Of the ensemble; by default as many as the checkpoint asks for.
    reseeded : bool, default=False
        Whether its seed is another than that of the other arms: what chance alone changes.
    repeats : int, default=1
        Fine-tuning runs whose predictions are averaged, the others on other splits of training and
        validation rows. Step, reason and timings of its row are those of the first.
    all_rows : bool, default=False
        Whether the validation rows are trained on as well; validation then says nothing, and the
        rule must be one that does not ask it.
    """

    label: str
    method: str = FINETUNED
    generator: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)
    members: int | None = None
    reseeded: bool = False
    repeats: int = 1
    all_rows: bool = False


PURIFIED = "_purified"
"""At the end of the name of an arm whose generator is purified."""

_LABELS = {
    "causal": "CausalMix",
    "causal_sampled": "CausalMix, sampled",
    "causal_paper": "CausalMixFT (paper)",
    "causal_label": "CausalMix, causes of the label",
    "causal_posterior": "CausalMix, posterior",
    "causal_tfm_label": "CausalMix, labels by a TFM",
    "causal_base_labels": "CausalMix, labels of the base model",
    "causal_permuted": "Permuted labels",
    "smote_nc": "SMOTE-NC",
    "perturbation": "Row perturbation",
    "mixup": "Mixup",
    "copula": "Gaussian copula",
    "copula_base_labels": "Copula, labels of the base model",
    "ctgan": "CTGAN",
    "tabebm": "TabEBM",
    "tfm_conditional": "TFM by column",
    "tfm_conditional_reverse": "TFM by column, reversed",
    "tfm_conditional_random": "TFM by column, random order",
    "tfm_conditional_dag": "TFM by cause",
    "tfm_conditional_cpdag": "TFM by CPDAG",
    "tfm_conditional_drawn": "TFM by drawn causes",
}
_GRAPHS = {
    "empty": "No edges",
    "shuffled": "Shuffled graph",
    "random": "Random graph",
    "complete": "Complete graph",
}
_PURIFIED = ("causal", "causal_paper", "ctgan", "tabebm")
_WITH_REHEARSAL = ("causal", "causal_shuffled", "smote_nc")


_REAL_ROWS: dict[str, object] = {"rehearsal": 0.0}
_LAST_STEP: dict[str, object] = {"rule": "last", "level": UNTESTED}


def _arms() -> dict[str, Arm]:
    """Fine-tuning on real rows, with tasks of the prior, and with each generator's rows."""
    arms = {name: Arm(each.label, name) for name, each in ALTERNATIVES.items()}
    arms |= {
        "zero_shot_reseeded": Arm("Zero-shot, other members", ZERO_SHOT, reseeded=True),
        "default": Arm("Default fine-tuning", config=_REAL_ROWS),
        "rehearsal": Arm("Rehearsal", config={"rehearsal": 0.5}),
        "default_all_rows": Arm(
            "Default, no validation rows", config=_REAL_ROWS | _LAST_STEP, all_rows=True
        ),
        "default_repeated": Arm("Default, mean of three splits", config=_REAL_ROWS, repeats=3),
    }
    arms |= {name: Arm(label, generator=name) for name, label in _LABELS.items()}
    for graph, label in _GRAPHS.items():
        name, other = f"causal_{graph}", f"causal_{graph}_label"
        arms |= {
            name: Arm(label, generator=name),
            other: Arm(f"{label}, label's too", generator=other),
        }
    for name in _WITH_REHEARSAL:
        arms[f"{name}_rehearsal"] = replace(
            arms[name],
            label=f"{arms[name].label} and rehearsal",
            config={"synthetic_tasks": 0.25, "rehearsal": 0.25},
        )
    arms["causal_paper"] = replace(arms["causal_paper"], config=MIXED_ROWS)
    for name in _PURIFIED:
        label = f"{arms[name].label} (purified)"
        arms[name + PURIFIED] = replace(arms[name], label=label, options={"purified": True})
    return arms | {name: Arm(each.label, name) for name, each in BASELINES.items()}


ARMS = _arms()
"""By name: without fine-tuning, with it by the name of the generator, and other classifiers."""

ARM_LABELS = {name: arm.label for name, arm in ARMS.items()}

DEFAULT_ARMS = ("zero_shot", "default", "rehearsal", "causal_rehearsal", "smote_nc_rehearsal")


KIND = "finetuning"
"""Of these runs, in `causalmix.benchmarks.engine.KINDS`."""


@dataclass(frozen=True)
class Rows:
    """Which rows of a table a run gets.

    Attributes
    ----------
    n_train, n_val : int
        Rows for training and for validation.
    n_test : int or None
        Test rows at most; None takes all that are left.
    split : int
        Seed that draws them.
    """

    n_train: int
    n_val: int
    n_test: int | None
    split: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Rows:
        """Pick them from the settings of a run."""
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__})

    def draw(self, table: TabularDataset) -> Split:
        """Draw them as `causalmix.data.splitting.low_data_split` does."""
        return low_data_split(table, self.n_train, self.n_val, self.split, n_test=self.n_test)


@dataclass(frozen=True)
class BenchmarkResult:
    """Tidy results of a benchmark.

    Attributes
    ----------
    scores : DataFrame
        A row per dataset, seed and arm: test ``auc``, ``log_loss`` (nats) and ``accuracy`` with
        training and validation rows as context, ``best_step``, ``reason`` (why that step was kept,
        and what ended the run), ``generator_seconds`` and ``seconds``.
    histories : DataFrame
        The fine-tuning histories, with columns ``dataset``, ``seed`` and ``arm`` in front.
    manifest : dict
        Settings, versions, data and checkpoint hashes that produced them.
    """

    scores: pd.DataFrame
    histories: pd.DataFrame
    manifest: dict[str, object]


def run_benchmark(
    datasets: Sequence[str | TabularDataset],
    *,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: Sequence[int] = (0, 1, 2),
    n_train: int = 100,
    n_val: int = 30,
    n_test: int | None = 500,
    target: str | None = None,
    tfm: str | Path = "embedded",
    config: FinetuneConfig | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    progress: bool = False,
) -> BenchmarkResult:
    """Run every arm on every split of every dataset.

    Parameters
    ----------
    datasets : sequence of str or TabularDataset
        Names or files as :func:`causalmix.data.dataset.load_dataset` takes them, or loaded tables.
    arms : sequence of str, optional
        Keys of `ARMS`; `DEFAULT_ARMS` by default. ``"zero_shot"`` is needed for the improvements.
    seeds : sequence of int, default=(0, 1, 2)
        One split and one fine-tuning run per arm each.
    n_train, n_val : int, default=100 and 30
        Rows of the training and the validation part.
    n_test : int or None, default=500
        Test rows at most; None takes all that are left.
    target : str, optional
        Target column of datasets given as files; embedded ones keep their own.
    tfm : str or Path, default="embedded"
        Checkpoint as :func:`causalmix.tfm.model.load_tfm` takes it.
    config : FinetuneConfig, optional
        Settings shared by all arms, but for the sizes of tasks: see `make_run`. By default half of
        the tasks of an arm with a generator are of its rows and none of the prior, unless the arm
        says otherwise.
    out : str or Path, optional
        Folder of a :class:`~causalmix.benchmarks.store.Store`. Runs found there are not made again,
        so an interrupted benchmark resumes. ``scores.csv``, ``histories.csv`` and
        ``manifest.json`` of the benchmark asked for are written into it.
    workers : int, default=0
        Processes; 0 runs in this one.
    progress : bool, default=False
        Whether to show a progress bar on standard error.

    Returns
    -------
    BenchmarkResult
        Scores, histories and manifest.

    Raises
    ------
    UnknownNameError
        If an arm or a dataset is unknown.
    CausalMixError
        If `datasets`, `arms` or `seeds` is empty, a seed or a number of rows is none, `out` cannot
        be written, two datasets share a name, or a run fails.
    """
    for name, values in (("datasets", datasets), ("arms", arms), ("seeds", seeds)):
        check_filled(values, name)
    for seed in seeds:
        check_seed(seed, "seeds")
    for name, rows in (("n_train", n_train), ("n_val", n_val), ("n_test", n_test)):
        if rows is not None:
            check_whole(rows, 1, name)
    check_names(arms, ARMS, "arm")
    if out is not None:
        check_writable(Path(out), folder=True)
    tables = {table.name: table for table in (_as_table(item, target) for item in datasets)}
    if len(tables) < len(datasets):
        raise CausalMixError(
            f"{len(datasets)} datasets have {len(tables)} names: {', '.join(sorted(tables))}. Two "
            "of them share one."
        )
    model, config = load_tfm(tfm), config or FinetuneConfig(synthetic_tasks=0.5)
    splits = {seed: Rows(n_train, n_val, n_test, seed) for seed in seeds}
    weights, runs = model.run_hash, []
    for table in tables.values():
        splits[seeds[0]].draw(table)  # what cannot be drawn is an error before any work
        data = table.content_hash
        runs += [
            make_run(name, ARMS[name], table, data, rows, seed, weights, config, tfm=tfm)
            for seed, rows in splits.items()
            for name in arms
        ]
    store = Store(out)
    compute(runs, store, tables, workers=workers, retry=True, progress=progress)
    raise_failures(store, runs)
    settings = {"n_train": n_train, "n_val": n_val, "n_test": n_test, "config": asdict(config)}
    manifest = make_manifest(
        settings | {"checkpoint": model.content_hash, "arms": list(arms), "seeds": list(seeds)},
        data={table.name: table.content_hash for table in tables.values()},
        origin=store.origin(run.key for run in runs),
    )
    return _collect(store, runs, manifest, out)


def make_run(
    name: str,
    arm: Arm,
    table: TabularDataset,
    data: str,
    rows: Rows,
    seed: int,
    weights: str,
    config: FinetuneConfig,
    *,
    tfm: str | Path = "embedded",
    device: str = "cpu",
    record_blends: bool = False,
) -> Run:
    """Describe the run of an arm on a split.

    The arms are alike in all but what they are about: tasks have as many rows as there are
    training rows, a synthetic one too, and one rule chooses the weights.

    Parameters
    ----------
    name : str
        Of the arm.
    arm : Arm
    table : TabularDataset
    data : str
        Content hash of the table.
    rows : Rows
    seed : int
        Of the generator and of the fine-tuning.
    weights : str
        `causalmix.tfm.model.FoundationModel.run_hash` of the model to start from.
    config : FinetuneConfig
        Shared by all arms; an arm's own settings come on top.
    tfm : str or Path, default="embedded"
        Where workers find the model, as :func:`causalmix.tfm.model.load_tfm` takes it.
    device : str, default="cpu"
        Where they run it.
    record_blends : bool, default=False
        As :func:`causalmix.finetuning.run.finetune` takes it.

    Returns
    -------
    Run

    Raises
    ------
    CausalMixError
        If the arm trains on all rows and its rule asks the validation rows.
    """
    seed += RESEEDED if arm.reseeded else 0
    own = replace(config, **arm.config)
    if arm.all_rows and (own.rule, own.level) != ("last", UNTESTED):
        raise CausalMixError(
            f"The arm {name!r} trains on all rows (all_rows), so that none can judge it: give it "
            f"the rule 'last' and the level 1, not {own.rule!r} and {own.level:g}."
        )
    n_train = rows.n_train + (rows.n_val if arm.all_rows else 0)
    n_pool = n_train * (2 if arm.options.get("purified") else 1)
    causal = _causal(seeded_generator(arm.generator, arm.options, seed))
    n_models = causal.n_dags if causal else _NO_MODELS
    own = replace(own, rows_per_task=n_train, n_synthetic=n_models * n_pool)
    trains = arm.method == FINETUNED
    shares = causal and arm.repeats == 1 and not arm.all_rows
    settings = {
        "dataset": table.name,
        "data": data,
        **asdict(rows),
        "seed": seed,
        "arm": name,
        "method": arm.method,
        "generator": arm.generator,
        "options": dict(arm.options),
        "search": _search(causal) if shares else None,
        "config": asdict(own) if trains else None,
        "members": arm.members,
        "repeats": arm.repeats,
        "all_rows": arm.all_rows,
        "record_blends": record_blends and trains,
        "weights": None if arm.method in BASELINES else weights,
    }
    places = {"tfm": str(tfm), "device": device}
    label = f"{table.name} split {rows.split} {name}"
    return Run(KIND, settings, table.name, places, label, _seconds(arm, own, table, rows))


def prepare(run: Run, table: TabularDataset) -> dict[str, object] | None:
    """Search the graph that all arms of a split with the same search share.

    Parameters
    ----------
    run : Run
        One of those arms.
    table : TabularDataset

    Returns
    -------
    dict or None
        ``edges`` and ``seconds``; None where no graph is needed.
    """
    settings = run.settings
    if settings["search"] is None:
        return None
    start = time.perf_counter()
    train = Rows.of(settings).draw(table).train
    generator = seeded_generator(settings["generator"], settings["options"], settings["seed"])
    edges = _causal(generator).discover(train.X, train.y)
    return {"edges": edges, "seconds": time.perf_counter() - start}


def perform(
    run: Run, table: TabularDataset, prepared: Mapping[str, object] | None = None
) -> Outcome:
    """Make a run of `make_run`.

    Training and validation rows together are the context of the final prediction, for every arm.

    Parameters
    ----------
    run : Run
    table : TabularDataset
    prepared : mapping, optional
        As `prepare` returns it; without it an arm that needs a graph searches it.

    Returns
    -------
    Outcome
        Scores, and the history of a fine-tuning run.

    Raises
    ------
    CausalMixError
        If the model at the place that the run names is another one.
    """
    settings = run.settings
    rows, seed, method = Rows.of(settings), settings["seed"], settings["method"]
    split = rows.draw(table)
    y = split.test.y.cat.codes.to_numpy()
    if method in BASELINES:
        proba = fit_predict_proba(method, split.context(), split.test.X, seed=seed)
        return Outcome(score(y, proba))
    model = load_checkpoint(run_hash=settings["weights"], **run.places)
    if settings["members"]:
        model = model.with_settings(N_ESTIMATORS=settings["members"])
    if method != FINETUNED:
        proba = ALTERNATIVES[method].predict(model, split, seed)
        return Outcome(score(y, proba), device=device_name(model.device))
    options = dict(settings["options"])
    if prepared:
        options["edges"] = prepared["edges"]
    plain = settings["repeats"] == 1 and not settings["all_rows"]
    results = [
        finetune(
            model,
            part,
            generator=seeded_generator(settings["generator"], options, seed),
            config=FinetuneConfig(**settings["config"]),
            seed=seed,
            record_test=plain,  # a curve of one of several runs, or of rows seen, says nothing
            record_blends=settings["record_blends"] and plain,
        )
        for part in _parts(split, settings)
    ]
    tuned = [zero_shot(result.tfm, split, seed) for result in results]
    result = results[0]
    report = make_report(result, n_val=rows.n_val, seconds=0.0)
    chosen = {"best_step": report.best_step, "reason": report.reason}
    history = result.history
    timings = {"generator_seconds": result.generator_seconds}
    timings["search_seconds"] = prepared["seconds"] if prepared else 0.0
    timings["validation_seconds"] = history["seconds"].tolist()
    curves = history.drop(columns="seconds").round(7)
    curves = curves.astype(object).where(curves.notna(), None).to_dict("list")
    scores = score(y, np.mean(tuned, axis=0))
    return Outcome(scores | chosen, curves, timings, device_name(model.device))


def _parts(split: Split, settings: Mapping[str, Any]) -> list[Split]:
    """Return what is trained on and validated with, run by run."""
    rows = split.context()
    if settings["all_rows"]:
        return [replace(split, train=rows)]
    others = (
        holdout_split(rows, split.train.n_rows, split.val.n_rows, settings["seed"] + k)
        for k in range(1, settings["repeats"])
    )
    return [split, *(replace(split, train=train, val=val) for train, val in others)]


def raise_failures(store: Store, runs: Sequence[Run]) -> None:
    """Raise if a run failed.

    Parameters
    ----------
    store : Store
    runs : sequence of Run

    Raises
    ------
    CausalMixError
        With the last line of the first failure, and the number of others.
    """
    failed = [run for run in runs if store[run.key]["status"] == "failed"]
    if failed:
        last = store.why(failed[0].key)
        others = f" So did {len(failed) - 1} others." if len(failed) > 1 else ""
        raise CausalMixError(f"The run {failed[0].label} failed: {last}{others}")


def _causal(generator: Generator | None) -> CausalGenerator | None:
    """Return the causal generator within a generator, if there is one."""
    while isinstance(generator, WrappingGenerator):
        generator = generator.generator
    return generator if isinstance(generator, CausalGenerator) else None


def _search(causal: CausalGenerator) -> dict[str, Any] | None:
    """Return what decides the search of a generator; None for one that needs none."""
    if not causal.searches:
        return None
    names = [each.name for each in fields(DiscoveryOptions)]
    return {name: getattr(causal, name) for name in names if name not in _NO_RESULT}


_NO_RESULT = ("n_jobs", "progress", "time_limit", "knowledge")  # arms have none of the last two

RESEEDED = 1_000_000
"""Added to the seeds of arms with other members."""

_NO_MODELS = 10  # times the training rows is the pool of a generator without causal models


def _seconds(arm: Arm, config: FinetuneConfig, table: TabularDataset, rows: Rows) -> float:
    """Estimate the time of a run on one core: cells that go through the network, and discovery."""
    width = table.n_features + 16  # a row costs as much as 16 cells
    cells = 2 * (rows.n_train + rows.n_val + (rows.n_test or table.n_rows)) * width
    if arm.method == FINETUNED:
        validations = 1 + config.steps // config.validate_every
        cells *= 1 + validations
        cells += 3 * config.steps * config.tasks_per_step * rows.n_train * width
        cells *= arm.repeats
    seconds = 1 + 1e-5 * cells if arm.method not in BASELINES else 0.5
    return seconds + (0.2 * table.n_features if "causal" in (arm.generator or "") else 0.0)


def _as_table(item: str | TabularDataset, target: str | None) -> TabularDataset:
    if isinstance(item, TabularDataset):
        return item
    return load_dataset(item, target=None if item in dataset_names() else target)


def _collect(
    store: Store, runs: Sequence[Run], manifest: dict[str, object], out: str | Path | None
) -> BenchmarkResult:
    scores, histories = [], []
    for run in runs:
        row, settings = store[run.key], run.settings
        where = {name: settings[name] for name in ("dataset", "seed", "arm")}
        timings = json.loads(row["timings"])
        outcome = {"best_step": 0, "reason": "Nothing was trained."} | json.loads(row["outcome"])
        times = {
            "generator_seconds": timings.get("generator_seconds", 0.0),
            "seconds": row["seconds"],
        }
        scores.append(where | outcome | times)
        if row["curves"]:
            history = pd.DataFrame(json.loads(row["curves"])).astype(float)
            history["seconds"] = timings["validation_seconds"]
            histories.append(history.assign(**where)[[*where, *history.columns]])
    history = pd.concat(histories) if histories else pd.DataFrame()
    result = BenchmarkResult(pd.DataFrame(scores), history, manifest)
    if out is not None:
        for name, table in (("scores", result.scores), ("histories", result.histories)):
            replace_file(Path(out) / f"{name}.csv", partial(table.to_csv, index=False))
        write_json(Path(out) / "manifest.json", manifest)
    return result
