"""Methods compared over datasets: means, ranks, and paired differences with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.finetuning.metrics import N_BINS, SCORES

N_BOOTSTRAP = 10_000
"""Resamples behind a confidence interval."""

TABLES_OF_A_TEST = 6
"""Below it, Wilcoxon's test over tables cannot come below 5 %."""

COMPARED, GAINS = ["auc", "log_loss"], ["auc_gain", "log_loss_gain"]
"""Scores that are compared, and columns of what is gained in them."""


def compare_methods(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Sum up scores of several methods on the same splits, per training size.

    Every dataset counts once: its scores are averaged over seeds first.

    Parameters
    ----------
    rows : DataFrame
        A row per ``dataset``, ``n_train``, ``seed`` and ``method``, with the columns ``auc``,
        ``log_loss``, ``accuracy`` and ``seconds``; all methods have the same splits.
    reference : str
        The method whose differences from the others are asked for; where `rows` lack it, the
        columns of differences are NaN.

    Returns
    -------
    DataFrame
        A row per ``n_train`` and ``method``, best mean rank first: ``datasets`` (how many),
        ``mean_rank`` (by ROC-AUC within each dataset, 1 the best, ties share the mean of their
        ranks), means over datasets of ``auc``, ``log_loss`` (nats) and ``accuracy``, median of
        ``seconds``, and for methods other than `reference` the mean paired difference
        `reference` minus method ``auc_difference`` with its 95 % interval ``auc_low`` to
        ``auc_high`` (`bootstrap_interval` over datasets), the same for ``log_loss``, and
        ``wins``, ``ties`` and ``losses`` of `reference` by ROC-AUC.
    """
    tables = {}
    for n_train, at_size in rows.groupby("n_train"):
        values = {
            name: at_size.pivot_table(index="dataset", columns="method", values=name)
            for name in (*SCORES, "seconds")
        }
        table = pd.DataFrame(
            {
                "datasets": values["auc"].notna().sum(),
                "mean_rank": mean_ranks(values["auc"]),
                **{name: values[name].mean() for name in SCORES},
                "seconds": at_size.groupby("method")["seconds"].median(),
            }
        )
        tables[n_train] = table.join(_differences(values, reference)).sort_values("mean_rank")
    return pd.concat(tables, names=["n_train", "method"]).reset_index()


def calibration_by_method(rows: pd.DataFrame) -> pd.DataFrame:
    """Average what `reliability` gives, every table counting once.

    Parameters
    ----------
    rows : DataFrame
        A row per ``dataset``, ``seed`` and ``method``, with ``accuracy``, ``log_loss`` and the
        columns `RELIABILITY`.

    Returns
    -------
    DataFrame
        A row a method, least error first: ``calibration_error``, ``confidence``, ``accuracy`` and
        ``log_loss`` (nats).
    """
    counts, confidence = (bins_of(rows, name) for name in ("rows", "confidence"))
    mean = (confidence.fillna(0) * counts).sum(axis=1) / counts.sum(axis=1)
    columns = ["calibration_error", "confidence", "accuracy", "log_loss"]
    tables = rows.assign(confidence=mean).groupby(["method", "dataset"])[columns].mean()
    return tables.groupby("method").mean().sort_values("calibration_error")


def bins_of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Take one quantity of all bins of confidence.

    Parameters
    ----------
    rows : DataFrame
        With the columns `RELIABILITY`.
    name : {"rows", "confidence", "accuracy"}

    Returns
    -------
    DataFrame
        A column a bin, from 0.
    """
    return rows[[f"{name}_{k}" for k in range(N_BINS)]].set_axis(range(N_BINS), axis=1)


def mean_ranks(auc: pd.DataFrame) -> pd.Series:
    """Mean rank of every method over datasets, 1 being the best; ties share their mean rank.

    Parameters
    ----------
    auc : DataFrame, shape (n_datasets, n_methods)
        ROC-AUC, larger is better.

    Returns
    -------
    Series
        Indexed by method.
    """
    return auc.round(6).rank(axis=1, ascending=False, method="average").mean()


def bootstrap_interval(
    differences: np.ndarray,
    *,
    statistic: Callable[..., np.ndarray] = np.mean,
    clusters: Sequence[Hashable] | None = None,
    references: Mapping[Hashable, float] | None = None,
) -> tuple[float, float]:
    """95 % interval of a mean, or of another statistic: percentile bootstrap, t for few values.

    That of a few values is too narrow, so Student's t interval (over clusters, each counting
    once, if there are any) widens it where it is the wider one.

    Parameters
    ----------
    differences : ndarray of float, shape (n,)
        One value a dataset.
    statistic : callable, default=numpy.mean
        Takes an array and `axis`, as NumPy's reductions do. Without clusters, t widens that of a
        mean alone.
    clusters : sequence of hashable, optional
        What each value belongs to, as the graph that its table was drawn from. The interval is of
        the mean over clusters of the statistic within them. Clusters are redrawn, then the values
        in them.
    references : mapping of hashable to float, optional
        What is taken off the statistic of each cluster, as a published one.

    Returns
    -------
    low, high : float
        Both the value itself where there is only one.
    """
    differences, rng = np.asarray(differences, dtype=float), np.random.default_rng(0)
    if references is not None or _are_clustered(clusters, differences):
        parts = _parts(differences, clusters, references)
        found = _clustered(parts, statistic, rng)
        low, high = t_interval(np.array([statistic(own, axis=0) - less for own, less in parts]))
    else:
        drawn = rng.integers(len(differences), size=(N_BOOTSTRAP, len(differences)))
        found = statistic(differences[drawn], axis=1)
        low, high = t_interval(differences) if statistic is np.mean else (np.nan, np.nan)
    tail = (1 - 0.95) / 2
    ends = np.quantile(found, [tail, 1 - tail])
    return float(np.fmin(low, ends[0])), float(np.fmax(high, ends[1]))


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % t interval of a mean; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan
    reach = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean() - reach, values.mean() + reach


def _are_clustered(clusters: Sequence[Hashable] | None, values: np.ndarray) -> bool:
    return clusters is not None and len(set(clusters)) not in (1, len(values))


def _parts(
    values: np.ndarray,
    clusters: Sequence[Hashable],
    references: Mapping[Hashable, float] | None,
) -> list[tuple[np.ndarray, float]]:
    """Values of each cluster, and what is taken off their statistic."""
    codes, names = pd.factorize(np.asarray(clusters))
    less = [0.0 if references is None else references[name] for name in names]
    return [(values[codes == code], less[code]) for code in range(len(names))]


def _clustered(
    parts: Sequence[tuple[np.ndarray, float]],
    statistic: Callable[..., np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Means over clusters of a statistic, in resamples of them and of the values in them."""
    cluster = rng.integers(len(parts), size=(N_BOOTSTRAP, len(parts)))
    found = np.empty(cluster.shape)
    for code, (own, less) in enumerate(parts):
        here = cluster == code
        places = rng.integers(len(own), size=(int(here.sum()), len(own)))
        found[here] = statistic(own[places], axis=1) - less
    return found.mean(axis=1)


def verdicts(rows: pd.DataFrame, prefix: str = "") -> np.ndarray:
    """Say of differences, where positive is better, what their intervals show.

    Parameters
    ----------
    rows : DataFrame
        With the ends of an interval, ``low`` and ``high``; perhaps with those of a second one,
        ``t_low`` and ``t_high``, and with the number of ``tables``.
    prefix : str, default=""
        Before ``low`` and ``high``.

    Returns
    -------
    ndarray of str
        ``better`` or ``worse`` where the interval, or both, lies on one side of 0, else
        ``undecided``. So is all that fewer than `TABLES_OF_A_TEST` are behind.
    """
    low, high = rows[f"{prefix}low"], rows[f"{prefix}high"]
    if "t_low" in rows:  # an end of the bootstrap within its Monte Carlo error of 0 decides nothing
        low, high = np.fmin(low, rows["t_low"]), np.fmax(high, rows["t_high"])
    told = rows["tables"] >= TABLES_OF_A_TEST if "tables" in rows else True
    return np.select([(low > 0) & told, (high < 0) & told], ["better", "worse"], "undecided")


def mean_and_interval(
    values: np.ndarray,
    name: str,
    prefix: str = "",
    *,
    statistic: Callable[..., np.ndarray] = np.mean,
    clusters: Sequence[Hashable] | None = None,
    references: Mapping[Hashable, float] | None = None,
) -> dict[str, float]:
    """Return a mean, or another statistic, with its 95 % interval as cells of a table.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    name : str
        Column of the mean.
    prefix : str, default=""
        Before ``low`` and ``high``, the columns of the interval.
    statistic, clusters, references
        As in `bootstrap_interval`.

    Returns
    -------
    dict
        By column.
    """
    low, high = bootstrap_interval(
        values, statistic=statistic, clusters=clusters, references=references
    )
    clustered = references is not None or _are_clustered(clusters, values)
    parts = _parts(values, clusters, references) if clustered else [(values, 0.0)]
    value = np.mean([statistic(own, axis=0) - less for own, less in parts])
    return {name: value, f"{prefix}low": low, f"{prefix}high": high}


def _differences(values: dict[str, pd.DataFrame], reference: str) -> pd.DataFrame:
    """Paired differences of the reference from every other method."""
    auc, found = values["auc"], {}
    for method in auc.columns.drop(reference) if reference in auc else ():
        gain = (auc[reference] - auc[method]).round(6)
        found[method] = {"wins": (gain > 0).sum(), "ties": (gain == 0).sum()}
        found[method]["losses"] = (gain < 0).sum()
        for name in COMPARED:
            difference = (values[name][reference] - values[name][method]).to_numpy()
            called = f"{name}_difference"
            found[method] |= mean_and_interval(difference, called, f"{name}_")
    floats = [f"{name}_{what}" for name in COMPARED for what in ("difference", "low", "high")]
    counts = ["wins", "ties", "losses"]
    table = pd.DataFrame.from_dict(found, orient="index", columns=[*floats, *counts])
    return table.astype(dict.fromkeys(counts, "Int64"))  # the reference itself has none
