"""Figures of fine-tuning runs and benchmarks. Each function draws on axes and returns them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from causalmix.benchmarks.arms import ARMS, PURIFIED
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.errors import CausalMixError, check_name
from causalmix.plots.style import REAL_COLOUR, distinct, label, legend_below

_CURVES = {"gap_auc": "ROC-AUC", "gap_log_loss": "log-loss"}
_DASHES = ((), (4, 1.5), (1, 1), (6, 1, 1, 1))
METRIC_LABELS = {"auc": "ROC-AUC", "log_loss": "log-loss (nats)"}


_MAIN = (
    *("zero_shot", "default", "causal", "causal_paper", "smote_nc", "causal_shuffled_rehearsal"),
    *("causal_rehearsal", "causal_shuffled", "rehearsal"),
)
"""Arms that most figures have, in the order of the palette, whose first colours are told best."""


def _arm_colours() -> dict[str, tuple[float, ...]]:
    """Give each arm a colour, and a purified one a lighter shade of its generator's."""
    plain = dict.fromkeys([*_MAIN, *(arm for arm in ARMS if not arm.endswith(PURIFIED))])
    bright = sns.color_palette("colorblind")
    # Pink and yellow are too pale for lines.
    few = [*bright[:6], bright[9], bright[7], *sns.color_palette("dark")]
    many = sns.husl_palette(len(plain) - len(few), s=0.6, l=0.5)
    colours = dict(zip(plain, [*few, *many], strict=True))
    for arm in ARMS.keys() - colours.keys():
        colours[arm] = tuple((1 + c) / 2 for c in colours[arm.removesuffix(PURIFIED)])
    return colours


ARM_COLOURS = _arm_colours()


def name_arms(arms: Iterable[str]) -> dict[str, str]:
    """Return how arms are shown, those of a plan as it names them; no two are alike."""
    return distinct({arm: ARM_LABELS.get(arm) or label(arm) for arm in arms})


def colour_arms(arms: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Give every arm a colour: its own, or another one where a plan has named it."""
    named = [arm for arm in arms if arm not in ARM_COLOURS]
    return ARM_COLOURS | dict(zip(named, sns.husl_palette(len(named), s=0.5), strict=True))


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
        A thick line is the mean over seeds of the change since step 0, a thin one a run, whose
        dashes tell the seed. Runs that stopped early keep their last value, so that all steps
        average the same runs.

    Raises
    ------
    UnknownNameError
        If there is no such metric.
    CausalMixError
        If there is no history, because no arm was fine-tuned, or none of that metric.
    """
    check_name(metric, METRIC_LABELS, "metric")
    if histories.empty:
        raise CausalMixError("No history to draw: among the arms there is none that fine-tunes.")
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(6.6, 3.8), layout="constrained")[1]
    seeds = sorted(histories["seed"].unique())
    dashes = dict(zip(seeds, cycle(_DASHES), strict=False))
    for ax, part in zip(axes, ("val", "test"), strict=True):
        values = f"{part}_{metric}"
        if histories[values].isna().all():
            raise CausalMixError(
                f"The histories have no {METRIC_LABELS[metric]} of {part} rows to draw: of rows of "
                "a single class there is no ROC-AUC. Draw the log-loss."
            )
        wide = histories.pivot_table(values, index="step", columns=["arm", "seed"]).ffill()
        tidy = (wide - wide.iloc[0]).reset_index().melt(id_vars=[("step", "")])
        tidy.columns = ["step", "arm", "seed", "change"]
        look = {"x": "step", "y": "change", "ax": ax, "errorbar": None}
        arms = _arms_of(tidy)
        look |= {"hue": "arm", "hue_order": arms, "palette": colour_arms(arms)}
        sns.lineplot(tidy, lw=2.5, legend=part == "test", **look)
        run = {"units": "seed", "style": "seed", "dashes": dashes, "estimator": None}
        sns.lineplot(tidy, lw=0.9, legend=False, **run, **look)
        ax.axhline(0, color=REAL_COLOUR, lw=1, ls=":")
        better = "lower" if metric == "log_loss" else "higher"
        rows = "Validation" if part == "val" else "Test"
        ax.set(xlabel="Optimiser step", ylabel="")
        ax.set_title(f"{rows} rows ({better}: better)")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel(f"Change of {METRIC_LABELS[metric]}")
    axes[1].get_legend().remove()
    legend_below(axes[1], 3, labels=name_arms(arms))
    if len(seeds) > 1:
        styles = [
            plt.Line2D(
                [], [], color=REAL_COLOUR, lw=0.9, dashes=dashes[seed], label=f"split {seed}"
            )
            for seed in seeds
        ]
        axes[0].legend(handles=styles, loc="best", fontsize="small", handlelength=3)
    return axes


