"""What a store of runs says beside scores: validation-test gaps, convergence, cost."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pandas as pd
from statsmodels.duration.survfunc import SurvfuncRight

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.claims import DEFAULT, contrast, cube_of
from causalmix.benchmarks.comparison import COMPARED
from causalmix.benchmarks.store import Store
from causalmix.finetuning.metrics import steps_to_converge, validation_test_gap

LEAST_POINTS = 10
"""Evaluations of a run below which the order of its steps is not judged."""

UNITS = ("step", "seconds")

_RUN = ["dataset", "split", "seed", "arm", "accuracy"]
_QUARTILES = {"median": 0.5, "q1": 0.25, "q3": 0.75}


def curve_facts(store: Store) -> pd.DataFrame:
    """Read off the curves of every fine-tuned run that has some of test rows.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        A row a run: ``dataset``, ``split``, ``seed``, ``arm``, test ``accuracy``, ``points``
        (evaluations);
        ``gap_auc`` and ``gap_log_loss`` (1 - Spearman's correlation of validation and test);
        ``constant_val`` and ``constant_test`` (whether that curve of ROC-AUC does not move);
        ``step`` and ``seconds`` (those of search and generator included) to 95 % of the best
        improvement in validation log-loss, or to the end where it never ``improved``; ``val_auc``
        and ``val_log_loss`` at the step that was kept.
    """
    rows, runs = [], store.runs(KIND)
    for key, run in zip(runs.index, runs.to_dict("records"), strict=True):
        curves = json.loads(store[key]["curves"] or "{}")
        if "test_auc" not in curves:
            continue
        timings = json.loads(store[key]["timings"])
        curves = {name: np.array(values, float) for name, values in curves.items()}
        converged = steps_to_converge(curves["step"], curves["val_log_loss"])
        step = converged or curves["step"][-1]
        start = timings["generator_seconds"] + timings["search_seconds"]
        until = timings["validation_seconds"][curves["step"].searchsorted(step)]
        kept = curves["step"].searchsorted(run["best_step"])
        row = {name: run[name] for name in _RUN}
        row |= {"points": len(curves["step"]), "improved": converged > 0}
        row |= {"step": step, "seconds": start + until}
        for part in ("val", "test"):
            row[f"constant_{part}"] = np.ptp(curves[f"{part}_auc"]) == 0
        for score in COMPARED:
            validation = curves[f"val_{score}"]
            row[f"gap_{score}"] = validation_test_gap(validation, curves[f"test_{score}"])
            row[f"val_{score}"] = validation[kept]
        rows.append(row)
    return pd.DataFrame(rows)


def gaps_by_arm(facts: pd.DataFrame) -> pd.DataFrame:
    """Say how well validation tells the order of the steps on test rows.

    Parameters
    ----------
    facts : DataFrame
        As `curve_facts` returns it.

    Returns
    -------
    DataFrame
        A row an arm: how many ``runs``, and of them ``constant_val`` (their gap is 1),
        ``constant_test`` (they have none) and ``too_short``: with fewer than `LEAST_POINTS`
        evaluations; of the others the median and quartiles of the gap, ``auc_median``, ``auc_q1``,
        ``auc_q3``, and so for log-loss.
    """
    rows = []
    for arm, own in facts.groupby("arm"):
        judged = own[own["points"] >= LEAST_POINTS]
        row = {"arm": arm, "runs": len(own), "too_short": len(own) - len(judged)}
        row |= {name: own[name].sum() for name in ("constant_val", "constant_test")}
        for score, (name, level) in product(COMPARED, _QUARTILES.items()):
            row[f"{score}_{name}"] = judged[f"gap_{score}"].quantile(level)
        rows.append(row)
    return pd.DataFrame(rows)


def convergence_by_arm(facts: pd.DataFrame) -> pd.DataFrame:
    """Say how soon runs come to 95 % of what they gain; those that never improve are censored.

    Parameters
    ----------
    facts : DataFrame
        As `curve_facts` returns it.

    Returns
    -------
    DataFrame
        A row per ``arm`` and ``unit`` of `UNITS`: ``runs``, ``never_improved``, the Kaplan-Meier
        ``median``, when half of the runs have, with its 95 % interval ``low`` to ``high`` (NaN or
        infinite where too few improved), and ``saved``, the mean paired difference of `DEFAULT`
        with ``saved_low`` to ``saved_high`` (bootstrap of tables, then splits), positive being
        sooner; there a run that never improved counts with its whole length.
    """
    rows = []
    for (arm, own), unit in product(facts.groupby("arm"), UNITS):
        curve = _survival(own, unit)
        with np.errstate(divide="ignore", invalid="ignore"):  # at shares of 0 and 1
            low, high = curve.quantile_ci(0.5) if own["improved"].any() else (math.nan, math.nan)
        row = {"arm": arm, "unit": unit, "runs": len(own), "never_improved": sum(~own["improved"])}
        half = curve.surv_times[curve.surv_prob <= 0.5 + 1e-9]
        row |= {"median": half[0] if len(half) else math.nan, "low": low, "high": high}
        pair = facts[facts["arm"].isin([arm, DEFAULT])]
        cube = cube_of(pair, unit)
        if arm != DEFAULT and len(cube.arms) == 2 and cube.tables:
            found = contrast(pair, DEFAULT, arm, unit)
            row |= {"saved": found.value, "saved_low": found.low, "saved_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def survival_curves(facts: pd.DataFrame) -> pd.DataFrame:
    """Estimate the share of runs that have not converged (Kaplan-Meier).

    Parameters
    ----------
    facts : DataFrame
        As `curve_facts` returns it.

    Returns
    -------
    DataFrame
        Steps of the curves, from 1 at 0 to the end of the longest run: ``arm``, ``unit`` (of
        `UNITS`), ``time``, ``share`` and its standard error ``error``.
    """
    parts = []
    for (arm, own), unit in product(facts.groupby("arm"), UNITS):
        curve = _survival(own, unit)
        part = pd.DataFrame({"time": curve.surv_times, "share": curve.surv_prob})
        part["error"] = curve.surv_prob_se
        part.loc[-1] = (0.0, 1.0, 0.0)
        part = part.sort_index(ignore_index=True)
        part.loc[len(part)] = (own[unit].max(), *part.iloc[-1, 1:])
        parts.append(part.assign(arm=arm, unit=unit))
    return pd.concat(parts, ignore_index=True)


def _survival(facts: pd.DataFrame, unit: str) -> SurvfuncRight:
    return SurvfuncRight(facts[unit].to_numpy(float), facts["improved"].to_numpy(int))


def cost_by_arm(store: Store) -> pd.DataFrame:
    """Sum up the time that runs took.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        A row an arm, the cheapest first: ``runs``; the median ``seconds`` of a run, with the search
        of its graph, and their 10 % and 90 % quantiles ``low`` and ``high``; medians of
        ``search_seconds`` and ``generator_seconds`` among them; ``hours`` of all runs.
    """
    runs, parts = store.runs(KIND), ["search_seconds", "generator_seconds"]
    timings = pd.DataFrame([json.loads(store[key]["timings"]) for key in runs.index], runs.index)
    timings = timings.reindex(columns=parts).fillna(0.0).assign(arm=runs["arm"])
    timings["seconds"] = runs["run_seconds"] + timings["search_seconds"]
    by_arm = timings.groupby("arm")
    seconds = by_arm["seconds"]
    found = by_arm.median().assign(low=seconds.quantile(0.1), high=seconds.quantile(0.9))
    found = found.assign(runs=by_arm.size(), hours=seconds.sum() / 3600)
    columns = ["runs", "seconds", "low", "high", *parts, "hours"]
    return found[columns].sort_values("seconds").reset_index()
