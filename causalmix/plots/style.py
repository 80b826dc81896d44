"""Figures of graphs, and the look that all figures share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from itertools import combinations

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from scipy.cluster.hierarchy import leaves_list, linkage

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.errors import check_name

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
    pd.set_option("display.html.use_mathjax", False)  # a name with "$" is no formula


def label(text: object, length: int = 24) -> str:
    """Return a name of a user's, of a column, level, file or dataset, as a figure can show it.

    Parameters
    ----------
    text : object
    length : int, default=24
        Characters at most; of a longer name both ends stay.

    Returns
    -------
    str
        On one line. Matplotlib draws no part of it as mathematics, nor leaves it out of a legend.
    """
    line = " ".join(str(text).split())
    if len(line) > length:
        tail = (length - 1) // 2
        line = f"{line[: length - 1 - tail]}…{line[len(line) - tail :]}"
    hidden = line.startswith("_")  # Matplotlib's mark of what a legend leaves out
    return (" " if hidden else "") + line.replace("$", r"\$")


def distinct(shown: Mapping[Hashable, str]) -> dict[Hashable, str]:
    """Tell names apart that are shown alike.

    Parameters
    ----------
    shown : mapping of hashable to str
        How each is shown, as `label` does.

    Returns
    -------
    dict of hashable to str
        The first of those that are alike as it was, the others with a number behind.
    """
    seen: Counter[str] = Counter()
    found = {}
    for name, text in shown.items():
        seen[text] += 1
        found[name] = f"{text} ({seen[text]})" if seen[text] > 1 else text
    return found


def colours_of(n: int) -> list:
    """Return `n` colours: what others are held against in grey, then the book's palette."""
    return [REAL_COLOUR, *sns.color_palette("colorblind", max(n - 1, 0))][:n]


