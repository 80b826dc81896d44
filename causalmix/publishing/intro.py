"""The first page: what fine-tuning does to single runs, from the runs that chose the default."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from causalmix.benchmarks.analysis import (
    gains_over,
    harm_by_arm,
    paired_differences,
)
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
from causalmix.benchmarks.comparison import GAINS, mean_and_interval, verdicts
from causalmix.benchmarks.results import read_result
from causalmix.benchmarks.sensitivity import decisive_tables, harm_falls
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.traits import read_traits
from causalmix.plots.analysis import plot_runs
from causalmix.publishing.blanks import fill_blanks, stored_runs
from causalmix.publishing.headline import (
    SCORE_NAMES,
    describe_difference,
    describe_progress,
    share_of_three,
)
from causalmix.publishing.markdown import signed

SMALL = 500  # tables of fewer rows are those that the first trials of fine-tuning ran on

_SHOWN = {
    "The same model,\nother members": (NOISE, "", ""),
    "Fine-tuned on\nthe real rows": ("default", "", "last"),
    "The same, asking\nvalidation rows": ("default", "", CHOSEN[2]),
    "CausalMix": CHOSEN,
}


def fill_intro(page: Path, results: Path) -> None:
    """Fill the first page, and draw its figure: see `causalmix.publishing.book.fill_page`."""
    gains = candidate_gains(stored_runs(results, "finetuning/contenders", page))

    def of(candidate: tuple[str, str, str]) -> pd.DataFrame:
        return gains[(gains[["arm", "view", "rule"]] == candidate).all(axis=1)]

    shown = {name: of(candidate) for name, candidate in _SHOWN.items()}
    texts = {
        "pain": lambda: _pain(*shown.values()),
        "shuffled": lambda: f"{harm(of(('causal_shuffled_rehearsal', *CHOSEN[1:]))):.0%}",
        "gain": lambda: _gain(shown["CausalMix"]),
        "evidence": lambda: _evidence(
            stored_runs(results, "finetuning/paper", page), results, *list(shown.values())[2:]
        ),
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
        "ensemble read the columns in other orders, which changes every run.\n\n"
        f"{_fall(asked, ours)}"
    )


def _fall(asked: pd.DataFrame, ours: pd.DataFrame) -> str:
    """Say whether the share of harmed runs that the default was chosen for is more than chance."""
    both = pd.concat([asked.assign(arm=DEFAULT), ours.assign(arm=CHOSEN[0])])
    (row,) = harm_falls(both, [(CHOSEN[0], DEFAULT)]).itertuples()
    chance = "more than chance explains" if row.t_low > 0 else "and may be chance already"
    return (
        f"From {harm(asked):.0%} to {harm(ours):.0%} is a fall of {100 * row.fall:.0f} points (95% "
        f"interval by t over {row.tables} tables: {_points(row)}), {chance}."
    )


def _points(row: Any) -> str:
    return f"{100 * row.t_low:+.1f} to {100 * row.t_high:+.1f}".replace("-", "−")


def _gain(ours: pd.DataFrame) -> str:
    by_table = ours.groupby("dataset")[GAINS].mean()
    auc, loss = (_with_interval(by_table[name].to_numpy()) for name in by_table)
    shares = [share_of_three(by_table[name]) for name in by_table]
    return (
        f"ROC-AUC rose by {auc} and log-loss fell by {loss} nats on average (95% "
        "intervals, on each side the wider end of bootstrap and t). Three tables make up "
        f"{shares[0]:.0%} of the first and {shares[1]:.0%} of the second; on the others hardly "
        "anything changed."
    )


def _evidence(store: Store, results: Path, asked: pd.DataFrame, ours: pd.DataFrame) -> str:
    """Say what the default is worth on the tables of the benchmark, which did not choose it.

    `asked` and `ours` are runs that did choose it: of default fine-tuning, and its own.
    """
    runs = store.runs(KIND)
    rows = paired_differences(runs[runs["arm"].isin([BEFORE, CHOSEN[0]])], [BEFORE])
    parts = {
        "Gain": f"{describe_difference(rows)}. {_by_t(rows)}",
        "What it rests on": " ".join(_resting_on(runs, rows)),
        "Tables not seen before": _never_looked_at(runs, _looked_at(store, results)),
        "Harm": _harm(runs, asked, ours),
        "Runs": describe_progress(store),
    }
    shown = {name: text[0].upper() + text[1:] for name, text in parts.items() if text}
    return "\n".join(f"- **{name}.** {text}" for name, text in shown.items())


def _by_t(rows: pd.DataFrame) -> str:
    shown = (
        f"{SCORE_NAMES[row.score]} [{signed(row.t_low, 4)}, {signed(row.t_high, 4)}]"
        for row in rows.itertuples()
    )
    return f"By t: {', '.join(shown)}."


def _harm(runs: pd.DataFrame, asked: pd.DataFrame, ours: pd.DataFrame) -> str:
    """Say how many runs got worse, beside the runs that chose the default."""
    harmed = harm_by_arm(runs).set_index("arm")
    own = harmed.loc[CHOSEN[0]]
    (fall,) = harm_falls(gains_over(runs), [(CHOSEN[0], DEFAULT)]).itertuples()
    seen = "seen" if fall.t_low > 0 else "not seen"
    said = (
        f"On all {own['tables']:.0f} tables {own['runs_harmed']:.0%} of its runs got worse, by "
        f"more than {AUC_HARM} ROC-AUC or {LOSS_HARM} nats, and "
        f"{harmed.loc[DEFAULT, 'runs_harmed']:.0%} with fine-tuning on real rows alone, which "
        "validation rows could undo too (*default fine-tuning*). On the tables it was chosen on "
        f"the share fell from {harm(asked):.0%} to {harm(ours):.0%}; such a fall is {seen} here "
        f"(95% interval by t: {_points(fall)} points)."
    )
    if not np.isnan(own["noise_floor"]):
        said += (
            f" Of the {own['runs_changed']:.0%} of its runs in which the weights moved, "
            f"{own['changed_harmed']:.0%} got worse; other ensemble members alone, which change "
            f"every run, make {own['noise_floor']:.0%} worse."
        )
    return said


def _resting_on(runs: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Say how few tables a gain comes from, and whether a test agrees."""
    gains = gains_over(runs[runs["arm"].isin([BEFORE, CHOSEN[0]])])
    for row in rows[verdicts(rows) == "better"].itertuples():
        share = share_of_three(gains.groupby("dataset")[f"{row.score}_gain"].mean())
        few = decisive_tables(runs, row.arm, row.reference, row.score)
        yield (
            f"Three tables make up {share:.0%} of the gain in {SCORE_NAMES[row.score]}, and "
            f"{len(few) or 'none'} of the {row.tables} would make it undecided if left out alone."
        )
        agrees = "agrees" if row.p < 0.05 else "does not agree"
        yield f"Wilcoxon's test {agrees} (p = {row.p:.2g})."


def _looked_at(store: Store, results: Path) -> set[str]:
    """Tables that earlier steps had looked at: the small ones, and those of the generators."""
    traits = read_traits(store.folder)
    compared = read_result(results / "generation" / "utility.csv")["dataset"]
    return set(traits.loc[traits["rows"] < SMALL, "dataset"]) | set(compared)


def _never_looked_at(runs: pd.DataFrame, looked_at: Collection[str]) -> str:
    """Say what the default is worth on tables that no earlier step had looked at."""
    pair = runs[runs["arm"].isin([BEFORE, CHOSEN[0]])]
    others = pair[~pair["dataset"].isin(looked_at)]
    n = pair["dataset"].nunique() - others["dataset"].nunique()
    if not (n and len(others)):
        return ""
    told = describe_difference(paired_differences(others, [BEFORE]))
    return f"Earlier steps of this work had looked at {n} of these. On the others it is {told}."


def _with_interval(values: np.ndarray) -> str:
    shown = "{mean:.4f} [{low:.4f}, {high:.4f}]".format(**mean_and_interval(values, "mean"))
    return shown.replace("-", "−")
