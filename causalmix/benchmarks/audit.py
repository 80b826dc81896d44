"""Whether a store is true: runs made again from the settings in their rows, and the claims judged.

Scores depend on the processor, which rounds sums in its own way; forty steps of fine-tuning make
more of that. On one kind of processor they come out the same to the last digit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.atomic import make_folder, replace_file
from causalmix.benchmarks.analysis import common_cube, finetuning_runs
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.claims import (
    BEFORE,
    CLAIMS,
    DEFAULT,
    PAPER,
    QUANTITIES,
    Cube,
    Interval,
    bootstrap,
    cube_of,
    quantities_of,
)
from causalmix.benchmarks.comparison import t_interval, verdicts
from causalmix.benchmarks.curve_analysis import curve_facts
from causalmix.benchmarks.engine import Run, compute
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.store import Store, reason_of
from causalmix.data.columns import counted
from causalmix.data.dataset import TabularDataset, dataset_names, load_dataset
from causalmix.data.folder import read_tables
from causalmix.errors import CausalMixError, check_seed, check_whole
from causalmix.finetuning.metrics import SCORES
from causalmix.manifest import make_manifest, write_json

SAME_DEVICE, OTHER_DEVICE = 1e-4, 1e-3
"""By how much a score may differ: on the kind of device that the row names, and on another."""

OURS = "causal"
"""The arm shown beside `PAPER`: this package's own."""

TRADITIONAL = ("smote_nc", "perturbation", "mixup")
"""Arms that augment without a model of causes."""

RIVALS = (
    *(*TRADITIONAL, "copula", "ctgan", "tabebm", "tfm_conditional_dag"),
    *("ctgan_purified", "tabebm_purified"),
)
"""Arms that the claims compare with CausalMixFT, beside zero-shot and default fine-tuning: other
generators, those of the paper among them. Controls are none, nor is rehearsal: the paper has none
of them."""

QUESTION = (
    "Does the synthetic data change convergence speed and validation accuracy against traditional "
    "augmentation?"
)
"""The research question, which stands beside the claims."""

TABMWP = (
    "The research question names TabMWP too. That benchmark is word problems about tables, for "
    "language models: it has no table with a column to classify, so nothing here can be run on it."
)


def find_tables(names: set[str], folder: str | Path | None) -> dict[str, TabularDataset]:
    """Load tables, from a folder or from those embedded; what is in neither is left out."""
    found = read_tables(folder)[0] if folder is not None else {}
    embedded = names & set(dataset_names()) - set(found)
    return {name: found[name] for name in names & set(found)} | {
        n: load_dataset(n) for n in embedded
    }


def rerun_sample(
    store: Store,
    sample: int = 10,
    folder: str | Path | None = None,
    *,
    seed: int = 0,
    tfm: str = "embedded",
    device: str = "cpu",
    workers: int = 1,
) -> pd.DataFrame:
    """Make randomly chosen runs again, from the settings in their rows alone.

    Parameters
    ----------
    store : Store
    sample : int, default=10
        Runs; all where there are fewer.
    folder : str or Path, optional
        Of the tables that are not embedded.
    seed : int, default=0
        Of the choice.
    tfm : str, default="embedded"
        Where the foundation model is, as :func:`causalmix.tfm.model.load_tfm` takes it.
    device : str, default="cpu"
        Of the foundation model.
    workers : int, default=1
        Fresh processes; 0 runs in this one.

    Returns
    -------
    DataFrame
        A row per run and score, means of its curves among them: ``key``, ``run`` (in words),
        ``score``, ``stored``, ``recomputed``, ``difference``, ``tolerance``, ``agrees``; the days
        (UTC) and devices of both, ``stored_day``, ``stored_on``, ``recomputed_day`` and
        ``recomputed_on``; ``commit`` of the row where its code is not this one, and the ``error``
        of a run that failed now.

    Raises
    ------
    CausalMixError
        If a table is missing, or has another content than the one of the runs.
    """
    known = finetuning_runs(store)
    check_whole(sample, 1, "sample")
    check_seed(seed)
    chosen = np.random.default_rng(seed).choice(sorted(known.index), min(sample, len(known)), False)
    known = known.loc[chosen]
    tables, runs = find_tables(set(known["dataset"]), folder), {}
    hashes = {name: table.content_hash for name, table in tables.items()}
    for key, row in known.iterrows():
        name = row["dataset"]
        if hashes.get(name) != row["data"]:
            found = "has another content" if name in hashes else "is not there"
            raise CausalMixError(
                f"The table {name} {found}: give the folder of the tables that the runs had "
                f"(--data); the code that read it then was that of commit {row['commit']}."
            )
        settings, places = json.loads(store[key]["settings"]), {"tfm": tfm, "device": device}
        label = f"{row['arm']} on {name}, split {row['split']}, seed {row['seed']}"
        runs[key] = Run(KIND, settings, name, places, label)
    again = Store()
    compute(list(runs.values()), again, tables, workers=workers, progress=True)
    rows = [_compared(store[key], again[run.key], run) for key, run in runs.items()]
    return pd.concat(rows, ignore_index=True)


