"""How much differences between arms vary: between tables, splits and seeds; and what that takes.

Functions take runs as :meth:`causalmix.benchmarks.store.Store.runs` returns them. Variances are
estimated by the method of moments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.power import TTestPower

from causalmix.benchmarks.analysis import (
    COMPARED,
    MARGIN,
    PAIR,
    REFERENCES,
    SPLIT,
    each_pair,
    gains_over,
)

_RESAMPLES = 2000

POWER_SPLITS = (5, 10, 20)
"""Splits of a table for which `power` says how many tables are needed."""


def variance_parts(runs: pd.DataFrame) -> pd.DataFrame:
    """Take apart how much a gain over zero-shot varies with the split and the fine-tuning seed.

    Parameters
    ----------
    runs : DataFrame
        Of several seeds on the same splits.

    Returns
    -------
    DataFrame
        A row per ``arm`` and ``score``: ``tables``, ``splits`` and ``runs``; SDs of the gain
        between splits of a table, ``sd_splits``, and between seeds of a split, ``sd_seeds``; and
        ``seed_share``, the seeds' share of the variance of a single run about its table's mean,
        with its 95 % percentile interval ``share_low`` to ``share_high``, by redrawing tables.
        Arms without a second seed, or a second split, are left out.
    """
    rows, rng = [], np.random.default_rng(0)
    for arm, own in gains_over(runs).groupby("arm"):
        for score in COMPARED:
            gains = own.groupby(SPLIT)[f"{score}_gain"]
            n, splits = gains.size(), gains.mean().groupby("dataset")
            if (n < 2).all() or (splits.size() < 2).all():
                continue
            of_seeds = [gains.var().fillna(0) * (n - 1), n - 1, 1 / n]
            freedom, of_tables = splits.size() - 1, [e.groupby("dataset").sum() for e in of_seeds]
            of_tables[2] *= freedom / splits.size()
            of_tables += [splits.var().fillna(0) * freedom, freedom]
            sums = np.stack([each.to_numpy(float) for each in of_tables])
            between, seeds, share = _split_and_seed(sums.sum(axis=1))
            drawn = rng.integers(len(freedom), size=(_RESAMPLES, len(freedom)))
            redrawn = _split_and_seed(sums[:, drawn].sum(axis=2))[2]
            known = redrawn[np.isfinite(redrawn)] if len(freedom) > 1 else []  # one: no interval
            low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
            counts = (splits.ngroups, len(n), len(own))
            rows.append((arm, score, *counts, between**0.5, seeds**0.5, share, low, high))
    columns = ["tables", "splits", "runs", "sd_splits", "sd_seeds"]
    shares = ["seed_share", "share_low", "share_high"]
    return pd.DataFrame(rows, columns=["arm", "score", *columns, *shares])


def _split_and_seed(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances between splits and between seeds, and the seeds' share, from sums over tables.

    `sums` are the squares about the means of splits, their degrees of freedom, and how often the
    seeds' variance is in the squares about the means of tables, which follow with their degrees of
    freedom. Shape (5, ...).
    """
    of_seeds, seed_freedom, times, of_splits, split_freedom = sums
    with np.errstate(invalid="ignore"):  # a resample may have no second seed
        seeds = of_seeds / seed_freedom
        between = np.maximum(0.0, (of_splits - seeds * times) / split_freedom)
        return between, seeds, seeds / (seeds + between)


def _pooled(variances: pd.Series, freedom: pd.Series) -> float:
    """Mean of variances, weighted by their degrees of freedom; NaN where there are none."""
    return float((variances * freedom).sum() / freedom.sum()) if freedom.any() else math.nan


def power(runs: pd.DataFrame, references: Sequence[str] = REFERENCES) -> pd.DataFrame:
    """Say what differences the runs can show, and what runs a difference of `MARGIN` takes.

    Parameters
    ----------
    runs : DataFrame
    references : sequence of str, default=("zero_shot", "default")

    Returns
    -------
    DataFrame
        A row per ``arm``, ``reference`` and ``score``: ``tables`` and ``splits``; SDs of the
        difference between tables, ``sd_tables``, and between splits of a table, ``sd_splits`` (by
        the method of moments; NaN with one split each); ``detectable``, the mean difference that is
        shown with a power of 80 % by a two-sided t-test at 5 % over means of tables; and
        ``tables_with_5``, ...: how many tables `MARGIN` takes with so many of `POWER_SPLITS`.
    """
    rows = []
    for arm, reference, score, gains in each_pair(runs, references):
        own = gains.groupby("dataset")
        means, freedom = own.mean(), own.size() - 1
        within = _pooled(own.var(), freedom)
        between = np.maximum(0.0, means.var() - (within / own.size()).mean(skipna=False))
        detectable = math.nan
        if len(means) > 2:
            detectable = means.std() * TTestPower().solve_power(None, len(means), 0.05, 0.8)
        needed = [tables_needed(math.sqrt(between + within / n)) for n in POWER_SPLITS]
        deviations = (math.sqrt(between), math.sqrt(within), detectable)
        rows.append((arm, reference, score, len(means), len(gains), *deviations, *needed))
    columns = ["tables", "splits", "sd_tables", "sd_splits", "detectable"]
    return pd.DataFrame(
        rows, columns=[*PAIR, *columns, *(f"tables_with_{n}" for n in POWER_SPLITS)]
    )


def tables_needed(sd: float) -> float:
    """Say how many tables show a mean difference of `MARGIN` with a power of 80 % (t-test at 5 %).

    Parameters
    ----------
    sd : float
        Of the difference between tables, over means of their splits.

    Returns
    -------
    float
        A whole number, at least 3; NaN where `sd` is.
    """
    if math.isnan(sd):
        return math.nan
    effect = min(MARGIN / sd, 4.0) if sd else 4.0  # beyond that the solver fails
    return float(math.ceil(TTestPower().solve_power(effect, None, 0.05, 0.8)))
