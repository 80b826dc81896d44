"""Figures of what discovery and generation cost, by rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from causalmix.benchmarks.discovery import LABELS
from causalmix.plots.discovery import METHOD_COLOURS
from causalmix.plots.style import REAL_COLOUR, legend_below

_PARTS = {
    "fit_seconds": "Fitting: discovery, graphs, mechanisms",
    "sample_seconds": "Drawing as many rows",
}


def plot_discovery_cost(cost: Sequence[Mapping[str, object]]) -> Figure:
    """Draw seconds of discovery against rows and columns.

    Parameters
    ----------
    cost : sequence of mapping
        As :func:`causalmix.benchmarks.discovery_speed.measure_cost` returns it.

    Returns
    -------
    Figure
        Two axes on logarithmic scales. Ours is a single bootstrap. A cross is a search that was
        stopped or failed.
    """
    return _plot_cost(pd.DataFrame(cost), LABELS, METHOD_COLOURS)


def plot_generation_cost(cost: Sequence[Mapping[str, object]]) -> Figure:
    """Draw seconds of the causal generator against rows and columns.

    Parameters
    ----------
    cost : sequence of mapping
        As :func:`causalmix.benchmarks.fitting_speed.measure_generator_cost` returns it.

    Returns
    -------
    Figure
        Two axes on logarithmic scales, each with a line for fitting and one for drawing rows.
    """
    sizes = ["varied", "rows", "columns"]
    frame = pd.DataFrame(cost).melt(sizes, list(_PARTS), "method", "seconds")
    colours = dict(zip(_PARTS, (REAL_COLOUR, "C0"), strict=True))
    return _plot_cost(frame.assign(finished=True), _PARTS, colours)


def _plot_cost(
    frame: pd.DataFrame, labels: Mapping[str, str], colours: Mapping[str, object]
) -> Figure:
    """Draw a line for each method, by what varied; the first method's is the thickest."""
    methods = list(dict.fromkeys(frame["method"]))
    figure, axes = plt.subplots(2, 1, figsize=(6.5, 6.2), sharey=True, layout="constrained")
    for ax, varied in zip(axes, ("rows", "columns"), strict=True):
        part = frame[frame["varied"] == varied]
        other = "columns" if varied == "rows" else "rows"
        for method in methods:
            line = part[part["method"] == method].sort_values(varied)
            look = {"color": colours[method], "lw": 3 if method == methods[0] else 1.5}
            ax.plot(line[varied], line["seconds"], marker="o", ms=5, label=labels[method], **look)
            stopped = line[~line["finished"].astype(bool)]
            ax.plot(stopped[varied], stopped["seconds"], "X", ms=11, color=colours[method])
        title = f"{part[other].iloc[0]:,} {other}"
        ax.set(xscale="log", yscale="log", xlabel=varied.capitalize(), title=title)
        ticks = sorted(part[varied].unique())
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
        ax.set_ylabel("Processor seconds")
    legend_below(axes[0], 2)
    return figure
