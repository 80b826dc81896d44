"""The paper's claims, and the rule by which a store of runs decides each of them.

The rules are frozen before the runs they judge. Each is a function of intervals alone: a claim is
*reproduced* if the interval of its quantity lies on the claimed side, *not reproduced* if it lies
on the other, *undecided* if it holds both, and *not testable here* if there are no runs for it. A
claim about what the method is has no runs: it is *implemented, tested* where tests show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.store import Store
from causalmix.finetuning.metrics import validation_test_gap

SHOWN = "implemented, tested"
VERDICTS = ("reproduced", "not reproduced", "undecided", "not testable here", SHOWN)

PAPER, DEFAULT, BEFORE = "causal_paper", "default", "zero_shot"
"""The arms that the claims are about: CausalMixFT as in the paper, default fine-tuning, none."""

LEAST_ERROR = 0.02
"""Tables with a smaller error (1 - ROC-AUC) of zero-shot are set aside: nothing is to be gained."""

N_BOOTSTRAP = 2000

QUANTITIES = {
    "median_lead": "median improvement minus the best other arm's:",
    "spread_lead": "interquartile range of default fine-tuning's improvement minus this arm's:",
    "rank_lead": "mean rank of the best other arm minus this arm's:",
    "default_rank_lead": "mean rank of the best third arm minus default fine-tuning's:",
    "gap_lead": "median validation-test gap of default fine-tuning minus this arm's:",
}
"""What `quantities_of` computes, in words."""

Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A quantity with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
    tables : int
        Clusters behind it.
    splits, runs : int
        How many of all tables and arms are behind it; a second seed of a split counts as another.
    """

    value: float
    low: float
    high: float
    tables: int
    splits: int = 0
    runs: int = 0


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes
    ----------
    number : int
        1 to 11, as the book's page of the claims numbers them.
    text : str
        What is claimed.
    quantities : tuple of str
        Names in `quantities_of`; each is claimed to be above zero, all of them together.
    shown_by : str
        For a claim about what the method is: the tests that show that this package does it.
    reason : str
        For a claim that cannot be tested here: why.
    """

    number: int
    text: str
    quantities: tuple[str, ...] = ()
    shown_by: str = ""
    reason: str = ""

    def verdict(self, intervals: Mapping[str, Interval]) -> str:
        """Judge the claim.

        Parameters
        ----------
        intervals : mapping of str to Interval
            As `quantities_of` returns them; what could not be computed is missing.

        Returns
        -------
        str
            One of `VERDICTS`.
        """
        if self.shown_by:
            return SHOWN
        found = [intervals.get(name) for name in self.quantities]
        if not found or any(each is None or np.isnan(each.low) for each in found):
            return "not testable here"
        if any(each.high < 0 for each in found):
            return "not reproduced"
        return "reproduced" if all(each.low > 0 for each in found) else "undecided"


CLAIMS = (
    Claim(
        1,
        "CausalMixFT has the highest median normalised ROC-AUC improvement over the pre-trained "
        "model (+0.12).",
        ("median_lead",),
    ),
    Claim(
        2,
        "The improvement of default fine-tuning varies more over datasets than that of "
        "CausalMixFT (0.98 against 0.63).",
        ("spread_lead",),
    ),
    Claim(
        3,
        "CausalMixFT is first in mean rank, default fine-tuning next.",
        ("rank_lead", "default_rank_lead"),
    ),
    Claim(
        4,
        "Performance is normalised relative to that of zero-shot.",
        reason="The paper's formula is not known; the book defines its own.",
    ),
    Claim(
        5,
        "Real rows are mixed with rows of causal models fitted on the same table.",
        shown_by="tests/finetuning/test_mixing.py",
    ),
    Claim(
        6,
        "A structural causal model encodes dependencies by a DAG and structural equations.",
        shown_by="tests/scm/test_model.py",
    ),
    Claim(
        7,
        "PC and FCI estimate the structure and give a probabilistic adjacency matrix.",
        shown_by="tests/discovery/test_edge_probabilities.py",
    ),
    Claim(
        8,
        "DAGs are sampled from it and fitted with additive noise models.",
        shown_by="tests/discovery/test_dag_sampling.py, tests/scm/test_model.py",
    ),
    Claim(
        9,
        "Numeric features get regressors, categorical features classifiers.",
        shown_by="tests/scm/test_learners.py",
    ),
    Claim(
        10,
        "Synthetic rows come from drawing exogenous noise and propagating it.",
        shown_by="tests/scm/test_model.py",
    ),
    Claim(
        11,
        "The median gap between the validation and the test curve narrows (0.67 to 0.30).",
        ("gap_lead",),
    ),
)
"""All eleven; those shown by tests are about what the method is, not about what it is worth."""


@dataclass(frozen=True)
class Cube:
    """One score of every arm on every split of every table.

    Attributes
    ----------
    arms, tables : list of str
    values : ndarray of float, shape (n_tables, n_splits, n_arms)
        NaN where a table has fewer splits. A split that an arm lacks counts for none.
    """

    arms: list[str]
    tables: list[str]
    values: np.ndarray

    def of(self, arm: str) -> int:
        """Position of an arm."""
        return self.arms.index(arm)


def cube_of(rows: pd.DataFrame, score: str) -> Cube:
    """Arrange a score by table, split and arm.

    Parameters
    ----------
    rows : DataFrame
        A row per ``dataset``, ``split``, ``seed`` and ``arm``.
    score : str
        Name of a column.

    Returns
    -------
    Cube
    """
    wide = rows.pivot_table(score, ["dataset", "split", "seed"], "arm").dropna()
    tables = sorted(wide.index.unique("dataset"))
    most = wide.groupby("dataset").size().max() if len(wide) else 0
    values = np.full((len(tables), most, wide.shape[1]), np.nan)
    for i, table in enumerate(tables):
        found = wide.loc[table].to_numpy()
        values[i, : len(found)] = found
    return Cube(list(wide.columns), tables, values)


def bootstrap(cube: Cube, statistic: Statistic) -> Interval:
    """Interval of a statistic that respects tables: these are redrawn, then splits within them.

    Parameters
    ----------
    cube : Cube
    statistic : callable
        Takes means over splits, of shape (n_tables, n_arms).

    Returns
    -------
    Interval
        Percentiles of `N_BOOTSTRAP` resamples; NaN where the statistic is not defined.
    """
    found = np.array([statistic(means) for means in resampled_means(cube, N_BOOTSTRAP)])
    value = statistic(np.nanmean(cube.values, axis=1))
    low, high = np.nan, np.nan
    if not np.isnan(found).all():
        low, high = np.nanquantile(found, [0.025, 0.975])
    splits = int(_counts(cube).sum())
    runs = splits * len(cube.arms)
    return Interval(float(value), float(low), float(high), len(cube.tables), splits, runs)


def resampled_means(cube: Cube, n: int) -> np.ndarray:
    """Redraw tables, then splits within them, and take the means over splits.

    Parameters
    ----------
    cube : Cube
    n : int
        Number of resamples.

    Returns
    -------
    ndarray of float, shape (n, n_tables, n_arms)
    """
    counts = _counts(cube)
    n_tables, n_splits, n_arms = cube.values.shape
    drawn, chosen = _resamples(n, tuple(counts), n_splits)
    sums = np.zeros((n, n_tables, n_arms))
    for s in range(n_splits):
        kept = s < counts[drawn, None]
        sums += np.where(kept, cube.values[drawn, chosen[:, :, s]], 0.0)
    return sums / counts[drawn, None]


def _counts(cube: Cube) -> np.ndarray:
    return (~np.isnan(cube.values[:, :, 0])).sum(axis=1)


@lru_cache(maxsize=8)  # intervals of one store are all of the same resamples
def _resamples(n: int, counts: tuple[int, ...], n_splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw tables, and splits of each, given how many it has; one row a resample."""
    rng, has = np.random.default_rng(0), np.array(counts)
    drawn = np.empty((n, len(has)), int)
    chosen = np.empty((n, len(has), n_splits), int)
    for b in range(n):
        drawn[b] = rng.integers(len(has), size=len(has))
        chosen[b] = rng.random(chosen.shape[1:]) * has[drawn[b], None]
    return drawn, chosen


