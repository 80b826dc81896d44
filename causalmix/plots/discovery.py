"""Tables and figures of edge probabilities against known graphs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.benchmarks.comparison import bootstrap_interval
from causalmix.benchmarks.discovery import LABELS, METHODS, name_groups
from causalmix.discovery.graph_comparison import GraphComparison
from causalmix.plots.style import colours_of, label, legend_below

METHOD_COLOURS = dict(zip(METHODS, colours_of(len(METHODS)), strict=True))
_SOURCES = {"csuite": "CSuite", "random": "Random mixed models"}
_SCORES = {"skeleton_f1": "Skeleton F1", "arrow_f1": "Arrow F1"}
_KINDS = {"skeleton": "Pairs joined", "arrow": "Arrows"}
_LARGEST = 300  # of the dots of `plot_calibration`, in square points


def plot_calibration(compared: Mapping[str, GraphComparison]) -> Figure:
    """Draw how often edges of every probability are in the true graph.

    Parameters
    ----------
    compared : mapping of str to GraphComparison
        By name.

    Returns
    -------
    Figure
        Axes for the skeleton and for arrows. A dot is a bin of probabilities, its area in
        proportion to the pairs in it; on the diagonal, probabilities are frequencies.
    """
    figure, axes = plt.subplots(1, len(_KINDS), figsize=(9, 4.2), sharey=True, layout="constrained")
    colours = sns.color_palette("colorblind", len(compared))
    for ax, (kind, title) in zip(axes, _KINDS.items(), strict=True):
        ax.axline((0, 0), slope=1, color="0.6", lw=1, ls="--")
        for (name, each), colour in zip(compared.items(), colours, strict=True):
            bins = each.reliability[each.reliability["kind"] == kind]
            area = 12 + _LARGEST * bins["n"] / bins["n"].sum()
            ax.plot(bins["probability"], bins["frequency"], color=colour, lw=1)
            place = (bins["probability"], bins["frequency"])
            ax.scatter(*place, area, color=[colour], alpha=0.6, label=label(name))
        ax.set(title=title, xlabel="Estimated probability", xlim=(-0.03, 1.03), ylim=(-0.05, 1.05))
    axes[0].set_ylabel("Share in the true graph")
    for handle in legend_below(axes[0]).legend_handles:
        handle.set_sizes([40])
    return figure


def plot_discovery_benchmark(rows: pd.DataFrame) -> Figure:
    """Draw F1 by method, with 95 % intervals.

    Parameters
    ----------
    rows : DataFrame
        As :class:`causalmix.benchmarks.discovery.DiscoveryBenchmark` holds them.

    Returns
    -------
    Figure
        A row of axes for each score (skeleton and arrow F1), a column for each source. A point is
        the mean over tables of a group (a CSuite dataset, a number of columns) and number of rows;
        its interval a percentile bootstrap over the tables. Tables on which a method did not
        finish are left out of its mean.
    """
    rows = rows.assign(group=name_groups(rows, "columns"))
    sources = [source for source in _SOURCES if source in set(rows["source"])]
    counts = [rows.loc[rows["source"] == source, "group"].nunique() for source in sources]
    figure, axes = plt.subplots(
        len(_SCORES),
        len(sources),
        figsize=(3.5 + 1.1 * sum(counts), 6.5),
        width_ratios=counts,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, source in enumerate(sources):
        part = rows[rows["source"] == source]
        for line, (score, title) in enumerate(_SCORES.items()):
            ax = axes[line, column]
            _draw_scores(ax, part, score)
            ax.set(ylabel=title if column == 0 else "", ylim=(-0.03, 1.03))
            ax.grid(axis="x", visible=False)
        axes[0, column].set_title(_SOURCES[source])
    legend_below(axes[0, 0], 3)
    return figure


def _draw_scores(ax: Axes, part: pd.DataFrame, score: str) -> None:
    """Draw one score of one source: groups side by side, in each of them sizes and methods."""
    groups = list(dict.fromkeys(part["group"]))
    sizes = sorted(part["n_rows"].unique())
    width = 0.8 / (len(sizes) * len(METHODS))
    for number, method in enumerate(METHODS):
        for step, n in enumerate(sizes):
            at = part[(part["method"] == method) & (part["n_rows"] == n)]
            values = [at.loc[at["group"] == group, score].dropna().to_numpy() for group in groups]
            mean = np.array([v.mean() if len(v) else np.nan for v in values])
            ends = np.array([bootstrap_interval(v) if len(v) else (np.nan, np.nan) for v in values])
            place = np.arange(len(groups)) + width * (step * len(METHODS) + number + 0.5) - 0.4
            colour, last = METHOD_COLOURS[method], step == len(sizes) - 1
            look = {"fmt": "o" if last else "D", "mfc": colour if last else "white", "ms": 5.5}
            errors = [mean - ends[:, 0], ends[:, 1] - mean]
            look["label"] = f"{LABELS[method]}, {n:,} rows"
            ax.errorbar(place, mean, errors, color=colour, capsize=2, **look)
    ax.set_xticks(range(len(groups)), [label(group).replace("_", "\n") for group in groups])
    for edge in range(1, len(groups)):
        ax.axvline(edge - 0.5, color="0.85", lw=1)
