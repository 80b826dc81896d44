"""What verdicts owe to their rules: other readings of the same runs, chosen after the fact."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.benchmarks.analysis import paired_differences, planned_contrasts
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.claims import (
    BEFORE,
    DEFAULT,
    PAPER,
    Cube,
    Interval,
    bootstrap,
    normalised,
)
from causalmix.benchmarks.comparison import COMPARED, verdicts
from causalmix.benchmarks.curve_analysis import LEAST_POINTS, curve_facts
from causalmix.benchmarks.store import Store

N_PERMUTATIONS = 2000


def at_last_step(store: Store) -> pd.DataFrame:
    """Take every run as if the validation rows had not been asked.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        As :meth:`causalmix.benchmarks.store.Store.runs` returns them. Scores of a run with curves
        of test rows are those at its last step, whatever was kept; others are as they were.
    """
    runs = store.runs(KIND).copy()
    for key in runs.index:
        curves = json.loads(store[key]["curves"] or "{}")
        for score in COMPARED:
            if f"test_{score}" in curves:
                runs.loc[key, score] = curves[f"test_{score}"][-1]
    return runs


def contrasts_by_tables(
    runs: pd.DataFrame, pairs: Sequence[Sequence[str]], groups: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Compare pairs of arms on some of the tables.

    Parameters
    ----------
    runs : DataFrame
        As :meth:`causalmix.benchmarks.store.Store.runs` returns them.
    pairs : sequence of (str, str)
        As :func:`causalmix.benchmarks.analysis.planned_contrasts` takes them.
    groups : mapping of str to collection of str
        Tables by the name of the group; those without runs are passed over.

    Returns
    -------
    DataFrame
        As `planned_contrasts` returns it, with the ``group`` in front.
    """
    parts = {
        name: planned_contrasts(runs[runs["dataset"].isin(tables)], pairs)
        for name, tables in groups.items()
    }
    return pd.concat(parts, names=["group"]).reset_index("group").reset_index(drop=True)


def decisive_tables(runs: pd.DataFrame, arm: str, reference: str, score: str) -> list[str]:
    """Name the tables of which any single one, left out, changes a verdict.

    Parameters
    ----------
    runs : DataFrame
        As :meth:`causalmix.benchmarks.store.Store.runs` returns them.
    arm, reference : str
        The pair.
    score : str

    Returns
    -------
    list of str
        In alphabetical order.
    """
    pair = runs[runs["arm"].isin([arm, reference])]

    def verdict(rows: pd.DataFrame) -> str:
        told = verdicts(paired_differences(rows, [reference], [score]))
        return told[0] if len(told) else "undecided"  # of a pair or table without runs

    found = verdict(pair)
    return [
        table
        for table in sorted(set(pair["dataset"]))
        if verdict(pair[pair["dataset"] != table]) != found
    ]


def levels_by_arm(store: Store, cube: Cube) -> pd.DataFrame:
    """Say where each arm itself stands, in the quantities that claims take differences of.

    Parameters
    ----------
    store : Store
    cube : Cube
        As :func:`causalmix.benchmarks.audit.compared_cube` returns it.

    Returns
    -------
    DataFrame
        A row an arm: ``median``, ``iqr`` and ``sd`` over tables of the normalised improvement;
        ``unchanged``, the share of tables on which it is exactly 0; the ``mean_rank``, and the
        median validation-test ``gap`` in ROC-AUC of runs with `LEAST_POINTS` evaluations or more.
    """
    means = np.nanmean(cube.values, axis=1)
    gains = normalised(means, cube.of(BEFORE))
    levels = {
        "median": np.median(gains, axis=0),
        "iqr": stats.iqr(gains, axis=0),
        "sd": gains.std(axis=0, ddof=1),
        "unchanged": (gains == 0).mean(axis=0),
        "mean_rank": stats.rankdata(-means.round(6), axis=1).mean(axis=0),
    }
    table = pd.DataFrame(levels, pd.Index(cube.arms, name="arm"))
    facts = curve_facts(store)
    long = facts[facts["points"] >= LEAST_POINTS] if len(facts) else facts
    return table.assign(gap=long.groupby("arm")["gap_auc"].median() if len(long) else np.nan)


def sd_lead(cube: Cube, arm: str = PAPER) -> Interval:
    """Take the standard deviation over tables of default fine-tuning's improvement minus an arm's.

    Parameters
    ----------
    cube : Cube
        As :func:`causalmix.benchmarks.audit.compared_cube` returns it.
    arm : str, default="causal_paper"

    Returns
    -------
    Interval
        By `causalmix.benchmarks.claims.bootstrap`.
    """
    ours, default, before = (cube.of(name) for name in (arm, DEFAULT, BEFORE))

    def lead(means: np.ndarray) -> float:
        spread = normalised(means, before).std(axis=0, ddof=1)
        return float(spread[default] - spread[ours])

    return bootstrap(cube, lead)


def chance_of_rank_lead(cube: Cube, arm: str, set_aside: str | None = None) -> float:
    """Say how often chance puts an arm as far behind the best other one in mean rank.

    The best of several arms that are equally good is ahead of any one of them.

    Parameters
    ----------
    cube : Cube
        As :func:`causalmix.benchmarks.audit.compared_cube` returns it.
    arm : str
    set_aside : str, optional
        An arm that is not among the others.

    Returns
    -------
    float
        Share of `N_PERMUTATIONS` random orders of the arms on each table in which it is at least as
        far behind as it is.
    """
    means = np.nanmean(cube.values, axis=1).round(6)
    ranks = stats.rankdata(-means, axis=1)
    others = [i for i, name in enumerate(cube.arms) if name not in (arm, set_aside)]

    def lead(ranks: np.ndarray) -> float:
        mean = ranks.mean(axis=0)
        return mean[others].min() - mean[cube.of(arm)]

    rng = np.random.default_rng(0)
    drawn = [lead(rng.permuted(ranks, axis=1)) for _ in range(N_PERMUTATIONS)]
    return float(np.mean(np.array(drawn) <= lead(ranks) + 1e-9))
