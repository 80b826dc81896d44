"""Tables that sum a benchmark up: improvement, rank, validation-test gap, convergence."""

from __future__ import annotations

import pandas as pd

from causalmix.benchmarks.arms import ARMS, BenchmarkResult
from causalmix.errors import CausalMixError, check_name
from causalmix.finetuning.metrics import (
    SCORES,
    normalised_improvement,
    steps_to_converge,
    validation_test_gap,
)

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
        over seeds of the ROC-AUC scaled so that the worst arm is 0 and the best is 1).

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
    spread = (wide.max(axis=1) - wide.min(axis=1)).replace(0, float("nan"))
    parts = []
    for arm in wide.columns.drop("zero_shot"):
        parts.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "improvement": normalised_improvement(wide[arm], wide["zero_shot"]),
                    "auc_change": wide[arm] - wide["zero_shot"],
                    "minmax": ((wide[arm] - wide.min(axis=1)) / spread).fillna(0.5),
                }
            )
        )
    tidy = pd.concat(parts).reset_index()
    values = ["improvement", "auc_change", "minmax"]
    return tidy.groupby(["dataset", "arm"], sort=False)[values].mean().reset_index()


def mean_ranks(scores: pd.DataFrame, by: str = "auc") -> pd.Series:
    """Mean rank of every arm over the datasets, 1 being the best.

    Parameters
    ----------
    scores : DataFrame
        As in :class:`BenchmarkResult`.
    by : {"auc", "log_loss", "accuracy"}, default="auc"
        Score that is averaged over seeds and then ranked within each dataset; ties share the
        mean of their ranks.

    Returns
    -------
    Series
        Indexed by arm, best first.
    """
    check_name(by, SCORES, "score")
    wide = scores.pivot_table(index="dataset", columns="arm", values=by, aggfunc="mean")
    return wide.rank(axis=1, ascending=by == "log_loss").mean().sort_values()


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
        return pd.DataFrame(columns=["dataset", "seed", "arm", *_GAPS])
    rows = []
    for (dataset, seed, arm), run in histories.groupby(["dataset", "seed", "arm"], sort=False):
        rows.append(
            {
                "dataset": dataset,
                "seed": seed,
                "arm": arm,
                "gap_auc": validation_test_gap(run["val_auc"], run["test_auc"]),
                "gap_log_loss": validation_test_gap(run["val_log_loss"], run["test_log_loss"]),
                "converged_step": steps_to_converge(run["step"], run["val_log_loss"]),
            }
        )
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
    return table.rename(index={name: arm.label for name, arm in ARMS.items()}).rename_axis("arm")


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
    keys = ["dataset", "seed", "arm"]
    table = result.scores[[*keys, *SCORES, "best_step", "reason", "seconds"]]
    table = table.merge(run_gaps(result.histories), on=keys, how="left").set_index(keys)
    return table.rename(index={name: arm.label for name, arm in ARMS.items()}, level="arm")
