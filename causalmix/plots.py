"""Figures of the book. Each function draws tidy data on an axes (or a figure) and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.benchmark import ARMS
from causalmix.discovery import EdgeProbabilities
from causalmix.errors import check_name
from causalmix.quality import association_matrix

METRIC_LABELS = {"auc": "ROC-AUC", "log_loss": "Log-loss (nats)"}
ARM_COLOURS = dict(zip(ARMS, sns.color_palette("colorblind", len(ARMS)), strict=True))
REAL_COLOUR = "0.25"


def use_book_style() -> None:
    """Set the look that all figures of the book share."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium"},
    )


def plot_edge_probabilities(edges: EdgeProbabilities, ax: Axes | None = None) -> Axes:
    """Draw the probabilistic adjacency matrix as a heat map.

    Parameters
    ----------
    edges : EdgeProbabilities
        As :func:`causalmix.discovery.discover` returns it.
    ax : Axes, optional
        A new square figure that grows with the number of columns by default.

    Returns
    -------
    Axes
        Rows are causes, columns are effects; cells show the probability where there are at most
        12 columns.
    """
    d = len(edges.names)
    size = min(max(4.5, 0.42 * d + 2), 14)
    ax = ax or plt.subplots(figsize=(size + 1, size))[1]
    sns.heatmap(
        pd.DataFrame(edges.matrix, index=edges.names, columns=edges.names),
        vmin=0,
        vmax=1,
        cmap="Blues",
        square=True,
        annot=d <= 12,
        fmt=".2f",
        annot_kws={"size": 8},
        linewidths=0.5,
        xticklabels=True,
        yticklabels=True,
        cbar_kws={"label": "Probability of the edge", "shrink": 0.7},
        ax=ax,
    )
    ax.set(xlabel="Effect", ylabel="Cause")
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    return ax


def plot_graph(
    edges: EdgeProbabilities,
    *,
    target: str | None = None,
    threshold: float = 0.2,
    ax: Axes | None = None,
) -> Axes:
    """Draw the probable edges as a graph on a circle.

    Parameters
    ----------
    edges : EdgeProbabilities
        As :func:`causalmix.discovery.discover` returns it.
    target : str, optional
        Node drawn in another colour.
    threshold : float, default=0.2
        Edges less probable than this, both directions taken together, are left out.
    ax : Axes, optional
        A new square figure by default.

    Returns
    -------
    Axes
        A line is as wide as the pair is probably adjacent; its arrow points in the more probable
        direction.
    """
    d = len(edges.names)
    if ax is None:
        size = min(max(5.5, 0.3 * d + 3), 13)
        ax = plt.subplots(figsize=(size, size))[1]
    graph = nx.DiGraph()
    graph.add_nodes_from(edges.names)
    for i in range(d):
        for j in range(i + 1, d):
            forward, backward = edges.matrix[i, j], edges.matrix[j, i]
            if forward + backward >= threshold:
                cause, effect = (i, j) if forward >= backward else (j, i)
                graph.add_edge(edges.names[cause], edges.names[effect], weight=forward + backward)
    layout = nx.circular_layout(graph)
    colours = ["tab:orange" if name == target else "tab:blue" for name in graph]
    widths = [0.5 + 3 * graph.edges[edge]["weight"] for edge in graph.edges]
    nx.draw_networkx_nodes(graph, layout, node_size=110, node_color=colours, ax=ax)
    nx.draw_networkx_edges(
        graph,
        layout,
        width=widths,
        alpha=0.55,
        arrowsize=13,
        node_size=150,
        connectionstyle="arc3,rad=0.08",
        ax=ax,
    )
    _label_on_circle(ax, layout)
    ax.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal")
    ax.axis("off")
    return ax


def _label_on_circle(ax: Axes, layout: Mapping[str, np.ndarray]) -> None:
    """Write each node's name outside the circle, along its radius, never upside down."""
    for name, (x, y) in layout.items():
        angle = np.degrees(np.arctan2(y, x))
        left = abs(angle) > 90
        ax.text(
            1.09 * x,
            1.09 * y,
            name,
            rotation=angle + 180 if left else angle,
            rotation_mode="anchor",
            ha="right" if left else "left",
            va="center",
            fontsize=9,
        )


