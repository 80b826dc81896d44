"""Tables and figures of edge probabilities against known graphs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.benchmarks.discovery import LABELS, METHODS, name_groups
from causalmix.benchmarks.published_discovery import METHODS as SEARCHED
from causalmix.benchmarks.published_discovery import PUBLISHED
from causalmix.discovery.graph_comparison import GraphComparison
from causalmix.errors import check_name
from causalmix.plots.style import REAL_COLOUR, colours_of, label, legend_below, make_panels

METHOD_COLOURS = dict(zip(METHODS, colours_of(len(METHODS)), strict=True))
_SOURCES = {"csuite": "CSuite", "random": "Random mixed models"}
_SCORES = {"skeleton_f1": "F1 of pairs joined", "arrow_f1": "F1 of arrows"}
_KINDS = {"skeleton": ("pairs joined", "C0"), "arrow": ("arrows", "C1")}
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
        A panel for each, with a line for the skeleton (pairs) and one for arrows. A dot is a bin of
        probabilities, its area in proportion to the pairs in it; on the diagonal, probabilities are
        frequencies.
    """
    options = {"sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = make_panels(len(compared), 2, (6.5, 3.0), **options)
    for k, (ax, (name, each)) in enumerate(zip(axes, compared.items(), strict=True)):
        ax.axline((0, 0), slope=1, color="0.6", lw=1, ls="--")
        for kind, (title, colour) in _KINDS.items():
            bins = each.reliability[each.reliability["kind"] == kind]
            area = 12 + _LARGEST * bins["n"] / bins["n"].sum()
            ax.plot(bins["probability"], bins["frequency"], color=colour, lw=1)
            place = (bins["probability"], bins["frequency"])
            ax.scatter(*place, area, color=[colour], alpha=0.6, label=title)
        ax.set(title=label(name), xlim=(-0.05, 1.05), ylim=(-0.07, 1.07))
        ax.set_xlabel("Estimated probability" if k + 2 >= len(axes) else "")
        ax.set_ylabel("Share in the true graph" if k % 2 == 0 else "")
    for handle in legend_below(axes[0]).legend_handles:
        handle.set_sizes([40])
    return figure


def plot_discovery_benchmark(rows: pd.DataFrame, score: str = "skeleton_f1") -> Figure:
    """Draw F1 by method.

    Parameters
    ----------
    rows : DataFrame
        As :class:`causalmix.benchmarks.discovery.DiscoveryBenchmark` holds them.
    score : {"skeleton_f1", "arrow_f1"}, default="skeleton_f1"
        Of pairs that are joined, or of arrows.

    Returns
    -------
    Figure
        Axes for each source, a line for each method, on which a large dot is the mean over all
        tables of a number of rows, and small dots are those of a group of them (a CSuite dataset, a
        number of columns). Tables on which a method did not finish are left out of its means.
    """
    check_name(score, _SCORES, "score")
    rows = rows.assign(group=name_groups(rows, "columns"))
    sources = [source for source in _SOURCES if source in set(rows["source"])]
    size = (6.5, 3.1 * len(sources) + 0.5)
    figure, axes = plt.subplots(
        len(sources), 1, figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    for ax, source in zip(axes.flat, sources, strict=True):
        _draw_scores(ax, rows[rows["source"] == source], score)
        ax.set(title=_SOURCES[source], xlim=(-0.03, 1.03))
    axes[-1, 0].set_xlabel(_SCORES[score])
    legend_below(axes[0, 0])
    return figure


def _draw_scores(ax: Axes, part: pd.DataFrame, score: str) -> None:
    """Draw one score of one source: methods from top to bottom, each with a line for each size."""
    sizes = sorted(part["n_rows"].unique())
    for k, n in enumerate(sizes):
        at = part[part["n_rows"] == n]
        means = at.groupby("method")[score].mean().reindex(METHODS)
        height = np.arange(len(METHODS))[::-1] - 0.3 * (k - (len(sizes) - 1) / 2)
        groups = at.groupby(["method", "group"])[score].mean().unstack("group").reindex(METHODS)
        for values in groups.to_numpy().T:
            ax.scatter(values, height, s=14, color="0.6", lw=0)
        face = REAL_COLOUR if k == len(sizes) - 1 else "white"
        look = {"s": 60, "facecolor": face, "edgecolor": REAL_COLOUR, "lw": 1.5, "zorder": 3}
        ax.scatter(means, height, label=f"{n:,} rows", **look)
    ax.scatter([], [], s=14, color="0.6", lw=0, label="by graph or number of columns")
    ax.set_yticks(range(len(METHODS)), [LABELS[method] for method in reversed(METHODS)])
    ax.grid(axis="y", visible=False)
    for edge in range(1, len(METHODS)):
        ax.axhline(edge - 0.5, color="0.9", lw=1)


def plot_published_discovery(summary: pd.DataFrame) -> Figure:
    """Draw recall and precision against the number of rows, beside published searches.

    Parameters
    ----------
    summary : DataFrame
        As `causalmix.benchmarks.published_discovery.summarise` returns it.

    Returns
    -------
    Figure
        A panel a score: means over all datasets with their 95 % intervals, and the published means.
    """
    rows = summary[summary["dataset"] == "all"].sort_values("n_rows")
    sizes = sorted(rows["n_rows"].unique())
    options = {"sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = make_panels(len(PUBLISHED), 2, (6.5, 2.7), **options)
    for k, (ax, score) in enumerate(zip(axes, PUBLISHED, strict=True)):
        part = rows[rows["score"] == score]
        for colour, method in zip(("C0", "C1"), SEARCHED, strict=True):
            own = part[part["method"] == method]
            ax.plot(own["n_rows"], own["mean"], "o-", color=colour, label=LABELS[method])
            ax.fill_between(own["n_rows"], own["low"], own["high"], color=colour, alpha=0.2, lw=0)
        shown = part.drop_duplicates("n_rows")
        ax.plot(shown["n_rows"], shown["published"], "s--", color=REAL_COLOUR, label="published PC")
        kind, measure = score.split("_")
        ax.set_title(f"{measure.capitalize()} of {_KINDS[kind][0]}")
        ax.set(xscale="log", ylim=(-0.03, 1.03))
        ax.set_xticks(sizes, [f"{n}" for n in sizes])
        ax.minorticks_off()
        ax.set_xlabel("Rows" if k + 2 >= len(axes) else "")
        ax.set_ylabel("Mean over draws" if k % 2 == 0 else "")
    legend_below(axes[0], 3)
    return figure
