"""Figures of graphs and rows. Each function draws on an axes or a figure and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.discovery import EdgeProbabilities
from causalmix.errors import DataError, check_name
from causalmix.fidelity import association_matrix

REAL_COLOUR = "0.25"


def use_book_style() -> None:
    """Set the look that all figures and tables of the book share."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium"},
    )
    pd.set_option("display.max_colwidth", None)  # cells wrap on the page


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
        Rows are causes, columns are effects; cells show the probability, if it is not 0.00, where
        there are at most 12 columns.
    """
    d = len(edges.names)
    table = pd.DataFrame(edges.matrix, index=edges.names, columns=edges.names)
    shown = table.map(lambda p: f"{p:.2f}" if p >= 0.005 else "")
    size = min(max(4.5, 0.42 * d + 2), 14)
    ax = ax or plt.subplots(figsize=(size + 1, size))[1]
    sns.heatmap(
        table,
        vmin=0,
        vmax=1,
        cmap="Blues",
        square=True,
        annot=shown if d <= 12 else None,
        fmt="",
        annot_kws={"size": 9},
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
    figure, axes = plt.subplots(n_rows, 3, figsize=(9, 2.7 * n_rows), squeeze=False)
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
            ax.set_ylabel("Cumulative share")
    for ax in axes.flat[len(columns) :]:
        ax.axis("off")
    handles = [
        plt.Line2D([], [], color=c, lw=3, label=n) for n, c in zip(sources, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(sources), frameon=False)
    figure.tight_layout(rect=(0, 0.18 / n_rows, 1, 1))
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
        :func:`causalmix.fidelity.association_matrix`).
    """
    names = [_shorten(str(name)) for name in next(iter(frames.values())).columns]
    labels = names if len(names) <= 40 else False
    n_rows = -(-len(frames) // 2)
    figure, axes = plt.subplots(
        n_rows, 2, figsize=(8.5, 3.9 * n_rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(frames) :]:
        ax.axis("off")
    for k, (ax, (title, frame)) in enumerate(zip(axes.flat, frames.items(), strict=False)):
        sns.heatmap(
            association_matrix(frame),
            vmin=-1,
            vmax=1,
            cmap="vlag",
            square=True,
            cbar=False,
            xticklabels=labels if k + 2 >= len(frames) else False,  # nothing below
            yticklabels=labels if k % 2 == 0 else False,
            ax=ax,
        )
        ax.set_title(title)
        ax.tick_params(labelsize=8 if len(names) <= 15 else 6)
    figure.colorbar(
        axes.flat[0].collections[0],
        ax=axes.ravel().tolist(),
        label="Association (Spearman's ρ, Cramér's V² or η²)",
        shrink=0.6,
    )
    return figure


def plot_pairs(
    real: pd.DataFrame, synthetic: Mapping[str, pd.DataFrame], n_pairs: int = 3
) -> Figure:
    """Draw the most associated pairs of numeric columns, real rows beside synthetic ones.

    Parameters
    ----------
    real : DataFrame
    synthetic : mapping of str to DataFrame
        Rows with the same columns by the generator's name.
    n_pairs : int, default=3
        Pairs at most.

    Returns
    -------
    Figure
        A row of panels a pair, on common axes; at most 400 rows each. Whole numbers are spread a
        little, so that equal ones do not hide each other.

    Raises
    ------
    DataError
        If there are fewer than two numeric columns.
    """
    numeric = list(real.select_dtypes("number"))
    if len(numeric) < 2:
        raise DataError("Pairs of numeric columns need two of them; the table has fewer.")
    strength = np.triu(association_matrix(real[numeric]).abs().to_numpy(), 1)
    order = np.argsort(strength, axis=None)[::-1][:n_pairs]
    order = [k for k in order if strength.flat[k] > 0] or list(order[:1])
    sources = {"real": real} | dict(synthetic)
    figure, axes = plt.subplots(
        len(order),
        len(sources),
        figsize=(2.4 * len(sources) + 0.5, 2.3 * len(order) + 0.3),
        squeeze=False,
        sharex="row",
        sharey="row",
        layout="constrained",
    )
    for line, k in zip(axes, order, strict=True):
        a, b = (numeric[i] for i in np.unravel_index(k, strength.shape))
        for ax, (name, frame), colour in zip(
            line, sources.items(), [REAL_COLOUR, *sns.color_palette()], strict=False
        ):
            ax.scatter(*_spread(frame[[a, b]].iloc[:400]), s=5, color=colour, alpha=0.6)
            ax.set(title=name, xlabel=_shorten(a, 20))
        line[0].set_ylabel(_shorten(b, 20))
    return figure


def _spread(pair: pd.DataFrame) -> list[pd.Series]:
    rng = np.random.default_rng(0)
    return [
        column + rng.uniform(-0.3, 0.3, len(column))
        if (column.dropna() % 1 == 0).all() and column.nunique() <= 30
        else column
        for _, column in pair.items()
    ]