def plot_marginals(
    real: pd.DataFrame,
    synthetic: Mapping[str, pd.DataFrame],
    *,
    columns: Sequence[str] | None = None,
    n_columns: int = 6,
) -> Figure:
    """Compare the distribution of single columns, real against synthetic.

    Parameters
    ----------
    real : DataFrame
        Real rows.
    synthetic : mapping of str to DataFrame
        Synthetic rows by the generator's name, with the same columns.
    columns : sequence of str, optional
        Columns to show; by default the last one (the target) and the first `n_columns` - 1.
    n_columns : int, default=6
        Number of panels where `columns` is not given.

    Returns
    -------
    Figure
        Cumulative shares for numeric columns, shares of the (at most 8 most frequent) categories
        for categorical ones.
    """
    if columns is None:
        columns = [*real.columns[: n_columns - 1], real.columns[-1]]
    for column in columns:
        check_name(column, real.columns, "column")
    sources = {"real": real, **synthetic}
    colours = [REAL_COLOUR, *sns.color_palette("colorblind", len(synthetic))]
    n_rows = -(-len(columns) // 3)
    figure, axes = plt.subplots(n_rows, 3, figsize=(11, 3.1 * n_rows), squeeze=False)
    for ax, column in zip(axes.flat, columns, strict=False):
        tidy = pd.concat(
            [
                pd.DataFrame({column: frame[column], "rows": name})
                for name, frame in sources.items()
            ],
            ignore_index=True,
        )
        if isinstance(real[column].dtype, pd.CategoricalDtype):
            _category_shares(tidy, column, ax, colours)
        else:
            sns.ecdfplot(tidy, x=column, hue="rows", palette=colours, ax=ax, legend=False)
            ax.set_ylabel("Cumulative share of rows")
    for ax in axes.flat[len(columns) :]:
        ax.axis("off")
    handles = [
        plt.Line2D([], [], color=c, lw=3, label=n) for n, c in zip(sources, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(sources), frameon=False)
    figure.tight_layout(rect=(0, 0.16 / n_rows, 1, 1))
    return figure


def _category_shares(tidy: pd.DataFrame, column: str, ax: Axes, colours: list) -> None:
    shares = tidy.groupby("rows", sort=False)[column].value_counts(normalize=True)
    shares = shares.rename("share").reset_index()
    top = tidy[column].value_counts().index[:8]
    top = [name for name in tidy[column].astype("category").cat.categories if name in set(top)]
    sns.barplot(
        shares[shares[column].isin(top)].astype({column: str}),
        x=column,
        y="share",
        hue="rows",
        order=top,
        palette=colours,
        legend=False,
        ax=ax,
    )
    ax.set_ylabel("Share of rows")
    if sum(len(str(name)) for name in top) > 30:
        ax.set_xticks(range(len(top)), [_shorten(str(name)) for name in top])
        ax.tick_params(axis="x", rotation=35)
        for label in ax.get_xticklabels():
            label.set_ha("right")


def _shorten(text: str, length: int = 14) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def plot_associations(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw association matrices side by side.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Rows by the name that titles their panel.

    Returns
    -------
    Figure
        A heat map each, on one colour scale from -1 to 1 (see
        :func:`causalmix.quality.association_matrix`).
    """
    d = len(next(iter(frames.values())).columns)
    n_rows = -(-len(frames) // 2)
    figure, axes = plt.subplots(
        n_rows, 2, figsize=(9.5, 4.3 * n_rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(frames) :]:
        ax.axis("off")
    for ax, (title, frame) in zip(axes.flat, frames.items(), strict=False):
        sns.heatmap(
            association_matrix(frame),
            vmin=-1,
            vmax=1,
            cmap="vlag",
            square=True,
            cbar=False,
            xticklabels=d <= 40,
            yticklabels=d <= 40,
            ax=ax,
        )
        ax.set_title(title)
        ax.tick_params(labelsize=8 if d <= 15 else 6)
    figure.colorbar(
        axes.flat[0].collections[0],
        ax=axes.ravel().tolist(),
        label="Association (Spearman's ρ, Cramér's V² or η²)",
        shrink=0.6,
    )
    return figure


def plot_histories(
    histories: pd.DataFrame, metric: str = "log_loss", axes: Sequence[Axes] | None = None
) -> Sequence[Axes]:
    """Draw validation and test curves of the arms over the optimiser steps.

    Parameters
    ----------
    histories : DataFrame
        Of one dataset, with columns ``seed``, ``arm``, ``step``, ``val_*`` and ``test_*``.
    metric : {"log_loss", "auc"}, default="log_loss"
        Score to draw.
    axes : pair of Axes, optional
        For validation and test; a new figure by default.

    Returns
    -------
    sequence of Axes
        A line is the mean over seeds of the change since step 0, its band one standard error
        (no band with a single seed). Runs that stopped early keep their last value, so that all
        steps average the same runs.
    """
    check_name(metric, METRIC_LABELS, "metric")
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")[1]
    for ax, part in zip(axes, ("val", "test"), strict=True):
        wide = histories.pivot_table(
            index="step", columns=["arm", "seed"], values=f"{part}_{metric}"
        )
        wide = wide.ffill()
        tidy = (wide - wide.iloc[0]).reset_index().melt(id_vars=[("step", "")])
        tidy.columns = ["step", "arm", "seed", "change"]
        sns.lineplot(
            tidy,
            x="step",
            y="change",
            hue="arm",
            hue_order=[arm for arm in ARMS if arm in set(tidy["arm"])],
            palette=ARM_COLOURS,
            errorbar="se" if tidy["seed"].nunique() > 1 else None,
            legend=part == "test",
            ax=ax,
        )
        ax.axhline(0, color=REAL_COLOUR, lw=1, ls=":")
        better = "lower" if metric == "log_loss" else "higher"
        rows = "Validation" if part == "val" else "Test"
        ax.set(
            xlabel="Optimiser step",
            ylabel=f"Change of {METRIC_LABELS[metric]}",
            title=f"{rows} rows ({better} is better)",
        )
    _name_arms_in_legend(axes[1])
    return axes


def plot_improvements(per_dataset: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each arm's normalised improvement on every dataset.

    Parameters
    ----------
    per_dataset : DataFrame
        As :func:`causalmix.summary.improvements` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A point is a dataset, a bar the median over datasets.
    """
    ax = ax or plt.subplots(figsize=(8, 3.6), layout="constrained")[1]
    order = [arm for arm in ARMS if arm in set(per_dataset["arm"])]
    sns.stripplot(
        per_dataset,
        x="improvement",
        y="arm",
        hue="dataset",
        order=order,
        jitter=0.18,
        size=7,
        alpha=0.85,
        ax=ax,
    )
    medians = per_dataset.groupby("arm")["improvement"].median()
    for row, arm in enumerate(order):
        ax.plot([medians[arm]] * 2, [row - 0.33, row + 0.33], color=REAL_COLOUR, lw=2.5, zorder=5)
    ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
    ax.set_yticks(range(len(order)), [ARMS[arm].label for arm in order])
    ax.set(xlabel="Normalised ROC-AUC improvement over zero-shot (1 = no error left)", ylabel="")
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.01, 0.5), title="Dataset", frameon=False)
    return ax


def plot_gaps(gaps: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each arm's validation-test gaps.

    Parameters
    ----------
    gaps : DataFrame
        As :func:`causalmix.summary.run_gaps` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Boxes over runs of the gap on ROC-AUC and on log-loss.
    """
    ax = ax or plt.subplots(figsize=(8, 3.6), layout="constrained")[1]
    tidy = gaps.melt(
        id_vars=["dataset", "seed", "arm"],
        value_vars=["gap_auc", "gap_log_loss"],
        var_name="monitored",
        value_name="gap",
    ).dropna(subset=["gap"])
    tidy["monitored"] = tidy["monitored"].map({"gap_auc": "ROC-AUC", "gap_log_loss": "Log-loss"})
    order = [arm for arm in ARMS if arm in set(tidy["arm"])]
    sns.boxplot(
        tidy,
        x="gap",
        y="arm",
        hue="monitored",
        hue_order=["ROC-AUC", "Log-loss"],
        order=order,
        fliersize=3,
        ax=ax,
    )
    ax.set_yticks(range(len(order)), [ARMS[arm].label for arm in order])
    ax.set(xlabel="Validation-test gap (0 = same order, 1 = unrelated, 2 = reversed)", ylabel="")
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.01, 0.5), title="Curve", frameon=False)
    return ax


def _name_arms_in_legend(ax: Axes) -> None:
    legend = ax.get_legend()
    for text in legend.get_texts():
        text.set_text(ARMS[text.get_text()].label)
    legend.set_title("Arm")
