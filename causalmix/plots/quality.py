"""Figures of how well synthetic rows stand in for real ones, and of the benchmarks behind them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from causalmix.benchmarks.comparison import verdicts
from causalmix.benchmarks.csuite import GRAPHS, MEASURE_LABELS, WAYS
from causalmix.plots.style import REAL_COLOUR, label, legend_below, make_panels

_BETTER = {
    "CMD": "lower is better",
    "kMTVD": "lower is better",
    "NNAA": "nearer 0.5 is better",
    "ATE error": "lower is better",
    "near-copies": "no more than in real rows",
    "membership AUC": "lower is better, 0.5 is chance",
}

_LEARNERS = {"linear": "linear model", "boosting": "boosting", "tfm": "TFM"}


def plot_quality(report: pd.DataFrame) -> Figure:
    """Draw a quality report: a panel a measure, a dot a generator, a line for real rows.

    Parameters
    ----------
    report : DataFrame
        As :func:`causalmix.quality.report.quality_report` returns it; the first row is the
        reference.

    Returns
    -------
    Figure
        Below each panel it says which values are better. A learner has one panel for both its
        scores, on a scale that all learners share: a full dot for training on synthetic rows
        alone, an open one for training on real and synthetic rows.
    """
    learners = [name.removesuffix(" TSTR") for name in report if name.endswith(" TSTR")]
    panels = [name for name in report if name in _BETTER and name != "ATE error"] + learners
    panels += [name for name in report if name == "ATE error"]
    n_lines = -(-len(panels) // 2)
    size = (6.8, 0.3 * len(report) + 1.0 + 0.4 / n_lines)
    figure, axes = make_panels(len(panels), 2, size, sharey=True)
    colours = sns.color_palette("colorblind", len(report) - 1)
    by_name = dict(zip(panels, axes, strict=True))
    for name, ax in by_name.items():
        if name in learners:
            _draw_dots(ax, report[f"{name} TSTR"], colours)
            _draw_dots(ax, report[f"{name} real + synthetic"], colours, filled=False)
            ax.set(title=f"ROC-AUC, {_LEARNERS[name]}", xlabel="higher is better")
        else:
            _draw_dots(ax, report[name], colours)
            ax.set(title=name, xlabel=_BETTER[name])
    by_name["NNAA"].axvline(0.5, color="0.5", lw=1, ls=":")
    if "ATE error" in by_name:
        by_name["ATE error"].set_xlim(0)
    _share_limits([by_name[name] for name in learners])
    handles = [plt.Line2D([], [], color=REAL_COLOUR, ls="--", lw=1.2, label=label(report.index[0]))]
    for face, rows in (("0.4", "synthetic"), ("none", "real + synthetic")) if learners else ():
        look = {"ls": "", "marker": "o", "color": "0.4", "mfc": face}
        handles.append(plt.Line2D([], [], label=f"trained on {rows} rows", **look))
    figure.legend(handles=handles, loc="lower center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0.2 / n_lines, 1, 1))
    return figure


def _draw_dots(ax: Axes, scores: pd.Series, colours: list, filled: bool = True) -> None:
    """Draw generators from top to bottom, and a line for the reference, which comes first."""
    position = np.arange(len(scores) - 1)[::-1]
    faces = colours if filled else "none"
    look = {"s": 45, "facecolors": faces, "edgecolors": colours, "lw": 1.5, "zorder": 3}
    ax.scatter(scores.iloc[1:], position, **look)
    if np.isfinite(scores.iloc[0]):
        ax.axvline(scores.iloc[0], color=REAL_COLOUR, lw=1.2, ls="--")
    ax.set_yticks(position, [label(name) for name in scores.index[1:]])
    ax.set_ylim(-0.6, len(position) - 0.4)
    ax.margins(x=0.15)
    ax.locator_params(axis="x", nbins=4)


def _share_limits(axes: Sequence[Axes]) -> None:
    """Give panels of one unit one scale: a difference then looks the same in all of them."""
    limits = [ax.get_xlim() for ax in axes]
    for ax in axes:
        ax.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def plot_csuite(summary: pd.DataFrame, graph: str) -> Figure:
    """Draw CMD against the number of training rows, beside the published medians.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.csuite.summarise_csuite` returns it.
    graph : {"true", "discovered"}
        Where the graphs come from.

    Returns
    -------
    Figure
        A panel a dataset: medians with their 95 % interval over repetitions, the published ones,
        and those of real rows, below which no generator can be expected.
    """
    rows = summary[(summary["graph"] == graph) & (summary["measure"] == "cmd")]
    names = sorted(rows["dataset"].unique())
    figure, axes = make_panels(len(names), 2, (6.8, 2.6))
    for ax, name in zip(axes, names, strict=True):
        _csuite_panel(ax, rows[rows["dataset"] == name], graph)
        ax.set(title=label(name), xlabel="Training rows", ylabel=MEASURE_LABELS["cmd"])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.14 / -(-len(names) // 2), 1, 1))
    return figure


def _csuite_panel(ax: Axes, rows: pd.DataFrame, graph: str) -> None:
    by_method = rows.sort_values("n_train").groupby("method")
    colours = sns.color_palette("colorblind", len(by_method))
    for colour, (method, each) in zip(colours, by_method, strict=True):
        n, middle = each["n_train"], each["median"]
        ax.plot(n, middle, "o-", color=colour, label=f"CausalMix ({label(method)})")
        ax.fill_between(n, each["low"], each["high"], color=colour, alpha=0.2, lw=0)
    ax.plot(n, each["published"], "s--", color="0.35", label=f"published ({GRAPHS[graph]})")
    ax.plot(n, each["floor"], ":", color="0.35", label="real rows")
    ax.set_xscale("log")
    ax.set_xticks(list(n), [str(v) for v in n])
    ax.minorticks_off()
    ax.set_ylim(0)


def plot_ways(differences: pd.DataFrame, label_of_zero: str) -> Figure:
    """Draw how ways to generate compare on CSuite with something else.

    Parameters
    ----------
    differences : DataFrame
        Those of `causalmix.benchmarks.csuite.WAYS` are drawn; for one number of training rows, as
        :func:`causalmix.benchmarks.findings.compare_ways` or
        :func:`causalmix.benchmarks.csuite.compare_csuite` returns it.
    label_of_zero : str
        What the axes say.

    Returns
    -------
    Figure
        A panel a measure: the mean difference of each way with its 95 % interval.
    """
    ways = pd.Series(zip(differences["graph"], differences["method"], strict=True))
    places = {way: -k for k, way in enumerate(each for each in WAYS if each in set(ways))}
    rows = differences.assign(place=ways.map(places).to_numpy()).dropna(subset="place")
    measures = [name for name in MEASURE_LABELS if name in set(rows["measure"])]
    size = (6.8, 1.1 + 0.22 * len(places))
    figure, axes = make_panels(len(measures), 2, size, sharey=True, layout="constrained")
    for ax, measure in zip(axes, measures, strict=True):
        part = rows[rows["measure"] == measure]
        ax.hlines(part["place"], part["low"], part["high"], color="C0", lw=2)
        ax.plot(part["difference"], part["place"], "o", ms=5, color="C0")
        ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
        ax.set(title=MEASURE_LABELS[measure], xlabel=label_of_zero)
        ax.set_yticks([*places.values()], [WAYS[way] for way in places])
    return figure


def plot_ways_by_size(comparison: pd.DataFrame) -> Figure:
    """Draw where ways to generate are nearer to the truth on CSuite than the published ones.

    Parameters
    ----------
    comparison : DataFrame
        As :func:`causalmix.benchmarks.csuite.compare_csuite` returns it.

    Returns
    -------
    Figure
        A panel a measure, a line a way, a column a number of training rows: on how many datasets
        our median is below the published one. A cell is coloured where the 95 % interval of the
        mean difference does not hold zero.
    """
    ways = pd.MultiIndex.from_frame(comparison[["graph", "method"]])
    shade = pd.Series(verdicts(comparison), comparison.index).map(_SHADES)
    rows = comparison.assign(way=ways.map(WAYS), shade=shade).dropna(subset="way")
    names = [name for name in WAYS.values() if name in set(rows["way"])]
    measures = [name for name in MEASURE_LABELS if name in set(rows["measure"])]
    size = (6.8, 1.1 + 0.24 * len(names))
    figure, axes = make_panels(len(measures), 2, size, sharey=True, layout="constrained")
    colours = ["C0", "0.93", "C1"]
    for ax, measure in zip(axes, measures, strict=True):
        part = rows[rows["measure"] == measure].set_index(["way", "n_train"])
        shades, wins = (part[name].unstack().reindex(names) for name in ("shade", "wins"))
        look = {"cmap": ListedColormap(colours), "vmin": 0, "vmax": 2, "linewidths": 0.5}
        sns.heatmap(shades, annot=wins, fmt=".0f", ax=ax, cbar=False, **look)
        for text, value in zip(ax.texts, shades.stack(), strict=True):
            text.set_color("white" if value == 0 else REAL_COLOUR)
        ax.set(title=MEASURE_LABELS[measure], xlabel="Training rows", ylabel="")
    said = ("surely nearer than published", "not told apart", "surely farther")
    patches = [Patch(color=colour, label=text) for colour, text in zip(colours, said, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    return figure


_SHADES = {"worse": 0, "undecided": 1, "better": 2}
"""Of verdicts on a difference of which less is better."""

_LINEAR_WITHIN = 0.02  # ROC-AUC


def plot_utility(summary: pd.DataFrame) -> Figure:
    """Draw by how much the causal generator's rows train learners better than those of the others.

    Parameters
    ----------
    summary : DataFrame
        As :func:`causalmix.benchmarks.utility.summarise_utility` returns it.

    Returns
    -------
    Figure
        A panel for synthetic rows alone and one for real and synthetic rows together: the mean
        difference in ROC-AUC over datasets and learners, with its 95 % interval, for each other
        generator and number of training rows. To the right of zero the causal one is better.
        The axis is linear within ±0.02; beyond, where it is grey, it is logarithmic.
    """
    others = [name for name in summary["generator"].unique() if name != "causal"]
    sizes = sorted(summary["n_train"].unique())
    titles = {"synthetic": "Synthetic rows alone", "both": "Real and synthetic rows"}
    size = (6.5, 0.9 * len(others) + 2.2)
    figure, axes = plt.subplots(2, 1, figsize=size, sharex=True, layout="constrained")
    for ax, (source, title) in zip(axes, titles.items(), strict=True):
        rows = summary[summary["score"] == f"mean_{source}"].set_index(["n_train", "generator"])
        colours = sns.color_palette("colorblind", len(sizes))
        for k, (n, colour) in enumerate(zip(sizes, colours, strict=True)):
            part = rows.loc[n].loc[others]
            height = np.arange(len(others))[::-1] + 0.12 * (len(sizes) - 1 - 2 * k)
            errors = [part["difference"] - part["low"], part["high"] - part["difference"]]
            look = {"fmt": "o", "color": colour, "label": f"{n} training rows"}
            ax.errorbar(part["difference"], height, xerr=errors, **look)
        ax.axvline(0, color="0.25", lw=1)
        ax.set_yticks(np.arange(len(others))[::-1], [f"against {label(name)}" for name in others])
        ax.set_title(title)
        # Linear around zero: one generator that fails would leave no room for the others.
        ax.set_xscale("symlog", linthresh=_LINEAR_WITHIN, linscale=2)
        ax.set_xticks([-0.02, -0.01, 0, 0.01, 0.02, 0.2], ["−0.02", "", "0", "", "0.02", "0.2"])
        ax.minorticks_off()
        for end in (-1, 1):
            ax.axvspan(end * _LINEAR_WITHIN, end, color="0.93", lw=0, zorder=0)
    means = summary[summary["score"].isin([f"mean_{source}" for source in titles])]
    least = 1.5 * _LINEAR_WITHIN  # of what is shown on either side
    axes[0].set_xlim(min(1.2 * means["low"].min(), -least), max(1.2 * means["high"].max(), least))
    axes[1].set_xlabel("ROC-AUC of causal minus the other's (grey: logarithmic)")
    legend_below(axes[0])
    return figure