def contrast(rows: pd.DataFrame, arm: str, other: str, score: str) -> Interval:
    """Mean paired difference between two arms.

    Parameters
    ----------
    rows : DataFrame
        As `cube_of` takes them.
    arm, other : str
    score : str
        Of log-loss the sign is turned, so that a positive difference is in favour of `arm`.

    Returns
    -------
    Interval
        NaN where one of the two has no scores.
    """
    cube = cube_of(rows[rows["arm"].isin([arm, other])], score)
    if len(cube.arms) < 2:
        return Interval(np.nan, np.nan, np.nan, 0)
    sign = -1.0 if score == "log_loss" else 1.0
    a, b = cube.of(arm), cube.of(other)
    return bootstrap(cube, lambda means: sign * float((means[:, a] - means[:, b]).mean()))


def normalised(means: np.ndarray, before: int) -> np.ndarray:
    """Share of the error before that each arm removes.

    Parameters
    ----------
    means : ndarray of float, shape (n_tables, n_arms)
        ROC-AUC, averaged over splits.
    before : int
        Position of zero-shot.

    Returns
    -------
    ndarray of float, shape (n_usable, n_arms)
        Without the tables whose error is below `LEAST_ERROR`; a row of NaN where none is left.
    """
    error = 1.0 - means[:, before]
    usable = error >= LEAST_ERROR
    if not usable.any():
        return np.full((1, means.shape[1]), np.nan)
    return (means[usable] - means[usable, before][:, None]) / error[usable, None]


