"""What committed comparisons of searches and of generators say: tables that chapters argue from.

A difference is *sure* where its 95 % interval does not hold zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from causalmix.benchmarks.comparison import mean_and_interval, verdicts
from causalmix.benchmarks.csuite import MEASURE_LABELS, MEASURES, WAYS
from causalmix.benchmarks.discovery import BOOTSTRAP, LABELS
from causalmix.benchmarks.tabulate import UNBROKEN

_SOURCES = {"csuite": "CSuite", "random": "random models"}
_PARTS = {"skeleton_f1": "pairs", "arrow_f1": "arrows"}
_OF_PROBABILITIES = {
    "skeleton_brier": "Brier score, pairs",
    "arrow_brier": "Brier score, arrows",
    "skeleton_calibration_error": "calibration error, pairs",
    "arrow_calibration_error": "calibration error, arrows",
}
_SCORES = {
    "linear_synthetic": "linear model, synthetic rows",
    "linear_both": "linear model, real + synthetic",
    "boosting_synthetic": "boosted trees, synthetic rows",
    "boosting_both": "boosted trees, real + synthetic",
}
_SAID = {"better": "surely ahead of", "worse": "surely behind", "undecided": "not told from"}


def tabulate_searches(summary: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Lay out by how much F1 of the bootstrap is above that of other searches.

    Parameters
    ----------
    summary : DataFrame
        As `causalmix.benchmarks.discovery.summarise` returns it.
    methods : sequence of str
        The others.

    Returns
    -------
    DataFrame
        A row for each part of the graph and other search, a column for each source and number of
        rows; cells are differences with their intervals.
    """
    rows = _of_all_tables(summary).pivot(index="method", columns=["source", "n_rows"])
    parts = {part: _with_intervals(rows, f"{score}_") for score, part in _PARTS.items()}
    table = pd.concat({part: each.loc[[*methods]] for part, each in parts.items()})
    return table.rename(_SOURCES, axis=1, level=0).rename(LABELS, level=1)


def judge_searches(summary: pd.DataFrame) -> pd.DataFrame:
    """Say which other searches the bootstrap's F1 is surely ahead of, and which it is behind.

    Parameters
    ----------
    summary : DataFrame
        As `causalmix.benchmarks.discovery.summarise` returns it.

    Returns
    -------
    DataFrame
        A row for each part of the graph and source, a column a verdict. Where it does not hold for
        all numbers of rows, those are named.
    """
    rows = _of_all_tables(summary)
    rows = rows.assign(name=rows["method"].map(LABELS).str.replace(", linear", " without squares"))
    return pd.DataFrame(
        {
            (part, where): _verdicts(rows[rows["source"] == source], "n_rows", f"{score}_")
            for score, part in _PARTS.items()
            for source, where in _SOURCES.items()
        }
    ).T


def tabulate_probabilities(summary: pd.DataFrame) -> pd.DataFrame:
    """Lay out how far edge probabilities are from the truth, and those of one search.

    Parameters
    ----------
    summary : DataFrame
        As `causalmix.benchmarks.published_discovery.summarise` returns it.

    Returns
    -------
    DataFrame
        A row for each score and search, a column for each number of rows; cells are means over all
        datasets with their intervals.
    """
    rows = summary[(summary["dataset"] == "all") & summary["score"].isin(_OF_PROBABILITIES)]
    mean, low, high = (rows[name].map("{:.3f}".format) for name in ("mean", "low", "high"))
    wide = rows.assign(shown=mean + " [" + low + ", " + high + "]").pivot(
        index=["score", "method"], columns="n_rows", values="shown"
    )
    table = wide.reindex(_OF_PROBABILITIES, level=0)
    table.columns = [f"{n} rows" for n in table]
    return (
        table.rename(_OF_PROBABILITIES, level=0).rename(LABELS, level=1).rename_axis([None, None])
    )


def csuite_wins(summary: pd.DataFrame) -> pd.DataFrame:
    """Count the datasets on which a median is below the published one.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.csuite.summarise_csuite` returns it.

    Returns
    -------
    DataFrame
        A row per graph, method and n_train, a column per measure, cells like "4 of 6".
    """
    counts = summary.groupby(["graph", "method", "n_train", "measure"])["better"]
    cells = counts.sum().astype(str) + " of " + counts.count().astype(str)
    table = cells.unstack("measure")
    return table[[name for name in MEASURES if name in table]].rename(columns=MEASURE_LABELS)


