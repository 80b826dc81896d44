"""What verdicts owe to their rules: other readings of the same runs, chosen after the fact."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.benchmarks.analysis import (
    paired_differences,
    planned_contrasts,
)
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.candidates import SPLIT, harm
from causalmix.benchmarks.claims import (
    BEFORE,
    CLAIMS,
    DEFAULT,
    PAPER,
    Cube,
    Interval,
    bootstrap,
    normalised,
    resampled_means,
)
from causalmix.benchmarks.comparison import (
    COMPARED,
    GAINS,
    TABLES_OF_A_TEST,
    t_interval,
    verdicts,
)
from causalmix.benchmarks.curve_analysis import LEAST_POINTS, curve_facts
from causalmix.benchmarks.store import Store

N_PERMUTATIONS = 2000
N_NULL = 300  # permutations, and resamples of each, behind the verdicts that chance gives


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
        In alphabetical order; none where there are too few for a verdict.
    """
    pair = runs[runs["arm"].isin([arm, reference])]

    def verdict(rows: pd.DataFrame) -> str:
        # By the intervals: that one table less is too few for a verdict is not the table's doing.
        told = verdicts(paired_differences(rows, [reference], [score]).drop(columns="tables"))
        return told[0] if len(told) else "undecided"  # of a pair or table without runs

    found, tables = verdict(pair), sorted(set(pair["dataset"]))
    if len(tables) < TABLES_OF_A_TEST:
        return []
    return [table for table in tables if verdict(pair[pair["dataset"] != table]) != found]


def harm_falls(gains: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Say by how much fewer runs are harmed with one arm than with another.

    Parameters
    ----------
    gains : DataFrame
        As :func:`causalmix.benchmarks.analysis.gains_over` returns them, of zero-shot.
    pairs : sequence of (str, str)
        An arm and its reference; those without runs are passed over.

    Returns
    -------
    DataFrame
        A row a pair: ``arm``, ``reference``, ``tables``, the ``fall`` of the share of runs harmed
        (`causalmix.benchmarks.candidates.harm`) on the splits that both have, averaged over tables,
        and its 95 % t interval over tables, ``t_low`` to ``t_high``.
    """
    rows = []
    for arm, reference in pairs:
        own = gains[gains["arm"].isin([arm, reference])]
        own = own[own.groupby(SPLIT)["arm"].transform("nunique") == 2]
        if len(own):
            shares = own.groupby(["dataset", "arm"])[GAINS].apply(harm).unstack("arm")
            fall = (shares[reference] - shares[arm]).to_numpy()
            ends = dict(zip(("t_low", "t_high"), t_interval(fall), strict=True))
            names = {"arm": arm, "reference": reference, "tables": len(fall)}
            rows.append({**names, "fall": fall.mean(), **ends})
    return pd.DataFrame(rows, columns=["arm", "reference", "tables", "fall", "t_low", "t_high"])


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


def rank_verdicts_by_chance(cube: Cube) -> pd.Series:
    """Say how often the rule of the claim on mean ranks gives each verdict where no arm differs.

    The best of several equally good arms is ahead of one of them, in the runs and, again, in every
    resample of them: the rule is hard on an arm that is held against it.

    Parameters
    ----------
    cube : Cube
        As :func:`causalmix.benchmarks.audit.compared_cube` returns it, with an arm besides those
        that claims are about.

    Returns
    -------
    Series
        Share of `N_NULL` draws, indexed by verdict. In each, arms are permuted within every table,
        all its splits alike, and the rule takes `N_NULL` resamples.
    """
    (claim,) = (claim for claim in CLAIMS if "rank_lead" in claim.quantities)
    ours, default = cube.of(PAPER), cube.of(DEFAULT)
    others = [i for i in range(len(cube.arms)) if i not in (ours, default)]
    rng = np.random.default_rng(0)
    arms = np.tile(np.arange(len(cube.arms)), (len(cube.tables), 1))
    found = []
    for _ in range(N_NULL):
        order = rng.permuted(arms, axis=1)[:, None]
        drawn = replace(cube, values=np.take_along_axis(cube.values, order, axis=2))
        means = resampled_means(drawn, N_NULL).round(6)
        ranks = stats.rankdata(-means, axis=2).mean(axis=1)
        best = ranks[:, others].min(axis=1)
        leads = {
            "rank_lead": np.minimum(best, ranks[:, default]) - ranks[:, ours],
            "default_rank_lead": best - ranks[:, default],
        }
        ends = {name: np.quantile(lead, [0.025, 0.975]) for name, lead in leads.items()}
        found.append(
            claim.verdict(
                {name: Interval(np.nan, *each, len(cube.tables)) for name, each in ends.items()}
            )
        )
    return pd.Series(found).value_counts(normalize=True)
