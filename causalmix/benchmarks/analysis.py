"""What a store of runs says about its arms: differences, ranks, harm, normalised gains, power.

Functions take runs as :meth:`causalmix.benchmarks.store.Store.runs` returns them, and return tidy
tables. A table of data counts once: its splits are averaged before tables are compared. Positive
differences are better.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.candidates import (
    AUC_HARM,
    LOSS_HARM,
    NOISE,
    SPLIT,
    check_promise,
    harm,
    paired_scores,
)
from causalmix.benchmarks.claims import (
    BEFORE,
    DEFAULT,
    LEAST_ERROR,
    Cube,
    bootstrap,
    contrast,
    cube_of,
    normalised,
)
from causalmix.benchmarks.comparison import COMPARED, GAINS, t_interval
from causalmix.benchmarks.store import Store
from causalmix.errors import CausalMixError, check_name, check_names
from causalmix.finetuning.metrics import SCORES

REFERENCES = (BEFORE, DEFAULT)
"""Arms that the others are compared with."""

MARGIN = 0.002
"""Differences of a table up to this, in ROC-AUC or nats, are ties."""

SPLITS_OF_A_TABLE = 5
"""Below it nothing is said of a single table."""

PAIR = ["arm", "reference", "score"]


def finetuning_runs(store: Store) -> pd.DataFrame:
    """Return the finished runs of a benchmark of fine-tuning, as `Store.runs` does.

    Raises
    ------
    CausalMixError
        If there is none.
    """
    runs = store.runs(KIND)
    if runs.empty:
        others = sorted(store.kinds() - {KIND})
        only = f", only of {', '.join(others)}" if others else ""
        raise CausalMixError(
            f"{store.folder or 'The store'} has no finished runs of fine-tuning{only}. Name the "
            "folder that 'causalmix benchmark' wrote."
        )
    return runs


def select(store: Store, where: Collection[str] = ()) -> Store:
    """Take the finished runs that have certain settings.

    Parameters
    ----------
    store : Store
    where : collection of str, default=()
        Each a column of `Store.runs` with the values to take, as ``"arm=default,causal"``. Runs
        that have no such setting, as a random forest has no weights, stay.

    Returns
    -------
    Store
        In memory.

    Raises
    ------
    UnknownNameError
        If a setting is unknown, or none of its runs has such a value.
    CausalMixError
        If no run is left, or a condition is not of this form.
    """
    runs = finetuning_runs(store)
    for text in where:
        name, equals, listed = text.partition("=")
        if not equals:
            raise CausalMixError(f"--where takes NAME=VALUES, as n_train=60, not {text!r}.")
        own = runs[check_name(name, list(runs), "setting")].dropna().map(_shown)
        known = sorted(set(own))
        values = [listed] if listed in known else listed.split(",")  # a device's name has commas
        values = [value if value in known else _as_shown(value) for value in values]
        check_names(values, known, f"{name} in the store")
        runs = runs[runs[name].isna() | runs.index.isin(own.index[own.isin(values)])]
    if runs.empty:
        raise CausalMixError("The store has no finished runs of fine-tuning with such settings.")
    found = Store()
    for key in runs.index:
        found.add(store[key])
    return found


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_shown(text: str) -> str:
    """Return a number as `_shown` shows it, 1.0e-5 as 1e-05, and other text as it is."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds of a split.

    Parameters
    ----------
    runs : DataFrame

    Returns
    -------
    DataFrame
        A row per ``dataset``, ``split`` and ``arm``, with `SCORES` and a ``seed`` of 0.

    Raises
    ------
    CausalMixError
        If runs of an arm on a split differ in more than their seed.
    """
    run = [*SPLIT, "arm", "seed"]
    if (twice := runs[runs.duplicated(run, keep=False)]).size:
        (dataset, split, arm, _), own = next(iter(twice.groupby(run)))
        skipped = {*SCORES, "best_step", "reason", "run_seconds", "error"}
        texts = own.drop(columns=skipped & set(own)).map(_shown)
        differ = {name: sorted(set(texts[name])) for name in texts if texts[name].nunique() > 1}
        found = "; ".join(f"{name} ({', '.join(each)})" for name, each in differ.items())
        raise CausalMixError(
            f"{len(own)} runs of {arm!r} on {dataset}, split {split}, differ in "
            f"{found or 'nothing but their keys'}. Choose some, as --where NAME=VALUE."
        )
    return runs.groupby([*SPLIT, "arm"])[list(SCORES)].mean().reset_index().assign(seed=0)


def check_rows(runs: pd.DataFrame) -> None:
    """Raise unless all arms on a split of a table were run on the same rows, with the same model.

    Parameters
    ----------
    runs : DataFrame

    Raises
    ------
    CausalMixError
        If two differ in the table's content, in numbers of rows or in weights; names both. Arms
        without a foundation model have no weights.
    """
    alike = ("data", "n_train", "n_val", "n_test", "weights")
    for name in (name for name in alike if name in runs):
        values = runs.dropna(subset=[name]).groupby(SPLIT)[name].unique()
        if len(mixed := values[values.map(len) > 1]):
            (dataset, split), found = next(iter(mixed.items()))
            shown = ", ".join(sorted(map(_shown, found)))
            raise CausalMixError(
                f"Arms on {dataset}, split {split}, were not run alike: {name} is {shown}. Choose "
                f"some, as --where {name}={_shown(found[0])}."
            )


def gains_over(runs: pd.DataFrame, reference: str = BEFORE) -> pd.DataFrame:
    """Compare every run with an arm on the same split.

    Parameters
    ----------
    runs : DataFrame
    reference : str, default="zero_shot"
        The arm; of several seeds the same one, or the mean where that is not there
        (`causalmix.benchmarks.candidates.paired_scores`).

    Returns
    -------
    DataFrame
        A row a run of another arm: ``dataset``, ``split``, ``arm``, ``auc_gain``,
        ``log_loss_gain`` (nats) and ``accuracy_gain``.
    """
    check_rows(runs)
    is_reference = runs["arm"] == reference
    own, others = runs[is_reference], runs[~is_reference]
    before = over_seeds(own).set_index(SPLIT)
    others = others[pd.MultiIndex.from_frame(others[SPLIT]).isin(before.index)]
    before, found = paired_scores(others, own, SCORES), others[[*SPLIT, "arm"]].copy()
    for score in SCORES:
        sign = -1.0 if score == "log_loss" else 1.0
        found[f"{score}_gain"] = sign * (others[score] - before[score])
    return found.reset_index(drop=True)


def each_pair(
    runs: pd.DataFrame, references: Sequence[str], scores: Sequence[str] = COMPARED
) -> Iterator[tuple[str, str, str, pd.Series]]:
    """Yield arm, reference, score, and the differences by table and split, where both have it."""
    for reference in references:
        for arm, gains in gains_over(runs, reference).groupby("arm"):
            for score in scores:
                if len(known := gains.groupby(SPLIT)[f"{score}_gain"].mean().dropna()):
                    yield arm, reference, score, known


def paired_differences(
    runs: pd.DataFrame,
    references: Sequence[str] = REFERENCES,
    scores: Sequence[str] = COMPARED,
) -> pd.DataFrame:
    """Compare every arm with the references, on the splits that both have.

    Parameters
    ----------
    runs : DataFrame
    references : sequence of str, default=("zero_shot", "default")
        Those without runs are passed over.
    scores : sequence of str, default=["auc", "log_loss"]
        Of `causalmix.finetuning.metrics.SCORES`.

    Returns
    -------
    DataFrame
        A row per ``arm``, ``reference`` and ``score``: the mean ``difference`` with its 95 %
        intervals ``low`` to ``high`` (bootstrap of tables, then of splits) and ``t_low`` to
        ``t_high`` (t over means of tables); ``wins``, ``ties``, ``losses`` of tables by `MARGIN`;
        how many ``tables`` and ``splits`` are behind it; ``p`` of Wilcoxon's signed-rank test
        over means of tables, and ``p_holm``, corrected for the number of arms.
    """
    averaged, rows = over_seeds(runs), []
    for arm, reference, score, gains in each_pair(runs, references, scores):
        means = gains.groupby("dataset").mean().to_numpy()
        found = contrast(averaged, arm, reference, score)
        wins, losses = ((sign * means > MARGIN).sum() for sign in (1, -1))
        counts = (wins, len(means) - wins - losses, losses, len(means), len(gains))
        values = (found.value, found.low, found.high, *t_interval(means))
        rows.append((arm, reference, score, *values, *counts, _wilcoxon(means)))
    values = ["difference", "low", "high", "t_low", "t_high"]
    counts = ["wins", "ties", "losses", "tables", "splits"]
    table = pd.DataFrame(rows, columns=[*PAIR, *values, *counts, "p"])
    return table.assign(p_holm=table.groupby(["reference", "score"])["p"].transform(holm))


def _wilcoxon(values: np.ndarray) -> float:
    values = values.round(9)  # equal scores differ by rounding
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


def holm(p: pd.Series) -> pd.Series:
    """Correct p-values for their number by Holm's method; NaN stays and does not count."""
    known = p.dropna()
    corrected = multipletests(known, method="holm")[1] if len(known) else known
    return pd.Series(corrected, known.index, float).reindex(p.index)


