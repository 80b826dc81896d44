"""Figures of a checkpoint's pre-training and of its comparison with the usual classifiers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.benchmarks.comparison import bins_of
from causalmix.benchmarks.zero_shot import LABELS, METHODS, TFM
from causalmix.errors import CausalMixError
from causalmix.plots.style import REAL_COLOUR, colours_of, legend_below

_COLOURS = dict(zip(METHODS, colours_of(len(METHODS)), strict=True))


def plot_evaluation(summary: pd.DataFrame) -> Figure:
    """Draw scores against the number of labelled rows, a line a method.

    Parameters
    ----------
    summary : DataFrame
        As :class:`causalmix.benchmarks.zero_shot.Evaluation` holds it, of one group of tables.

    Returns
    -------
    Figure
        Three axes: mean ROC-AUC; mean rank, the best on top; and the checkpoint's paired
        difference from every other method with its 95 % interval.
    """
    figure, axes = plt.subplot_mosaic("AR;DD", figsize=(8.5, 7.5), layout="constrained")
    sizes = sorted(summary["n_train"].unique())
    methods = [method for method in METHODS if method in set(summary["method"])]
    for number, method in enumerate(methods):
        at = summary[summary["method"] == method].set_index("n_train").reindex(sizes)
        style = {"color": _COLOURS[method], "marker": "o", "ms": 5, "label": LABELS[method]}
        style |= {"lw": 3, "zorder": 5} if method == TFM else {"lw": 1.5}
        axes["A"].plot(range(len(sizes)), at["auc"], **style)
        axes["R"].plot(range(len(sizes)), at["mean_rank"], **style)
        if method != TFM and at["auc_difference"].notna().any():
            middle = [place + 0.12 * (number - len(methods) / 2) for place in range(len(sizes))]
            ends = [at["auc_difference"] - at["auc_low"], at["auc_high"] - at["auc_difference"]]
            look = {"color": _COLOURS[method], "fmt": "o", "ms": 5, "capsize": 3}
            axes["D"].errorbar(middle, at["auc_difference"], ends, **look)
    axes["D"].axhline(0, color=REAL_COLOUR, lw=1.5, ls=":")
    axes["A"].set(ylabel="Mean ROC-AUC")
    axes["R"].set(ylabel="Mean rank (1 = best)")
    axes["D"].set(ylabel=f"ROC-AUC of {LABELS[TFM]}\nminus that of the method")
    axes["R"].invert_yaxis()
    for ax in axes.values():
        ax.set_xticks(range(len(sizes)), sizes)
        ax.set_xlabel("Labelled rows")
    legend_below(axes["A"], 3)
    return figure


def plot_reliability(rows: pd.DataFrame) -> Axes:
    """Draw accuracy against confidence, a line a method.

    Parameters
    ----------
    rows : DataFrame
        As :func:`causalmix.benchmarks.comparison.calibration_by_method` takes them.

    Returns
    -------
    Axes
        A point a bin of confidence, over the test rows of all tables, each table weighing the
        same; bins with less than 1 % of them are left out. On the dotted line a method is as often
        right as it says.
    """
    _, ax = plt.subplots(figsize=(5.5, 4.6), layout="constrained")
    counts = bins_of(rows, "rows")
    weights = counts.div(counts.sum(axis=1), axis=0)
    weights = weights.div(rows.groupby(["method", "dataset"])["seed"].transform("size"), axis=0)
    for method in (name for name in METHODS if name in set(rows["method"])):
        own = rows["method"] == method
        total = weights[own].sum()
        means = [
            (bins_of(rows[own], name).fillna(0) * weights[own]).sum() / total
            for name in ("confidence", "accuracy")
        ]
        shown = total / total.sum() >= 0.01
        style = {"color": _COLOURS[method], "marker": "o", "ms": 4, "label": LABELS[method]}
        style |= {"lw": 3, "zorder": 5} if method == TFM else {"lw": 1.5}
        ax.plot(*(mean[shown] for mean in means), **style)
    ax.axline((1, 1), slope=1, color=REAL_COLOUR, lw=1.5, ls=":")
    ax.set(xlabel="Confidence: probability of the most probable class")
    ax.set(ylabel="Accuracy: share of rows of that class")
    ax.legend(frameon=False)
    return ax


def plot_pretraining(log: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the loss of a pre-training run over its steps.

    Parameters
    ----------
    log : DataFrame
        As :func:`causalmix.pretraining.run.pretrain` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Training loss and loss on held-out synthetic tasks; a dot marks the step that was kept.

    Raises
    ------
    CausalMixError
        If the log has no loss on held-out tasks.
    """
    if log.empty or log["held_out_loss"].isna().all():
        raise CausalMixError("There is no loss to draw: the run was not evaluated, or diverged.")
    ax = ax or plt.subplots(figsize=(7, 3.6), layout="constrained")[1]
    ax.plot(log["step"], log["train_loss"], color="0.65", label="Training tasks")
    ax.plot(log["step"], log["held_out_loss"], color=REAL_COLOUR, lw=2, label="Held-out tasks")
    kept = log.loc[log["held_out_loss"].idxmin()]
    ax.plot(kept["step"], kept["held_out_loss"], "o", color="C3", label="Kept")
    ax.set(xlabel="Optimiser step", ylabel="Cross-entropy (nats)")
    ax.legend(frameon=False)
    return ax
