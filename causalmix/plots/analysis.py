"""Figures of the analysis of a store of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.data.columns import counted
from causalmix.plots.results import METRIC_LABELS, colour_arms, name_arms
from causalmix.plots.style import REAL_COLOUR, colours_of, label, legend_below

_LINES = ("-", "--", ":", "-.")
_TIMES = {"step": "Optimiser step", "seconds": "Seconds, search and generator included"}


def plot_differences(
    differences: pd.DataFrame,
    reference: str = "zero_shot",
    score: str = "auc",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean difference of every arm from a reference as a forest.

    Parameters
    ----------
    differences : DataFrame
        As :func:`causalmix.benchmarks.analysis.paired_differences` returns it.
    reference : str, default="zero_shot"
    score : {"auc", "log_loss"}, default="auc"
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A point an arm, the best on top, with its 95 % bootstrap interval; it is filled where
        Wilcoxon's test, corrected by Holm's method, is below 5 %.
    """
    rows = differences[(differences["reference"] == reference) & (differences["score"] == score)]
    rows = rows.sort_values("difference").reset_index(drop=True)
    ax = ax or _new_axes(len(rows))
    colours = colour_arms(rows["arm"])
    for place, row in rows.iterrows():
        colour = colours[row["arm"]]
        face = colour if row["p_holm"] < 0.05 else "white"
        ax.plot([row["low"], row["high"]], [place, place], color=colour, lw=2)
        ax.plot(row["difference"], place, "o", color=colour, markerfacecolor=face)
    shown = name_arms(rows["arm"])
    names = [f"{shown[row.arm]} ({counted(row.tables, 'table')})" for row in rows.itertuples()]
    ax.set_yticks(rows.index, names)
    ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
    ax.set(xlabel=f"{METRIC_LABELS[score]} better than {name_arms([reference])[reference]} by")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    return ax


