"""Arms compared on the same splits of several datasets.

An *arm* is a way to adapt the foundation model: not at all, by fine-tuning on real rows, or by
fine-tuning on real and synthetic rows. All arms of one dataset and seed share one split and one
fine-tuning seed, so that their differences are paired.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from causalmix.atomic import check_writable, make_folder, replace_file
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset
from causalmix.data.splitting import Split, low_data_split
from causalmix.errors import (
    CausalMixError,
    check_filled,
    check_name,
    check_names,
    check_seed,
    check_whole,
    naming,
)
from causalmix.finetuning.config import MIXED_ROWS, FinetuneConfig
from causalmix.finetuning.fit_input import seeded_generator
from causalmix.finetuning.metrics import score
from causalmix.finetuning.report import make_report
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.manifest import make_manifest, read_json, write_json
from causalmix.tfm.model import FoundationModel, load_tfm


@dataclass(frozen=True)
class Arm:
    """One way to adapt the foundation model to a table.

    Parameters
    ----------
    label : str
        As figures and tables name it.
    finetuned : bool, default=True
        Whether weights are updated at all.
    generator : str or None, default=None
        Name of the generator whose rows are mixed in.
    options : dict, optional
        Keyword arguments of the generator.
    mixing : dict, optional
        Settings of the `FinetuneConfig` that belong to the arm.
    """

    label: str
    finetuned: bool = True
    generator: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    mixing: dict[str, object] = field(default_factory=dict)


PURIFIED = "_purified"
"""At the end of the name of an arm whose generator is purified."""

_GENERATOR_LABELS = {
    "causal": "CausalMixFT",
    "smote_nc": "SMOTE-NC",
    "perturbation": "Row perturbation",
    "mixup": "Mixup",
    "copula": "Gaussian copula",
    "causal_sampled": "CausalMixFT, sampled",
    "causal_paper": "CausalMixFT (paper)",
    "ctgan": "CTGAN",
    "tabebm": "TabEBM",
    "tfm_conditional": "TFM by column",
    "tfm_conditional_dag": "TFM by cause",
}


def _arms() -> dict[str, Arm]:
    """Fine-tuning on real rows, and with each generator's rows as they are and purified."""
    unmixed = {
        "zero_shot": Arm("Zero-shot", finetuned=False),
        "default": Arm("Default fine-tuning"),
    }
    mixed = {name: Arm(label, generator=name) for name, label in _GENERATOR_LABELS.items()}
    mixed["causal_paper"] = replace(mixed["causal_paper"], mixing=MIXED_ROWS)
    purified = {
        name + PURIFIED: replace(arm, label=f"{arm.label}, purified", options={"purified": True})
        for name, arm in mixed.items()
    }
    return unmixed | mixed | purified


ARMS = _arms()
"""By name: ``zero_shot``, ``default``, and ``GENERATOR`` and ``GENERATOR_purified`` for each."""

ARM_LABELS = {name: arm.label for name, arm in ARMS.items()}

DEFAULT_ARMS = ("zero_shot", "default", "causal", "smote_nc", "perturbation")


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
    tfm: FoundationModel | None = None,
    config: FinetuneConfig | None = None,
    out: str | Path | None = None,
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
    tfm : FoundationModel, optional
        Defaults to the embedded one.
    config : FinetuneConfig, optional
        Settings shared by all arms.
    out : str or Path, optional
        Folder for ``scores.csv``, ``histories.csv`` and ``manifest.json``. Finished runs found
        there are not run again, so an interrupted benchmark resumes.
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
        If `datasets`, `arms` or `seeds` is empty, a seed or a number of rows is none, `out` holds
        results of other settings, has a damaged file or cannot be written, or two datasets share a
        name.
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
    tables = [_as_table(item, target) for item in datasets]
    names = [table.name for table in tables]
    if len(set(names)) < len(names):
        raise CausalMixError(f"Two datasets share a name: {', '.join(sorted(names))}.")
    tfm = tfm or load_tfm()
    config = config or FinetuneConfig()
    settings = {
        "n_train": n_train,
        "n_val": n_val,
        "n_test": n_test,
        "config": asdict(config),
        "checkpoint": tfm.content_hash,
    }
    store = _RunStore(Path(out) if out is not None else None, settings)
    plan = [(table, seed, arm) for table in tables for seed in seeds for arm in arms]
    bar = tqdm(plan, desc="benchmark", unit="run", disable=not progress)
    for table, seed, arm in bar:
        bar.set_postfix_str(f"{table.name} seed {seed} {arm}")
        key = (table.name, table.content_hash, seed, arm)
        if key not in store.runs:
            split = low_data_split(table, n_train, n_val, seed, n_test=n_test)
            store.add(key, run_arm(arm, split, tfm=tfm, config=config))
    manifest = make_manifest(
        settings | {"arms": list(arms), "seeds": list(seeds)},
        data={table.name: table.content_hash for table in tables},
    )
    keys = [(table.name, table.content_hash, seed, arm) for table, seed, arm in plan]
    return store.collect(keys, manifest)


