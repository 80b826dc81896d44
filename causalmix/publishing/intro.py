"""The first page: what fine-tuning does to single runs, from the runs that chose the default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.benchmarks.analysis import harm_by_arm, paired_differences
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.candidates import (
    AUC_HARM,
    CHOSEN,
    LOSS_HARM,
    NOISE,
    candidate_gains,
    harm,
)
from causalmix.benchmarks.claims import BEFORE, DEFAULT
from causalmix.benchmarks.comparison import GAINS, mean_and_interval
from causalmix.benchmarks.store import Store
from causalmix.plots.analysis import plot_runs
from causalmix.publishing.blanks import fill_blanks, stored_runs
from causalmix.publishing.headline import describe_difference, describe_progress

_SHOWN = {
    "The same model,\nother members": (NOISE, "", ""),
    "Fine-tuned on\nthe real rows": ("default", "", "last"),
    "The same, asking\nvalidation rows": ("default", "", CHOSEN[2]),
    "CausalMix": CHOSEN,
}


def fill_intro(page: Path, results: Path) -> None:
    """Fill the first page, and draw its figure: see `causalmix.publishing.book.fill_page`."""
    gains = candidate_gains(stored_runs(results, "finetuning/contenders", page))
    shown = {
        name: gains[(gains[["arm", "view", "rule"]] == candidate).all(axis=1)]
        for name, candidate in _SHOWN.items()
    }
    texts = {
        "pain": lambda: _pain(*shown.values()),
        "gain": lambda: _gain(shown["CausalMix"]),
        "evidence": lambda: _evidence(stored_runs(results, "finetuning/paper", page)),
    }
    fill_blanks(page, texts, {"intro_runs.svg": lambda: plot_runs(shown, LOSS_HARM).figure})


def _pain(
    reseeded: pd.DataFrame, tuned: pd.DataFrame, asked: pd.DataFrame, ours: pd.DataFrame
) -> str:
    return (
        f"Of {len(tuned)} runs on the {tuned['dataset'].nunique()} tables that CausalMix's default "
        "was chosen on, this share ended worse than the model before fine-tuning, by more than "
        f"{AUC_HARM} ROC-AUC or {LOSS_HARM} nats of log-loss:\n\n"
        f"- {harm(tuned):.0%} where it was fine-tuned on the real rows alone;\n"
        f"- {harm(asked):.0%} where, in addition, the validation rows could undo that;\n"
        f"- {harm(ours):.0%} with CausalMix's default, which asks the validation rows too;\n"
        f"- {harm(reseeded):.0%}, for scale, without fine-tuning: other members of the model's "
        "ensemble read the columns in other orders, which changes every run."
    )


def _gain(ours: pd.DataFrame) -> str:
    by_table = ours.groupby("dataset")[GAINS].mean()
    auc, loss = (_with_interval(by_table[name].to_numpy()) for name in by_table)
    shares = [by_table[name].nlargest(3).sum() / by_table[name].sum() for name in by_table]
    return (
        f"ROC-AUC rose by {auc} and log-loss fell by {loss} nats on average. Three tables make up "
        f"{shares[0]:.0%} of the first and {shares[1]:.0%} of the second; on the others hardly "
        "anything changed."
    )


def _evidence(store: Store) -> str:
    """Say what the default is worth on the tables of the benchmark, which did not choose it."""
    runs = store.runs(KIND)
    rows = paired_differences(runs[runs["arm"].isin([BEFORE, CHOSEN[0]])], [BEFORE])
    harmed = harm_by_arm(runs).set_index("arm")
    ours, tuned = (harmed.loc[arm, "runs_harmed"] for arm in (CHOSEN[0], DEFAULT))
    chance = harmed["noise_floor"].iloc[0]
    scale = "" if np.isnan(chance) else f", and {chance:.0%} with other ensemble members alone"
    return (
        f"{describe_difference(rows)}. There {ours:.0%} of its runs got worse, {tuned:.0%} with "
        f"default fine-tuning{scale}. {describe_progress(store)}"
    )


def _with_interval(values: np.ndarray) -> str:
    shown = "{mean:.4f} [{low:.4f}, {high:.4f}]".format(**mean_and_interval(values, "mean"))
    return shown.replace("-", "−")