def plot_critical_differences(means: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw mean ranks, and which of them Nemenyi's test does not tell apart.

    Parameters
    ----------
    means : DataFrame
        ROC-AUC of at least three arms, a column each, on at least two tables, as
        :func:`causalmix.benchmarks.analysis.table_means` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Arms on an axis of ranks, 1 being the best; bars join those that do not differ at 5 %.
    """
    import scikit_posthocs

    shown, colours = name_arms(means), colour_arms(means)
    colours = {shown[arm]: colours[arm] for arm in means}
    means = means.round(6).rename(columns=shown)
    ax = ax or _new_axes(len(means.columns) / 2)
    ax.grid(visible=False)
    drawn = scikit_posthocs.critical_difference_diagram(
        means.rank(axis=1, ascending=False).mean(),
        scikit_posthocs.posthoc_nemenyi_friedman(means),
        color_palette=colours,
        label_fmt_left="{label} ({rank:.1f})",
        label_fmt_right="({rank:.1f}) {label}",
        ax=ax,
    )
    plt.setp(drawn["labels"], color=REAL_COLOUR)  # an arm's own may be too pale to read
    ax.set_title(f"Mean rank by ROC-AUC on {len(means)} tables (1 is the best)")
    return ax


def plot_table_gains(gains: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw what each arm gains in ROC-AUC on every table.

    Parameters
    ----------
    gains : DataFrame
        As :func:`causalmix.benchmarks.analysis.gains_over` returns it, of as many arms as can be
        told apart.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A mark an arm and table, the mean over splits; tables are ordered by the mean over arms.
    """
    means = gains.pivot_table("auc_gain", "dataset", "arm")
    means = means.loc[means.mean(axis=1).sort_values().index]
    ax = ax or _new_axes(len(means) + 2)
    colours, shown, places = colour_arms(means), name_arms(means), range(len(means))
    for arm, mark in zip(means, cycle("osD^v")):  # arms are told apart in print too
        ax.plot(means[arm], places, mark, color=colours[arm], alpha=0.8, label=shown[arm])
    ax.set_yticks(range(len(means)), [label(table) for table in means.index])
    ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
    ax.set(xlabel="ROC-AUC better than zero-shot by (mean over splits)")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    legend_below(ax, 2)
    return ax


def plot_survival(curves: pd.DataFrame, unit: str = "step", ax: Axes | None = None) -> Axes:
    """Draw the share of runs that have not converged.

    Parameters
    ----------
    curves : DataFrame
        As :func:`causalmix.benchmarks.curve_analysis.survival_curves` returns it.
    unit : {"step", "seconds"}, default="step"
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A Kaplan-Meier curve an arm; where it ends above 0, that share never improved.
    """
    ax = ax or _new_axes(12)
    curves, colours = curves[curves["unit"] == unit], sns.color_palette("colorblind", 6)
    # The arms' own colours are too alike where lines cross.
    looks, shown = cycle(product(_LINES, colours)), name_arms(curves["arm"].unique())
    for (arm, own), (line, colour) in zip(curves.groupby("arm"), looks, strict=False):
        look = {"color": colour, "ls": line, "label": shown[arm]}
        ax.step(own["time"], own["share"], where="post", **look)
    ax.set(xlabel=_TIMES[unit], ylabel="Share of runs not converged", ylim=(0, 1.02))
    legend_below(ax, 2)
    return ax


def plot_runs(gains: Mapping[str, pd.DataFrame], limit: float, ax: Axes | None = None) -> Axes:
    """Draw what single runs gain in log-loss over the untouched model, a line a way of predicting.

    Parameters
    ----------
    gains : mapping of str to DataFrame
        Rows of :func:`causalmix.benchmarks.candidates.candidate_gains`, by label.
    limit : float
        Losses beyond it (nats) are shaded.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A dot a run; its height on the line means nothing.
    """
    ax = ax or _new_axes(len(gains))
    rng = np.random.default_rng(0)
    for place, (rows, colour) in enumerate(
        zip(gains.values(), colours_of(len(gains)), strict=True)
    ):
        height = place + rng.uniform(-0.22, 0.22, len(rows))
        ax.scatter(rows["log_loss_gain"], height, s=14, color=colour, alpha=0.8, linewidths=0)
    widest = 1.05 * max(rows["log_loss_gain"].abs().max() for rows in gains.values())
    ax.axvspan(-widest, -limit, color="0.93", zorder=0)
    ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
    ax.set_yticks(range(len(gains)), list(gains))
    ax.set(xlim=(-widest, widest), ylim=(len(gains) - 0.5, -0.5))
    ax.set_xlabel("Log-loss (nats) better than the untouched model by; shaded: worse")
    return ax


def plot_gain_intervals(
    gains: pd.DataFrame, lines: str = "arm", groups: str | None = None
) -> Sequence[Axes]:
    """Draw gains with their intervals, in ROC-AUC and in log-loss.

    Parameters
    ----------
    gains : DataFrame
        With columns ``auc_gain``, ``auc_low``, ``auc_high`` and the same of ``log_loss``.
    lines : str, default="arm"
        Column whose values are named on the left, from top to bottom in their order; arms by their
        labels.
    groups : str, optional
        Column whose values stand below each other on a line, in colours of their own.

    Returns
    -------
    sequence of Axes
        Two panels: a dot is a mean, its line the 95 % interval.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(gains[lines]))}
    kinds = list(dict.fromkeys(gains[groups])) if groups else [""]
    height = 1.3 + len(places) * (0.22 + 0.15 * len(kinds))
    layout = {"figsize": (6.6, height), "sharey": True, "layout": "constrained"}
    axes = plt.subplots(1, 2, **layout)[1]
    for (kind, colour), ax in product(zip(kinds, colours_of(len(kinds)), strict=True), axes):
        score = "auc" if ax is axes[0] else "log_loss"
        rows = gains[gains[groups] == kind] if groups else gains
        offset = (kinds.index(kind) - (len(kinds) - 1) / 2) * 0.7 / len(kinds)
        where = rows[lines].map(places) + offset
        ax.hlines(where, rows[f"{score}_low"], rows[f"{score}_high"], color=colour, lw=2)
        ax.plot(rows[f"{score}_gain"], where, "o", ms=5, color=colour, label=label(kind))
        ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
        ax.set(xlabel=f"Gain in {METRIC_LABELS[score]}")
        ax.xaxis.set_major_locator(MaxNLocator(3))
    names = [fill(ARM_LABELS.get(name) or label(name, 64), 24) for name in places]
    axes[0].set_yticks(range(len(places)), names)
    axes[0].set_ylim(len(places) - 0.4, -0.6)
    if groups:
        legend_below(axes[0])
    return axes


def _new_axes(n_lines: float) -> Axes:
    return plt.subplots(figsize=(6.6, 1.2 + 0.3 * n_lines), layout="constrained")[1]