def quantities_of(
    store: Store, arms: Sequence[str], tables: Sequence[str] = (), *, method: str = PAPER
) -> dict[str, Interval]:
    """Compute what the claims are about.

    Parameters
    ----------
    store : Store
        With runs of the arms.
    arms : sequence of str
        That are compared with CausalMixFT; it, `DEFAULT` and `BEFORE` are among them.
    tables : sequence of str, default=()
        To be counted; all by default.
    method : str, optional
        The arm that stands for CausalMixFT; `PAPER` judges the claims.

    Returns
    -------
    dict of str to Interval
        ``median_lead``: median normalised improvement of CausalMixFT minus the largest of the
        others. ``spread_lead``: interquartile range over tables of default fine-tuning's
        improvement minus that of CausalMixFT. ``rank_lead``: the smallest mean rank of the others
        minus that of CausalMixFT. ``default_rank_lead``: the same of default fine-tuning against
        the arms that are neither. ``gap_lead``: median validation-test gap in ROC-AUC of default
        fine-tuning minus that of CausalMixFT. What the store has no runs for is missing.
    """
    runs = store.runs(KIND)
    if runs.empty:
        return {}
    runs = runs[runs["arm"].isin(arms)]
    if len(tables):
        runs = runs[runs["dataset"].isin(tables)]
    if not {method, DEFAULT, BEFORE} <= set(runs["arm"]):
        return {}
    cube = cube_of(runs, "auc")
    if not cube.tables:
        return {}
    ours, default, before = (cube.of(arm) for arm in (method, DEFAULT, BEFORE))
    rest = [i for i in range(len(cube.arms)) if i not in (ours, default, before)]

    def median_lead(means: np.ndarray) -> float:
        medians = np.median(normalised(means, before), axis=0)
        return float(medians[ours] - max(medians[i] for i in (*rest, default, before)))

    def spread_lead(means: np.ndarray) -> float:
        low, high = np.quantile(normalised(means, before), [0.25, 0.75], axis=0)
        return float((high - low)[default] - (high - low)[ours])

    def rank_lead(means: np.ndarray, arm: int = ours, others: Sequence[int] = ()) -> float:
        ranks = rankdata(-means.round(6), axis=1).mean(axis=0)  # equal scores tie
        others = others or [i for i in range(len(ranks)) if i != arm]
        return float(min(ranks[list(others)]) - ranks[arm])

    found = {
        "median_lead": _behind(bootstrap(cube, median_lead), cube, before),
        "spread_lead": _behind(bootstrap(cube, spread_lead), cube, before),
        "rank_lead": bootstrap(cube, rank_lead),
    }
    if rest:
        others = [*rest, before]
        found["default_rank_lead"] = bootstrap(cube, lambda m: rank_lead(m, default, others))
    gaps = _gaps(store, runs[runs["arm"].isin([method, DEFAULT])])
    if len(gaps) and set(gaps["arm"]) == {method, DEFAULT}:
        curve = cube_of(gaps, "gap")
        a, b = curve.of(method), curve.of(DEFAULT)
        found["gap_lead"] = bootstrap(
            curve, lambda m: float(np.median(m[:, b]) - np.median(m[:, a]))
        )
    return found


def _behind(interval: Interval, cube: Cube, before: int) -> Interval:
    """Count only what an improvement is taken of: tables that leave something to be gained."""
    usable = 1 - np.nanmean(cube.values[:, :, before], axis=1) >= LEAST_ERROR
    splits = int((~np.isnan(cube.values[usable, :, before])).sum())
    return replace(interval, tables=int(usable.sum()), splits=splits, runs=splits * len(cube.arms))


def _gaps(store: Store, runs: pd.DataFrame) -> pd.DataFrame:
    """Validation-test gap in ROC-AUC of each run; curves that do not move have none."""
    rows = []
    for key, run in runs.iterrows():
        if not store[key]["curves"]:
            continue
        curves = store.curves([key])
        gap = validation_test_gap(curves["val_auc"], curves["test_auc"])
        if np.isfinite(gap):
            rows.append({**run[["dataset", "split", "seed", "arm"]], "gap": gap})
    return pd.DataFrame(rows)
