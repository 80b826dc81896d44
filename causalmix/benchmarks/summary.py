"""Tables that sum a benchmark up: improvement, rank, validation-test gap, convergence."""

from __future__ import annotations

import pandas as pd

from causalmix.benchmarks import comparison
from causalmix.benchmarks.arms import BenchmarkResult
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.errors import CausalMixError
from causalmix.finetuning.metrics import (
    SCORES,
    normalised_improvement,
    steps_to_converge,
    validation_test_gap,
)

_RUN = ["dataset", "seed", "arm"]
_GAPS = ["gap_auc", "gap_log_loss", "converged_step"]


def improvements(scores: pd.DataFrame) -> pd.DataFrame:
    """Normalised improvement of every arm over zero-shot, per dataset.

    Parameters
    ----------
    scores : DataFrame
        As in :class:`BenchmarkResult`, with the arm ``"zero_shot"`` among them.

    Returns
    -------
    DataFrame
        A row per dataset and arm other than zero-shot: ``improvement`` (mean over seeds of the
        normalised improvement), ``auc_change`` (mean change of ROC-AUC) and ``minmax`` (mean
        over seeds of the ROC-AUC scaled so that the worst arm is 0 and the best is 1; where all
        are equal, to six digits, it is 0.5).

    Raises
    ------
    CausalMixError
        If zero-shot, or everything else, was not run.
    """
    wide = scores.pivot_table(index=["dataset", "seed"], columns="arm", values="auc")
    if "zero_shot" not in wide:
        raise CausalMixError("Improvements need the arm 'zero_shot' among the arms that were run.")
    if wide.shape[1] == 1:
        raise CausalMixError("Improvements need an arm besides 'zero_shot'.")
    spread = wide.max(axis=1) - wide.min(axis=1)
    spread = spread.where(spread.round(6) > 0)  # equal but for rounding
    before, least = wide["zero_shot"], wide.min(axis=1)
    parts = []
    for arm in wide.columns.drop("zero_shot"):
        gains = {
            "improvement": normalised_improvement(wide[arm], before),
            "auc_change": wide[arm] - before,
            "minmax": ((wide[arm] - least) / spread).fillna(0.5),
        }
        parts.append(pd.DataFrame(gains).assign(arm=arm))
    tidy = pd.concat(parts).reset_index()
    return tidy.groupby(["dataset", "arm"], sort=False)[list(gains)].mean().reset_index()


def mean_ranks(scores: pd.DataFrame) -> pd.Series:
    """Mean rank of every arm over the datasets by ROC-AUC, 1 being the best.

    The ROC-AUC is averaged over seeds and then ranked within each dataset; ties share the mean of
    their ranks.

    Parameters
    ----------
    scores : DataFrame
        As in :class:`BenchmarkResult`.

    Returns
    -------
    Series
        Indexed by arm, best first.
    """
    wide = scores.pivot_table(index="dataset", columns="arm", values="auc")
    return comparison.mean_ranks(wide).sort_values()


def run_gaps(histories: pd.DataFrame) -> pd.DataFrame:
    """Validation-test gap and convergence of every fine-tuning run.

    Parameters
    ----------
    histories : DataFrame
        As in :class:`BenchmarkResult`, recorded with test scores.

    Returns
    -------
    DataFrame
        A row per dataset, seed and arm: ``gap_auc`` and ``gap_log_loss`` (one minus Spearman's
        correlation of the validation and the test curve), ``converged_step``.
    """
    if histories.empty:
        return pd.DataFrame(columns=[*_RUN, *_GAPS])
    rows = []
    for key, run in histories.groupby(_RUN, sort=False):
        row = dict(zip(_RUN, key, strict=True))
        for name in ("auc", "log_loss"):
            row[f"gap_{name}"] = validation_test_gap(run[f"val_{name}"], run[f"test_{name}"])
        row["converged_step"] = steps_to_converge(run["step"], run["val_log_loss"])
        rows.append(row)
    return pd.DataFrame(rows)


def summarise(result: BenchmarkResult) -> pd.DataFrame:
    """Sum a benchmark up in its headline table, one row per arm.

    Parameters
    ----------
    result : BenchmarkResult
        With zero-shot among its arms.

    Returns
    -------
    DataFrame
        Indexed by the arms' labels, best mean rank first: ``mean rank``, ``mean AUC``, ``median
        improvement`` and ``SD of improvement`` over datasets, ``min-max AUC``, ``median gap
        (AUC)`` and ``median gap (log-loss)`` over runs, ``steps to converge``, ``seconds`` a
        run (both medians). Cells that do not apply to zero-shot are NaN.
    """
    per_dataset = improvements(result.scores).groupby("arm")
    gap = run_gaps(result.histories).groupby("arm")[_GAPS].median()
    table = pd.DataFrame(
        {
            "mean rank": mean_ranks(result.scores),
            "mean AUC": result.scores.groupby("arm")["auc"].mean(),
            "median improvement": per_dataset["improvement"].median(),
            "SD of improvement": per_dataset["improvement"].std(),
            "min-max AUC": per_dataset["minmax"].mean(),
            "median gap (AUC)": gap["gap_auc"],
            "median gap (log-loss)": gap["gap_log_loss"],
            "steps to converge": gap["converged_step"],
            "seconds": result.scores.groupby("arm")["seconds"].median(),
        }
    ).sort_values("mean rank")
    return table.rename(index=ARM_LABELS).rename_axis("arm")


def run_table(result: BenchmarkResult) -> pd.DataFrame:
    """List every run with its test scores, what was kept, and how far validation told the truth.

    Parameters
    ----------
    result : BenchmarkResult
        Of one or more datasets.

    Returns
    -------
    DataFrame
        Indexed by dataset, seed and the arm's label: test ``auc``, ``log_loss`` (nats),
        ``accuracy``, ``best_step`` (0: the weights before fine-tuning), ``reason`` (why that one),
        ``seconds``, and the columns of `run_gaps` (NaN for runs without fine-tuning).
    """
    table = result.scores[[*_RUN, *SCORES, "best_step", "reason", "seconds"]]
    table = table.merge(run_gaps(result.histories), on=_RUN, how="left").set_index(_RUN)
    return table.rename(index=ARM_LABELS, level="arm")
