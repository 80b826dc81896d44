"""What ways of fine-tuning are worth on the tables that may choose among them.

A *candidate* is an arm together with what is done with its run: which network predicts, that of a
validated step or something half-way to the one before training, and which step that is. All of it
follows from the curves of the runs, so that one run serves many candidates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.benchmarks.arms import KIND, RESEEDED
from causalmix.benchmarks.claims import BEFORE
from causalmix.benchmarks.comparison import COMPARED, GAINS, mean_and_interval
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError
from causalmix.finetuning.stopping import choose

VIEWS = {"": "tuned weights", "half_": "weights half-way", "mean_": "mean of predictions"}
"""Which network predicts, by the beginning of its columns in the curves."""

RULES = {"last": ("last", 1.0), "tested": ("last", 0.5), "best": ("log_loss", 0.5)}
"""Which step is kept: the last one, that unless validation is against it, the best validated."""

CHOSEN = ("causal_rehearsal", "", "tested")
"""Arm, view and rule of what `causalmix.finetuning.config.FinetuneConfig` does by default."""

NOISE = "zero_shot_reseeded"
"""The arm that shows what chance alone does to zero-shot."""

AUC_HARM, LOSS_HARM = 0.005, 0.01
"""By how much a run, or the mean of a table, may fall: ROC-AUC, and log-loss in nats."""

SPLIT = ["dataset", "split"]
_CANDIDATE = ["arm", "view", "rule"]


def paired_scores(
    runs: pd.DataFrame, reference: pd.DataFrame, scores: Sequence[str]
) -> pd.DataFrame:
    """Find what each run is to be compared with.

    Runs of one seed on a split share their ensemble: what that changes is no gain.

    Parameters
    ----------
    runs : DataFrame
        As :meth:`causalmix.benchmarks.store.Store.runs` returns them.
    reference : DataFrame
        Those of another arm; several of one seed on a split are averaged.
    scores : sequence of str
        Columns of both.

    Returns
    -------
    DataFrame
        With the index of `runs`: the scores of the reference on the same split with the same seed;
        where there are none, the mean over its seeds; NaN where it lacks the split.
    """
    own = reference.assign(seed=reference["seed"] % RESEEDED)
    same = own.groupby([*SPLIT, "seed"])[list(scores)].mean()
    places = pd.MultiIndex.from_frame(runs[[*SPLIT, "seed"]].assign(seed=runs["seed"] % RESEEDED))
    found = same.reindex(places).set_index(runs.index)
    mean = runs[SPLIT].join(own.groupby(SPLIT)[list(scores)].mean(), on=SPLIT)[list(scores)]
    absent = ~places.isin(same.index)
    found[absent] = mean[absent]
    return found


def candidate_gains(store: Store) -> pd.DataFrame:
    """Compare every candidate with the model as it was, on the same splits.

    Parameters
    ----------
    store : Store
        With the runs of a plan; the blends of those that recorded them.

    Returns
    -------
    DataFrame
        A row per ``dataset``, ``split``, run and candidate (``arm``, ``view``, ``rule``, the last
        two empty where nothing was trained): ``auc_gain`` and ``log_loss_gain`` (nats, positive is
        better) and ``seconds``.

    Raises
    ------
    CausalMixError
        If the store lacks zero-shot.
    """
    runs = store.runs(KIND)
    if runs.empty or BEFORE not in set(runs["arm"]):
        raise CausalMixError(f"The store has no runs of the arm {BEFORE!r} to compare with.")
    others, rows = runs[runs["arm"] != BEFORE], []
    before = paired_scores(others, runs[runs["arm"] == BEFORE], COMPARED).dropna()
    for key, run in others.loc[before.index].iterrows():
        found = _of_curves(store.curves([key]), int(run["n_val"])) if store[key]["curves"] else []
        if not found:
            rule = _rule_of(json.loads(store[key]["settings"]))
            found = [{"view": "", "rule": rule, **run[COMPARED]}]
        auc, log_loss = before.loc[key]
        rows += [
            {
                **run[SPLIT],
                "arm": run["arm"],
                "view": each["view"],
                "rule": each["rule"],
                "auc_gain": each["auc"] - auc,
                "log_loss_gain": log_loss - each["log_loss"],
                "seconds": run["run_seconds"],
            }
            for each in found
        ]
    return pd.DataFrame(rows)


def _rule_of(settings: Mapping[str, Any]) -> str:
    """Name the rule of a run without test curves; none where nothing was trained."""
    config = settings.get("config") or {}
    own = (config.get("rule"), config.get("level"))
    return next((name for name, rule in RULES.items() if rule == own), "")


def _of_curves(curves: pd.DataFrame, n_val: int) -> list[dict[str, object]]:
    found = []
    for view in VIEWS:
        if f"{view}test_auc" not in curves:
            continue
        history = pd.DataFrame(
            {name: curves[f"{view}{name}"] for name in ("val_log_loss", "val_gain_se")}
        )
        for name, (rule, level) in RULES.items():
            kept = choose(history, rule, level=level, n_val=n_val).kept
            scores = {k: curves[f"{view}test_{k}"].iloc[kept] for k in COMPARED}
            found.append({"view": view, "rule": name, **scores})
    return found


@dataclass(frozen=True)
class Promise:
    """Whether a candidate is ever silently worse, as far as its runs can tell.

    Attributes
    ----------
    worse_tables : tuple of str
        Tables whose mean is below the reference by more than `AUC_HARM` or `LOSS_HARM`, with a 95 %
        interval over splits that excludes 0.
    worse_runs : float
        Share of the runs that fall by more than either.
    noise_floor : float
        The same of the reference with other members of its ensemble; NaN where that was not run.
    splits : int
        Of the table that has the fewest.
    """

    worse_tables: tuple[str, ...]
    worse_runs: float
    noise_floor: float
    splits: int

    @property
    def kept(self) -> bool | None:
        """No table is worse, and runs are so no more often than by chance, by two points.

        None where that cannot be said: with one split of a table, or without a noise floor.
        """
        if self.splits < 2 or np.isnan(self.noise_floor):
            return None
        return not self.worse_tables and self.worse_runs <= self.noise_floor + 0.02


def check_promise(gains: pd.DataFrame, noise_floor: float) -> Promise:
    """Look for harm in the runs of one candidate.

    Parameters
    ----------
    gains : DataFrame
        Rows of one candidate, as `candidate_gains` returns them.
    noise_floor : float
        As `harm` gives it of the reference with another seed.

    Returns
    -------
    Promise
    """
    worse = []
    splits = gains.groupby(SPLIT)[GAINS].mean()  # seeds of a split tell no more of its table
    for dataset, rows in splits.groupby("dataset"):
        limits = {"auc_gain": AUC_HARM, "log_loss_gain": LOSS_HARM}
        if any(_is_worse(rows[name].to_numpy(), limit) for name, limit in limits.items()):
            worse.append(str(dataset))
    fewest = splits.groupby("dataset").size().min()
    return Promise(tuple(worse), harm(gains), noise_floor, int(fewest))


def _is_worse(values: np.ndarray, limit: float) -> bool:
    if len(values) < 2 or values.mean() >= -limit:
        return False
    error = values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() + stats.t.ppf(0.975, len(values) - 1) * error < 0


def harm(gains: pd.DataFrame) -> float:
    """Share of runs that fall by more than `AUC_HARM` or `LOSS_HARM`.

    Parameters
    ----------
    gains : DataFrame
        As `candidate_gains` returns them.

    Returns
    -------
    float
    """
    return float(((gains["auc_gain"] < -AUC_HARM) | (gains["log_loss_gain"] < -LOSS_HARM)).mean())


def judge_candidates(gains: pd.DataFrame) -> pd.DataFrame:
    """Say what each candidate is worth.

    Parameters
    ----------
    gains : DataFrame
        As `candidate_gains` returns them.

    Returns
    -------
    DataFrame
        A row per candidate, the largest gain in log-loss first: ``tables``, ``runs``, means over
        tables ``auc_gain`` and ``log_loss_gain`` with 95 % intervals over tables (``auc_low``, …),
        ``worse_tables`` (how many), ``worse_runs``, ``noise_floor``, ``promise`` (whether it is
        kept; None where that cannot be said) and the median ``seconds`` of a run.
    """
    floor = harm(gains[gains["arm"] == NOISE])
    rows = []
    for candidate, own in gains.groupby(_CANDIDATE, sort=False):
        tables = own.groupby("dataset")[GAINS].mean()
        promise = check_promise(own, floor)
        rows.append(
            dict(zip(_CANDIDATE, candidate, strict=True))
            | {"tables": len(tables), "runs": len(own)}
            | mean_and_interval(tables["auc_gain"].to_numpy(), "auc_gain", "auc_")
            | mean_and_interval(tables["log_loss_gain"].to_numpy(), "log_loss_gain", "log_loss_")
            | {
                "worse_tables": len(promise.worse_tables),
                "worse_runs": promise.worse_runs,
                "noise_floor": promise.noise_floor,
                "promise": promise.kept,
                "seconds": own["seconds"].median(),
            }
        )
    table = pd.DataFrame(rows).sort_values("log_loss_gain", ascending=False)
    return table.reset_index(drop=True)


def describe_choice(gains: pd.DataFrame) -> str:
    """Say in a few sentences what choosing among the candidates is worth.

    Parameters
    ----------
    gains : DataFrame
        As `candidate_gains` returns them. What trains nothing, and what was not run on all splits,
        is not chosen from.

    Returns
    -------
    str
    """
    judged = judge_candidates(gains)
    whole = judged[(judged["rule"] != "") & (judged["runs"] == judged["runs"].max())]
    best = whole.iloc[0]
    chosen = nested_choice(gains, list(whole[_CANDIDATE].itertuples(index=False, name=None)))
    auc = mean_and_interval(chosen["auc_gain"].to_numpy(), "mean")
    loss = mean_and_interval(chosen["log_loss_gain"].to_numpy(), "mean")
    return (
        f"The best of {len(whole)} candidates is {ARM_LABELS.get(best['arm'], best['arm'])} "
        f"({VIEWS[best['view']]}, rule {best['rule']!r}): {best['auc_gain']:+.4f} ROC-AUC and "
        f"{best['log_loss_gain']:+.4f} nats against zero-shot on the tables that chose it. Chosen "
        f"without the table it is judged on, the gain is {auc['mean']:+.4f} ROC-AUC "
        f"[{auc['low']:.4f}, {auc['high']:.4f}] and {loss['mean']:+.4f} nats "
        f"[{loss['low']:.4f}, {loss['high']:.4f}] ({len(chosen)} tables)."
    )


def describe_default(gains: pd.DataFrame) -> str:
    """Say in a few sentences what the default is worth, and whether it keeps its promise.

    Parameters
    ----------
    gains : DataFrame
        As `candidate_gains` returns them, with the runs of `CHOSEN`.

    Returns
    -------
    str
    """
    judged = judge_candidates(gains)
    own = judged[judged[_CANDIDATE].eq(CHOSEN).all(axis=1)].iloc[0]
    alike = (judged["rule"] != "") & (judged["runs"] == own["runs"])
    most = judged.loc[alike, "log_loss_gain"].max()
    verdict = {True: "It keeps the promise", False: "It breaks the promise"}.get(
        own["promise"], "Whether it keeps the promise cannot be said"
    )
    return (
        f"The default ({ARM_LABELS[own['arm']]}, rule {own['rule']!r}) gains "
        f"{own['auc_gain']:+.4f} ROC-AUC and {own['log_loss_gain']:+.4f} nats over "
        f"{own['tables']} tables, {own['log_loss_gain'] / most:.0%} of what the best candidate "
        f"gains on these splits. {own['worse_runs']:.0%} of its {own['runs']} runs fall by more "
        f"than {AUC_HARM} ROC-AUC or {LOSS_HARM} nats, where other ensemble members alone make "
        f"{own['noise_floor']:.0%} do so, and {own['worse_tables']} tables are surely worse. "
        f"{verdict}."
    )


def nested_choice(gains: pd.DataFrame, candidates: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Choose among candidates without the table that the choice is judged on.

    For every table the candidate with the largest mean gain in log-loss over the others is taken.
    The mean of what it gains on the table left out is what choosing is worth; that of the best of
    all is larger by the winner's luck.

    Parameters
    ----------
    gains : DataFrame
        As `candidate_gains` returns them.
    candidates : sequence of (arm, view, rule)
        To choose from.

    Returns
    -------
    DataFrame
        A row per table: the chosen ``arm``, ``view`` and ``rule``, and what they gain on it,
        ``auc_gain`` and ``log_loss_gain``.
    """
    means = gains.groupby([*_CANDIDATE, "dataset"])[GAINS].mean()
    rows = []
    for dataset in sorted(gains["dataset"].unique()):
        others = means["log_loss_gain"].drop(dataset, level="dataset").groupby(_CANDIDATE).mean()
        chosen = others.loc[list(candidates)].idxmax()
        gained = means.loc[(*chosen, dataset)]
        rows.append({"dataset": dataset, **dict(zip(_CANDIDATE, chosen, strict=True)), **gained})
    return pd.DataFrame(rows)