def planned_contrasts(
    runs: pd.DataFrame, pairs: Sequence[Sequence[str]], scores: Sequence[str] = COMPARED
) -> pd.DataFrame:
    """Compare the pairs of arms that a plan has named beforehand.

    Parameters
    ----------
    runs : DataFrame
    pairs : sequence of (str, str)
        As `causalmix.benchmarks.plan.Plan` has them; those without runs are passed over.
    scores : sequence of str, default=["auc", "log_loss"]
        As `paired_differences` takes them.

    Returns
    -------
    DataFrame
        As of `paired_differences`, with ``p_holm`` corrected for the number of pairs.
    """
    parts = [
        paired_differences(runs[runs["arm"].isin(pair)], [pair[1]], scores)
        for pair in dict.fromkeys(map(tuple, pairs))
    ]
    found = [part for part in parts if len(part)] or [paired_differences(runs[:0])]
    table = pd.concat(found, ignore_index=True)
    return table.assign(p_holm=table.groupby("score")["p"].transform(holm))


def differences_by(runs: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Make `paired_differences` for each value of settings, as of the number of training rows.

    Parameters
    ----------
    runs : DataFrame
    factors : sequence of str
        Columns of `runs`. Runs without such a setting, as zero-shot has no learning rate, are
        compared at each value.

    Returns
    -------
    DataFrame
        With the factors in front.

    Raises
    ------
    UnknownNameError
        If a factor is no column.
    CausalMixError
        If no run has a value of one of them.
    """
    compared = {*PAIR, *SPLIT, *SCORES, *(f"{score}_gain" for score in SCORES), "run_seconds"}
    check_names(factors, [name for name in runs if name not in compared], "setting")
    if len(set(factors)) < len(factors):
        raise CausalMixError(f"A setting is named twice: {', '.join(factors)}.")
    settings = runs[[*factors]]
    texts = settings.select_dtypes(exclude="number").columns  # lists among them
    settings = settings.assign(
        **{n: settings[n].map(str).where(settings[n].notna()) for n in texts}
    )
    parts = {}
    for values in product(*(sorted(settings[name].dropna().unique()) for name in factors)):
        own = (settings.isna() | (settings == values)).all(axis=1)
        parts[values] = paired_differences(runs[own])
    if not parts:
        raise CausalMixError(f"No run has a value of {' and of '.join(factors)}.")
    return pd.concat(parts, names=list(factors)).droplevel(-1).reset_index()


def harm_by_arm(runs: pd.DataFrame) -> pd.DataFrame:
    """Count where an arm is worse than zero-shot.

    Parameters
    ----------
    runs : DataFrame

    Returns
    -------
    DataFrame
        A row an arm: how many ``tables`` and ``runs``; ``tables_harmed`` and ``runs_harmed``, the
        shares of them that fall by more than `causalmix.benchmarks.candidates.AUC_HARM` or
        `LOSS_HARM`; ``runs_helped``, the share that rises so far in one score and does not fall so
        far in the other; ``runs_changed``, the share of runs whose scores are not those of
        zero-shot, and ``changed_harmed``, how many of these are harmed; ``noise_floor``, the share
        of harmed runs of `NOISE`; and ``worse_tables``, the names of those that fall by more than
        chance over splits explains, among tables of `SPLITS_OF_A_TABLE` or more.
    """
    gains, rows = gains_over(runs).dropna(subset=GAINS), []
    floor = harm(gains[gains["arm"] == NOISE])
    for arm, own in gains.groupby("arm"):
        tables = own.groupby("dataset")[GAINS].mean()
        many = own.groupby("dataset")["split"].transform("nunique") >= SPLITS_OF_A_TABLE
        worse = ", ".join(check_promise(own[many], floor).worse_tables) if many.any() else ""
        changed = (own[GAINS] != 0).any(axis=1)
        helped = (own["auc_gain"] > AUC_HARM) | (own["log_loss_gain"] > LOSS_HARM)
        helped &= (own["auc_gain"] >= -AUC_HARM) & (own["log_loss_gain"] >= -LOSS_HARM)
        shares = harm(tables), harm(own), helped.mean(), changed.mean(), harm(own[changed]), floor
        rows.append((arm, len(tables), len(own), *shares, worse))
    shares = ["tables_harmed", "runs_harmed", "runs_helped", "runs_changed", "changed_harmed"]
    shares.append("noise_floor")
    return pd.DataFrame(rows, columns=["arm", "tables", "runs", *shares, "worse_tables"])


# ---- all arms at once ----------------------------------------------------------------------------


def common_cube(runs: pd.DataFrame, core: Sequence[str] = ()) -> Cube:
    """Take the ROC-AUC on the splits that arms have in common.

    Parameters
    ----------
    runs : DataFrame
    core : sequence of str, default=()
        The arms that decide which tables are counted. Other arms that lack one of these tables are
        set aside; so are splits that one of the rest lacks. By default zero-shot and every arm that
        has five sixths of its tables: a benchmark that is under way lacks arms of one table.

    Returns
    -------
    Cube
        Empty where one of `core` has no runs.
    """
    check_rows(runs)
    scores = over_seeds(runs)
    tables = {arm: set(own["dataset"]) for arm, own in scores.groupby("arm")}
    if not core:
        usual = 5 / 6 * len(tables.get(BEFORE, ()))
        core = [BEFORE, *(arm for arm, own in tables.items() if len(own) >= usual)]
    counted = set.intersection(*(tables.get(arm, set()) for arm in core))
    if not counted:
        return Cube([], [], np.empty((0, 0, 0)))
    arms = [arm for arm, own in tables.items() if counted <= own]
    return cube_of(scores[scores["arm"].isin(arms) & scores["dataset"].isin(counted)], "auc")


def table_means(cube: Cube) -> pd.DataFrame:
    """Average a cube over splits: a row a table, a column an arm."""
    means = np.nanmean(cube.values, axis=1) if cube.tables else np.empty((0, len(cube.arms)))
    return pd.DataFrame(means, pd.Index(cube.tables, name="dataset"), cube.arms)


def rank_arms(runs: pd.DataFrame) -> pd.DataFrame:
    """Rank arms on every table by ROC-AUC, and test whether they differ at all.

    Parameters
    ----------
    runs : DataFrame

    Returns
    -------
    DataFrame
        A row an arm of `common_cube`, the best ``mean_rank`` first (ties share theirs). The same in
        all rows: ``statistic`` and ``p`` of Friedman's test (NaN below three arms or two tables),
        ``critical_difference`` of two mean ranks at 5 % (Nemenyi), ``tables`` and ``splits``.

    References
    ----------
    Demšar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7.
    """
    cube = common_cube(runs)
    means = table_means(cube).round(6)
    (n, k), statistic, p, critical = means.shape, math.nan, math.nan, math.nan
    if n > 1 and k > 2:
        statistic, p = stats.friedmanchisquare(*means.to_numpy().T)
        q = stats.studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2)
        critical = q * math.sqrt(k * (k + 1) / (6 * n))
    ranks = means.rank(axis=1, ascending=False).mean().sort_values().rename_axis("arm")
    found = {"statistic": statistic, "p": p, "critical_difference": critical, "tables": n}
    splits = int(np.isfinite(cube.values[..., :1]).sum())
    return ranks.reset_index(name="mean_rank").assign(**found, splits=splits)


def normalised_by_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Normalise every arm's ROC-AUC on every table, over means of its splits.

    Parameters
    ----------
    runs : DataFrame

    Returns
    -------
    DataFrame
        A row per ``dataset`` and ``arm`` of `common_cube` but zero-shot: ``gain`` over zero-shot,
        its ``error`` (1 - ROC-AUC), and the ``improvement`` (gain / error; NaN where the error is
        below `causalmix.benchmarks.claims.LEAST_ERROR`).

    Raises
    ------
    CausalMixError
        If zero-shot was not run.
    """
    means = table_means(common_cube(runs))
    if BEFORE not in means:
        raise CausalMixError(f"The store has no runs of the arm {BEFORE!r} to compare with.")
    before = means[BEFORE]
    gain = means.drop(columns=BEFORE).sub(before, axis=0)
    tidy = gain.rename_axis(columns="arm").stack().rename("gain").reset_index()
    tidy["error"] = 1.0 - tidy["dataset"].map(before)
    tidy["improvement"] = (tidy["gain"] / tidy["error"]).where(tidy["error"] >= LEAST_ERROR)
    return tidy


def normalised_by_arm(runs: pd.DataFrame) -> pd.DataFrame:
    """Sum up the normalised improvements over tables.

    Parameters
    ----------
    runs : DataFrame

    Returns
    -------
    DataFrame
        A row an arm, the largest first: ``median`` with its 95 % interval ``low`` to ``high``,
        ``iqr``, ``mad`` (median absolute deviation) and ``sd`` over ``tables``; and
        ``set_aside``, the names of tables with too little to gain.
    """
    cube, rows = common_cube(runs), []
    for arm, own in normalised_by_table(runs).groupby("arm"):
        place, before = cube.of(arm), cube.of(BEFORE)

        def median(means: np.ndarray, place: int = place, before: int = before) -> float:
            return float(np.median(normalised(means, before)[:, place]))

        found = bootstrap(cube, median)
        values = own["improvement"].dropna()
        spread = (stats.iqr(values), stats.median_abs_deviation(values), values.std())
        aside = ", ".join(own["dataset"][own["improvement"].isna()])
        middle = (found.value, found.low, found.high)
        rows.append((arm, *middle, *spread, len(values), aside))
    columns = ["median", "low", "high", "iqr", "mad", "sd", "tables", "set_aside"]
    table = pd.DataFrame(rows, columns=["arm", *columns])
    return table.sort_values("median", ascending=False, ignore_index=True)