def _compared(stored: Mapping[str, Any], again: Mapping[str, Any], run: Run) -> pd.DataFrame:
    before, after = _numbers(stored), _numbers(again)
    found = pd.DataFrame({"key": stored["key"], "run": run.label, "score": list(before)})
    found["stored"] = list(before.values())
    found["recomputed"] = found["score"].map(after)
    found["difference"] = found["recomputed"] - found["stored"]
    found["tolerance"] = SAME_DEVICE if again["device"] == stored["device"] else OTHER_DEVICE
    both_nan = found[["stored", "recomputed"]].isna().all(axis=1) & (again["status"] == "ok")
    found["agrees"] = both_nan | (found["difference"].abs() <= found["tolerance"])
    for when, row in (("stored", stored), ("recomputed", again)):
        found[f"{when}_day"] = datetime.fromtimestamp(row["finished"], UTC).date().isoformat()
        found[f"{when}_on"] = row["device"]
    found["commit"] = "" if stored["key"] == run.key else stored["commit"] or "?"
    found["error"] = reason_of(again["error"]) if again["error"] else ""
    return found


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Scores of a run, and means of its curves."""
    outcome, curves = json.loads(row["outcome"]), json.loads(row["curves"] or "{}")
    means = {f"mean {n}": np.mean(np.array(curves[n], float)) for n in _CURVES if n in curves}
    return {name: outcome.get(name, np.nan) for name in SCORES} | means


_CURVES = ("val_auc", "test_auc", "val_log_loss", "test_log_loss")


def describe_audit(audited: pd.DataFrame) -> str:
    """Say which runs were made again and whether they gave the same.

    Parameters
    ----------
    audited : DataFrame
        As `rerun_sample` returns it.

    Returns
    -------
    str
    """
    shown = audited[["run", "score", "stored", "recomputed", "difference", "tolerance"]]
    verdicts = np.where(audited["agrees"], "equal", np.where(audited["error"], "FAILED", "DIFFERS"))
    shown = shown.assign(verdict=verdicts)
    lines = [shown.to_string(index=False, float_format=lambda x: f"{x:.7g}")]
    for run, error in dict(zip(audited["run"], audited["error"], strict=True)).items():
        lines += [f"Failed: {run}: {error}"] if error else []
    others = audited[audited["commit"] != ""].groupby("commit")["key"].nunique()
    for commit, n in others.items():
        lines.append(
            f"{n} of the runs were made by other code, or with other settings than their key says; "
            "they were made again by this code with the settings in their rows. To audit the code "
            f"too: git checkout {commit.rstrip('+')}"
            + (" (there were changes on top of it)" if commit.endswith("+") else "")
        )
    if elsewhere := audited.loc[audited["tolerance"] == OTHER_DEVICE, "key"].nunique():
        lines.append(
            f"{elsewhere} of the runs were made on another device, or their rows do not name the "
            f"processor: scores may differ by {OTHER_DEVICE:g}, for it rounds otherwise."
        )
    by_run = audited.groupby("key")["agrees"].all()
    lines.append(f"{by_run.sum()} of {len(by_run)} runs are equal within their tolerance.")
    return "\n".join(lines)


def write_audit(audited: pd.DataFrame, store: Store, seed: int, out: Path) -> None:
    """Write an audit to a file, its manifest beside it.

    Parameters
    ----------
    audited : DataFrame
        As `rerun_sample` returns it.
    store : Store
        That it is of.
    seed : int
        Of the choice.
    out : Path
        The file; in the name of the manifest, ``.csv`` gives way to ``_manifest.json``.
    """
    known = store.runs(KIND)
    rows = known.loc[audited["key"].unique()]
    settings = {"sample": len(rows), "of": len(known), "seed": seed}
    settings |= {"weights": sorted(set(rows["weights"].dropna()))}
    make_folder(out.parent)
    replace_file(out, lambda path: audited.to_csv(path, index=False))
    manifest = make_manifest(settings, dict(zip(rows["dataset"], rows["data"], strict=True)))
    write_json(out.with_name(f"{out.stem}_manifest.json"), manifest)


# ---- claims --------------------------------------------------------------------------------------


def compared_cube(store: Store, arm: str = PAPER) -> Cube:
    """Take the ROC-AUC of the arms, tables and splits that a claim is judged by.

    Parameters
    ----------
    store : Store
    arm : str, default="causal_paper"
        That stands for CausalMixFT.

    Returns
    -------
    Cube
        Empty where the arm, default fine-tuning or zero-shot has no runs.
    """
    runs = store.runs(KIND)
    judged = runs[runs["arm"].isin([arm, DEFAULT, BEFORE, *RIVALS])]
    return common_cube(judged, (arm, DEFAULT, BEFORE))


def judge_claims(store: Store) -> pd.DataFrame:
    """Judge the claims and the research question by their rules.

    `PAPER` decides, `OURS` is shown beside it. Each is compared with zero-shot, default fine-tuning
    and `RIVALS`, on the tables and splits that all of these have.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        A row per quantity: number of the ``claim`` (0 for the question), ``arm``, ``verdict``,
        ``quantity``, ``value``, ``low``, ``high``, and how many ``tables``, ``splits`` and ``runs``
        are behind it; ``against``: the arms compared with; ``lacking``: those of `RIVALS` that are
        set aside, because they have no runs on some of the tables, or none at all.
    """
    runs, rows = store.runs(KIND), []
    for arm in (PAPER, OURS):
        intervals, arms, lacking = {}, [], []
        if len(runs):
            cube = compared_cube(store, arm)
            arms, tables = cube.arms, cube.tables
            lacking = sorted({*RIVALS} - {*arms}) if tables else []
            intervals = quantities_of(store, arms, tables, method=arm) if tables else {}
        for claim in (each for each in CLAIMS if each.quantities):
            verdict = claim.verdict(intervals)
            for name in claim.quantities:
                found = intervals.get(name, _UNKNOWN)
                rows.append(
                    (claim.number, arm, verdict, name, *vars(found).values(), arms, lacking)
                )
    figures = Interval.__dataclass_fields__
    names = ["claim", "arm", "verdict", "quantity", *figures, "against", "lacking"]
    return pd.DataFrame(rows + _question(store), columns=names)


def _question(store: Store) -> list[tuple[object, ...]]:
    """Compare both with each way of traditional augmentation; positive is better."""
    facts, rows = curve_facts(store), []
    for arm, rival in product((PAPER, OURS), TRADITIONAL):
        pair = facts[facts["arm"].isin([arm, rival])] if len(facts) else facts
        for name, (score, larger_is_better) in _ASKED.items():
            found, verdict = _UNKNOWN, "not testable here"
            if len(pair) and len(cube_of(pair, score).arms) == 2:
                arms = (arm, rival) if larger_is_better else (rival, arm)
                found, verdict = _judge(pair, arms, score)
            rows.append((0, arm, verdict, name, *vars(found).values(), [rival], []))
    return rows


def _judge(rows: pd.DataFrame, pair: tuple[str, str], score: str) -> tuple[Interval, str]:
    """Subtract the second arm from the first; both intervals decide, as everywhere."""
    cube = cube_of(rows, score)
    a, b = map(cube.of, pair)
    found = bootstrap(cube, lambda means: float((means[:, a] - means[:, b]).mean()))
    means = np.nanmean(cube.values, axis=1)
    low, high = t_interval(means[:, a] - means[:, b])
    (verdict,) = verdicts(pd.DataFrame([vars(found) | {"t_low": low, "t_high": high}]))
    return found, verdict


_UNKNOWN = Interval(np.nan, np.nan, np.nan, 0)

_ASKED = {
    "steps saved to converge": ("step", False),
    "seconds saved to converge": ("seconds", False),
    "validation ROC-AUC": ("val_auc", True),
    "validation log-loss": ("val_log_loss", False),
    "test accuracy": ("accuracy", True),
}
"""Columns of the facts of curves, and whether larger is better. Validation accuracy is in no curve:
ROC-AUC and log-loss stand for it, and accuracy on test rows beside them."""


def describe_claims(judged: pd.DataFrame) -> str:
    """Write down every claim, with its verdict and what is behind it.

    Parameters
    ----------
    judged : DataFrame
        As `judge_claims` returns it.

    Returns
    -------
    str
    """
    lines = [f"Claims 1 to 3 and 11 are judged by {_label(PAPER)}; others stand beside it."]
    for claim in CLAIMS:
        lines += ["", f"{claim.number}. {claim.text}"]
        if shown := claim.shown_by or claim.reason:
            lines.append(f"   {claim.verdict({})}: {'see ' * bool(claim.shown_by)}{shown}")
        own = judged[judged["claim"] == claim.number]
        for (arm, verdict), rows in own.groupby(["arm", "verdict"], sort=False):
            lines.append(f"   {_label(arm)}: {verdict}")
            lines += [f"     {QUANTITIES[r.quantity]} {_figure(r)}" for r in known_rows(rows)]
    lines += ["", f"The research question. {QUESTION}"]
    asked = judged[judged["claim"] == 0]
    for (arm, rival), rows in asked.groupby(["arm", asked["against"].str[0]], sort=False):
        known = [f"     {r.quantity}: {r.verdict}, {_figure(r)}" for r in known_rows(rows)]
        lines += [f"   {_label(arm)} against {_label(rival)}:", *known]
        lines[-1] += "" if known else " not testable here"
    for arm, rows in judged[judged["claim"] > 0].groupby("arm", sort=False):
        others = [_label(name) for name in rows["against"].iloc[0] if name != arm]
        compared = f"was compared with {', '.join(others)}" if others else "was not run"
        lines += ["", f"{_label(arm)} {compared}.{set_aside(rows)}"]
    return "\n".join([*lines, "", TABMWP])


def _label(arm: str) -> str:
    return ARM_LABELS.get(arm, arm)


def set_aside(rows: pd.DataFrame) -> str:
    """Name the arms that rows of `judge_claims` leave out, in a sentence with a blank before it."""
    lacking = ", ".join(map(_label, rows["lacking"].iloc[0]))
    return f" Set aside, for want of runs on some of these tables: {lacking}." if lacking else ""


def known_rows(rows: pd.DataFrame) -> Iterable[Any]:
    """Rows of `judge_claims` that something is behind."""
    return rows[rows["tables"] > 0].itertuples()


def _figure(row: Any) -> str:
    return f"{figure_of(row)} ({behind(row)})"


_DIGITS = {"steps saved to converge": 1, "seconds saved to converge": 1}
_DIGITS |= {"rank_lead": 2, "default_rank_lead": 2}


def figure_of(row: Any) -> str:
    """Write the value of a row of `judge_claims`, and its interval, with digits by its kind."""
    digits = _DIGITS.get(row.quantity, 4)
    value, low, high = (f"{each:+.{digits}f}" for each in (row.value, row.low, row.high))
    return f"{value} [{low}, {high}]"


def behind(row: Any) -> str:
    """Say how much is behind a row of `judge_claims`."""
    counts = {"table": row.tables, "split": row.splits, "run": row.runs}
    return ", ".join(counted(n, name) for name, n in counts.items())