def make_panels(
    n: int, n_columns: int, size: tuple[float, float], **options: object
) -> tuple[Figure, list[Axes]]:
    """Make a figure of so many panels, line by line.

    Parameters
    ----------
    n, n_columns : int
        Panels, and how many stand in a line.
    size : (float, float)
        Width of the figure and height of a line, in inches.
    **options
        Of :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    figure : Figure
    axes : list of Axes
    """
    n_lines = -(-n // n_columns)
    figure, axes = plt.subplots(
        n_lines, n_columns, figsize=(size[0], size[1] * n_lines), squeeze=False, **options
    )
    for ax in axes.flat[n:]:
        ax.axis("off")
    return figure, list(axes.flat[:n])


def legend_below(
    ax: Axes, n_columns: int | None = None, labels: Mapping[str, str] | None = None
) -> Legend:
    """Put the legend of an axes below its figure.

    Parameters
    ----------
    ax : Axes
        Of a figure with constrained layout.
    n_columns : int, optional
        Entries in a line; by default all.
    labels : mapping of str to str, optional
        What to write in place of the labels of the axes.

    Returns
    -------
    Legend
    """
    handles, names = ax.get_legend_handles_labels()
    return ax.figure.legend(
        handles,
        [labels[name] for name in names] if labels else names,
        loc="outside lower center",
        ncols=n_columns or len(names),
        frameon=False,
    )


def plot_edge_probabilities(edges: EdgeProbabilities, ax: Axes | None = None) -> Axes:
    """Draw the probabilistic adjacency matrix as a heat map.

    Parameters
    ----------
    edges : EdgeProbabilities
        As :func:`causalmix.discovery.bootstrap.discover` returns it.
    ax : Axes, optional
        A new square figure that grows with the number of columns by default.

    Returns
    -------
    Axes
        Rows are causes, columns are effects; cells show the probability, if it is not 0.00, where
        there are at most 12 columns.
    """
    d = len(edges.names)
    names = [label(name) for name in edges.names]
    table = pd.DataFrame(edges.matrix, index=names, columns=names)
    shown = table.map(lambda p: f"{p:.2f}".lstrip("0") if p >= 0.005 else "")
    size = min(max(4.5, 0.42 * d + 2), 14)
    ax = ax or plt.subplots(figsize=(size + 1, size))[1]
    cells = {"annot": shown if d <= 12 else None, "fmt": "", "annot_kws": {"size": 11}}
    bar = {"label": "Probability of the edge", "shrink": 0.7}
    look = {"vmin": 0, "vmax": 1, "cmap": "Blues", "square": True, "linewidths": 0.5}
    ticks = {"xticklabels": True, "yticklabels": True}
    sns.heatmap(table, cbar_kws=bar, ax=ax, **cells, **look, **ticks)
    for text in ax.texts:  # Seaborn's white is hard to read on the blues in the middle
        effect, cause = (int(place) for place in text.get_position())
        text.set_color("white" if table.iloc[cause, effect] > 0.7 else REAL_COLOUR)
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
        As :func:`causalmix.discovery.bootstrap.discover` returns it.
    target : str, optional
        Node drawn in another colour.
    threshold : float, default=0.2
        Edges less probable than this, both directions taken together, are left out.
    ax : Axes, optional
        A new square figure by default.

    Returns
    -------
    Axes
        A line is as wide and as dark as the pair is probably adjacent; its arrow points in the more
        probable direction. Nodes that are probably joined are near each other on the circle.

    Raises
    ------
    UnknownNameError
        If there is no node `target`.
    """
    if target is not None:
        check_name(target, edges.names, "target")
    d = len(edges.names)
    size = min(max(5.5, 0.3 * d + 3), 13)
    ax = ax or plt.subplots(figsize=(size, size))[1]
    graph = nx.DiGraph()
    graph.add_nodes_from(edges.names[i] for i in _order_on_circle(edges.matrix))
    for i, j in combinations(range(d), 2):
        forward, backward = edges.matrix[i, j], edges.matrix[j, i]
        if forward + backward >= threshold:
            cause, effect = (i, j) if forward >= backward else (j, i)
            graph.add_edge(edges.names[cause], edges.names[effect], weight=forward + backward)
    layout = nx.circular_layout(graph)
    colours = ["tab:orange" if name == target else "tab:blue" for name in graph]
    weights = np.array([graph.edges[edge]["weight"] for edge in graph.edges]).clip(max=1)
    nx.draw_networkx_nodes(graph, layout, node_size=110, node_color=colours, ax=ax)
    nx.draw_networkx_edges(
        graph,
        layout,
        width=(0.5 + 3 * weights).tolist(),
        alpha=(0.1 + 0.6 * weights).tolist(),
        edge_color=["tab:orange" if target in edge else "k" for edge in graph.edges],
        arrowsize=13,
        node_size=150,
        connectionstyle="arc3,rad=0.08",
        ax=ax,
    )
    _label_on_circle(ax, layout)
    ax.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal")
    ax.axis("off")
    return ax


def _order_on_circle(matrix: np.ndarray) -> list[int]:
    """Order nodes so that joined ones are neighbours, by a clustering of their probabilities."""
    apart = 1 - (matrix + matrix.T).clip(0, 1)
    if len(apart) < 3:
        return list(range(len(apart)))
    distances = apart[np.triu_indices(len(apart), 1)]
    return leaves_list(linkage(distances, "average", optimal_ordering=True)).tolist()


def _label_on_circle(ax: Axes, layout: Mapping[str, np.ndarray]) -> None:
    """Write each node's name outside the circle, along its radius, never upside down."""
    for name, (x, y) in layout.items():
        angle = np.degrees(np.arctan2(y, x))
        left = abs(angle) > 90
        turn = {"rotation": angle + 180 if left else angle, "rotation_mode": "anchor"}
        side = {"ha": "right" if left else "left", "va": "center"}
        ax.text(1.09 * x, 1.09 * y, label(name), fontsize=9, **turn, **side)