def plot_improvements(per_dataset: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each arm's normalised improvement on every dataset.

    Parameters
    ----------
    per_dataset : DataFrame
        As :func:`causalmix.benchmarks.summary.improvements` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        A mark is a dataset, a bar the median over datasets.
    """
    ax = ax or plt.subplots(figsize=(6.6, 3.8), layout="constrained")[1]
    order = _arms_of(per_dataset)
    place, names = pd.factorize(per_dataset["dataset"])
    line = per_dataset["arm"].map(order.index) + np.linspace(-0.2, 0.2, len(names))[place]
    named = distinct({name: label(name) for name in names})
    named = per_dataset.assign(dataset=per_dataset["dataset"].map(named), line=line)
    look = {"hue": "dataset", "style": "dataset", "s": 60, "alpha": 0.85}
    sns.scatterplot(named, x="improvement", y="line", ax=ax, **look)
    medians = per_dataset.groupby("arm")["improvement"].median()
    for row, arm in enumerate(order):
        ax.plot([medians[arm]] * 2, [row - 0.33, row + 0.33], color=REAL_COLOUR, lw=2.5, zorder=5)
    ax.axvline(0, color=REAL_COLOUR, lw=1, ls=":")
    ax.set(xlabel="Normalised improvement (1 = no error left)", ylim=(len(order) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    _name_arms(ax, order)
    return ax


def plot_gaps(gaps: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each arm's validation-test gaps.

    Parameters
    ----------
    gaps : DataFrame
        As :func:`causalmix.benchmarks.summary.run_gaps` returns it.
    ax : Axes, optional
        A new figure by default.

    Returns
    -------
    Axes
        Boxes over runs of the gap on ROC-AUC and on log-loss; a note where no run has one.
    """
    ax = ax or plt.subplots(figsize=(6.6, 3.8), layout="constrained")[1]
    runs = gaps.rename(columns=_CURVES)
    tidy = runs.melt(["dataset", "seed", "arm"], list(_CURVES.values()), "monitored", "gap")
    tidy = tidy.dropna(subset="gap")
    scale = "Validation-test gap (1 = unrelated, 2 = reversed)"
    if tidy.empty:
        ax.set(xlabel=scale, xticks=[], yticks=[])
        ax.text(0.5, 0.5, "No run has three evaluations", ha="center", transform=ax.transAxes)
        return ax
    order = _arms_of(tidy)
    look = {"hue": "monitored", "hue_order": list(_CURVES.values()), "fliersize": 3}
    sns.boxplot(tidy, x="gap", y="arm", order=order, ax=ax, **look)
    ax.set(xlabel=scale)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _name_arms(ax, order)
    return ax


def _arms_of(table: pd.DataFrame) -> list[str]:
    """Arms of a table: the package's in their order, then those that a plan has named."""
    return list(dict.fromkeys([*(arm for arm in ARMS if arm in set(table["arm"])), *table["arm"]]))


def _name_arms(ax: Axes, arms: Sequence[str]) -> None:
    """Write the arms' labels on the vertical axis, and move the legend below the axes."""
    ax.set_yticks(range(len(arms)), [*name_arms(arms).values()])
    ax.set_ylabel("")
    legend_below(ax, 4)
    ax.get_legend().remove()
