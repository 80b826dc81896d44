"""Figures of a checkpoint's pre-training and of its comparison with the usual classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from causalmix.evaluation import LABELS, METHODS, TFM
from causalmix.plots import REAL_COLOUR

_COLOURS = {TFM: REAL_COLOUR} | dict(
    zip(METHODS[1:], sns.color_palette("colorblind", len(METHODS) - 1), strict=True)
)


def plot_evaluation(summary: pd.DataFrame, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Draw scores against the number of labelled rows, a line a method.

    Parameters
    ----------
    summary : DataFrame
        As :class:`causalmix.evaluation.Evaluation` holds it, of one group of tables.
    axes : three Axes, optional
        A new figure by default.

    Returns
    -------
    sequence of Axes
        Mean ROC-AUC; the checkpoint's paired difference from every other method with its 95 %
        interval; mean rank, the best on top.
    """
    if axes is None:
        axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")[1]
    sizes = sorted(summary["n_train"].unique())
    methods = [method for method in METHODS if method in set(summary["method"])]
    for number, method in enumerate(methods):
        at = summary[summary["method"] == method].set_index("n_train").reindex(sizes)
        style = {"color": _COLOURS[method], "marker": "o", "ms": 5, "label": LABELS[method]}
        style |= {"lw": 3, "zorder": 5} if method == TFM else {"lw": 1.5}
        axes[0].plot(range(len(sizes)), at["auc"], **style)
        axes[2].plot(range(len(sizes)), at["mean_rank"], **style)
        if method != TFM and at["auc_difference"].notna().any():
            beside = [i + 0.1 * (number - len(methods) / 2) for i in range(len(sizes))]
            ends = [at["auc_difference"] - at["auc_low"], at["auc_high"] - at["auc_difference"]]
            axes[1].errorbar(
                beside, at["auc_difference"], ends, color=_COLOURS[method], fmt="o", ms=5, capsize=2
            )
    axes[1].axhline(0, color=REAL_COLOUR, lw=1, ls=":")
    axes[0].set(ylabel="Mean ROC-AUC")
    axes[1].set(ylabel=f"Difference in ROC-AUC:\n{LABELS[TFM]} − method")
    axes[2].set(ylabel="Mean rank (1 = best)")
    axes[2].invert_yaxis()
    for ax in axes:
        ax.set_xticks(range(len(sizes)), sizes)
        ax.set_xlabel("Labelled rows")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(
        handles, labels, loc="outside lower center", ncols=len(methods), frameon=False
    )
    return axes


def plot_pretraining(log: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the loss of a pre-training run over its steps.

    Parameters
    ----------
    log : DataFrame
        As :func:`causalmix.pretrain.pretrain` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Training loss and loss on held-out synthetic tasks; a dot marks the step that was kept.
    """
    ax = ax or plt.subplots(figsize=(7, 3.6), layout="constrained")[1]
    ax.plot(log["step"], log["train_loss"], color="0.65", label="Training tasks")
    ax.plot(log["step"], log["held_out_loss"], color=REAL_COLOUR, lw=2, label="Held-out tasks")
    kept = log.loc[log["held_out_loss"].idxmin()]
    ax.plot(kept["step"], kept["held_out_loss"], "o", color="C3", label="Kept")
    ax.set(xlabel="Optimiser step", ylabel="Cross-entropy (nats)")
    ax.legend(frameon=False)
    return ax