def run_arm(
    arm: str, split: Split, *, tfm: FoundationModel, config: FinetuneConfig
) -> tuple[dict[str, object], pd.DataFrame]:
    """Adapt the model by one arm and score it on the split's test rows.

    Training and validation rows together are the context of the final prediction, for every
    arm. The split's seed is also the seed of the fine-tuning run.

    Parameters
    ----------
    arm : str
        Key of `ARMS`.
    split : Split
        Training, validation and test rows.
    tfm : FoundationModel
        The model to start from.
    config : FinetuneConfig
        Settings of the fine-tuning run.

    Returns
    -------
    scores : dict
        As a row of `BenchmarkResult.scores`.
    history : DataFrame
        Of the run; empty for zero-shot.

    Raises
    ------
    UnknownNameError
        If `arm` is unknown.
    """
    spec = ARMS[check_name(arm, ARMS, "arm")]
    start = time.perf_counter()
    adapted, history = tfm, pd.DataFrame()
    run = {"best_step": 0, "reason": "Nothing was trained.", "generator_seconds": 0.0}
    if spec.finetuned:
        generator = seeded_generator(spec.generator, spec.options, split.seed)
        config = replace(config, **spec.mixing)
        result = finetune(
            tfm, split, generator=generator, config=config, seed=split.seed, record_test=True
        )
        adapted, history = result.tfm, result.history
        sizes = {"n_train": split.train.n_rows, "n_val": split.val.n_rows}
        report = make_report(result, **sizes, seconds=time.perf_counter() - start)
        run = {name: getattr(report, name) for name in run}
    # With the ensemble members that the run was validated with.
    proba = predict_proba(adapted, split.context(), split.test.X, random_state=split.seed)
    y = split.test.y.cat.codes.to_numpy()
    return score(y, proba) | run | {"seconds": time.perf_counter() - start}, history


def _as_table(item: str | TabularDataset, target: str | None) -> TabularDataset:
    if isinstance(item, TabularDataset):
        return item
    return load_dataset(item, target=None if item in dataset_names() else target)


class _RunStore:
    """Finished runs, kept in memory and, where there is a folder, in one JSON file each."""

    def __init__(self, out: Path | None, settings: dict[str, object]) -> None:
        self.out = out
        self.runs: dict[tuple, dict] = {}
        if out is None:
            return
        self._check_settings(settings)
        make_folder(out / "runs")
        for path in sorted((out / "runs").glob("*.json")):
            run = read_json(path, "a finished run", "Delete it, and it is run again.")
            with naming(path, "a finished run", "Delete it, and it is run again."):
                key, *_ = tuple(run["key"]), run["scores"], run["history"]
            self.runs[key] = run

    def _check_settings(self, settings: dict[str, object]) -> None:
        make_folder(self.out)
        path = self.out / "settings.json"
        wanted = json.loads(json.dumps(settings))
        if not path.exists():
            for name in ("scores.csv", "histories.csv", "manifest.json"):
                if (self.out / name).exists():
                    raise CausalMixError(
                        f"{self.out} holds a {name} that no benchmark has written; choose another "
                        "folder."
                    )
            write_json(path, wanted)
            return
        with naming(path, "the settings of these results", "Choose another folder."):
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        if changed := [name for name in wanted if found.get(name) != wanted[name]]:
            raise CausalMixError(
                f"{self.out} holds results of other settings ({', '.join(changed)} differ); "
                "choose another folder, or delete this one."
            )

    def add(self, key: tuple, result: tuple[dict[str, object], pd.DataFrame]) -> None:
        scores, history = result
        run = {"key": list(key), "scores": scores, "history": history.to_dict("list")}
        self.runs[key] = run
        if self.out is not None:
            name, content_hash, seed, arm = key
            called = re.sub(r"[^\w.-]+", "-", name)[:80]
            write_json(self.out / "runs" / f"{called}-{content_hash[:8]}-{seed}-{arm}.json", run)

    def collect(self, keys: Iterable[tuple], manifest: dict[str, object]) -> BenchmarkResult:
        scores, histories = [], []
        for key in keys:
            name, _, seed, arm = key
            where = {"dataset": name, "seed": seed, "arm": arm}
            scores.append(where | self.runs[key]["scores"])
            history = pd.DataFrame(self.runs[key]["history"])
            if len(history):
                histories.append(history.assign(**where)[[*where, *history.columns]])
        history = pd.concat(histories) if histories else pd.DataFrame()
        result = BenchmarkResult(pd.DataFrame(scores), history, manifest)
        if self.out is not None:
            for name, table in (("scores", result.scores), ("histories", result.histories)):
                replace_file(self.out / f"{name}.csv", partial(table.to_csv, index=False))
            write_json(self.out / "manifest.json", manifest)
        return result
