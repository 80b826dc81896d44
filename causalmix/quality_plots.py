"""Figures of how well synthetic rows stand in for real ones, and of the benchmarks behind them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.csuite_benchmark import GRAPHS, MEASURES

_BETTER = {
    "CMD": "lower is better",
    "kMTVD": "lower is better",
    "NNAA": "0.5 is best",
    "near-copies": "about 0.05 in fresh rows",
    "ATE error": "lower is better",
}

_LABELS = {
    "cmd": "CMD",
    "kmtvd": "kMTVD",
    "nnaa_distance": "|NNAA − 0.5|",
    "ate_error": "ATE error",
}


def plot_quality(report: pd.DataFrame) -> Figure:
    """Draw a quality report: a panel a measure, a dot a generator, a line for real rows.

    Parameters
    ----------
    report : DataFrame
        As :func:`causalmix.quality.quality_report` returns it; the first row is the reference.

    Returns
    -------
    Figure
    """
    columns = list(report.columns)
    n_rows = -(-len(columns) // 3)
    figure, axes = plt.subplots(
        n_rows, 3, figsize=(9.5, (0.32 * len(report) + 1.1) * n_rows), squeeze=False, sharey=True
    )
    generators = report.iloc[1:]
    position = np.arange(len(generators))[::-1]
    colours = sns.color_palette(n_colors=len(generators))
    for ax, column in zip(axes.flat, columns, strict=False):
        ax.scatter(generators[column], position, c=colours, s=45)
        ax.axvline(report[column].iloc[0], color="0.25", lw=1.2, ls="--")
        ax.set_yticks(position, generators.index)
        ax.set_ylim(-0.6, len(generators) - 0.4)
        better = _BETTER.get(column, "ROC-AUC, higher is better")
        ax.set(title=column, xlabel=better)
        ax.margins(x=0.15)
    for ax in axes.flat[len(columns) :]:
        ax.axis("off")
    line = plt.Line2D([], [], color="0.25", ls="--", label=f"{report.index[0]} (reference)")
    figure.legend(handles=[line], loc="lower center", frameon=False)
    figure.tight_layout(rect=(0, 0.09 / n_rows, 1, 1))
    return figure


def plot_csuite(summary: pd.DataFrame, graph: str, measure: str = "cmd") -> Figure:
    """Draw a measure against the number of training rows, beside the published medians.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.csuite_benchmark.summarise_csuite` returns it.
    graph : {"true", "discovered"}
        Where the graphs come from.
    measure : str, default="cmd"
        A key of :data:`causalmix.csuite_benchmark.MEASURES`.

    Returns
    -------
    Figure
        A panel a dataset: medians with their 95 % interval over repetitions, the published ones,
        and those of real rows, below which no generator can be expected.
    """
    rows = summary[(summary["graph"] == graph) & (summary["measure"] == measure)]
    names = sorted(rows["dataset"].unique())
    n_rows = -(-len(names) // 3)
    figure, axes = plt.subplots(n_rows, 3, figsize=(9.5, 2.9 * n_rows), squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        _csuite_panel(ax, rows[rows["dataset"] == name], graph)
        ax.set(title=name, xlabel="Training rows", ylabel=_LABELS[measure])
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.12 / n_rows, 1, 1))
    return figure


def _csuite_panel(ax: Axes, rows: pd.DataFrame, graph: str) -> None:
    for colour, (method, each) in zip(
        sns.color_palette("colorblind"), rows.groupby("method", sort=True), strict=False
    ):
        each = each.sort_values("n_train")
        n, middle = each["n_train"], each["median"]
        ax.plot(n, middle, "o-", color=colour, label=f"CausalMix ({method})")
        ax.fill_between(n, each["low"], each["high"], color=colour, alpha=0.2, lw=0)
    ax.plot(n, each["published"], "s--", color="0.35", label=f"published ({GRAPHS[graph]})")
    ax.plot(n, each["floor"], ":", color="0.35", label="real rows")
    ax.set_xscale("log")
    ax.set_xticks(list(n), [str(v) for v in n])
    ax.minorticks_off()
    ax.set_ylim(0)


def csuite_wins(summary: pd.DataFrame) -> pd.DataFrame:
    """Count the datasets on which a median is below the published one.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.csuite_benchmark.summarise_csuite` returns it.

    Returns
    -------
    DataFrame
        A row per graph, method and n_train, a column per measure, cells like "4 of 6".
    """
    counts = summary.groupby(["graph", "method", "n_train", "measure"])["better"]
    cells = counts.sum().astype(str) + " of " + counts.count().astype(str)
    return cells.unstack("measure")[list(MEASURES)].rename(columns=_LABELS)