def compare_ways(rows: pd.DataFrame, way: tuple[str, str], n_train: int) -> pd.DataFrame:
    """Compare one way to generate with each other one, on the same draws of CSuite.

    Parameters
    ----------
    rows : DataFrame
        As `causalmix.benchmarks.csuite.benchmark_csuite` writes them.
    way : pair of str
        Graph and method, a key of `causalmix.benchmarks.csuite.WAYS`.
    n_train : int
        Training rows.

    Returns
    -------
    DataFrame
        A row another way (``graph`` and ``method``) and ``measure``: by how much `way` is above it,
        the mean ``difference`` with its interval ``low`` to ``high``
        (`causalmix.benchmarks.comparison.bootstrap_interval`, over datasets and the draws of each).
        Less is better. A measure that no dataset has is left out.
    """
    scored = rows[rows["n_train"] == n_train]
    scored = scored.assign(nnaa_distance=(scored["nnaa"] - 0.5).abs())
    scored = scored.set_index(["graph", "method", "dataset", "repetition"]).sort_index()
    scored = scored[[*MEASURE_LABELS]]
    records = []
    for other in WAYS:
        if other != way and other in scored.index:
            differences = scored.loc[way] - scored.loc[other]
            for measure in MEASURE_LABELS:
                found = differences[measure].dropna()
                graphs = found.index.get_level_values("dataset")
                record = {"graph": other[0], "method": other[1], "measure": measure}
                if len(found):
                    record |= mean_and_interval(found.to_numpy(), "difference", clusters=graphs)
                    records.append(record)
    return pd.DataFrame(records)


def tabulate_uses(summary: pd.DataFrame, generators: Sequence[str]) -> pd.DataFrame:
    """Lay out by how much the causal generator's rows train learners better than other rows.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.utility.summarise_utility` returns it.
    generators : sequence of str
        The others.

    Returns
    -------
    DataFrame
        A row for each score and other generator, a column for each number of training rows; cells
        are differences in ROC-AUC with their intervals.
    """
    rows = summary[summary["score"].isin(_SCORES)]
    cells = _with_intervals(rows.pivot(index=["score", "generator"], columns="n_train"), "")
    table = cells.loc[[(score, name) for score in _SCORES for name in generators]]
    table.columns = [f"{n} training rows" for n in table]
    return table.rename(_SCORES, level=0).rename_axis(["ROC-AUC of", "minus"])


def judge_uses(summary: pd.DataFrame) -> pd.DataFrame:
    """Say whose rows the causal generator's are surely more use than, and whose less.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.utility.summarise_utility` returns it.

    Returns
    -------
    DataFrame
        A row a score, a column a verdict, as `judge_searches` has them.
    """
    rows = summary[summary["generator"] != "causal"]
    rows = rows.assign(name=rows["generator"])
    return pd.DataFrame(
        {
            name: _verdicts(rows[rows["score"] == score], "n_train")
            for score, name in _SCORES.items()
        }
    ).T


def _of_all_tables(summary: pd.DataFrame) -> pd.DataFrame:
    return summary[(summary["group"] == "all") & (summary["method"] != BOOTSTRAP)]


def _with_intervals(wide: pd.DataFrame, prefix: str) -> pd.DataFrame:
    values, low, high = (wide[f"{prefix}{what}"] for what in ("difference", "low", "high"))
    ends = low.map("[{:+.3f},".format) + UNBROKEN + high.map("{:+.3f}]".format)
    shown = values.map("{:+.3f} ".format) + ends
    return shown.map(lambda cell: cell.replace("-", "−"))


def _verdicts(rows: pd.DataFrame, size: str, prefix: str = "") -> dict[str, str]:
    found = verdicts(rows, prefix)
    sizes = sorted(rows[size].unique())
    said = {}
    for verdict, words in _SAID.items():
        names = []
        for name, own in rows[found == verdict].groupby("name", sort=False):
            at = sorted(own[size])
            which = " and ".join(f"{n:,}" for n in at)
            names.append(name if at == sizes else f"{name} ({which} rows)")
        said[words] = ", ".join(names) or "–"
    return said
